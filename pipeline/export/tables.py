"""Tables of a slice: their rows as Parquet, in bounded memory, their large arrays as files."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from inspect import cleandoc
from pathlib import Path, PurePosixPath
from typing import Any

import datajoint as dj
import numpy as np
from tqdm import tqdm

from pipeline.ancestry import name_of
from pipeline.export.arrow import pa, pq
from pipeline.export.columns import (
    Elements,
    arrow_columns,
    arrow_schema,
    decoded,
    described,
    element_types,
    is_file,
)
from pipeline.export.manifest import ARRAYS, ForeignKey, TableEntry, table_file
from pipeline.export.rows import Rows, named_foreign_keys
from schemas.store import Store

ROWS_AT_ONCE = 20_000
BYTES_AT_ONCE = 64 * 2**20
"""That are in memory before they are written."""


@dataclass
class _Batch:
    """Rows that are written together, column by column."""

    columns: dict[str, list[Any]]
    n_bytes: int = 0
    n_rows: int = 0

    def add(self, row: Sequence[Any]) -> None:
        for values, value in zip(self.columns.values(), row, strict=True):
            values.append(value)
            self.n_bytes += _size(value)
        self.n_rows += 1

    @property
    def is_full(self) -> bool:
        return self.n_rows >= ROWS_AT_ONCE or self.n_bytes >= BYTES_AT_ONCE


def _size(value: Any) -> int:
    if isinstance(value, np.ndarray):
        return value.nbytes
    return len(value) if isinstance(value, str | bytes) else 8


class _OtherElements(Exception):
    """Arrays of a type that the file, as it was begun, cannot hold."""

    def __init__(self, elements: Elements) -> None:
        super().__init__()
        self.elements = elements


def write_table(rows: Rows, folder: Path) -> TableEntry | None:
    """Write rows, and copy what they refer to in the store.

    Parameters
    ----------
    rows : Rows
    folder : Path
        Of the slice.

    Returns
    -------
    TableEntry or None
        What the manifest says of them; None and no file if there are none.
    """
    # Anew where arrays are of a wider type than those before them: seldom, as columns have one.
    elements: Elements = {}
    while True:
        try:
            return _write_rows(rows, folder, elements)
        except _OtherElements as found:
            elements = found.elements


def _write_rows(rows: Rows, folder: Path, elements: Elements) -> TableEntry | None:
    attributes = dict(rows.table().heading.attributes)
    file, n_rows = folder / table_file(name_of(rows.table)), 0
    with closing(_batches(rows, folder)) as batches, ExitStack() as opened:
        for batch in batches:
            found = element_types(attributes, batch.columns, elements)
            if n_rows and found != elements:
                raise _OtherElements(found)
            elements, schema = found, arrow_schema(attributes, found)
            if not n_rows:
                # opened here, since pyarrow knows only names that are UTF-8
                stream = opened.enter_context(file.open("wb"))
                writer = opened.enter_context(pq.ParquetWriter(stream, schema, compression="zstd"))
            columns = arrow_columns(attributes, batch.columns, elements)
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
            n_rows += batch.n_rows
    return _entry(rows.table, n_rows, elements) if n_rows else None


def _batches(rows: Rows, folder: Path) -> Iterator[_Batch]:
    attributes = dict(rows.table().heading.attributes)
    batch = _Batch({name: [] for name in attributes})
    for row in progress(rows.read(list(attributes)), name_of(rows.table), "row"):
        batch.add(
            [
                _copied(value, folder) if is_file(attribute) else decoded(attribute, value)
                for attribute, value in zip(attributes.values(), row, strict=True)
            ]
        )
        if batch.is_full:
            yield batch
            batch = _Batch({name: [] for name in attributes})
    if batch.n_rows:
        yield batch


def _copied(value: str | None, folder: Path) -> str | None:
    """Copy what lies in the store, unless it is there, and return its path in the folder."""
    if value is None:
        return None
    stored = json.loads(value)
    suffix, sha256 = PurePosixPath(stored["path"]).suffix, stored.get("sha256")
    if sha256 is None or not (folder / ARRAYS / (sha256 + suffix)).exists():
        store = Store(dj.config.get_store_spec(stored["store"]), sha256)
        content = store.get_buffer(stored["path"])  # which verifies it
        sha256 = hashlib.sha256(content).hexdigest()
        (folder / ARRAYS / (sha256 + suffix)).write_bytes(content)
    return f"{ARRAYS}/{sha256}{suffix}"


def _entry(table: type[dj.Table], n_rows: int, elements: Elements) -> TableEntry:
    heading = table().heading
    return TableEntry(
        rows=n_rows,
        primary_key=tuple(table.primary_key),
        foreign_keys=tuple(
            ForeignKey(columns=tuple(link), parent=parent, parent_columns=tuple(link.values()))
            for link, parent in sorted(named_foreign_keys(table), key=str)
        ),
        comment=heading.table_status["comment"],
        definition=cleandoc(table.definition),
        columns=described(dict(heading.attributes), elements),
    )


def progress(things: Iterable[Any], what: str, unit: str) -> Iterable[Any]:
    """Show how far one is with something."""
    return tqdm(things, desc=what, unit=unit, leave=False, disable=None, delay=0.5)
