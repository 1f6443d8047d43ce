"""Which rows a slice of the graph has, and how they are read: in order, a few at a time."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any

import datajoint as dj
from pymysql.cursors import SSCursor
from tqdm import tqdm

from pipeline.ancestry import KEYS_AT_ONCE, Key, ancestry_of_all, belongings, name_of, select
from schemas.graph import tables
from schemas.recording import Scan


@dataclass(frozen=True)
class Rows:
    """The rows of a table whose `columns` hold one of `keys`."""

    table: type[dj.Table]
    columns: Sequence[str]
    keys: frozenset[Key]

    def read(self, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Go through columns of the rows as the server gives them, in the order of their key."""
        sql = (
            f"SELECT {_listed(columns)} FROM {self.table.full_table_name} "
            f"WHERE ({_listed(self.columns)}) IN %s ORDER BY {_listed(self.table.primary_key)}"
        )
        remaining = iter(sorted(self.keys))
        while some := tuple(islice(remaining, KEYS_AT_ONCE)):
            values = tuple(value for (value,) in some) if len(self.columns) == 1 else some
            # DataJoint's own cursors take all rows into memory; this one is of its transaction.
            with closing(dj.conn()._conn.cursor(SSCursor)) as cursor:
                cursor.execute(sql, (values,))
                yield from cursor


def rows_of_slice(table: type[dj.Table], keys: Iterable[Key]) -> dict[str, Rows]:
    """Return rows and their ancestors by name of the table, all with their parts.

    Of a part only the rows that are meant come, and what depends on them; but what was recorded
    comes with its whole recording.

    Parameters
    ----------
    table : type
        A table or part.
    keys : iterable of tuple
        Of its rows.
    """
    chosen = frozenset(keys)
    with tqdm(desc="ancestors", unit="table", leave=False, disable=None) as bar:
        found = ancestry_of_all(table, chosen, lambda name: bar.set_postfix_str(name))
    rows = {}
    for owner, owned in found.keys.items():
        for relative in (owner, *belongings(owner)):
            rows[name_of(relative)] = Rows(relative, owner.primary_key, frozenset(owned))
    if issubclass(table, dj.Part) and table not in belongings(Scan):
        rows |= _only(table, chosen, frozenset(found.keys[table.master]))
    return dict(sorted(rows.items()))


def _only(table: type[dj.Part], chosen: frozenset[Key], masters: frozenset[Key]) -> dict[str, Rows]:
    """Return chosen rows of a part, and of its siblings those that depend on no others of it."""
    kept = {table.full_table_name: chosen}
    siblings = {part.full_table_name: part for part in belongings(table.master)}
    dependencies = dj.conn().dependencies
    # parents before children
    for name in dependencies.descendants(table.full_table_name):
        if name not in siblings or name in kept:
            continue
        part = siblings[name]
        parents = [(p, link["attr_map"]) for p, link in dependencies.parents(name) if p in kept]
        links = [(kept[parent], tuple(columns)) for parent, columns in parents]
        names = [*part.primary_key, *(column for _, columns in links for column in columns)]
        kept[name] = frozenset(
            row[: len(part.primary_key)]
            for row in select(part, names, table.master.primary_key, masters)
            if _refers(dict(zip(names, row, strict=True)), links)
        )
    return {
        name_of(siblings[name]): Rows(siblings[name], siblings[name].primary_key, keys)
        for name, keys in kept.items()
    }


def _refers(row: dict[str, Any], links: Sequence[tuple[frozenset[Key], tuple[str, ...]]]) -> bool:
    references = ((keys, tuple(row[column] for column in columns)) for keys, columns in links)
    return all(None in reference or reference in keys for keys, reference in references)


def named_foreign_keys(table: type[dj.Table]) -> Iterator[tuple[dict[str, str], str]]:
    """Go through the foreign keys of a table: own columns to those of the parent, its name."""
    names = {known.full_table_name: name for name, known in tables().items()}
    for parent, link in dj.conn().dependencies.parents(table.full_table_name):
        yield link["attr_map"], names[parent]


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(f"`{column}`" for column in columns)
