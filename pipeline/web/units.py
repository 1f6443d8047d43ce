"""Recorded units: a list, and a page of each with all that is known of it."""

import re

from flask import Blueprint, abort, render_template, request

from pipeline.report.comparison import KINDS
from pipeline.web import unit_rows
from pipeline.web.briefly import briefly, count
from pipeline.web.keys import ENSEMBLE, SCAN, UNIT, matches, recording, scan
from pipeline.web.paging import window
from pipeline.web.reader import Reader, reader

UNIT_ID = re.compile(r"[0-9]{1,9}")
NAME_LENGTH = 16
BY_UNIT = f"USING ({', '.join(UNIT)})"
KEY = ", ".join(f"n.{name}" for name in UNIT)
SAME_UNIT = " AND ".join(f"u.{name} = n.{name}" for name in UNIT)
FILTERS = {
    "area": ("a.brain_area = :area", f"JOIN [AreaMembership] AS a {BY_UNIT}"),
    "layer": ("l.layer = :layer", f"JOIN [LayerMembership] AS l {BY_UNIT}"),
}
BEST = f"""LEFT JOIN (
    SELECT {", ".join(UNIT)}, MAX(ensemble_validation_corr) AS best
    FROM [TargetDataset.Unit] JOIN [Ensemble.UnitScore] USING (training_set_hash, unit_index)
    GROUP BY {", ".join(UNIT)}
) AS s {BY_UNIT}"""
SORTS = {"unit": ("", ""), "correlation": (BEST, "best DESC,")}
MODELLED = "FROM [TargetDataset.Unit] AS u JOIN {} USING (training_set_hash, unit_index)"
LISTED = f"""SELECT {KEY}, a.brain_area, l.layer, f.cell_name,
(SELECT MAX(o.oracle) {MODELLED.format("[Oracle.UnitScores] AS o")}
    WHERE {SAME_UNIT}) AS oracle,
(SELECT MAX(s.ensemble_validation_corr) {MODELLED.format("[Ensemble.UnitScore] AS s")}
    WHERE {SAME_UNIT}) AS best,
(SELECT COUNT(*) {MODELLED.format("[UnitSelection.Unit] AS c")}
    JOIN [MEI.Unit] USING (training_set_hash, selection_hash, unit_block, unit_index)
    WHERE {SAME_UNIT}) AS n_meis
FROM ({{keys}}) AS n
LEFT JOIN [AreaMembership] AS a {BY_UNIT}
LEFT JOIN [LayerMembership] AS l {BY_UNIT}
LEFT JOIN [OpenField.Cell] AS f {BY_UNIT}
ORDER BY"""

blueprint = Blueprint("units", __name__)


@blueprint.get("/units")
def units() -> str:
    """List the units that are asked for."""
    conditions, joins, values = [], [], {}
    if name := request.args.get("recording", ""):
        values |= scan(name, otherwise=400)
        conditions.append(matches(SCAN, "n"))
    for name, (condition, join) in FILTERS.items():
        if text := request.args.get(name, ""):
            if len(text) > NAME_LENGTH:
                abort(400, f"'{name}' has at most {NAME_LENGTH} letters.")
            values[name] = text
            conditions.append(condition)
            joins.append(join)
    sort = request.args.get("sort", "") or next(iter(SORTS))
    if sort not in SORTS:
        abort(400, f"'sort' has to be one of {', '.join(SORTS)}.")
    asked = window()
    chosen = f"{' '.join(joins)} WHERE {' AND '.join(conditions) or 'TRUE'}"
    n_units = count(reader(), f"[Scan.Unit] AS n {chosen}", **values)
    join, order = SORTS[sort]
    keys = (
        f"SELECT {KEY} FROM [Scan.Unit] AS n {join} {chosen} ORDER BY {order} {KEY} "
        "LIMIT :limit OFFSET :offset"
    )
    rows = reader().rows(f"{LISTED.format(keys=keys)} {order} {KEY}", **values, **asked.sql)
    page = asked.page([row | {"recording": recording(row)} for row in rows], n_units)
    return render_template("units.html.j2", page=page, options=_options(reader()))


@briefly
def _options(reader: Reader) -> dict[str, list[tuple[str, str]]]:
    scans = reader.rows(f"SELECT {', '.join(SCAN)} FROM [Scan] ORDER BY 1, 2, 3")
    areas = reader.rows("SELECT DISTINCT brain_area AS name FROM [AreaMembership] ORDER BY 1")
    layers = reader.rows("SELECT DISTINCT layer AS name FROM [LayerMembership] ORDER BY 1")
    known = {
        "recording": map(recording, scans),
        "area": (row["name"] for row in areas),
        "layer": (row["name"] for row in layers),
    }
    return {name: [(value, value) for value in values] for name, values in known.items()}


@blueprint.get("/units/<name>/<unit_id>")
def unit(name: str, unit_id: str) -> str:
    """Show everything that is known of a unit."""
    if not UNIT_ID.fullmatch(unit_id):
        abort(404, "A unit is named by its number.")
    key = scan(name) | {"unit_id": int(unit_id)}
    found = unit_rows.unit_row(reader(), key)
    if found is None:
        abort(404, f"There is no unit {key['unit_id']} in recording {recording(key)}.")
    return render_template(
        "unit.html.j2",
        unit=found | {"recording": recording(key)},
        key=key,
        rows=unit_rows.view_rows(reader(), key),
        modelled_as=unit_rows.modelled_as(reader(), key),
        tests=unit_rows.loop_tests(reader(), key),
        fields=unit_rows.fields(reader(), key),
        meis=unit_rows.meis(reader(), key),
        sizes=unit_rows.image_sizes(reader()),
        ensemble=ENSEMBLE,
        kinds=KINDS,
    )
