import time
from itertools import permutations

import numpy as np
import pytest
from scipy.stats import kstest, norm

from science.closed_loop import permutation_test


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def contrast(matrix):
    own = np.eye(len(matrix), dtype=bool)
    return matrix[own].mean() - matrix[~own].mean()


def row_contrasts(matrix):
    scaled = matrix / matrix.max(axis=1, keepdims=True)
    own = np.eye(len(matrix), dtype=bool)
    return np.array([row[o].mean() - row[~o].mean() for row, o in zip(scaled, own, strict=True)])


def enumerate_p(matrix):
    scaled = matrix / matrix.max(axis=1, keepdims=True)
    others = [contrast(scaled[:, p]) for p in permutations(range(len(matrix)))]
    return contrast(scaled), np.mean(np.abs(others) >= abs(contrast(scaled)) - 1e-9)


def test_tiny_matrices_are_exact(rng):
    tied = np.array([[3.0, 1, 1], [1, 3, 1], [0.1, 0.3, 0.1]])
    for matrix in [tied, 0.1 * np.ones((3, 3)), *rng.uniform(0.1, 1, (10, 3, 3))]:
        result = permutation_test(matrix)
        statistic, p = enumerate_p(matrix)
        assert result.statistic == pytest.approx(statistic, abs=1e-12)
        assert result.p == pytest.approx(p) and result.n_permutations == 5


def test_random_permutations_agree_with_all_of_them(rng):
    matrix = rng.uniform(0.1, 1, (6, 6)) + 0.2 * np.eye(6)
    exact = permutation_test(matrix)
    sampled = permutation_test(matrix, n_permutations=700, seed=3)
    assert exact.n_permutations == 719 and sampled.n_permutations == 700
    assert exact.p == pytest.approx(enumerate_p(matrix)[1])
    assert sampled.p == pytest.approx(exact.p, abs=4 * np.sqrt(exact.p * (1 - exact.p) / 700))


def test_ties_are_not_decided_by_rounding():
    # Every permutation gives the same statistic, up to the order in which it is summed.
    matrix = np.tile(1 / np.arange(1.0, 13), (12, 1))
    assert permutation_test(matrix, n_permutations=500).p == 1.0


def test_p_is_uniform_under_the_null(rng):
    p = [permutation_test(rng.gamma(2, 1, (12, 12)), 999, seed).p for seed in range(200)]
    assert kstest(p, "uniform").pvalue > 0.01


def test_strong_diagonal_is_found_and_two_sided(rng):
    noise = rng.uniform(0.5, 1, (40, 40))
    high = permutation_test(noise + np.eye(40), seed=1)
    assert high.p == 1 / 10_001 and high.statistic > 0.2
    low = permutation_test(noise - 0.5 * np.eye(40), seed=1)
    assert low.p == 1 / 10_001 and low.statistic < -0.2
    assert permutation_test(noise, seed=1) == permutation_test(noise, seed=1)


def test_unusable_neurons_are_dropped_and_counted(rng):
    matrix = rng.uniform(0.5, 1, (10, 10)) + np.eye(10)
    clean = permutation_test(matrix[:7, :7])
    matrix[8] = np.nan  # not scalable
    matrix[9] = -1.0  # no positive maximum to divide by
    matrix[:, 7] = np.nan  # not shown
    result = permutation_test(matrix)
    assert (result.n, result.n_dropped) == (7, 3)
    assert result.statistic == pytest.approx(clean.statistic) and result.p == clean.p


def test_as_few_neurons_as_possible_are_dropped(rng):
    matrix = rng.uniform(0.5, 1, (8, 8)) + np.eye(8)
    matrix[0, 3:6] = matrix[3:6, 0] = np.nan  # neuron 0 never met neurons 3, 4 and 5
    result = permutation_test(matrix)
    assert (result.n, result.n_dropped) == (7, 1)
    rest = permutation_test(matrix[1:, 1:])
    assert result.statistic == rest.statistic and result.p == rest.p


def test_interval_is_that_of_the_mean_contrast(rng):
    matrix = rng.uniform(0.5, 1, (200, 200)) + rng.uniform(0, 1, 200) * np.eye(200)
    result = permutation_test(matrix, n_permutations=10, seed=5)
    contrasts = row_contrasts(matrix)
    assert result.statistic == pytest.approx(contrasts.mean())
    half = norm.ppf(0.975) * contrasts.std() / np.sqrt(200)
    assert result.low == pytest.approx(contrasts.mean() - half, abs=0.05 * half)
    assert result.high == pytest.approx(contrasts.mean() + half, abs=0.05 * half)


def test_interval_covers_the_truth(rng):
    n, n_matrices = 30, 400
    truth = 0.5 - ((n - 2) * 0.4 + 1) / (n - 1)
    covered = 0
    for seed in range(n_matrices):
        matrix = rng.uniform(0.2, 0.6, (n, n)) + rng.uniform(0, 0.2, n) * np.eye(n)
        matrix[np.arange(n), np.arange(n) - 1] = 1.0  # row maxima that do not vary
        result = permutation_test(matrix, 1, seed, n_bootstrap=500)
        covered += result.low <= truth <= result.high
    assert 0.90 < covered / n_matrices < 0.97


@pytest.mark.parametrize("usable", [0, 1])
def test_nothing_to_test_has_no_p(usable):
    matrix = np.full((3, 3), np.nan)
    matrix[:usable] = 1.0
    result = permutation_test(matrix)
    assert np.isnan([result.statistic, result.low, result.high, result.p]).all()
    assert (result.n, result.n_dropped, result.n_permutations) == (usable, 3 - usable, 0)


def test_bad_matrices_are_named():
    with pytest.raises(ValueError, match="square"):
        permutation_test(np.ones((2, 3)))
    with pytest.raises(ValueError, match="n_permutations"):
        permutation_test(np.eye(3), n_permutations=0)
    with pytest.raises(ValueError, match="n_bootstrap"):
        permutation_test(np.eye(3), n_bootstrap=0)


def test_a_large_matrix_takes_seconds(rng):
    matrix = rng.uniform(0.1, 1, (500, 500))
    start = time.process_time()
    permutation_test(matrix, n_permutations=10_000)
    assert time.process_time() - start < 5


def test_z_scores_are_compared_as_they_are(rng):
    """Also rows that no image drives above the mean."""
    matrix = rng.normal(size=(12, 12)) - 3 + 2 * np.eye(12)
    result = permutation_test(matrix, 999, divide_rows=False)
    off = matrix[~np.eye(12, dtype=bool)]
    assert result.statistic == pytest.approx(np.diag(matrix).mean() - off.mean())
    assert result.n == 12
    assert result.p <= 0.01
    assert permutation_test(matrix, 999).n < 12
