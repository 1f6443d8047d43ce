"""Regression receptive fields against known filters and the augmented least-squares problem."""

import numpy as np
import pytest
from pydantic import ValidationError

from science.metrics import correlation
from science.regression_field import ImageResponses, RegressionFieldParams, regression_fields

SHAPE = (14, 20)
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]]


def pink_images(n, rng, shape=SHAPE):
    """Noise with the 1/f spectrum of natural images, z-scored."""
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1]))
    frequency[0, 0] = frequency[0, 1]
    images = np.fft.ifft2(np.fft.fft2(rng.normal(size=(n, *shape))) / frequency).real
    return (images - images.mean()) / images.std()


def gabors(n, rng):
    """Random Gabors (n, h, w) of unit norm."""
    row, column = rng.uniform(4, 9, n), rng.uniform(5, 14, n)
    angle, phase = rng.uniform(0, 2 * np.pi, (2, n))
    dy, dx = Y - row[:, None, None], X - column[:, None, None]
    along = dx * np.cos(angle)[:, None, None] + dy * np.sin(angle)[:, None, None]
    waves = np.exp(-(dx**2 + dy**2) / 8) * np.cos(2 * np.pi / 7 * along + phase[:, None, None])
    return waves / np.linalg.norm(waves, axis=(1, 2), keepdims=True)


def recordings(noise, n_units=12, n=1500, seed=0):
    """Train, validation and test responses of linear cells; noise relative to the signal."""
    rng = np.random.default_rng(seed)
    filters = gabors(n_units, rng)
    tiers = []
    for n_images, level in ((n, noise), (300, noise), (100, 0)):
        images = pink_images(n_images, rng)
        drive = np.tensordot(images, filters, axes=((1, 2), (1, 2)))
        drive /= drive.std(axis=0)
        tiers.append(ImageResponses(images, drive + level * rng.normal(size=drive.shape)))
    return filters, tiers


def cosines(fields, filters):
    a, b = fields.reshape(len(fields), -1), filters.reshape(len(filters), -1)
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def augmented_least_squares(images, responses, weight):
    """The published problem, with rows of the Laplacian, a cut stencil, below the images."""
    n, height, width = images.shape
    stencil = np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0]])
    laplacian = []
    for i in range(height):
        for j in range(width):
            padded = np.zeros((height + 2, width + 2))
            padded[i : i + 3, j : j + 3] = stencil
            laplacian.append(padded[1:-1, 1:-1].ravel())
    design = np.zeros((n + height * width, height * width + 1))
    design[:n, :-1], design[n:, :-1] = images.reshape(n, -1), weight * np.array(laplacian)
    design[:n, -1] = 1  # the constant is free
    targets = np.concatenate([responses, np.zeros((height * width, responses.shape[1]))])
    weights = np.linalg.lstsq(design, targets, rcond=None)[0]
    return weights[:-1].T.reshape(-1, height, width)


@pytest.mark.parametrize("n", [30, 63, 64, 400])
@pytest.mark.parametrize("weight", [0.5, 20.0])
def test_fields_solve_the_augmented_problem_with_few_and_with_many_images(n, weight):
    rng = np.random.default_rng(n)
    images, more = pink_images(n, rng, (7, 9)) + 0.3, pink_images(20, rng, (7, 9))
    responses = rng.normal(size=(n, 3)) + images[:, 3, 3:6] + 2
    found = regression_fields(
        ImageResponses(images.astype(np.float32), responses),
        ImageResponses(more, rng.normal(size=(20, 3))),
        RegressionFieldParams(lambdas=(weight,)),
    )
    expected = augmented_least_squares(images, responses, weight)
    np.testing.assert_allclose(found.fields, expected, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_array_equal(found.lambdas, weight)


def test_known_filters_are_recovered_and_predict():
    filters, (train, validation, test) = recordings(noise=1)
    found = regression_fields(train, validation, test=test)
    assert cosines(found.fields, filters).min() > 0.9
    assert found.test_correlation.min() > 0.95
    ceiling = 1 / np.sqrt(2)  # of single trials whose noise is as large as the signal
    assert found.validation_correlation == pytest.approx(ceiling, abs=0.1)


def test_noisier_responses_are_smoothed_more():
    smoothness = [
        np.log(regression_fields(*recordings(noise)[1][:2]).lambdas).mean() for noise in (0.1, 1, 4)
    ]
    assert smoothness[0] < smoothness[1] < smoothness[2]


def test_each_unit_gets_the_lambda_that_predicts_validation_best():
    _, (train, validation, _) = recordings(noise=3, n=200)
    params = RegressionFieldParams(lambdas=(3, 30, 300))
    found = regression_fields(train, validation, params)
    alone = [
        regression_fields(train, validation, RegressionFieldParams(lambdas=(weight,)))
        for weight in params.lambdas
    ]
    scores = np.stack(
        [
            correlation(
                np.tensordot(validation.images, one.fields, axes=((1, 2), (1, 2))),
                validation.responses,
            )
            for one in alone
        ]
    )
    best = scores.argmax(axis=0)
    assert len(set(best)) > 1
    np.testing.assert_array_equal(found.lambdas, np.array(params.lambdas)[best])
    np.testing.assert_allclose(found.validation_correlation, scores.max(axis=0), rtol=1e-4)
    for unit, choice in enumerate(best):
        expected = alone[choice].fields[unit]
        np.testing.assert_allclose(found.fields[unit], expected, rtol=1e-5, atol=1e-7)


def test_the_test_tier_has_no_influence():
    _, (train, validation, test) = recordings(noise=1, n=100)
    without = regression_fields(train, validation)
    other = regression_fields(train, validation, test=ImageResponses(-test.images, test.responses))
    real = regression_fields(train, validation, test=test)
    for one in (other, real):
        np.testing.assert_array_equal(one.fields, without.fields)
        np.testing.assert_array_equal(one.lambdas, without.lambdas)
    assert without.test_correlation is None
    np.testing.assert_allclose(other.test_correlation, -real.test_correlation, rtol=1e-6)


@pytest.mark.parametrize("spoiled", ["train", "validation"])
def test_units_without_a_signal_are_nan_and_leave_others_alone(spoiled):
    _, (train, validation, test) = recordings(noise=1, n=100, n_units=4)
    expected = regression_fields(train, validation, test=test)
    bad = (train if spoiled == "train" else validation).responses
    bad[:, 0], bad[3, 1], bad[5, 2] = 0.1, np.nan, np.inf
    found = regression_fields(train, validation, test=test)
    for name in ("fields", "lambdas", "validation_correlation", "test_correlation"):
        values = getattr(found, name)
        assert np.isnan(values[:3]).all()
        np.testing.assert_allclose(values[3], getattr(expected, name)[3], rtol=1e-4, atol=1e-6)


def test_all_units_may_be_constant():
    _, (train, validation, _) = recordings(noise=1, n=50)
    train.responses[:] = 1
    assert np.isnan(regression_fields(train, validation).fields).all()


def shown(n=5, shape=(3, 4), n_units=2):
    rng = np.random.default_rng(0)
    return ImageResponses(rng.normal(size=(n, *shape)), rng.normal(size=(n, n_units)))


NAN = ImageResponses(np.full((5, 3, 4), np.nan), np.ones((5, 2)))


@pytest.mark.parametrize(
    ("tiers", "message"),
    [
        ((ImageResponses(np.ones((5, 12)), np.ones((5, 2))), shown()), "train images must be"),
        ((shown(), ImageResponses(np.ones((5, 3, 4)), np.ones((4, 2)))), "validation images must"),
        ((shown(1), shown()), "at least two images"),
        ((shown(n_units=0), shown(n_units=0)), "a unit"),
        ((shown(), shown(shape=(4, 3))), "validation images .* must have the pixels"),
        ((shown(), shown(n_units=3)), "and units of training"),
        ((NAN, shown()), "train images must be finite"),
        ((shown(), ImageResponses(np.ones((5, 3, 4)), np.ones((5, 2)))), "differ"),
        ((shown(), shown(), None, NAN), "test images must be finite"),
    ],
)
def test_bad_tiers_are_named(tiers, message):
    with pytest.raises(ValueError, match=message):
        regression_fields(*tiers)


@pytest.mark.parametrize("lambdas", [(), (0,), (1, -1), (np.nan,), (np.inf,)])
def test_lambdas_must_be_positive(lambdas):
    with pytest.raises(ValidationError):
        RegressionFieldParams(lambdas=lambdas)


def test_the_published_lambdas_are_the_default():
    lambdas = RegressionFieldParams().lambdas
    assert len(lambdas) == 20
    assert lambdas[0] == pytest.approx(10) and lambdas[-1] == pytest.approx(1e4)
    assert lambdas[1] / lambdas[0] == pytest.approx(1000 ** (1 / 19))
