"""Training: early stopping, order of trials, determinism, recovery of a known population."""

import math
import re

import pytest
import torch
import torch.nn.functional as F

from science.metrics import correlation
from science.model import (
    AffineShifterConfig,
    GaussianReadoutConfig,
    ImageModelConfig,
    ImageNetwork,
    MLPModulatorConfig,
    MLPShifterConfig,
    PyramidReadoutConfig,
    StackedCoreConfig,
    TrainConfig,
    predict,
)
from science.model import training as training_module
from science.model.training import (
    ImageTrainee,
    poisson_loss,
    round_robin,
    run_epoch,
    validation_correlation,
)
from science.model.trials import TrialData
from science.training import Training, train

TINY = ImageModelConfig(
    core=StackedCoreConfig(hidden_channels=2, layers=2, input_kern=3, hidden_kern=3),
    readout=PyramidReadoutConfig(scale_n=1),
)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def trials_of(n, units, seed, shape=(8, 9)):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(n, 1, *shape, generator=generator)
    return TrialData(images, torch.rand(n, units, generator=generator))


def tiny_trials():
    return (
        {"a": trials_of(30, 2, seed=0), "b": trials_of(11, 3, seed=1)},
        {"a": trials_of(10, 2, seed=2), "b": trials_of(10, 3, seed=3)},
    )


def scripted(monkeypatch, objectives):
    """Make the validation objective a script; the k-th call returns its k-th entry."""
    calls = iter(objectives)
    monkeypatch.setattr(training_module, "validation_correlation", lambda *_: next(calls))


def run(seed=0, **parameters):
    defaults = {"batch_size": 10, "schedule": (0.01,), "max_epoch": 4}
    config = TrainConfig(**(defaults | parameters))
    return train(ImageTrainee(TINY, config, *tiny_trials()), seed=seed)


def test_every_trial_once_per_epoch_in_turns():
    batches = list(round_robin({"a": 25, "b": 7}, 5, torch.Generator().manual_seed(0)))
    assert [key for key, _ in batches] == ["a", "b", "a", "b", "a", "a", "a"]
    for key, n in (("a", 25), ("b", 7)):
        used = torch.cat([index for name, index in batches if name == key])
        assert used.sort().values.tolist() == list(range(n))
        assert used.tolist() != list(range(n))


def test_poisson_loss_is_that_of_torch():
    prediction, response = torch.rand(2, 6, 4, generator=torch.Generator().manual_seed(0))
    expected = F.poisson_nll_loss(prediction, response, log_input=False, eps=1e-12)
    torch.testing.assert_close(poisson_loss(prediction, response), expected)


def test_objective_pools_units_and_counts_the_dead_as_zero():
    network = ImageNetwork(TINY, (8, 9), {"a": 2, "b": 3})
    trials = tiny_trials()[1]
    trials["b"].responses[:, 1] = 0.1
    predicted = {key: predict(network, data.images, key) for key, data in trials.items()}
    scores = [correlation(predicted[key], trials[key].responses) for key in trials]
    assert math.isnan(scores[1][1])
    expected = (scores[0].sum() + scores[1][0] + scores[1][2]) / 5
    assert validation_correlation(network, trials) == pytest.approx(expected, abs=1e-6)


def test_equal_seeds_equal_bits_and_the_global_generator_rests():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, two, other = run(seed=1), run(seed=1), run(seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert one.curve == two.curve and one.curve != other.curve
    for name, value in one.network.state_dict().items():
        assert torch.equal(value, two.network.state_dict()[name])


def test_every_term_of_the_loss_is_in_the_curve():
    curve = run(max_epoch=3).curve
    assert [record.epoch for record in curve] == [1, 2, 3]
    for record in curve:
        regularizers = {"core_smoothness", "core_sparsity", "readout_features"}
        assert set(record.losses) == {"poisson", *regularizers}
        assert record.train_loss == pytest.approx(sum(record.losses.values()))


def test_patience_ends_a_stage_and_the_next_starts_from_the_best(monkeypatch):
    starts = []

    def fresh_adam(parameters, lr):
        parameters = list(parameters)
        starts.append([parameter.detach().clone() for parameter in parameters])
        return torch.optim.SGD(parameters, lr)

    monkeypatch.setattr(torch.optim, "Adam", fresh_adam)
    scripted(monkeypatch, [0.1, 0.2, 0.3, 0.3 + 1e-9, 0.2, 0.25, 0.4, 0.1, 0.1])
    result = run(schedule=(0.01, 0.001), patience=2, max_epoch=50)
    # Stage 1 improves at epochs 1 and 2 and ends after 4; stage 2 improves at 6, ends after 8.
    assert [record.learning_rate for record in result.curve] == [0.01] * 4 + [0.001] * 4
    assert (result.best_epoch, result.score, result.status) == (6, 0.4, "ok")

    scripted(monkeypatch, [0.1, 0.2, 0.3])
    best_of_first = run(schedule=(0.01,), max_epoch=2).network.parameters()
    assert all(torch.equal(a, b) for a, b in zip(starts[1], best_of_first, strict=True))


def test_the_cap_on_epochs_is_joint(monkeypatch):
    scripted(monkeypatch, [0.1 * k for k in range(20)])
    result = run(schedule=(0.01, 0.001), max_epoch=5)
    assert len(result.curve) == 5 and {r.learning_rate for r in result.curve} == {0.01}


def test_best_state_is_restored_in_evaluation_mode(monkeypatch):
    scripted(monkeypatch, [0.1, 0.9, 0.2, 0.2, 0.2])
    long = run(max_epoch=4)
    scripted(monkeypatch, [0.1, 0.9])
    short = run(max_epoch=1)
    assert long.best_epoch == 1 and not long.network.training
    for name, value in long.network.state_dict().items():
        assert torch.equal(value, short.network.state_dict()[name])


@pytest.mark.parametrize("readout", [PyramidReadoutConfig(scale_n=1), GaussianReadoutConfig()])
def test_a_killed_run_goes_on_to_the_same_bits(readout):
    config = TINY.model_copy(update={"readout": readout})
    schedule = TrainConfig(max_epoch=12, patience=1, batch_size=10, tolerance=0.02)
    arguments = ImageTrainee(config, schedule, *tiny_trials()), 4
    uninterrupted = train(*arguments)
    assert {record.learning_rate for record in uninterrupted.curve} == {0.005, 0.001}
    for n_epochs in range(1, len(uninterrupted.curve)):
        killed = Training(*arguments)
        for _ in range(n_epochs):
            killed.run_epoch()
        checkpoint = killed.checkpoint()
        resumed = Training(*arguments)
        resumed.resume(checkpoint)
        while not resumed.finished:
            resumed.run_epoch()
        result = resumed.result()
        assert (result.curve, result.n_resumptions) == (uninterrupted.curve, 1)
        for name, value in uninterrupted.network.state_dict().items():
            assert torch.equal(value, result.network.state_dict()[name])


def test_a_checkpoint_of_another_run_or_a_damaged_one_is_refused():
    trainee = ImageTrainee(TINY, TrainConfig(), *tiny_trials())
    training = Training(trainee, seed=0)
    data = training.checkpoint()
    with pytest.raises(ValueError, match="another configuration or seed"):
        Training(trainee, seed=1).resume(data)
    for damaged in (data[:-10], data[:-1] + bytes([data[-1] ^ 1])):
        with pytest.raises(ValueError, match=r"truncated|altered"):
            training.resume(damaged)


def test_without_improvement_the_initial_state_stays(monkeypatch):
    scripted(monkeypatch, [0.5] + [0.1] * 4)
    result = run()
    assert (result.best_epoch, result.score) == (0, 0.5)
    torch.testing.assert_close(
        result.network.readouts["a"].features, torch.full((2, 2, 4), 1 / 4), rtol=0, atol=0
    )


def test_a_loss_that_is_not_finite_stops_at_once():
    result = run(schedule=(1e30, 0.1), max_epoch=9)
    assert result.status == "nonfinite"
    assert len(result.curve) < 9 and {r.learning_rate for r in result.curve} == {1e30}
    assert all(value.isfinite().all() for value in result.network.state_dict().values())


def test_positions_stay_within_the_map():
    network = ImageNetwork(TINY, (8, 9), {"a": 2, "b": 3})
    optimizer = torch.optim.Adam(network.parameters(), lr=2.0)  # the first step leaves the box
    run_epoch(network, optimizer, tiny_trials()[0], 10, torch.Generator().manual_seed(0))
    for readout in network.readouts.values():
        assert readout.position.abs().max() <= 1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda t, v: v.pop("b"), "same recordings"),
        (lambda t, v: t.update(a=trials_of(5, 2, 0, shape=(9, 9))), "differ in shape"),
        (lambda t, v: t.update(a=trials_of(5, 4, 0)), "different numbers of units"),
        (lambda t, v: t["a"].responses.fill_(math.nan), "train trials of 'a' are not finite"),
        (lambda t, v: v.update(b=trials_of(0, 3, 0)), "0 images"),
    ],
)
def test_bad_trials_are_named(damage, message):
    tiers = tiny_trials()
    damage(*tiers)
    with pytest.raises(ValueError, match=message):
        ImageTrainee(TINY, TrainConfig(), *tiers)


@pytest.mark.parametrize(
    ("part", "column", "message"),
    [
        (
            {"shifter": AffineShifterConfig()},
            "pupil_center",
            "shifter needs pupil_center of (30, 2)",
        ),
        ({"modulator": MLPModulatorConfig()}, "behavior", "modulator needs behavior of (30, 3)"),
    ],
)
@pytest.mark.parametrize("value", [None, torch.zeros(30, 7), torch.zeros(29, 3)])
def test_eye_or_behavior_that_is_needed_and_missing_is_named(part, column, value, message):
    train_tier, validation = tiny_trials()
    trials = train_tier["a"]
    train_tier["a"] = TrialData(trials.images, trials.responses, **{column: value})
    config = TINY.model_copy(update=part)
    with pytest.raises(ValueError, match=re.escape(f"train trials of 'a': the {message}")):
        ImageTrainee(config, TrainConfig(), train_tier, validation)


def gabor_population(shape, n_units, seed):
    """Filters of linear-nonlinear units, float32, (n_units, h, w), norm 1, and their centres."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.linspace(-1, 1, shape[0])[:, None]
    x = torch.linspace(-1, 1, shape[1])[None, :]
    centre = torch.rand(n_units, 2, 1, 1, generator=generator) - 0.5
    angle = torch.arange(n_units).remainder(2)[:, None, None] * math.pi / 2
    dx, dy = x - centre[:, 0], y - centre[:, 1]
    carrier = torch.sin(7 * (dx * angle.cos() + dy * angle.sin()))
    filters = carrier * torch.exp(-(dx**2 + dy**2) / (2 * 0.25**2))
    return filters / filters.flatten(1).norm(dim=1)[:, None, None], centre[..., 0, 0]


def test_recovers_a_linear_nonlinear_population():
    shape, n = (16, 16), 8
    filters, centres = gabor_population(shape, n, seed=0)
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(1700, 1, *shape, generator=generator)
    rates = F.softplus(2 * torch.einsum("bhw,nhw->bn", images[:, 0], filters))
    counts = torch.poisson(rates, generator=generator)
    scaled = counts / counts[:1200].std(0)
    tiers = [{"a": TrialData(images[s], scaled[s])} for s in (slice(1200), slice(1200, 1500))]
    config = ImageModelConfig(
        core=StackedCoreConfig(
            hidden_channels=8, layers=2, input_kern=7, hidden_kern=3, gamma_input=1.0
        ),
        readout=PyramidReadoutConfig(scale_n=2, gamma_features=0.1),
    )
    schedule = TrainConfig(schedule=(0.01, 0.002), max_epoch=40, patience=4)
    result = train(ImageTrainee(config, schedule, *tiers), seed=0)
    assert result.status == "ok"
    test_corr = correlation(predict(result.network, images[1500:], "a"), rates[1500:])
    assert test_corr.mean() > 0.9
    # The map's corners lie 3 pixels inside the image's: from the unpadded first layer of 7.
    places = result.network.positions("a") * 9 / 15
    error = (places - centres).norm(dim=1)
    assert error.median() < 0.25


def tiers_of(images, rates, generator, **state):
    counts = torch.poisson(rates, generator=generator)
    trials = TrialData(images, counts / counts[:1200].std(0), **state)
    return [{"a": trials.take(torch.arange(*ends))} for ends in ((1200,), (1200, 1500))]


def population_behind_a_moving_eye(generator):
    """Receptive fields that follow the eye, up to 3 of 16 pixels in both directions."""
    filters, _ = gabor_population((16, 16), 8, seed=0)
    images = torch.randn(1500, 1, 16, 16, generator=generator)
    pupil_center = torch.randn(1500, 2, generator=generator)
    steps = (1.5 * pupil_center).round().clamp(-3, 3).int().tolist()
    pairs = zip(images, steps, strict=True)
    seen = torch.stack([image.roll((-dy, -dx), (1, 2)) for image, (dx, dy) in pairs])
    rates = F.softplus(3 * torch.einsum("bhw,nhw->bn", seen[:, 0], filters))
    return tiers_of(images, rates, generator, pupil_center=pupil_center)


def population_under_a_moving_gain(generator):
    """Units well above zero, whose rates the running speed changes as much as the image does."""
    filters, _ = gabor_population((16, 16), 8, seed=0)
    images = torch.randn(1500, 1, 16, 16, generator=generator)
    uniform = torch.rand(1500, 3, generator=generator)
    gain, behavior = 0.7 + 0.6 * uniform[:, 2:], uniform / uniform.std(0)
    rates = gain * 40 * (1 + 0.15 * torch.einsum("bhw,nhw->bn", images[:, 0], filters))
    return tiers_of(images, rates.clamp(min=0), generator, behavior=behavior)


@pytest.mark.parametrize(
    ("population", "part"),
    [
        (population_behind_a_moving_eye, {"shifter": AffineShifterConfig()}),
        (population_behind_a_moving_eye, {"shifter": MLPShifterConfig()}),
        (population_under_a_moving_gain, {"modulator": MLPModulatorConfig()}),
    ],
    ids=["affine shifter", "mlp shifter", "modulator"],
)
def test_what_moves_is_followed(population, part):
    tiers = population(torch.Generator().manual_seed(1))
    config = ImageModelConfig(
        core=StackedCoreConfig(hidden_channels=8, layers=1, input_kern=7, gamma_input=1.0),
        readout=GaussianReadoutConfig(gamma_features=0.05, init_sigma=0.2),
    )
    schedule = TrainConfig(schedule=(0.01,), max_epoch=12)
    off, on = (
        train(ImageTrainee(chosen, schedule, *tiers), seed=0).score
        for chosen in (config, config.model_copy(update=part))
    )
    assert on > off + 0.1
