"""A recorded scan in memory, and its way into the database: checked, whole, once."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.images import register_images
from pipeline.ingest.rows import BadRecording, insert_in_chunks
from schemas import recording
from schemas.configuration import configuration_hash

INT32_MAX = 2**31 - 1


@dataclass(frozen=True)
class Source:
    """Where a recording came from: reader and, for files, name, size and SHA-256."""

    reader: str
    reader_version: str
    source_name: str
    source_size: int | None = None
    source_sha256: str | None = None


@dataclass(frozen=True)
class ScanArrays:
    """A recording of responses to static images.

    Attributes
    ----------
    images : uint8, (n_images, h, w)
        Grey values as shown.
    image_class : str, (n_images,)
        What kind of image each is: 'natural', 'mei', ...
    image_index : int, (n_trials,)
        Image shown in each trial, in the order of the trials.
    responses : float, (n_trials, n_units)
        Finite; one number per trial and unit.
    unit_id : int, (n_units,)
        Ascending.
    area, layer : str, (n_units,), optional
    position : float, (n_units, 3), optional
        x, y, z in um.
    stack_id : int, optional
        The stack in whose frame the positions are; needed to match cells between recordings.
    image_id : int, (n_images,), optional
        Their numbers within their class; by default an image keeps the number under which the
        same pixels are known, and a new one gets the next.
    presentation_time : float, optional
        Seconds.
    behavior : float, (n_trials, n), optional
    behavior_names : tuple of str, (n,)

    Raises
    ------
    BadRecording
        At the first thing that is wrong.
    """

    images: NDArray[np.uint8]
    image_class: NDArray[np.str_]
    image_index: NDArray[np.integer]
    responses: NDArray[np.floating]
    unit_id: NDArray[np.integer]
    area: NDArray[np.str_] | None = None
    layer: NDArray[np.str_] | None = None
    position: NDArray[np.floating] | None = None
    stack_id: int | None = None
    image_id: NDArray[np.integer] | None = None
    presentation_time: float | None = None
    behavior: NDArray[np.floating] | None = None
    behavior_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise BadRecording(problem)

    def _problems(self) -> Iterator[str]:
        yield from self._image_problems()
        yield from self._response_problems()
        yield from self._unit_problems()
        yield from self._presentation_problems()
        yield from self._behavior_problems()

    def _image_problems(self) -> Iterator[str]:
        if self.images.dtype != np.uint8 or self.images.ndim != 3 or 0 in self.images.shape:
            yield (
                "images must be uint8 grey values of shape (n_images, height, width), not "
                f"{self.images.dtype} {self.images.shape}"
            )
        n_images = len(self.images)
        if self.image_class.shape != (n_images,):
            yield f"image_class must name one class per image: {self.image_class.shape}"
        if max(len(name) for name in self.image_class.tolist()) > 24:
            yield "an image_class has at most 24 characters"
        if self.image_id is None:
            return
        if self.image_id.shape != (n_images,) or not _are_numbers(self.image_id):
            yield (
                f"image_id must be one integer per image, at most {INT32_MAX} in size, not "
                f"{_described(self.image_id)}"
            )
        names = list(zip(self.image_class.tolist(), self.image_id.tolist(), strict=True))
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            yield f"two images have the same class and image_id: {twice}"

    def _response_problems(self) -> Iterator[str]:
        if self.image_index.ndim != 1 or not np.issubdtype(self.image_index.dtype, np.integer):
            yield f"image_index must be integers (n_trials,), not {_described(self.image_index)}"
        if len(self.image_index) == 0:
            yield "there are no trials: image_index is empty"
        outside = (self.image_index < 0) | (self.image_index >= len(self.images))
        if outside.any():
            trial = int(np.flatnonzero(outside)[0])
            yield (
                f"trial {trial} shows image {self.image_index[trial]}, but there are only "
                f"{len(self.images)} images (counted from 0)"
            )
        expected = (len(self.image_index), len(self.unit_id))
        if self.responses.shape != expected:
            yield (
                f"responses must have shape (n_trials, n_units) = {expected}, "
                f"not {self.responses.shape}"
            )
        if not _is_real(self.responses):
            yield f"responses must be real numbers, not {self.responses.dtype}"
        unusable = ~_storable(self.responses)
        if unusable.any():
            trial, unit = np.argwhere(unusable)[0]
            yield (
                f"responses hold NaN or infinite values, first in trial {trial}, unit column "
                f"{unit}: leave out those trials or units"
            )

    def _unit_problems(self) -> Iterator[str]:
        n_units = len(self.unit_id)
        if n_units == 0:
            yield "there are no units: responses have no columns"
        if self.unit_id.ndim != 1 or not _are_numbers(self.unit_id):
            yield (
                f"unit_id must be integers (n_units,), at most {INT32_MAX} in size, not "
                f"{_described(self.unit_id)}"
            )
        if (self.unit_id[1:] <= self.unit_id[:-1]).any():
            yield "unit_id must be distinct integers in ascending order"
        for name, values in (("area", self.area), ("layer", self.layer)):
            if values is None:
                continue
            if values.shape != (n_units,):
                yield f"{name} must have one entry per unit ({n_units}), not {values.shape}"
            if max(len(v) for v in values.tolist()) > 16:
                yield f"a name of {name} has at most 16 characters"
        if self.position is not None and (
            self.position.shape != (n_units, 3) or not np.isfinite(self.position).all()
        ):
            yield f"x, y and z must be finite numbers, one per unit ({n_units})"
        if self.stack_id is None:
            return
        if not _are_numbers(np.asarray(self.stack_id)):
            yield f"stack_id must be an integer, not {self.stack_id!r}"
        if self.position is None:
            yield "a stack_id needs positions (x, y, z)"

    def _presentation_problems(self) -> Iterator[str]:
        seconds = self.presentation_time
        if seconds is None:
            return
        if not _is_real(np.asarray(seconds)) or not 0 < seconds < np.inf:
            yield f"presentation_time must be a positive number of seconds, not {seconds!r}"

    def _behavior_problems(self) -> Iterator[str]:
        if self.behavior is None:
            if self.behavior_names:
                yield f"there are behavior_names {list(self.behavior_names)} but no behavior"
            return
        expected = (len(self.image_index), len(self.behavior_names))
        if self.behavior.shape != expected:
            yield (
                "behavior must have shape (n_trials, number of behavior_names) = "
                f"{expected}, not {self.behavior.shape}"
            )
        if not _is_real(self.behavior):
            yield f"behavior must be real numbers, not {self.behavior.dtype}"
        if not _storable(self.behavior).all():
            yield "behavior holds NaN or infinite values: leave out those trials"


def _is_real(array: NDArray[np.generic]) -> bool:
    return np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)


def _storable(array: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Return where numbers are finite, also in the single precision they are stored in."""
    return np.abs(array) <= np.finfo(np.float32).max


def _are_numbers(array: NDArray[np.generic]) -> bool:
    """Return whether an array holds integers that the database's columns can hold."""
    return np.issubdtype(array.dtype, np.integer) and bool(
        ((array >= -INT32_MAX) & (array <= INT32_MAX)).all()
    )


def _described(array: NDArray[np.generic]) -> str:
    return f"{array.dtype} {array.shape}"


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
        If another recording has this key, an image_id is taken by another image, or the object
        store cannot be written.
    """
    known = (recording.Scan & key).to_dicts()
    if known:
        if known[0]["source_sha256"] == source.source_sha256:
            return False
        raise BadRecording(
            f"{key} is already there, from {known[0]['source_name']}: give this recording another "
            "animal, session or scan number, or delete the old one first"
        )
    try:
        with recording.schema.connection.transaction:
            _insert_everything(key, arrays, source, virtual)
    except OSError as error:
        raise BadRecording(
            f"nothing of {key} was stored, since the object store cannot be written: {error}"
        ) from error
    return True


def _insert_everything(
    key: dict[str, int], arrays: ScanArrays, source: Source, virtual: dict[str, Any] | None
) -> None:
    recording.Scan.insert1(key | vars(source))
    _insert_units(key, arrays)
    conditions = _insert_images(arrays)
    trials = (
        key | {"trial_idx": trial, "condition_hash": conditions[image]}
        for trial, image in enumerate(arrays.image_index.tolist())
    )
    insert_in_chunks(recording.Trial, trials, len(arrays.image_index), "trials")
    responses = arrays.responses.astype(np.float32)
    recording.Activity.insert1(key | dict(activity_kind="trial_response", activity=responses))
    if arrays.behavior is not None:
        behavior = arrays.behavior.astype(np.float32)
        names = list(arrays.behavior_names)
        recording.Behavior.insert1(key | dict(behavior_names=names, behavior=behavior))
    if virtual is not None:
        recording.VirtualAnimal.insert1(key | virtual)


def _insert_units(key: dict[str, int], arrays: ScanArrays) -> None:
    units = [key | {"unit_id": unit} for unit in arrays.unit_id.tolist()]
    xyz = [(None, None, None)] * len(units)
    if arrays.position is not None:
        xyz = [tuple(p) for p in arrays.position.astype(float).tolist()]
    positions = [dict(zip(("um_x", "um_y", "um_z"), p, strict=True)) for p in xyz]
    recording.Scan.Unit.insert(u | p for u, p in zip(units, positions, strict=True))
    if arrays.area is not None:
        names = arrays.area.tolist()
        recording.UnitArea.insert(u | {"brain_area": n} for u, n in zip(units, names, strict=True))
    if arrays.layer is not None:
        names = arrays.layer.tolist()
        recording.UnitLayer.insert(u | {"layer": n} for u, n in zip(units, names, strict=True))
    if arrays.stack_id is not None:
        stack = {"stack_id": arrays.stack_id}
        recording.Stack.insert1(stack, skip_duplicates=True)
        recording.StackRegistration.insert1(key | stack)
        recording.StackRegistration.Unit.insert(
            u | stack | dict(zip(("stack_x", "stack_y", "stack_z"), p, strict=True))
            for u, p in zip(units, xyz, strict=True)
        )


def _insert_images(arrays: ScanArrays) -> list[str]:
    """Insert images and conditions that are new; return the condition of every image."""
    names = register_images(arrays.images, arrays.image_class.tolist(), arrays.image_id)
    conditions = []
    for image_class, image_id in names:
        row = {
            "image_class": image_class,
            "image_id": image_id,
            "stimulus_type": "static",
            "presentation_time": arrays.presentation_time,
            "pre_blank_period": None,
        }
        conditions.append(row | {"condition_hash": configuration_hash("Condition", row)})
    distinct = {c["condition_hash"]: c for c in conditions}
    recording.Condition.insert(distinct.values(), skip_duplicates=True)
    return [c["condition_hash"] for c in conditions]
