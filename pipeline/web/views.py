"""Any view as a page: sorted, filtered, page by page; and as CSV."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from typing import Any

from flask import Blueprint, Response, abort, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from pipeline.web.briefly import count
from pipeline.web.paging import window
from pipeline.web.reader import reader
from pipeline.web.values import is_number, written
from schemas.views import TOPICS, VIEWS, View

CSV_ROWS = 10_000
MOST_SORTED = 25_000
"""Rows that are sorted; of more the first are shown, until a condition leaves fewer."""
LONGEST = 200
TEXTS = {"char", "varchar", "enum", "text", "mediumtext", "longtext", "json", "datetime"}
NUMBER = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?([eE]-?[0-9]{1,3})?")

blueprint = Blueprint("views", __name__)
blueprint.add_app_template_filter(written)
blueprint.add_app_template_filter(is_number)


@dataclass(frozen=True)
class Chosen:
    """Rows of a view as a request chooses them.

    Attributes
    ----------
    view : View
    sort : str
        Column to sort by; empty: the order of the columns.
    descending : bool
    equal : dict
        Columns to the values that they must have.
    """

    view: View
    sort: str
    descending: bool
    equal: dict[str, str]

    @property
    def source(self) -> str:
        """What follows FROM, without an order."""
        conditions = " AND ".join(f"`{name}` = :{name}" for name in self.equal)
        return f"{self.view.name} WHERE {conditions or 'TRUE'}"

    @property
    def order(self) -> str:
        """Every column, so that no row is on two pages."""
        names = [name for name in self.view.columns if name != self.sort]
        first = [f"`{self.sort}` {'DESC' if self.descending else 'ASC'}"] if self.sort else []
        return ", ".join([*first, *(f"`{name}`" for name in names)])

    def count(self) -> int:
        """Count the rows, to one more than are sorted."""
        some = f"(SELECT 1 FROM {self.source} LIMIT :most) AS c"
        return count(reader(), some, most=MOST_SORTED + 1, **self.equal)

    def rows(self, is_sorted: bool, limit: int, offset: int = 0) -> list[dict[str, Any]]:
        """Return some of the rows."""
        order = f"ORDER BY {self.order}" if is_sorted else ""
        return reader().rows(
            f"SELECT * FROM {self.source} {order} LIMIT :limit OFFSET :offset",
            limit=limit,
            offset=offset,
            **self.equal,
        )


@blueprint.get("/views")
def views() -> str:
    """List all views by topic."""
    return render_template("views.html.j2", topics=TOPICS, views=VIEWS)


@blueprint.get("/views/<name>")
def view(name: str) -> str | AnyResponse:
    """Show a page of a view."""
    if "column" in request.args:
        return _with_condition(name)
    chosen, asked = _chosen(name), window()
    n_rows = chosen.count()
    is_sorted = n_rows <= MOST_SORTED
    if not is_sorted and (chosen.sort or asked.number > 1):
        abort(400, f"{name} has more than {MOST_SORTED} rows: choose some by a condition first.")
    rows = chosen.rows(is_sorted, **asked.sql)
    return render_template(
        "view.html.j2",
        chosen=chosen,
        page=asked.page(rows, n_rows if is_sorted else len(rows)),
        is_sorted=is_sorted,
        most_sorted=MOST_SORTED,
        csv_rows=CSV_ROWS,
    )


def _with_condition(name: str) -> AnyResponse:
    """Send the form's column and value to the address that names the column itself."""
    known = _view(name).columns
    column, value = request.args["column"], request.args.get("value", "")
    if column not in known:
        abort(400, f"{name} has no column of this name.")
    kept = {n: v for n, v in request.args.items() if n in known or n in ("sort", "order")}
    return redirect(url_for("views.view", **kept | ({column: value} if value else {}), name=name))


@blueprint.get("/views/<name>.csv")
def table(name: str) -> Response:
    """Answer with the rows as CSV, `CSV_ROWS` at most."""
    chosen = _chosen(name)
    rows = chosen.rows(chosen.count() <= MOST_SORTED, CSV_ROWS)
    response = Response(_lines(list(chosen.view.columns), rows), mimetype="text/csv")
    response.headers["Content-Disposition"] = f"attachment; filename={name}.csv"
    return response


def _lines(columns: list[str], rows: list[dict[str, Any]]) -> Iterator[str]:
    for values in (columns, *([row[name] for name in columns] for row in rows)):
        line = StringIO()
        csv.writer(line).writerow(values)
        yield line.getvalue()


def _chosen(name: str) -> Chosen:
    found = _view(name)
    sort, order = request.args.get("sort", ""), request.args.get("order", "up")
    if sort and sort not in found.columns:
        abort(400, f"{name} has no column of this name to sort by.")
    if order not in ("up", "down"):
        abort(400, "'order' has to be up or down.")
    equal = {column: request.args[column] for column in found.columns if column in request.args}
    if equal:
        _check_values(name, equal)
    return Chosen(found, sort, order == "down", equal)


def _check_values(name: str, equal: dict[str, str]) -> None:
    """Refuse values that a column cannot have: the server would take 'abc' for 0."""
    types = reader().rows(
        "SELECT COLUMN_NAME AS name, DATA_TYPE AS type FROM information_schema.columns "
        "WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = :view",
        view=name,
    )
    numeric = {row["name"] for row in types if row["type"] not in TEXTS}
    for column, value in equal.items():
        if len(value) > LONGEST:
            abort(400, f"A value has at most {LONGEST} letters.")
        if column in numeric and not NUMBER.fullmatch(value):
            abort(400, f"'{column}' is a number.")


def _view(name: str) -> View:
    if name not in VIEWS:
        abort(404, f"There is no view of this name; there are {', '.join(VIEWS)}.")
    return VIEWS[name]
