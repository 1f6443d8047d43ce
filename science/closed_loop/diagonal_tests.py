"""Tests of responses to the own image against responses to its control, neuron by neuron and all.

The control is an image of another kind made for the same neuron: a linear MEI, a Gabor.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from science.closed_loop.intervals import percentile_interval

Floats = NDArray[np.float64]

ROUNDING = 1e-12  # of the larger mean: a standard error below is that of constant responses


@dataclass(frozen=True)
class WelchTests:
    """Two-sided Welch t tests of u neurons over repeats (microns_vei 10.6, 10.7).

    Attributes
    ----------
    difference : float64, (u,)
        mean_a - mean_b; NaN where one of them is.
    sem : float64, (u,)
        Its standard error, sqrt(sem_a**2 + sem_b**2), with sample variances; NaN for fewer than
        two repeats of either.
    t : float64, (u,)
        difference / sem; NaN where sem is, and where both responses never vary: without noise
        to compare it with, no difference is large or small.
    df : float64, (u,)
        Degrees of freedom of Welch and Satterthwaite; NaN as t.
    p : float64, (u,)
        NaN as t.
    q : float64, (u,)
        p adjusted for the neurons that have one (Benjamini & Hochberg 1995): those with q <= 0.05
        are found at a false discovery rate of 5 %. NaN as t.
    difference_rank, t_rank : int64, (u,)
        Neurons with a larger difference or t, 0 = the largest; -1 where it is NaN.
    """

    difference: Floats
    sem: Floats
    t: Floats
    df: Floats
    p: Floats
    q: Floats
    difference_rank: NDArray[np.int64]
    t_rank: NDArray[np.int64]


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % bootstrap interval over neurons; NaN where it is not defined.

    Attributes
    ----------
    value, low, high : float
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PopulationTest:
    """Paired comparison of the mean responses of a population to two kinds of images.

    Attributes
    ----------
    w : float
        Wilcoxon signed-rank statistic: the smaller of the rank sums of positive and negative
        differences. Differences of 0 are left out.
    p : float
        Two-sided. Both are NaN for fewer than two neurons, or if all differences are 0.
    n : int
        Neurons with both responses.
    n_dropped : int
        Neurons without.
    median_difference : Estimate
        Median over neurons of a - b.
    rank_biserial : Estimate
        Matched-pairs rank-biserial correlation, the difference of the two rank sums over their
        sum, in [-1, 1]; 1 = a is larger in all neurons (Kerby 2014, Compr Psychol 3:1).
    ratio : Estimate
        mean(a) / mean(b) over neurons. NaN if a response is negative, as z-scores are, or if all
        of b are 0: such responses have no ratio.
    """

    w: float
    p: float
    n: int
    n_dropped: int
    median_difference: Estimate
    rank_biserial: Estimate
    ratio: Estimate


def welch_tests(
    mean_a: ArrayLike,
    var_a: ArrayLike,
    n_a: ArrayLike,
    mean_b: ArrayLike,
    var_b: ArrayLike,
    n_b: ArrayLike,
) -> WelchTests:
    """Test for each neuron whether two images drive it differently (microns_vei 10.7).

    Parameters
    ----------
    mean_a, mean_b : float, (u,)
        Mean responses, as on the diagonals of two `Confusion.mean`; NaN if not shown.
    var_a, var_b : float, (u,)
        Population variances over repeats (ddof 0), as in `Confusion.variance`; NaN if not shown.
    n_a, n_b : int, (u,)
        Repeats.

    Returns
    -------
    WelchTests

    Raises
    ------
    ValueError
        If the arrays are not vectors of one length, or a variance or number is negative.
    """
    given = {"mean_a": mean_a, "var_a": var_a, "n_a": n_a}
    given |= {"mean_b": mean_b, "var_b": var_b, "n_b": n_b}
    arrays = {name: np.asarray(values, np.float64) for name, values in given.items()}
    if any(a.ndim != 1 for a in arrays.values()) or len({a.shape for a in arrays.values()}) != 1:
        shapes = ", ".join(f"{name} {a.shape}" for name, a in arrays.items())
        raise ValueError(f"Welch tests need one number per neuron each, got shapes {shapes}")
    for name in ("var_a", "n_a", "var_b", "n_b"):
        if (arrays[name] < 0).any():
            raise ValueError(f"{name} must not be negative")
    mean_a, var_a, n_a, mean_b, var_b, n_b = arrays.values()
    free_a, free_b = (np.where(n > 1, n - 1, np.nan) for n in (n_a, n_b))
    square_a, square_b = var_a / free_a, var_b / free_b  # squared standard errors
    difference, sem = mean_a - mean_b, np.sqrt(square_a + square_b)
    larger = np.maximum(np.abs(mean_a), np.abs(mean_b))
    noise = np.where(sem > ROUNDING * larger, sem, np.nan)
    t = difference / noise
    # shares of the squared error, which do not underflow
    share_a, share_b = square_a / noise**2, square_b / noise**2
    df = 1 / (share_a**2 / free_a + share_b**2 / free_b)
    p = 2 * stats.t.sf(np.abs(t), df)
    return WelchTests(
        difference=difference,
        sem=sem,
        t=t,
        df=df,
        p=p,
        q=_false_discovery(p),
        difference_rank=_rank(difference),
        t_rank=_rank(t),
    )


def population_test(
    a: ArrayLike, b: ArrayLike, seed: int, n_bootstrap: int = 10_000
) -> PopulationTest:
    """Compare the mean responses of a population to two kinds of images (microns_vei 10.7).

    The test is a two-sided Wilcoxon signed-rank test; each effect size has a percentile interval
    over neurons, drawn in pairs.

    Parameters
    ----------
    a, b : float, (u,)
        Mean response of each neuron to its image of one and of the other kind; NaN if not shown.
    seed : int
        Seed of the bootstrap.
    n_bootstrap : int
        Draws, >= 1.

    Returns
    -------
    PopulationTest

    Raises
    ------
    ValueError
        If a and b are not vectors of one length, or nothing to draw is asked for.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"a and b must be one response per neuron, got {a.shape} and {b.shape}")
    if n_bootstrap < 1:
        raise ValueError(f"n_bootstrap must be at least 1, got {n_bootstrap}")
    known = np.isfinite(a) & np.isfinite(b)
    a, b, n_dropped = a[known], b[known], int(np.count_nonzero(~known))
    difference = a - b
    w = p = math.nan
    if len(a) > 1 and difference.any():
        w, p = map(float, stats.wilcoxon(difference))
    rngs = np.random.default_rng(seed).spawn(3)

    def estimate(
        statistic: Callable[..., Floats], rng: np.random.Generator, *samples: Floats
    ) -> Estimate:
        value = float(statistic(*samples)) if len(a) > 1 else math.nan
        if math.isnan(value):
            return Estimate(value, value, value)
        interval = percentile_interval(statistic, *samples, n_bootstrap=n_bootstrap, rng=rng)
        return Estimate(value, *interval)

    return PopulationTest(
        w=w,
        p=p,
        n=len(a),
        n_dropped=n_dropped,
        median_difference=estimate(np.median, rngs[0], difference),
        rank_biserial=estimate(_rank_biserial, rngs[1], difference),
        ratio=estimate(_ratio, rngs[2], a, b),
    )


def _false_discovery(p: Floats) -> Floats:
    """Q values of the p values that are known."""
    q, known = np.full_like(p, np.nan), ~np.isnan(p)
    if known.any():
        q[known] = stats.false_discovery_control(p[known])
    return q


def _rank(values: Floats) -> NDArray[np.int64]:
    """Rank from 0 = largest, equals alike; -1 where NaN."""
    rank, known = np.full(len(values), -1, np.int64), ~np.isnan(values)
    rank[known] = stats.rankdata(-values[known], method="min") - 1
    return rank


def _rank_biserial(difference: Floats, axis: int = -1) -> Floats:
    """Rank-biserial correlation of paired differences; NaN where all are 0."""
    zeros = np.count_nonzero(difference == 0, axis=axis, keepdims=True)
    rank = np.maximum(stats.rankdata(np.abs(difference), axis=axis) - zeros, 0)
    rank *= difference != 0
    total = rank.sum(axis=axis)
    return (np.sign(difference) * rank).sum(axis=axis) / np.where(total > 0, total, np.nan)


def _ratio(a: Floats, b: Floats, axis: int = -1) -> Floats:
    """Ratio of means; NaN where a response is negative or all of b are 0."""
    meaningful = (np.minimum(a, b) >= 0).all(axis=axis) & b.any(axis=axis)
    return a.mean(axis=axis) / np.where(meaningful, b.mean(axis=axis), np.nan)
