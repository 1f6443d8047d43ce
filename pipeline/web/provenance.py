"""What a row comes from: the tree of its ancestors with their checksums, and its picture."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any

import datajoint as dj
import pymysql
from flask import Blueprint, Response, abort, render_template, request, url_for

from pipeline.address import DatabaseUnavailable
from pipeline.configurations import flat
from pipeline.explain import Ancestor, Explanation, explain
from pipeline.explanation import NoPicture, as_svg, direct_parents
from pipeline.selection import BadSelection, find_table_or_part
from pipeline.web.briefly import briefly
from pipeline.web.keys import KEYS, key_of
from pipeline.web.pictures import picture

MOST_CONDITIONS, LONGEST = 30, 200

blueprint = Blueprint("provenance", __name__)
one_at_a_time = Lock()
"""DataJoint has one connection, which is not for several threads."""


@dataclass(frozen=True)
class Branch:
    """An ancestor in the tree.

    Attributes
    ----------
    ancestor : Ancestor
    names : tuple of str
        Columns of the key that its parents do not say.
    branches : list of Branch
        What its rows refer to, except what is described above in the tree.
    above : list of str
        Tables that are.
    """

    ancestor: Ancestor
    names: tuple[str, ...]
    branches: list["Branch"]
    above: list[str]


@contextmanager
def only_reading() -> Iterator[None]:
    """Have DataJoint's connection for oneself; the server refuses to write meanwhile.

    Raises
    ------
    DatabaseUnavailable
        If the server does not answer.
    """
    with one_at_a_time:
        try:
            dj.conn().query("START TRANSACTION READ ONLY")
            try:
                yield
            finally:
                dj.conn().query("ROLLBACK")
        except (pymysql.err.MySQLError, dj.errors.LostConnectionError, OSError) as error:
            raise DatabaseUnavailable(f"the database does not answer: {error}") from error


def explain_link(table: str, row: Mapping[str, Any]) -> str:
    """Return the address of the explanation of a row.

    Parameters
    ----------
    table : str
        Of `pipeline.web.keys.KEYS`.
    row : mapping
        Holds the key.
    """
    return url_for("provenance.explained", table=table, **key_of(row, KEYS[table]))


blueprint.add_app_template_global(explain_link)
blueprint.add_app_template_filter(flat)


@blueprint.get("/explain/<table>")
def explained(table: str) -> str:
    """Show the tree of a row's ancestors."""
    explanation = _explanation(table)
    return render_template(
        "explanation.html.j2",
        explanation=explanation,
        tree=_tree(explanation),
        picture=url_for("provenance.drawn", table=table, **request.args),
    )


def _tree(explanation: Explanation) -> Branch:
    """Return the tree from the row to what it comes from; a table is described once."""
    known = {ancestor.table: ancestor for ancestor in explanation.ancestors}
    parents = direct_parents(explanation)
    described = set()

    def grow(table: str) -> Branch:
        described.add(table)
        branch = Branch(known[table], _own_names(known[table], known), [], [])
        for parent in parents[table]:
            if parent in described:
                branch.above.append(parent)
            else:
                branch.branches.append(grow(parent))
        return branch

    return grow(explanation.table)


def _own_names(ancestor: Ancestor, known: Mapping[str, Ancestor]) -> tuple[str, ...]:
    """Return what tells the rows of a table apart, and is not said by its parents."""
    inherited = {n for p in ancestor.parents for row in known[p].rows for n in row.key}
    names = ancestor.rows[0].key if ancestor.rows else ()
    return tuple(
        name
        for name in names
        if name not in inherited or len({row.key[name] for row in ancestor.rows}) > 1
    )


@blueprint.get("/explain/<table>.svg")
def drawn(table: str) -> Response:
    """Answer with the picture of the tables that a row comes from."""
    explanation = _explanation(table)
    try:
        return picture(as_svg(explanation).encode(), "image/svg+xml")
    except NoPicture as error:
        abort(404, str(error))


def _explanation(table: str) -> Explanation:
    """Explain the row that a request names: of no table a 404, as of no row."""
    where = tuple(f"{name}={value}" for name, value in request.args.items())
    if len(where) > MOST_CONDITIONS or any(len(condition) > LONGEST for condition in where):
        abort(400, "The key of a row is not that long.")
    try:
        find_table_or_part(table)
    except BadSelection as error:
        abort(404, str(error))
    try:
        return _explain(table, where)
    except BadSelection as error:
        abort(404 if str(error).startswith("no row") else 400, str(error))


@briefly
def _explain(table: str, where: tuple[str, ...]) -> Explanation:
    """Explain a row, for its page and for its picture."""
    with only_reading():
        return explain(table, where)
