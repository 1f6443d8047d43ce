"""The page of one unit: its MEI with everything that is known of it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipeline.report.album import Album
from pipeline.report.comparison import KINDS, responses
from pipeline.report.numbers import number
from pipeline.report.page import UnitPage
from pipeline.report.render import render_unit
from pipeline.report.unit_facts import facts
from pipeline.report.unit_figures import Ascent, Images, Shown, UnitPictures, unit_figure
from pipeline.report.unit_rows import UnitRows, unit_rows
from science.mei.ascent import CURVE_POINTS

UNIT_PAGES = 24
"""Units of a run that have a page, the best predicted ones."""
DPI = 110


def unit_pages(
    title: str,
    run: dict[str, Any],
    units: pd.DataFrame,
    plan: dict[str, Any] | None,
    compared: pd.DataFrame,
    album: Album,
) -> dict[int, str]:
    """Write the pages of the first units and return where they are, by the unit's index.

    Parameters
    ----------
    title : str
        Of the run.
    run : dict
        Its key.
    units : DataFrame
        Of `pipeline.truth.mei_truth`, with an MEI each, best first.
    plan : dict, optional
        Key of the comparison that is shown, and `compared` its `comparison_truth`.
    """
    described = units.head(UNIT_PAGES).set_index("unit_index")
    found = unit_rows(run, plan, described.index.tolist())
    return {
        unit: _page(title, described.loc[unit], rows, responses(compared, unit), album)
        for unit, rows in found.items()
    }


def _page(
    run: str,
    unit: pd.Series,
    rows: UnitRows,
    answers: Sequence[dict[str, Any]],
    album: Album,
) -> str:
    index = rows.mei["unit_index"]
    kind = f" · {unit.kind.replace('_', ' ')}" if isinstance(unit.kind, str) else ""
    figure = unit_figure(_pictures(unit, rows, answers))
    page = UnitPage(
        title=f"Unit {index}{kind}",
        run=run,
        picture=album.add("unit", figure, f"Images, curves and spectra of unit {index}", dpi=DPI),
        facts=facts(unit, rows),
        responses=list(answers),
    )
    return album.add_unit(index, render_unit(page))


def _pictures(unit: pd.Series, rows: UnitRows, answers: Sequence[dict[str, Any]]) -> UnitPictures:
    mei, mask = rows.mei["mei"], rows.mask.get("mei_mask")
    images = {row["image_kind"]: row["compared_image"] for row in rows.compared}
    spectra = {"MEI": images.get("mei", mei)}
    if "optimal_gabor" in images:
        spectra["optimal Gabor"] = images["optimal_gabor"]
    if rows.recorded_gabors:
        spectra["recorded Gabors"] = rows.recorded_gabors[0]["recorded_gabor"]
    variants = _variants(rows)
    heading = "The MEI with the edge of its mask" + "; surrounds, diverse inputs" * bool(variants)
    activation = f"activation {number(rows.mei['mei_activation'])}"
    level = answers[0] if answers else {"compared_mean": 0.0, "compared_sd": 0.0}
    return UnitPictures(
        groups=[
            Images(heading, [Shown("MEI", mei, activation, mask), *variants]),
            Images("Receptive fields", _fields(unit, rows), about_zero=True),
            Images("The recorded Gabors that excited the unit most", _recorded(rows)),
            Images(
                f"At equal mean ({level['compared_mean']:.0f}) and contrast "
                f"(SD {level['compared_sd']:.1f} grey levels)",
                [Shown(KINDS[a["kind"]], images[a["kind"]], _answer(a)) for a in answers],
                alike=True,
            ),
        ],
        ascent=_ascent(rows),
        spectra=spectra,
    )


def _variants(rows: UnitRows) -> list[Shown]:
    surrounds = [
        Shown(
            f"{row['surround_excites']} exciting surround",
            row["surround_mei"],
            f"activation {number(row['surround_activation'])}"
            f" (alone {number(row['centre_activation'])})",
        )
        for row in rows.surrounds
    ]
    diverse = [
        Shown(
            f"diverse input {row['diverse_index'] + 1}",
            row["diverse_mei"],
            f"activation {number(row['diverse_activation'])}",
        )
        for row in rows.diverse_images
    ]
    return surrounds + diverse


def _fields(unit: pd.Series, rows: UnitRows) -> list[Shown]:
    known = [Shown(f"true: {role}", image) for role, image in rows.filters.items()]
    if unit.kind == "complex":
        nearest = f"cosine with the MEI {number(unit.plane_cosine)}"
        known.append(Shown("true: nearest phase", unit.nearest_field, nearest))
    if rows.gradient:
        known.append(Shown("gradient at grey", rows.gradient["point_rf"], "of the model"))
    if rows.regression.get("regression_rf") is not None:
        score = f"validation r {number(rows.regression['field_validation_corr'])}"
        known.append(Shown("regression", rows.regression["regression_rf"], f"of the data, {score}"))
    return known


def _recorded(rows: UnitRows) -> list[Shown]:
    return [
        Shown(
            f"recorded Gabors {row['recorded_gabor_hash'][:6]}",
            row["recorded_gabor"],
            f"activation {number(row['recorded_gabor_activation'])}",
        )
        for row in rows.recorded_gabors
    ]


def _answer(row: dict[str, Any]) -> str:
    words = f"model {number(row['compared_response'])}"
    if np.isfinite(row["true_response"]):
        words += f" · true {number(row['true_response'])}"
    return words if row["contrast_reached"] else f"{words} · other contrast"


def _ascent(rows: UnitRows) -> Ascent | None:
    activation = np.asarray(rows.mei["mei_curve"])
    every = -(-rows.iter_n // CURVE_POINTS)
    steps = every * np.arange(len(activation))
    return Ascent(steps, activation, np.asarray(rows.mei["contrast_curve"]))
