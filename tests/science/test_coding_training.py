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
    train_sweep,
)
from science.coding.adam import AdamOfModels
from science.params import grid
from science.training import Training, train

CONFIG = CodingConfig(n_neurons=4, n_hidden=10)
TASK = CodingTask(n_train=70, n_test=50)
SHORT = CodingTraining(n_epochs=3, batch_size=32, dtype="float64", target_rate=0.8)
STIMULI = [
    GaussianStimulus(),
    LogNormalStimulus(),
    MixtureStimulus(),
    FrequencyStimulus(),
    SpeedStimulus(),
]


def generator(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("legacy", [False, True])
def test_together_each_is_as_if_alone(legacy):
    base = SHORT.model_copy(update={"legacy": legacy})
    trainings = grid(base, {"target_rate": [0.3, 1.6], "learning_rate": [None, 0.01]})
    trainings, seeds = [*trainings[1:], trainings[-1]], [1, 1, 1, 2]
    config = CONFIG.model_copy(update={"legacy": legacy})
    sweep = train_sweep(config, TASK, trainings, seeds)
    assert len({values.item() for values in sweep.distortion[-1]}) == 4
    for index, (training, seed) in enumerate(zip(trainings, seeds, strict=True)):
        alone = train_sweep(config, TASK, [training], [seed])
        for name in ("distortion", "rate", "beta", "loss"):
            values, expected = (getattr(s, name) for s in (sweep, alone))
            torch.testing.assert_close(values[:, [index]], expected, rtol=0, atol=1e-10)
        state = alone.models.state_dict()
        for name, values in sweep.models.member(index).state_dict().items():
            torch.testing.assert_close(values, state[name], rtol=0, atol=1e-10)
        # and as the loop that trains any family has it
        run = Training(CodingTrainee(config, training, TASK), seed)
        losses = [run.run_epoch().losses for _ in range(base.n_epochs)]
        for name in ("distortion", "rate"):
            found = [epoch[name] for epoch in losses]
            np.testing.assert_allclose(found, getattr(sweep, name)[:, index], rtol=0, atol=1e-10)


def test_beta_follows_the_rate_and_is_cut_at_0():
    low, high = (SHORT.model_copy(update={"target_rate": rate}) for rate in (0.05, 2.7))
    sweep = train_sweep(CONFIG, TASK, [low, high], [0, 0])
    targets = torch.tensor([0.05, 2.7], dtype=torch.float64)
    assert (sweep.beta[0] == 1).all()
    moved = (sweep.beta[:-1] + 0.1 * (sweep.rate[:-1] - targets)).clamp(min=0)
    torch.testing.assert_close(sweep.beta[1:], moved, rtol=0, atol=1e-12)
    quick = high.model_copy(update={"beta_rate": 10.0})
    assert (train_sweep(CONFIG, TASK, [quick], [0]).beta[1:] == 0).all()


def test_without_beta_the_prior_still_follows_the_rate_but_in_legacy():
    models = train_sweep(CONFIG, TASK, [SHORT], [0]).models
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


def test_a_run_that_was_killed_goes_on_to_the_same_result():
    trainee = CodingTrainee(CONFIG, SHORT, TASK)
    whole = train(trainee, 3)
    killed = Training(CodingTrainee(CONFIG, SHORT, TASK), 3)
    killed.run_epoch()
    killed.run_epoch()
    resumed = train(CodingTrainee(CONFIG, SHORT, TASK), 3, killed.checkpoint())
    assert resumed.curve == whole.curve and resumed.score == whole.score
    state = whole.network.state_dict()
    assert all(torch.equal(v, state[name]) for name, v in resumed.network.state_dict().items())


def test_score_is_the_loss_with_what_is_missing_from_the_target():
    trainee = CodingTrainee(CONFIG, SHORT, TASK)
    network = trainee.build(generator(0))
    x = TASK.stimulus.sample(50, generator(2**32 - 1))
    distortion, rate = (values.item() for values in evaluate(network, x))
    expected = -(distortion + rate + abs(rate - 0.8))
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
    at, above = (SHORT.model_copy(update={"target_rate": limit * f}) for f in (1, 1.001))
    CodingTrainee(config, at, TASK)
    with pytest.raises(ValueError, match=rf"not in \(0, {limit:.4g}\]"):
        CodingTrainee(config, above, TASK)
    with pytest.raises(ValueError, match=rf"not in \(0, {limit:.4g}\]"):
        train_sweep(config, TASK, [at, above], [0, 1])
    with pytest.raises(ValidationError, match="greater than 0"):
        CodingTraining(target_rate=0)


def test_sweeps_that_are_none_are_refused():
    with pytest.raises(ValueError, match="1 trainings and 2 seeds"):
        train_sweep(CONFIG, TASK, [SHORT], [0, 1])
    other = SHORT.model_copy(update={"n_epochs": 7})
    with pytest.raises(ValueError, match="only differ in target and learning rate"):
        train_sweep(CONFIG, TASK, [SHORT, other], [0, 1])
    large = CodingConfig(n_neurons=18)
    with pytest.raises(ValueError, match="GiB of memory"):
        train_sweep(large, TASK, [SHORT] * 200, list(range(200)))


def test_step_size_follows_the_target():
    sizes = [CodingTraining(target_rate=rate).step_size for rate in (0.2, 1.49, 1.5, 2.6)]
    assert sizes == [1e-4, 1e-4, 1e-3, 1e-3]
    assert CodingTraining(learning_rate=0.5).step_size == 0.5


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
