"""What a slice is: a folder of tables and arrays, and a manifest that describes and checks them.

FOLDER/manifest.json            what there is; without it, it is no slice
FOLDER/README.txt               how to read it
FOLDER/MEI.Unit.parquet         one file per table
FOLDER/arrays/SHA256.npy        large arrays and files of the store, by checksum
"""

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

FORMAT_VERSION = 1
MANIFEST, README, ARRAYS = "manifest.json", "README.txt", "arrays"
SHAPE = "_shape"
"""How the column is called that holds the shapes of the arrays in the column before it."""

TableName = Annotated[str, Field(pattern=r"^\w+(\.\w+)?$")]
FilePath = Annotated[str, Field(pattern=rf"^({ARRAYS}/)?\w[\w.]*$")]  # nowhere outside the folder


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(_Document):
    """A column.

    Attributes
    ----------
    kind : str
        ``value``; ``document``: JSON; ``array``: its elements in C order, their shape is in the
        column NAME_shape; ``file``: path of a file in the folder.
    type : str
        Of the values, or of the elements of arrays, as Arrow calls it; of files ``npy`` (an array)
        or ``object`` (weights).
    comment : str
        Meaning and unit.
    """

    kind: Literal["value", "document", "array", "file"]
    type: str
    comment: str


class ForeignKey(_Document):
    """Columns that hold the key of a row of another table, or null: of none."""

    columns: tuple[str, ...]
    parent: TableName
    parent_columns: tuple[str, ...]


class TableEntry(_Document):
    """A table: its rows, their columns, and the definition as DataJoint reads it."""

    rows: int
    primary_key: tuple[str, ...]
    foreign_keys: tuple[ForeignKey, ...]
    comment: str
    definition: str
    columns: dict[str, Column]


class FileEntry(_Document):
    """A file of the slice."""

    bytes: int
    sha256: str


class Restriction(_Document):
    """The rows that were asked for; all others are their ancestors."""

    table: TableName
    where: tuple[str, ...]
    rows: int


class Software(_Document):
    """What the slice was written with; the software that computed it is in `CodeVersion`."""

    inceptionloop: str
    git_commit: str | None
    git_dirty: bool | None
    python: str
    datajoint: str
    pyarrow: str


class Manifest(_Document):
    """What a slice holds.

    Attributes
    ----------
    format_version : int
    made_at : datetime
        UTC.
    made_by : str
        Account of the database.
    schema_version : int
        Of the database.
    software : Software
    restriction : Restriction
    tables : dict of TableEntry
    files : dict of FileEntry
        All but the manifest, by path.
    """

    format_version: Literal[1]
    made_at: datetime
    made_by: str
    schema_version: int
    software: Software
    restriction: Restriction
    tables: dict[TableName, TableEntry]
    files: dict[FilePath, FileEntry]


def table_file(name: str) -> str:
    """Return the path of a table's file in the folder."""
    return f"{name}.parquet"


def file_entry(file: Path) -> FileEntry:
    """Read a file and return its size and checksum."""
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return FileEntry(bytes=file.stat().st_size, sha256=digest)
