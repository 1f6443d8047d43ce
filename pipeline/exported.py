"""Slices that `inceptionloop export slice` wrote, read and verified without any database."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError
from tqdm import tqdm

from pipeline.errors import UserError
from pipeline.export.arrow import pa, pq
from pipeline.export.manifest import (
    MANIFEST,
    SHAPE,
    ForeignKey,
    Manifest,
    TableEntry,
    file_entry,
    table_file,
)

MISSING_SHOWN = 3
NULLABLE = {
    pa.bool_(): pd.BooleanDtype(),
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
}
"""Types of pandas that hold what a database may leave empty; floats and text do anyway."""


class BadSlice(UserError):
    """A folder that holds no slice, or a file of it that cannot be read."""


def read_manifest(folder: Path) -> Manifest:
    """Return what a slice holds.

    Raises
    ------
    BadSlice
        If the folder holds none, or the manifest is damaged.
    """
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except OSError as error:
        raise BadSlice(f"'{folder}' is no slice: {MANIFEST}: {error.strerror}") from error
    except ValidationError as error:
        (first, *_) = error.errors()
        place = ".".join(map(str, first["loc"]))
        raise BadSlice(f"the manifest of '{folder}' is damaged: {place} {first['msg']}") from error


def read_slice(folder: str | Path) -> dict[str, pd.DataFrame]:
    """Return all tables of a slice by name, as ``MEI`` or ``MEI.Unit``.

    Integers and booleans are of pandas' types that may be missing, small arrays are NumPy arrays
    in their shapes, documents are JSON text, and large arrays are the paths of their files in the
    folder, for `numpy.load`.

    Raises
    ------
    BadSlice
        If there is no slice, or a file of it cannot be read.
    """
    folder = Path(folder)
    tables = read_manifest(folder).tables
    return {name: _read(folder, name, entry) for name, entry in tables.items()}


def _read(folder: Path, name: str, entry: TableEntry) -> pd.DataFrame:
    frame = _parquet(folder, name).to_pandas(types_mapper=NULLABLE.get)
    for column, described in entry.columns.items():
        if described.kind == "array":
            shapes = frame.pop(column + SHAPE)
            frame[column] = pd.Series(
                [
                    None if values is None else np.reshape(values, shape)
                    for values, shape in zip(frame[column], shapes, strict=True)
                ],
                dtype=object,
            )
    return frame


def verify_slice(folder: str | Path) -> list[str]:
    """Compare all files with their checksums, and look up every reference of every row.

    Returns
    -------
    list of str
        What is wrong; empty if the slice is whole.

    Raises
    ------
    BadSlice
        If there is no slice.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    damaged = {
        path: problem
        for path in tqdm(manifest.files, desc="files", unit="", leave=False, disable=None)
        if (problem := _damage(folder, path, manifest))
    }
    problems = list(damaged.values())
    for name, entry in manifest.tables.items():
        if table_file(name) not in manifest.files:
            problems.append(f"{table_file(name)} is not in the manifest")
        elif table_file(name) not in damaged:
            problems += _table_problems(folder, name, entry, manifest, damaged)
    return problems


def _damage(folder: Path, path: str, manifest: Manifest) -> str | None:
    file, expected = folder / path, manifest.files[path]
    if file.is_symlink() or not file.is_file():
        return f"{path} is missing"
    try:
        found = file_entry(file)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    if found.bytes != expected.bytes:
        return f"{path} has {found.bytes} bytes instead of {expected.bytes}"
    return None if found == expected else f"{path} is damaged: its SHA-256 is another"


def _table_problems(
    folder: Path, name: str, entry: TableEntry, manifest: Manifest, damaged: dict[str, str]
) -> Iterator[str]:
    files = [column for column, described in entry.columns.items() if described.kind == "file"]
    referring = [column for foreign in entry.foreign_keys for column in foreign.columns]
    rows = _columns(folder, name, (*entry.primary_key, *files, *referring))
    if len(rows) != entry.rows:
        yield f"{name} has {len(rows)} rows instead of {entry.rows}"
    if rows.duplicated(list(entry.primary_key)).any():
        yield f"{name} has rows with the same key"
    for column in files:
        if unknown := set(rows[column].dropna()) - manifest.files.keys():
            yield f"{name}.{column} names files that are not there: {_some(unknown)}"
    for foreign in entry.foreign_keys:
        if table_file(foreign.parent) not in damaged:
            yield from _lost(folder, name, rows, foreign, manifest)


def _lost(
    folder: Path, name: str, rows: pd.DataFrame, foreign: ForeignKey, manifest: Manifest
) -> Iterator[str]:
    """Say which rows refer to a row that is not there."""
    referred = rows[list(foreign.columns)].dropna().drop_duplicates()
    if foreign.parent in manifest.tables:
        parents = _columns(folder, foreign.parent, foreign.parent_columns)
        known = pd.MultiIndex.from_frame(parents)
        referred = referred[~pd.MultiIndex.from_frame(referred).isin(known)]
    if len(referred):
        lost = _some(referred.itertuples(index=False, name=None))
        yield f"{name} refers to {len(referred)} rows of {foreign.parent} that are missing: {lost}"


def _columns(folder: Path, name: str, columns: Sequence[str]) -> pd.DataFrame:
    wanted = list(dict.fromkeys(columns))
    return _parquet(folder, name, wanted).to_pandas(types_mapper=NULLABLE.get)


def _parquet(folder: Path, name: str, columns: list[str] | None = None) -> pa.Table:
    try:
        # opened here, since pyarrow knows only names that are UTF-8
        with (folder / table_file(name)).open("rb") as stream:
            return pq.read_table(stream, columns=columns)
    except (OSError, pa.ArrowException) as error:
        raise BadSlice(f"{table_file(name)} of '{folder}' cannot be read: {error}") from error


def _some(things: Any) -> str:
    shown = sorted(map(str, things))
    return ", ".join(shown[:MISSING_SHOWN]) + (", ..." if len(shown) > MISSING_SHOWN else "")
