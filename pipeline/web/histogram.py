"""Durations of jobs as histograms, counted by the database."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.web.reader import Reader

BINS_PER_DECADE = 4
SHORTEST, LONGEST = 1e-3, 1e5
FIRST, LAST = (round(BINS_PER_DECADE * math.log10(s)) for s in (SHORTEST, LONGEST))

BIN_WIDTH, HEIGHT = 10.0, 30.0
WIDTH = (LAST - FIRST) * BIN_WIDTH
TICKS = [
    ((BINS_PER_DECADE * math.log10(seconds) - FIRST) * BIN_WIDTH, label)
    for seconds, label in (
        (1e-3, "1 ms"), (1e-2, ""), (1e-1, ""), (1, "1 s"), (10, ""), (100, ""), (1e3, "17 min"),
        (1e4, ""), (1e5, "28 h"),
    )
]  # fmt: skip


@dataclass(frozen=True)
class Histogram:
    """How long the jobs of a table took.

    Attributes
    ----------
    table : str
    n : int
        Jobs.
    total, median, p90, longest : float
        Seconds: of all jobs together, and of one.
    bars : list of tuple
        (x, height) in the picture, of bins of a quarter of a decade.
    """

    table: str
    n: int
    total: float
    median: float
    p90: float
    longest: float
    bars: list[tuple[float, float]]


def read_histograms(ask: Reader, tables: Sequence[str]) -> list[Histogram]:
    """Return the histograms of the tables that have jobs done, in the order of the tables."""
    found = {row["job_table"]: row for row in ask.rows(_union(_quantiles, tables))}
    bins: dict[str, dict[int, int]] = {table: {} for table in found}
    for row in ask.rows(_union(_counts, found) if found else "SELECT 1 FROM jobs LIMIT 0"):
        bins[row["job_table"]][int(row["bin"])] = row["n"]
    return [_histogram(found[table], bins[table]) for table in tables if table in found]


def _union(select: Callable[[str], str], tables: Iterable[str]) -> str:
    return " UNION ALL ".join(map(select, tables))


def _quantiles(table: str) -> str:
    """Exact ones: ranks of the durations, of which three are picked."""
    return (
        f"SELECT '{table}' AS job_table, n, SUM(duration) AS total, "
        "MIN(CASE WHEN place >= 0.5 * n THEN duration END) AS median, "
        "MIN(CASE WHEN place >= 0.9 * n THEN duration END) AS p90, MAX(duration) AS longest "
        "FROM (SELECT duration, ROW_NUMBER() OVER (ORDER BY duration) AS place, "
        f"COUNT(*) OVER () AS n FROM [jobs of {table}] "
        "WHERE status = 'success' AND duration IS NOT NULL) AS ranked GROUP BY n"
    )


def _counts(table: str) -> str:
    return (
        f"SELECT '{table}' AS job_table, COUNT(*) AS n, FLOOR({BINS_PER_DECADE} * LOG10(LEAST("
        f"GREATEST(duration, {SHORTEST}), {LONGEST / 2}))) AS bin FROM [jobs of {table}] "
        "WHERE status = 'success' AND duration IS NOT NULL GROUP BY bin"
    )


def _histogram(row: dict[str, Any], bins: dict[int, int]) -> Histogram:
    most = max(bins.values(), default=1)
    bars = [
        ((place - FIRST) * BIN_WIDTH, max(1.5, HEIGHT * n / most))
        for place, n in sorted(bins.items())
    ]
    numbers = {name: float(row[name]) for name in ("total", "median", "p90", "longest")}
    return Histogram(row["job_table"], row["n"], **numbers, bars=bars)
