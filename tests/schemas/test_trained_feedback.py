"""Feedback-modulated networks as rows: curves, losses of new contexts, resumption."""

import numpy as np
import pytest
from feedback_reference import simulate, source_signals

from schemas import model
from schemas.dataset import TaskConfig, TrainingSet
from schemas.model import (
    Ensemble,
    TrainedModel,
    TrainingCheckpoint,
    TrainingPlan,
    load_feedback_network,
)
from schemas.model_config import ModelConfig, SeedSet, TrainConfig
from science.feedback import (
    FeedbackTask,
    FeedbackTraining,
    SineParams,
    SpatialParams,
    contexts,
)
from science.feedback.training import HELD_OUT_SEED
from science.feedback.weights import PUBLISHED_NAMES

STEPS = 40
TASK = FeedbackTask(sources=SineParams(), n_steps=STEPS, noise=0.0)
TRAINING = FeedbackTraining(
    learning_rate=0.01, n_epochs=3, batches_per_epoch=4, n_contexts=4, n_held_out=5
)
CONFIG = SpatialParams(n_hidden=8, n_units=10, tau=4.0)
SEEDS = (3, 8)


def plan_of(config=CONFIG, training=TRAINING):
    plan = (
        TrainingSet.register_task(TaskConfig.register(TASK))
        | ModelConfig.register_task_driven("feedback", config)
        | TrainConfig.register(training)
        | SeedSet.register(SEEDS)
    )
    TrainingPlan.insert1(plan, skip_duplicates=True)
    return plan


@pytest.fixture(scope="module")
def trained(tables):
    plan = plan_of()
    own = {"training_set_hash": plan["training_set_hash"]}
    TrainedModel.populate(own)
    yield plan
    (TrainingSet & own).delete(prompt=False)


def test_curve_and_losses_are_rows(trained):
    rows = (TrainedModel * TrainedModel.SourceLoss & trained).to_dicts(order_by="seed")
    assert [row["seed"] for row in rows] == list(SEEDS)
    for row in rows:
        key = {name: row[name] for name in TrainedModel.primary_key}
        epochs = (TrainedModel.Epoch & key).to_dicts(order_by="epoch")
        assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3]
        assert set(epochs[0]["loss_terms"]) == {"sources"}
        assert row["validation_score"] == -row["source_loss"]
        if row["best_epoch"]:
            assert row["validation_score"] == max(epoch["epoch_score"] for epoch in epochs)
    Ensemble.populate(trained)
    assert len(Ensemble.Member & trained) == 2 and not Ensemble.UnitScore & trained


def test_the_stored_network_has_the_stored_loss_step_by_step(trained):
    row = (TrainedModel * TrainedModel.SourceLoss & trained & {"seed": SEEDS[0]}).fetch1()
    network, task = load_feedback_network(row["weights_sha256"])
    assert task == TASK and network.config == CONFIG
    state = network.state_dict()
    assert not any(name.startswith("carried") for name in state)
    weights = {name: state[own].numpy() for name, own in PUBLISHED_NAMES.items()} | {"tau": 4.0}
    rng = np.random.default_rng(HELD_OUT_SEED)
    mixing = contexts(5, TASK.contexts, (2, 2), rng)[None].astype(float)
    sources = source_signals("sines", 5 * STEPS)[None]
    _, outputs, *_ = simulate(weights, sources, mixing, noise=0.0)

    def loss(error):
        error = np.abs(error)
        return np.where(error < 1, error**2 / 2, error - 0.5).mean() * STEPS

    assert row["source_loss"] == pytest.approx(loss(sources - outputs), rel=1e-4)
    assert row["silent_loss"] == pytest.approx(loss(sources), rel=1e-5)


def test_a_cost_of_feedback_is_a_term_of_the_curve(trained):
    training = TRAINING.model_copy(update={"n_epochs": 1, "feedback_cost": 1e-3})
    plan = plan_of(training=training)
    TrainedModel.populate(plan, max_calls=1)
    (epoch,) = (TrainedModel.Epoch & plan).to_dicts()
    terms = epoch["loss_terms"]
    assert set(terms) == {"sources", "feedback"} and terms["feedback"] > 0
    assert epoch["train_loss"] == pytest.approx(sum(terms.values()))


def test_a_killed_training_goes_on_to_the_same_bits(trained, monkeypatch):
    class Killed(Exception):
        pass

    plan = plan_of(CONFIG.model_copy(update={"tau": 7.0}))
    key = {name: plan[name] for name in ("training_set_hash", "model_hash")}
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
    assert (resumed["n_resumptions"], resumed["n_epochs"]) == (1, 3)
    assert not TrainingCheckpoint & key
    (TrainedModel & key).delete(prompt=False)
    TrainedModel.populate(key, max_calls=1)
    assert (TrainedModel & key).fetch1("weights_sha256") == resumed["weights_sha256"]
