"""Sections 2 and 3: how reliable the units are, and how well the models predict them."""

from typing import Any

import numpy as np
import pandas as pd

from pipeline.configurations import flat
from pipeline.report import figures
from pipeline.report.album import Album
from pipeline.report.figures import LearningCurve
from pipeline.report.page import ModelsView, ModelView, OracleView, Picture
from pipeline.truth import WELL_PREDICTED
from schemas.model import Ensemble, TrainedModel
from schemas.model_config import ModelConfig
from schemas.reliability import Oracle, OracleMethod

PLAN = ("model_hash", "train_hash", "seed_set_hash")


def oracles(training_set: dict[str, str], album: Album) -> list[OracleView]:
    """Describe the reliability of the units, once per oracle method."""
    views = []
    for row in (Oracle & training_set).to_dicts(order_by="KEY"):
        key = {a: row[a] for a in Oracle.primary_key}
        names = ["oracle", "fev", "cc_max"]
        scores = (Oracle.UnitScores & key).to_dicts(order_by="unit_index")
        units = pd.DataFrame(scores, columns=[*names, "reliable"])
        values = units[names].astype(float)
        figure = figures.reliability(*(values[n] for n in names), units.reliable.to_numpy(bool))
        views.append(
            OracleView(
                method=_written(OracleMethod.params(key).model_dump(mode="json")),
                n_units=len(units),
                n_reliable=row["n_reliable"],
                n_repeated_images=row["n_repeated_images"],
                medians=values.median().to_dict(),
                picture=album.add("reliability", figure, "Reliability of the units"),
            )
        )
    return views


def models(training_set: dict[str, str], album: Album) -> ModelsView | None:
    """Describe all trained networks and ensembles; None when nothing is trained yet."""
    trained = (TrainedModel & training_set).proj("training_status")
    rows = trained.to_dicts(order_by="KEY")
    if not rows:
        return None
    scores = unit_scores(training_set)
    return ModelsView(
        ensembles=[_ensemble(key, label, scores[label]) for label, key in labels(training_set)],
        n_trained=len(rows),
        n_nonfinite=sum(row["training_status"] != "ok" for row in rows),
        curves=_curves(rows, album),
        scores=_scores(scores, album),
    )


def labels(training_set: dict[str, str]) -> list[tuple[str, dict[str, str]]]:
    """Return a short distinct name and the key of every ensemble of a training set."""
    keys = (Ensemble & training_set).keys(order_by="KEY")
    named = [(_family(key["model_hash"]), key) for key in keys]
    named.sort(key=lambda pair: pair[0])  # CNN before linear
    for attribute in PLAN:
        names = [name for name, _ in named]
        if len(set(names)) == len(names):
            break
        if len({key[attribute] for _, key in named}) > 1:
            named = [(f"{name} {key[attribute][:6]}", key) for name, key in named]
    return named


def unit_scores(training_set: dict[str, str]) -> dict[str, pd.DataFrame]:
    """Return by ensemble name the `validation` correlation and `cc_norm` of every unit."""
    columns = {"ensemble_validation_corr": "validation", "ensemble_test_cc_norm": "cc_norm"}
    scores = {}
    for label, key in labels(training_set):
        rows = (Ensemble.UnitScore & key).to_dicts(order_by="unit_index")
        scores[label] = pd.DataFrame(rows, columns=list(columns), dtype=float).rename(
            columns=columns
        )
    return scores


def seconds(table: Any, restriction: Any) -> float | None:
    """Return how long the jobs of some rows took together, None where it was not recorded."""
    durations = (table().jobs.completed & restriction).to_arrays("duration")
    return float(np.sum(durations)) if len(durations) else None


def _ensemble(key: dict[str, str], label: str, scores: pd.DataFrame) -> ModelView:
    members = (Ensemble.Member & key).proj().to_dicts()
    trained = [{a: m[a] for a in TrainedModel.primary_key} for m in members]
    return ModelView(
        label=label,
        architecture=_architecture((ModelConfig & key).fetch1("model_params")),
        n_members=len(members),
        median_validation=float(scores.validation.median()),
        median_cc_norm=float(scores.cc_norm.median()),
        n_cc_norm=int(scores.cc_norm.notna().sum()),
        n_well_predicted=int((scores.validation > WELL_PREDICTED).sum()),
        n_units=len(scores),
        seconds=seconds(TrainedModel, trained),
    )


def _curves(rows: list[dict[str, Any]], album: Album) -> Picture | None:
    epochs = (TrainedModel.Epoch * TrainedModel.proj("best_epoch")) & [
        {a: row[a] for a in TrainedModel.primary_key} for row in rows
    ]
    names = [*TrainedModel.primary_key, "epoch", "epoch_score", "train_loss", "best_epoch"]
    table = pd.DataFrame(epochs.proj(*names[5:]).to_dicts(order_by="KEY"), columns=names)
    if table.empty:
        return None
    curves: dict[str, list[LearningCurve]] = {}
    for (model, train, seed), rows_of in table.groupby(["model_hash", "train_hash", "seed"]):
        name = f"{_family(model)} {model[:6]}, training {train[:6]}"
        score, loss = (rows_of[c].to_numpy(float) for c in ("epoch_score", "train_loss"))
        curve = LearningCurve(
            seed, rows_of.epoch.to_numpy(), score, loss, rows_of.best_epoch.iloc[0]
        )
        curves.setdefault(name, []).append(curve)
    caption = "Learning curves; a dot marks the epoch whose weights are kept."
    return album.add("learning-curves", figures.learning_curves(curves), "Learning curves", caption)


def _scores(scores: dict[str, pd.DataFrame], album: Album) -> Picture | None:
    if not scores:
        return None
    figure = figures.prediction(
        {label: s.validation for label, s in scores.items()},
        {label: s.cc_norm for label, s in scores.items()},
        WELL_PREDICTED,
    )
    caption = "Ensemble scores of all units; solid lines: medians, dashed: threshold."
    return album.add("prediction", figure, "Distributions of prediction scores", caption)


def _family(model_hash: str) -> str:
    """Name a model by what it is."""
    row = (ModelConfig & {"model_hash": model_hash}).fetch1()
    if row["model_family"] != "image":
        return row["model_family"]
    return "linear" if row["model_params"]["core"].get("linear") else "CNN"


def _architecture(params: dict[str, Any]) -> str:
    """Describe an image model in a line; other families by their parameters."""
    core, readout = params.get("core"), params.get("readout")
    if not core or not readout or core.get("type") != "stacked":
        return _written(params)
    return (
        f"{core['layers']} layers \u00d7 {core['hidden_channels']} channels, "
        f"filters {core['input_kern']} px then {core['hidden_kern']} px"
        f"{', no nonlinearity inside' if core['linear'] else ''}; {readout['type']} readout"
    )


def _written(params: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in flat(params).items())
