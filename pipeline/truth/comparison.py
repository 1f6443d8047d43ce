"""MEIs and their controls at equal mean and contrast: the model's responses and the true ones."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import wilcoxon

from pipeline.truth.cells import SCAN, WELL_PREDICTED, frame, true_cells
from schemas.comparison import ImageComparison
from schemas.dataset import TargetDataset
from schemas.model import Ensemble
from science.virtual import CELL_TYPES

PAIRS = (
    ("mei", "natural"),
    ("masked_mei", "masked_natural"),
    ("mei", "masked_natural"),
    ("mei", "optimal_gabor"),
    ("mei", "best_gabor"),
    ("optimal_gabor", "best_gabor"),
    ("mei", "linear_mei"),
    ("mei", "gradient_mei"),
    ("mei", "regression_rf"),
)
"""Kinds of images that are compared with each other."""

ALL_UNITS = "all units"
_GABOR_LIKE = ("simple", "complex")
CELL_GROUPS = {
    "Gabor cells": _GABOR_LIKE,
    "other cells": tuple(k for k in CELL_TYPES if k not in (*_GABOR_LIKE, "undriven")),
}
"""Kinds of virtual cells: those whose best image is close to a Gabor, and those where it is not."""

MIN_PAIRS = 6
"""With fewer pairs no two-sided signed-rank test can have p < 0.05."""

_UNIT = ["training_set_hash", "unit_index"]  # of one plan
_STORED = ("compared_response", "compared_mean", "compared_sd", "contrast_reached")


def comparison_truth(restriction: Any) -> pd.DataFrame:
    """Look up what units answer to their MEIs and controls, in the model and in truth.

    Parameters
    ----------
    restriction
        Of `ImageComparison.Response`, for example the key of a training set.

    Returns
    -------
    DataFrame
        One row per row of `ImageComparison.Response`, best validation correlation first. From the
        database: its columns but the image, `ensemble_validation_corr`, scan and `unit_id`. From
        the truth, missing where the recording is not virtual or the model sees another image size
        than the animal: `cell_kind`, and `true_response`, the expected response (spikes a trial,
        gain 1, with the drift of the day) to `compared_image`.
    """
    query = ImageComparison.Response * TargetDataset.Unit * Ensemble.UnitScore & restriction
    columns = (*_STORED, "ensemble_validation_corr", "unit_id", *SCAN)
    fetched = ("compared_image", *columns)
    rows = frame(query.proj(*fetched), [*ImageComparison.Response.primary_key, *fetched])
    images = rows.pop("compared_image")
    rows["contrast_reached"] = rows.contrast_reached.astype(bool)
    numbers = ["compared_response", "compared_mean", "compared_sd", "ensemble_validation_corr"]
    rows[numbers] = rows[numbers].astype(float)
    rows["cell_kind"] = pd.Series(None, rows.index, object)
    rows["true_response"] = np.nan
    shape = images.map(np.shape)
    for (_, *scan), of_scan in rows.groupby([shape, *SCAN]):
        here = of_scan.index
        known = true_cells(dict(zip(SCAN, scan, strict=True)), of_scan.unit_id, shape[here[0]])
        if known is not None:
            rows.loc[here, "cell_kind"] = known.animal.kind[known.cells].astype(object)
            rows.loc[here, "true_response"] = known.responses(np.stack(images[here].tolist()))
    return rows.sort_values(
        "ensemble_validation_corr", ascending=False, kind="stable", ignore_index=True
    )


def comparison_summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Compare kinds of images over the well predicted units.

    Parameters
    ----------
    rows : DataFrame
        Of `comparison_truth`, of one plan: a unit has one response to an image of a kind.

    Returns
    -------
    DataFrame
        One row per pair of `PAIRS` and group of cells (`ALL_UNITS` and those of `CELL_GROUPS`)
        with at least one unit that has both images at the contrast asked for and a validation
        correlation above `WELL_PREDICTED`: `first`, `second`, `group`, `n_units`; and for the
        model's and the true responses (prefixes ``model_`` and ``true_``; NaN without truth)
        `n`, the units with a response above zero to both images, `ratio`, the median over them of
        first / second (between two units their geometric mean), `larger`, the fraction in which
        first is larger, and `p`, two-sided, of Wilcoxon's signed-rank test of the logarithms of
        the ratios, NaN with fewer than `MIN_PAIRS` that are not equal.
    """
    fair = rows[rows.contrast_reached & (rows.ensemble_validation_corr > WELL_PREDICTED)]
    wide = {
        name: fair.pivot(index=_UNIT, columns="image_kind", values=column)
        for name, column in (("model", "compared_response"), ("true", "true_response"))
    }
    kinds = fair.drop_duplicates(_UNIT).set_index(_UNIT).cell_kind
    kinds = kinds.reindex(wide["model"].index)
    found = []
    for first, second in PAIRS:
        if not {first, second} <= set(wide["model"].columns):
            continue
        both = wide["model"][[first, second]].notna().all(axis=1)
        for group, members in ((ALL_UNITS, None), *CELL_GROUPS.items()):
            chosen = both if members is None else both & kinds.isin(members)
            n_units = int(chosen.sum())
            if n_units:
                row = {"first": first, "second": second, "group": group, "n_units": n_units}
                for name, table in wide.items():
                    a, b = table.loc[chosen, [first, second]].to_numpy(float).T
                    row |= {f"{name}_{k}": v for k, v in paired(a, b).items()}
                found.append(row)
    statistics = [f"{name}_{k}" for name in wide for k in ("n", "ratio", "larger", "p")]
    return pd.DataFrame(found, columns=["first", "second", "group", "n_units", *statistics])


def paired(first: NDArray[np.floating], second: NDArray[np.floating]) -> dict[str, float]:
    """Compare paired responses (n,): number, median ratio, fraction larger, Wilcoxon's p.

    Pairs that are not both above zero and finite do not count; see `comparison_summary`.
    """
    usable = (first > 0) & (second > 0) & np.isfinite(first) & np.isfinite(second)
    if not usable.any():
        return {"n": 0, "ratio": np.nan, "larger": np.nan, "p": np.nan}
    logs = np.log(first[usable]) - np.log(second[usable])
    unequal = logs[logs != 0]
    return {
        "n": len(logs),
        "ratio": float(np.exp(np.median(logs))),
        "larger": float((logs > 0).mean()),
        "p": float(wilcoxon(unequal).pvalue) if len(unequal) >= MIN_PAIRS else np.nan,
    }


def relative_responses(rows: pd.DataFrame) -> pd.DataFrame:
    """Divide responses by the response of the same unit to its MEI.

    Parameters
    ----------
    rows : DataFrame
        Of `comparison_truth`, of one plan.

    Returns
    -------
    DataFrame
        The rows at the contrast asked for, of units whose MEI has it too, with `model_ratio` and
        `true_ratio`; NaN where one of the two responses is not above zero or not known.
    """
    fair = rows[rows.contrast_reached]
    columns = ["compared_response", "true_response"]
    mei = fair[fair.image_kind == "mei"].set_index(_UNIT)[columns]
    joined = fair.join(mei.add_suffix("_to_mei"), on=_UNIT, how="inner")
    for name, column in zip(("model", "true"), columns, strict=True):
        own, to_mei = joined[column], joined[f"{column}_to_mei"]
        joined[f"{name}_ratio"] = (own / to_mei).where((own > 0) & (to_mei > 0))
    return joined
