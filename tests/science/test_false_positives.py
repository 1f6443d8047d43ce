"""Tests of the closed loop reject as often as they say in animals without visual drive.

Over 3000 groups: permutation 0.045, Welch 0.045 (8 counts are few and skewed), Wilcoxon 0.043, any
q 0.041.
"""

import pytest
from scipy.stats import kstest

from benchmarks.closed_loop import driven_animal, groups, nominal, rejected, undriven_animal

N_GROUPS, N_PERMUTATIONS, N_BOOTSTRAP = 240, 999, 100


@pytest.fixture(scope="module")
def undriven():
    return list(groups(undriven_animal, N_GROUPS, N_PERMUTATIONS, N_BOOTSTRAP))


def test_false_positives_are_at_their_level(undriven):
    rates = rejected(undriven)
    for name in ("permutation", "welch", "wilcoxon"):
        rate, n_tests = rates[name]
        low, high = nominal(n_tests)
        assert low <= rate <= high, (name, rate, low, high)
    rate, n_tests = rates["any_q"]
    assert rate <= nominal(n_tests)[1]
    assert rates["welch"][1] > 4000


def test_p_of_the_diagonal_is_uniform(undriven):
    assert kstest([group.permutation for group in undriven], "uniform").pvalue > 0.001


def test_wilcoxon_p_is_uniform(undriven):
    assert kstest([group.wilcoxon for group in undriven], "uniform").pvalue > 0.001


def test_drive_is_found():
    rates = rejected(list(groups(driven_animal, 24, N_PERMUTATIONS, N_BOOTSTRAP)))
    assert all(rate > 0.8 for rate, _ in rates.values()), rates
