"""Path integrators: how they were trained, and how well they find their way."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from pipeline.report import navigation_figures
from pipeline.report.album import Album
from pipeline.report.error_curves import ErrorCurve, error_curves
from pipeline.report.navigation_page import IntegratorsView, IntegratorView
from pipeline.report.picture import Picture
from pipeline.report.style import COLOURS
from schemas.dataset import TaskConfig, TrainingSet
from schemas.model import TrainedModel, TrainingPlan, load_path_integrator
from schemas.model_config import ModelConfig, SeedSet, TrainConfig
from science.navigation import (
    NavigationTask,
    PathIntegratorConfig,
    PositionParams,
    draw_batch,
    random_source,
)
from science.navigation.training import HELD_OUT_SEED

TRAINING = ["training_set_hash", "model_hash", "train_hash"]
PLAN = [*TRAINING, "seed_set_hash"]
NETWORK = [*TRAINING, "seed"]
CELLS = {
    "rnn": "RNN",
    "vanilla_rnn": "VanillaRNN",
    "ugrnn": "UGRNN",
    "gru": "GRU",
    "lstm": "LSTM",
}
WALKS_SEED = HELD_OUT_SEED + 1
"""No network is trained or scored on these walks."""
N_WALKS = 8
N_COMPARED = len(COLOURS)  # in one panel


def network_names(plans: Sequence[Mapping[str, str]]) -> list[str]:
    """Return a short distinct name of the path integrators of every plan."""
    configs = {key: _config(key) for key in {plan["model_hash"] for plan in plans}}
    trainings = {key: _training(key) for key in {plan["train_hash"] for plan in plans}}
    names = []
    for plan in plans:
        config = configs[plan["model_hash"]]
        name = f"{CELLS[config.type]} {config.activation} {config.n_units}"
        untrained = trainings[plan["train_hash"]]["n_epochs"] == 0
        names.append(f"{name}, untrained" if untrained else name)
    return distinct(names, plans, PLAN)


def distinct(
    names: Sequence[str], keys: Sequence[Mapping[str, str]], attributes: Sequence[str]
) -> list[str]:
    """Add to names that occur twice the first digits of the hashes in which they differ."""
    names = list(names)
    for attribute in attributes:
        counts = Counter(names)
        values = {(name, key[attribute]) for name, key in zip(names, keys, strict=True)}
        variants = Counter(name for name, _ in values)
        names = [
            f"{name} {key[attribute][:6]}" if counts[name] > 1 and variants[name] > 1 else name
            for name, key in zip(names, keys, strict=True)
        ]
    return names


def _config(model_hash: str) -> PathIntegratorConfig:
    params = (ModelConfig & {"model_hash": model_hash}).fetch1("model_params")
    return PathIntegratorConfig.model_validate(params)


def _training(train_hash: str) -> dict[str, Any]:
    return (TrainConfig & {"train_hash": train_hash}).fetch1("train_params")


def integrators(album: Album) -> IntegratorsView | None:
    """Describe all path integrators that are trained; None without any."""
    trained = trained_networks()
    if trained.empty:
        return None
    views = [_view(of) for _, of in trained.groupby("label", sort=False)]
    order = [view.label for view in sorted(views, key=lambda v: np.nan_to_num(v.error, nan=np.inf))]
    return IntegratorsView(
        sorted(views, key=lambda view: order.index(view.label)),
        _curves(trained, order, album),
        _walks(trained, album),
    )


def trained_networks() -> pd.DataFrame:
    """Return a row per plan and seed, errors in cm, with the names of the plans."""
    networks = TrainedModel.proj("training_status", "best_epoch", "n_epochs", "weights_sha256")
    of_plans = TrainingPlan * SeedSet.Member * networks * TrainedModel.DecodingError
    own = (TrainingSet & "training_family = 'navigation'").proj()
    trained = pd.DataFrame((of_plans & own).to_dicts(order_by=[*PLAN, "seed"]))
    if trained.empty:
        return trained
    errors = ["decoding_error", "median_decoding_error", "standing_error", "centre_error"]
    trained[errors] *= 100
    plans = trained[PLAN].drop_duplicates()
    plans["label"] = network_names(plans.to_dict("records"))
    return trained.merge(plans, on=PLAN)


def _view(of: pd.DataFrame) -> IntegratorView:
    """Describe the networks of a plan, rows of `trained_networks`."""
    first, fine = of.iloc[0], of[of.training_status == "ok"]
    config = _config(first.model_hash)
    return IntegratorView(
        label=first.label,
        cell=CELLS[config.type],
        activation=config.activation,
        n_units=config.n_units,
        task=_task(first.training_set_hash),
        seeds=of.seed.tolist(),
        n_planned=int((SeedSet & {"seed_set_hash": first.seed_set_hash}).fetch1("n_seeds")),
        n_nonfinite=len(of) - len(fine),
        n_epochs=int(of.n_epochs.max()),
        error=fine.decoding_error.mean(),
        lowest=fine.decoding_error.min(),
        highest=fine.decoding_error.max(),
        median=fine.median_decoding_error.mean(),
        standing=fine.standing_error.mean(),
        centre=fine.centre_error.mean(),
    )


def _task(training_set_hash: str) -> str:
    task: NavigationTask = TaskConfig.params(TrainingSet & {"training_set_hash": training_set_hash})
    reports = "position" if isinstance(task.code, PositionParams) else "place cells"
    if reports == "place cells":
        reports = f"{task.code.n_cells} {reports}"
    parts = [
        f"{task.arena.width:g} \u00d7 {task.arena.height:g} m",
        reports,
        f"{task.n_steps} steps",
    ]
    if task.cues is not None:
        parts.append(f"{task.n_signals} cue{'s' if task.n_signals > 1 else ''}")
    if task.reward is not None:
        parts.append("reward zone" if task.n_signals else "reward zone, not signalled")
    return ", ".join(parts)


def _curves(trained: pd.DataFrame, order: Sequence[str], album: Album) -> Picture | None:
    """Draw the learning curves of the best networks of every task."""
    tasks: dict[str, list[ErrorCurve]] = {}
    n_left = 0
    for training_set, of in trained[trained.n_epochs > 0].groupby("training_set_hash"):
        names = [name for name in order if (of.label == name).any()]
        n_left += len(names) - len(names[:N_COMPARED])
        tasks[_task(training_set)] = tasks.get(_task(training_set), []) + [
            _curve(network)
            for name in names[:N_COMPARED]
            for network in of[of.label == name].itertuples()
        ]
    if not tasks:
        return None
    caption = (
        "Decoding error of the held-out walks after every epoch, a line per seed, on a logarithmic "
        "axis; a dot marks the epoch whose weights are kept. Standing still: the start is taken "
        "for every position; chance: the middle of the arena is." + left_out(n_left)
    )
    figure = error_curves(tasks, "decoding error (cm)")
    return album.add("decoding-curves", figure, "Decoding error over epochs", caption)


def left_out(n: int, what: str = "network") -> str:
    """Say that some are not shown, if so."""
    return f" {n} more {what}{'s are' if n > 1 else ' is'} not shown." if n else ""


def _curve(network: Any) -> ErrorCurve:
    """Return the training of a network, a row of `trained_networks`."""
    key = {name: getattr(network, name) for name in NETWORK}
    epochs, scores = (TrainedModel.Epoch & key).to_arrays("epoch", "epoch_score", order_by="epoch")
    return ErrorCurve(
        network.label,
        epochs.astype(np.int64),
        -100 * scores.astype(float),
        network.best_epoch,
        {"standing still": network.standing_error, "chance": network.centre_error},
    )


def _walks(trained: pd.DataFrame, album: Album) -> Picture | None:
    """Draw walks of the network with the lowest error."""
    fine = trained[trained.training_status == "ok"]
    if fine.empty:
        return None
    best = fine.loc[fine.decoding_error.idxmin()]
    network, task = load_path_integrator(best.weights_sha256)
    code = task.place_code()
    batch = draw_batch(task, code, N_WALKS, random_source(WALKS_SEED))
    with torch.no_grad():
        read = code.decode(network(batch.initial_code, batch.velocities, batch.signals))
    starts = batch.positions[:, :1] - batch.velocities[:, :1]
    read_starts = code.decode(batch.initial_code)[:, None]
    true = torch.cat([starts, batch.positions], 1).double().numpy()
    decoded = torch.cat([read_starts, read], 1).double().numpy()
    caption = (
        f"Walks that {best.label}, seed {best.seed}, was neither trained nor scored on, from the "
        f"dot on, and the positions decoded from its output; the network knows the start and "
        f"{task.n_steps} velocities. Above each: mean distance of decoded and true positions."
    )
    figure = navigation_figures.walks(true, decoded, task.arena)
    return album.add("walks", figure, "True and decoded paths of held-out walks", caption)
