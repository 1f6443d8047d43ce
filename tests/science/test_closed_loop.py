import time
from itertools import permutations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.stats import kstest, sem

from science.closed_loop import (
    BestMatch,
    Confusion,
    MatchParams,
    confusion,
    diagonal,
    majority_match,
    match_nearest,
    permutation_test,
    pool,
    scale_responses,
)

NEAREST = MatchParams(max_distance=None, one_to_one=False)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


# Matching ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cap", [None, 10.0])
@pytest.mark.parametrize("one_to_one", [False, True])
def test_jittered_cells_are_found_again(rng, cap, one_to_one):
    grid = np.stack(np.meshgrid(*3 * [np.arange(6) * 20.0]), -1).reshape(-1, 3)
    order = rng.permutation(len(grid))
    jittered = grid[order] + rng.uniform(-3, 3, grid.shape)
    params = MatchParams(max_distance=cap, one_to_one=one_to_one)
    index, distance = match_nearest(grid, jittered, params)
    np.testing.assert_array_equal(index, np.argsort(order))
    np.testing.assert_allclose(distance, np.linalg.norm(grid - jittered[index], axis=1))


def test_cap_is_inclusive_and_coincident_cells_match():
    source = [[0, 0, 0], [100, 0, 0], [200, 0, 0]]
    target = [[0, 0, 0], [110, 0, 0], [210.1, 0, 0]]
    for one_to_one in (False, True):
        params = MatchParams(max_distance=10, one_to_one=one_to_one)
        index, distance = match_nearest(source, target, params)
        assert index.tolist() == [0, 1, -1]
        np.testing.assert_allclose(distance, [0, 10, np.nan])


def test_two_sources_share_a_target_only_if_allowed():
    source, target = [[0, 0, 0], [1, 0, 0]], [[0.2, 0, 0]]
    assert match_nearest(source, target, NEAREST)[0].tolist() == [0, 0]
    for cap in (None, 10.0):
        index, _ = match_nearest(source, target, MatchParams(max_distance=cap))
        assert index.tolist() == [0, -1]


def test_close_pair_is_not_broken_up_for_a_distant_one():
    source, target = [[0, 0, 0], [-8, 0, 0]], [[1, 0, 0], [9.5, 0, 0]]
    assert match_nearest(source, target, MatchParams())[0].tolist() == [0, -1]


def test_assignment_equals_a_dense_solution(rng):
    source, target = rng.uniform(0, 40, (60, 3)), rng.uniform(0, 40, (50, 3))
    cap = 8.0
    index, _ = match_nearest(source, target, MatchParams(max_distance=cap))
    cost = np.where((d := cdist(source, target)) <= cap, d, 1e6)
    rows, columns = linear_sum_assignment(np.hstack([cost, np.full((60, 60), cap)]))
    expected = np.where(columns < 50, columns, -1)[np.argsort(rows)]
    np.testing.assert_array_equal(index, expected)
    assert 0 < (index < 0).sum() < 60


@pytest.mark.parametrize("params", [NEAREST, MatchParams(), MatchParams(max_distance=None)])
def test_nothing_to_match(params):
    assert match_nearest(np.empty((0, 3)), np.ones((2, 3)), params)[0].shape == (0,)
    index, distance = match_nearest(np.ones((2, 3)), np.empty((0, 3)), params)
    assert index.tolist() == [-1, -1] and np.isnan(distance).all()


def test_bad_positions_are_named():
    with pytest.raises(ValueError, match="target_xyz"):
        match_nearest(np.ones((2, 3)), [[1, 2, np.nan]], NEAREST)
    with pytest.raises(ValueError, match="source_xyz"):
        match_nearest(np.ones((2, 2)), np.ones((2, 3)), NEAREST)


def test_majority_settles_matches_and_ties():
    votes = [
        (7, 1, 2.0), (7, 1, 9.0), (7, 2, 0.5),  # two stacks outvote a closer one
        (3, 5, 4.0), (3, 4, 3.0),  # a tie goes to the smaller distance
        (9, 8, 1.0), (9, 6, 1.0),  # and then to the smaller target
    ]  # fmt: skip
    best = majority_match(votes)
    assert list(best) == [3, 7, 9]
    assert best[7] == BestMatch(target=1, n_votes=2, mean_distance=5.5)
    assert best[3] == BestMatch(target=4, n_votes=1, mean_distance=3.0)
    assert best[9].target == 6
    assert majority_match(reversed(votes)) == best


# Confusion matrices ------------------------------------------------------------------------------


def test_scaling(rng):
    responses = rng.gamma(2, 3, (40, 5))
    responses[:, 2] = 0.1
    np.testing.assert_array_equal(scale_responses(responses, "raw"), responses)
    zscored = scale_responses(responses, "zscored")
    normalized = scale_responses(responses, "normalized")
    assert np.isnan(zscored[:, 2]).all() and np.isnan(normalized[:, 2]).all()
    varying = [0, 1, 3, 4]
    np.testing.assert_allclose(zscored[:, varying].mean(0), 0, atol=1e-12)
    for scaled in (zscored, normalized):
        np.testing.assert_allclose(scaled[:, varying].std(0, ddof=1), 1)
    ratio = normalized[:, varying] / responses[:, varying]
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[0], ratio.shape))


def test_bad_responses_are_named():
    with pytest.raises(ValueError, match=r"units \[1\]"):
        scale_responses([[1.0, np.nan], [2.0, 1.0]], "raw")
    with pytest.raises(ValueError, match="at least 2 trials"):
        scale_responses([[1.0, 2.0]], "zscored")
    with pytest.raises(ValueError, match="'whitened'"):
        scale_responses([[1.0], [2.0]], "whitened")
    with pytest.raises(ValueError, match="from -1 to 1"):
        confusion(np.ones((3, 2)), [0, 1, 2])
    with pytest.raises(ValueError, match="one image_unit per trial"):
        confusion(np.ones((3, 2)), [0, 1])


def trials(rng, n_trials=90, units=6):
    responses = rng.gamma(2, 3, (n_trials, units))
    image_unit = rng.integers(-1, units, n_trials)
    image_unit[image_unit == 4] = -1  # image 4 was never shown
    return responses, image_unit


def test_confusion_equals_a_plain_loop(rng):
    responses, image_unit = trials(rng)
    result = confusion(responses, image_unit)
    for neuron in range(6):
        for image in range(6):
            shown = responses[image_unit == image, neuron]
            assert result.n[neuron, image] == len(shown)
            if image == 4:
                assert np.isnan(result.mean[neuron, image])
                assert np.isnan(result.variance[neuron, image])
            else:
                assert result.mean[neuron, image] == pytest.approx(np.mean(shown))
                assert result.variance[neuron, image] == pytest.approx(np.var(shown, ddof=0))


def test_variance_survives_a_large_offset(rng):
    responses, image_unit = trials(rng)
    plain, shifted = (confusion(responses + o, image_unit) for o in (0.0, 1e6))
    np.testing.assert_allclose(shifted.variance, plain.variance, rtol=1e-6)


def test_an_unscalable_unit_stays_in_its_row(rng):
    responses, image_unit = trials(rng)
    responses[:, 3] = np.nan
    result = confusion(responses, image_unit)
    assert np.isnan(result.mean[3]).all()
    assert np.isfinite(np.delete(np.delete(result.mean, 3, 0), 4, 1)).all()


def test_pooling_equals_concatenated_trials(rng):
    scans = [trials(rng, n) for n in (90, 40, 12)]
    pooled = pool([confusion(*scan) for scan in scans])
    direct = confusion(*(np.concatenate(parts) for parts in zip(*scans, strict=True)))
    np.testing.assert_array_equal(pooled.n, direct.n)
    np.testing.assert_allclose(pooled.mean, direct.mean)
    np.testing.assert_allclose(pooled.variance, direct.variance)
    with pytest.raises(ValueError, match="at least one"):
        pool([])


def test_diagonal(rng):
    responses, image_unit = trials(rng)
    responses[image_unit == 2, 2] += 50
    responses[image_unit == 0, 1] += 50  # image 0 drives neuron 1 more than its own
    result = diagonal(confusion(responses, image_unit))
    own = responses[image_unit == 2, 2]
    assert result.response[2] == pytest.approx(own.mean())
    assert result.sem[2] == pytest.approx(sem(own))
    assert result.row_max[2] and not result.row_max[1]
    assert np.isnan(result.response[4]) and np.isnan(result.sem[4]) and not result.row_max[4]


def test_diagonal_of_single_repeats_has_no_sem():
    single = Confusion(np.eye(2), np.zeros((2, 2)), np.ones((2, 2), dtype=int))
    assert np.isnan(diagonal(single).sem).all()


# Permutation test --------------------------------------------------------------------------------


def contrast(matrix):
    own = np.eye(len(matrix), dtype=bool)
    return matrix[own].mean() - matrix[~own].mean()


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


@pytest.mark.parametrize("usable", [0, 1])
def test_nothing_to_test_has_no_p(usable):
    matrix = np.full((3, 3), np.nan)
    matrix[:usable] = 1.0
    result = permutation_test(matrix)
    assert np.isnan(result.statistic) and np.isnan(result.p)
    assert (result.n, result.n_dropped, result.n_permutations) == (usable, 3 - usable, 0)


def test_bad_matrices_are_named():
    with pytest.raises(ValueError, match="square"):
        permutation_test(np.ones((2, 3)))
    with pytest.raises(ValueError, match="n_permutations"):
        permutation_test(np.eye(3), n_permutations=0)


def test_a_large_matrix_takes_seconds(rng):
    matrix = rng.uniform(0.1, 1, (500, 500))
    start = time.process_time()
    permutation_test(matrix, n_permutations=10_000)
    assert time.process_time() - start < 5
