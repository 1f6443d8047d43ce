"""A foraging recording as readers hand it over, and what must be true of it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.checks import is_real, unit_problems
from pipeline.ingest.scan import Floats, Units
from science.navigation import Rectangle, Track

MAX_NAME = {"arena": 24, "animal": 64, "cell": 64}
SIDES_M = 0.1, 50.0  # of an arena: one beyond was given in other units
MAX_HEADING = 4 * np.pi  # rad: a larger one is in degrees


@dataclass(frozen=True, eq=False)
class OpenFieldArrays:
    """A recording of a foraging animal: either its track and its spikes, or finished maps.

    Attributes
    ----------
    arena : str
        Its name; recordings in one arena are compared bin by bin.
    box : Rectangle
        Its walls, metres.
    animal_name : str
        In the source.
    cell_names : sequence of str, (n_cells,)
        In the source.
    unit_id : int, (n_cells,)
        Ascending.
    track : Track, optional
        Where the animal was.
    spikes : sequence of float (n_spikes,), (n_cells,), optional
        When each cell fired: s, on the clock of the track, ascending.
    maps : float, (nx, ny, n_cells), optional
        Rates, not negative; NaN where the animal never was.
    """

    arena: str
    box: Rectangle
    animal_name: str
    cell_names: Sequence[str]
    unit_id: NDArray[np.integer]
    track: Track | None = None
    spikes: Sequence[Floats] | None = None
    maps: Floats | None = None


def problems(recording: OpenFieldArrays) -> Iterator[str]:
    """Yield what is wrong with a recording; what is yielded after the first may follow from it."""
    yield from _name_problems("arena", [recording.arena])
    yield from _name_problems("animal", [recording.animal_name])
    yield from _arena_problems(recording.box)
    yield from _cell_problems(recording.cell_names, recording.unit_id)
    tracked = recording.track is not None, recording.spikes is not None
    if tracked == (False, False) and recording.maps is not None:
        yield from _map_problems(recording.maps, recording.cell_names)
    elif tracked == (True, True) and recording.maps is None:
        yield from _track_problems(recording.track, recording.box)
        yield from _spike_problems(recording.spikes, recording.cell_names, recording.track)
    else:
        yield "either a track and spikes, or finished maps are needed"


def _name_problems(what: str, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        if not 0 < len(name) <= MAX_NAME[what]:
            yield f"a name of {what} has 1 to {MAX_NAME[what]} characters, not '{name}'"


def _arena_problems(box: Rectangle) -> Iterator[str]:
    low, high = SIDES_M
    if not (low <= box.width <= high and low <= box.height <= high):
        yield (
            f"an arena of {box.width:g} x {box.height:g} m is not one to forage in: check the unit "
            "of its size and of the positions"
        )


def _cell_problems(names: Sequence[str], unit_id: NDArray[np.integer]) -> Iterator[str]:
    if not len(unit_id):
        yield "there are no cells: give at least one"
    if len(names) != len(unit_id):
        yield f"there are {len(unit_id)} cells, but {len(names)} names: give each cell one"
    yield from unit_problems(Units(unit_id))
    yield from _name_problems("cell", names)
    repeated = [name for name, n in Counter(names).items() if n > 1]
    if repeated:
        yield f"more than one cell is called {_listed(repeated)}: give them different names"


def _track_problems(track: Track, box: Rectangle) -> Iterator[str]:
    if not np.isfinite(track.t).all():
        yield "the times of the track hold infinite values: leave these samples out"
    if np.isinf(track.positions).any():
        yield "the positions hold infinite values: write NaN where tracking was lost"
    known = track.positions[np.isfinite(track.positions).all(1)]
    if not len(known):
        yield "no position is known, all are NaN: there is nothing to map"
        return
    outside = 1 - box.contains(known).mean()
    if outside > 0.5:
        low, high = known.min(0), known.max(0)
        yield (
            f"{outside:.0%} of the positions lie outside the arena: they reach from x {low[0]:g} "
            f"to {high[0]:g} m and y {low[1]:g} to {high[1]:g} m, the arena from {box}: check "
            "their unit and their origin"
        )
    if track.heading is None:
        return
    known = track.heading[~np.isnan(track.heading)]
    if known.size and np.abs(known).max() > MAX_HEADING:
        yield (
            f"the heading reaches {known[np.abs(known).argmax()]:g}: give it in radians, -pi to pi"
        )


def _spike_problems(spikes: Sequence[Floats], names: Sequence[str], track: Track) -> Iterator[str]:
    if len(spikes) != len(names):
        yield f"there are spikes of {len(spikes)} cells, but {len(names)} names: give each one"
    for name, train in zip(names, spikes, strict=True):
        if train.ndim != 1 or not is_real(train):
            yield f"the spikes of {name} must be numbers (n,), s, not {train.dtype} {train.shape}"
        if not np.isfinite(train).all():
            yield f"the spikes of {name} hold NaN or infinite times: leave these spikes out"
        if (train[1:] < train[:-1]).any():
            yield f"the spikes of {name} are not in order: sort their times"
    n_spikes = sum(len(train) for train in spikes)
    first, last = track.t[[0, -1]] + np.array([-0.5, 0.5]) * track.sample_s
    if n_spikes and not any(((first <= train) & (train <= last)).any() for train in spikes):
        yield (
            f"all {n_spikes} spikes lie outside the time of the track, {first:g} to {last:g} s: "
            "give spikes in seconds, on the clock of the track"
        )


def _map_problems(maps: Floats, names: Sequence[str]) -> Iterator[str]:
    if maps.ndim != 3 or not is_real(maps):
        yield f"maps must be numbers (nx, ny, n_cells), not {maps.dtype} {maps.shape}"
    if maps.shape[2] != len(names):
        yield f"there are maps of {maps.shape[2]} cells, but {len(names)} names: give each one"
    for bad, what in (
        (np.isinf(maps).any((0, 1)), "hold infinite rates: write NaN where the animal never was"),
        ((maps < 0).any((0, 1)), "hold negative rates: give rates as they are, not normalised"),
        (np.isnan(maps).all((0, 1)), "hold nothing but NaN: leave these cells out"),
    ):
        if bad.any():
            yield f"the maps of {_listed(np.asarray(names)[bad].tolist())} {what}"


def _listed(names: Sequence[str], n_shown: int = 5) -> str:
    more = f" and {len(names) - n_shown} more" if len(names) > n_shown else ""
    return ", ".join(names[:n_shown]) + more
