"""A slice of the graph as a folder: Parquet, arrays, a manifest, and how to read them."""

import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import datajoint as dj

from pipeline.export.draft import draft_of
from pipeline.export.manifest import (
    ARRAYS,
    FORMAT_VERSION,
    MANIFEST,
    README,
    Manifest,
    Restriction,
    Software,
    TableEntry,
    file_entry,
    table_file,
)
from pipeline.export.rows import rows_of_slice
from pipeline.export.tables import progress, write_table
from pipeline.migration import schema_version
from pipeline.ownership import me
from pipeline.selection import BadSelection, conditions, find_table_or_part
from pipeline.settings import Settings
from schemas.code_version import git_state

PATIENCE = 3600
"""Seconds the server waits for us to take the next row while we copy what lies in the store."""


def export_slice(name: str, where: Sequence[str], target: Path) -> Manifest:
    """Write rows and all they come from, with the parts of each, into a new folder.

    It shows the database at one moment, whatever workers do meanwhile.

    Parameters
    ----------
    name : str
        Class name of a table, or of a part, as ``MEI.Unit``.
    where : sequence of str
        Conditions `attribute=value`; without any all rows are meant.
    target : Path

    Raises
    ------
    BadSelection
        If the table or an attribute does not exist, or no row fulfils the conditions.
    CannotExport
        If the folder is there already, or cannot be written; nothing of it is left.
    schemas.store.StoreError
        If something in the store is missing or damaged, or the store fails.
    """
    table = find_table_or_part(name)
    query = table & conditions(table, where)
    with draft_of(target) as draft, _one_moment():
        keys = [tuple(key[a] for a in table.primary_key) for key in query.proj()]
        if not keys:
            raise BadSelection(f"no row of {name} fulfils {', '.join(where) or 'nothing'}")
        (draft / ARRAYS).mkdir(parents=True)
        tables = {
            found: entry
            for found, rows in rows_of_slice(table, keys).items()
            if (entry := write_table(rows, draft))
        }
        restriction = Restriction(table=name, where=tuple(where), rows=len(keys))
        (draft / README).write_text(_readme(restriction, tables), encoding="utf-8")
        manifest = _manifest(restriction, tables, draft)
        (draft / MANIFEST).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
    return manifest


@contextmanager
def _one_moment() -> Iterator[None]:
    dj.conn().query(f"SET SESSION net_write_timeout = {PATIENCE}")
    with dj.conn().transaction:
        yield


def _manifest(restriction: Restriction, tables: dict[str, TableEntry], folder: Path) -> Manifest:
    commit, dirty = git_state(Path(__file__).parent)
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return Manifest(
        format_version=FORMAT_VERSION,
        made_at=datetime.now(UTC).replace(microsecond=0),
        made_by=me(),
        schema_version=schema_version(Settings().prefix),
        software=Software(
            inceptionloop=version("inceptionloop"),
            git_commit=commit,
            git_dirty=dirty,
            python=platform.python_version(),
            datajoint=version("datajoint"),
            pyarrow=version("pyarrow"),
        ),
        restriction=restriction,
        tables=tables,
        files={
            file.relative_to(folder).as_posix(): file_entry(file)
            for file in progress(files, "checksums", "file")
        },
    )


def _readme(restriction: Restriction, tables: dict[str, TableEntry]) -> str:
    asked = f"{restriction.table}: {', '.join(restriction.where) or 'all rows'}"
    paragraphs = [README_TEXT.format(asked=asked, file=table_file(restriction.table))]
    for wanted, paragraph in (("array", README_OF_ARRAYS), ("npy", README_OF_FILES)):
        if example := _example(restriction.table, tables, wanted):
            paragraphs.append(paragraph.format(file=table_file(example[0]), column=example[1]))
    rows = [f"{entry.rows:10}  {name}" for name, entry in tables.items()]
    return "\n".join([*paragraphs, README_OF_ALL, "      rows  table", *rows, ""])


def _example(first: str, tables: dict[str, TableEntry], wanted: str) -> tuple[str, str] | None:
    """Return a table and its column of a kind or type; of the first table if that has any."""
    for name in (first, *tables):
        for column, described in tables[name].columns.items():
            if wanted in (described.kind, described.type):
                return name, column
    return None


README_TEXT = """\
A slice of an inceptionloop database, and all that its rows come from, of
{asked}

    import numpy as np, pandas as pd
    rows = pd.read_parquet("{file}")
"""
README_OF_ARRAYS = """\
Small arrays are in a column, their shapes in the next one:

    table = pd.read_parquet("{file}")
    array = np.reshape(table["{column}"][0], table["{column}_shape"][0])
"""
README_OF_FILES = """\
Large arrays are files, of which the column has the path; files called .safetensors are weights,
for safetensors.numpy.load_file:

    table = pd.read_parquet("{file}")
    array = np.load(table["{column}"][0])
"""
README_OF_ALL = """\
manifest.json says what every table and column means, which columns are keys of which other tables,
and size and SHA-256 of every file. With inceptionloop installed, and without a database,
`inceptionloop export check FOLDER` verifies all of it, and all tables as pandas frames are:

    from pipeline.exported import read_slice
    tables = read_slice(".")
"""
