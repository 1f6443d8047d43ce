"""Training of efficient codes: together and alone, to a target, killed and gone on."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from science.coding import (
    CodingConfig,
    CodingTask,
    CodingTrainee,
    CodingTraining,
    FrequencyStimulus,
    GaussianStimulus,
    LogNormalStimulus,
    MixtureStimulus,
    SpeedStimulus,
    evaluate,
)
from science.coding.adam import AdamOfModels
from science.training import Training, train

CONFIG = CodingConfig(n_neurons=4, n_hidden=10)
TASK = CodingTask(n_train=70, n_test=50)
TARGETS = (0.3, 0.8, 1.6)
SHORT = CodingTraining(n_epochs=3, batch_size=32, dtype="float64", target_rates=TARGETS)
STIMULI = [
    GaussianStimulus(),
    LogNormalStimulus(),
    MixtureStimulus(),
    FrequencyStimulus(),
    SpeedStimulus(),
]


def generator(seed):
    return torch.Generator().manual_seed(seed)


def trained(targets, seed=1, config=CONFIG, **changes):
    """Train codes of targets together: the models after the last epoch, with their history."""
    training = SHORT.model_copy(update={"target_rates": targets, **changes})
    return train(CodingTrainee(config, training, TASK), seed).network


@pytest.mark.parametrize("legacy", [False, True])
def test_together_each_is_as_if_alone(legacy):
    config = CONFIG.model_copy(update={"legacy": legacy})
    together = trained(TARGETS, config=config, legacy=legacy)
    assert len(set(together.history.values[0, -1].tolist())) == len(TARGETS)
    for index, target in enumerate(TARGETS):
        alone = trained((target,), config=config, legacy=legacy)
        curves = together.history.values[..., [index]]
        torch.testing.assert_close(curves, alone.history.values, rtol=0, atol=1e-10)
        state = alone.state_dict()
        for name, values in together.member(index).state_dict().items():
            torch.testing.assert_close(values, state[name], rtol=0, atol=1e-10)
    other = trained(TARGETS, seed=2, config=config, legacy=legacy).history.values
    assert (other[0, 0] != together.history.values[0, 0]).all()


def test_codes_of_a_seed_start_alike_from_its_sample():
    network = CodingTrainee(CONFIG, SHORT, TASK).build(generator(5))
    assert torch.equal(network.stimuli, TASK.stimulus.sample(70, generator(5)))
    for values in network.parameters():
        assert len(values) == len(TARGETS) and torch.equal(values, values[:1].expand_as(values))
    trainee = CodingTrainee(CONFIG, SHORT, TASK)
    assert trainee.optimizer(network, 1e-3).param_groups[0]["lr"].tolist() == [1e-4, 1e-4, 1e-3]


def test_beta_follows_the_rate_and_is_cut_at_0():
    _, rate, beta = trained((0.05, 2.7)).history.values
    targets = torch.tensor([0.05, 2.7], dtype=torch.float64)
    assert (beta[0] == 1).all()
    moved = (beta[:-1] + 0.1 * (rate[:-1] - targets)).clamp(min=0)
    torch.testing.assert_close(beta[1:], moved, rtol=0, atol=1e-12)
    assert (trained((2.7,), beta_rate=10.0).history.values[2, 1:] == 0).all()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_code_that_is_not_finite_stops_only_itself(value):
    trainee = CodingTrainee(CONFIG, SHORT, TASK)
    run, untouched = Training(trainee, 1), trained(TARGETS)
    with torch.no_grad():
        run.parts[0].decoder.output_bias[1] = value
    while not run.finished:
        run.run_epoch()
    result, others = run.result(), [0, 2]
    assert (result.status, result.best_epoch) == ("ok", SHORT.n_epochs)
    assert math.isfinite(result.score) and all(math.isfinite(e.train_loss) for e in result.curve)
    curves = result.network.history.values
    assert not curves[0, :, 1].isfinite().any()
    expected = untouched.history.values
    torch.testing.assert_close(curves[..., others], expected[..., others], rtol=0, atol=1e-10)
    distortion, _ = trainee.held_out(result.network)
    assert distortion.isfinite().tolist() == [True, False, True]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_without_any_finite_code_training_ends(value):
    run = Training(CodingTrainee(CONFIG, SHORT, TASK), 1)
    with torch.no_grad():
        run.parts[0].decoder.output_bias.fill_(value)
    run.run_epoch()
    assert run.finished and run.result().status == "nonfinite"


def test_without_beta_the_prior_still_follows_the_rate_but_in_legacy():
    models = trained((0.8,))
    x, none = torch.linspace(0.5, 8, 50, dtype=torch.float64)[None], torch.zeros(1)
    names = [name for name, _ in models.named_parameters()]

    def gradients(loss):
        parts = torch.autograd.grad(loss, list(models.parameters()), materialize_grads=True)
        return dict(zip(names, parts, strict=True))

    distortion, rate = (gradients(models(x)[index].mean()) for index in range(2))
    for legacy in (True, False):
        found = gradients(models.terms(x, none, legacy)[0])
        for name in names:
            of_prior = name.startswith("word_prior") and not legacy
            expected = (rate if of_prior else distortion)[name]
            torch.testing.assert_close(found[name], expected, rtol=0, atol=1e-12)
            assert legacy or expected.any()


def test_adam_of_models_is_adam():
    values = torch.randn(2, 3, 4, generator=generator(0), dtype=torch.float64)
    scalar = torch.randn(2, generator=generator(1), dtype=torch.float64)
    together = [torch.nn.Parameter(v.clone()) for v in (values, scalar)]
    apart = [[torch.nn.Parameter(v[k].clone()) for v in (values, scalar)] for k in range(2)]
    rates = torch.tensor([0.1, 0.003], dtype=torch.float64)
    ours = AdamOfModels(together, rates)
    theirs = [torch.optim.Adam(p, rate) for p, rate in zip(apart, rates.tolist(), strict=True)]

    def steps(optimizer, parameters):
        for _ in range(20):
            optimizer.zero_grad()
            sum(((p - 1) ** 4).sum() + p.sin().sum() for p in parameters).backward()
            optimizer.step()

    steps(ours, together)
    for optimizer, parameters in zip(theirs, apart, strict=True):
        steps(optimizer, parameters)
    for index, parameter in enumerate(together):
        expected = torch.stack([part[index] for part in apart])
        torch.testing.assert_close(parameter.data, expected.data, rtol=0, atol=1e-14)


@pytest.mark.parametrize("n_epochs", [1, 2])
def test_a_run_that_was_killed_goes_on_to_the_same_bits(n_epochs):
    whole = train(CodingTrainee(CONFIG, SHORT, TASK), 3)
    killed = Training(CodingTrainee(CONFIG, SHORT, TASK), 3)
    for _ in range(n_epochs):
        killed.run_epoch()
    resumed = train(CodingTrainee(CONFIG, SHORT, TASK), 3, killed.checkpoint())
    assert resumed.curve == whole.curve and resumed.score == whole.score
    state = whole.network.state_dict()
    assert "history.values" in state and state["history.n_epochs"] == SHORT.n_epochs
    assert all(torch.equal(v, state[name]) for name, v in resumed.network.state_dict().items())


def test_the_last_state_is_the_result_and_scored_at_the_last_epoch():
    training = SHORT.model_copy(update={"n_epochs": 5, "score_every": 2, "learning_rate": 3.0})
    trainee = CodingTrainee(CONFIG, training, TASK)
    result = train(trainee, 1)
    assert [record.score is not None for record in result.curve] == [False, True, False, True, True]
    scores = [record.score for record in result.curve if record.score is not None]
    # steps that are far too large: it was better before
    assert result.score == scores[-1] < max(scores) and result.best_epoch == 5
    assert trainee.score(result.network) == result.score


def test_without_epochs_codes_stay_as_they_were_drawn():
    trainee = CodingTrainee(CONFIG, SHORT.model_copy(update={"n_epochs": 0}), TASK)
    result = train(trainee, 1)
    assert (result.status, result.curve, result.best_epoch) == ("ok", [], 0)
    drawn = trainee.build(generator(1)).state_dict()
    assert all(torch.equal(v, drawn[name]) for name, v in result.network.state_dict().items())


def test_score_is_the_loss_with_what_is_missing_from_the_target():
    trainee = CodingTrainee(CONFIG, SHORT, TASK)
    network = trainee.build(generator(0))
    x = TASK.stimulus.sample(50, generator(2**32 - 1))
    distortion, rate = (values[0].item() for values in evaluate(network, x))
    expected = -np.mean([distortion + rate + abs(rate - target) for target in TARGETS])
    assert trainee.score(network) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        (CONFIG, 4 * math.log(2)),
        (
            CodingConfig(
                n_neurons=4, encoder="categorical", decoder="mixture", word_prior="categorical"
            ),
            math.log(4),
        ),
    ],
)
def test_targets_that_words_cannot_carry_are_refused(config, limit):
    at = SHORT.model_copy(update={"target_rates": (0.1, limit)})
    CodingTrainee(config, at, TASK)
    above = SHORT.model_copy(update={"target_rates": (0.1, limit * 1.001)})
    with pytest.raises(ValueError, match=rf"not in \(0, {limit:.4g}\]"):
        CodingTrainee(config, above, TASK)


@pytest.mark.parametrize(
    ("targets", "message"),
    [((0.0,), "greater than 0"), ((), "at least 1 item"), ((0.5, 1, 0.5), "occurs twice")],
)
def test_targets_that_are_none_are_refused(targets, message):
    with pytest.raises(ValidationError, match=message):
        CodingTraining(target_rates=targets)


def test_too_many_words_for_all_targets_together_are_refused():
    targets = tuple(np.linspace(0.1, 2, 200).tolist())
    trainee = CodingTrainee(CodingConfig(n_neurons=18), CodingTraining(target_rates=targets), TASK)
    with pytest.raises(ValueError, match=r"200 model\(s\) with 2\^18 words .* GiB of memory"):
        trainee.build(generator(0))


def test_step_sizes_follow_the_targets():
    targets = (0.2, 1.49, 1.5, 2.6)
    assert CodingTraining(target_rates=targets).step_sizes == (1e-4, 1e-4, 1e-3, 1e-3)
    assert CodingTraining(target_rates=targets, learning_rate=0.5).step_sizes == (0.5,) * 4


@pytest.mark.parametrize("stimulus", STIMULI)
def test_samples_have_the_density_variance_and_entropy_of_their_prior(stimulus):
    n = 40_000
    x = stimulus.sample(n, generator(0)).numpy()
    assert np.array_equal(x, stimulus.sample(n, generator(0)).numpy())
    assert not np.array_equal(x, stimulus.sample(n, generator(1)).numpy())
    surprise = -np.log(stimulus.density(x))
    assert abs(surprise.mean() - stimulus.entropy()) < 4 * surprise.std() / n**0.5
    squares = (x - x.mean()) ** 2
    assert abs(squares.mean() - stimulus.variance()) < 4 * squares.std() / n**0.5
    grid = np.linspace(x.min() - 1, x.max() + 20, 400_001)
    assert np.trapezoid(stimulus.density(grid), grid) == pytest.approx(1, abs=3e-3)


def test_mixture_must_be_one():
    with pytest.raises(ValidationError, match="not to 1"):
        MixtureStimulus(weights=(0.5, 0.6), means=(0.0, 1.0), sds=(1.0, 1.0))
    with pytest.raises(ValidationError, match="for each component"):
        MixtureStimulus(weights=(0.5, 0.5), means=(0.0,), sds=(1.0, 1.0))
    with pytest.raises(ValidationError, match="empty"):
        FrequencyStimulus(log10_min=2.0)
