import warnings
from itertools import product

import numpy as np
import pytest
from scipy import stats

from science.closed_loop import confusion, diagonal, population_test, welch_tests


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def moments(samples):
    """Mean, population variance and number of each sample, as in a `Confusion`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of nothing
        return (
            np.array([np.mean(s) for s in samples]),
            np.array([np.var(s) for s in samples]),
            np.array([len(s) for s in samples]),
        )


# Welch -------------------------------------------------------------------------------------------


@pytest.fixture
def repeats(rng):
    """Repeats of 60 neurons to two images: other numbers, variances and means."""
    return tuple(
        [rng.gamma(2, rng.uniform(0.5, 3), rng.integers(2, 25)) + shift for _ in range(60)]
        for shift in (1.0, 0.0)
    )


def test_welch_equals_scipy(repeats):
    result = welch_tests(*moments(repeats[0]), *moments(repeats[1]))
    assert 0.01 < np.mean(result.p < 0.05) < 0.9
    for i, (a, b) in enumerate(zip(*repeats, strict=True)):
        expected = stats.ttest_ind(a, b, equal_var=False)
        assert result.t[i] == pytest.approx(expected.statistic, rel=1e-12)
        assert result.df[i] == pytest.approx(expected.df, rel=1e-12)
        assert result.p[i] == pytest.approx(expected.pvalue, rel=1e-12)
        assert result.difference[i] == pytest.approx(a.mean() - b.mean(), rel=1e-12)
        assert result.sem[i] == pytest.approx(np.hypot(stats.sem(a), stats.sem(b)), rel=1e-12)
    np.testing.assert_allclose(result.q, stats.false_discovery_control(result.p), rtol=1e-12)
    assert result.difference_rank[np.argsort(-result.difference)].tolist() == list(range(60))
    assert result.t_rank[np.argsort(-result.t)].tolist() == list(range(60))


def test_welch_of_two_confusion_matrices(rng):
    image_unit = rng.integers(0, 5, (2, 80))
    responses = rng.gamma(2, 3, (2, 80, 5))
    one, other = (confusion(*pair) for pair in zip(responses, image_unit, strict=True))
    result = welch_tests(*(np.diag(x) for m in (one, other) for x in (m.mean, m.variance, m.n)))
    for i in range(5):
        own = [r[unit == i, i] for r, unit in zip(responses, image_unit, strict=True)]
        assert result.p[i] == pytest.approx(stats.ttest_ind(*own, equal_var=False).pvalue)
    np.testing.assert_allclose(result.sem, np.hypot(diagonal(one).sem, diagonal(other).sem))


def test_q_is_over_the_neurons_that_have_a_p(repeats):
    whole = welch_tests(*moments(repeats[0][:30]), *moments(repeats[1][:30]))
    a = [*repeats[0][:30], [1.0], [], [2.0, 3.0], [0.1] * 7, [0.0] * 3]
    b = [*repeats[1][:30], [1.0, 2.0], [1.0, 2.0], [4.0], [0.3] * 5, [0.0] * 3]
    result = welch_tests(*moments(a), *moments(b))
    for name in ("t", "df", "p", "q"):
        values = getattr(result, name)
        np.testing.assert_allclose(values[:30], getattr(whole, name), rtol=1e-12)
        assert np.isnan(values[30:]).all()
    assert np.isnan(result.sem[30:33]).all() and result.t_rank[30:].tolist() == [-1] * 5
    np.testing.assert_allclose(result.difference[30:], [-0.5, np.nan, -1.5, -0.2, 0.0])
    assert result.difference_rank[31] == -1 and (np.delete(result.difference_rank, 31) >= 0).all()


def test_one_silent_image_can_be_tested():
    a, b = [3.0, 4.0, 5.0, 4.0], [0.0, 0.0, 0.0]
    result = welch_tests(*moments([a]), *moments([b]))
    expected = stats.ttest_ind(a, b, equal_var=False)
    assert result.p[0] == pytest.approx(expected.pvalue) and result.df[0] == pytest.approx(3)


def test_equals_share_a_rank():
    result = welch_tests([1.0, 3, 1, 0], [1.0] * 4, [4] * 4, [0.0] * 4, [1.0] * 4, [4] * 4)
    assert result.difference_rank.tolist() == result.t_rank.tolist() == [1, 0, 1, 3]


def test_bad_moments_are_named():
    with pytest.raises(ValueError, match=r"n_b \(1,\)"):
        welch_tests([1.0, 2], [1.0, 1], [2, 2], [1.0, 2], [1.0, 1], [2])
    with pytest.raises(ValueError, match="var_b must not be negative"):
        welch_tests([1.0], [1.0], [2], [1.0], [-1.0], [2])
    assert welch_tests(*6 * [[]]).q.shape == (0,)


# Wilcoxon and effect sizes -----------------------------------------------------------------------


def plain_rank_biserial(difference):
    difference = difference[difference != 0]
    ranks = stats.rankdata(abs(difference))
    return (ranks[difference > 0].sum() - ranks[difference < 0].sum()) / ranks.sum()


def test_population_test_equals_scipy(rng):
    a = rng.integers(0, 12, 40) / 4
    b = rng.integers(0, 9, 40) / 4
    assert (a == b).any()
    a[3], b[7] = np.nan, np.nan
    result = population_test(a, b, seed=1)
    known = np.isfinite(a - b)
    a, b = a[known], b[known]
    expected = stats.wilcoxon(a, b)
    assert (result.w, result.p) == (expected.statistic, expected.pvalue)
    assert (result.n, result.n_dropped) == (38, 2)
    assert result.median_difference.value == np.median(a - b)
    assert result.rank_biserial.value == pytest.approx(plain_rank_biserial(a - b), abs=1e-12)
    assert result.ratio.value == pytest.approx(a.mean() / b.mean())


def test_intervals_are_those_of_a_plain_bootstrap(rng):
    b = rng.gamma(3, 1, 60)
    a = b * rng.uniform(0.9, 1.5, 60)
    result = population_test(a, b, seed=1)
    draws = rng.integers(60, size=(4000, 60))
    for name, statistic in {
        "median_difference": lambda i: np.median(a[i] - b[i]),
        "rank_biserial": lambda i: plain_rank_biserial(a[i] - b[i]),
        "ratio": lambda i: a[i].mean() / b[i].mean(),
    }.items():
        values = np.array([statistic(i) for i in draws])
        low, high = np.quantile(values, [0.025, 0.975])
        estimate = getattr(result, name)
        assert estimate.low == pytest.approx(low, abs=0.25 * values.std()), name
        assert estimate.high == pytest.approx(high, abs=0.25 * values.std()), name
        assert estimate.low < estimate.value < estimate.high
    assert population_test(a, b, seed=1) == result
    assert population_test(a, b, seed=2).ratio != result.ratio


def test_intervals_cover_the_truth(rng):
    truth = {"median_difference": np.log(2), "ratio": 1.5}  # of a - b exponential, b exponential
    covered = dict.fromkeys(truth, 0)
    for seed in range(300):
        b = 2 * rng.exponential(size=50)
        result = population_test(b + rng.exponential(size=50), b, seed, n_bootstrap=500)
        for name, value in truth.items():
            estimate = getattr(result, name)
            covered[name] += estimate.low <= value <= estimate.high
    assert all(0.90 < n / 300 < 0.98 for n in covered.values()), covered


def test_z_scores_have_no_ratio(rng):
    a, b = rng.standard_normal((2, 20))
    result = population_test(a, b, seed=0)
    assert np.isnan([result.ratio.value, result.ratio.low, result.ratio.high]).all()
    assert np.isfinite([result.p, result.rank_biserial.low, result.median_difference.low]).all()
    assert np.isnan(population_test(abs(a), 0 * b, seed=0).ratio.value)


def test_nothing_to_compare_has_no_p():
    nan = np.nan
    for a, b in (([], []), ([1.0], [2.0]), ([1.0, nan, 2.0], [nan, 1.0, 3.0])):
        result = population_test(a, b, seed=0)
        assert np.isnan([result.w, result.p, result.median_difference.value]).all()
        assert result.n + result.n_dropped == len(a)
    same = population_test([1.0, 2, 3], [1.0, 2, 3], seed=0)
    assert np.isnan([same.w, same.p, same.rank_biserial.value]).all()
    assert (same.n, same.median_difference.value, same.ratio.value) == (3, 0.0, 1.0)


def test_two_neurons_are_compared():
    for signs in product([-1, 1], repeat=2):
        result = population_test(np.array([1.0, 2.0]) * signs, [0.0, 0.0], seed=0)
        assert result.p == (0.5 if signs[0] == signs[1] else 1.0)
        assert result.rank_biserial.value == pytest.approx((signs[0] + 2 * signs[1]) / 3)


def test_bad_responses_are_named():
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        population_test([1.0, 2], [1.0, 2, 3], seed=0)
    with pytest.raises(ValueError, match="n_bootstrap"):
        population_test([1.0, 2], [1.0, 3], seed=0, n_bootstrap=0)
