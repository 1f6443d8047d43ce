"""Sessions of the Allen Brain Observatory, Visual Coding, Neuropixels (allen_mei 1).

allensdk lives in an environment of its own (decision 0005): the program `pipeline.allen` runs there
and turns a session into a folder in the arrays format, which is ingested from here.
"""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.ingest.arrays import read_arrays
from pipeline.ingest.insert import already_there, insert_scan
from pipeline.ingest.rows import BadRecording
from pipeline.ingest.scan import Source
from pipeline.ingest.source import source_of
from pipeline.settings import Settings
from schemas.recording import Scan

READER_VERSION = "1"

PIPELINE = Path(__file__).parents[1]
PROGRAM = PIPELINE / "allen"
PYTHON = PIPELINE.parent / ".venv-allen" / "bin" / "python"


@dataclass(frozen=True)
class AllenSession:
    """A session whose file is on this machine.

    Attributes
    ----------
    nwb : Path
    number : int
        Of the session at the Allen Institute.
    animal : int or None
        Number of the animal, where the file has one.
    cache : Path or None
        Cache of allensdk with the pictures of the natural scenes.
    cached : bool
        Whether the file, too, comes from the cache.
    """

    nwb: Path
    number: int
    animal: int | None
    cache: Path | None
    cached: bool

    @property
    def arguments(self) -> list[str]:
        """What the program needs to find it again."""
        arguments = ["--nwb", str(self.nwb)]
        if self.cached:
            arguments += ["--session", str(self.number)]
        if self.cache is not None:
            arguments += ["--cache", str(self.cache)]
        return arguments


def locate_session(
    number: int | None = None, nwb: Path | None = None, cache: Path | None = None
) -> AllenSession:
    """Find a session, which is downloaded where no file is given.

    Parameters
    ----------
    number : int, optional
        Of the session at the Allen Institute.
    nwb : Path, optional
        A session's file: give this or the number.
    cache : Path, optional
        Folder of ``EcephysProjectCache``; for downloads by default `Settings.allen_folder`/cache.

    Raises
    ------
    BadRecording
        If the file is missing, truncated or none of the Allen Institute, the session cannot be
        downloaded, or the environment of allensdk is missing.
    """
    if (number is None) == (nwb is None):
        raise BadRecording("give the number of a session to download (--session) or a file (--nwb)")
    if nwb is not None and not nwb.is_file():
        raise BadRecording(f"there is no file {nwb}")
    if nwb is None and cache is None:
        cache = Settings().allen_folder / "cache"
    cache = cache and cache.absolute()
    wanted = ["--nwb", str(nwb.absolute())] if nwb else ["--session", str(number)]
    found = json.loads(_run("locate", *wanted, *(["--cache", str(cache)] if cache else [])))
    animal = int(found["animal"]) if found["animal"].isdigit() else None
    return AllenSession(Path(found["nwb"]), found["session"], animal, cache, nwb is None)


def ingest_allen(
    session: AllenSession,
    key: dict[str, int],
    areas: Sequence[str] = (),
    templates: Path | None = None,
) -> bool:
    """Ingest the natural scenes, blanks and Gabors of a session; False when it is already there.

    The converted session waits in `Settings.allen_folder` until it is ingested, so that an ingest
    that was interrupted goes on from there.

    Parameters
    ----------
    session : AllenSession
    key : dict
        animal_id, session, scan_idx.
    areas : sequence of str
        Acronyms of the areas whose units are ingested, by default all.
    templates : Path, optional
        Pictures of the natural scenes, for a session without a cache: an .npy file
        (n_scenes, h, w) uint8 or a folder of natural_scene_0.tiff, ...

    Raises
    ------
    BadRecording
        If there is no such area, no natural scene or no unit, a picture is missing, or another
        recording or another choice of areas has this key.
    """
    areas = sorted(set(areas))
    source = _source(session, areas, templates)
    if _already_there(key, source):
        return False
    identity = [*vars(source).values(), *session.arguments[2:]]
    digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
    folder = Settings().allen_folder / f"{session.number}-{digest}"
    if not folder.exists():
        arguments = [*session.arguments, "--into", str(folder)]
        arguments += [part for area in areas for part in ("--area", area)]
        if templates is not None:
            arguments += ["--templates", str(templates.absolute())]
        _run("convert", *arguments)
    ingested = insert_scan(key, read_arrays(folder), source)
    shutil.rmtree(folder)
    return ingested


def _source(session: AllenSession, areas: Sequence[str], templates: Path | None) -> Source:
    """Describe the file, and with it what was chosen from it."""
    version = f"{READER_VERSION}, allensdk {_allensdk_version()}"
    name = session.nwb.name
    if areas:
        name += f", {' '.join(areas)}"
    if templates is not None:
        checksum = source_of(templates, "allen", version).source_sha256
        name += f", scenes {templates.name} {checksum[:12]}"
    file = source_of(session.nwb, "allen", version)
    return Source("allen", version, name, file.source_size, file.source_sha256)


def _already_there(key: dict[str, int], source: Source) -> bool:
    there = already_there(key, source)
    if there and (name := (Scan & key).fetch1("source_name")) != source.source_name:
        raise BadRecording(
            f"{key} is already there, as {name}, and not as {source.source_name}: give this choice "
            "another scan number, or delete the old one first"
        )
    return there


def _allensdk_version() -> str:
    command = "from importlib.metadata import version; print(version('allensdk'), end='')"
    return _answer([str(_python()), "-E", "-c", command])


def _run(*arguments: str) -> str:
    """Run the program and return its answer; its progress and notes go to standard error."""
    return _answer([str(_python()), "-E", "-W", "ignore", str(PROGRAM), *arguments])


def _answer(command: Sequence[str]) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise BadRecording(
            done.stdout
            or f"allensdk failed (exit status {done.returncode}), see its messages above; "
            "`make install-allen` repairs its environment"
        )
    return done.stdout


def _python() -> Path:
    python = Settings().allen_python or PYTHON
    if not python.exists():
        raise BadRecording(
            "sessions of the Allen Institute are read by allensdk in an environment of its own, "
            f"and there is no {python}: run `make install-allen`"
        )
    return python
