"""What a recording was read from: name, size and checksum."""

import hashlib
from pathlib import Path

from tqdm import tqdm

from pipeline.ingest.rows import BadRecording
from pipeline.ingest.scan import Source


def source_of(path: Path, reader: str, reader_version: str) -> Source:
    """Describe the file or folder a recording is read from.

    The checksum of a folder is that of the list of its files, sorted: one line with name, size and
    SHA-256 for each.

    Raises
    ------
    BadRecording
        If there is no such file or folder, or it cannot be read.
    """
    try:
        name = path.resolve().name if path.is_dir() else path.name
        name.encode()  # it becomes text in a row
        if path.is_dir():
            return Source(reader, reader_version, name, *_of_folder(path))
        return Source(reader, reader_version, name, path.stat().st_size, _sha256(path))
    except FileNotFoundError as error:
        raise BadRecording(f"there is no file or folder {path}") from error
    except UnicodeEncodeError as error:
        raise BadRecording(
            f"{str(path)!r} or a file in it has a name that is not UTF-8: rename it"
        ) from error
    except OSError as error:
        raise BadRecording(f"{path} cannot be read: {error}") from error


def _of_folder(folder: Path) -> tuple[int, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    total, lines = 0, []
    for path in tqdm(files, desc="checksums", unit="file", leave=False, disable=len(files) < 200):
        size = path.stat().st_size
        total += size
        lines.append(f"{path.relative_to(folder).as_posix()}\t{size}\t{_sha256(path)}\n")
    return total, hashlib.sha256("".join(lines).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
