"""All tables in one picture: ``python -m schemas.page_picture docs/images/tables.svg``."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from schemas.graph import MODULES
from schemas.operations import CodeVersion
from schemas.page import tier_of
from schemas.page_definitions import Table, masters, name_of, parents_of, schema_of

COLOURS = {"entered": "#dcebf7", "looked up": "#ececec", "computed": "#d9efdc"}
STYLE = """digraph tables {
rankdir=LR; ranksep=0.3; nodesep=0.08; fontname="Helvetica";
node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=15, height=0.3,
      margin="0.1,0.03", color="#777777"];
edge [color="#999999", arrowsize=0.6];"""


def edges() -> list[tuple[Table, Table]]:
    """Return parents and children.

    Without those that a way over other tables says as well, and without the software, which every
    result of some length refers to.
    """
    parents = {table: [p for p in parents_of(table) if p is not CodeVersion] for table in masters()}
    above: dict[Table, set[Table]] = {}

    def ancestors(table: Table) -> set[Table]:
        if table not in above:
            above[table] = set(parents[table]).union(*map(ancestors, parents[table]))
        return above[table]

    return [
        (parent, child)
        for child, own in parents.items()
        for parent in own
        if not any(parent in ancestors(other) for other in own)
    ]


def graph() -> str:
    """Return the picture in the language of graphviz."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield STYLE
    for module in MODULES:
        schema = module.__name__.rpartition(".")[2]
        yield f'subgraph cluster_{schema} {{ label="{schema}"; fontsize=18; color="#bbbbbb";'
        yield 'style="rounded"; labeljust=l;'
        for table in masters():
            if schema_of(table) == schema:
                yield f'{name_of(table)} [fillcolor="{COLOURS[tier_of(table)]}"];'
        yield "}"
    for parent, child in edges():
        yield f"{name_of(parent)} -> {name_of(child)};"
    yield "}"


def draw(file: Path) -> None:
    """Draw the picture; needs graphviz."""
    subprocess.run(["dot", "-Tsvg", "-o", file], input=graph(), text=True, check=True)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
