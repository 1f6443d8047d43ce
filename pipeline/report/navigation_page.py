"""What the page says of path integrators and of foraging animals: plain data."""

import math
from dataclasses import dataclass, field
from typing import Any

from pipeline.report.picture import Picture


@dataclass(frozen=True)
class IntegratorView:
    """The path integrators of one plan; errors in cm.

    `error` is the mean over the seeds that stayed finite, from `lowest` to `highest`; `median`,
    `standing` and `centre` are means over the same seeds.
    """

    label: str
    cell: str
    activation: str
    n_units: int
    task: str
    seeds: list[int]
    n_planned: int
    n_nonfinite: int
    n_epochs: int
    error: float
    lowest: float
    highest: float
    median: float
    standing: float
    centre: float


@dataclass(frozen=True)
class IntegratorsView:
    """All path integrators, from the best to the worst."""

    plans: list[IntegratorView]
    curves: Picture | None
    walks: Picture | None


@dataclass(frozen=True)
class NetworkMapsView:
    """Rate maps of networks in one arena.

    `networks` holds one mapping per network, with `label`, `seed`, `layer`, `error` (cm),
    `n_units`, `n_scored`, `n_above` (the threshold) and `best` (grid score).
    """

    arena: str
    bin_cm: float
    threshold: float
    networks: list[dict[str, Any]]
    distributions: Picture | None
    pictures: list[Picture]


@dataclass(frozen=True)
class CellsView:
    """Recorded cells in one arena under one configuration of rate maps.

    `scores` holds one mapping per score: `name`, `n` cells that have it and shuffles of it, and
    `n_above`, those above the 95th percentile of their own shuffles; `by_kind` maps what cells of
    virtual rats truly are, some of `kinds`, to the same two numbers, `n_above` first.
    """

    arena: str
    bin_cm: float
    n_recordings: int
    n_animals: int
    n_cells: int
    n_tracked: int
    kinds: list[str]
    scores: list[dict[str, Any]]
    picture: Picture | None


@dataclass(frozen=True)
class FitsView:
    """How well cells are explained by other animals and networks, through one kind of map.

    `rows` holds one mapping per thing that explains them: `name`, `seeds` (a number, None for
    animals), `n_cells`, `n_scored`, `median`, `lowest` and `highest` (medians of the seeds), and
    `corrected`, the median corrected for noise, NaN without any. Animals come before networks, the
    best network before the others.
    """

    where: str
    map: str
    rows: list[dict[str, Any]]
    strips: Picture
    scatter: Picture | None = None

    @property
    def with_correction(self) -> bool:
        """Whether anything is corrected for noise."""
        return any(not math.isnan(row["corrected"]) for row in self.rows)

    @property
    def with_seeds(self) -> bool:
        """Whether any network has several seeds."""
        return any((row["seeds"] or 0) > 1 for row in self.rows)

    @property
    def best_network(self) -> dict[str, Any] | None:
        """Row of the network that explains most."""
        return next((row for row in self.rows if row["seeds"] is not None), None)


@dataclass(frozen=True)
class NavigationView:
    """Everything of path integrators and foraging animals."""

    integrators: IntegratorsView | None = None
    maps: list[NetworkMapsView] = field(default_factory=list)
    cells: list[CellsView] = field(default_factory=list)
    fits: list[FitsView] = field(default_factory=list)

    @property
    def most_cells(self) -> CellsView | None:
        """The arena with the most recorded cells."""
        return max(self.cells, key=lambda view: view.n_cells, default=None)

    @property
    def most_fitted(self) -> dict[str, Any] | None:
        """The best network of the fits of the most cells."""
        best = [view.best_network for view in self.fits if view.best_network]
        return max(best, key=lambda row: (row["n_scored"], row["median"]), default=None)
