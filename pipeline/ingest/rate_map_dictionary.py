"""Finished rate maps in the nested dictionary of the original (mec 8.1), of many animals at once.

In Python it is ``dataset[arena][animal] = {"resp": ..., "cell_ids": ...}``; on disk an `.npz` file
with the arrays ``<arena>/<animal>/resp`` and ``<arena>/<animal>/cell_ids``.
"""

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.ingest.npy import read_npz
from pipeline.ingest.open_field import insert_open_fields
from pipeline.ingest.open_field_arrays import OpenFieldArrays
from pipeline.ingest.rows import BadRecording
from pipeline.ingest.scan import Source
from pipeline.ingest.source import source_of
from science.digest import array_digest
from science.navigation import Rectangle

READER = "rate_map_dictionary"
READER_VERSION = "1"

PARTS = ("resp", "cell_ids")

Dataset = Mapping[Any, Mapping[Any, Mapping[str, ArrayLike]]]
Maps = dict[str, dict[str, dict[str, NDArray[Any]]]]
Sizes = Mapping[str, tuple[float, float]]


def save_dictionary(path: Path, dataset: Dataset) -> None:
    """Write a dictionary of rate maps to an `.npz` file, from which it can be ingested.

    Parameters
    ----------
    path : Path
        Of the file; replaced if it exists.
    dataset : mapping
        ``dataset[arena][animal]`` holds "resp", float, (nx, ny, n_cells) or (nx * ny, n_cells), and
        "cell_ids", integers or text, (n_cells,). Arenas and animals may have any keys; they are
        written as text.

    Raises
    ------
    BadRecording
        If it is not so, or two keys are the same as text or cannot be part of a name.
    """
    arrays = {
        f"{arena}/{animal}/{part}": array
        for arena, animals in _as_arrays(dataset).items()
        for animal, parts in animals.items()
        for part, array in parts.items()
    }
    with Path(path).open("wb") as file:
        np.savez_compressed(file, **arrays)


def load_dictionary(path: Path) -> Maps:
    """Read what `save_dictionary` wrote; all keys are text.

    Raises
    ------
    BadRecording
        If the file cannot be read, or its arrays have other names.
    """
    dataset: Maps = {}
    for name, array in read_npz(Path(path)).items():
        keys = name.split("/")
        if len(keys) != 3 or keys[2] not in PARTS:
            raise BadRecording(
                f"{path} holds an array '{name}': all must be named <arena>/<animal>/resp and "
                "<arena>/<animal>/cell_ids, as `save_dictionary` does"
            )
        arena, animal, part = keys
        dataset.setdefault(arena, {}).setdefault(animal, {})[part] = array
    return _as_arrays(dataset)


def ingest_rate_maps(
    path: Path,
    first_animal: int,
    sizes: Sizes | None = None,
    shape: tuple[int, int] | None = None,
) -> int:
    """Ingest a file of rate maps, all of it or nothing; return how many recordings were new.

    Parameters and errors are those of `ingest_dictionary` and `load_dictionary`.
    """
    source = source_of(path, READER, READER_VERSION)
    return _ingest(load_dictionary(path), first_animal, sizes, shape, source)


def ingest_dictionary(
    dataset: Dataset,
    first_animal: int,
    sizes: Sizes | None = None,
    shape: tuple[int, int] | None = None,
    source_name: str = "dictionary",
) -> int:
    """Ingest a dictionary of rate maps, all of it or nothing; return how many recordings were new.

    Each animal in each arena is a recording: the animals are numbered in the order in which they
    occur, the same in all arenas; the sessions are the arenas, numbered from 1.

    Parameters
    ----------
    dataset : mapping
        As `save_dictionary` takes it.
    first_animal : int
        animal_id of the first animal.
    sizes : mapping of str to (float, float), optional
        Width and height of arenas by their names, m. Arenas that are called by a number are
        squares of so many metres, as in the original.
    shape : (int, int), optional
        Bins in x and y of responses (nx * ny, n_cells); by default as many in x as in y.
    source_name : str
        What the recordings are said to come from.

    Raises
    ------
    BadRecording
        If the dictionary is not so, an arena has no size, or as of `insert_open_field`.
    """
    arrays = _as_arrays(dataset)
    digest = hashlib.sha256()
    for arena, animals in arrays.items():
        for animal, parts in animals.items():
            digest.update(f"{arena}/{animal}/{array_digest(*parts.values())}".encode())
    source = Source(READER, READER_VERSION, source_name, None, digest.hexdigest())
    return _ingest(arrays, first_animal, sizes, shape, source)


def _ingest(
    dataset: Maps,
    first_animal: int,
    sizes: Sizes | None,
    shape: tuple[int, int] | None,
    source: Source,
) -> int:
    boxes = _boxes(list(dataset), sizes or {})
    names = list(dict.fromkeys(name for animals in dataset.values() for name in animals))
    animal_id = {name: first_animal + index for index, name in enumerate(names)}
    recordings = [
        (
            {"animal_id": animal_id[animal], "session": session, "scan_idx": 1},
            _recording(arena, boxes[arena], animal, shape, **parts),
        )
        for session, (arena, animals) in enumerate(dataset.items(), 1)
        for animal, parts in animals.items()
    ]
    return insert_open_fields(recordings, source)


def _as_arrays(dataset: Dataset) -> Maps:
    """Check keys and types of a dictionary."""
    arrays = {
        arena: {
            animal: _parts(parts, f"{animal} in '{arena}'")
            for animal, parts in _by_text(animals, "animals").items()
        }
        for arena, animals in _by_text(dataset, "arenas").items()
    }
    if not any(arrays.values()):
        raise BadRecording("the dictionary is empty: it must hold dataset[arena][animal]")
    return arrays


def _by_text(mapping: Any, what: str) -> dict[str, Any]:
    if not isinstance(mapping, Mapping):
        raise BadRecording(f"{what} must be keys of a dictionary, not {type(mapping).__name__}")
    named = {str(key): value for key, value in mapping.items()}
    if len(named) < len(mapping):
        raise BadRecording(f"two {what} have the same name as text: {[*map(str, mapping)]}")
    bad = [name for name in named if not name or "/" in name]
    if bad:
        raise BadRecording(f"names of {what} must not be empty or hold a slash: rename {bad}")
    return named


def _parts(parts: Any, whose: str) -> dict[str, NDArray[Any]]:
    if not isinstance(parts, Mapping) or set(parts) != set(PARTS):
        held = sorted(map(str, parts)) if isinstance(parts, Mapping) else type(parts).__name__
        raise BadRecording(f"{whose} must hold {' and '.join(PARTS)}, not {held}")
    resp, cell_ids = (np.asarray(parts[part]) for part in PARTS)
    if cell_ids.dtype == object:
        cell_ids = np.array(cell_ids.tolist())
    if resp.dtype.kind not in "fiu":
        raise BadRecording(f"resp of {whose} must be numbers, not {resp.dtype}")
    if cell_ids.dtype.kind not in "iuU" or cell_ids.ndim != 1:
        raise BadRecording(
            f"cell_ids of {whose} must be integers or text (n_cells,), not {cell_ids.dtype} "
            f"{cell_ids.shape}"
        )
    return {"resp": resp, "cell_ids": cell_ids}


def _recording(
    arena: str,
    box: Rectangle,
    animal: str,
    shape: tuple[int, int] | None,
    resp: NDArray[Any],
    cell_ids: NDArray[Any],
) -> OpenFieldArrays:
    maps = _in_bins(resp, shape, f"{animal} in '{arena}'")
    return OpenFieldArrays(
        arena=arena,
        box=box,
        animal_name=animal,
        cell_names=cell_ids.astype(str).tolist(),
        unit_id=np.arange(1, maps.shape[-1] + 1),
        maps=maps,
    )


def _in_bins(resp: NDArray[Any], shape: tuple[int, int] | None, whose: str) -> NDArray[Any]:
    """Return responses as (nx, ny, n_cells): the first axis is x (mec 8.1)."""
    if resp.ndim == 3 and shape in (None, resp.shape[:2]):
        return resp
    if resp.ndim != 2:
        asked = "" if shape is None else f", with {shape[0]} x {shape[1]} bins"
        raise BadRecording(
            f"resp of {whose} must be (nx, ny, n_cells) or (nx * ny, n_cells){asked}, not "
            f"{resp.shape}"
        )
    n_bins, n_cells = resp.shape
    nx, ny = shape or (math.isqrt(n_bins),) * 2
    if nx * ny != n_bins:
        raise BadRecording(
            f"resp of {whose} has {n_bins} bins, which are not {nx} x {ny}: give their shape"
        )
    return resp.reshape(nx, ny, n_cells)


def _boxes(arenas: list[str], sizes: Sizes) -> dict[str, Rectangle]:
    unknown = sorted(set(sizes) - set(arenas))
    if unknown:
        raise BadRecording(f"sizes are given of arenas {unknown}, but there are only {arenas}")
    return {arena: _box(arena, sizes.get(arena)) for arena in arenas}


def _box(arena: str, size: tuple[float, float] | None) -> Rectangle:
    try:
        width, height = size or (float(arena),) * 2
    except ValueError as error:
        raise BadRecording(
            f"the arena '{arena}' is not called by its size: give its width and height, m"
        ) from error
    if not (0 < width < math.inf and 0 < height < math.inf):
        raise BadRecording(f"the arena '{arena}' cannot be {width:g} x {height:g} m")
    return Rectangle(width=width, height=height)
