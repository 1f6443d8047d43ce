"""Sessions of a tracked animal: positions, and the spikes of each cell, in one `.npz` file."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.checks import is_real
from pipeline.ingest.npy import read_npz
from pipeline.ingest.open_field import insert_open_field
from pipeline.ingest.open_field_arrays import OpenFieldArrays
from pipeline.ingest.rows import BadRecording
from pipeline.ingest.source import source_of
from science.navigation import Rectangle, Track, led_heading

READER_VERSION = "1"

REQUIRED = ("t", "x", "y")
OPTIONAL = ("x2", "y2", "heading")
SPIKES = "spikes_"
METRES: dict[str, float] = {"cm": 0.01, "m": 1.0}
ARENA_STEP = 0.05  # m

LengthUnit = Literal["cm", "m"]
Arrays = Mapping[str, NDArray[Any]]


def ingest_spikes_positions(
    path: Path,
    key: dict[str, int],
    arena: str,
    unit: LengthUnit,
    size: tuple[float, float] | None = None,
    animal_name: str | None = None,
    centre: bool = False,
) -> bool:
    """Ingest a session; False when it is already there.

    Parameters and errors are those of `read_spikes_positions` and `insert_open_field`.
    """
    source = source_of(path, "spikes_positions", READER_VERSION)
    arrays = read_spikes_positions(path, arena, unit, size, animal_name, centre)
    return insert_open_field(key, arrays, source)


def read_spikes_positions(
    path: Path,
    arena: str,
    unit: LengthUnit,
    size: tuple[float, float] | None = None,
    animal_name: str | None = None,
    centre: bool = False,
) -> OpenFieldArrays:
    """Read a session (the names of its arrays are listed in docs/open_field.md).

    Parameters
    ----------
    path : Path
        An `.npz` file.
    arena : str
        Name of the arena, whose middle is the origin.
    unit : {'cm', 'm'}
        Of the positions.
    size : (float, float), optional
        Width and height of the arena, m; by default what the positions need, in steps of 5 cm.
    animal_name : str, optional
        By default the name of the file without its suffix.
    centre : bool
        Move the positions so that the middle of their extent is the origin.

    Raises
    ------
    BadRecording
        If the file cannot be read, its content is not as described, or its positions lie
        around another point than the origin and neither `size` nor `centre` is given.
    """
    arrays = read_npz(path)
    _check(path, arrays)
    cells = [name.removeprefix(SPIKES) for name in arrays if name.startswith(SPIKES)]
    positions = _points(arrays, "x", "y") * METRES[unit]
    try:
        track = Track(arrays["t"], positions, _heading(arrays))
    except ValueError as error:
        raise BadRecording(f"{path}: {error}") from error
    low, high = _extent(path, track.positions)
    if centre:
        middle = (low + high) / 2
        track = Track(track.t, track.positions - middle, track.heading)
        low, high = low - middle, high - middle
    return OpenFieldArrays(
        arena=arena,
        box=_around(path, low, high) if size is None else _box(*size),
        animal_name=path.stem if animal_name is None else animal_name,
        cell_names=cells,
        unit_id=np.arange(1, len(cells) + 1),
        track=track,
        spikes=[arrays[SPIKES + cell] for cell in cells],
    )


def _check(path: Path, arrays: Arrays) -> None:
    missing = [name for name in REQUIRED if name not in arrays]
    if missing:
        raise BadRecording(f"{path} lacks {missing}; it holds {sorted(arrays)}")
    known = (*REQUIRED, *OPTIONAL)
    unknown = [n for n in arrays if n not in known and not n.startswith(SPIKES)]
    if unknown:
        raise BadRecording(
            f"{path} holds arrays that the format does not know: {unknown}; it knows "
            f"{[*known, SPIKES + '<cell>']}"
        )
    if ("x2" in arrays) != ("y2" in arrays) or ("x2" in arrays and "heading" in arrays):
        raise BadRecording(
            f"{path} must hold x2 and y2 of a second LED, or the heading, or none of them; it "
            f"holds {[name for name in OPTIONAL if name in arrays]}"
        )
    shape = arrays["t"].shape
    for name in known:
        if name in arrays and (arrays[name].shape != shape or not is_real(arrays[name])):
            raise BadRecording(
                f"{path}: {name} must be one number per time {shape}, not "
                f"{arrays[name].dtype} {arrays[name].shape}"
            )


def _points(arrays: Arrays, x: str, y: str) -> NDArray[np.float64]:
    return np.stack([arrays[x], arrays[y]], axis=-1).astype(np.float64)


def _heading(arrays: Arrays) -> NDArray[np.float64] | None:
    if "x2" in arrays:
        return led_heading(_points(arrays, "x", "y"), _points(arrays, "x2", "y2"))
    return arrays.get("heading")


def _extent(path: Path, positions: NDArray[np.float64]) -> NDArray[np.float64]:
    known = positions[np.isfinite(positions).all(1)]
    if not len(known):
        raise BadRecording(f"{path}: no position is known, all are NaN: there is nothing to map")
    return np.stack([known.min(0), known.max(0)])


def _around(path: Path, low: NDArray[np.float64], high: NDArray[np.float64]) -> Rectangle:
    """Return the smallest box around the origin, in steps of 5 cm, that holds all positions."""
    if (np.abs(low + high) > 0.2 * (high - low)).any():
        raise BadRecording(
            f"{path}: the positions, x {low[0]:g} to {high[0]:g} m and y {low[1]:g} to "
            f"{high[1]:g} m, do not lie around the origin: have them centred (--centre), or give "
            "the size of the arena if the animal left out a part of it"
        )
    sides = 2 * np.maximum(-low, high)
    steps = np.maximum(np.ceil(np.round(sides / ARENA_STEP, 6)), 1)
    return _box(*(steps * ARENA_STEP).round(2).tolist())


def _box(width: float, height: float) -> Rectangle:
    if not (0 < width < math.inf and 0 < height < math.inf):
        raise BadRecording(f"an arena has a width and a height, m, not {width:g} and {height:g}")
    return Rectangle(width=width, height=height)
