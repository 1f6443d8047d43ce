"""Efficient codes as trained networks: resumption, untrained ones, families that do not mix."""

import pytest
import torch

from schemas import model
from schemas.dataset import TaskConfig, TrainingSet
from schemas.model import Ensemble, TrainedModel, TrainingCheckpoint, TrainingPlan, load_codes
from schemas.model_config import ModelConfig, SeedSet, TrainConfig
from science.coding import CodingConfig, CodingModels, CodingTask, CodingTrainee, CodingTraining
from science.navigation.training import PathIntegratorTraining

TASK = CodingTask(n_train=60, n_test=43)
TRAINING = CodingTraining(target_rates=(0.4, 1.1), n_epochs=4, batch_size=32, score_every=3)
CONFIG = CodingConfig(n_neurons=3, n_hidden=6)


@pytest.fixture(scope="module", autouse=True)
def _clean(tables):
    before = TrainingSet.keys()
    yield
    (TrainingSet - before).delete(prompt=False, part_integrity="cascade")


def plan_of(training=TRAINING, config=CONFIG, seeds=(3,)):
    plan = (
        TrainingSet.register_task(TaskConfig.register(TASK))
        | ModelConfig.register_task_driven("coding", config)
        | TrainConfig.register(training)
        | SeedSet.register(seeds)
    )
    TrainingPlan.insert1(plan, skip_duplicates=True)
    return plan


def populate(plan):
    TrainedModel.populate({a: plan[a] for a in ("training_set_hash", "train_hash")})
    return (TrainedModel & plan).fetch1()


def test_a_killed_training_goes_on_to_the_same_bits_and_curves(monkeypatch):
    class Killed(Exception):
        pass

    plan, save, saved = plan_of(), TrainingCheckpoint.save, []

    def save_and_die(*arguments, **named):
        save(*arguments, **named)
        saved.append(arguments)
        if len(saved) == 2:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(model, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(TrainingCheckpoint, "save", save_and_die)
        with pytest.raises(Killed):
            populate(plan)
    assert TrainingCheckpoint & plan and not TrainedModel & plan
    resumed, codes = populate(plan), (TrainedModel.Code & plan).to_dicts(order_by="code_index")
    assert (resumed["n_resumptions"], resumed["n_epochs"], resumed["best_epoch"]) == (1, 4, 4)
    assert not TrainingCheckpoint & plan
    (TrainedModel & plan).delete(prompt=False)
    whole, again = populate(plan), (TrainedModel.Code & plan).to_dicts(order_by="code_index")
    assert whole["n_resumptions"] == 0 and whole["weights_sha256"] == resumed["weights_sha256"]
    for one, other in zip(codes, again, strict=True):
        assert one["code_curves"].tobytes() == other["code_curves"].tobytes()
        assert one["test_distortion"] == other["test_distortion"]
    scores = (TrainedModel.Epoch & plan).to_arrays("epoch_score", order_by="epoch")
    assert [score is not None and score == score for score in scores] == [False, False, True, True]
    assert whole["validation_score"] == scores[-1]


def test_without_epochs_codes_are_as_they_were_drawn():
    plan = plan_of(TRAINING.model_copy(update={"n_epochs": 0}))
    row = populate(plan)
    assert (row["training_status"], row["n_epochs"], row["best_epoch"]) == ("ok", 0, 0)
    codes = (TrainedModel.Code & plan).to_dicts(order_by="code_index")
    assert [(c["train_distortion"], c["rate_multiplier"]) for c in codes] == [(None, 1.0)] * 2
    assert codes[0]["test_distortion"] == codes[1]["test_distortion"]
    stored, task = load_codes(row["weights_sha256"])
    drawn = CodingTrainee(CONFIG, TRAINING, TASK).build(torch.Generator().manual_seed(3))
    assert task == TASK and isinstance(stored, CodingModels)
    for name, values in stored.state_dict().items():
        assert torch.equal(values, drawn.state_dict()[name])


def test_an_ensemble_of_them_has_no_unit_scores():
    plan = plan_of()
    populate(plan)
    Ensemble.populate(plan)
    assert len(Ensemble.Member & plan) == 1 and not Ensemble.UnitScore & plan


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (lambda: plan_of(PathIntegratorTraining()), "register a plan with a CodingTraining"),
        (lambda: plan_of(TRAINING.model_copy(update={"target_rates": (2.5,)})), "2.5 nats is not"),
    ],
)
def test_what_cannot_be_trained_fails_with_one_message(plan, message):
    with pytest.raises(ValueError, match=message):
        populate(plan())


def test_the_parameters_come_back_as_they_were():
    for training in (TRAINING, CodingTraining(), CodingTraining(legacy=True, learning_rate=0.5)):
        assert TrainConfig.params(TrainConfig.register(training)) == training
    task = CodingTask.model_validate({"stimulus": {"type": "mixture"}, "n_train": 7})
    assert TaskConfig.params(TaskConfig.register(task)) == task
