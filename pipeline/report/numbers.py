"""Numbers as the report writes them."""

import math

UNKNOWN = "\u2013"  # a dash


def number(value: float | None, digits: int = 2) -> str:
    """Write a number, or a dash for one that is not known."""
    if value is None or math.isnan(value):
        return UNKNOWN
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f")
    value = round(value, digits) + 0.0  # no minus zero
    return f"{value:.{digits}f}".replace("-", "\u2212")


def percent(value: float | None) -> str:
    """Write a fraction in percent, or a dash."""
    return UNKNOWN if value is None or math.isnan(value) else f"{100 * value:.0f}\u202f%"


def p_value(value: float | None) -> str:
    """Write a p value with one digit, or a dash."""
    return UNKNOWN if value is None or math.isnan(value) else f"{value:.1g}"
