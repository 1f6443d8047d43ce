"""Small tables of numbers in files: CSV with a line of names, or the arrays of an `.npz`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.checks import is_real
from pipeline.ingest.npy import read_npz
from pipeline.ingest.rows import BadRecording


def read_columns(path: Path, names: Sequence[str]) -> list[NDArray[Any]]:
    """Read columns of numbers of equal length, in the order of `names`.

    Raises
    ------
    BadRecording
        If the file cannot be read, lacks a column, has others, or they are not one real number per
        row.
    """
    columns = read_npz(path) if path.suffix == ".npz" else _read_csv(path)
    if sorted(columns) != sorted(names):
        raise BadRecording(f"{path} must have the columns {', '.join(names)}, not {list(columns)}")
    found = [columns[name] for name in names]
    shapes = {column.shape for column in found}
    if len(shapes) > 1 or len(shapes.pop()) != 1 or not all(map(is_real, found)):
        described = ", ".join(f"{n} {c.dtype} {c.shape}" for n, c in columns.items())
        raise BadRecording(f"{path} must hold one number per row and column, not {described}")
    return found


def _read_csv(path: Path) -> dict[str, NDArray[np.float64]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        header, *rows = [line for line in text.splitlines() if line.strip()] or [""]
        table = np.loadtxt(rows, delimiter=",", ndmin=2) if rows else np.empty((0, 0))
    except FileNotFoundError as error:
        raise BadRecording(f"there is no file {path}") from error
    except (OSError, ValueError) as error:
        raise BadRecording(f"{path} cannot be read as CSV of numbers: {error}") from error
    names = [name.strip().strip('"') for name in header.split(",")]
    if not table.size:
        raise BadRecording(f"{path} holds no rows of numbers")
    if table.shape[1] != len(names) or len(set(names)) < len(names):
        raise BadRecording(
            f"{path} must begin with a line of different names, one for each of its "
            f"{table.shape[1]} columns, not {header!r}"
        )
    return dict(zip(names, table.T, strict=True))
