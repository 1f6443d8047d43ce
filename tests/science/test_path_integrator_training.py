"""What path integrators are trained on, told, and scored by."""

import pytest
import torch

from science.navigation import (
    CueParams,
    KerasAdam,
    NavigationTask,
    PathIntegratorConfig,
    PlaceCellParams,
    Rectangle,
    RewardParams,
)
from science.navigation.training import (
    HELD_OUT_SEED,
    PathIntegratorTrainee,
    PathIntegratorTraining,
)
from science.training import train

BOX = Rectangle(width=0.8, height=0.6)
CELLS = PlaceCellParams(n_cells=25)
TASK = NavigationTask(arena=BOX, code=CELLS, n_steps=8)
CUED = TASK.model_copy(
    update={"cues": CueParams(places=(Rectangle(width=0.1, height=0.1),), probability=0.5)}
)
ZONE = Rectangle(min_x=0, max_x=0.2, min_y=0, max_y=0.1)
SHORT = PathIntegratorTraining(
    learning_rate=0.01, n_epochs=2, steps_per_epoch=5, n_walks=10, n_held_out=450
)
CONFIG = PathIntegratorConfig(n_units=7)


def rewarded(signalled):
    reward = RewardParams(zone=ZONE, n_approach=3, signalled=signalled)
    return NavigationTask.model_validate({**dict(TASK), "reward": reward})


def trainee(task=TASK, **changes):
    return PathIntegratorTrainee(CONFIG, SHORT.model_copy(update=changes), task)


@pytest.mark.parametrize(
    ("task", "n_signals"), [(TASK, 0), (CUED, 1), (rewarded(False), 0), (rewarded(True), 1)]
)
def test_networks_are_told_of_cues_and_of_rewards_only_if_asked(task, n_signals):
    result = train(trainee(task), seed=1)
    assert result.network.n_signals == n_signals == task.n_signals
    assert result.status == "ok" and len(result.curve) == 2


def test_what_a_network_is_told_are_the_rewards_themselves():
    held_out = trainee(rewarded(True))._held_out
    assert torch.equal(held_out.signals[..., 0], held_out.rewards) and held_out.rewards.any()
    cued = trainee(CUED)._held_out
    assert torch.equal(cued.signals, cued.cues)


class Knows(torch.nn.Module):
    """Says of every walk what it is given; batches must come in their order."""

    def __init__(self, answers):
        super().__init__()
        self.answers, self.sizes = list(answers), []

    def forward(self, start, velocities, *signals):
        self.sizes.append(len(start))
        return self.answers.pop(0)


def test_the_score_is_the_distance_on_held_out_walks():
    subject = trainee(NavigationTask(arena=BOX, code={"type": "position"}, n_steps=8))
    batch = subject._held_out
    standing = batch.initial_code[:, None].expand_as(batch.positions)
    aside = batch.positions + torch.tensor([0.03, 0.04])
    for answer, expected in ((batch.positions, 0.0), (aside, 0.05)):
        network = Knows(answer.split(200))
        found = subject.held_out(network)
        assert found.error == pytest.approx(expected, abs=1e-6)
        assert found.median == pytest.approx(expected, abs=1e-6)
        assert network.sizes == [200, 200, 50]
    found = subject.held_out(Knows(standing.split(200)))
    assert found.error == pytest.approx(found.standing_error, rel=1e-5)
    centre = torch.zeros_like(batch.positions)
    found = subject.held_out(Knows(centre.split(200)))
    assert found.error == pytest.approx(found.centre_error, rel=1e-5)
    assert subject.score(Knows(aside.split(200))) == pytest.approx(-0.05, abs=1e-6)


def test_held_out_walks_are_the_same_for_all_seeds_and_never_trained_on():
    one, two = trainee()._held_out, trainee(learning_rate=0.1)._held_out
    assert torch.equal(one.positions, two.positions)
    generator = torch.Generator().manual_seed(0)
    assert torch.randint(HELD_OUT_SEED, (1000,), generator=generator).max() < HELD_OUT_SEED


def test_every_step_sees_other_walks(monkeypatch):
    seen = []
    subject = trainee(steps_per_epoch=6)
    loss_terms = subject._loss_terms

    def spy(network, batch):
        seen.append(batch.positions.sum().item())
        return loss_terms(network, batch)

    monkeypatch.setattr(subject, "_loss_terms", spy)
    train(subject, seed=3)
    assert len(set(seen)) == len(seen) == 12


def test_equal_seeds_equal_bits():
    one, two, other = (train(trainee(), seed=seed) for seed in (1, 1, 2))
    for name, value in one.network.state_dict().items():
        assert torch.equal(value, two.network.state_dict()[name])
    assert one.curve == two.curve != other.curve


def test_legacy_steps_as_keras_and_decays_the_bias():
    network = trainee().build(torch.Generator().manual_seed(0))
    assert isinstance(trainee(legacy=True).optimizer(network, 0.1), KerasAdam)
    assert not isinstance(trainee().optimizer(network, 0.1), KerasAdam)
    batch = trainee()._held_out
    decay = {
        legacy: trainee(legacy=legacy, weight_decay=0.5)._loss_terms(network, batch)["weight_decay"]
        for legacy in (False, True)
    }
    assert decay[True] == 0  # the bias as it was drawn
    assert decay[False].item() == pytest.approx(
        0.5 * network.cell.recurrent.weight.square().sum().item()
    )
    assert set(trainee(weight_decay=0)._loss_terms(network, batch)) == {"place"}


def test_a_position_task_has_the_loss_of_positions():
    subject = trainee(NavigationTask(arena=BOX, code={"type": "position"}, n_steps=8))
    result = train(subject, seed=1)
    assert set(result.curve[0].losses) == {"position", "weight_decay"}
    assert result.network.n_places == 2


def test_the_network_that_a_run_ends_with_is_the_best_it_had():
    result = train(trainee(n_epochs=8, learning_rate=0.3), seed=1)
    scores = [record.score for record in result.curve]
    assert 1 <= result.best_epoch < 8
    assert result.score == max(scores) == scores[result.best_epoch - 1]
    assert trainee().score(result.network) == result.score
