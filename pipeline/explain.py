"""What a row comes from: inputs with checksums, parameters, seeds, software, who and when."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import datajoint as dj

from pipeline.ancestry import Key, ancestry, belongings, foreign_keys, name_of, select
from pipeline.ownership import RECORD
from pipeline.selection import BadSelection, conditions, find_table_or_part

LISTED = 20
"""Most rows of a table that are described one by one."""
CHECKSUMS = ("_sha256", "_digest", "_hash")
"""How columns end that hold a checksum."""
STARTED, DURATION, VERSION = "_job_start_time", "_job_duration", "_job_version"
"""Hidden columns: when, how long and by what version of the software a row was computed."""


@dataclass(frozen=True)
class Held:
    """Rows that belong to a row, as parts do, or what was recorded to a recording.

    Attributes
    ----------
    table : str
    n_rows : int
    checksums : dict
        Column to its checksum, or if there are several the SHA-256 of their list.
    """

    table: str
    n_rows: int
    checksums: dict[str, str]


@dataclass(frozen=True)
class Row:
    """A row of an ancestor.

    Attributes
    ----------
    key, values : dict
        Of columns that hold neither arrays nor parameters.
    parameters : dict
    checksums : dict
        Name to checksum: as recorded when the row was inserted; of an input without any,
        ``content``: SHA-256 of what it says now.
    inserted_by, inserted_at : str, optional
        Account, and ISO time in UTC; of rows that people insert.
    started, seconds : datetime, float, optional
        Of the computation, in the time of the worker.
    software : str, optional
        Key of the `CodeVersion` that computed the row, or what its hidden columns say of it.
    holds : tuple of Held
    """

    key: dict[str, Any]
    values: dict[str, Any]
    parameters: dict[str, Any]
    checksums: dict[str, str]
    inserted_by: str | None
    inserted_at: str | None
    started: datetime | None
    seconds: float | None
    software: str | None
    holds: tuple[Held, ...]


@dataclass(frozen=True)
class Ancestor:
    """Rows of a table that the explained row comes from.

    Attributes
    ----------
    table : str
    computed : bool
    n_rows : int
    parents : tuple of str
        Tables that the rows refer to; none: it is a leaf.
    checksum : str, optional
        Of the SHA-256 of all rows' checksums, where they are not listed.
    rows : tuple of Row
        Empty if there are more than `LISTED`.
    """

    table: str
    computed: bool
    n_rows: int
    parents: tuple[str, ...]
    checksum: str | None
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Explanation:
    """A row and its ancestors, the row itself first and each table before its parents."""

    table: str
    key: dict[str, Any]
    ancestors: tuple[Ancestor, ...]


def explain(
    name: str, where: Sequence[str], report: Callable[[str], None] = lambda message: None
) -> Explanation:
    """Explain what a row comes from.

    Parameters
    ----------
    name : str
        Class name of its table, or of a part, as ``MEI.Unit``.
    where : sequence of str
        Conditions `attribute=value` that only this row fulfils.
    report : callable
        Told which table is looked at.

    Raises
    ------
    BadSelection
        If the table or an attribute does not exist, or not exactly one row matches.
    """
    table = find_table_or_part(name)
    key = _one_key(table, where)
    found = ancestry(table, tuple(key[name] for name in table.primary_key), report)
    ancestors = []
    for ancestor in _children_first(found.parents, table):
        report(name_of(ancestor))
        parents = sorted(name_of(parent) for parent in found.parents[ancestor])
        ancestors.append(_ancestor(ancestor, sorted(found.keys[ancestor]), tuple(parents)))
    return Explanation(name, key, tuple(ancestors))


def _one_key(table: type[dj.Table], where: Sequence[str]) -> dict[str, Any]:
    keys = (table & conditions(table, where)).keys(order_by="KEY", limit=LISTED)
    if not keys:
        raise BadSelection(f"no row of {name_of(table)} fulfils {', '.join(where) or 'nothing'}")
    if len(keys) > 1:
        varied = [name for name in keys[0] if len({key[name] for key in keys}) > 1]
        first = " ".join(f"--where {name}={keys[0][name]}" for name in varied)
        raise BadSelection(
            f"several rows of {name_of(table)} match: say which by {', '.join(varied)}; of the "
            f"first: {first}"
        )
    return keys[0]


def _children_first(
    parents: dict[type[dj.Table], set[type[dj.Table]]], root: type[dj.Table]
) -> list[type[dj.Table]]:
    """Return all tables, each before those it refers to."""
    ordered: list[type[dj.Table]] = []

    def visit(table: type[dj.Table]) -> None:
        for parent in sorted(parents.get(table, ()), key=name_of):
            if parent not in ordered:
                visit(parent)
        ordered.append(table)

    visit(root)
    return ordered[::-1]


def _ancestor(table: type[dj.Table], keys: list[Key], parents: tuple[str, ...]) -> Ancestor:
    described = {
        "table": name_of(table),
        "computed": issubclass(table, dj.Computed)
        or (issubclass(table, dj.Part) and issubclass(table.master, dj.Computed)),
        "n_rows": len(keys),
        "parents": parents,
    }
    if len(keys) > LISTED:
        checksums = [digest for _, found in _checksums(table, keys) for digest in found.values()]
        return Ancestor(**described, checksum=_combined(checksums), rows=())
    return Ancestor(**described, checksum=None, rows=tuple(_rows(table, keys)))


def _rows(table: type[dj.Table], keys: list[Key]) -> list[Row]:
    attributes = _attributes(table)
    names = [name for name, a in attributes.items() if not _is_array(a)]
    checksums = dict(_checksums(table, keys))
    held = _held(table, keys)
    rows = []
    for values in select(table, names, table.primary_key, keys):
        row = {
            name: bool(value)
            if attributes[name].original_type == "bool" and value is not None
            else value
            for name, value in zip(names, values, strict=True)
        }
        key = {name: row[name] for name in table.primary_key}
        record = json.loads(row.get(RECORD) or "{}")
        rows.append(
            Row(
                key=key,
                values={
                    name: value
                    for name, value in row.items()
                    if name not in key
                    and value is not None
                    and not name.startswith("_")
                    and not _is_document(attributes[name])
                    and not (name.endswith(CHECKSUMS) and name in checksums[tuple(key.values())])
                },
                parameters={
                    name: json.loads(value)
                    for name, value in row.items()
                    if _is_document(attributes[name]) and value and not name.startswith("_")
                },
                checksums=checksums[tuple(key.values())],
                inserted_by=record.get("agent", {}).get("user"),
                inserted_at=record.get("time"),
                started=row.get(STARTED),
                seconds=row.get(DURATION),
                software=row.get("code_hash") or row.get(VERSION) or None,
                holds=held[tuple(key.values())],
            )
        )
    return sorted(rows, key=lambda row: tuple(row.key.values()))


def _held(table: type[dj.Table], keys: list[Key]) -> dict[Key, tuple[Held, ...]]:
    held: dict[Key, list[Held]] = {key: [] for key in keys}
    for part in belongings(table):
        if not (names := _checksum_columns(part)):
            for key, n_rows in _counted(part, table.primary_key, keys):
                held[key].append(Held(name_of(part), n_rows, {}))
            continue
        by_key: dict[Key, list[tuple[Any, ...]]] = {}
        columns, n_key = [*table.primary_key, *names], len(table.primary_key)
        order = ", ".join(f"`{name}`" for name in part.primary_key)
        for row in select(part, columns, table.primary_key, keys, f"ORDER BY {order}"):
            by_key.setdefault(row[:n_key], []).append(row[n_key:])
        for key, rows in by_key.items():
            checksums = {
                name: _combined(_recorded(part, name, value) for value in column)
                for name, column in zip(names, zip(*rows, strict=True), strict=True)
            }
            filled = {name: digest for name, digest in checksums.items() if digest}
            held[key].append(Held(name_of(part), len(rows), filled))
    return {key: tuple(found) for key, found in held.items()}


def _counted(
    table: type[dj.Table], key: Sequence[str], keys: list[Key]
) -> Iterator[tuple[Key, int]]:
    """Have the server count the rows with each of a few keys: there may be very many."""
    names = ", ".join(f"`{name}`" for name in key)
    values = tuple(value for (value,) in keys) if len(key) == 1 else tuple(keys)
    sql = f"SELECT {names}, COUNT(*) FROM {table.full_table_name} WHERE ({names}) IN %s"
    for row in dj.conn().query(f"{sql} GROUP BY {names}", (values,)).fetchall():
        yield row[:-1], row[-1]


def _checksums(table: type[dj.Table], keys: list[Key]) -> list[tuple[Key, dict[str, str]]]:
    """Return the checksums of rows: those that they hold, else of an input that of its content."""
    names, n_key = _checksum_columns(table), len(table.primary_key)
    found = []
    for row in select(table, [*table.primary_key, *names], table.primary_key, keys):
        recorded = {
            name: digest
            for name, value in zip(names, row[n_key:], strict=True)
            if (digest := _recorded(table, name, value))
        }
        found.append((row[:n_key], recorded))
    if issubclass(table, dj.Manual | dj.Lookup) and not all(digests for _, digests in found):
        content = _of_content(table, keys)
        found = [(key, digests or {"content": content[key]}) for key, digests in found]
    return sorted(found, key=lambda pair: pair[0])


def _checksum_columns(table: type[dj.Table]) -> list[str]:
    """Return the columns of a table's own that hold checksums, or objects with checksums."""
    inherited = {name for foreign in foreign_keys(table) for name in foreign.all_columns}
    if issubclass(table, dj.Part):
        inherited |= set(table.master.primary_key)
    return [
        name
        for name, attribute in _attributes(table).items()
        if name not in inherited and (name.endswith(CHECKSUMS) or _is_stored(attribute))
    ]


def _recorded(table: type[dj.Table], name: str, value: str | None) -> str | None:
    if value is None or not _is_stored(_attributes(table)[name]):
        return value
    return json.loads(value).get("sha256")


def _combined(checksums: Iterable[str | None]) -> str | None:
    known = [checksum for checksum in checksums if checksum]
    if len(known) < 2:
        return known[0] if known else None
    return hashlib.sha256("\n".join(known).encode()).hexdigest()


def _of_content(table: type[dj.Table], keys: list[Key]) -> dict[Key, str]:
    """Return the SHA-256 of what rows say, but for who inserted them."""
    names = [name for name in _attributes(table) if not name.startswith("_")]
    digests = {}
    for values in select(table, names, table.primary_key, keys):
        row = dict(zip(names, values, strict=True))
        content = json.dumps(row, sort_keys=True, default=_written)
        key = tuple(row[name] for name in table.primary_key)
        digests[key] = hashlib.sha256(content.encode()).hexdigest()
    return digests


def _written(value: Any) -> str:
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    return value.isoformat() if isinstance(value, date) else str(value)


def _attributes(table: type[dj.Table]) -> dict[str, dj.heading.Attribute]:
    """Return the columns of a table, hidden ones too."""
    heading = table().heading
    return dict(heading.attributes) | {
        # filled by the line above
        name: a
        for name, a in heading._attributes.items()
        if a.is_hidden
    }


def _is_array(attribute: dj.heading.Attribute) -> bool:
    return bool(attribute.is_blob or attribute.codec)


def _is_stored(attribute: dj.heading.Attribute) -> bool:
    return attribute.codec is not None and attribute.store is not None


def _is_document(attribute: dj.heading.Attribute) -> bool:
    return bool(attribute.json)
