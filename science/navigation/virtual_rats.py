"""Virtual rats: entorhinal cells whose tuning to place and direction is known.

Every cell fires at ``baseline + peak * place * direction``, both factors at most 1:

- grid: ``place = exp(sharpness (w - 3))``, w the sum of three cosines whose waves are 60 degrees
  apart, at most 3 (Solstad, Moser & Einevoll 2006, Hippocampus 16:1026); the cells of a module
  share spacing and orientation
- border: ``place = exp(-distance / decay)`` from one wall
- place: a Gaussian around a centre
- head_direction: ``direction = exp(concentration (cos(heading - preferred) - 1))``
- conjunctive: grid and head direction (Sargolini et al. 2006, Science 312:758)
- untuned: both factors 1
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from science.blocks import blocks
from science.navigation.rectangle import Rectangle
from science.navigation.track import Track
from science.params import Params, Positive

Floats = NDArray[np.float64]

KINDS = ("grid", "border", "place", "head_direction", "conjunctive", "untuned")
WALLS = ("min_x", "max_x", "min_y", "max_y")


class VirtualRatParams(Params):
    """What a virtual rat is; together with a seed it determines every cell."""

    arena: Rectangle = Rectangle(width=1.0, height=1.0)
    n_grid: int = Field(12, ge=0, le=2000, description="cells, dealt to the modules in turn")
    n_border: int = Field(4, ge=0, le=2000, description="cells, dealt to the walls in turn")
    n_place: int = Field(4, ge=0, le=2000)
    n_head_direction: int = Field(4, ge=0, le=2000)
    n_conjunctive: int = Field(4, ge=0, le=2000, description="as n_grid")
    n_untuned: int = Field(4, ge=0, le=2000)

    module_spacings: tuple[Positive, ...] = Field(
        (0.3, 0.42, 0.6), min_length=1, description="of the grid modules, m"
    )
    grid_sharpness: float = Field(0.7, gt=0, le=10, description="larger: smaller fields")
    border_decay: float = Field(0.08, gt=0, le=10, description="from the wall to 1/e, m")
    place_sd: float = Field(0.12, gt=0, le=10, description="of a place field, m")
    concentration_low: float = Field(2.0, gt=0, le=100, description="least tuned to direction")
    concentration_high: float = Field(6.0, gt=0, le=100, description="most tuned to direction")
    peak_low: float = Field(8.0, gt=0, le=500, description="least peak above baseline, Hz")
    peak_high: float = Field(20.0, gt=0, le=500, description="largest peak above baseline, Hz")
    untuned_low: float = Field(1.0, gt=0, le=500, description="least rate of untuned cells, Hz")
    untuned_high: float = Field(5.0, gt=0, le=500, description="largest one, Hz")
    baseline: float = Field(0.2, ge=0, le=100, description="of all tuned cells, Hz")

    @model_validator(mode="after")
    def _ranges_and_cells(self) -> "VirtualRatParams":
        for name in ("concentration", "peak", "untuned"):
            if getattr(self, f"{name}_low") > getattr(self, f"{name}_high"):
                raise ValueError(f"{name}_low is above {name}_high")
        if not any(getattr(self, f"n_{kind}") for kind in KINDS):
            raise ValueError("a virtual rat needs at least one cell")
        return self


@dataclass(frozen=True, eq=False)
class VirtualRat:
    """A rat of n known cells, in the order of `KINDS`; what a cell does not have is NaN or -1.

    Attributes
    ----------
    params : VirtualRatParams
        What it was made from.
    kinds : str, (n,)
        Of `KINDS`.
    baselines, peaks : float64, (n,)
        Hz.
    modules : int64, (n,)
        Grid module of grid and conjunctive cells.
    spacings : float64, (n,)
        Distance of neighbouring fields, m.
    orientations : float64, (n,)
        Direction of one of the nearest fields, rad, in [0, pi / 3).
    centres : float64, (n, 2)
        Of the place field or one of the grid's, m.
    walls : int64, (n,)
        Of border cells, index into `WALLS`.
    preferred : float64, (n,)
        Direction of the head, rad, in [-pi, pi).
    concentrations : float64, (n,)
        Of the tuning to it.
    """

    params: VirtualRatParams
    kinds: NDArray[np.str_]
    baselines: Floats
    peaks: Floats
    modules: NDArray[np.int64]
    spacings: Floats
    orientations: Floats
    centres: Floats
    walls: NDArray[np.int64]
    preferred: Floats
    concentrations: Floats

    @classmethod
    def of(cls, params: VirtualRatParams, seed: int) -> "VirtualRat":
        """Draw all cells of a rat."""
        rng = np.random.default_rng(seed)
        counts = [getattr(params, f"n_{kind}") for kind in KINDS]
        kinds = np.repeat(KINDS, counts)
        nth = np.concatenate([np.arange(count) for count in counts])
        n = len(kinds)
        grid, border = np.isin(kinds, ("grid", "conjunctive")), kinds == "border"
        directed, untuned = np.isin(kinds, ("head_direction", "conjunctive")), kinds == "untuned"

        def only(cells: NDArray[np.bool_], values: Floats) -> Floats:
            return np.where(cells, values, np.nan)

        n_modules = len(params.module_spacings)
        modules = np.where(grid, nth % n_modules, -1)
        spacings = only(grid, np.array(params.module_spacings)[modules])
        orientations = only(grid, rng.uniform(0, np.pi / 3, n_modules)[modules])
        low, high = params.arena.corners
        located = grid | (kinds == "place")
        return cls(
            params=params,
            kinds=kinds,
            baselines=np.where(untuned, 0.0, params.baseline),
            peaks=np.where(
                untuned,
                rng.uniform(params.untuned_low, params.untuned_high, n),
                rng.uniform(params.peak_low, params.peak_high, n),
            ),
            modules=modules,
            spacings=spacings,
            orientations=orientations,
            centres=only(located[:, None], rng.uniform(low, high, (n, 2))),
            walls=np.where(border, nth % len(WALLS), -1),
            preferred=only(directed, rng.uniform(-np.pi, np.pi, n)),
            concentrations=only(
                directed, rng.uniform(params.concentration_low, params.concentration_high, n)
            ),
        )

    def rates(self, positions: ArrayLike, heading: ArrayLike | None = None) -> Floats:
        """Rate of every cell at places and directions of the head.

        Parameters
        ----------
        positions : array_like
            float, (m, 2), metres; beyond a wall border cells fire as at it.
        heading : array_like, optional
            float, (m,), rad; may be left out where no cell is tuned to it.

        Returns
        -------
        ndarray
            float64, (m, n), Hz; NaN where what a cell is tuned to is.

        Raises
        ------
        ValueError
            If the shapes do not fit, or a cell is tuned to the heading and there is none.
        """
        positions = np.asarray(positions, np.float64)
        if positions.ndim != 2 or positions.shape[1] != 2:
            raise ValueError(f"positions must be (m, 2), got the shape {positions.shape}")
        tuning = np.ones((len(positions), len(self.kinds)))
        grid, border, place = self.modules >= 0, self.walls >= 0, self.kinds == "place"
        directed = np.isfinite(self.preferred)
        tuning[:, grid] = self._grid(positions, grid)
        tuning[:, border] = self._border(positions)[:, self.walls[border]]
        offset = positions[:, None] - self.centres[place]
        tuning[:, place] = np.exp(-(offset**2).sum(-1) / (2 * self.params.place_sd**2))
        if directed.any():
            if heading is None or np.shape(heading) != (len(positions),):
                raise ValueError(
                    f"{directed.sum()} cells are tuned to the heading: give one for each of the "
                    f"{len(positions)} positions"
                )
            angle = np.asarray(heading, np.float64)[:, None] - self.preferred[directed]
            tuning[:, directed] *= np.exp(self.concentrations[directed] * (np.cos(angle) - 1))
        return self.baselines + self.peaks * tuning

    def _grid(self, positions: Floats, cells: NDArray[np.bool_]) -> Floats:
        """Factor of place of grid cells, (m, n_cells)."""
        # Waves run at right angles to rows of fields.
        angles = self.orientations[cells] + np.deg2rad([[30], [90], [150]])
        waves = np.stack([np.cos(angles), np.sin(angles)], -1)
        waves *= 4 * np.pi / (np.sqrt(3) * self.spacings[cells, None])
        phases = (waves * self.centres[cells]).sum(-1)
        total = sum(
            np.cos(positions @ wave.T - phase) for wave, phase in zip(waves, phases, strict=True)
        )
        return np.exp(self.params.grid_sharpness * (total - 3))

    def _border(self, positions: Floats) -> Floats:
        """Factor of place of a border cell at each wall, (m, 4)."""
        arena = self.params.arena
        x, y = positions.T
        distance = [x - arena.min_x, arena.max_x - x, y - arena.min_y, arena.max_y - y]
        return np.exp(-np.maximum(np.stack(distance, -1), 0) / self.params.border_decay)

    def record(self, track: Track, seed: int) -> list[Floats]:
        """Let all cells fire along a track: independent Poisson processes.

        Parameters
        ----------
        track : Track
            True positions (and headings), all known; what a camera loses is lost afterwards.
        seed : int
            Of the spikes.

        Returns
        -------
        list of ndarray
            float64, (n_spikes,), times of each cell, s, increasing.

        Raises
        ------
        ValueError
            If a position or heading is missing.
        """
        rng = np.random.default_rng(seed)
        times, cells = [], []
        for block in blocks(len(track.t), 8 * len(self.kinds)):
            heading = None if track.heading is None else track.heading[block]
            rates = self.rates(track.positions[block], heading)
            if np.isnan(rates).any():
                raise ValueError(
                    "the track has unknown positions or headings: record along the true ones"
                )
            counts = rng.poisson(rates * track.sample_s)
            sample, cell = np.nonzero(counts)
            repeats = counts[sample, cell]
            sample, cell = np.repeat(sample, repeats), np.repeat(cell, repeats)
            jitter = rng.uniform(-0.5, 0.5, len(sample)) * track.sample_s
            times.append(track.t[block][sample] + jitter)
            cells.append(cell)
        times, cells = np.concatenate(times), np.concatenate(cells)
        order = np.lexsort((times, cells))
        counts = np.bincount(cells, minlength=len(self.kinds))
        return np.split(times[order], np.cumsum(counts)[:-1])
