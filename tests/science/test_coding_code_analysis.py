"""The whole analysis of codes against sums over all words, written down one by one."""

import math

import numpy as np
import pytest
import torch
from coding_reference import Code
from scipy import stats

from science.coding import (
    CodingConfig,
    CodingModels,
    CodingTask,
    FrequencyStimulus,
    GaussianStimulus,
    LogNormalStimulus,
)
from science.coding.analysis import StimulusSample, analyse_codes
from science.coding.analysis_params import CodeAnalysisParams
from science.coding.exponents import fit_power_law
from science.coding.power_laws import moving_average
from science.coding.sweep_laws import RELATIONS, CodeProfiles, code_power_laws
from science.coding.tuning import BellTuning

PARAMS = CodeAnalysisParams(n_stimuli=40, window=5, n_grid=7, seed=3)
SMALL = {"n_neurons": 3, "n_hidden": 5}
CASES = [
    (CodingConfig(**SMALL), GaussianStimulus()),
    (CodingConfig(n_neurons=4, n_hidden=5, law="lognormal"), LogNormalStimulus()),
    (CodingConfig(**SMALL, encoder="log"), LogNormalStimulus()),
    (CodingConfig(**SMALL, encoder="mixed", decoder="separate"), FrequencyStimulus()),
    (CodingConfig(**SMALL, word_prior="bernoulli", legacy=True), GaussianStimulus()),
    (CodingConfig(**SMALL, word_prior="vamp"), GaussianStimulus()),
]


def drawn(config, stimulus, n_models=2):
    """Models away from where they start, so that nothing cancels."""
    models = CodingModels(config, n_models, torch.float64)
    seeds = [torch.Generator().manual_seed(k) for k in range(n_models)]
    x = torch.stack([stimulus.sample(60, generator) for generator in seeds])
    models.initialize(x, seeds)
    with torch.no_grad():
        for parameter in models.parameters():
            noise = torch.randn(parameter.shape, generator=seeds[0], dtype=torch.float64)
            parameter += 0.1 * noise * parameter.abs()
    return models


@pytest.mark.parametrize(("config", "stimulus"), CASES)
def test_everything_is_the_sum_over_words_one_by_one(config, stimulus):
    models = drawn(config, stimulus)
    found = analyse_codes(models, CodingTask(stimulus=stimulus), PARAMS)
    x = np.sort(stimulus.sample(40, torch.Generator().manual_seed(3)).numpy())
    entropy = -np.log(stimulus.density(x)).mean()
    for k in range(2):
        code = Code(models, k)
        rows = [code.at(value) for value in x.tolist()]
        of = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        marginal = np.mean([code.words_given(value) for value in x.tolist()], 0)
        expected = {
            "distortion": of["distortion"].mean(),
            "excess": of["distortion"].mean() + found.rate[k] - entropy,
            "divergence": (np.log(stimulus.density(x)) - np.log(of["generated"])).mean(),
            "prior_entropy": -sum(q * math.log(q) for q in code.prior),
            "marginal_entropy": -(marginal * np.log(marginal)).sum(),
            "conditional_entropy": of["entropy"].mean(),
            "information": -(marginal * np.log(marginal)).sum() - of["entropy"].mean(),
            "posterior_mse": of["posterior"].mean(),
            "sampling_mse": of["sampling"].mean(),
        }
        for name, value in expected.items():
            assert getattr(found, name)[k] == pytest.approx(value, rel=1e-9, abs=1e-12), name
        if config.word_prior == "vamp":  # whose rate is a bound
            assert found.rate[k] > of["rate"].mean()
        else:
            assert found.rate[k] == pytest.approx(of["rate"].mean(), rel=1e-9)
            assert found.excess[k] >= found.divergence[k]
        smoothed = [of["posterior"][i : i + 5].mean() for i in range(36)]
        np.testing.assert_allclose(found.smoothed_error[k], smoothed, rtol=1e-9)
        check_curves(found.curves, k, code, x)
        check_neurons(found.neurons, k, code, models, stimulus)


def check_curves(curves, k, code, x):
    grid = np.unique(x[np.linspace(0, 39, 7).round().astype(int)])
    rows = [code.at(value) for value in grid.tolist()]
    names = {"posterior_error": "posterior", "sampling_error": "sampling", "bias": "bias"}
    for name, key in (names | {"generated": "generated"}).items():
        expected = [row[key] for row in rows]
        np.testing.assert_allclose(getattr(curves, name)[k], expected, rtol=1e-9, atol=1e-12)
    for i, value in enumerate(grid.tolist()):
        h = 1e-5 * abs(value)
        low, high = code.words_given(value - h), code.words_given(value + h)
        slopes = [(b - a) / (2 * h) for a, b in zip(low, high, strict=True)]
        fisher = sum(s * s / p for s, p in zip(slopes, code.words_given(value), strict=True))
        assert curves.fisher[k, i] == pytest.approx(fisher, rel=1e-5)
        bias = (code.at(value + h)["bias"] - code.at(value - h)["bias"]) / (2 * h)
        bound = rows[i]["bias"] ** 2 + (1 + bias) ** 2 / fisher
        assert curves.bound[k, i] == pytest.approx(bound, rel=1e-4)
        assert curves.posterior_error[k, i] >= curves.bound[k, i] * (1 - 1e-9)


def check_neurons(neurons, k, code, models, stimulus):
    n = len(code.c)
    preferred = neurons.preferred[k]
    assert (np.diff(preferred) >= 0).all() and sorted(neurons.index[k]) == list(range(n))
    for rank, index in enumerate(neurons.index[k]):
        spikes = [
            code.spikes(value)[index] for value in preferred[rank] * np.array([0.99, 1, 1.01])
        ]
        assert spikes[1] == max(spikes) == pytest.approx(neurons.peaks[k, rank])
        assert neurons.centers[k, rank] == code.c[index]
        assert neurons.amplitudes[k, rank] == pytest.approx(code.a[index])
        assert neurons.peaks[k, rank] == pytest.approx(code.a[index] / (1 + code.a[index]))
        slope = code.share + (0 if code.share == 1 else (1 - code.share) / preferred[rank])
        assert neurons.widths[k, rank] == pytest.approx(code.w[index])
        assert neurons.stimulus_widths[k, rank] == pytest.approx(code.w[index] / slope)
        assert neurons.error[k, rank] == pytest.approx(code.at(preferred[rank])["posterior"])
        assert neurons.density[k, rank] == stimulus.density(preferred[rank])
        prior = models.word_prior
        if neurons.biases is not None:
            assert neurons.biases[k, rank] == prior.bias[k, index].item()
        if neurons.couplings is not None:
            row = neurons.couplings[k, rank]
            expected = prior.couplings()[k, index, neurons.index[k].copy()].tolist()
            assert row.tolist() == expected
    known = {"ising": (1, 1), "bernoulli": (1, 0), "vamp": (0, 0)}[models.config.word_prior]
    assert ((neurons.biases is not None), (neurons.couplings is not None)) == known


def test_codes_together_and_in_blocks_are_each_as_if_alone(monkeypatch):
    config, stimulus = CASES[0]
    models, task = drawn(config, stimulus, 3), CodingTask(stimulus=stimulus)
    together = analyse_codes(models, task, PARAMS)
    monkeypatch.setattr("science.blocks.BLOCK_VALUES", 50)
    for k in range(3):
        alone = analyse_codes(models.member(k), task, PARAMS)
        for name in (
            "distortion",
            "divergence",
            "marginal_entropy",
            "smoothed_error",
            "mean_width",
        ):
            expected = getattr(alone, name)[0]
            np.testing.assert_allclose(getattr(together, name)[k], expected, rtol=1e-10)
        np.testing.assert_allclose(together.curves.bound[k], alone.curves.bound[0], rtol=1e-10)


def test_single_precision_codes_are_analysed_in_double_and_stay_as_they_were():
    config, stimulus = CASES[0]
    models = drawn(config, stimulus).float()
    found = analyse_codes(models, CodingTask(stimulus=stimulus), PARAMS)
    assert found.distortion.dtype == np.float64
    assert next(models.parameters()).dtype == torch.float32
    doubled = analyse_codes(models.double(), CodingTask(stimulus=stimulus), PARAMS)
    assert np.array_equal(found.distortion, doubled.distortion)


def test_a_sample_is_sorted_and_its_grid_spans_it():
    sample = StimulusSample.of(FrequencyStimulus(), PARAMS)
    assert (np.diff(sample.x) >= 0).all() and (np.diff(sample.grid) > 0).all()
    assert (sample.grid[0], sample.grid[-1]) == (sample.x[0], sample.x[-1])
    np.testing.assert_allclose(sample.smoothed, np.convolve(sample.x, np.ones(5) / 5, "valid"))


def test_the_tuning_of_one_active_neuron_is_refused():
    config = CodingConfig(
        n_neurons=3, encoder="categorical", decoder="mixture", word_prior="categorical"
    )
    with pytest.raises(ValueError, match="no bell-shaped tuning"):
        analyse_codes(CodingModels(config), CodingTask(), PARAMS)


@pytest.mark.parametrize("share", [0.0, 1e-6, 0.3, 0.9, 1.0])
def test_preferred_stimuli_are_where_the_encoder_reads_the_centre(share):
    centers = np.array([[-30.0, -1.0, 0.4, 2.0, 200.0]])
    x = BellTuning(centers, np.ones((1, 5)), np.ones((1, 5)), share).preferred_stimuli
    with np.errstate(invalid="ignore"):
        read = x if share == 1 else share * x + (1 - share) * np.log(x)
    np.testing.assert_allclose(read, centers, rtol=1e-9)


# --- exponents


def profiles(n_codes=8, n_neurons=40, seed=0):
    """Codes with exact exponents of a normal prior: error 1.5, width 0.5."""
    rng, stimulus = np.random.default_rng(seed), GaussianStimulus(sd=1.0)
    x = np.linspace(-1.5, 1.5, 101)
    quantiles = (np.arange(n_codes * n_neurons) + 0.5) / (n_codes * n_neurons)
    preferred = rng.permutation(stats.norm.ppf(quantiles)).reshape(n_codes, n_neurons)
    scale = rng.uniform(0.8, 1.2, (n_codes, 1))
    return CodeProfiles(
        smoothed=x,
        smoothed_error=0.01 * scale / stimulus.density(x) ** 1.5,
        preferred=preferred,
        widths=scale * stimulus.density(preferred) ** -0.5,
        error=0.01 / stimulus.density(preferred) ** 1.5,
    ), stimulus


def test_exponents_are_those_that_the_codes_have():
    given, stimulus = profiles()
    laws = code_power_laws(given, stimulus)
    assert tuple(laws) == RELATIONS
    assert laws["error"].exponent == pytest.approx(1.5)
    assert laws["width"].exponent == pytest.approx(0.5, abs=0.03)
    low, high = laws["width"].interval
    assert low < 0.5 < high
    # normal centres, smoothed with Silverman's bandwidth
    smoothing = 1 + (4 / (3 * given.preferred.size)) ** 0.4
    assert laws["density"].exponent == pytest.approx(1 / smoothing, abs=0.02)
    assert laws["width_density"].correlation < -0.9 and laws["error_density"].exponent < -0.9
    kept = np.repeat(np.arange(8), 40)
    expected = fit_power_law(given.widths.ravel(), given.error.ravel(), kept)
    assert laws["error_width"] == expected


def test_what_too_few_points_say_nothing_of_is_left_out():
    given, stimulus = profiles(n_codes=2)
    hardly_coded = CodeProfiles(
        given.smoothed,
        given.smoothed_error * 1e4,
        given.preferred,
        given.widths,
        given.error * 1e4,
    )
    laws = code_power_laws(hardly_coded, stimulus)
    assert set(laws) == {"width_density", "error_density", "error_width"}
    assert all(math.isnan(bound) for law in laws.values() for bound in law.interval)


def test_a_window_is_no_longer_than_the_sample():
    with pytest.raises(ValueError, match="window"):
        CodeAnalysisParams(n_stimuli=10, window=11)
    assert len(moving_average(np.ones(10), 10)) == 1
