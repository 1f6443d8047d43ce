"""Frequency difference limens of listeners beside those that efficient codes predict."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from pipeline.report import limen_figures
from pipeline.report.album import Album
from pipeline.report.coding_page import LimensView
from pipeline.report.limen_figures import PredictedLimens
from pipeline.report.picture import Picture
from schemas.coding import CodeAnalysis
from schemas.coding_sweep import CodingSweep, RateDistortion
from schemas.dataset import TaskConfig, TrainingSet
from schemas.limens import HZ_PER_KHZ, LimenComparison, LimenStudy
from science.coding.limens import predicted_limens

Key = dict[str, Any]

KINDS = {"sampling": "Draw from the decoded law", "posterior": "Decoded mean"}
N_POINTS = 200


def limen_views(label: str, sweep: Key, album: Album) -> Iterator[LimensView]:
    """Describe the comparisons of a sweep with listeners.

    Parameters
    ----------
    label, sweep
        Name and key of the sweep.
    album : Album
        Takes the pictures.
    """
    for key in (LimenComparison & sweep).keys(order_by="KEY"):
        master = (LimenComparison & key).fetch1()
        rows = (LimenComparison.Target * CodingSweep.Target & key).to_dicts(
            order_by=["error_kind DESC", "target_index"]
        )
        yield LimensView(
            label=label,
            study=key["limen_study"],
            n_limens=master["n_limens"],
            n_listeners=(LimenStudy & key).fetch1("n_listeners"),
            rows=[
                _row("1 / \u03c0(f)", "classical", master),
                *(
                    _row(
                        f"{row['sweep_target_rate']:g} nats, {KINDS[row['error_kind']].lower()}",
                        "limen",
                        row,
                    )
                    for row in rows
                ),
            ],
            picture=_picture(label, key, master, rows, album),
        )


def _row(name: str, prefix: str, row: dict[str, Any]) -> dict[str, Any]:
    """Return what the table says of a prediction."""
    numbers = {
        column: np.nan if row[f"{prefix}_{column}"] is None else row[f"{prefix}_{column}"]
        for of in ("slope", "correlation")
        for column in (of, f"{of}_low", f"{of}_high")
    }
    return {"name": name, "factor": float(np.exp(row[f"{prefix}_log_error"]))} | numbers


def _picture(
    label: str, key: Key, master: dict[str, Any], rows: list[dict[str, Any]], album: Album
) -> Picture:
    limens = (LimenStudy.Limen & key).to_dicts(order_by="frequency_hz")
    listeners = {
        f"listener {listener}": np.array(
            [
                (row["frequency_hz"], row["limen_hz"])
                for row in limens
                if row["listener"] == listener
            ]
        ).T
        for listener in sorted({row["listener"] for row in limens})
    }
    heard = [row["frequency_hz"] for row in limens]
    frequencies = np.geomspace(min(heard), max(heard), N_POINTS)
    kilohertz = np.clip(frequencies, min(heard), max(heard)) / HZ_PER_KHZ
    density = TaskConfig.params(TrainingSet & key).stimulus.density(kilohertz)
    scales = {(row["target_index"], row["error_kind"]): row["limen_scale"] for row in rows}
    rates = {row["target_index"]: row["sweep_target_rate"] for row in rows}
    predictions = []
    for target, rate in rates.items():
        unscaled = _predicted(key | {"target_index": target}, kilohertz)
        scaled = {
            KINDS[kind]: HZ_PER_KHZ * scales[target, kind] * values
            for kind, values in unscaled.items()
        }
        predictions.append(PredictedLimens(rate, scaled))
    caption = (
        f"{label}: limens of the listeners of {key['limen_study']} and the roots of the squared "
        "errors of the codes of every target rate, each scaled by one factor to lie nearest to all "
        "listeners; dashed: the inverse of the prior, as codes of most information predict."
    )
    classical = master["classical_scale"] / density
    figure = limen_figures.limens(listeners, frequencies, predictions, classical)
    return album.add("limens", figure, "Frequency difference limens", caption)


def _predicted(key: Key, kilohertz: np.ndarray) -> dict[str, np.ndarray]:
    """Return limens in kHz up to a scale by kind of error, of all codes of a target rate."""
    points = RateDistortion.Point.proj("target_index") & key
    codes = CodeAnalysis.proj("stimulus_grid") * CodeAnalysis.Code.proj(
        *(f"{kind}_error" for kind in KINDS)
    )
    rows = (codes & points.proj()).to_dicts(order_by="KEY")
    return {
        kind: predicted_limens(
            kilohertz, rows[0]["stimulus_grid"], np.mean([row[f"{kind}_error"] for row in rows], 0)
        )
        for kind in KINDS
    }
