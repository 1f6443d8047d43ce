"""Comparisons with the truth, on arrays; what they say of the database is tested end to end."""

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import subspace_angles
from scipy.spatial.distance import cosine

from pipeline.truth import MARGIN, WELL_PREDICTED, exceeds, plane_cosine, signed_cosine, summarise


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def mask():
    mask = np.zeros((12, 20))
    mask[3:9, 5:14] = np.linspace(0.2, 1, 9)
    return mask


def test_the_cosine_of_a_scaled_filter_is_one_whatever_its_grey_level(rng, mask):
    field = rng.normal(size=mask.shape)
    field -= field.mean()
    assert signed_cosine(127 + 40 * field, field, mask) == pytest.approx(1)
    assert signed_cosine(127 - 40 * field, field, mask) == pytest.approx(-1)


def test_the_cosine_is_that_of_the_masked_deviations(rng, mask):
    mei, field = rng.uniform(0, 255, mask.shape), rng.normal(size=mask.shape)
    expected = 1 - cosine(((mei - mei.mean()) * mask).ravel(), (field * mask).ravel())
    assert signed_cosine(mei, field, mask) == pytest.approx(expected)


def test_the_cosine_ignores_what_lies_outside_the_mask(rng, mask):
    field, inside = rng.normal(size=mask.shape), mask > 0
    mei = np.where(inside, field, 0) - np.where(inside, field, 0).mean()
    other = rng.normal(size=mask.shape)
    other[inside] = 0
    other[~inside] -= other[~inside].mean()  # the grey level of the whole image stays
    assert signed_cosine(mei + other, field, mask) == pytest.approx(signed_cosine(mei, field, mask))


def test_no_cosine_without_mask_or_contrast(rng, mask):
    field = rng.normal(size=mask.shape)
    assert np.isnan(signed_cosine(field, field, np.zeros_like(mask)))
    assert np.isnan(signed_cosine(np.full_like(field, 127), field, mask))
    pair = np.stack([field, field[::-1]])
    assert np.isnan(plane_cosine(field, pair, np.zeros_like(mask))[0])
    assert np.isnan(plane_cosine(np.full_like(field, 127), pair, mask)[0])


@pytest.mark.parametrize("phase", [0, 1, 2.5, 4])
def test_every_phase_of_a_quadrature_pair_lies_in_its_plane(rng, mask, phase):
    pair = rng.normal(size=(2, *mask.shape))
    pair -= pair.mean((1, 2), keepdims=True)
    mei = np.cos(phase) * pair[0] + np.sin(phase) * pair[1]
    found, nearest = plane_cosine(127 + 30 * mei, pair, mask)
    assert found == pytest.approx(1)
    np.testing.assert_allclose(nearest, 30 * mei, atol=1e-9)


def test_the_plane_cosine_is_that_of_the_principal_angle(rng, mask):
    pair, mei = rng.normal(size=(2, *mask.shape)), rng.normal(size=mask.shape)
    masked = (mask * (mei - mei.mean())).reshape(-1, 1)
    angle = subspace_angles((mask * pair).reshape(2, -1).T, masked)[0]
    assert plane_cosine(mei, pair, mask)[0] == pytest.approx(np.cos(angle))


def test_a_response_must_exceed_the_quantile_by_a_margin_of_the_range():
    training = np.linspace(0, 10, 1001)  # quantile 0.995: 9.95; margin 0.05 * 10
    assert not exceeds(9.95 + 10 * MARGIN - 0.01, training)
    assert exceeds(9.95 + 10 * MARGIN + 0.01, training)


def test_a_cell_without_any_range_is_not_exceeded_by_its_own_constant():
    assert not exceeds(2.0, np.full(100, 2.0))
    assert exceeds(2.1, np.full(100, 2.0))


def test_the_summary_counts_known_cells_only():
    nan = np.nan
    units = pd.DataFrame(
        {
            "kind": ["simple", "simple", "simple", "complex", "undriven", None],
            "ensemble_validation_corr": [0.8, WELL_PREDICTED, 0.5, 0.4, -0.1, 0.9],
            "cosine": [0.9, 0.5, 0.7, nan, nan, nan],
            "plane_cosine": [nan, nan, nan, 0.6, nan, nan],
            "exceeds": [True, True, False, True, False, None],
        }
    )
    found = summarise(units)
    assert (found.n_simple, found.n_complex) == (3, 1)
    assert found.median_cosine == pytest.approx(0.7)
    assert found.median_plane_cosine == pytest.approx(0.6)
    assert found.n_well_predicted == 3  # strictly above the threshold, kind known
    assert found.fraction_exceeding == pytest.approx(2 / 3)


def test_a_summary_of_nothing_is_not_a_number():
    columns = ["kind", "ensemble_validation_corr", "cosine", "plane_cosine", "exceeds"]
    found = summarise(pd.DataFrame(columns=columns))
    assert (found.n_simple, found.n_complex, found.n_well_predicted) == (0, 0, 0)
    assert np.isnan([found.median_cosine, found.fraction_exceeding]).all()
