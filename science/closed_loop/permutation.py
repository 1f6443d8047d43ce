"""Permutation test of the diagonal of a confusion matrix."""

import math
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from science.blocks import blocks
from science.closed_loop.intervals import percentile_interval


@dataclass(frozen=True)
class PermutationResult:
    """Test that the diagonal of a confusion matrix differs from the rest.

    Attributes
    ----------
    statistic : float
        mean(diagonal) - mean(off-diagonal) of the row-normalised matrix: the effect size.
    low, high : float
        95 % bootstrap interval of the statistic over neurons, given these images. Noise that
        neurons share in a trial is not in it, and with few neurons it is a little narrow: without
        drive, 7 % of those of 19 neurons exclude 0. The test is p.
    p : float
        Two-sided p value, (1 + #{|T*| >= |T|}) / (1 + n_permutations).
        It, statistic, low and high are NaN for fewer than two neurons, and nothing is drawn.
    n : int
        Neurons that entered.
    n_dropped : int
        Neurons left out: those without a (positive) response, then, until all entries are known,
        the one with the most unknown entries in its row and column.
    n_permutations : int
        Permutations compared; all n! - 1 others when there are no more than asked for.
    """

    statistic: float
    low: float
    high: float
    p: float
    n: int
    n_dropped: int
    n_permutations: int


def permutation_test(
    matrix: ArrayLike,
    n_permutations: int = 10_000,
    seed: int = 0,
    n_bootstrap: int = 10_000,
    divide_rows: bool = True,
) -> PermutationResult:
    """Two-sided permutation test of the diagonal of a confusion matrix (microns_vei 10.7).

    Each neuron's row is divided by its maximum, unless told otherwise;
    T = mean(diagonal) - mean(off-diagonal); image labels (columns) are permuted. The total of the
    matrix does not change under a permutation, so T* depends on it only through the sum of the n
    entries it puts on the diagonal. If there are no more than `n_permutations` other permutations,
    all are enumerated and p is exact.

    T is also the mean over neurons of the contrast d_i = diagonal_i - mean(rest of row i). The
    interval is that of the mean of contrasts drawn from these with replacement (percentiles).

    Parameters
    ----------
    matrix : float, (u, u)
        Mean responses, rows neurons, columns images (`Confusion.mean`).
    n_permutations : int
        Random permutations, >= 1.
    seed : int
        Seed of the permutations and of the bootstrap.
    n_bootstrap : int
        Draws of the bootstrap, >= 1.
    divide_rows : bool
        Not for z-scores: they are comparable as they are, and a maximum below 0 divides nothing.

    Returns
    -------
    PermutationResult

    Raises
    ------
    ValueError
        Matrix not square, or nothing to draw asked for.

    Examples
    --------
    Cells that respond to their own image only; of all orders of four images none other is as good.

    >>> result = permutation_test(np.eye(4))
    >>> result.statistic, result.p
    (1.0, 0.041666666666666664)
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"the confusion matrix must be square, got shape {matrix.shape}")
    for name, number in (("n_permutations", n_permutations), ("n_bootstrap", n_bootstrap)):
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")
    scaled = _usable(matrix, divide_rows)
    n = len(scaled)
    if n < 2:
        return PermutationResult(*4 * [math.nan], n, len(matrix) - n, 0)
    rng = np.random.default_rng(seed)
    (bootstrap_rng,) = rng.spawn(1)
    expected = scaled.sum() / n  # of the diagonal sum, over all permutations
    observed = np.trace(scaled) - expected
    permuted = _permuted_diagonal_sums(scaled, n_permutations, rng) - expected
    # Sums in another order differ by rounding: without slack, ties would be decided by chance.
    slack = 1e-12 * np.abs(scaled).sum()
    extreme = np.count_nonzero(np.abs(permuted) >= abs(observed) - slack)
    own = np.diag(scaled)
    contrast = own - (scaled.sum(axis=1) - own) / (n - 1)
    low, high = percentile_interval(np.mean, contrast, n_bootstrap=n_bootstrap, rng=bootstrap_rng)
    return PermutationResult(
        statistic=float(observed / (n - 1)),
        low=low,
        high=high,
        p=float((1 + extreme) / (1 + len(permuted))),
        n=n,
        n_dropped=len(matrix) - n,
        n_permutations=len(permuted),
    )


def _usable(matrix: NDArray[np.float64], divide_rows: bool) -> NDArray[np.float64]:
    """Keep neurons all of whose entries are known, and divide rows by their maximum if asked."""
    known = np.isfinite(matrix)
    largest = np.where(known, matrix, -np.inf).max(axis=1, initial=-np.inf)
    if not divide_rows:
        largest = np.where(np.isfinite(largest), 1.0, largest)
    keep = np.flatnonzero(largest > 0)
    while (unknown := ~known[np.ix_(keep, keep)]).any():
        keep = np.delete(keep, np.argmax(unknown.sum(axis=0) + unknown.sum(axis=1)))
    return matrix[np.ix_(keep, keep)] / largest[keep, None]


def _permuted_diagonal_sums(
    scaled: NDArray[np.float64], n_permutations: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Sum of the entries each permutation of the columns puts on the diagonal."""
    n = len(scaled)
    rows = np.arange(n)
    if n <= 20 and math.factorial(n) - 1 <= n_permutations:
        others = np.array(list(permutations(range(n)))[1:])  # the first is the identity
        return scaled[rows, others].sum(axis=1)
    sums = []
    for block in blocks(n_permutations, n):
        labels = np.tile(rows, (block.stop - block.start, 1))
        sums.append(scaled[rows, rng.permuted(labels, axis=1)].sum(axis=1))
    return np.concatenate(sums)
