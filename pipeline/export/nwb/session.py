"""The session of a recording: what NWB requires, from the database or from whom exports it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from typing import Any

from pynwb import NWBFile
from pynwb.file import Subject

from pipeline.export.draft import CannotExport
from schemas.recording import Scan

ABOUT_SUBJECTS = ("age", "description", "genotype", "sex", "species", "strain", "weight")
"""What NWB can say of an animal, and the database cannot."""


@dataclass(frozen=True)
class Microscope:
    """What NWB requires of imaged planes.

    Attributes
    ----------
    indicator : str
    excitation_nm, emission_nm : float
        Wavelengths.
    """

    indicator: str
    excitation_nm: float
    emission_nm: float


@dataclass(frozen=True)
class SessionFacts:
    """What NWB says of a session and the database does not.

    Attributes
    ----------
    start : datetime, optional
        With its time zone, which the database never knows.
    microscope : Microscope, optional
        Needed where units lie in imaged fields.
    subject : mapping
        Any of `ABOUT_SUBJECTS`.
    """

    start: datetime | None = None
    microscope: Microscope | None = None
    subject: Mapping[str, str] = field(default_factory=dict)


def new_file(scan: Mapping[str, Any], facts: SessionFacts) -> NWBFile:
    """Return a file that says of a recording what it is.

    Raises
    ------
    CannotExport
        If something that NWB requires is not known, or contradicts the database.
    """
    row = (Scan & scan).fetch1()
    name = "-".join(str(value) for value in scan.values())
    unknown = sorted(set(facts.subject) - set(ABOUT_SUBJECTS))
    if unknown:
        raise CannotExport(f"NWB knows no {unknown[0]} of animals, but {', '.join(ABOUT_SUBJECTS)}")
    return NWBFile(
        session_description=f"Recording {name}, ingested from {row['source_name']} by the reader "
        f"{row['reader']} {row['reader_version']}; SHA-256 {row['source_sha256']}",
        identifier=f"inceptionloop {name} {row['source_sha256'] or row['source_name']}",
        session_id=name,
        session_start_time=_start(name, row["recorded_at"], facts.start),
        subject=Subject(subject_id=str(row["animal_id"]), **facts.subject),
        was_generated_by=[["inceptionloop", version("inceptionloop")]],
    )


def _start(name: str, recorded: datetime | None, given: datetime | None) -> datetime:
    example = (recorded or datetime(2026, 11, 20, 9)).isoformat(timespec="minutes")
    known = f"began at {recorded}, but not in which time zone" if recorded else "began"
    if given is None or given.tzinfo is None:
        raise CannotExport(
            f"NWB requires when a session began, and the database does not know when {name} "
            f"{known}: say it with its zone, as --start {example}+01:00"
        )
    if recorded and given.replace(tzinfo=None) != recorded:
        raise CannotExport(
            f"--start is {given.replace(tzinfo=None)}, but {name} began at {recorded}: it is to "
            "add the time zone only"
        )
    return given
