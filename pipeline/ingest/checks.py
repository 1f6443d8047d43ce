"""What must be true of a recording before any of it is stored."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.rows import BadRecording
from pipeline.ingest.scan import (
    Fields,
    Images,
    ScanArrays,
    SpikeTimes,
    Traces,
    Track,
    TrialResponses,
    Trials,
    Units,
)
from science.responses import increasing, volume_times

INT32_MAX = 2**31 - 1
MAX_NAME = {"image_class": 24, "area": 16, "layer": 16, "rig": 16}


def check(scan: ScanArrays) -> None:
    """Check everything but the values of the activity, which are checked while they are stored.

    Raises
    ------
    BadRecording
        At the first thing that is wrong.
    """
    for problem in _problems(scan):
        raise BadRecording(problem)


def _problems(scan: ScanArrays) -> Iterator[str]:
    yield from _image_problems(scan.images)
    yield from _trial_problems(scan.trials, len(scan.images.pixels))
    yield from unit_problems(scan.units)
    yield from _field_problems(scan.fields, scan.units)
    yield from _activity_problems(scan)
    n_trials = len(scan.trials.image_index)
    yield from _track_problems("pupil", scan.pupil, ("t", "radius", "x", "y"), n_trials)
    yield from _track_problems("treadmill", scan.treadmill, ("t", "velocity"), n_trials)
    for stack_id, position in scan.stacks.items():
        yield from stack_problems(stack_id, position, len(scan.units.unit_id))
    yield from _scalar_problems(scan)


def _image_problems(images: Images) -> Iterator[str]:
    pixels, names = images.pixels, images.image_class
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or 0 in pixels.shape:
        yield (
            "images must be uint8 grey values of shape (n_images, height, width), not "
            f"{_described(pixels)}"
        )
    n_images = len(pixels)
    yield from _name_problems("image_class", names, n_images, "image")
    if images.params is not None and len(images.params) != n_images:
        yield f"stimulus_params must have one entry per image ({n_images})"
    if images.image_id is None:
        return
    if images.image_id.shape != (n_images,) or not are_int32(images.image_id):
        yield (
            f"image_id must be one integer per image, at most {INT32_MAX} in size, not "
            f"{_described(images.image_id)}"
        )
    pairs = sorted(zip(names.tolist(), images.image_id.tolist(), strict=True))
    for first, second in pairwise(pairs):
        if first == second:
            yield f"two images have the same class and image_id: {first}"


def _trial_problems(trials: Trials, n_images: int) -> Iterator[str]:
    shown = trials.image_index
    if shown.ndim != 1 or not np.issubdtype(shown.dtype, np.integer):
        yield f"image_index must be integers (n_trials,), not {_described(shown)}"
    if len(shown) == 0:
        yield "there are no trials: image_index is empty"
    outside = (shown < 0) | (shown >= n_images)
    if outside.any():
        trial = int(np.flatnonzero(outside)[0])
        yield (
            f"trial {trial} shows image {shown[trial]}, but there are only {n_images} images "
            "(counted from 0)"
        )
    for name in ("onset", "offset", "n_flips"):
        values = getattr(trials, name)
        if values is None:
            continue
        if values.shape != shown.shape or not is_real(values):
            yield f"{name} must be one number per trial {shown.shape}, not {_described(values)}"
        if np.isinf(values).any():
            yield f"{name} holds infinite values"
    if trials.onset is None:
        if trials.offset is not None:
            yield "trials have an offset but no onset"
        return
    known = trials.onset[np.isfinite(trials.onset)]
    if len(known) > 1:
        yield from _clock_problems("onset", known)
    if trials.offset is not None and (trials.offset <= trials.onset).any():
        trial = int(np.flatnonzero(trials.offset <= trials.onset)[0])
        yield f"trial {trial} ends before it begins: its offset is not after its onset"


def unit_problems(units: Units) -> Iterator[str]:
    """Yield what is wrong with the units of a recording."""
    n_units = len(units.unit_id)
    if n_units == 0:
        yield "there are no units"
    if units.unit_id.ndim != 1 or not are_int32(units.unit_id):
        yield (
            f"unit_id must be integers (n_units,), at most {INT32_MAX} in size, not "
            f"{_described(units.unit_id)}"
        )
    if (units.unit_id[1:] <= units.unit_id[:-1]).any():
        yield "unit_id must be distinct integers in ascending order"
    for name in ("area", "layer"):
        if (values := getattr(units, name)) is not None:
            yield from _name_problems(name, values, n_units, "unit")
    for name, columns, what in (
        ("position", (3,), "x, y and z"),
        ("pixel", (2,), "px_x and px_y"),
        ("delay", (), "delay"),
    ):
        values = getattr(units, name)
        if values is None:
            continue
        if (
            values.shape != (n_units, *columns)
            or not is_real(values)
            or not np.isfinite(values).all()
        ):
            yield f"{what} must be finite numbers, one per unit ({n_units})"


def _field_problems(fields: Fields | None, units: Units) -> Iterator[str]:
    if units.field is not None and units.field.shape != units.unit_id.shape:
        yield f"field must have one number per unit ({len(units.unit_id)})"
    if fields is None:
        return
    n_fields = len(fields.field)
    if len(np.unique(fields.field)) < n_fields or not are_int32(fields.field):
        yield "the numbers of the fields must be distinct integers"
    if units.field is not None and not np.isin(units.field, fields.field).all():
        missing = sorted(set(units.field.tolist()) - set(fields.field.tolist()))
        yield f"units lie in fields that are not described: {missing}"
    for name, columns in (("depth", ()), ("size_px", (2,)), ("size_um", (2,))):
        values = getattr(fields, name)
        if values is not None and values.shape != (n_fields, *columns):
            yield f"{name} of the fields must have shape {(n_fields, *columns)}, not {values.shape}"


def _activity_problems(scan: ScanArrays) -> Iterator[str]:
    n_units, n_trials = len(scan.units.unit_id), len(scan.trials.image_index)
    activity = scan.activity
    if not isinstance(activity, TrialResponses) and scan.trials.onset is None:
        yield "traces and spike times need the onsets of the trials (flip_times, or onset)"
    if isinstance(activity, TrialResponses):
        yield from _matrix_problems("responses", activity.responses, (n_trials, n_units))
    elif isinstance(activity, Traces):
        shape = (activity.traces.shape[0], n_units)
        yield from _matrix_problems("traces", activity.traces, shape)
        yield from _frame_clock_problems(activity)
    else:
        yield from _spike_problems(activity, n_units)


def _matrix_problems(name: str, matrix: object, expected: tuple[int, int]) -> Iterator[str]:
    if matrix.shape != expected:
        yield f"{name} must have shape (rows, n_units) = {expected}, not {matrix.shape}"
    if not is_real(matrix):
        yield f"{name} must be real numbers, not {matrix.dtype}"


def _frame_clock_problems(activity: Traces) -> Iterator[str]:
    if activity.n_depths < 1:
        yield f"n_depths must be at least 1, not {activity.n_depths}"
    try:
        volume_times(activity.frame_times, activity.n_depths, activity.traces.shape[0])
    except ValueError as error:
        yield f"frame_times: {error}"
    other = activity.behavior_frame_times
    if other is None:
        return
    yield from _clock_problems("behavior_frame_times", other)
    if abs(len(other) - len(activity.frame_times)) > 1:
        yield (
            "the clocks differ in length by more than one frame: frame_times has "
            f"{len(activity.frame_times)}, behavior_frame_times {len(other)}"
        )


def _spike_problems(activity: SpikeTimes, n_units: int) -> Iterator[str]:
    times, counts = activity.times, activity.counts
    if counts.shape != (n_units,) or not are_int32(counts) or (counts < 0).any():
        yield f"spike_counts must be one number per unit ({n_units}), not {_described(counts)}"
    if times.shape != (counts.sum(),) or not is_real(times):
        yield (
            f"spike_times must be {counts.sum()} numbers, as many as spike_counts add up to, not "
            f"{_described(times)}"
        )
    if not np.isfinite(times).all():
        yield "spike_times hold NaN or infinite values"
    starts = np.cumsum(counts)[:-1]
    falling = np.flatnonzero(times[1:] < times[:-1]) + 1
    if not np.isin(falling, starts).all():
        yield "spike_times must ascend within a unit"


def _track_problems(
    name: str, track: Track | None, columns: tuple[str, ...], n_trials: int
) -> Iterator[str]:
    if track is None:
        return
    samples, n_columns = track.samples, len(columns)
    if not is_real(samples):
        yield f"{name} must be real numbers, not {samples.dtype}"
    if track.per_trial:
        expected = (n_trials, 4 if name == "pupil" else 1)
        if samples.shape != expected:
            yield f"{name}_trials must have shape {expected}, not {samples.shape}"
        return
    if samples.ndim != 2 or samples.shape[1] != n_columns or len(samples) < 2:
        yield f"{name} must have the columns {', '.join(columns)}, not shape {samples.shape}"
    yield from _clock_problems(f"the times of {name}", samples[:, 0])
    if np.isinf(samples).any():
        yield f"{name} holds infinite values: write NaN where it was not detected"


def _scalar_problems(scan: ScanArrays) -> Iterator[str]:
    for name in ("presentation_time", "pre_blank_period"):
        seconds = getattr(scan, name)
        if seconds is None:
            continue
        if not is_real(np.asarray(seconds)) or not 0 < seconds < np.inf:
            yield f"{name} must be a positive number of seconds, not {seconds!r}"
    if scan.rig is not None and not 0 < len(str(scan.rig)) <= MAX_NAME["rig"]:
        yield f"a name of rig has 1 to {MAX_NAME['rig']} characters, not {scan.rig!r}"


def stack_problems(stack_id: Any, position: NDArray[Any], n_units: int) -> Iterator[str]:
    """Yield what is wrong with the coordinates of units in a stack."""
    if not are_int32(np.asarray(stack_id)):
        yield f"stack_id must be an integer, not {stack_id!r}"
    if position.shape != (n_units, 3) or not is_real(position) or not np.isfinite(position).all():
        yield f"x, y and z in stack {stack_id} must be finite numbers, one per unit ({n_units})"


def _name_problems(name: str, values: NDArray[np.str_], n: int, of: str) -> Iterator[str]:
    if values.shape != (n,):
        yield f"{name} must have one entry per {of} ({n}), not {values.shape}"
    longest = max(len(v) for v in values.tolist())
    if longest > MAX_NAME[name]:
        yield f"a name of {name} has at most {MAX_NAME[name]} characters"


def _clock_problems(name: str, times: NDArray[np.generic]) -> Iterator[str]:
    if not is_real(times):
        yield f"{name} must be real numbers, not {times.dtype}"
    try:
        increasing(times, name)
    except ValueError as error:
        yield str(error)


def is_real(array: NDArray[np.generic]) -> bool:
    """Return whether an array holds floating-point numbers or integers."""
    return np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)


def are_int32(array: NDArray[np.generic]) -> bool:
    """Return whether an array holds integers that the database's columns can hold."""
    return np.issubdtype(array.dtype, np.integer) and bool(
        ((array >= -INT32_MAX) & (array <= INT32_MAX)).all()
    )


def _described(array: NDArray[np.generic]) -> str:
    return f"{array.dtype} {array.shape}"
