"""A recording's way into the database: whole, once."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from pipeline.ingest.checks import check
from pipeline.ingest.images import register_images
from pipeline.ingest.rows import BadRecording, insert_in_chunks
from pipeline.ingest.scan import (
    Activity,
    Fields,
    Floats,
    ScanArrays,
    Source,
    SpikeTimes,
    Traces,
    Track,
    TrialResponses,
    Trials,
    Units,
)
from schemas import recording
from schemas.configuration import configuration_hash
from schemas.store import StoreError
from science.digest import array_digest
from science.trials import malformed_trials

UNITS_PER_BLOCK = 256
"""Of a block of activity: 50 000 frames of so many units are 50 MB."""


def insert_scan(
    key: dict[str, int], arrays: ScanArrays, source: Source, virtual: dict[str, Any] | None = None
) -> bool:
    """Insert a recording with everything that belongs to it, or nothing.

    Parameters
    ----------
    key : dict
        animal_id, session, scan_idx.
    arrays : ScanArrays
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
        If something is wrong with it, another recording has this key, an image_id is taken by
        another image, or the object store cannot be written.
    """
    if already_there(key, source):
        return False
    check(arrays)
    with all_or_nothing(str(key)):
        _insert_everything(key, arrays, source, virtual)
    return True


@contextmanager
def all_or_nothing(what: str) -> Iterator[None]:
    """Run insertions in one transaction; a store that cannot be written is a clear error.

    Raises
    ------
    BadRecording
        If the object store is full or cannot be written; nothing was inserted then.
    """
    try:
        with recording.schema.connection.transaction:
            yield
    except (OSError, StoreError) as error:
        raise BadRecording(
            f"nothing of {what} was stored, since the object store cannot be written: {error}"
        ) from error


def already_there(key: dict[str, int], source: Source) -> bool:
    """Return whether this very recording is in the database.

    Raises
    ------
    BadRecording
        If another one has this key.
    """
    known = (recording.Scan & key).to_dicts()
    if known and known[0]["source_sha256"] != source.source_sha256:
        raise BadRecording(
            f"{key} is already there, from {known[0]['source_name']}: give this recording another "
            "animal, session or scan number, or delete the old one first"
        )
    return bool(known)


def _insert_everything(
    key: dict[str, int], arrays: ScanArrays, source: Source, virtual: dict[str, Any] | None
) -> None:
    if arrays.rig is not None:
        recording.Rig.insert1({"rig": arrays.rig}, skip_duplicates=True)
    time = {"rig": arrays.rig, "recorded_at": arrays.recorded_at}
    recording.Scan.insert1(key | vars(source) | time)
    if arrays.screen is not None:
        recording.Screen.insert1(
            key
            | {
                "screen_width_cm": arrays.screen.width_cm,
                "screen_distance_cm": arrays.screen.distance_cm,
            }
        )
    _insert_fields(key, arrays.fields, arrays.units)
    insert_units(key, arrays.units)
    for stack_id, position in arrays.stacks.items():
        insert_registration(key, arrays.units.unit_id, position, stack_id)
    _insert_trials(key, arrays.trials, _insert_conditions(arrays))
    insert_activity(key, arrays.activity, len(arrays.units.unit_id))
    _insert_tracks(key, arrays.pupil, arrays.treadmill)
    if virtual is not None:
        recording.VirtualAnimal.insert1(key | virtual)


def _insert_fields(key: dict[str, int], fields: Fields | None, units: Units) -> None:
    if fields is None and units.field is not None:
        fields = Fields(np.unique(units.field))
    if fields is None:
        return
    n = len(fields.field)
    depth = [None] * n if fields.depth is None else fields.depth.tolist()
    size_px = [(None, None)] * n if fields.size_px is None else fields.size_px.tolist()
    size_um = [(None, None)] * n if fields.size_um is None else fields.size_um.tolist()
    recording.Scan.Field.insert(
        key
        | {"field": number, "field_depth": z}
        | dict(zip(("px_height", "px_width"), px, strict=True))
        | dict(zip(("um_height", "um_width"), um, strict=True))
        for number, z, px, um in zip(fields.field.tolist(), depth, size_px, size_um, strict=True)
    )


def insert_units(key: dict[str, int], units: Units) -> None:
    """Insert the units of a recording, with their areas and layers where they are known."""
    n = len(units.unit_id)
    columns = {"unit_id": units.unit_id, "field": units.field, "delay": units.delay}
    if units.delay is None:
        columns["delay"] = np.zeros(n)
    for names, values in (
        (("um_x", "um_y", "um_z"), units.position),
        (("px_x", "px_y"), units.pixel),
    ):
        given = [None] * len(names) if values is None else values.T
        columns |= dict(zip(names, given, strict=True))
    lists = [[None] * n if c is None else np.asarray(c).tolist() for c in columns.values()]
    rows = (key | dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True))
    insert_in_chunks(recording.Scan.Unit, rows, n, "units")
    for table, attribute, names in (
        (recording.AreaMembership, "brain_area", units.area),
        (recording.LayerMembership, "layer", units.layer),
    ):
        if names is not None:
            pairs = zip(units.unit_id.tolist(), names.tolist(), strict=True)
            insert_in_chunks(
                table, (key | {"unit_id": u, attribute: name} for u, name in pairs), n, attribute
            )


def insert_registration(
    key: dict[str, int], unit_id: NDArray[np.integer], position: Floats, stack_id: int
) -> None:
    """Insert the coordinates (n_units, 3), um, that units of a recording have in a stack."""
    stack = {"stack_id": stack_id}
    recording.Stack.insert1(stack, skip_duplicates=True)
    recording.StackRegistration.insert1(key | stack)
    rows = (
        key | stack | {"unit_id": u, "stack_x": x, "stack_y": y, "stack_z": z}
        for u, (x, y, z) in zip(unit_id.tolist(), position.astype(float).tolist(), strict=True)
    )
    insert_in_chunks(recording.StackUnitCoord, rows, len(unit_id), "coordinates")


def _insert_conditions(arrays: ScanArrays) -> list[str]:
    """Insert images and conditions that are new; return the condition of every image."""
    images = arrays.images
    names = register_images(images.pixels, images.image_class.tolist(), images.image_id)
    params = [{}] * len(names) if images.params is None else images.params
    conditions = []
    for (image_class, image_id), rendered_from in zip(names, params, strict=True):
        row = {
            "image_class": image_class,
            "image_id": image_id,
            "stimulus_type": "static",
            "presentation_time": arrays.presentation_time,
            "pre_blank_period": arrays.pre_blank_period,
            "stimulus_params": rendered_from or None,
        }
        conditions.append(row | {"condition_hash": configuration_hash("Condition", row)})
    distinct = {c["condition_hash"]: c for c in conditions}
    recording.Condition.insert(distinct.values(), skip_duplicates=True)
    return [c["condition_hash"] for c in conditions]


def _insert_trials(key: dict[str, int], trials: Trials, conditions: list[str]) -> None:
    n = len(trials.image_index)
    onset, offset = _seconds(trials.onset, n), _seconds(trials.offset, n)
    n_flips = [None] * n if trials.n_flips is None else trials.n_flips.tolist()
    rows = (
        key
        | {
            "trial_idx": trial,
            "condition_hash": conditions[image],
            "trial_onset": onset[trial],
            "trial_offset": offset[trial],
            "n_flips": n_flips[trial],
        }
        for trial, image in enumerate(trials.image_index.tolist())
    )
    insert_in_chunks(recording.Trial, rows, n, "trials")
    recording.ExcludedTrial.insert(
        key | {"trial_idx": trial, "exclusion_comment": comment}
        for trial, comment in _excluded(trials).items()
    )


def _seconds(values: NDArray[np.floating] | None, n: int) -> list[float | None]:
    if values is None:
        return [None] * n
    return [v if math.isfinite(v) else None for v in values.astype(float).tolist()]


def _excluded(trials: Trials) -> dict[int, str]:
    """Return the malformed trials and what is wrong with each."""
    excluded = {}
    if trials.n_flips is not None:
        try:
            malformed = malformed_trials(trials.n_flips)
        except ValueError as error:
            raise BadRecording(str(error)) from error
        for trial in np.flatnonzero(malformed).tolist():
            excluded[trial] = f"malformed: {trials.n_flips[trial]} flips"
    if trials.onset is not None:
        for trial in np.flatnonzero(np.isnan(trials.onset)).tolist():
            excluded.setdefault(trial, "its onset is not known")
    return excluded


def insert_activity(key: dict[str, int], activity: Activity, n_units: int) -> None:
    """Insert the activity of a recording, in blocks of units."""
    kind = {TrialResponses: "trial_response", Traces: "trace", SpikeTimes: "spike_times"}
    recording.Activity.insert1(key | {"activity_kind": kind[type(activity)]})
    if isinstance(activity, Traces):
        recording.FrameClock.insert1(key | _clock(activity))
    n_blocks = math.ceil(n_units / UNITS_PER_BLOCK)
    blocks = tqdm(
        _blocks(activity, n_units),
        desc="activity",
        unit="block",
        total=n_blocks,
        leave=False,
        disable=n_blocks < 4,
    )
    for number, (block, counts) in enumerate(blocks):
        row = {
            "activity_block": number,
            "n_block_units": block.shape[1] if counts is None else len(counts),
            "activity": block,
            "spike_counts": counts,
            "activity_digest": array_digest(block),
        }
        recording.Activity.Block.insert1(key | row)


def _clock(activity: Traces) -> dict[str, Any]:
    times = [activity.frame_times, activity.behavior_frame_times]
    shortest = min(len(t) for t in times if t is not None)
    columns = [np.asarray(t, np.float64)[:shortest] for t in times if t is not None]
    return {"n_depths": activity.n_depths, "frame_times": np.column_stack(columns)}


def _blocks(
    activity: Activity, n_units: int
) -> Iterator[tuple[NDArray[np.floating], NDArray[np.int64] | None]]:
    """Read and check the activity block by block: values, and of spikes how many of each unit."""
    if isinstance(activity, SpikeTimes):
        ends = np.concatenate([[0], np.cumsum(activity.counts)])
    for start in range(0, n_units, UNITS_PER_BLOCK):
        stop = min(start + UNITS_PER_BLOCK, n_units)
        if isinstance(activity, SpikeTimes):
            spikes = activity.times[ends[start] : ends[stop]].astype(np.float64)
            yield spikes, activity.counts[start:stop].astype(np.int64)
        elif isinstance(activity, Traces):
            block = activity.traces[:, start:stop]
            _refuse(np.isinf(block), "traces hold infinite values", "frame", start)
            yield _single(block, "traces", start), None
        else:
            block = activity.responses[:, start:stop]
            _refuse(~np.isfinite(block), "responses hold NaN or infinite values", "trial", start)
            yield _single(block, "responses", start), None


def _single(block: NDArray[np.generic], name: str, start: int) -> NDArray[np.float32]:
    """Return a block in the single precision it is stored in."""
    too_large = np.abs(block) > np.finfo(np.float32).max
    _refuse(too_large, f"{name} hold values beyond single precision (infinite)", "row", start)
    return np.ascontiguousarray(block, np.float32)


def _refuse(bad: NDArray[np.bool_], what: str, row: str, start: int) -> None:
    if bad.any():
        at, unit = np.argwhere(bad)[0]
        raise BadRecording(
            f"{what}, first in {row} {at}, unit column {start + unit}: leave out that {row} or unit"
        )


def _insert_tracks(key: dict[str, int], pupil: Track | None, treadmill: Track | None) -> None:
    for table, name, track in (
        (recording.PupilTrack, "pupil", pupil),
        (recording.TreadmillTrace, "treadmill", treadmill),
    ):
        if track is not None:
            sampling = "trial" if track.per_trial else "track"
            samples = np.ascontiguousarray(track.samples, np.float64)
            table.insert1(key | {f"{name}_sampling": sampling, f"{name}_track": samples})
