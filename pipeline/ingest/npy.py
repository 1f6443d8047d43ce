"""Reads arrays from the files that numpy writes."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Read all arrays of an `.npz` file.

    Raises
    ------
    BadRecording
        As in `read_npy`, or if it is a single array.
    """
    with _reading(path, "an .npz file"), path.open("rb") as file:
        loaded = np.load(file, allow_pickle=False)
        if not isinstance(loaded, np.ndarray):
            return {name: loaded[name] for name in loaded.files}
    raise BadRecording(f"{path} is a single array, not an .npz file of named arrays")


@contextmanager
def _reading(path: Path, kind: str) -> Iterator[None]:
    """Say what is wrong with a file; pickles are refused, since they could run code."""
    try:
        yield
    except FileNotFoundError as error:
        raise BadRecording(f"there is no file {path}") from error
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, KeyError) as error:
        raise BadRecording(
            f"{path} cannot be read as {kind} (truncated, of another type, or holding Python "
            f"objects): {error}"
        ) from error
