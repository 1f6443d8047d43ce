"""Definitions of tables, read as text: attributes, keys, references. No database."""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import datajoint as dj
from datajoint.utils import from_camel_case

from schemas.graph import parts, tables

Table = type[dj.Table]

REFERENCE = re.compile(
    r"->\s*(\[(?P<options>[^\]]*)\])?\s*(?P<path>[\w.]+?)(\.proj\((?P<renamed>.*)\))?\s*$"
)
RENAMED = re.compile(r"(\w+)\s*=\s*'(\w+)'")


@dataclass(frozen=True)
class Attribute:
    """An attribute of a table's own.

    Attributes
    ----------
    name, type : str
        Type as declared, such as ``float64`` or ``<npy@>``.
    default : str, optional
        As declared; ``null``: may be empty.
    comment : str
        Empty if the definition says none.
    in_key : bool
    """

    name: str
    type: str
    default: str | None
    comment: str
    in_key: bool

    @property
    def nullable(self) -> bool:
        """Whether a row may leave it empty."""
        return self.default == "null"


@dataclass(frozen=True)
class Reference:
    """A foreign key.

    Attributes
    ----------
    parent : type
    attributes : tuple of str
        That hold the parent's key, with the names that they have here.
    comment : str
    in_key, nullable : bool
    """

    parent: Table
    attributes: tuple[str, ...]
    comment: str
    in_key: bool
    nullable: bool


@dataclass(frozen=True)
class Definition:
    """A definition: what a row is, and its attributes and references in the order declared."""

    comment: str
    lines: tuple[Attribute | Reference, ...]

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """Attributes of the table's own."""
        return tuple(line for line in self.lines if isinstance(line, Attribute))

    @property
    def references(self) -> tuple[Reference, ...]:
        """Foreign keys."""
        return tuple(line for line in self.lines if isinstance(line, Reference))

    @property
    def key(self) -> tuple[str, ...]:
        """Names of the primary key."""
        names: list[str] = []
        for line in self.lines:
            if line.in_key:
                names += [line.name] if isinstance(line, Attribute) else line.attributes
        return tuple(dict.fromkeys(names))


@cache
def definition_of(table: Table) -> Definition:
    """Read the definition of a table."""
    comment, lines, in_key = "", [], True
    for text, remark in _split(table.definition):
        if not text:
            comment = remark
        elif text.startswith("---"):
            in_key = False
        elif text.startswith("->"):
            lines.append(_reference(table, text, remark, in_key))
        elif not re.match(r"(unique )?index\b", text):
            lines.append(_attribute(text, remark, in_key))
    return Definition(comment, tuple(lines))


def _split(definition: str) -> Iterator[tuple[str, str]]:
    """Go through lines and their comments; a comment alone goes on with that of the line above."""
    found: list[tuple[str, str]] = []
    for line in definition.strip().splitlines():
        text, _, remark = (part.strip() for part in line.partition("#"))
        if not text and found and found[-1][0]:
            text, above = found.pop()
            remark = f"{above} {remark}"
        if text or remark:
            found.append((text, remark))
    yield from found


def _attribute(text: str, comment: str, in_key: bool) -> Attribute:
    declared, _, kind = (part.strip() for part in text.partition(":"))
    name, has_default, default = (part.strip() for part in declared.partition("="))
    return Attribute(name, kind, default if has_default else None, comment, in_key)


def _reference(table: Table, text: str, comment: str, in_key: bool) -> Reference:
    found = REFERENCE.match(text)
    if found is None:
        raise ValueError(f"{name_of(table)}: '{text}' is no reference")
    parent = _resolved(table, found["path"])
    renamed = {theirs: ours for ours, theirs in RENAMED.findall(found["renamed"] or "")}
    names = tuple(renamed.get(name, name) for name in definition_of(parent).key)
    return Reference(parent, names, comment, in_key, "nullable" in (found["options"] or ""))


def _resolved(table: Table, path: str) -> Table:
    """Return the table that a reference names, as DataJoint finds it: from the table's module."""
    if path == "master":
        return master_of(table)
    found = sys.modules[table.__module__]
    for name in path.split("."):
        found = getattr(found, name)
    return found


@cache
def _tables() -> dict[str, Table]:
    return tables()


@cache
def _names() -> dict[Table, str]:
    return {table: name for name, table in _tables().items()}


def name_of(table: Table) -> str:
    """Return the name of a table as ``MEI``, or of a part as ``MEI.Unit``."""
    return _names()[table]


def master_of(table: Table) -> Table:
    """Return the table that a part belongs to; of a master, itself."""
    return _tables()[name_of(table).partition(".")[0]]


def schema_of(table: Table) -> str:
    """Return the name of a table's database schema, without the prefix of the project."""
    return table.__module__.rpartition(".")[2]


def name_in_sql(table: Table) -> str:
    """Return the name that a table has on the server, after its schema."""
    if issubclass(table, dj.Part):
        return f"{master_of(table).table_name}__{from_camel_case(table.__name__)}"
    return table.table_name


def masters() -> list[Table]:
    """Return every table that is no part, in the order of the schemas."""
    return [table for name, table in _tables().items() if "." not in name]


def parents_of(master: Table) -> dict[Table, bool]:
    """Return the tables, no parts, that a table or one of its parts refers to.

    Returns
    -------
    dict
        Table to whether the primary key of `master` itself contains its key.
    """
    found: dict[Table, bool] = {}
    for table in (master, *parts(master).values()):
        for reference in definition_of(table).references:
            parent = master_of(reference.parent)
            if parent is not master:
                in_key = table is master and reference.in_key
                found[parent] = found.get(parent, False) or in_key
    return found
