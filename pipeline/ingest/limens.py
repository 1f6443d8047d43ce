"""Frequency difference limens of listeners, from CSV."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.checks import INT32_MAX
from pipeline.ingest.columns import read_columns
from pipeline.ingest.rows import BadRecording
from pipeline.ingest.source import source_of
from schemas.limens import LimenStudy

COLUMNS = ("subject", "frequency_hz", "limen_hz")
MAX_NAME = 32


def ingest_limens(path: Path, name: str) -> bool:
    """Ingest a study of frequency limens; whether it was not there yet.

    Parameters
    ----------
    path : Path
        CSV or `.npz` with the columns subject, frequency_hz and limen_hz.
    name : str
        Of the study.

    Raises
    ------
    BadRecording
        If the file cannot be used, or the name is that of other limens. Nothing is stored then.
    """
    if not 0 < len(name) <= MAX_NAME:
        raise BadRecording(f"a study of limens has a name of 1 to {MAX_NAME} characters")
    source = source_of(path, "limens", "1")
    key = {"limen_study": name}
    known = (LimenStudy & key).to_arrays("limen_sha256").tolist()
    if known:
        if known != [source.source_sha256]:
            raise BadRecording(f"the study '{name}' has other limens than {path}: rename this one")
        return False
    subject, frequency, limen = read_columns(path, COLUMNS)
    _check(path, subject, frequency, limen)
    rows = zip(subject.tolist(), frequency.tolist(), limen.tolist(), strict=True)
    with LimenStudy.connection.transaction:
        LimenStudy.insert1(
            key
            | {
                "limen_file": source.source_name,
                "limen_sha256": source.source_sha256,
                "n_listeners": len(np.unique(subject)),
            }
        )
        LimenStudy.Limen.insert(
            key
            | {
                "limen_index": index,
                "listener": int(listener),
                "frequency_hz": heard,
                "limen_hz": smallest,
            }
            for index, (listener, heard, smallest) in enumerate(rows)
        )
    return True


def _check(
    path: Path,
    subject: NDArray[np.float64],
    frequency: NDArray[np.float64],
    limen: NDArray[np.float64],
) -> None:
    if not ((np.abs(subject) <= INT32_MAX) & (subject == np.round(subject))).all():
        raise BadRecording(f"{path}: the subjects must be whole numbers")
    for name, values in (("frequency_hz", frequency), ("limen_hz", limen)):
        if not (np.isfinite(values).all() and (values > 0).all()):
            raise BadRecording(f"{path}: {name} must be positive numbers of Hz in every line")
    if len(np.unique(np.stack([subject, frequency]), axis=1).T) < len(subject):
        raise BadRecording(f"{path}: a subject has two limens at one frequency")
    if len(np.unique(frequency)) < 2:
        raise BadRecording(f"{path}: a comparison needs limens at two frequencies and more")
