"""The plainest real format: named arrays, in one `.npz` file or a folder of `.npy` files.

A folder is read through memory maps: the way for recordings that are larger than memory.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.insert import already_there, insert_scan
from pipeline.ingest.npy import read_npy, read_npz
from pipeline.ingest.rows import BadRecording
from pipeline.ingest.scan import (
    Activity,
    Fields,
    Images,
    ScanArrays,
    Screen,
    SpikeTimes,
    Traces,
    Track,
    TrialResponses,
    Trials,
    Units,
)
from pipeline.ingest.source import source_of
from science.anatomy import areas_from_masks, layers_from_depth
from science.trials import presentation_times

READER_VERSION = "3"

REQUIRED = ("images", "image_index")
ACTIVITY = ("responses", "traces", "spike_times")
KNOWN = {
    *REQUIRED,
    *ACTIVITY,
    *("image_id", "image_class", "stimulus_params", "presentation_time", "pre_blank_period"),
    *("screen_width_cm", "screen_distance_cm", "rig", "recorded_at"),
    *("onset", "offset", "flip_times", "spike_counts"),
    *("frame_times", "behavior_frame_times", "n_depths"),
    *("pupil", "pupil_trials", "treadmill", "treadmill_trials"),
    *("unit_id", "area", "layer", "x", "y", "z", "stack_id", "delay", "field", "px_x", "px_y"),
    *("field_id", "field_depth", "field_size_px", "field_size_um", "area_masks", "area_names"),
}

Arrays = Mapping[str, NDArray[Any]]


def ingest_arrays(path: Path, key: dict[str, int]) -> bool:
    """Ingest a recording in the arrays format; False when it is already there."""
    if path.is_dir() and not any(path.glob("*.npy")):
        raise BadRecording(f"the folder {path} holds no .npy files")
    source = source_of(path, "arrays", READER_VERSION)
    return not already_there(key, source) and insert_scan(key, read_arrays(path), source)


def read_arrays(path: Path) -> ScanArrays:
    """Read a recording in the arrays format (its names are listed in docs/arrays.md).

    Raises
    ------
    BadRecording
        If the file is missing, truncated, of another type, or its content is not as described.
    """
    arrays = _read_folder(path) if path.is_dir() else read_npz(path)
    _check_names(path, arrays)
    images = arrays["images"]
    if images.ndim != 3:
        raise BadRecording(f"images must be (n_images, height, width), not {images.shape}")
    activity = _activity(arrays)
    units = _units(arrays, _n_units(activity))
    return ScanArrays(
        images=_images(arrays),
        trials=_trials(arrays),
        activity=activity,
        units=units,
        fields=_fields(arrays),
        pupil=_track(arrays, "pupil"),
        treadmill=_track(arrays, "treadmill"),
        stacks=_stacks(arrays, units),
        presentation_time=_scalar(arrays, "presentation_time"),
        pre_blank_period=_scalar(arrays, "pre_blank_period"),
        screen=_screen(arrays),
        rig=_scalar(arrays, "rig"),
        recorded_at=_time(arrays, "recorded_at"),
    )


def _read_folder(folder: Path) -> Arrays:
    # everything but the activity is small, and used more than once
    return {
        path.stem: read_npy(path, mapped=path.stem in ACTIVITY)
        for path in sorted(folder.glob("*.npy"))
    }


def _check_names(path: Path, arrays: Arrays) -> None:
    missing = [name for name in REQUIRED if name not in arrays]
    if missing:
        raise BadRecording(f"{path} lacks {missing}; it holds {sorted(arrays)}")
    unknown = sorted(set(arrays) - KNOWN)
    if unknown:
        raise BadRecording(
            f"{path} holds arrays that the format does not know: {unknown}; it knows "
            f"{sorted(KNOWN)}"
        )
    given = [name for name in ACTIVITY if name in arrays]
    if len(given) != 1:
        raise BadRecording(f"{path} must hold one of {list(ACTIVITY)}, and holds {given}")
    for first, second in (
        ("traces", "frame_times"),
        ("spike_times", "spike_counts"),
        ("area_masks", "area_names"),
    ):
        if first in arrays and second not in arrays:
            raise BadRecording(f"{path} holds {first} but lacks {second}")
    for first, second in (
        ("flip_times", "onset"),
        ("pupil", "pupil_trials"),
        ("treadmill", "treadmill_trials"),
        ("area", "area_masks"),
    ):
        if first in arrays and second in arrays:
            raise BadRecording(f"{path} holds {first} and {second}: give one of them")


def _images(arrays: Arrays) -> Images:
    names = arrays.get("image_class", np.array("image"))
    n_images = len(arrays["images"])
    params = None
    if "stimulus_params" in arrays:
        params = [_params(text) for text in _text(arrays, "stimulus_params").ravel().tolist()]
    return Images(
        pixels=arrays["images"],
        image_class=_as_text(
            np.broadcast_to(names, (n_images,)) if names.ndim == 0 else names, "image_class"
        ),
        image_id=arrays.get("image_id"),
        params=params,
    )


def _params(text: str) -> dict[str, Any]:
    try:
        params = json.loads(text or "{}")
    except json.JSONDecodeError as error:
        raise BadRecording(f"stimulus_params must be JSON, not {text!r}") from error
    if not isinstance(params, dict):
        raise BadRecording(f"stimulus_params must be JSON objects, not {text!r}")
    return params


def _trials(arrays: Arrays) -> Trials:
    onset, offset, n_flips = arrays.get("onset"), arrays.get("offset"), None
    if "flip_times" in arrays:
        try:
            onset, offset, n_flips = presentation_times(arrays["flip_times"])
        except ValueError as error:
            raise BadRecording(f"flip_times: {error}") from error
    return Trials(arrays["image_index"], onset, offset, n_flips)


def _activity(arrays: Arrays) -> Activity:
    if "responses" in arrays:
        _check_matrix("responses", arrays["responses"])
        return TrialResponses(arrays["responses"])
    if "spike_times" in arrays:
        return SpikeTimes(arrays["spike_times"], arrays["spike_counts"])
    _check_matrix("traces", arrays["traces"])
    n_depths = _scalar(arrays, "n_depths") or 1
    return Traces(
        arrays["traces"], arrays["frame_times"], arrays.get("behavior_frame_times"), n_depths
    )


def _check_matrix(name: str, matrix: NDArray[Any]) -> None:
    if matrix.ndim != 2:
        raise BadRecording(f"{name} must be (rows, n_units), not {matrix.shape}")


def _n_units(activity: Activity) -> int:
    if isinstance(activity, SpikeTimes):
        return activity.counts.size
    matrix = activity.traces if isinstance(activity, Traces) else activity.responses
    return matrix.shape[1]


def _units(arrays: Arrays, n_units: int) -> Units:
    area, layer = _text(arrays, "area"), _text(arrays, "layer")
    field, pixel = arrays.get("field"), _columns(arrays, ("px_x", "px_y"), "px")
    if "area_masks" in arrays:
        area = _areas_from_masks(arrays, field, pixel)
    if layer is None and field is not None and "field_depth" in arrays:
        layer = layers_from_depth(_of_field(arrays, "field_depth", field))
    return Units(
        unit_id=arrays.get("unit_id", np.arange(1, n_units + 1)),
        area=area,
        layer=layer,
        position=_columns(arrays, ("x", "y", "z"), "um"),
        field=field,
        pixel=pixel,
        delay=arrays.get("delay"),
    )


def _areas_from_masks(
    arrays: Arrays, field: NDArray[Any] | None, pixel: NDArray[Any] | None
) -> NDArray[np.str_]:
    if field is None or pixel is None:
        raise BadRecording("area_masks need field, px_x and px_y of the units")
    names = _text(arrays, "area_names").ravel().tolist()
    try:
        rows = _of_field(arrays, "field_id", field, np.arange(len(arrays["area_masks"])))
        return areas_from_masks(arrays["area_masks"], names, rows, pixel[:, 1], pixel[:, 0])
    except ValueError as error:
        raise BadRecording(f"area_masks: {error}") from error


def _of_field(
    arrays: Arrays, name: str, field: NDArray[Any], values: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Return for each unit the value of its field."""
    ids = arrays.get("field_id", np.unique(field))
    values = arrays[name] if values is None else values
    if values.shape != ids.shape or not np.isin(field, ids).all():
        raise BadRecording(f"{name} must have one entry per field ({ids.tolist()})")
    order = np.argsort(ids)
    return values[order[np.searchsorted(ids[order], field)]]


def _fields(arrays: Arrays) -> Fields | None:
    if "field" not in arrays:
        return None
    return Fields(
        arrays.get("field_id", np.unique(arrays["field"])),
        arrays.get("field_depth"),
        arrays.get("field_size_px"),
        arrays.get("field_size_um"),
    )


def _track(arrays: Arrays, name: str) -> Track | None:
    if f"{name}_trials" in arrays:
        trials = arrays[f"{name}_trials"]
        return Track(trials[:, None] if trials.ndim == 1 else trials, per_trial=True)
    return Track(arrays[name]) if name in arrays else None


def _screen(arrays: Arrays) -> Screen | None:
    width, distance = (_scalar(arrays, f"screen_{name}_cm") for name in ("width", "distance"))
    if width is None and distance is None:
        return None
    if width is None or distance is None or not (0 < width < np.inf and 0 < distance < np.inf):
        raise BadRecording(
            f"screen_width_cm = {width} and screen_distance_cm = {distance} must be given together "
            "and positive"
        )
    return Screen(float(width), float(distance))


def _stacks(arrays: Arrays, units: Units) -> dict[int, NDArray[np.float64]]:
    if "stack_id" not in arrays:
        return {}
    if units.position is None:
        raise BadRecording("a stack_id needs positions (x, y, z)")
    return {_scalar(arrays, "stack_id"): units.position}


def _time(arrays: Arrays, name: str) -> datetime | None:
    if name not in arrays:
        return None
    try:
        return datetime.fromisoformat(str(_scalar(arrays, name)))
    except ValueError as error:
        raise BadRecording(f"{name} must be a time as 2026-11-21T14:30:00: {error}") from error


def _text(arrays: Arrays, name: str) -> NDArray[np.str_] | None:
    return _as_text(arrays[name], name) if name in arrays else None


def _as_text(array: NDArray[Any], name: str) -> NDArray[np.str_]:
    try:
        return array.astype(str)
    except UnicodeDecodeError as error:
        raise BadRecording(f"{name} holds bytes that are no text: store it as text") from error


def _scalar(arrays: Arrays, name: str) -> Any:
    if name not in arrays:
        return None
    if arrays[name].size != 1:
        raise BadRecording(f"{name} must be one number, not {arrays[name].shape}")
    return arrays[name].item()


def _columns(arrays: Arrays, names: tuple[str, ...], unit: str) -> NDArray[np.float64] | None:
    """Stack arrays that are only meaningful together."""
    given = [name for name in names if name in arrays]
    if not given:
        return None
    if len(given) < len(names) or len({arrays[name].shape for name in given}) != 1:
        raise BadRecording(f"{', '.join(names)} must be given together, one number per unit each")
    if not all(np.issubdtype(arrays[name].dtype, np.number) for name in given):
        raise BadRecording(f"{', '.join(names)} must be numbers, {unit}")
    return np.stack([arrays[name] for name in names], axis=-1).astype(float)
