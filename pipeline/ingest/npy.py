"""Reads arrays from the files that numpy writes."""

import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.rows import BadRecording


def read_npy(path: Path, mapped: bool = False) -> NDArray[Any]:
    """Read the array of an `.npy` file, or map it into memory.

    Raises
    ------
    BadRecording
        If the file is missing, truncated, of another type, or holds Python objects.
    """
    with _reading(path, "an .npy file"):
        if mapped:
            return np.lib.format.open_memmap(path, mode="r")
        with path.open("rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)


def read_npz(path: Path, max_bytes: int | None = None) -> dict[str, NDArray[Any]]:
    """Read all arrays of an `.npz` file.

    Parameters
    ----------
    path : Path
    max_bytes : int, optional
        Of all arrays together, unpacked; by default the memory of this machine.

    Raises
    ------
    BadRecording
        As in `read_npy`, or if it is a single array, or holds more than `max_bytes`.
    """
    limit = max_bytes or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with _reading(path, "an .npz file"), path.open("rb") as file:
        if zipfile.is_zipfile(file):
            _refuse_bomb(path, file, limit)
        file.seek(0)
        loaded = np.load(file, allow_pickle=False)
        if not isinstance(loaded, np.ndarray):
            arrays = {name: loaded[name] for name in loaded.files}
            if other := [n for n, a in arrays.items() if not isinstance(a, np.ndarray)]:
                raise ValueError(f"{other} are no arrays")
            return arrays
    raise BadRecording(f"{path} is a single array, not an .npz file of named arrays")


def _refuse_bomb(path: Path, file: BinaryIO, limit: int) -> None:
    """Raise an error before more is unpacked than there is room for."""
    with zipfile.ZipFile(file) as members:
        # What a member says of itself is as far as it is read.
        n_bytes = sum(member.file_size for member in members.infolist())
    if n_bytes > limit:
        raise BadRecording(
            f"{path} would unpack to {n_bytes / 1e9:.1f} GB, possible are {limit / 1e9:.1f} GB: "
            "a recording that is larger than memory can be a folder of .npy files"
        )


@contextmanager
def _reading(path: Path, kind: str) -> Iterator[None]:
    """Say what is wrong with a file; pickles are refused, since they could run code."""
    try:
        yield
    except FileNotFoundError as error:
        raise BadRecording(f"there is no file {path}") from error
    except MemoryError as error:
        raise BadRecording(f"{path} says that it holds more than fits in memory") from error
    except (
        *(ValueError, EOFError, OSError, KeyError),
        *(zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError),
    ) as error:
        raise BadRecording(
            f"{path} cannot be read as {kind} (truncated, of another type, or holding Python "
            f"objects): {error}"
        ) from error
