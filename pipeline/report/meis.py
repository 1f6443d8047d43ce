"""Sections 4 to 6: MEIs beside the true receptive fields, their masks and their controls."""

from typing import Any

import numpy as np
import pandas as pd

from pipeline.configurations import flat
from pipeline.report import figures
from pipeline.report.album import Album
from pipeline.report.comparison import plans, view
from pipeline.report.gallery import gallery
from pipeline.report.mei_figures import cosines, true_responses
from pipeline.report.models import labels
from pipeline.report.page import Gallery, MasksView, Picture, RunView
from pipeline.report.scores import scores
from pipeline.report.unit_page import unit_pages
from pipeline.truth import (
    WELL_PREDICTED,
    comparison_truth,
    mei_truth,
    relative_responses,
    summarise,
)
from schemas.mei import MEI, MaskMethod, MEIMask, TargetModel
from science.masks import GaussianMaskParams, ThresholdMaskParams, TightMaskParams
from science.params import Params

GALLERY_SIZE = 200

MASKS: dict[type[Params], str] = {
    TightMaskParams: "A tight mask is the region that is left when the surround of an MEI is "
    "eroded until its activation falls to the target.",
    ThresholdMaskParams: "A threshold mask is the region in which an MEI differs most from its "
    "mean.",
    GaussianMaskParams: "A Gaussian mask is a soft spot fitted to where an MEI differs from its "
    "mean.",
}
"""How masks are made, in a sentence for each type."""


def run_views(training_set: dict[str, str], album: Album) -> list[RunView]:
    """Describe the MEIs of a training set, once per way in which they were made."""
    return [_run(title, key, album) for title, key in _runs(training_set)]


def _runs(training_set: dict[str, str]) -> list[tuple[str, dict[str, Any]]]:
    """Return title and key of every way in which MEIs and masks of a training set were made.

    A key holds one `TargetModel` and, where masks exist, one mask method: restricted by it, a
    unit has a single row in `pipeline.truth.mei_truth`. They are in the order of `labels`.
    """
    found = []
    for name, plan in labels(training_set):
        for target in (TargetModel & MEI.proj() & plan).keys(order_by="KEY"):
            title = f"{name} ensemble, selection {target['selection_hash'][:6]}, "
            title += f"MEI method {target['mei_hash'][:6]}"
            methods = MEIMask & MEI.proj() & target
            hashes = sorted(set(methods.to_arrays("mask_hash").tolist()))
            found += [(f"{title}, mask method {h[:6]}", target | {"mask_hash": h}) for h in hashes]
            if not hashes:
                found.append((title, target))
    return found


def _run(title: str, key: dict[str, Any], album: Album) -> RunView:
    units = mei_truth(key)
    status = units.mei_status.value_counts()
    alive = units[units.mei_status == "ok"]
    known = units[units.kind.notna()]
    compared = [(plan, comparison_truth(plan)) for plan in plans(key)]
    return RunView(
        title=title,
        n_units=len(units),
        n_dead=int(status.get("dead", 0)),
        n_nonfinite=int(status.get("nonfinite", 0)),
        gallery=_gallery(title, key, alive, compared, album) if len(alive) else None,
        summary=summarise(units) if len(known) else None,
        truth=_truth_pictures(known, album) if len(known) else [],
        masks=_masks(alive, album),
        comparisons=[view(plan, rows, album) for plan, rows in compared],
    )


def _gallery(
    title: str,
    key: dict[str, Any],
    units: pd.DataFrame,
    compared: list[tuple[dict[str, Any], pd.DataFrame]],
    album: Album,
) -> Gallery:
    """Show the best predicted units, and write the pages of the first of them."""
    units = units.head(GALLERY_SIZE)
    plan, rows = compared[0] if compared else (None, comparison_truth("FALSE"))
    pages = unit_pages(title, key, units, plan, rows, album)
    return gallery(units, scores(units, key, relative_responses(rows)), pages, album)


def _truth_pictures(known: pd.DataFrame, album: Album) -> list[Picture]:
    levels = known[["true_p05", "true_median", "true_p95", "true_p995", "true_max"]]
    well = known.ensemble_validation_corr.to_numpy(float) > WELL_PREDICTED
    responses = true_responses(known.true_mei, levels.to_numpy(float), known.kind.tolist(), well)
    return [
        album.add(
            "true-responses",
            responses,
            "True response to the own MEI and to the training images, unit by unit",
        ),
        album.add(
            "cosines",
            cosines(known.cosine[known.kind == "simple"], known.plane_cosine),
            "Cosines of MEIs and true fields",
        ),
    ]


def _masks(units: pd.DataFrame, album: Album) -> MasksView | None:
    masked = units[units.mask_hash.notna()]
    if masked.empty:
        return None
    params = MaskMethod.params({"mask_hash": masked.mask_hash.iloc[0]})
    masks = np.stack(masked.mei_mask.to_list())
    sizes = np.count_nonzero(masks > 0.5, axis=(1, 2))
    ratios = masked.reduction_ratio.astype(float)
    n_pixels = masks[0].size
    target = params.target_reduction_ratio if isinstance(params, TightMaskParams) else None
    figure = figures.masks(sizes, ratios, n_pixels, target)
    return MasksView(
        how=MASKS[type(params)],
        method=", ".join(f"{n} = {v}" for n, v in flat(params.model_dump(mode="json")).items()),
        statuses=masked.mask_status.value_counts().to_dict(),
        median_size=float(np.median(sizes)),
        n_pixels=n_pixels,
        median_ratio=float(ratios.median()),
        picture=album.add("masks", figure, "Sizes and reduction ratios of the masks"),
    )
