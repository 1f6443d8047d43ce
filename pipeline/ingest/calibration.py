"""Measured monitors on their way into the database."""

from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.checks import MAX_NAME
from pipeline.ingest.columns import read_columns
from pipeline.ingest.rows import BadRecording
from schemas.recording import MonitorCalibration, Rig
from science.monitor import check_calibration


def ingest_calibration(path: Path, rig: str, calibrated_at: datetime) -> bool:
    """Ingest a calibration of a rig's monitor; False when it is already there.

    Parameters
    ----------
    path : Path
        CSV, or `.npz`, with the columns pixel_value and luminance, cd/m2.
    rig : str
    calibrated_at : datetime

    Raises
    ------
    BadRecording
        If the file is not so, or as in `insert_calibration`.
    """
    return insert_calibration(rig, calibrated_at, *read_columns(path, ("pixel_value", "luminance")))


def time_of_calibration(text: str) -> datetime:
    """Read a time of the day, as 2026-11-21T09:30, to the second and without a time zone.

    Raises
    ------
    BadRecording
        If it is not so.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadRecording(f"'{text}' is no time: write it as 2026-11-21T09:30") from error
    if time.tzinfo is not None or time.microsecond:
        raise BadRecording(
            f"'{text}' has a time zone or fractions of a second: write the time on the clock of "
            "the rig, as 2026-11-21T09:30"
        )
    return time


def insert_calibration(
    rig: str,
    calibrated_at: datetime,
    pixel_value: NDArray[np.floating],
    luminance: NDArray[np.floating],
) -> bool:
    """Insert a calibration of a rig's monitor; False when it is already there.

    Parameters
    ----------
    rig : str
    calibrated_at : datetime
    pixel_value : float, (k,)
        Ascending, from 0 to 255.
    luminance : float, (k,)
        cd/m2, rising.

    Raises
    ------
    BadRecording
        If it is no calibration, or another one of this rig and time is there.
    """
    if not 0 < len(rig) <= MAX_NAME["rig"]:
        raise BadRecording(f"a name of rig has 1 to {MAX_NAME['rig']} characters, not '{rig}'")
    try:
        pixel_value, luminance = check_calibration(pixel_value, luminance)
    except ValueError as error:
        raise BadRecording(f"this is no calibration of a monitor: {error}") from error
    key = {"rig": rig, "calibrated_at": calibrated_at}
    known = (MonitorCalibration & key).to_dicts()
    if known:
        same = all(
            np.array_equal(known[0][name], values)
            for name, values in (("pixel_value", pixel_value), ("luminance", luminance))
        )
        if same:
            return False
        raise BadRecording(f"another calibration of {rig} at {calibrated_at} is already there")
    with MonitorCalibration.connection.transaction:
        Rig.insert1({"rig": rig}, skip_duplicates=True)
        MonitorCalibration.insert1(key | {"pixel_value": pixel_value, "luminance": luminance})
    return True
