"""Metrics against numpy, scipy, closed forms and simulated truth."""

import numpy as np
import pytest
from scipy import stats

from science import metrics


def test_correlation_is_pearson_without_the_legacy_factor():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 7, 4))
    expected = [stats.pearsonr(a[:, i], b[:, i]).statistic for i in range(4)]
    np.testing.assert_allclose(metrics.correlation(a, b), expected, atol=1e-12)
    np.testing.assert_allclose(metrics.correlation(a.T, b.T, axis=1), expected, atol=1e-12)
    assert metrics.correlation(a[:, 0], 3 * a[:, 0] + 1) == pytest.approx(1, abs=1e-12)


def test_correlation_of_a_constant_is_nan():
    constant = np.full((11, 1), 0.1)
    assert np.isnan(metrics.correlation(constant, np.arange(11.0)[:, None])).all()


@pytest.mark.parametrize("shapes", [((3, 2), (3, 1)), ((1, 2), (1, 2))])
def test_correlation_refuses_what_cannot_be_correlated(shapes):
    with pytest.raises(ValueError, match="correlat"):
        metrics.correlation(np.zeros(shapes[0]), np.zeros(shapes[1]))


def schoppe_signal_power(blocks):
    """Closed form of Schoppe et al. 2016 for (repeats, images)."""
    repeats = len(blocks)
    total = blocks.sum(0).var(ddof=1)
    return (total - blocks.var(1, ddof=1).sum()) / (repeats * (repeats - 1))


def test_signal_power_is_the_closed_form_averaged_over_orders_of_repeats():
    rng = np.random.default_rng(1)
    blocks = rng.normal(size=(4, 6)) + rng.normal(size=6)
    closed = [schoppe_signal_power(rng.permuted(blocks, axis=0)) for _ in range(4000)]
    ours = metrics.signal_power(blocks.reshape(-1, 1), np.tile(np.arange(6), 4))[0]
    assert ours == pytest.approx(np.mean(closed), abs=4 * np.std(closed) / np.sqrt(len(closed)))


def simulate(ragged, n_images=300, n_units=40, seed=2):
    """Poisson-like noise that grows with the signal; predictions of known correlation."""
    rng = np.random.default_rng(seed)
    signal = rng.gamma(2.0, 1.0, size=(n_images, n_units))
    prediction = signal + rng.normal(size=signal.shape) * signal.std(0)
    repeats = rng.integers(1, 12, n_images) if ragged else np.full(n_images, 6)
    index = rng.permutation(np.repeat(np.arange(n_images), repeats))
    responses = rng.poisson(signal[index]).astype(float)
    return signal, prediction, responses, index


@pytest.mark.parametrize("ragged", [False, True])
def test_ceiling_metrics_recover_the_truth_of_a_simulation(ragged):
    signal, prediction, responses, index = simulate(ragged)
    shown_again = np.bincount(index) > 1
    signal, clean = signal[shown_again], prediction[shown_again]

    power = metrics.signal_power(responses, index)
    assert np.median(power / signal.var(0, ddof=1)) == pytest.approx(1, rel=0.05)

    means = np.stack([responses[index == i].mean(0) for i in np.flatnonzero(shown_again)])
    true_max = metrics.correlation(means, signal)
    np.testing.assert_allclose(metrics.cc_max(responses, index).mean(), true_max.mean(), rtol=0.05)

    true_norm = metrics.correlation(signal, clean)
    norm = metrics.cc_norm(responses, prediction[index], index)
    np.testing.assert_allclose(norm.mean(), true_norm.mean(), rtol=0.05)

    true_fev = signal.var(0) / (signal.var(0) + signal.mean(0))
    np.testing.assert_allclose(metrics.fev(responses, index).mean(), true_fev.mean(), rtol=0.05)


@pytest.mark.parametrize("noise", ["poisson", "gaussian"])
@pytest.mark.parametrize("ragged", [False, True])
def test_signal_power_and_ceiling_are_within_5_percent_of_the_population(noise, ragged):
    """Rates of mean 2 and variance 2, noise variance 2 (Poisson: on average), 500 units."""
    rng = np.random.default_rng(6)
    repeats = rng.integers(2, 12, 200) if ragged else np.full(200, 4)
    index = rng.permutation(np.repeat(np.arange(200), repeats))
    rates = rng.gamma(2.0, 1.0, (200, 500))
    if noise == "poisson":
        responses = rng.poisson(rates[index])
    else:
        responses = rng.normal(rates[index], np.sqrt(2))
    assert metrics.signal_power(responses, index).mean() == pytest.approx(2, rel=0.05)
    of_means = 2 + 2 * (1 / repeats).mean()
    ceiling = metrics.cc_max(responses, index).mean()
    assert ceiling == pytest.approx(np.sqrt(2 / of_means), rel=0.05)


@pytest.mark.parametrize("ragged", [False, True])
def test_feve_is_one_for_the_truth_zero_for_the_mean_and_sees_wrong_scales(ragged):
    signal, _, responses, index = simulate(ragged, n_units=200)
    once = np.bincount(index) == 1
    expected = signal[index]
    again = ~once[index]
    truth = metrics.feve(responses, expected, index)
    assert truth.mean() == pytest.approx(1, abs=0.01)
    grand = np.broadcast_to(responses[again].mean(0), responses.shape)
    np.testing.assert_allclose(metrics.feve(responses, grand, index), 0, atol=0.01)
    # A wrong gain a costs (1 - a)^2 E[signal^2] / Var(signal), an offset d costs d^2 / Var(signal).
    shown = expected[again]
    variance, power = shown.var(0).mean(), np.square(shown).mean()
    for gain, offset, loss in (
        (0.5, 0, 0.25 * power / variance),
        (2, 0, power / variance),
        (1, 1, 1 / variance),
    ):
        wrong = metrics.feve(responses, gain * expected + offset, index)
        assert (wrong < truth).all()
        assert wrong.mean() == pytest.approx(1 - loss, abs=0.1)


def test_feve_by_hand_and_unknown_where_there_is_no_signal():
    _, prediction, responses, index = simulate(ragged=False, n_images=20, n_units=3)
    responses[:, 2] = np.random.default_rng(0).normal(size=len(index))
    values = metrics.feve(responses, prediction[index], index)
    for unit in range(2):
        y, p = responses[:, unit], prediction[index, unit]
        noise = np.mean([y[index == i].var(ddof=1) for i in range(20)])
        expected = 1 - (np.mean((y - p) ** 2) - noise) / (y.var(ddof=1) - noise)
        assert values[unit] == pytest.approx(expected)
    assert np.isnan(values[2])


def test_order_and_names_of_images_do_not_matter():
    _, prediction, responses, index = simulate(ragged=True, n_images=50, n_units=3)
    order = np.random.default_rng(0).permutation(len(index))
    np.testing.assert_allclose(
        metrics.cc_norm(responses, prediction[index], index),
        metrics.cc_norm(responses[order], prediction[index][order], 1000 - 7 * index[order]),
    )


def test_reliability_is_the_anova_of_scipy_and_holds_its_level():
    rng = np.random.default_rng(3)
    index = np.repeat(np.arange(20), rng.integers(2, 6, 20))
    noise = rng.normal(size=(len(index), 2000))
    assert metrics.reliable(noise, index, alpha=0.05).mean() == pytest.approx(0.05, abs=0.02)
    p = [stats.f_oneway(*(noise[index == i, unit] for i in range(20))).pvalue for unit in range(50)]
    for alpha in (0.1, 0.5, 0.9):
        np.testing.assert_array_equal(
            metrics.reliable(noise[:, :50], index, alpha), np.array(p) < alpha
        )


def test_noise_and_constants_are_nan_not_clipped():
    rng = np.random.default_rng(4)
    index = np.tile(np.arange(30), 4)
    responses = rng.normal(size=(120, 200))
    responses[:, 0] = 0.1
    power = metrics.signal_power(responses, index)
    ceiling = metrics.cc_max(responses, index)
    assert (power < 0).any()
    assert np.isnan(ceiling[power <= 0]).all()
    assert np.isfinite(ceiling[power > 0]).all()
    unreliable = ~metrics.reliable(responses, index)
    assert unreliable[0] and np.isnan(metrics.fev(responses, index)[0])
    norm = metrics.cc_norm(responses, rng.normal(size=responses.shape), index)
    np.testing.assert_array_equal(np.isnan(norm), unreliable)


def test_identical_repeats_have_ceiling_one():
    values = np.random.default_rng(5).normal(size=(10, 3))
    index = np.tile(np.arange(10), 3)
    np.testing.assert_allclose(metrics.cc_max(values[index], index), 1)
    np.testing.assert_allclose(metrics.cc_norm(values[index], -values[index], index), -1)
    assert metrics.reliable(values[index], index).all()


@pytest.mark.parametrize(
    ("responses", "index", "message"),
    [
        (np.zeros((4, 1)), [0, 1, 2, 3], "at least two images with repeats"),
        (np.zeros((4, 1)), [0, 0, 0, 0], "at least two images with repeats"),
        (np.zeros(4), [0, 0, 1, 1], "n_trials, n_units"),
        (np.zeros((4, 1)), [0, 0, 1], "n_trials, n_units"),
    ],
)
def test_bad_repeats_are_named(responses, index, message):
    with pytest.raises(ValueError, match=message):
        metrics.signal_power(responses, index)
