"""The way of foraging recordings into the database: whole, once."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from pipeline.ingest.insert import all_or_nothing, already_there, insert_activity, insert_units
from pipeline.ingest.open_field_arrays import OpenFieldArrays, problems
from pipeline.ingest.rows import BadRecording, insert_in_chunks
from pipeline.ingest.scan import Floats, Source, SpikeTimes, Units
from schemas.open_field import Arena, FinishedRateMap, OpenField, Tracking
from schemas.recording import Scan, VirtualAnimal
from science.digest import array_digest
from science.navigation import Track

Key = dict[str, int]


def insert_open_field(
    key: Key, arrays: OpenFieldArrays, source: Source, virtual: dict[str, Any] | None = None
) -> bool:
    """Insert a recording with everything that belongs to it, or nothing.

    Parameters
    ----------
    key : dict
        animal_id, session, scan_idx.
    arrays : OpenFieldArrays
    source : Source
    virtual : dict, optional
        Attributes of `VirtualAnimal` for a virtual recording.

    Returns
    -------
    bool
        False when this very recording is already there.

    Raises
    ------
    BadRecording
        If something is wrong with it, another recording has this key, the arena is known with
        other walls or its maps have other bins, or the object store cannot be written.
    """
    return insert_open_fields([(key, arrays)], source, virtual) == 1


def insert_open_fields(
    recordings: Sequence[tuple[Key, OpenFieldArrays]],
    source: Source,
    virtual: dict[str, Any] | None = None,
) -> int:
    """Insert all recordings of one source, or nothing; return how many were not there.

    Parameters and errors are those of `insert_open_field`.
    """
    new = [(key, arrays) for key, arrays in recordings if not _is_there(key, arrays, source)]
    for _, arrays in new:
        for problem in problems(arrays):
            raise BadRecording(f"{arrays.animal_name} in '{arrays.arena}': {problem}")
    _check_bins([arrays for _, arrays in new])
    with all_or_nothing(source.source_name):
        for key, arrays in tqdm(new, desc="recordings", leave=False, disable=len(new) < 4):
            _insert_everything(key, arrays, source)
            if virtual is not None:
                VirtualAnimal.insert1(key | virtual)
    return len(new)


def _is_there(key: Key, arrays: OpenFieldArrays, source: Source) -> bool:
    if not already_there(key, source):
        return False
    name, arena = (OpenField & key).fetch1("animal_name", "arena")
    if (name, arena) == (arrays.animal_name, arrays.arena) and _same_walls(arrays):
        return True
    raise BadRecording(
        f"{key} is already there, as {name} in '{arena}' ({Arena.box({'arena': arena})}): choose "
        "another animal, session or scan number, or delete it first"
    )


def _same_walls(arrays: OpenFieldArrays) -> bool:
    known = Arena.box({"arena": arrays.arena})
    return np.allclose(known.corners, arrays.box.corners, rtol=0, atol=1e-6)


def _check_bins(recordings: list[OpenFieldArrays]) -> None:
    """Check that the maps of an arena, those that are there included, have the same bins."""
    bins: dict[str, tuple[int, ...]] = {}
    for arrays in recordings:
        if arrays.maps is None:
            continue
        own = arrays.maps.shape[:2]
        if arrays.arena not in bins:
            maps = FinishedRateMap * OpenField & {"arena": arrays.arena}
            known = maps.to_arrays("finished_maps", order_by="KEY", limit=1)
            bins[arrays.arena] = known[0].shape[:2] if len(known) else own
        if own != bins[arrays.arena]:
            raise BadRecording(
                f"{arrays.animal_name} has maps of {_times(own)} bins, but others in the arena "
                f"'{arrays.arena}' have {_times(bins[arrays.arena])}: bin them alike, or give the "
                "arena another name"
            )


def _times(bins: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in bins)


def _insert_everything(key: Key, arrays: OpenFieldArrays, source: Source) -> None:
    Scan.insert1(key | vars(source))
    insert_units(key, Units(arrays.unit_id))
    try:
        arena = Arena.register(arrays.arena, arrays.box)
    except ValueError as error:
        raise BadRecording(str(error)) from error
    OpenField.insert1(key | arena | {"animal_name": arrays.animal_name})
    named = zip(arrays.unit_id.tolist(), arrays.cell_names, strict=True)
    cells = (key | {"unit_id": unit, "cell_name": name} for unit, name in named)
    insert_in_chunks(OpenField.Cell, cells, len(arrays.unit_id), "cells")
    if arrays.maps is None:
        _insert_tracked(key, arrays.track, arrays.spikes)
    else:
        maps = np.ascontiguousarray(arrays.maps, np.float64)
        digest = array_digest(maps)
        FinishedRateMap.insert1(key | {"finished_maps": maps, "finished_maps_digest": digest})


def _insert_tracked(key: Key, track: Track, spikes: Sequence[Floats]) -> None:
    unknown = np.full(len(track.t), np.nan)
    heading = unknown if track.heading is None else track.heading
    samples = np.column_stack([track.t, track.positions, heading])
    Tracking.insert1(
        key
        | {
            "has_heading": bool(np.isfinite(heading).any()),
            "tracking": samples,
            "tracking_digest": array_digest(samples),
        }
    )
    counts = np.array([len(train) for train in spikes])
    insert_activity(key, SpikeTimes(np.concatenate(spikes), counts), len(spikes))
