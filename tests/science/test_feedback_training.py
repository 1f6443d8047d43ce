"""Training and testing of feedback-modulated networks (naumann22 3 and 4)."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from science.feedback import (
    Batch,
    ChordParams,
    DaleParams,
    DirectParams,
    FeedbackTask,
    FeedbackTrainee,
    FeedbackTraining,
    ModulationParams,
    SineParams,
    SpatialParams,
    UnmixingParams,
    contexts,
    feedback_network,
    from_published,
    pack,
    run_contexts,
    source_loss,
    sources,
    unpack,
)
from science.feedback.weights import PUBLISHED_NAMES
from science.training import Training, train

TASK = FeedbackTask(sources=SineParams(duration=0.02), n_steps=30)
SHORT = FeedbackTraining(n_epochs=3, batches_per_epoch=3, n_contexts=4, n_held_out=3)
CONFIG = SpatialParams(n_hidden=8, n_units=10, tau=5)
KINDS = [
    CONFIG,
    ModulationParams(n_hidden=8),
    UnmixingParams(n_hidden=8),
    DirectParams(n_hidden=8),
    DaleParams(n_hidden=8, n_units=10, n_lower=6, tau=5, learn_input=True),
]


def trainee(config=CONFIG, task=TASK, **changes):
    return FeedbackTrainee(config, SHORT.model_copy(update=changes), task)


def test_the_loss_is_summed_over_steps_and_averaged_over_the_rest():
    outputs, targets = torch.tensor([[[0.5, 3.0]], [[0.0, -2.0]]]), torch.zeros(1, 2)
    assert source_loss(outputs, targets).item() == (0.125 + 2.5 + 0 + 1.5) / 4
    repeated = source_loss(outputs.repeat(1, 7, 1), targets.expand(7, 2))
    assert repeated.item() == pytest.approx(7 * (0.125 + 2.5 + 0 + 1.5) / 4)


@pytest.fixture(scope="module")
def golden(shared):
    return np.load(shared / "golden" / "naumann" / "train_parity_modulation_chords.npz")


def weights(golden, prefix):
    return {
        own: torch.tensor(golden[f"{prefix}/{name}"])
        for name, own in PUBLISHED_NAMES.items()
        if f"{prefix}/{name}" in golden
    }


def close(found, expected, atol):
    for name, value in expected.items():
        torch.testing.assert_close(found[name].detach(), value, rtol=0, atol=atol)


@pytest.mark.shared
def test_training_is_that_of_the_original(golden, monkeypatch):
    """Losses and weights of five batches; in float64 losses differ by 1.2e-6 (naumann22 8)."""
    subject = FeedbackTrainee(ModulationParams(), FeedbackTraining(), FeedbackTask(noise=0.0))
    network = subject.build(torch.Generator().manual_seed(0))
    initial = weights(golden, "init") | weights(golden, "const")
    network.load_state_dict(initial, strict=False)
    optimizer, raw = subject.optimizer(network, 1e-3), []
    clip = torch.nn.utils.clip_grad_value_

    def spy(parameters, limit):
        raw.append({name: p.grad.clone() for name, p in network.named_parameters()})
        clip(parameters, limit)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_value_", spy)
    record, losses = sources(ChordParams()), []
    for mixing, starts in zip(golden["A"], golden["t_start"], strict=True):
        times = np.arange(1000)[:, None] + starts
        targets = torch.tensor(np.take_along_axis(record, times, 0))
        inputs = targets @ torch.tensor(mixing).mT
        losses.append(
            subject.step(network, optimizer, Batch(torch.tensor(mixing), targets, inputs))
        )
        if len(losses) == 1:
            close(dict(network.named_parameters()), weights(golden, "after1"), 1e-6)
    found = [terms["sources"] for terms in losses]
    np.testing.assert_allclose(found, golden["loss"], rtol=1.2e-6)
    for name, expected in weights(golden, "grad0").items():
        scale = expected.abs().max().item()
        torch.testing.assert_close(raw[0][name], expected, rtol=0, atol=2e-5 * scale)
    assert raw[0]["readout.bias"].abs().max().item() == pytest.approx(74, abs=0.5)
    close(dict(network.named_parameters()), weights(golden, "final"), 1e-4)


def test_gradients_are_clipped_and_the_cost_of_feedback_is_summed():
    subject = trainee(feedback_cost=0.5)
    network = subject.build(torch.Generator().manual_seed(0))
    batch = Batch(torch.zeros(0), torch.ones(30, 2) * 9, torch.ones(4, 30, 2))
    with torch.no_grad():
        feedback = network(batch.inputs, network.carried.state()).feedback
    terms = subject.step(network, torch.optim.SGD(network.parameters(), 0.1), batch)
    assert terms["feedback"] == pytest.approx(0.5 * feedback.abs().sum().item(), rel=1e-5)
    gradient = torch.cat([p.grad.flatten() for p in network.parameters()])
    assert gradient.abs().max() == 1


def test_batches_go_on_from_where_the_last_one_ended():
    subject = trainee()
    network = subject.build(torch.Generator().manual_seed(0))
    still = torch.optim.SGD(network.parameters(), 0.0)
    inputs = torch.randn(4, 60, 2, generator=torch.Generator().manual_seed(1))
    whole = network(inputs, network.carried.state())
    targets = torch.zeros(30, 2)
    found = [
        subject.step(network, still, Batch(inputs, targets, part))["sources"]
        for part in inputs.split(30, 1)
    ]
    expected = [source_loss(part, targets).item() for part in whole.outputs.split(30, 1)]
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("config", KINDS, ids=lambda config: config.type)
def test_every_kind_is_trained_and_stored(config):
    subject = trainee(config)
    result = train(subject, seed=1)
    assert result.status == "ok" and len(result.curve) == 3
    assert all(np.isfinite(record.train_loss) for record in result.curve)
    network, task = unpack(pack(result.network, TASK))
    assert task == TASK and not any(name.startswith("carried") for name in network.state_dict())
    assert subject.score(network) == result.score


def test_a_network_learns_one_constant_context():
    """Zero output costs about a quarter of the steps; 60 batches are enough to do far better."""
    task = FeedbackTask(contexts={"type": "constant"}, n_steps=50)
    subject = trainee(
        UnmixingParams(n_hidden=20), task, learning_rate=0.02, batches_per_epoch=20, n_contexts=8
    )
    zero = -subject.score(feedback_network(UnmixingParams(n_hidden=20)))
    assert -train(subject, seed=0).score < 0.3 * zero


def test_equal_seeds_equal_bits_and_killed_runs_go_on():
    result, again, other = (train(trainee(), seed=seed) for seed in (1, 1, 2))
    assert result.curve == again.curve != other.curve
    started = Training(trainee(), seed=1)
    started.run_epoch()
    resumed = train(trainee(), 1, started.checkpoint())
    assert resumed.curve == result.curve
    for name, value in result.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name])


def test_the_score_is_the_loss_of_contexts_that_never_change():
    one, two = trainee(), trainee(learning_rate=0.1)
    assert np.array_equal(one._held_out, two._held_out)
    network = one.build(torch.Generator().manual_seed(3))
    with torch.no_grad():
        for parameter in network.readout.parameters():
            parameter.zero_()
    record = torch.tensor(sources(TASK.sources)[np.arange(90) % 160])
    expected = F.smooth_l1_loss(record * 0, record, reduction="sum").item() / 2 / 3
    assert one.score(network) == pytest.approx(-expected, rel=1e-6) == two.score(network)


def test_runs_carry_over_and_go_round():
    """Three contexts in one piece, with a record that is shorter than they are."""
    network = feedback_network(CONFIG)
    network.initialize(torch.Generator().manual_seed(1))
    mixing = np.random.default_rng(0).uniform(size=(2, 8, 2, 2)).astype(np.float32)
    traces = run_contexts(network, TASK, mixing, np.random.default_rng(1))
    assert traces.targets.shape == (8, 30, 2) and traces.inputs.shape == (2, 8, 30, 2)
    record = sources(TASK.sources)
    np.testing.assert_array_equal(traces.targets.reshape(240, 2), record[np.arange(240) % 160])
    noise = traces.inputs - np.einsum("rnio,nto->rnti", mixing, traces.targets)
    assert noise.std() == pytest.approx(0.001, rel=0.1)
    with torch.no_grad():
        whole = network(torch.tensor(traces.inputs).flatten(1, 2))
    np.testing.assert_allclose(traces.outputs.reshape(2, 240, 2), whole.outputs, rtol=0, atol=1e-6)
    expected = source_loss(
        torch.tensor(traces.outputs[1, 5])[None], torch.tensor(traces.targets[5])
    )
    assert traces.loss[1, 5] == pytest.approx(expected.item(), rel=1e-6)
    read_out = traces.activity["z"] @ network.Wro.numpy().T
    np.testing.assert_allclose(read_out, traces.outputs, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("config", "name"), [(CONFIG, "m"), (KINDS[-1], "p")])
def test_frozen_feedback_stays_for_its_steps_from_its_context_on(config, name):
    network = feedback_network(config)
    mixing = np.random.default_rng(0).uniform(size=(1, 4, 2, 2)).astype(np.float32)
    arguments = (network, TASK, mixing)
    traces = run_contexts(*arguments, np.random.default_rng(1), freeze_from=2, n_frozen=11)
    free = run_contexts(*arguments, np.random.default_rng(1))
    values = traces.activity[name][0]
    np.testing.assert_array_equal(values[:2], free.activity[name][0, :2])
    for c in (2, 3):
        assert (values[c, :11] == values[c, 0]).all()
        np.testing.assert_allclose(values[c, 0], values[c - 1, -1], rtol=0, atol=2e-7)
        assert (np.abs(np.diff(values[c, 10:], axis=0)).max(1) > 0).all()
    changed = (np.diff(values[:2].reshape(60, -1), axis=0) != 0).any(1)
    assert changed.all() and traces.frozen.sum() == 22


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "kind", "loss"),
    [
        ("modulation_chords", ChordParams(), 2.56),
        ("spatial_chords", ChordParams(), 5.32),
        ("spatial_sines", SineParams(), 3.78),
    ],
)
def test_published_networks_solve_their_task(shared, name, kind, loss):
    """Mean over contexts without the first (naumann22 8.1); zero output costs 130 or 250."""
    arrays = np.load(shared / "golden" / "naumann" / f"weights_{name}.npz")
    task, network = FeedbackTask(sources=kind), from_published(arrays)
    rng = np.random.default_rng(0)
    mixing = contexts(32, task.contexts, (2, 2), rng).reshape(8, 4, 2, 2)
    traces = run_contexts(network, task, mixing, rng, with_activity=False)
    assert traces.loss[:, 1:].mean() == pytest.approx(loss, rel=0.4)


def test_bad_runs():
    network, rng = feedback_network(CONFIG), np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"expected \(runs, contexts, 2, 2\)"):
        run_contexts(network, TASK, np.zeros((3, 2, 2), np.float32), rng)
    with pytest.raises(ValueError, match="before it there is none"):
        run_contexts(network, TASK, np.zeros((1, 1, 2, 2), np.float32), rng, freeze_from=0)
