"""Confusion matrices of the closed loop: a list, and a page of each."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from flask import Blueprint, Response, abort, render_template, url_for
from numpy.typing import NDArray

from pipeline.web.briefly import count
from pipeline.web.colours import HEX, coloured
from pipeline.web.keys import MATRIX, asked_hash, key_of, matches, recording
from pipeline.web.paging import window
from pipeline.web.pictures import picture, png
from pipeline.web.reader import reader

WORD = re.compile(r"[a-z_]{1,24}")
ADDRESS = "/matrices/<pool_hash>/<match_hash>/<response_scaling>/<stimulus_kind>"
LISTED = """
SELECT m.pool_hash, m.match_hash, m.response_scaling, m.stimulus_kind, m.n_matrix_units,
  p.recordings, p.permutation_statistic, p.permutation_p, d.n_row_max, d.mean_rank
FROM [ConfusionMatrix] AS m
LEFT JOIN permutation_tests AS p USING (pool_hash, match_hash, response_scaling, stimulus_kind)
LEFT JOIN (
  SELECT pool_hash, match_hash, response_scaling, stimulus_kind, SUM(row_max) AS n_row_max,
    AVG(NULLIF(diagonal_rank, -1)) AS mean_rank
  FROM [ConfusionMatrix.Diagonal]
  GROUP BY pool_hash, match_hash, response_scaling, stimulus_kind
) AS d USING (pool_hash, match_hash, response_scaling, stimulus_kind)
"""
ORDER = "m.pool_hash, m.match_hash, m.stimulus_kind, m.response_scaling"
TICKS = 8
CELLS = 200
"""Cells whose entries a page lists."""
blueprint = Blueprint("matrices", __name__)


def matrix_link(row: Mapping[str, Any]) -> str:
    """Return the address of the page of the matrix whose key a row holds."""
    return url_for("matrices.matrix", **key_of(row, MATRIX))


blueprint.add_app_template_global(matrix_link)


@blueprint.get("/matrices")
def matrices() -> str:
    """List all matrices."""
    asked = window()
    n_matrices = count(reader(), "[ConfusionMatrix]")
    rows = reader().rows(f"{LISTED} ORDER BY {ORDER} LIMIT :limit OFFSET :offset", **asked.sql)
    return render_template("matrices.html.j2", page=asked.page(rows, n_matrices))


@blueprint.get(ADDRESS)
def matrix(**key: str) -> str:
    """Show a matrix, its diagonal and its tests."""
    where = matches(MATRIX, "m")
    found = reader().one(f"{LISTED} WHERE {where}", **_checked(key))
    if found is None:
        abort(404, "There is no confusion matrix under this key.")
    of_this = matches(MATRIX)
    mean = _mean(key)
    known = mean[np.isfinite(mean)]
    asked = window(CELLS)
    diagonal = reader().rows(
        f"SELECT * FROM confusion_diagonal WHERE {of_this} ORDER BY matrix_index "
        "LIMIT :limit OFFSET :offset",
        **key,
        **asked.sql,
    )
    return render_template(
        "matrix.html.j2",
        matrix=found,
        key=key,
        shown=known.size > 0,
        low=float(known.min(initial=np.inf)),
        high=float(known.max(initial=-np.inf)),
        ticks=range(0, len(mean), max(1, round(len(mean) / TICKS))),
        test=reader().one(f"SELECT * FROM permutation_tests WHERE {of_this}", **key),
        tests=reader().rows(
            "SELECT * FROM diagonal_tests WHERE pool_hash = :pool_hash AND match_hash = "
            ":match_hash AND response_scaling = :response_scaling AND (stimulus_kind = "
            ":stimulus_kind OR other_kind = :stimulus_kind) ORDER BY stimulus_kind, other_kind",
            **key,
        ),
        others=reader().rows(
            "SELECT response_scaling, stimulus_kind, pool_hash, match_hash FROM [ConfusionMatrix] "
            "WHERE pool_hash = :pool_hash AND match_hash = :match_hash "
            "ORDER BY stimulus_kind, response_scaling LIMIT 100",
            pool_hash=key["pool_hash"],
            match_hash=key["match_hash"],
        ),
        page=asked.page(
            [row | {"recording": recording(row)} for row in diagonal], found["n_matrix_units"]
        ),
        colours=HEX,
    )


@blueprint.get(f"{ADDRESS}.png")
def heat_map(**key: str) -> Response:
    """Answer with the mean responses, a pixel for each; colours as `COLOURS`."""
    return picture(png(coloured(_mean(_checked(key)))))


def _mean(key: dict[str, str]) -> NDArray[np.float64]:
    """Return mean responses (n, n), rows = cells, columns = images."""
    row = reader().one(
        f"SELECT confusion_mean FROM [ConfusionMatrix] WHERE {matches(MATRIX)}", **key
    )
    if row is None:
        abort(404, "There is no confusion matrix under this key.")
    return reader().array(row["confusion_mean"])


def _checked(key: dict[str, str]) -> dict[str, str]:
    for name in ("pool_hash", "match_hash"):
        asked_hash(name, key[name])
    for name in ("response_scaling", "stimulus_kind"):
        if not WORD.fullmatch(key[name]):
            abort(404, f"There is no '{name}' of this name.")
    return key
