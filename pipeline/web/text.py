"""Times and hashes as the pages write them."""

from datetime import datetime

from pipeline.report.numbers import UNKNOWN

MINUTE, HOUR, DAY = 60, 3600, 86_400


def duration(seconds: float | None) -> str:
    """Write a duration with its two largest units."""
    if seconds is None:
        return UNKNOWN
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < MINUTE:
        return f"{seconds:.0f} s"
    whole = round(seconds)
    for unit, name, part, part_name in ((DAY, "d", HOUR, "h"), (HOUR, "h", MINUTE, "min")):
        if whole >= unit:
            return f"{whole // unit} {name} {whole % unit // part} {part_name}"
    return f"{whole // MINUTE} min {whole % MINUTE} s"


def ago(seconds: float | None) -> str:
    """Write how long ago something was."""
    return UNKNOWN if seconds is None else f"{duration(max(0, seconds))} ago"


def moment(time: datetime | None) -> str:
    """Write a time of the database to the second."""
    return UNKNOWN if time is None else f"{time:%Y-%m-%d %H:%M:%S}"


def short(text: str, n_letters: int = 8) -> str:
    """Return the beginning of a hash."""
    return text if len(text) <= n_letters else f"{text[:n_letters]}…"
