"""Section 6: MEIs against their controls, at equal mean and contrast."""

from typing import Any

import pandas as pd

from pipeline.report.album import Album
from pipeline.report.mei_figures import relative
from pipeline.report.page import ComparisonView
from pipeline.truth import (
    WELL_PREDICTED,
    comparison_summary,
    relative_responses,
)
from schemas.comparison import ImageComparison
from schemas.controls import ContrastRule, ControlPlan

KINDS = {
    "mei": "MEI",
    "masked_mei": "MEI in its mask",
    "optimal_gabor": "optimal Gabor",
    "best_gabor": "best Gabor of the grid",
    "linear_mei": "MEI of the linear model",
    "gradient_mei": "MEI of the gradient at grey",
    "regression_rf": "regression receptive field",
    "natural": "best natural image",
    "masked_natural": "best natural image in the mask",
}
"""Words for the kinds of images, in the order of figures."""


def plans(run: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the keys of all computed comparisons of a run, each with what its plan refers to."""
    made = ControlPlan & ImageComparison.proj() & run
    return made.proj("field_hash").to_dicts(order_by="KEY")


def view(plan: dict[str, Any], compared: pd.DataFrame, album: Album) -> ComparisonView:
    """Describe one comparison.

    Parameters
    ----------
    plan : dict
        Of `plans`.
    compared : DataFrame
        Its `comparison_truth`.
    """
    rule = (ContrastRule & plan).fetch1()
    units = compared.drop_duplicates("unit_index")
    has_truth = bool(compared.true_response.notna().any())
    figure = relative(relative_responses(compared), KINDS, WELL_PREDICTED, has_truth)
    rows = comparison_summary(compared).to_dict("records")
    words = [row | {"first": KINDS[row["first"]], "second": KINDS[row["second"]]} for row in rows]
    return ComparisonView(
        title=f"contrast rule {plan['contrast_hash'][:6]}, Gabors {plan['gabor_hash'][:6]}",
        mean=rule["contrast_mean"],
        contrast=rule["contrast_sd"],
        n_units=len(units),
        n_unreached=int((~compared.contrast_reached).sum()),
        n_well_predicted=int((units.ensemble_validation_corr > WELL_PREDICTED).sum()),
        has_truth=has_truth,
        picture=album.add("comparison", figure, "Responses to the controls / response to the MEI"),
        summary=words,
    )


def responses(compared: pd.DataFrame, unit_index: int) -> list[dict[str, Any]]:
    """Return what one unit answers to each kind of image, ordered and in words."""
    rows = compared[compared.unit_index == unit_index].set_index("image_kind")
    ratios = relative_responses(compared[compared.unit_index == unit_index])
    ratios = ratios.set_index("image_kind")[["model_ratio", "true_ratio"]]
    rows = rows.join(ratios)
    return [
        {"kind": kind, "name": KINDS[kind], **rows.loc[kind].to_dict()}
        for kind in KINDS
        if kind in rows.index
    ]
