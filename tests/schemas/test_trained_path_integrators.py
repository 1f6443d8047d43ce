"""Path integrators as rows: curves, decoding error, resumption, families that do not mix."""

import numpy as np
import pytest
import torch
from miniature import STUDY

from schemas import model
from schemas.dataset import TaskConfig, TrainingSet
from schemas.model import (
    Ensemble,
    TrainedModel,
    TrainingCheckpoint,
    TrainingPlan,
    load_path_integrator,
)
from schemas.model_config import ModelConfig, SeedSet, TrainConfig
from science.model.config import TrainConfig as ImageTraining
from science.navigation import (
    NavigationTask,
    PathIntegratorConfig,
    PlaceCellParams,
    Rectangle,
    draw_batch,
    random_source,
)
from science.navigation.training import PathIntegratorTraining

TASK = NavigationTask(
    arena=Rectangle(width=0.8, height=0.6), code=PlaceCellParams(n_cells=30), n_steps=6
)
TRAINING = PathIntegratorTraining(
    learning_rate=0.01, n_epochs=3, steps_per_epoch=10, n_walks=20, n_held_out=40
)
SEEDS = (3, 8)


def plan_of(config=None, training=TRAINING, task=TASK):
    config = config or PathIntegratorConfig(type="rnn", n_units=8)
    plan = (
        TrainingSet.register_task(TaskConfig.register(task))
        | ModelConfig.register_task_driven("navigation", config)
        | TrainConfig.register(training)
        | SeedSet.register(SEEDS)
    )
    TrainingPlan.insert1(plan, skip_duplicates=True)
    return plan


def forget(plan):
    (TrainingSet & {"training_set_hash": plan["training_set_hash"]}).delete(prompt=False)


@pytest.fixture(scope="module")
def trained(tables):
    plan = plan_of()
    TrainedModel.populate({"training_set_hash": plan["training_set_hash"]})
    yield plan
    forget(plan)


def test_curve_and_decoding_error_are_rows(trained):
    keys = (TrainedModel & trained).keys(order_by="seed")
    assert [key["seed"] for key in keys] == list(SEEDS)
    for key in keys:
        row = (TrainedModel * TrainedModel.DecodingError & key).fetch1()
        epochs = (TrainedModel.Epoch & key).to_dicts(order_by="epoch")
        assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3]
        assert set(epochs[0]["loss_terms"]) == {"place", "weight_decay"}
        assert row["decoding_error"] == pytest.approx(-row["validation_score"])
        if row["best_epoch"]:
            best = max(epoch["epoch_score"] for epoch in epochs)
            assert row["validation_score"] == best
        assert 0 < row["standing_error"] < row["centre_error"] < 0.5


def test_the_stored_network_has_the_stored_error(trained):
    key = (TrainedModel & trained).keys(order_by="seed")[0]
    sha, error = (TrainedModel * TrainedModel.DecodingError & key).fetch1(
        "weights_sha256", "decoding_error"
    )
    network, task = load_path_integrator(sha)
    assert task == TASK
    batch = draw_batch(task, code := task.place_code(), 40, random_source(2**32 - 1))
    with torch.no_grad():
        decoded = code.decode(network(batch.initial_code, batch.velocities))
    assert (decoded - batch.positions).norm(dim=-1).mean().item() == pytest.approx(error, rel=1e-5)


def test_an_ensemble_of_them_has_no_unit_scores(trained):
    Ensemble.populate({"training_set_hash": trained["training_set_hash"]})
    assert len(Ensemble.Member & trained) == 2 and not Ensemble.UnitScore & trained


def test_without_epochs_the_network_stays_untrained(tables):
    plan = plan_of(training=TRAINING.model_copy(update={"n_epochs": 0}))
    TrainedModel.populate(plan, max_calls=1)
    row = (TrainedModel & plan).fetch1()
    assert (row["training_status"], row["best_epoch"], row["n_epochs"]) == ("ok", 0, 0)
    (TrainingPlan & plan).delete(prompt=False)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_stopped_training_goes_on_to_the_same_bits(tables, monkeypatch, legacy):
    class Killed(Exception):
        pass

    training = TRAINING.model_copy(update={"n_epochs": 4, "legacy": legacy})
    plan = plan_of(PathIntegratorConfig(n_units=8), training)
    key = {"training_set_hash": plan["training_set_hash"], "train_hash": plan["train_hash"]}
    save = TrainingCheckpoint.save

    def save_and_die(*arguments, **named):
        save(*arguments, **named)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(model, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(TrainingCheckpoint, "save", save_and_die)
        with pytest.raises(Killed):
            TrainedModel.populate(key, max_calls=1)
    assert TrainingCheckpoint & key and not TrainedModel & key
    TrainedModel.populate(key, max_calls=1)
    resumed = (TrainedModel & key).fetch1()
    assert (resumed["n_resumptions"], resumed["n_epochs"]) == (1, 4)
    (TrainedModel & key).delete(prompt=False)
    TrainedModel.populate(key, max_calls=1)
    assert (TrainedModel & key).fetch1("weights_sha256") == resumed["weights_sha256"]
    (TrainingPlan & plan).delete(prompt=False)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (lambda: plan_of(training=ImageTraining()), "TrainConfig does not say how a network"),
        (
            lambda: plan_of() | ModelConfig.register_image(STUDY["models"]["cnn"]["config"]),
            "family 'image' cannot be trained on this training set",
        ),
    ],
)
def test_families_do_not_mix(tables, plan, message):
    key = plan()
    TrainingPlan.insert1(key, skip_duplicates=True)
    with pytest.raises(ValueError, match=message):
        TrainedModel.populate(key, max_calls=1)
    (TrainingPlan & key).delete(prompt=False)


def test_the_parameters_of_each_family_come_back_as_they_were(tables):
    for params in (TRAINING, PathIntegratorTraining(), ImageTraining(), ImageTraining(max_epoch=7)):
        assert TrainConfig.params(TrainConfig.register(params)) == params
    cued = {"cues": {"probability": 0.25, "places": ({"width": 0.1, "height": 0.1},)}}
    task = NavigationTask.model_validate(dict(TASK) | cued)
    assert TaskConfig.params(TaskConfig.register(task)) == task


def test_learning_is_seen_in_the_rows(tables):
    """A small box without place cells is learned in seconds: the error falls below standing."""
    task = NavigationTask(arena=Rectangle(width=1, height=1), code={"type": "position"}, n_steps=10)
    training = PathIntegratorTraining(
        learning_rate=3e-3, n_epochs=3, steps_per_epoch=150, n_walks=50, n_held_out=200
    )
    plan = plan_of(PathIntegratorConfig(type="rnn", n_units=16), training, task)
    TrainedModel.populate({"training_set_hash": plan["training_set_hash"]}, max_calls=1)
    row = (TrainedModel * TrainedModel.DecodingError & plan).fetch1()
    assert row["decoding_error"] < 0.5 * row["standing_error"] < 0.5 * row["centre_error"]
    errors = (TrainedModel.Epoch & plan).to_arrays("epoch_score", order_by="epoch")
    assert (np.diff(errors) > 0).all()
    forget(plan)
