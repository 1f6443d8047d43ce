"""An explanation as a tree for the terminal, as JSON, and as a picture."""

import json
import subprocess
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.tree import Tree

from pipeline.configurations import flat
from pipeline.errors import UserError
from pipeline.explain import Ancestor, Explanation, Row

SHORT = 12
"""Digits of a checksum in the picture."""


class NoPicture(UserError):
    """The picture cannot be drawn; the message says what to do."""


def as_json(explanation: Explanation) -> str:
    """Write all of an explanation, times in ISO format."""
    return json.dumps(asdict(explanation), indent=2, default=str)


def as_tree(explanation: Explanation) -> Tree:
    """Return the tree from the row to what it comes from; a table is described once."""
    known = {ancestor.table: ancestor for ancestor in explanation.ancestors}
    parents = direct_parents(explanation)
    described: set[str] = set()

    def grow(tree: Tree, table: str) -> None:
        ancestor = known[table]
        branch = tree.add(_title(ancestor))
        described.add(table)
        for row in ancestor.rows:
            line = branch.add(_row_title(row, _own_key(ancestor, known)))
            for fact in _facts(row):
                line.add(fact)
        for parent in parents[table]:
            if parent in described:
                branch.add(f"[dim]{parent}: above[/dim]")
            else:
                grow(branch, parent)

    root = Tree(f"[bold]{explanation.table}[/bold] {escape(_pairs(explanation.key))}")
    grow(root, explanation.table)
    return root


def direct_parents(explanation: Explanation) -> dict[str, list[str]]:
    """Return the parents of each table that are not also ancestors of another one of them."""
    parents = {ancestor.table: ancestor.parents for ancestor in explanation.ancestors}
    above: dict[str, set[str]] = {}
    for ancestor in reversed(explanation.ancestors):  # parents first
        above[ancestor.table] = set(ancestor.parents).union(*(above[p] for p in ancestor.parents))
    return {
        table: [p for p in own if not any(p in above[other] for other in own)]
        for table, own in parents.items()
    }


def _title(ancestor: Ancestor) -> str:
    colour = "green" if ancestor.computed else "cyan"
    title = f"[bold {colour}]{ancestor.table}[/bold {colour}]"
    if ancestor.rows:
        return title if ancestor.n_rows == 1 else f"{title} {ancestor.n_rows} rows"
    sha256 = f": sha256 of their checksums {ancestor.checksum}" if ancestor.checksum else ""
    return f"{title} {ancestor.n_rows} rows{sha256}"


def _own_key(ancestor: Ancestor, known: dict[str, Ancestor]) -> list[str]:
    """Return what tells the rows of a table apart, and is not said by its parents."""
    key = ancestor.rows[0].key
    inherited = {n for p in ancestor.parents for row in known[p].rows for n in row.key}
    return [
        name
        for name in key
        if name not in inherited or len({row.key[name] for row in ancestor.rows}) > 1
    ]


def _row_title(row: Row, names: list[str]) -> str:
    return escape(_pairs({name: row.key[name] for name in names}) or "one row")


def _facts(row: Row) -> list[str]:
    """Return the lines that describe a row."""
    facts = []
    if row.started is not None:
        took = "" if row.seconds is None else f" in {row.seconds:.2f} s"
        software = f", software {row.software or 'not recorded'}"
        known = "" if "code_hash" in row.values else software
        facts.append(escape(f"computed {row.started:%Y-%m-%d %H:%M:%S}{took}{known}"))
    if row.inserted_by:
        facts.append(escape(f"inserted by {row.inserted_by} {_utc(row.inserted_at)}"))
    if row.values:
        facts.append(escape(_pairs(row.values)))
    facts += [
        escape(f"{name}: {_pairs(flat(document)) if isinstance(document, dict) else document}")
        for name, document in row.parameters.items()
    ]
    facts += [f"[yellow]{escape(f'{name} {value}')}[/yellow]" for name, value in _sums(row)]
    for held in row.holds:
        sums = "".join(f", {name} {value}" for name, value in held.checksums.items())
        rows = "1 row" if held.n_rows == 1 else f"{held.n_rows} rows"
        facts.append(f"{held.table}: {rows}[yellow]{escape(sums)}[/yellow]")
    return facts


def _utc(time: str | None) -> str:
    """Write an ISO time to the second."""
    return "" if time is None else f"{time[:19].replace('T', ' ')} UTC"


def _sums(row: Row) -> list[tuple[str, str]]:
    """Return the checksums that the key does not show."""
    return [(name, value) for name, value in row.checksums.items() if name not in row.key]


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())


def write_picture(explanation: Explanation, file: Path) -> None:
    """Draw the tables from the recordings, on the left, to the row.

    Raises
    ------
    NoPicture
        If graphviz is not installed, or the file cannot be written.
    """
    drawn = as_svg(explanation)
    try:
        file.write_text(drawn, encoding="utf-8")
    except OSError as error:
        raise NoPicture(
            f"cannot write {file}: {error.strerror}; it needs a folder that exists"
        ) from error


def as_svg(explanation: Explanation) -> str:
    """Draw the tables as `write_picture` does, and return the SVG.

    Raises
    ------
    NoPicture
        If graphviz is not installed.
    """
    return _drawn(_dot(explanation))


@lru_cache(64)
def _drawn(dot: str) -> str:
    try:
        done = subprocess.run(
            ["dot", "-Tsvg"], input=dot, capture_output=True, text=True, check=True
        )
    except FileNotFoundError as error:
        raise NoPicture(
            "there is no program 'dot': the picture needs graphviz (`apt install graphviz`)"
        ) from error
    return done.stdout


def _dot(explanation: Explanation) -> str:
    lines = [
        "digraph {",
        'rankdir=LR; node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=11];',
    ]
    for ancestor in explanation.ancestors:
        colour = "#d9efdc" if ancestor.computed else "#dcebf7"
        label = "\\n".join(_quoted(line) for line in _label(ancestor))
        lines.append(f'"{ancestor.table}" [label="{label}", fillcolor="{colour}"];')
    for table, parents in direct_parents(explanation).items():
        lines += [f'"{parent}" -> "{table}";' for parent in parents]
    return "\n".join([*lines, "}"])


def _label(ancestor: Ancestor) -> list[str]:
    lines = [ancestor.table if ancestor.n_rows == 1 else f"{ancestor.table} ({ancestor.n_rows})"]
    if ancestor.checksum:
        lines.append(f"sha256 {ancestor.checksum[:SHORT]}")
    for row in ancestor.rows[:2]:
        lines += [f"{name} {value[:SHORT]}" for name, value in row.checksums.items()]
    if len(ancestor.rows) > 2:
        lines.append("...")
    seconds = [row.seconds for row in ancestor.rows if row.seconds is not None]
    return lines + ([f"{sum(seconds):.1f} s"] if seconds else [])


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
