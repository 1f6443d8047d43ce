"""The plainest real format: one `.npz` file of named arrays (documented in the README)."""

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.rows import BadRecording
from pipeline.ingest.scan import ScanArrays, Source, insert_scan

READER_VERSION = "1"
REQUIRED = ("images", "image_index", "responses")
PER_UNIT = ("unit_id", "area", "layer", "x", "y", "z")
OTHER = ("image_id", "image_class", "stack_id", "presentation_time", "behavior", "behavior_names")


def read_arrays(path: Path) -> ScanArrays:
    """Read and check a recording in the arrays format.

    Parameters
    ----------
    path : Path
        An `.npz` file with `images` (n_images, h, w) uint8, `image_index` (n_trials,) and
        `responses` (n_trials, n_units); optionally `unit_id`, `area`, `layer`, `x`, `y`, `z`
        (n_units,), `image_id` (n_images,), `image_class` (one name, or one per image),
        `stack_id`, `presentation_time` (s), `behavior` (n_trials, n) and `behavior_names` (n,).

    Raises
    ------
    BadRecording
        If the file is missing, truncated, of another type, or its content is not as described.
    """
    arrays = _load(path)
    missing = [name for name in REQUIRED if name not in arrays]
    if missing:
        raise BadRecording(f"{path} lacks {missing}; it holds {sorted(arrays)}")
    unknown = sorted(set(arrays) - {*REQUIRED, *PER_UNIT, *OTHER})
    if unknown:
        raise BadRecording(
            f"{path} holds arrays that the format does not know: {unknown}; "
            f"it knows {sorted({*REQUIRED, *PER_UNIT, *OTHER})}"
        )
    responses = arrays["responses"]
    if responses.ndim != 2:
        raise BadRecording(f"responses must be (n_trials, n_units), not {responses.shape}")
    images, names = arrays["images"], arrays.get("image_class", np.array("image"))
    if images.ndim != 3:
        raise BadRecording(f"images must be (n_images, height, width), not {images.shape}")
    classes = np.broadcast_to(names, (len(images),)) if names.ndim == 0 else names
    behavior_names = np.atleast_1d(arrays.get("behavior_names", np.array([], str)))
    return ScanArrays(
        images=images,
        image_class=_as_text(classes, "image_class"),
        image_index=arrays["image_index"],
        responses=responses,
        unit_id=arrays.get("unit_id", np.arange(1, responses.shape[1] + 1)),
        area=_text(arrays, "area"),
        layer=_text(arrays, "layer"),
        position=_position(arrays),
        stack_id=_scalar(arrays, "stack_id"),
        image_id=arrays.get("image_id"),
        presentation_time=_scalar(arrays, "presentation_time"),
        behavior=arrays.get("behavior"),
        behavior_names=tuple(_as_text(behavior_names, "behavior_names").ravel().tolist()),
    )


def ingest_arrays(path: Path, key: dict[str, int]) -> bool:
    """Ingest a recording from a file in the arrays format; False when it is already there."""
    arrays = read_arrays(path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    size = path.stat().st_size
    return insert_scan(key, arrays, Source("arrays", READER_VERSION, path.name, size, digest))


def _load(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as file:
            # a pickle in the file is refused: it could run code
            loaded = np.load(file, allow_pickle=False)
            single = isinstance(loaded, np.ndarray)
            arrays = {} if single else {name: loaded[name] for name in loaded.files}
    except FileNotFoundError as error:
        raise BadRecording(f"there is no file {path}") from error
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, KeyError) as error:
        raise BadRecording(
            f"{path} cannot be read as an .npz file (truncated, of another type, or holding "
            f"Python objects): {error}"
        ) from error
    if single:
        raise BadRecording(f"{path} is a single array, not an .npz file of named arrays")
    return arrays


def _text(arrays: dict[str, NDArray[Any]], name: str) -> NDArray[np.str_] | None:
    return _as_text(arrays[name], name) if name in arrays else None


def _as_text(array: NDArray[Any], name: str) -> NDArray[np.str_]:
    try:
        return array.astype(str)
    except UnicodeDecodeError as error:
        raise BadRecording(f"{name} holds bytes that are no text: store it as text") from error


def _scalar(arrays: dict[str, NDArray[Any]], name: str) -> Any:
    if name not in arrays:
        return None
    if arrays[name].size != 1:
        raise BadRecording(f"{name} must be one number, not {arrays[name].shape}")
    return arrays[name].item()


def _position(arrays: dict[str, NDArray[Any]]) -> NDArray[np.float64] | None:
    given = [name for name in ("x", "y", "z") if name in arrays]
    if not given:
        return None
    if len(given) < 3 or len({arrays[name].shape for name in given}) != 1:
        raise BadRecording("x, y and z must be given together, one number per unit each")
    if not all(np.issubdtype(arrays[name].dtype, np.number) for name in given):
        raise BadRecording("x, y and z must be numbers, um")
    return np.stack([arrays[name] for name in ("x", "y", "z")], axis=-1).astype(float)
