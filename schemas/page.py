"""The page that explains the tables: ``python -m schemas.page > docs/tables.md``."""

import html
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Annotated, Any, get_args, get_origin

import datajoint as dj

from schemas.configuration import Configuration
from schemas.graph import MODULES, parts
from schemas.page_definitions import (
    Attribute,
    Reference,
    Table,
    definition_of,
    master_of,
    masters,
    name_in_sql,
    name_of,
    parents_of,
    schema_of,
)
from schemas.page_meanings import MEANINGS

INTRODUCTION = """# Tables

What the database holds, from the definitions in `schemas/`. Whoever only asks questions needs the
[views](views.md) alone, which have plain names.

[![All tables](images/tables.svg)](images/tables.svg)

The picture leaves out parts, references to what lies behind another one, and those to
`CodeVersion`. Its colours, and those of the small ones below, say where rows come from:

| | colour | |
|---|---|---|
| entered | blue | by people, by commands that ask for something, by readers, by workers |
| looked up | grey | values to choose from; most of them the program itself brings |
| computed | green | by workers; to each row belongs a job |
| part | | rows that are made and deleted with those of their table, here under it |

In the small pictures a solid arrow leads from a table to one whose primary key contains its key, a
dotted one to one that refers to it otherwise, or whose parts do; other schemas' tables are dashed.

Attributes of the primary key are **bold**. "→ `Scan`" is a foreign key: the attributes are those of
the key of `Scan`, and a row of it with their values exists. An *array* lies in the row, as a blob;
*in the store* in the object store, with its place and checksum in the row. A hash or checksum is in
hexadecimal digits. Computed tables have a few more attributes that DataJoint hides, which say when
and how long a row was computed ([explain](explain.md) shows them).

The name in SQL is that on the server, after the prefix of the project: `inceptionloop_`, unless it
is set otherwise.

This page is made by `python -m schemas.page > docs/tables.md`, its first picture by
`python -m schemas.page_picture docs/images/tables.svg`.
"""
TIERS = ((dj.Computed, "computed"), (dj.Lookup, "looked up"), (dj.Manual, "entered"))
CLASSES = {"computed": "computed", "looked up": "lookup", "entered": "entered"}
TYPES = {
    "<npy@>": "array in the store",
    "<object@>": "file in the store",
    "<blob>": "array",
    "json": "JSON",
}
STYLES = """  classDef entered fill:#dcebf7,stroke:#4f7ea8,color:#222
  classDef lookup fill:#ececec,stroke:#888888,color:#222
  classDef computed fill:#d9efdc,stroke:#4f8a5b,color:#222
  classDef elsewhere stroke-dasharray:4 3"""


def page() -> str:
    """Return the page in Markdown."""
    lines = [INTRODUCTION, "| schema | tables |", "|---|---|"]
    for module in MODULES:
        links = ", ".join(_link(table) for table in _masters_of(module))
        name = _name(module)
        lines.append(f"| [`{name}`](#schema-{name}) | {links} |")
    for module in MODULES:
        lines += _section(module)
    return "\n".join(lines) + "\n"


def tier_of(table: Table) -> str:
    """Return where the rows of a table come from, in the words of the page."""
    return next((word for kind, word in TIERS if issubclass(table, kind)), "part")


def _section(module: ModuleType) -> Iterator[str]:
    yield f"\n## Schema `{_name(module)}`\n"
    yield html.escape(" ".join((module.__doc__ or "").split()), quote=False)
    yield f"\n```mermaid\n{diagram(_masters_of(module))}\n```"
    for master in _masters_of(module):
        for table in (master, *parts(master).values()):
            yield from _explained(table)


def diagram(own: list[Table]) -> str:
    """Return a diagram of tables, and of those they refer to, in the language of Mermaid."""
    edges = [(parent, table, solid) for table in own for parent, solid in parents_of(table).items()]
    outside = dict.fromkeys(parent for parent, _, _ in edges if parent not in own)
    lines = ["flowchart LR"]
    lines += [f"  {name_of(table)}:::{CLASSES[tier_of(table)]}" for table in (*own, *outside)]
    lines += [f"  {name_of(p)} {'-->' if solid else '-.->'} {name_of(c)}" for p, c, solid in edges]
    if outside:
        lines.append(f"  class {','.join(map(name_of, outside))} elsewhere")
    return "\n".join([*lines, STYLES])


def _explained(table: Table) -> Iterator[str]:
    definition = definition_of(table)
    is_part = issubclass(table, dj.Part)
    yield f"\n{'####' if is_part else '###'} `{name_of(table)}`\n"
    # of the docstring the first line: DataJoint adds the definition when it connects
    meaning = definition.comment or (table.__doc__ or "").partition("\n")[0]
    origin = f"Part of {_link(master_of(table))}" if is_part else tier_of(table).capitalize()
    yield f"{_text(meaning).rstrip('.')}. *{origin}*; in SQL `{_sql(table)}`.\n"
    yield "| attribute | type | holds |\n|---|---|---|"
    for line in definition.lines:
        row = _own(table, line) if isinstance(line, Attribute) else _foreign(line)
        yield f"| {' | '.join(row)} |"
    if contents := _contents(table):
        yield f"\nIts rows: {contents}."


def _own(table: Table, attribute: Attribute) -> tuple[str, str, str]:
    kind = TYPES.get(attribute.type, f"`{attribute.type}`")
    if attribute.nullable:
        kind += ", or null"
    elif attribute.default is not None:
        kind += f"; if not given `{attribute.default}`"
    return _names([attribute.name], attribute.in_key), kind, _text(meaning_of(table, attribute))


def _foreign(reference: Reference) -> tuple[str, str, str]:
    kind = f"→ {_link(reference.parent)}" + (", or null" if reference.nullable else "")
    return _names(reference.attributes, reference.in_key), kind, _text(reference.comment)


def meaning_of(table: Table, attribute: Attribute) -> str:
    """Return what an attribute holds; empty if nothing says so."""
    if attribute.comment:
        return attribute.comment
    if issubclass(table, Configuration):
        if attribute.name == table.params_column:
            return ", ".join(f"`{name}`" for name in _types(table.params_type))
        if attribute.in_key:
            return "of the parameters"
    if attribute.name.endswith("_digest"):
        return "SHA-256 of the arrays: type, shape and content"
    if attribute.name.endswith("_sha256"):
        return "SHA-256 of the content"
    return MEANINGS.get(name_of(table), {}).get(attribute.name, "")


def _types(params: Any) -> list[str]:
    """Return the classes that a parameter set may be of."""
    if get_origin(params) is Annotated:
        return _types(get_args(params)[0])
    if isinstance(params, type):
        return [f"{params.__module__}.{params.__qualname__}"]
    return [name for choice in get_args(params) for name in _types(choice)]


def _contents(table: Table) -> str:
    rows = vars(table).get("contents", ())
    return ", ".join(f"`{' '.join(map(str, row.values()))}`" for row in rows)


def _names(names: list[str] | tuple[str, ...], in_key: bool) -> str:
    return ", ".join(f"**`{name}`**" if in_key else f"`{name}`" for name in names)


def _link(table: Table) -> str:
    return f"[`{name_of(table)}`](#{name_of(table).lower().replace('.', '')})"


def _sql(table: Table) -> str:
    return f"{schema_of(table)}.{name_in_sql(table)}"


def _text(text: str) -> str:
    """Return text for a cell of a table; only code stays as it is."""
    cell = " ".join(text.split())
    return cell if "`" in cell else html.escape(cell, quote=False).replace("|", "\\|")


def _masters_of(module: ModuleType) -> list[Table]:
    return [table for table in masters() if table.__module__ == module.__name__]


def _name(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


if __name__ == "__main__":
    sys.stdout.write(page())
