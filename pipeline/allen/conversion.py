"""From the tables of an Allen session to the arrays format: columns in, arrays out."""

import json
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Table = Mapping[str, NDArray[Any]]
"""Columns by name, all of one length."""

Floats = NDArray[np.float64]

GABOR = (
    "orientation",
    "x_position",
    "y_position",
    "spatial_frequency",
    "temporal_frequency",
    "contrast",
    "size",
)
AREA = ("ecephys_structure_acronym", "structure_acronym")
"""Sessions of the cache have the first, bare files the second."""

BOOLEAN = {"False": "0", "True": "1"}

CCF = (
    "anterior_posterior_ccf_coordinate",
    "dorsal_ventral_ccf_coordinate",
    "left_right_ccf_coordinate",
)


class BadSession(Exception):
    """A session that cannot be converted; the message says why and what to do."""


class Picture(NamedTuple):
    """Class and number of a shown image, and what it was rendered from."""

    image_class: str
    image_id: int
    params: dict[str, float]


@dataclass(frozen=True)
class Presentations:
    """The presentations of pictures, in the order in which they took place.

    Attributes
    ----------
    pictures : list of Picture
        All different ones.
    image_index : int, (n,)
        Which of them each presentation showed.
    onset, offset : float, (n,)
        Seconds.
    left_out : dict
        How many presentations of which other stimuli there were.
    """

    pictures: list[Picture]
    image_index: NDArray[np.int64]
    onset: Floats
    offset: Floats
    left_out: dict[str, int]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything but the pixels under the names of the arrays format."""
        return {
            "image_class": np.array([p.image_class for p in self.pictures]),
            "image_id": np.array([p.image_id for p in self.pictures]),
            "stimulus_params": np.array([json.dumps(p.params) for p in self.pictures]),
            "image_index": self.image_index,
            "onset": self.onset,
            "offset": self.offset,
            "presentation_time": np.round(np.median(self.offset - self.onset), 3),
        }


def read_presentations(table: Table, unrecorded: Floats) -> Presentations:
    """Pick natural scenes, blanks and Gabors out of a session's stimulus presentations.

    Natural scenes keep their frame numbers; frame -1 is the blank. A Gabor's number is a checksum
    of its parameters, so it is the same in every session.

    Parameters
    ----------
    table : Table
        ``EcephysSession.stimulus_presentations``.
    unrecorded : float, (n, 2)
        Intervals without spikes; presentations that overlap them are left out.

    Raises
    ------
    BadSession
        If no natural scenes were shown and recorded, or a row lacks what its picture needs.
    """
    order = np.argsort(table["start_time"].astype(float), kind="stable")
    table = {name: column[order] for name, column in table.items()}
    names = table["stimulus_name"].astype(str)
    start, stop = (table[edge].astype(float) for edge in ("start_time", "stop_time"))
    first, last = unrecorded.T
    lost = ((start[:, None] < last) & (stop[:, None] > first)).any(axis=1)

    shown = Counter(names.tolist())
    if "natural_scenes" not in shown:
        raise BadSession(f"the session shows no natural_scenes, but {_listed(shown)}")
    scene, gabor = ((names == name) & ~lost for name in ("natural_scenes", "gabors"))
    if not scene.any():
        raise BadSession(
            "all natural_scenes lie in intervals in which spikes are missing: choose other areas"
        )
    pictures: list[Picture] = []
    image_index = np.full(len(names), -1)
    for rows, distinct_pictures in ((scene, _scenes), (gabor, _gabors)):
        if rows.any():
            found, which = distinct_pictures({name: table[name][rows] for name in table})
            image_index[rows] = which + len(pictures)
            pictures += found
    kept = scene | gabor
    left_out = Counter(names[~kept & ~lost].tolist())
    left_out["presentations without spikes"] = int(lost.sum())
    return Presentations(pictures, image_index[kept], start[kept], stop[kept], dict(+left_out))


def _scenes(table: Table) -> tuple[list[Picture], NDArray[np.int64]]:
    frames, which = np.unique(_column(table, "frame", "natural_scenes"), return_inverse=True)
    if (frames < -1).any() or (frames % 1).any():
        raise BadSession(f"frames of natural_scenes must be -1, 0, 1, ..., not {frames.tolist()}")
    pictures = [
        Picture("blank", 0, {}) if frame == -1 else Picture("natural_scenes", int(frame), {})
        for frame in frames
    ]
    return pictures, which


def _gabors(table: Table) -> tuple[list[Picture], NDArray[np.int64]]:
    columns = np.stack([_column(table, name, "gabors") for name in GABOR], axis=1)
    rows, which = np.unique(columns + 0.0, axis=0, return_inverse=True)  # no -0.0
    pictures = []
    for row in rows.tolist():
        params = dict(zip(GABOR, row, strict=True))
        number = zlib.crc32(json.dumps(params, sort_keys=True).encode()) >> 1
        pictures.append(Picture("gabor", number, params))
    return pictures, which.ravel()


def _column(table: Table, name: str, stimulus: str) -> Floats:
    """Read a column of numbers, which may be text or '[20.0, 20.0]'.

    allensdk turns a column that holds nothing but 0 and 1 into True and False.
    """
    if name not in table:
        raise BadSession(f"the presentations of {stimulus} have no column {name}")
    texts, which = np.unique(table[name].astype(str), return_inverse=True)
    return np.array([_number(text, name, stimulus) for text in texts.tolist()])[which]


def _number(text: str, name: str, stimulus: str) -> float:
    try:
        values = {float(BOOLEAN.get(part, part)) for part in text.strip("[]() ").split(",")}
    except ValueError:
        values = set()
    if len(values) != 1 or not np.isfinite(value := values.pop()):
        raise BadSession(f"{name} of {stimulus} must be one number, not {text!r}")
    return value


def unrecorded_intervals(invalid_times: Table, probes: Sequence[str]) -> Floats:
    """Return when spikes of these probes are missing, (n, 2) seconds.

    Parameters
    ----------
    invalid_times : Table
        ``EcephysSession.invalid_times``; empty in most sessions.
    probes : sequence of str
        Names of the probes.
    """
    tags = {"all_probes", *probes}
    columns = (invalid_times.get(name, ()) for name in ("start_time", "stop_time", "tags"))
    rows = zip(*columns, strict=True)
    intervals = [(start, stop) for start, stop, of in rows if tags & set(of)]
    return np.array(intervals, float).reshape(-1, 2)


def choose_units(units: Table, areas: Sequence[str]) -> Table:
    """Choose units by area and put them in the order of their numbers.

    Parameters
    ----------
    units : Table
        ``EcephysSession.units`` with its index as column `unit_id`.
    areas : sequence of str
        Acronyms; all units if empty.

    Returns
    -------
    Table
        The rows that were chosen, with a column `area`, 'unknown' where the session has none.

    Raises
    ------
    BadSession
        If there are no units at all, or none in one of the areas.
    """
    acronyms = next((units[name] for name in AREA if name in units), units["unit_id"])
    known = [isinstance(a, str) and a not in ("", "None", "null") for a in acronyms]
    area = np.where(known, acronyms, "unknown").astype(str)
    counts = Counter(area.tolist())
    if not counts:
        raise BadSession("no unit of the session passes allensdk's quality filters")
    missing = sorted(set(areas) - set(counts))
    if missing:
        raise BadSession(f"no units in {', '.join(missing)}: the session has {_listed(counts)}")
    order = np.argsort(units["unit_id"])
    chosen = order[np.isin(area, areas)[order]] if areas else order
    return {name: column[chosen] for name, column in {**units, "area": area}.items()}


def unit_arrays(units: Table) -> dict[str, NDArray[Any]]:
    """Return numbers, areas and, if they are known of every unit, positions of chosen units.

    x, y and z run from anterior to posterior, from dorsal to ventral and from left to right in
    the Common Coordinate Framework, um; allensdk marks unknown ones by NaN or a negative number.
    """
    arrays = {"unit_id": units["unit_id"].astype(np.int64), "area": units["area"]}
    if all(name in units for name in CCF):
        position = np.stack([units[name].astype(float) for name in CCF])
        if (position > 0).all():
            arrays |= dict(zip("xyz", position, strict=True))
    return arrays


def spike_arrays(
    spike_times: Mapping[int, Floats], unit_ids: NDArray[np.int64]
) -> dict[str, NDArray[Any]]:
    """Return the spikes of the units one after another, ascending within each."""
    trains = [np.sort(spike_times[unit]) for unit in unit_ids.tolist()]
    return {
        "spike_times": np.concatenate(trains).astype(np.float64),
        "spike_counts": np.array([len(train) for train in trains]),
    }


def treadmill_track(running_speed: Table) -> Floats:
    """Return the middle of each interval (s) and the speed in it (cm/s), (n, 2)."""
    middle = (running_speed["start_time"] + running_speed["end_time"]) / 2
    return np.stack([middle, running_speed["velocity"]], axis=1).astype(float)


def pupil_track(times: Floats, pupil: Table) -> Floats:
    """Return time (s), radius, x and y of the pupil, (n, 4), in pixels of the eye camera.

    Parameters
    ----------
    times : float, (n,)
    pupil : Table
        ``EcephysSession.get_pupil_data()``: the axes and centre of the ellipse fitted to the
        pupil, NaN where there is none. The radius is that of the circle of the same area.
    """
    radius = np.sqrt(pupil["pupil_width"] * pupil["pupil_height"]) / 2
    columns = (times, radius, pupil["pupil_center_x"], pupil["pupil_center_y"])
    return np.stack(columns, axis=1).astype(float)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({n})" for name, n in sorted(counts.items()))
