"""Sections 4 and 5: MEIs beside the true receptive fields, and their masks."""

from typing import Any

import numpy as np
import pandas as pd

from pipeline.configurations import flat
from pipeline.report import figures
from pipeline.report.album import Album
from pipeline.report.gallery import Tile, cosines, mei_gallery, true_responses
from pipeline.report.models import labels
from pipeline.report.page import MasksView, Picture, RunView, number
from pipeline.truth import WELL_PREDICTED, mei_truth, summarise
from schemas.mei import MEI, MaskMethod, TargetModel, TightMEIMask
from schemas.model import TrainingPlan

GALLERY_SIZE = 40


def run_views(training_set: dict[str, str], album: Album) -> list[RunView]:
    """Describe the MEIs of a training set, once per way in which they were made."""
    return [_run(title, key, album) for title, key in _runs(training_set)]


def _runs(training_set: dict[str, str]) -> list[tuple[str, dict[str, Any]]]:
    """Return title and key of every way in which MEIs and masks of a training set were made.

    A key holds one `TargetModel` and, where masks exist, one mask method: restricted by it, a
    unit has a single row in `pipeline.truth.mei_truth`.
    """
    names = {
        tuple(key[a] for a in TrainingPlan.primary_key): label
        for label, key in labels(training_set)
    }
    found = []
    for target in (TargetModel & MEI.proj() & training_set).keys(order_by="KEY"):
        plan = tuple(target[a] for a in TrainingPlan.primary_key)
        methods = TightMEIMask & MEI.proj() & target
        hashes = sorted(set(methods.to_arrays("mask_hash").tolist()))
        title = f"{names[plan]} ensemble, selection {target['selection_hash'][:6]}, "
        title += f"MEI method {target['mei_hash'][:6]}"
        found += [(f"{title}, mask method {h[:6]}", target | {"mask_hash": h}) for h in hashes]
        if not hashes:
            found.append((title, target))
    return found


def _run(title: str, key: dict[str, Any], album: Album) -> RunView:
    units = mei_truth(key)
    alive = units[units.mei_status == "ok"]
    shown = alive.head(GALLERY_SIZE)
    known = units[units.kind.notna()]
    gallery = None
    if len(shown):
        figure = mei_gallery([_tile(unit) for unit in shown.itertuples()])
        gallery = album.add("meis", figure, "Gallery of MEIs")
    return RunView(
        title=title,
        n_units=len(units),
        n_dead=len(units) - len(alive),
        n_shown=len(shown),
        gallery=gallery,
        summary=summarise(units) if len(known) else None,
        truth=_truth_pictures(known, album) if len(known) else [],
        masks=_masks(alive, album),
    )


def _tile(unit: Any) -> Tile:
    kind = f" · {unit.kind}" if isinstance(unit.kind, str) else ""
    parts = [f"r {number(unit.ensemble_validation_corr)}", f"act {number(unit.mei_activation)}"]
    if np.isfinite(unit.cosine):
        parts.append(f"cos {number(unit.cosine)}")
    elif np.isfinite(unit.plane_cosine):
        parts.append(f"plane {number(unit.plane_cosine)}")
    return Tile(
        title=f"unit {unit.unit_index}{kind}",
        subtitle="   ".join(parts),
        mei=unit.mei,
        mask=unit.tight_mask if isinstance(unit.tight_mask, np.ndarray) else None,
        field=unit.nearest_field if isinstance(unit.nearest_field, np.ndarray) else None,
    )


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
            "cosines", cosines(known.cosine, known.plane_cosine), "Cosines of MEIs and true fields"
        ),
    ]


def _masks(units: pd.DataFrame, album: Album) -> MasksView | None:
    masked = units[units.mask_hash.notna()]
    if masked.empty:
        return None
    params = MaskMethod.params({"mask_hash": masked.mask_hash.iloc[0]})
    masks = np.stack(masked.tight_mask.to_list())
    sizes = np.count_nonzero(masks > 0.5, axis=(1, 2))
    ratios = masked.reduction_ratio.astype(float)
    n_pixels = masks[0].size
    figure = figures.masks(sizes, ratios, n_pixels, params.target_reduction_ratio)
    return MasksView(
        method=", ".join(f"{n} = {v}" for n, v in flat(params.model_dump(mode="json")).items()),
        statuses=masked.mask_status.value_counts().to_dict(),
        median_size=float(np.median(sizes)),
        n_pixels=n_pixels,
        median_ratio=float(ratios.median()),
        picture=album.add("masks", figure, "Sizes and reduction ratios of the masks"),
    )
