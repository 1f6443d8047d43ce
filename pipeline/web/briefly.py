"""Answers that are kept for some seconds: who turns pages asks the same again and again."""

from collections.abc import Callable
from functools import lru_cache, wraps
from time import monotonic
from typing import ParamSpec, TypeVar

from pipeline.web.reader import Reader

SECONDS = 10.0
ANSWERS = 256

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


def briefly(function: Callable[Given, Answer]) -> Callable[Given, Answer]:
    """Have a function answer the same for up to `SECONDS`; its arguments are hashable."""

    @lru_cache(ANSWERS)
    def within(period: int, /, *args: Given.args, **kwargs: Given.kwargs) -> Answer:
        return function(*args, **kwargs)

    @wraps(function)
    def answer(*args: Given.args, **kwargs: Given.kwargs) -> Answer:
        return within(int(monotonic() // SECONDS), *args, **kwargs)

    return answer


@briefly
def count(reader: Reader, source: str, /, **values: str | float) -> int:
    """Count the rows of what follows FROM, as it was some seconds ago."""
    counted = reader.one(f"SELECT COUNT(*) AS n FROM {source}", **values)
    return counted["n"]
