"""Pupil and running in an NWB file."""

import logging
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from pynwb import NWBFile, TimeSeries
from pynwb.behavior import EyeTracking, PupilTracking, SpatialSeries

from pipeline.ingest.rows import BadRecording
from pipeline.ingest.scan import Track

RUNNING = ("treadmill", "running", "wheel", "locomotion")
CM_PER_S = dict.fromkeys(("m/s", "meters/second", "meters/s", "meters per second"), 100.0)
CM_PER_S |= dict.fromkeys(("cm/s", "centimeters/second", "centimeters per second"), 1.0)

Floats = NDArray[np.float64]

logger = logging.getLogger(__name__)


def read_pupil(file: NWBFile) -> Track | None:
    """Read time, radius, x and y of the pupil; None unless all were recorded."""
    size = _first(_series_of(file, PupilTracking), ("major_radius", "radius", "diameter", "area"))
    center = _first(
        [s for s in _series_of(file, EyeTracking) if isinstance(s, SpatialSeries)],
        ("pupil", "eye_position", ""),
    )
    if size is None or center is None:
        if size is not None or center is not None:
            given, lacking = ("PupilTracking", "EyeTracking")[:: 1 if size is not None else -1]
            logger.warning("the pupil is left out: there is %s but no %s", given, lacking)
        return None
    t, radius = _track(size)
    t_center, xy = _track(center)
    if xy.ndim != 2 or xy.shape[1] != 2:
        raise BadRecording(f"{center.name} must be x and y of the pupil, (n, 2), not {xy.shape}")
    if not np.array_equal(t, t_center):
        raise BadRecording(f"{size.name} and {center.name} must have the same times")
    if "diameter" in size.name.lower():
        radius = radius / 2
    elif "radius" not in size.name.lower():
        radius = np.sqrt(radius / np.pi)
    return Track(np.column_stack([t, radius, xy]))


def read_treadmill(file: NWBFile) -> Track | None:
    """Read time and velocity, cm/s; None when running was not recorded."""
    moving = [
        s
        for s in file.objects.values()
        if isinstance(s, TimeSeries) and any(w in s.name.lower() for w in ("velocity", "speed"))
    ]
    series = _first(moving, RUNNING)
    if series is None:
        return None
    unit = series.unit.lower()
    if unit not in CM_PER_S:
        raise BadRecording(f"{series.name} is in '{series.unit}': known are {sorted(CM_PER_S)}")
    t, velocity = _track(series)
    if velocity.ndim != 1:
        raise BadRecording(f"{series.name} must be one velocity per time, not {velocity.shape}")
    return Track(np.column_stack([t, velocity * CM_PER_S[unit]]))


def _series_of(file: NWBFile, kind: type) -> list[TimeSeries]:
    """Return the series in all containers of a kind."""
    return [
        s for s in file.objects.values() if isinstance(s, TimeSeries) and isinstance(s.parent, kind)
    ]


def _first(series: Iterable[TimeSeries], words: tuple[str, ...]) -> TimeSeries | None:
    """Return the series with the first of the words in its name that any of them has."""
    for word in words:
        found = sorted((s for s in series if word in s.name.lower()), key=lambda s: s.name)
        if len(found) > 1:
            others = ", ".join(s.name for s in found[1:])
            logger.warning("%s is taken, and not %s", found[0].name, others)
        if found:
            return found[0]
    return None


def _track(series: TimeSeries) -> tuple[Floats, Floats]:
    """Load times and data in their unit, without the samples that have no time."""
    t = np.asarray(series.get_timestamps()[:], np.float64)
    data = np.asarray(series.get_data_in_units(), np.float64)
    if len(t) != len(data):
        raise BadRecording(f"{series.name} has {len(data)} samples and {len(t)} times")
    timed = np.isfinite(t)
    return t[timed], data[timed]
