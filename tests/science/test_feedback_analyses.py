"""Clarity, decoding and unmixing errors against golden numbers, closed forms and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from science.feedback.clarity import signal_clarity
from science.feedback.decoding import decode_sources
from science.feedback.linear_map import fit_linear_map, r_squared
from science.feedback.unmixing import deviation, effective_weights, inverse_distance


@pytest.fixture(scope="module")
def golden(shared):
    return np.load(shared / "golden" / "naumann" / "data_and_analysis_parity.npz")


def tones(n_sources=2, n_samples=400):
    """Sines of whole periods: mean 0, and exactly uncorrelated."""
    phase = 2 * np.pi * np.arange(n_samples) / n_samples
    return np.stack([np.sin((3 + 2 * k) * phase) for k in range(n_sources)], axis=-1)


@pytest.mark.shared
def test_clarity_and_correlations_are_those_of_the_original(golden):
    sources, activity = golden["an/S"].reshape(4, 100, 2), golden["an/Y"].reshape(4, 100, 3)
    clarity = signal_clarity(sources, activity)
    np.testing.assert_allclose(clarity.correlations, golden["an/corr"], atol=1e-14)
    np.testing.assert_allclose(clarity.per_context, golden["an/clarity"], atol=1e-14)


@given(st.floats(-10, 10), st.floats(-5, 5), st.floats(0.01, 100))
def test_clarity_of_a_known_mixture(angle, offset, scale):
    unit = tones() @ [np.cos(angle), np.sin(angle)] * scale + offset
    expected = abs(abs(np.cos(angle)) - abs(np.sin(angle)))
    clarity = signal_clarity(tones()[None], unit[None, :, None])
    assert clarity.values[0, 0] == pytest.approx(expected, abs=1e-9)
    np.testing.assert_allclose(
        clarity.correlations[0, :, 0], [np.cos(angle), np.sin(angle)], atol=1e-9
    )


def test_clarity_compares_the_two_sources_that_are_most_alike_to_a_unit():
    sources = tones(3)
    units = sources @ np.array([[0, 0, 1], [0, 3, 4], [2, 2, 1]]).T
    values = signal_clarity(sources[None], units[None]).values[0]
    np.testing.assert_allclose(values, [1, 0.2, 0], atol=1e-12)
    legacy = signal_clarity(sources[None, :, :2], units[None]).values[0]
    np.testing.assert_allclose(legacy, [0, 0.6, 0], atol=1e-12)


def test_silent_units_have_no_clarity_and_do_not_count():
    rng = np.random.default_rng(0)
    sources, activity = rng.normal(size=(5, 3, 50, 2)), rng.normal(size=(5, 3, 50, 4))
    activity[..., 1] = 0.1
    activity[0, 0] = 0.1
    clarity = signal_clarity(sources, activity)
    assert np.isnan(clarity.values[..., 1]).all() and np.isnan(clarity.per_context[0, 0])
    assert np.isnan(clarity.per_unit[:, 1]).all()
    assert clarity.per_unit[0, 2] == pytest.approx(clarity.values[0, 1:, 2].mean())
    for model, context in [(0, 1), (4, 2)]:
        found = [
            np.corrcoef(sources[model, context].T, activity[model, context, :, unit])[2, :2]
            for unit in (0, 2, 3)
        ]
        expected = np.mean([abs(abs(a) - abs(b)) for a, b in found])
        assert clarity.per_context[model, context] == pytest.approx(expected, abs=1e-12)


@pytest.mark.shared
def test_decoding_is_that_of_the_original(golden):
    population, sources = golden["an/dec_X"].reshape(3, 1000, 4), golden["an/dec_s"]
    decoding = decode_sources(population, sources.reshape(3, 1000, 2), n_train=1)
    np.testing.assert_allclose(decoding.per_context, golden["an/dec_R2"], atol=1e-12)


def test_decoding_of_many_models_is_that_of_scikit_learn_also_at_low_rank():
    rng = np.random.default_rng(1)
    sources = rng.normal(size=(3, 5, 60, 2))
    latent = np.concatenate([sources, rng.normal(size=(3, 5, 60, 2))], -1)
    latent = latent @ (np.eye(4) + 0.3 * rng.normal(size=(3, 5, 4, 4)))
    population = latent @ rng.normal(size=(3, 1, 4, 12)) + rng.normal(size=12)
    decoding = decode_sources(population, sources, n_train=3)
    expected = np.empty((3, 2, 2))
    for m in range(3):
        fit = LinearRegression().fit(
            population[m, :3].reshape(-1, 12), sources[m, :3].reshape(-1, 2)
        )
        for c in (0, 1):
            truth, found = sources[m, 3 + c], fit.predict(population[m, 3 + c])
            expected[m, c] = r2_score(truth, found, multioutput="raw_values")
    np.testing.assert_allclose(decoding.r2, expected, atol=1e-10)
    np.testing.assert_allclose(decoding.mean, expected.mean((1, 2)), atol=1e-10)
    np.testing.assert_allclose(decoding.sd, expected.mean(2).std(1), atol=1e-10)
    np.testing.assert_allclose(decoding.median, np.median(expected.mean(2), 1), atol=1e-10)


def test_decoding_finds_a_known_mixture_and_fails_where_it_changes():
    rng = np.random.default_rng(2)
    sources = np.stack([tones()] * 4)
    mixing = np.array([[1.0, 2.0], [-1.0, 0.5]])
    stays = sources @ mixing + 7
    assert decode_sources(stays, sources, n_train=2).r2 == pytest.approx(1, abs=1e-12)
    changes = stays.copy()
    changes[3] = sources[3, :, ::-1] @ mixing + 7
    r2 = decode_sources(changes, sources, n_train=2).per_context
    # what is decoded as one source is the other: an error of twice the variance
    np.testing.assert_allclose(r2, [1, -1], atol=1e-12)
    noise = decode_sources(rng.normal(size=(4, 400, 3)), sources, n_train=2)
    assert noise.mean < 0.01


def test_linear_map_and_r_squared_at_their_edges():
    rng = np.random.default_rng(3)
    inputs, weights = rng.normal(size=(2, 30, 3)), rng.normal(size=(2, 3, 2))
    targets = inputs @ weights + [[[1.0, -2.0]], [[3.0, 4.0]]]
    fitted = fit_linear_map(inputs, targets)
    np.testing.assert_allclose(fitted.weights, weights, atol=1e-12)
    np.testing.assert_allclose(fitted.intercept[:, 0], [[1, -2], [3, 4]], atol=1e-12)
    assert np.isnan(r_squared(np.full((5, 1), 0.1), np.arange(5.0)[:, None]))
    with pytest.raises(ValueError, match="finite"):
        fit_linear_map(np.full((4, 1), np.nan), np.zeros((4, 1)))
    with pytest.raises(ValueError, match="equal samples"):
        fit_linear_map(np.zeros((4, 1)), np.zeros((5, 1)))
    with pytest.raises(ValueError, match="shape"):
        r_squared(np.zeros((4, 1)), np.zeros((4, 2)))


def test_unmixing_errors_of_known_weights():
    rng = np.random.default_rng(4)
    readout, feedforward = rng.normal(size=(2, 6)), rng.normal(size=(6, 2))
    modulation = rng.normal(size=(3, 5, 6))
    weights = effective_weights(readout, modulation, feedforward)
    x = rng.normal(size=2)
    np.testing.assert_allclose(
        weights[2, 4] @ x, readout @ (modulation[2, 4] * (feedforward @ x)), atol=1e-12
    )
    contexts = rng.normal(size=(3, 1, 2, 2))
    shift = np.array([[3.0, 0.0], [0.0, 4.0]])
    inverse = np.linalg.inv(contexts)
    distance = inverse_distance(np.repeat(inverse, 5, axis=1) + shift, contexts)
    np.testing.assert_allclose(distance, np.full((3, 5), 5.0), atol=1e-10)
    tall = rng.normal(size=(3, 2))
    assert inverse_distance(np.linalg.pinv(tall), tall) == pytest.approx(0, abs=1e-12)
    sources = rng.normal(size=(2, 7, 2))
    np.testing.assert_allclose(
        deviation(sources, sources + np.array([3.0, -4.0])), np.full((2, 7), 5.0)
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: signal_clarity(np.zeros((2, 9, 2)), np.zeros((2, 8, 3))), "equal contexts"),
        (lambda: signal_clarity(np.zeros((2, 9, 1)), np.zeros((2, 9, 3))), "two sources"),
        (lambda: decode_sources(np.zeros((2, 9, 2)), np.zeros((3, 9, 2)), 1), "differ in n only"),
        (lambda: decode_sources(np.zeros((2, 9, 2)), np.zeros((2, 9, 2)), 2), "some to test"),
        (lambda: deviation(np.zeros((9, 2)), np.zeros((9, 3))), "shape"),
        (
            lambda: effective_weights(np.zeros((2, 6)), np.zeros(5), np.zeros((6, 2))),
            "number of units",
        ),
        (lambda: inverse_distance(np.zeros((2, 3)), np.zeros((2, 3))), "cannot be the inverse"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
