"""Section 7: the images shown again to the same cells."""

from typing import Any

import numpy as np
import pandas as pd

from pipeline.configurations import flat
from pipeline.report import figures
from pipeline.report.album import Album
from pipeline.report.page import LoopView, Picture
from pipeline.truth import closed_loop_results, match_truth
from schemas.closed_loop import (
    BestProximityCellMatch,
    ClosedLoopScan,
    ConfusionMatrix,
    MatchMethod,
)
from schemas.dataset import readout_key
from schemas.stimulus import StimulusSet

DRAWN_SCALINGS = ("normalized", "raw", "zscored")
"""The first there is is drawn; rows divided by their maximum look alike in the first two."""


def loops(training_set: dict[str, str], album: Album) -> list[LoopView]:
    """Describe the closed-loop recordings of a training set, once per way of matching cells."""
    shown = ClosedLoopScan * StimulusSet & training_set
    keys = (BestProximityCellMatch & shown.proj()).keys(order_by="KEY")
    return [view for key in keys if (view := _loop(key, album))]


def _loop(key: dict[str, Any], album: Album) -> LoopView | None:
    matches = match_truth(key)
    if matches.empty:
        return None
    right = [None if pd.isna(r) else bool(r) for r in matches.right]
    distances = figures.match_distances(matches.mean_distance.to_numpy(float), right)
    params = MatchMethod.params(key)
    return LoopView(
        scan=readout_key(key),
        day=(ClosedLoopScan & key).fetch1("day"),
        method=", ".join(f"{n} = {v}" for n, v in flat(params.model_dump(mode="json")).items()),
        n_matched=len(matches),
        n_right=None if None in right else sum(right),
        median_distance=float(matches.mean_distance.median()),
        results=closed_loop_results(key).to_dict("records"),
        confusion=_confusion(key, album),
        distances=album.add("match-distances", distances, "Distances of matched cells"),
    )


def _confusion(key: dict[str, Any], album: Album) -> Picture | None:
    for scaling in DRAWN_SCALINGS:
        matrices = ConfusionMatrix & key & {"response_scaling": scaling}
        means = matrices.to_arrays("confusion_mean", order_by="KEY")
        if len(means):
            alt = "Confusion matrix: rows are neurons, columns the images made for them"
            return album.add("confusion", figures.confusion(np.asarray(means[0], float)), alt)
    return None
