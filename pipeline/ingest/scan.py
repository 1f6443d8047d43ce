"""A recorded scan as readers hand it over."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


class Matrix(Protocol):
    """An array, a memory map or a dataset of an HDF5 file, (n_rows, n_units)."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def __getitem__(self, index: Any) -> NDArray[np.generic]: ...


@dataclass(frozen=True)
class Source:
    """Where a recording came from: reader and, for files, name, size (bytes) and SHA-256."""

    reader: str
    reader_version: str
    source_name: str
    source_size: int | None = None
    source_sha256: str | None = None


@dataclass(frozen=True)
class Images:
    """The images that were shown.

    Attributes
    ----------
    pixels : uint8, (n_images, h, w)
        Grey values.
    image_class : str, (n_images,)
        What kind of image each is: 'natural', 'mei', ...
    image_id : int, (n_images,), optional
        Their numbers within their class; by default an image keeps the number under which the
        same pixels are known, and a new one gets the next.
    params : sequence of dict, (n_images,), optional
        Of rendered images: what they were rendered from; empty for others.
    """

    pixels: NDArray[np.uint8]
    image_class: NDArray[np.str_]
    image_id: NDArray[np.integer] | None = None
    params: list[dict[str, Any]] | None = None


@dataclass(frozen=True)
class Units:
    """The recorded units.

    Attributes
    ----------
    unit_id : int, (n_units,)
        Ascending.
    area, layer : str, (n_units,), optional
    position : float, (n_units, 3), optional
        x, y, z in um.
    field : int, (n_units,), optional
        Number of the imaged field of each.
    pixel : float, (n_units, 2), optional
        x and y in the field, px.
    delay : float, (n_units,), optional
        Seconds from the frame times to the samples of each.
    """

    unit_id: NDArray[np.integer]
    area: NDArray[np.str_] | None = None
    layer: NDArray[np.str_] | None = None
    position: Floats | None = None
    field: NDArray[np.integer] | None = None
    pixel: Floats | None = None
    delay: Floats | None = None


@dataclass(frozen=True)
class Fields:
    """The imaged fields.

    Attributes
    ----------
    field : int, (n_fields,)
        Their numbers.
    depth : float, (n_fields,), optional
        Below the pia, um.
    size_px, size_um : (n_fields, 2), optional
        Height and width.
    """

    field: NDArray[np.integer]
    depth: Floats | None = None
    size_px: NDArray[np.integer] | None = None
    size_um: Floats | None = None


@dataclass(frozen=True)
class TrialResponses:
    """Finished responses, one number per trial and unit: (n_trials, n_units), finite."""

    responses: Matrix


@dataclass(frozen=True)
class Traces:
    """Activity in time.

    Attributes
    ----------
    traces : float, (n_frames, n_units)
        NaN: the sample is missing.
    frame_times : float, (n_frames * n_depths,)
        Of all depths, interleaved; s on the clock of the stimulus.
    behavior_frame_times : float, optional
        The same frames on the clock of pupil and treadmill, where it is another.
    n_depths : int
    """

    traces: Matrix
    frame_times: Floats
    behavior_frame_times: Floats | None = None
    n_depths: int = 1


@dataclass(frozen=True)
class SpikeTimes:
    """Spikes.

    Attributes
    ----------
    times : float, (n_spikes,)
        s on the clock of the stimulus; unit after unit, ascending within a unit.
    counts : int, (n_units,)
        How many are of each unit.
    """

    times: Floats
    counts: NDArray[np.integer]


Activity = TrialResponses | Traces | SpikeTimes


@dataclass(frozen=True)
class Trials:
    """The presentations, in the order in which they took place.

    Attributes
    ----------
    image_index : int, (n_trials,)
        Image shown in each.
    onset, offset : float, (n_trials,), optional
        Of the image, s on the clock of the stimulus; NaN where unknown. Traces and spikes need
        onsets.
    n_flips : int, (n_trials,), optional
        Recorded flips of the screen: trials with another number than most are malformed.
    """

    image_index: NDArray[np.integer]
    onset: Floats | None = None
    offset: Floats | None = None
    n_flips: NDArray[np.integer] | None = None


@dataclass(frozen=True)
class Screen:
    """What the images were shown on, filling its width; cm."""

    width_cm: float
    distance_cm: float


@dataclass(frozen=True)
class Track:
    """Pupil or running.

    Attributes
    ----------
    samples : float
        In time, on the clock of behaviour: (n, 4) t, radius, x, y or (n, 2) t, velocity; NaN where
        undetected. Per trial: (n_trials, 4) radius, its change, x, y or (n_trials, 1) speed.
    per_trial : bool
    """

    samples: Floats
    per_trial: bool = False


@dataclass(frozen=True)
class ScanArrays:
    """A recording of responses to static images.

    Attributes
    ----------
    images : Images
    trials : Trials
    activity : TrialResponses, Traces or SpikeTimes
    units : Units
    fields : Fields, optional
    pupil, treadmill : Track, optional
    stacks : mapping of int to float (n_units, 3)
        Coordinates of the units in each stack that the recording is registered to, um; needed to
        match cells between recordings.
    presentation_time, pre_blank_period : float, optional
        Seconds, of every trial.
    screen : Screen, optional
        Needed for receptive fields in degrees.
    rig : str, optional
    recorded_at : datetime, optional
        Both are needed to find the calibration of the monitor.
    """

    images: Images
    trials: Trials
    activity: Activity
    units: Units
    fields: Fields | None = None
    pupil: Track | None = None
    treadmill: Track | None = None
    stacks: Mapping[int, Floats] = field(default_factory=dict)
    presentation_time: float | None = None
    pre_blank_period: float | None = None
    screen: Screen | None = None
    rig: str | None = None
    recorded_at: datetime | None = None
