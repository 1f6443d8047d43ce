"""Rate maps and scores of all cells of an animal, beside those of their shuffled spikes."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from science.navigation.autocorrelogram import as_maps
from science.navigation.border_score import border_scores
from science.navigation.grid_score import grid_scores
from science.navigation.head_direction import (
    HeadDirectionScores,
    direction_tuning,
    head_direction_scores,
)
from science.navigation.rate_maps import RateMapParams, RateMaps, rate_maps
from science.navigation.rectangle import Rectangle
from science.navigation.shuffles import ShuffleParams, shuffle_test
from science.navigation.spatial_information import spatial_information
from science.navigation.track import SpikeTrains, Track, binned_spikes
from science.params import Params, Positive

Floats = NDArray[np.float64]


class RateMapMethod(Params):
    """How the cells of an animal are mapped and scored."""

    maps: RateMapParams = RateMapParams()
    shuffles: ShuffleParams = ShuffleParams()
    legacy_grid_score: bool = Field(
        False, description="rings of the original's radii, instead of those of each cell's peak"
    )
    n_segments: int = Field(
        1,
        ge=1,
        description="parts of the session whose maps count as trials of the noise correction; "
        "1: none",
    )
    segment_block_s: Positive = Field(
        30.0,
        description="the session is cut into blocks of this length, dealt to the segments in turn",
    )


@dataclass(frozen=True, eq=False)
class MapScores:
    """What rate maps alone tell of n cells or model units.

    Attributes
    ----------
    mean_rate, peak_rate : float64, (n,)
        Over the known bins, in the unit of the maps; NaN where none is known.
    grid, spacing, orientation : float64, (n,)
        As `grid_scores` returns.
    border : float64, (n,)
        As `border_scores` returns.
    information : float64, (n,)
        As `spatial_information` returns.
    """

    mean_rate: Floats
    peak_rate: Floats
    grid: Floats
    spacing: Floats
    orientation: Floats
    border: Floats
    information: Floats


class TestedScore(NamedTuple):
    """A score of n cells beside that of their shuffled spikes, (n,) each, as of `ShuffleTest`."""

    observed: Floats
    p: Floats
    percentile_95: Floats


@dataclass(frozen=True, eq=False)
class CellScores:
    """Rate maps of the n cells of an animal, and what they are by them.

    Attributes
    ----------
    maps : RateMaps
        Rates, occupancy and bins.
    n_spikes : int64, (n,)
        Those that the maps are made of: fired in the arena while the animal was tracked.
    mean_rate, peak_rate : float64, (n,)
        Hz, over the known bins of the map.
    grid, border, information : TestedScore
        Of `grid_scores`, `border_scores` and `spatial_information`.
    spacing, orientation : float64, (n,)
        Of the grid, metres and rad, as `grid_scores` returns.
    head_direction : TestedScore or None
        Of `head_direction_scores`; None if the track has no heading.
    preferred_direction : float64, (n,), or None
        Rad; None if the track has no heading.
    """

    maps: RateMaps
    n_spikes: NDArray[np.int64]
    mean_rate: Floats
    peak_rate: Floats
    grid: TestedScore
    border: TestedScore
    information: TestedScore
    spacing: Floats
    orientation: Floats
    head_direction: TestedScore | None
    preferred_direction: Floats | None


def map_scores(
    maps: ArrayLike,
    bin_width: float = 0.05,
    occupancy: ArrayLike | None = None,
    legacy_grid_score: bool = False,
) -> MapScores:
    """Score maps of animals or networks.

    Parameters
    ----------
    maps : array_like
        float, (nx, ny, n); NaN where unknown.
    bin_width : float
        Side of a bin, metres.
    occupancy : array_like, optional
        float, (nx, ny), time in each bin; by default the same in all.
    legacy_grid_score : bool
        As `legacy` of `grid_scores`.
    """
    maps = as_maps(maps)
    occupancy = np.ones(maps.shape[:2]) if occupancy is None else occupancy
    grid = grid_scores(maps, bin_width, legacy=legacy_grid_score)
    known = np.isfinite(maps)
    n_known = known.sum((0, 1))
    mean = np.where(known, maps, 0.0).sum((0, 1)) / np.where(n_known, n_known, np.nan)
    peak = np.where(known, maps, -np.inf).max((0, 1))
    return MapScores(
        mean,
        np.where(n_known, peak, np.nan),
        grid.score,
        grid.spacing,
        grid.orientation,
        border_scores(maps, bin_width),
        spatial_information(maps, occupancy),
    )


def cell_scores(
    track: Track, spikes: SpikeTrains, arena: Rectangle, method: RateMapMethod | None = None
) -> CellScores:
    """Map and score all cells, and shuffle each of them once for all scores.

    Parameters
    ----------
    track : Track
        Where the animal was, and where it looked if that is known.
    spikes : SpikeTrains
        All cells, on the clock of the track.
    arena : Rectangle
        What is divided into bins.
    method : RateMapMethod, optional
        Maps, shuffles and grid score; segments have no part in this.

    Raises
    ------
    ValueError
        If the animal was never in the arena, or the session is too short for the shuffles.
    """
    method = method or RateMapMethod()
    directed = track.heading is not None and bool(np.isfinite(track.heading).any())

    def of_maps(maps: RateMaps) -> MapScores:
        width, legacy = maps.bins.width, method.legacy_grid_score
        return map_scores(maps.rates, width, maps.occupancy, legacy)

    def of_directions(trains: SpikeTrains) -> HeadDirectionScores:
        return head_direction_scores(direction_tuning(track, trains)[0])

    def scores(trains: SpikeTrains) -> Floats:
        found = of_maps(rate_maps(track, trains, arena, method.maps))
        by_direction = [of_directions(trains).score] if directed else []
        return np.stack([found.grid, found.border, found.information, *by_direction])

    maps = rate_maps(track, spikes, arena, method.maps)
    own = of_maps(maps)
    test = shuffle_test(scores, track, spikes, method.shuffles)
    rows = zip(test.observed, test.p, test.percentile_95, strict=True)
    grid, border, information, *by_direction = (TestedScore(*row) for row in rows)
    in_arena = np.where(maps.bins.index(track.positions) < 0, -1, 0)
    return CellScores(
        maps,
        binned_spikes(track, spikes, in_arena, 1)[1][0].astype(np.int64),
        own.mean_rate,
        own.peak_rate,
        grid,
        border,
        information,
        own.spacing,
        own.orientation,
        by_direction[0] if directed else None,
        of_directions(spikes).preferred if directed else None,
    )


def segment_maps(
    track: Track, spikes: SpikeTrains, arena: Rectangle, method: RateMapMethod
) -> Floats:
    """Rate maps of parts of the session, which serve as trials where there are none.

    Blocks are dealt to the segments in turn, so that all of them see the whole session.

    Parameters
    ----------
    track, spikes, arena
        As of `cell_scores`.
    method : RateMapMethod
        Maps and segments.

    Returns
    -------
    ndarray
        float64, (n_segments, nx, ny, n_cells), Hz; NaN where the animal was too little in a
        segment.

    Raises
    ------
    ValueError
        If the animal was not in the arena during one of the segments.
    """
    block = (track.t - track.t[0]) // method.segment_block_s
    segment_of = block % method.n_segments
    maps = []
    for segment in range(method.n_segments):
        # Lost, not left out: a spike counts in the segment of the sample that is nearest of all.
        inside = (segment_of == segment)[:, None]
        part = Track(track.t, np.where(inside, track.positions, np.nan))
        if not arena.contains(part.positions).any():
            raise ValueError(
                f"the animal was not in the arena, {arena}, during segment {segment + 1} of "
                f"{method.n_segments}, made of blocks of {method.segment_block_s:g} s: make fewer "
                "segments or shorter blocks"
            )
        maps.append(rate_maps(part, spikes, arena, method.maps).rates)
    return np.stack(maps)
