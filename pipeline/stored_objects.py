"""What lies in the object store, and which of it rows refer to."""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

import datajoint as dj
from tqdm import tqdm

from pipeline.errors import UserError
from schemas.graph import MODULES, schema_name
from schemas.store import DamagedObject, Store, row_of


@dataclass(frozen=True)
class Reference:
    """An object as its row knows it.

    Attributes
    ----------
    store, path : str
        Name of the store, and place in it.
    sha256 : str or None
        None in rows of before there were checksums.
    """

    store: str
    path: str
    sha256: str | None

    @property
    def table(self) -> str:
        """Class name of the table, as ``Frame`` or ``Activity.Block``."""
        return row_of(self.path)[0]


@dataclass(frozen=True)
class StoredFile:
    """An object as the store knows it; `written` is by the clock of the store."""

    path: str
    schema: str
    n_bytes: int
    written: datetime


class NoSuchTable(UserError):
    """A table without objects in the store."""


def schema_names(prefix: str) -> list[str]:
    """Return the names of the project's database schemas."""
    return [schema_name(module, prefix) for module in MODULES]


def references(prefix: str) -> list[Reference]:
    """Return all objects that rows refer to, also of tables that the code does not know any more.

    Straight from the database: DataJoint's collector takes a table that it cannot read for one
    without objects.
    """
    query = dj.conn().query
    columns = query(
        "SELECT table_schema, table_name, column_name FROM information_schema.columns "
        "WHERE table_schema IN %s AND column_comment REGEXP '^:<[a-z_]+@'",
        (schema_names(prefix),),
    ).fetchall()
    found = []
    for schema, table, column in columns:
        rows = query(f"SELECT `{column}` FROM `{schema}`.`{table}` WHERE `{column}` IS NOT NULL")
        for (row,) in rows.fetchall():
            stored = json.loads(row)
            found.append(Reference(stored["store"], stored["path"], stored.get("sha256")))
    return found


def stored_files(store: Store, prefix: str) -> Iterator[StoredFile]:
    """Go through the objects of a project in a store, whether rows refer to them or not."""
    with store.explained("list"):
        store.fs.invalidate_cache()
        for schema in schema_names(prefix):
            for section in (store.spec["schema_prefix"], store.spec["hash_prefix"]):
                folder = "/".join(filter(None, [store.root, section.strip("/"), schema]))
                for path, info in store.fs.find(folder, detail=True).items():
                    yield StoredFile(
                        path.removeprefix(store.root).lstrip("/"),
                        schema,
                        info["size"],
                        written(info),
                    )


def written(info: dict[str, Any]) -> datetime:
    """Return when a file was written, as its file system says: S3, or a folder."""
    return info.get("LastModified") or datetime.fromtimestamp(info["mtime"], UTC)


def is_referred_to(path: str, referred: set[str]) -> bool:
    """Whether a row refers to a file, or to a folder that it lies in."""
    place = PurePosixPath(path.removesuffix(".manifest.json"))
    return any(str(folder) in referred for folder in (place, *place.parents))


def check(found: Sequence[Reference], n_sample: int | None = None) -> Iterator[DamagedObject]:
    """Read objects and go through those that are missing or not what was stored.

    Parameters
    ----------
    found : sequence of Reference
    n_sample : int, optional
        Read only so many of them, drawn at random.

    Raises
    ------
    schemas.store.StoreError
        If the store itself fails.
    """
    if n_sample is not None:
        found = random.sample(found, min(n_sample, len(found)))
    for reference in tqdm(found, desc="reading", unit="object", leave=False, disable=None):
        try:
            store = Store(dj.config.get_store_spec(reference.store), reference.sha256)
            store.get_buffer(reference.path)
        except DamagedObject as damage:
            yield damage


def of_table(found: Sequence[Reference], table: str) -> list[Reference]:
    """Return the objects of a table and of its parts.

    Raises
    ------
    NoSuchTable
        If there are none.
    """
    chosen = [r for r in found if table in (r.table, r.table.partition(".")[0])]
    if not chosen:
        tables = ", ".join(sorted({r.table for r in found})) or "none at all"
        raise NoSuchTable(
            f"no row of '{table}' has an object in the store; tables that do: {tables}"
        )
    return chosen
