"""Exponents against constructed power laws, limens against Moore's listeners."""

import csv
import io

import numpy as np
import pytest
from scipy import stats

from science.coding.exponents import fit_power_law, middle_95
from science.coding.limens import limen_agreement, predicted_limens
from science.coding.power_laws import (
    center_density_power_law,
    error_power_law,
    moving_average,
    width_power_law,
)


def test_exact_power_law_is_recovered_with_an_interval_of_no_width():
    x = np.linspace(0.3, 7, 20)
    law = fit_power_law(x, 3 * x**-0.7)
    assert law.exponent == pytest.approx(-0.7, abs=1e-12)
    assert law.prefactor == pytest.approx(3, rel=1e-12)
    assert law.correlation == pytest.approx(-1, abs=1e-12)
    np.testing.assert_allclose(law.interval, -0.7, atol=1e-9)


def test_fit_and_its_variance_are_those_of_scipy():
    rng = np.random.default_rng(0)
    x, y = np.exp(rng.normal(5, 1, (2, 30)))
    law, reference = fit_power_law(x, y), stats.linregress(np.log(x), np.log(y))
    assert law.exponent == pytest.approx(reference.slope, rel=1e-10)
    assert law.prefactor == pytest.approx(np.exp(reference.intercept), rel=1e-10)
    assert law.correlation == pytest.approx(reference.rvalue, rel=1e-10)
    assert law.exponent_variance == pytest.approx(reference.stderr**2, rel=1e-10)
    assert law.n_points == 30


def points(rng):
    """Independent points, 25 of them."""
    x = np.exp(rng.normal(size=25))
    return x, 2 * x**-0.5 * np.exp(0.4 * rng.normal(size=25)), None


def neurons_of_models(rng):
    """16 models whose 12 neurons share the deviation of the model from the law."""
    x = np.exp(rng.normal(size=(16, 12)) + 0.5 * rng.normal(size=(16, 1)))
    offset, tilt = 0.5 * rng.normal(size=(16, 1)), 0.3 * rng.normal(size=(16, 1))
    y = x ** (tilt - 0.5) * np.exp(offset + 0.1 * rng.normal(size=(16, 12)))
    return x.ravel(), y.ravel(), np.repeat(np.arange(16), 12)


def coverage(draw, n_repeats=200):
    laws = [
        fit_power_law(*draw(np.random.default_rng(seed)), n_draws=400, seed=seed)
        for seed in range(n_repeats)
    ]
    return np.mean([law.interval[0] <= -0.5 <= law.interval[1] for law in laws])


@pytest.mark.parametrize("draw", [points, neurons_of_models])
def test_interval_covers_the_true_exponent_in_95_percent(draw):
    """Binomial of 200 repetitions: 0.91 to 0.985 for a coverage between 0.93 and 0.96."""
    assert 0.91 <= coverage(draw) <= 0.985


def test_interval_over_dependent_points_is_too_narrow():
    assert coverage(lambda rng: (*neurons_of_models(rng)[:2], None), 50) < 0.85


def test_interval_of_the_correlation_covers_the_true_one():
    truth = 0.8
    found = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        x, noise = rng.normal(size=(2, 40))
        y = truth * x + np.sqrt(1 - truth**2) * noise
        low, high = fit_power_law(np.exp(x), np.exp(y), n_draws=400, seed=seed).correlation_interval
        found.append(low <= truth <= high)
    assert 0.89 <= np.mean(found) <= 0.985


def test_bootstrap_is_that_of_drawn_groups_one_by_one():
    """Studentised interval against a bootstrap that repeats the points of drawn groups."""
    rng = np.random.default_rng(3)
    x, y, group = neurons_of_models(rng)
    x, y, group = x[5:], y[5:], group[5:]  # groups of unequal size
    law = fit_power_law(x, y, group, n_draws=4000, seed=1)

    def line(drawn):
        a = np.concatenate([np.log(x[group == g]) for g in drawn])
        b = np.concatenate([np.log(y[group == g]) for g in drawn])
        label = np.repeat(np.arange(16), [np.sum(group == g) for g in drawn])
        a, b = a - a.mean(), b - b.mean()
        slope = a @ b / (a @ a)
        scores = np.bincount(label, a * (b - slope * a))
        return slope, np.sqrt(scores @ scores) / (a @ a), a @ b / np.sqrt(a @ a * (b @ b))

    slope, error, _ = line(np.arange(16))
    draws = np.array([line(rng.integers(16, size=16)) for _ in range(1000)])
    low, high = middle_95((draws[:, 0] - slope) / draws[:, 1])
    np.testing.assert_allclose(
        law.interval, (slope - high * error, slope - low * error), atol=0.25 * error
    )
    np.testing.assert_allclose(law.correlation_interval, middle_95(draws[:, 2]), atol=0.03)


def test_draws_in_blocks_and_seeds(monkeypatch):
    x, y, group = neurons_of_models(np.random.default_rng(0))
    whole = fit_power_law(x, y, group, seed=4)
    assert fit_power_law(x, y, group, seed=4) == whole
    assert fit_power_law(x, y, group, seed=5).interval != whole.interval
    monkeypatch.setattr("science.blocks.BLOCK_VALUES", 16 * 50)
    np.testing.assert_allclose(fit_power_law(x, y, group, seed=4).interval, whole.interval)


def test_interval_of_few_groups_and_correlation_of_a_constant_are_unknown():
    x = np.array([1.0, 2.0, 3.0, 5.0, 8.0])
    assert np.isnan(fit_power_law(x, x).interval).all()
    constant = fit_power_law(np.append(x, 13.0), np.full(6, 0.1))
    assert constant.exponent == pytest.approx(0, abs=1e-12)
    assert np.isnan(constant.correlation)


def test_moving_average_is_a_convolution():
    values = np.random.default_rng(0).normal(size=(2, 50))
    expected = [np.convolve(v, np.ones(7) / 7, "valid") for v in values]
    np.testing.assert_allclose(moving_average(values, 7), expected, atol=1e-14)


def test_error_exponent_keeps_errors_below_half_the_variance():
    x = np.linspace(-8, 8, 400)
    density = stats.norm.pdf(x, 0, 3)
    scale = np.linspace(0.5, 1.5, 8)[:, None]  # of eight models
    error = scale * density**-0.9
    poorly_coded = error >= 0.5 * 30
    law = error_power_law(density, np.where(poorly_coded, 0.51 * 30, error), 30)
    assert law.n_points == np.count_nonzero(~poorly_coded)
    alone = error_power_law(density, np.where(poorly_coded, 0.51 * 30, error)[:1], 30, "points")
    assert alone.exponent == pytest.approx(0.9, abs=1e-12)
    assert np.isnan(error_power_law(density, error[:1], 1e9).interval).all()
    assert error_power_law(density, error, 1e9).exponent == pytest.approx(0.9, abs=1e-12)


def test_width_exponent_leaves_out_centres_without_stimuli_or_with_large_errors():
    rng = np.random.default_rng(0)
    density = rng.uniform(0.1, 2, (10, 12))
    widths = 0.3 * density**-0.4
    error = rng.uniform(0, 3.9, density.shape)
    density[0, 0], widths[0, 0] = 0.0, 5.0
    error[1, 1], widths[1, 1] = 4.1, 5.0
    law = width_power_law(density, widths, error, 10.0)
    assert law.exponent == pytest.approx(0.4, abs=1e-12)
    assert law.prefactor == pytest.approx(0.3, rel=1e-12)
    assert law.n_points == 118
    np.testing.assert_allclose(law.interval, 0.4, atol=1e-9)


def test_density_exponent_of_normal_centres_is_the_smoothed_one_and_its_interval_covers():
    x = np.linspace(-12, 12, 200)
    density, error = stats.norm.pdf(x, 0, 5), np.where(abs(x) < 8, 1.0, 25.0)
    truth = 0.5 / (1 + (4 / (3 * 20 * 12)) ** 0.4)
    found = []
    for seed in range(200):
        centers = np.random.default_rng(seed).normal(0, 5 / np.sqrt(0.5), (20, 12))
        law = center_density_power_law(x, density, centers, error, 25.0, 200, seed)
        found.append((law.exponent, law.interval[0] <= truth <= law.interval[1]))
    assert law.n_points == np.count_nonzero(abs(x) < 8)
    exponent, covered = np.mean(found, axis=0)
    assert exponent == pytest.approx(truth, abs=0.04)
    assert 0.88 <= covered <= 0.985


def test_density_exponent_of_few_models_has_no_interval():
    centers = np.random.default_rng(0).normal(size=(2, 9))
    x = np.linspace(-1, 1, 20)
    law = center_density_power_law(x, stats.norm.pdf(x), centers, np.zeros(20), 1.0)
    assert np.isnan([law.interval, law.correlation_interval]).all()


@pytest.fixture(scope="module")
def moore(shared):
    """Frequencies in kHz and limens in Hz of all listeners."""
    text = (shared / "data" / "moore1979_frequency_limens" / "moore1979_fdl.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    frequency = np.array([float(row["frequency_hz"]) for row in rows]) / 1000
    return frequency, np.array([float(row["limen_hz"]) for row in rows])


@pytest.mark.shared
def test_agreement_of_the_classical_prediction_is_that_of_the_specification(moore):
    frequency, limens = moore
    classical = 1.52**2.61 + frequency**2.61  # 1 / pi(f) up to a scale
    found = limen_agreement(frequency, limens, classical)
    assert found.n_limens == 24
    assert found.correlation == pytest.approx(0.986, abs=5e-4)
    assert found.slope == pytest.approx(1.05, abs=5e-3)
    assert found.slope_interval[0] < found.slope < found.slope_interval[1]
    assert found.correlation_interval[0] < 0.986 < found.correlation_interval[1]
    low, high = frequency <= 0.5, frequency >= 1
    assert fit_power_law(frequency[low], limens[low]).exponent == pytest.approx(0.12, abs=5e-3)
    assert fit_power_law(frequency[high], limens[high]).exponent == pytest.approx(1.88, abs=5e-3)


def test_scale_and_error_of_a_prediction_are_least_squares_of_the_logarithm():
    frequency = np.linspace(0.1, 8, 12)
    prediction = frequency + 1
    factor = np.tile([0.5, 2.0], 6)
    found = limen_agreement(frequency, 3 * prediction * factor, prediction)
    assert found.scale == pytest.approx(3)
    assert found.log_error == pytest.approx(np.log(2))


def test_listeners_who_agree_do_not_narrow_the_intervals():
    rng = np.random.default_rng(0)
    frequency = np.linspace(0.1, 8, 12)
    limens = frequency**1.2 * np.exp(0.3 * rng.normal(size=12))
    one = limen_agreement(frequency, limens, frequency)
    three = limen_agreement(*(np.tile(a, 3) for a in (frequency, limens, frequency)))
    np.testing.assert_allclose(three.slope_interval, one.slope_interval, rtol=1e-9)
    np.testing.assert_allclose(three.correlation_interval, one.correlation_interval, rtol=1e-9)


def test_limens_are_interpolated_in_log_log():
    x = np.geomspace(0.1, 10, 7)
    frequency = np.array([0.1, 0.5, 3.3, 10.0])
    error = np.stack([x**3, 4 * x**-1])
    expected = np.stack([frequency**1.5, 2 * frequency**-0.5])
    np.testing.assert_allclose(predicted_limens(frequency, x, error), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_power_law([1.0, 0.0], [1.0, 1.0]), "positive, finite"),
        (lambda: fit_power_law([1.0, 2.0], [1.0, np.inf]), "positive, finite"),
        (lambda: fit_power_law([1.0, 1.0], [1.0, 2.0]), "differ"),
        (lambda: fit_power_law([1.0], [1.0]), "two at least"),
        (lambda: fit_power_law([1.0, 2.0], [1.0, 2.0], [0]), "as many groups"),
        (lambda: moving_average(np.ones(5), 6), "window of 6"),
        (lambda: error_power_law([1.0, 2.0], [9.0, 9.0], 1.0), "n_models"),
        (lambda: error_power_law([1.0, 2.0], [[9.0, 9.0]], 1.0), "two at least"),
        (lambda: predicted_limens([9.0], [1.0, 2.0], [1.0, 1.0]), "stimuli from 1 to 2"),
        (lambda: predicted_limens([1.0], [2.0, 1.0], [1.0, 1.0]), "increase"),
        (lambda: predicted_limens([1.0], [1.0, 2.0], [0.0, 1.0]), "must be positive"),
    ],
)
def test_bad_input_of_exponents_and_limens_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
