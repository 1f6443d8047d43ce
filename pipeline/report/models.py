"""Section 3: which models there are, how they were trained, and how well they predict."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.report.album import Album
from pipeline.report.architecture import architecture, family, tell_apart
from pipeline.report.fields import receptive_fields
from pipeline.report.model_figures import LearningCurve, learning_curves, prediction
from pipeline.report.page import ModelsView, ModelView, Picture
from pipeline.truth import WELL_PREDICTED
from schemas.model import Ensemble, ModelComparison, ModelGroup, TrainedModel
from schemas.model_config import ModelConfig, TrainConfig

Plan = tuple[str, ...]

TRAINING = ("model_hash", "train_hash")
PLAN = (*TRAINING, "seed_set_hash")
ROLES = {"cnn": "best nonlinear", "linear": "best linear"}
SCORES = {
    "validation": "ensemble_validation_corr",
    "test": "ensemble_test_corr",
    "test_avg": "ensemble_test_corr_avg",
    "cc_norm": "ensemble_test_cc_norm",
    "feve": "ensemble_test_feve",
    "oracle_fraction": "ensemble_test_oracle_fraction",
}
MEAN_INPUT = {"mean_input": "ensemble_mean_input_test_corr"}
NO_UNITS = pd.DataFrame(columns=[*SCORES, *MEAN_INPUT], dtype=float)
N_CURVES = 6
N_DISTRIBUTIONS = 3


@dataclass(frozen=True)
class Ranked:
    """An ensemble among the others of its training set.

    Attributes
    ----------
    label : str
    key : dict
    score : float
        Mean validation score of its members, which chooses the best of each role.
    best_of : str or None
        Role of which it is the best.
    units : DataFrame
        Scores of the units, columns of `SCORES` and `MEAN_INPUT`.
    """

    label: str
    key: dict[str, str]
    score: float
    best_of: str | None
    units: pd.DataFrame


def models(training_set: dict[str, str], album: Album) -> ModelsView | None:
    """Describe all trained networks and ensembles; None when nothing is trained yet."""
    trained = _trained(training_set)
    if trained.empty:
        return None
    ranking = _ranking(training_set, trained)
    # the best of each role, then the others from best to worst
    first = sorted(ranking, key=lambda e: (e.best_of is None, e.best_of or ""))
    resumptions = trained.n_resumptions
    return ModelsView(
        ensembles=_views(ranking),
        n_trained=len(trained),
        n_nonfinite=int((trained.training_status != "ok").sum()),
        n_resumed=int((resumptions > 0).sum()),
        n_resumptions=int(resumptions.sum()),
        scores=_scores(first, album),
        curves=_curves(trained, first, album),
        fields=receptive_fields(ranking[0].label, ranking[0].key, album) if ranking else None,
    )


def labels(training_set: dict[str, str]) -> list[tuple[str, dict[str, str]]]:
    """Return a short distinct name and the key of every ensemble of a training set."""
    return _named((Ensemble & training_set).keys(order_by="KEY"), PLAN)


def _named(
    keys: Sequence[dict[str, str]], attributes: Sequence[str]
) -> list[tuple[str, dict[str, str]]]:
    """Name keys by the family of their model and as many of these attributes as it takes."""
    rows = (ModelConfig & [{"model_hash": key["model_hash"]} for key in keys]).to_dicts()
    families = {row["model_hash"]: family(row) for row in rows}
    named = [(families[key["model_hash"]], key) for key in keys]
    named.sort(key=lambda pair: pair[0])  # CNN before linear
    for attribute in attributes:
        names = [name for name, _ in named]
        if len(set(names)) == len(names):
            break
        if len({key[attribute] for _, key in named}) > 1:
            named = [(f"{name} {key[attribute][:6]}", key) for name, key in named]
    return named


def _trained(training_set: dict[str, str]) -> pd.DataFrame:
    """Return all networks; those that did not stay finite have no validation score."""
    columns = ("training_status", "n_resumptions", "validation_score", "best_epoch")
    rows = (TrainedModel & training_set).proj(*columns).to_dicts(order_by="KEY")
    table = pd.DataFrame(rows, columns=[*TrainedModel.primary_key, *columns])
    score = table.validation_score.astype(float).where(table.training_status == "ok")
    return table.assign(validation_score=score)


def _ranking(training_set: dict[str, str], trained: pd.DataFrame) -> list[Ranked]:
    """Return all ensembles from the best to the worst."""
    members = (Ensemble.Member & training_set).proj().to_dicts(order_by="KEY")
    members = pd.DataFrame(members, columns=Ensemble.Member.primary_key)
    members = members.merge(trained, on=TrainedModel.primary_key)
    scores = members.groupby(list(PLAN)).validation_score.mean().to_dict()
    best = _best_of_roles(training_set, scores)
    units = _unit_scores(training_set)
    ranking = [
        Ranked(label, key, scores[plan], best.get(plan), units.get(plan, NO_UNITS))
        for label, key in labels(training_set)
        for plan in [_plan(key)]
        if plan in scores  # complete when the members were fetched
    ]
    return sorted(ranking, key=lambda e: -np.nan_to_num(e.score, nan=-np.inf))


def _best_of_roles(training_set: dict[str, str], scores: Mapping[Plan, float]) -> dict[Plan, str]:
    """Return the plan that `ModelGroup` chose for each role; while it has not, the best so far."""
    candidates = (ModelComparison.Candidate & training_set).to_dicts(order_by="KEY")
    chosen = (ModelGroup.Best & training_set).to_dicts(order_by="KEY")
    best = {}
    for role in ROLES:
        own = [_plan(row) for row in chosen if row["best_role"] == role]
        own = own or [_plan(row) for row in candidates if row["candidate_role"] == role]
        racing = [plan for plan in own if not math.isnan(scores.get(plan, math.nan))]
        if racing:
            best[max(racing, key=scores.__getitem__)] = role
    return best


def _unit_scores(training_set: dict[str, str]) -> dict[Plan, pd.DataFrame]:
    recorded = Ensemble.UnitScore.proj(**SCORES) & training_set
    both = recorded.join(Ensemble.MeanInputScore.proj(**MEAN_INPUT), left=True)
    columns = [*SCORES, *MEAN_INPUT]
    units = pd.DataFrame(both.to_dicts(order_by="KEY"), columns=[*PLAN, *columns])
    units = units.astype(dict.fromkeys(columns, float))
    return dict(tuple(units.groupby(list(PLAN))[columns]))


def _views(ranking: Sequence[Ranked]) -> list[ModelView]:
    """Describe ensembles; where architectures read the same, by what differs."""
    rows = [(ModelConfig & e.key).fetch1() for e in ranking]
    params = [
        row["model_params"] | {"training": (TrainConfig & e.key).fetch1("train_params")}
        for row, e in zip(rows, ranking, strict=True)
    ]
    described = tell_apart([architecture(row) for row in rows], params)
    return [_view(e, text) for e, text in zip(ranking, described, strict=True)]


def _view(ensemble: Ranked, described: str) -> ModelView:
    units, members = ensemble.units, (Ensemble.Member & ensemble.key).keys()
    return ModelView(
        label=ensemble.label,
        architecture=described,
        best_of=ROLES[ensemble.best_of] if ensemble.best_of else None,
        n_members=len(members),
        score=ensemble.score,
        medians=units.median().to_dict(),
        n_cc_norm=int(units.cc_norm.notna().sum()),
        n_well_predicted=int((units.validation > WELL_PREDICTED).sum()),
        n_units=len(units),
        seconds=_seconds([{a: m[a] for a in TrainedModel.primary_key} for m in members]),
    )


def _seconds(trained: Sequence[dict[str, Any]]) -> float | None:
    """Return how long trainings took together, None where it was not recorded."""
    durations = (TrainedModel().jobs.completed & trained).to_arrays("duration")
    return float(np.sum(durations)) if len(durations) else None


def _scores(ensembles: Sequence[Ranked], album: Album) -> Picture | None:
    if not ensembles:
        return None
    shown = ensembles[:N_DISTRIBUTIONS]
    figure = prediction(
        {e.label: e.units.validation.to_numpy() for e in shown},
        {e.label: e.units.cc_norm.to_numpy() for e in shown},
        WELL_PREDICTED,
    )
    caption = "Ensemble scores of all units; solid lines: medians, dashed: threshold."
    caption += _left_out(len(ensembles) - len(shown))
    return album.add("prediction", figure, "Distributions of prediction scores", caption)


def _curves(trained: pd.DataFrame, first: Sequence[Ranked], album: Album) -> Picture:
    """Draw the best of each role, then the others by validation score, up to `N_CURVES`."""
    networks = dict(tuple(trained.groupby(list(TRAINING))))
    names = {
        (key["model_hash"], key["train_hash"]): name
        for name, key in _named([dict(zip(TRAINING, n, strict=True)) for n in networks], TRAINING)
    }
    # as in the table, where there is an ensemble
    names |= {_plan(e.key)[:2]: e.label for e in first}
    scores = trained.groupby(list(TRAINING)).validation_score.mean()
    by_score = scores.sort_values(ascending=False, kind="stable").index
    best = [_plan(e.key)[:2] for e in first if e.best_of]
    shown = list(dict.fromkeys([*best, *by_score]))[:N_CURVES]
    figure = learning_curves(
        {names[n]: [_curve(network) for network in networks[n].itertuples()] for n in shown}
    )
    caption = (
        "Learning curves; a dot marks the epoch whose weights are kept; without a dot the initial "
        "weights are. Regularisers and Poisson term: means over the seeds."
    )
    caption += _left_out(len(networks) - len(shown))
    return album.add("learning-curves", figure, "Learning curves", caption)


def _curve(network: Any) -> LearningCurve:
    """Return the training of a network, a row of `_trained`."""
    key = {a: getattr(network, a) for a in TrainedModel.primary_key}
    columns = ("epoch", "epoch_score", "train_loss", "loss_terms")
    rows = (TrainedModel.Epoch & key).proj(*columns).to_dicts(order_by="epoch")
    epochs = pd.DataFrame(rows, columns=list(columns))
    terms = pd.DataFrame(epochs.loss_terms.to_list(), dtype=float)
    return LearningCurve(
        seed=network.seed,
        epochs=epochs.epoch.to_numpy(int),
        score=epochs.epoch_score.to_numpy(float),
        loss=epochs.train_loss.to_numpy(float),
        terms={str(name): values.to_numpy() for name, values in terms.items()},
        best_epoch=network.best_epoch,
    )


def _left_out(n: int) -> str:
    return f" {n} more model{'s are' if n > 1 else ' is'} not shown." if n else ""


def _plan(row: Mapping[str, Any]) -> Plan:
    return tuple(row[a] for a in PLAN)
