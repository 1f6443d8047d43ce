"""Section 7: the images shown again to the same cells."""

from typing import Any

import datajoint as dj
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.configurations import flat
from pipeline.report import loop_figures
from pipeline.report.album import Album
from pipeline.report.loop_figures import Pairing
from pipeline.report.numbers import number, p_value
from pipeline.report.page import (
    LaterRecording,
    LoopView,
    MatchView,
    MonitorView,
    Picture,
    PoolView,
    ScalingView,
    StimulusView,
)
from pipeline.report.style import finite
from pipeline.truth import (
    SIGNIFICANT_Q,
    closed_loop_results,
    kind_results,
    match_results,
    match_truth,
)
from schemas.cell_match import (
    BestProximityCellMatch,
    CellMatchOracleCorrelation,
    ClosedLoopScan,
    LoopPool,
    MatchMethod,
)
from schemas.closed_loop import ConfusionMatrix, ConfusionPlan, DiagonalTest
from schemas.dataset import TargetDataset, readout_key
from schemas.monitor import ClosestCalibration, ProcessedMonitorCalibration
from schemas.recording import MonitorCalibration, Scan
from schemas.stimulus import DisplayRule, StimulusSet

KINDS = {
    "mei": "MEI",
    "linear_mei": "linear MEI",
    "gabor": "Gabor",
    "natural": "natural image",
    "masked_mei": "masked MEI",
    "masked_natural": "masked natural image",
}
SCALINGS = {
    "normalized": "SD of all its responses",
    "raw": "as recorded",
    "zscored": "z-score",
}
"""The first there is is drawn."""
UNITS = {"luminance": "cd/m²", "grey": "grey levels"}
STATUSES = {
    "accepted": "count",
    "excluded": "excluded by hand",
    "distant": "too far apart",
    "unlike": "too unlike in their responses",
    "unmeasured": "not comparable in their responses",
}


def loops(training_set: dict[str, str], album: Album) -> LoopView | None:
    """Describe the recordings that showed images made for a training set; None without any."""
    shown = ClosedLoopScan * StimulusSet & training_set
    rows = shown.to_dicts(order_by="day, animal_id, session, scan_idx")
    if not rows:
        return None
    return LoopView([_recording(row, album) for row in rows], _pools(shown, album))


def _recording(row: dict[str, Any], album: Album) -> LaterRecording:
    """Describe a later recording, given its row of `ClosedLoopScan * StimulusSet`."""
    scan = {name: row[name] for name in Scan.primary_key}
    monitor = _monitor(scan, row)
    return LaterRecording(
        scan=readout_key(scan),
        day=row["day"],
        stimulus=_stimulus({"stimulus_set_hash": row["stimulus_set_hash"]}),
        monitor=monitor,
        curves=_curves(scan, row["training_set_hash"], album) if monitor else None,
        matches=[_matches(key, album) for key in match_results(scan).to_dict("records")],
    )


def _stimulus(key: dict[str, str]) -> StimulusView:
    rule = (DisplayRule & (StimulusSet & key).proj("display_hash")).fetch1()
    columns = ("stimulus_kind", "shown_mean", "shown_contrast", "display_reached")
    items = pd.DataFrame((StimulusSet.Item & key).proj(*columns).to_dicts(), columns=columns)
    kinds = [
        {
            "name": name,
            "n": len(of),
            "mean": float(of.shown_mean.mean()),
            "contrast": float(of.shown_contrast.mean()),
            "n_unreached": int((~of.display_reached.astype(bool)).sum()),
        }
        for kind, name in KINDS.items()
        if len(of := items[items.stimulus_kind == kind])
    ]
    return StimulusView(
        name=key["stimulus_set_hash"],
        unit=UNITS[rule["display_unit"]],
        mean=rule["display_mean"],
        contrast=rule["display_contrast"],
        kinds=kinds,
    )


def _monitor(scan: dict[str, Any], stimulus: dict[str, Any]) -> MonitorView | None:
    closest = (ClosestCalibration * ProcessedMonitorCalibration.GammaFit & scan).to_dicts()
    if not closest:
        return None
    found = closest[0]
    made_for = stimulus["rig"], stimulus["calibrated_at"]
    same = made_for in ((None, None), (found["rig"], found["calibrated_at"]))
    return MonitorView(
        rig=found["rig"],
        calibrated_at=found["calibrated_at"],
        delta_hours=found["delta_time"],
        gamma=found["gamma"],
        darkness=found["darkness"],
        amplitude=found["amplitude"],
        other=None if same else f"{made_for[0]}, calibrated {made_for[1]:%Y-%m-%d %H:%M}",
    )


def _curves(scan: dict[str, Any], training_set_hash: str, album: Album) -> Picture | None:
    """Draw the monitor beside those of the recordings that the models come from."""
    members = TargetDataset.Member & {"training_set_hash": training_set_hash}
    measured = ClosestCalibration * MonitorCalibration
    sources = (measured & members.proj()).to_dicts(order_by="KEY")
    (showing,) = (measured & scan).to_dicts()
    if not sources:
        return None
    curves = {
        f"{what}, {row['calibrated_at']:%Y-%m-%d}": (row["pixel_value"], row["luminance"])
        for what, rows in (("models", sources[:3]), ("this recording", [showing]))
        for row in rows
    }
    figure = loop_figures.calibrations(curves)
    return album.add("monitors", figure, "Luminance of the pixel values of both monitors")


def _matches(result: dict[str, Any], album: Album) -> MatchView:
    """Describe the matches of a recording, given a row of `match_results`."""
    key = {name: result[name] for name in BestProximityCellMatch.primary_key}
    matches = match_truth(key)
    blobs = (CellMatchOracleCorrelation & key).to_arrays("match_correlations")
    correlations = np.asarray(blobs[0], np.float64) if len(blobs) else None
    statuses = matches.match_status.value_counts()
    return MatchView(
        method=_method(key),
        result=result,
        median_distance=float(matches.mean_distance.median()),
        votes=matches.n_votes.value_counts().sort_index(ascending=False).to_dict(),
        statuses={words: int(statuses.get(status, 0)) for status, words in STATUSES.items()},
        median_correlations=_medians(correlations),
        picture=_match_picture(matches, correlations, album),
    )


def _match_picture(
    matches: pd.DataFrame, correlations: NDArray[np.float64] | None, album: Album
) -> Picture | None:
    if matches.empty:
        return None
    right = [None if pd.isna(r) else bool(r) for r in matches.right]
    distance = matches.mean_distance.to_numpy(float)
    figure = loop_figures.match_quality(distance, right, correlations)
    return album.add("matches", figure, "Distances of matched cells and likeness of their answers")


def _medians(correlations: NDArray[np.float64] | None) -> tuple[float, float] | None:
    """Median correlations of matched cells and of all other pairs; None if none is known."""
    if correlations is None or not len(own := finite(np.diag(correlations))):
        return None
    others = finite(correlations[~np.eye(len(correlations), dtype=bool)])
    return float(np.median(own)), float(np.median(others)) if len(others) else np.nan


def _method(key: dict[str, Any]) -> str:
    params = MatchMethod.params(key).model_dump(mode="json")
    return ", ".join(f"{name} = {value}" for name, value in flat(params).items())


def _pools(shown: dj.expression.QueryExpression, album: Album) -> list[PoolView]:
    asked = ConfusionPlan & (LoopPool.Member & shown.proj()).proj()
    keys = (dj.U("n_pooled", "pool_hash", "match_hash") & asked * LoopPool).to_dicts()
    for key in keys:
        members = (LoopPool.Member * ClosedLoopScan & {"pool_hash": key["pool_hash"]}).to_dicts()
        key["members"] = sorted((m["day"], readout_key(m)) for m in members)
    keys.sort(key=lambda key: (key["n_pooled"], key["members"], key["match_hash"]))
    return [_pool(key, album) for key in keys]


def _pool(pool: dict[str, Any], album: Album) -> PoolView:
    key = {name: pool[name] for name in ("pool_hash", "match_hash")}
    scalings = _scalings(key)
    responses = _responses(scalings[0]) if scalings else {}
    return PoolView(
        scans=[name for _, name in pool["members"]],
        days=sorted({day for day, _ in pool["members"]}),
        method=_method(key),
        scalings=scalings,
        confusion=_confusions(scalings[0], responses, album) if responses else None,
        comparisons=_comparisons(scalings[0], responses, album) if len(responses) > 1 else [],
    )


def _scalings(key: dict[str, str]) -> list[ScalingView]:
    """Collect results and tests of a pool, the kinds in the order of `KINDS`."""
    place = list(KINDS).index
    results = closed_loop_results(key).to_dict("records")
    results.sort(key=lambda row: place(row["stimulus_kind"]))
    tests = kind_results(key).to_dict("records")
    tests.sort(key=lambda row: (place(row["stimulus_kind"]), place(row["other_kind"])))
    for row in results:
        row["name"] = KINDS[row["stimulus_kind"]]
    for row in tests:
        row |= {"first": KINDS[row["stimulus_kind"]], "other": KINDS[row["other_kind"]]}
    views = [
        ScalingView(
            scaling,
            *([r for r in rows if r["response_scaling"] == scaling] for rows in (results, tests)),
        )
        for scaling in SCALINGS
    ]
    return [view for view in views if view.results]


def _responses(view: ScalingView) -> dict[str, pd.DataFrame]:
    """Return the mean responses by kind, rows and columns all units that any kind has."""
    matrices = {}
    for row in view.results:
        key = {name: row[name] for name in ConfusionMatrix.primary_key}
        units = (ConfusionMatrix.Diagonal & key).to_arrays("unit_index", order_by="matrix_index")
        mean = np.asarray((ConfusionMatrix & key).fetch1("confusion_mean"), np.float64)
        matrices[row["stimulus_kind"]] = pd.DataFrame(mean, units, units)
    return aligned(matrices)


def aligned(matrices: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Give matrices of different units the same rows and columns, NaN where they have none."""
    units = np.unique(np.concatenate([matrix.index for matrix in matrices.values()]))
    return {name: matrix.reindex(units, columns=units) for name, matrix in matrices.items()}


def _confusions(view: ScalingView, responses: dict[str, pd.DataFrame], album: Album) -> Picture:
    titles = [
        f"{r['name']}\nn = {number(r['n_shown'])}, p = {p_value(r['permutation_p'])}"
        for r in view.results
    ]
    means = [responses[r["stimulus_kind"]].to_numpy() for r in view.results]
    figure = loop_figures.confusions(dict(zip(titles, means, strict=True)))
    alt = "Confusion matrices: rows are neurons, columns the images made for them"
    return album.add("confusion", figure, alt)


def _comparisons(
    view: ScalingView, responses: dict[str, pd.DataFrame], album: Album
) -> list[Picture]:
    """Draw the responses to the own images of several kinds, as means and against each other."""
    own = {kind: pd.Series(np.diag(of), of.index) for kind, of in responses.items()}
    named = {KINDS[kind]: series.to_numpy() for kind, series in own.items()}
    figure = loop_figures.population(named, SCALINGS[view.scaling])
    caption = "Means over the cells that were shown their images of all kinds, with 95 % intervals."
    alt = "Mean responses of neurons to their own images of each kind"
    pictures = [album.add("own-images", figure, alt, caption)]
    if view.tests:
        figure = loop_figures.pairs([_pairing(test, own) for test in view.tests])
        caption = (
            "Mean responses of every cell to its images of two kinds. Coloured: it responds more "
            "or less to that on the vertical axis than to the other "
            f"(Welch test over repeats, q < {SIGNIFICANT_Q}, Benjamini-Hochberg)."
        )
        alt = "Responses of neurons to their own images of two kinds against each other"
        pictures.append(album.add("own-image-pairs", figure, alt, caption))
    return pictures


def _pairing(test: dict[str, Any], own: dict[str, pd.Series]) -> Pairing:
    """Look up which units answer significantly more to one of two kinds."""
    key = {name: test[name] for name in DiagonalTest.primary_key}
    significant = DiagonalTest.Unit & key & f"welch_q < {SIGNIFICANT_Q}"
    units, difference = significant.to_arrays("unit_index", "difference", order_by="unit_index")
    first, other = own[test["stimulus_kind"]], own[test["other_kind"]]
    better = pd.Series(np.sign(difference.astype(float)), units).reindex(first.index, fill_value=0)
    names = test["first"], test["other"]
    return Pairing(names, first.to_numpy(), other.to_numpy(), better.to_numpy())
