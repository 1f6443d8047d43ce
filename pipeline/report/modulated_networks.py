"""Networks with feedback modulation: what they are called, and how they were trained."""

from typing import Any

import numpy as np
import pandas as pd

from pipeline.report.album import Album
from pipeline.report.error_curves import ErrorCurve, error_curves
from pipeline.report.feedback_page import NAN, ModulatedView
from pipeline.report.path_integrators import N_COMPARED, NETWORK, PLAN, distinct, left_out
from pipeline.report.picture import Picture
from schemas.dataset import TaskConfig, TrainingSet
from schemas.model import TrainedModel, TrainingPlan
from schemas.model_config import ModelConfig, SeedSet, TrainConfig
from science.feedback import FeedbackConfig, FeedbackTask, FeedbackTraining, feedback_config
from science.training import TrainedElsewhere

KINDS = {
    "direct": "LSTM alone",
    "unmixing": "unmixing",
    "modulation": "modulation",
    "spatial": "spatial",
    "dale": "Dale",
}


def modulated_networks() -> pd.DataFrame:
    """Return a row per plan and seed with names of the plans, from the best plan to the worst."""
    networks = TrainedModel.proj("training_status", "best_epoch", "n_epochs", "weights_sha256")
    of_plans = TrainingPlan * SeedSet.Member * networks * TrainedModel.SourceLoss
    trained = pd.DataFrame(of_plans.to_dicts(order_by=[*PLAN, "seed"]))
    if trained.empty:
        return trained
    trained["relative_loss"] = trained.source_loss / trained.silent_loss
    trained.loc[trained.training_status != "ok", "relative_loss"] = np.inf
    best = trained.groupby(PLAN, sort=False).relative_loss.min().sort_values(kind="stable")
    plans = best.index.to_frame(index=False)
    plans[["kind", "sources", "origin"]] = [_description(key) for key in plans.to_dict("records")]
    keys = plans.to_dict("records")
    plans["label"] = distinct([_name(key) for key in keys], keys, PLAN)
    return plans.merge(trained, on=PLAN)


def _description(plan: dict[str, str]) -> tuple[str, str, str]:
    """Return the kind of the networks of a plan, of their sources, and of what trained them."""
    kind = KINDS[config_of(plan["model_hash"]).type]
    training, origin = _training(plan["train_hash"]), ""
    if isinstance(training, TrainedElsewhere):
        origin = "published"
    elif not training.n_epochs:
        origin = "untrained"
    return kind, task_of(plan["training_set_hash"]).sources.type, origin


def _name(plan: dict[str, str]) -> str:
    """Return a short name of the networks of a plan, which another plan may have, too."""
    config, words = config_of(plan["model_hash"]), [plan["kind"]]
    if tau := getattr(config, "tau", None):
        words.append(f"\u03c4 {tau:g}")
    if (width := getattr(config, "width", None)) is not None:
        words.append(f"width {width:g}")
    parts = [" ".join(words), plan["sources"], plan["origin"]]
    return ", ".join(part for part in parts if part)


def config_of(model_hash: str) -> FeedbackConfig:
    """Return an architecture."""
    return feedback_config((ModelConfig & {"model_hash": model_hash}).fetch1("model_params"))


def task_of(training_set_hash: str) -> FeedbackTask:
    """Return the task of a training set."""
    return TaskConfig.params(TrainingSet & {"training_set_hash": training_set_hash})


def _training(train_hash: str) -> FeedbackTraining | TrainedElsewhere:
    return TrainConfig.params({"train_hash": train_hash})


def best_seeds(trained: pd.DataFrame) -> pd.DataFrame:
    """Return the row of the best seed of every plan that has one, in the order of the plans."""
    fine = trained[trained.training_status == "ok"]
    return fine.sort_values("relative_loss", kind="stable").drop_duplicates(PLAN)


def plan_view(of: pd.DataFrame, tested: pd.DataFrame) -> ModulatedView:
    """Describe the networks of a plan, rows of `modulated_networks`.

    Parameters
    ----------
    of : DataFrame
        Of the plan.
    tested : DataFrame
        Their test, a row per seed and population with `clarity_mean`, `decoding_median` and
        `deviation_end`; may be empty.
    """
    first, fine = of.iloc[0], of[of.training_status == "ok"]
    config, training = config_of(first.model_hash), _training(first.train_hash)
    by_population = tested.groupby("population")
    return ModulatedView(
        label=first.label,
        kind=first.kind,
        task=task_words(task_of(first.training_set_hash)),
        tau=getattr(config, "tau", NAN),
        width=getattr(config, "width", NAN),
        seeds=of.seed.tolist(),
        n_planned=int((SeedSet & {"seed_set_hash": first.seed_set_hash}).fetch1("n_seeds")),
        n_nonfinite=len(of) - len(fine),
        n_batches=int(of.n_epochs.max()) * getattr(training, "batches_per_epoch", 0),
        published=training.source if isinstance(training, TrainedElsewhere) else None,
        loss=fine.source_loss.mean(),
        lowest=fine.source_loss.min(),
        highest=fine.source_loss.max(),
        silent=of.silent_loss.mean(),
        clarity=by_population.clarity_mean.mean().to_dict(),
        decoding=by_population.decoding_median.mean().to_dict(),
        deviation=tested.deviation_end.mean(),
    )


def task_words(task: FeedbackTask) -> str:
    """Say what is mixed, for how long, and with how much noise."""
    n_sources = task.record.shape[1]
    return f"{n_sources} {task.sources.type}, {task.n_steps} steps, noise {task.noise:g}"


def loss_curves(trained: pd.DataFrame, album: Album) -> Picture | None:
    """Draw the learning curves of the best networks of every task."""
    learned = trained[trained.n_epochs > 0]
    tasks: dict[str, list[ErrorCurve]] = {}
    n_left = 0
    for training_set, of in learned.groupby("training_set_hash", sort=False):
        names = list(of.label.unique())
        n_left += len(names) - len(names[:N_COMPARED])
        words = task_words(task_of(training_set))
        rows = of[of.label.isin(names[:N_COMPARED])].itertuples()
        tasks[words] = tasks.get(words, []) + [_curve(row) for row in rows]
    if not tasks:
        return None
    caption = (
        "Loss in the held-out contexts after every epoch, a line per seed: smooth L1 distance of "
        "outputs and sources, sum over the steps of a context. A dot marks the epoch whose weights "
        "are kept." + left_out(n_left)
    )
    figure = error_curves(tasks, "loss per context")
    return album.add("source-losses", figure, "Loss over epochs", caption)


def _curve(network: Any) -> ErrorCurve:
    """Return the training of a network, a row of `modulated_networks`."""
    key = {name: getattr(network, name) for name in NETWORK}
    epochs, scores = (TrainedModel.Epoch & key).to_arrays("epoch", "epoch_score", order_by="epoch")
    return ErrorCurve(
        network.label,
        epochs.astype(np.int64),
        -scores.astype(float),
        network.best_epoch,
        {"silent outputs": network.silent_loss},
    )
