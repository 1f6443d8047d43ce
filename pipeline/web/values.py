"""Values of the database as tables show them."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from pipeline.report.numbers import UNKNOWN
from pipeline.web.text import moment

DIGITS = 4
LETTERS = 160


def written(value: Any) -> str:
    """Write any value of a view: numbers with four digits, long text cut."""
    if value is None:
        return UNKNOWN
    if isinstance(value, float | Decimal):
        return f"{value:.{DIGITS}g}".replace("-", "\u2212")
    if isinstance(value, datetime):
        return moment(value)
    text = str(value)
    return text if len(text) <= LETTERS else f"{text[:LETTERS]}…"


def is_number(value: Any) -> bool:
    """Say whether a value is written to the right of its column."""
    return isinstance(value, int | float | Decimal)
