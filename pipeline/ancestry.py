"""Which rows a row comes from: its foreign keys, and those of the parts of its ancestors.

DataJoint's own trace follows the foreign keys of a row only. But what an ensemble consists of is
in its parts, and what a recording holds in tables that refer to it: both are followed as well.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from typing import Any

import datajoint as dj

from schemas import open_field, recording
from schemas.graph import parts, tables
from schemas.recording import Scan

Key = tuple[Any, ...]
KEYS_AT_ONCE = 500


@dataclass
class Ancestry:
    """Rows of a table and what they come from.

    Attributes
    ----------
    table : type
        Of the rows; may be a part, all others are masters.
    keys : dict
        Table to the keys of its rows, in the order of its primary key.
    parents : dict
        Table to the tables that its rows refer to.
    """

    table: type[dj.Table]
    keys: dict[type[dj.Table], set[Key]] = field(default_factory=lambda: defaultdict(set))
    parents: dict[type[dj.Table], set[type[dj.Table]]] = field(
        default_factory=lambda: defaultdict(set)
    )


@dataclass(frozen=True)
class ForeignKey:
    """A reference to a row of another table.

    Attributes
    ----------
    parent : type
    columns : tuple of str
        That hold its key, in the order of its primary key.
    all_columns : frozenset of str
        With those that say which of its parts is meant.
    """

    parent: type[dj.Table]
    columns: tuple[str, ...]
    all_columns: frozenset[str]


def ancestry(
    table: type[dj.Table], key: Key, report: Callable[[str], None] = lambda message: None
) -> Ancestry:
    """Find the ancestors of a row; parameters are those of `ancestry_of_all`."""
    return ancestry_of_all(table, [key], report)


def ancestry_of_all(
    table: type[dj.Table],
    keys: Iterable[Key],
    report: Callable[[str], None] = lambda message: None,
) -> Ancestry:
    """Find the ancestors of rows.

    Parameters
    ----------
    table : type
        A table or part.
    keys : iterable of tuple
        Of the rows, in the order of the primary key.
    report : callable
        Told which table is looked at.
    """
    found = Ancestry(table)
    found.keys[table].update(keys)
    waiting = {table: set(found.keys[table])}
    while waiting:
        child, keys = waiting.popitem()
        report(child.__name__)
        for relative in (child, *belongings(child)):
            for foreign in foreign_keys(relative):
                if foreign.parent is child:
                    continue
                referred = _referred(child, relative, foreign, keys)
                if not referred:
                    continue
                found.parents[child].add(foreign.parent)
                if new := referred - found.keys[foreign.parent]:
                    found.keys[foreign.parent] |= new
                    waiting[foreign.parent] = waiting.get(foreign.parent, set()) | new
    return found


def _referred(
    child: type[dj.Table], relative: type[dj.Table], foreign: ForeignKey, keys: set[Key]
) -> set[Key]:
    """Return the keys that rows refer to, or what belongs to them; asked only if they do not say.

    Parameters
    ----------
    child : type
        Table of the rows.
    relative : type
        It or one whose rows belong to its rows.
    foreign : ForeignKey
        Of `relative`.
    keys : set of tuple
        Of the rows.
    """
    names = child.primary_key
    if relative is child and set(foreign.columns) <= set(names):
        places = [names.index(name) for name in foreign.columns]
        return {tuple(key[place] for place in places) for key in keys}
    filled = " AND ".join(f"`{name}` IS NOT NULL" for name in foreign.columns)
    return set(select(relative, foreign.columns, names, keys, f"AND {filled}", distinct=True))


def select(
    table: type[dj.Table],
    columns: Sequence[str],
    key: Sequence[str],
    keys: Iterable[Key],
    condition: str = "",
    distinct: bool = False,
) -> Iterator[tuple[Any, ...]]:
    """Go through rows with any of some keys, as the server gives them; hidden columns too.

    Parameters
    ----------
    table : type
    columns : sequence of str
    key : sequence of str
        Columns that have the values of `keys`.
    keys : iterable of tuple
    condition : str
        More SQL after the condition on the keys.
    distinct : bool
        Whether equal rows are one.
    """
    names = ", ".join(f"`{name}`" for name in columns)
    sql = (
        f"SELECT {'DISTINCT ' if distinct else ''}{names} FROM {table.full_table_name} "
        f"WHERE ({', '.join(f'`{name}`' for name in key)}) IN %s {condition}"
    )
    remaining = iter(sorted(keys))
    while some := tuple(islice(remaining, KEYS_AT_ONCE)):
        # of one column, a list of values: the servers know no row of one
        values = tuple(value for (value,) in some) if len(key) == 1 else some
        yield from dj.conn().query(sql, (values,)).fetchall()


@cache
def belongings(table: type[dj.Table]) -> tuple[type[dj.Table], ...]:
    """Return the tables whose rows belong to one of a table: parts, or what was recorded."""
    own = tuple(parts(table).values())
    return own + _recorded() if table is Scan else own


@cache
def _recorded() -> tuple[type[dj.Table], ...]:
    modules = {recording.__name__, open_field.__name__}
    masters = [
        table
        for name, table in tables().items()
        if "." not in name
        and table.__module__ in modules
        and table is not Scan
        and set(Scan.primary_key) <= set(table.primary_key)
    ]
    return tuple(t for table in masters for t in (table, *parts(table).values()))


@cache
def foreign_keys(table: type[dj.Table]) -> tuple[ForeignKey, ...]:
    """Return the foreign keys of a table; one to what belongs to a row refers to that row."""
    found = []
    for name, properties in dj.conn().dependencies.parents(table.full_table_name):
        columns = {theirs: ours for ours, theirs in properties["attr_map"].items()}
        parent = _owner(_class_of(name))
        key = tuple(columns[name] for name in parent.primary_key)
        found.append(ForeignKey(parent, key, frozenset(columns.values())))
    return tuple(found)


def _owner(table: type[dj.Table]) -> type[dj.Table]:
    if table in _recorded():
        return Scan
    return table.master if issubclass(table, dj.Part) else table


def _class_of(full_table_name: str) -> type[dj.Table]:
    return {table.full_table_name: table for table in tables().values()}[full_table_name]


def name_of(table: type[dj.Table]) -> str:
    """Return the name of a table as `MEI`, or of a part as `MEI.Unit`."""
    if issubclass(table, dj.Part):
        return f"{table.master.__name__}.{table.__name__}"
    return table.__name__
