"""What tests of the report look at: figures that are not drawn, and what they are made of."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest

from pipeline.report.picture import Picture


class Sketchbook:
    """Takes figures without drawing them, which tests of figures do."""

    def add(self, name, figure, alt, caption=""):
        assert figure.axes
        return Picture(f"{name}.png", alt, None, caption)


@contextmanager
def watched(functions: dict[ModuleType, tuple[str, ...]]) -> Iterator[dict[str, list[Any]]]:
    """Collect the arguments of functions by their name, while they still do what they did."""
    calls = defaultdict(list)

    def watch(module, name):
        original = getattr(module, name)

        def call(*arguments):
            calls[name].append(arguments)
            return original(*arguments)

        patch.setattr(module, name, call)

    with pytest.MonkeyPatch.context() as patch:
        for module, names in functions.items():
            for name in names:
                watch(module, name)
        yield calls
