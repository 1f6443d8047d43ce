"""Oracle scores with a p value: equal numbers of trials per image against shuffled images."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from science.blocks import blocks
from science.metrics import repeated_trials
from science.oracle import Floats, Integers, unknown


def bootstrap_oracle(
    responses: NDArray[np.floating],
    image_index: Integers,
    min_repeats: int = 4,
    n_draws: int = 1000,
    seed: int = 0,
) -> tuple[Floats, Floats]:
    """Leave-one-out oracle over equal numbers of trials per image, tested against shuffled images.

    Parameters
    ----------
    responses : float, (n_trials, n_units)
    image_index : int, (n_trials,)
        Which image each trial showed; repeats may be unequal.
    min_repeats : int
        Images with fewer trials are left out.
    n_draws : int
    seed : int
        Of the draws; all units share them.

    Returns
    -------
    oracle : float64, (n_units,)
        Mean over draws.
    p : float64, (n_units,)
        One-sided, in [1 / (1 + n_draws), 1]. Both are NaN for a unit that is constant, and for
        all when fewer than two images are repeated often enough.

    Notes
    -----
    The `BootstrapOracle` of microns_vei 6 as a sound test. Let n images be left and m be the
    number of trials of the least shown of them.

    1. A draw takes m trials of each image, without replacement, and computes the leave-one-out
       oracle of them. The score is the mean over `n_draws` draws. When all images have m trials
       there is only one draw.
    2. A null draw takes n m of the trials at random, deals them into n groups of m whatever image
       they showed, and computes the same oracle.
    3. ``p = (1 + #{null >= score}) / (1 + n_draws)``.

    Without signal trials are exchangeable. For equal repeats this is a permutation test, hence
    P(p <= a) <= a; for unequal ones the score, a mean over draws, varies less than a null draw,
    which makes p conservative. The original dealt trials of *different* images into a group,
    which is no permutation of the trials and needs at least m images.
    """
    order, counts = repeated_trials(image_index, min_repeats)
    if len(counts) < 2:
        return unknown(responses), unknown(responses)
    trials = np.asarray(responses[order], np.float64)
    silent = np.ptp(trials, axis=0) == 0
    trials -= trials.mean(axis=0)
    rng = np.random.default_rng(seed)
    shape = (len(counts), int(counts.min()))
    n_observed = n_draws if counts.max() > shape[1] else 1
    total = np.zeros(trials.shape[1])
    for draws in blocks(n_observed, trials.size):
        drawn = _within_images(rng, draws.stop - draws.start, counts)
        total += _balanced_oracle(trials, drawn).sum(axis=0)
    oracle = total / n_observed
    n_above = np.zeros(trials.shape[1], np.int64)
    for draws in blocks(n_draws, trials.size):
        drawn = _across_images(rng, draws.stop - draws.start, len(trials), shape)
        null = _balanced_oracle(trials, drawn)
        n_above += np.count_nonzero(null >= oracle - 1e-9, axis=0)  # equal up to rounding
    p = (1 + n_above) / (1 + n_draws)
    return np.where(silent, np.nan, oracle), np.where(silent, np.nan, p)


def _within_images(rng: np.random.Generator, n_draws: int, counts: Integers) -> Integers:
    """Draw min(counts) trials of each image, (n_draws, n_images, n_repeats)."""
    image = np.repeat(np.arange(len(counts)), counts)
    shuffled = np.argsort(image + rng.random((n_draws, len(image))), axis=1, kind="stable")
    starts = np.cumsum(counts) - counts
    return shuffled[:, starts[:, None] + np.arange(counts.min())]


def _across_images(
    rng: np.random.Generator, n_draws: int, n_trials: int, shape: tuple[int, int]
) -> Integers:
    """Draw trials whatever image they showed, (n_draws, n_images, n_repeats)."""
    shuffled = np.argsort(rng.random((n_draws, n_trials)), axis=1)
    return shuffled[:, : shape[0] * shape[1]].reshape(n_draws, *shape)


def _balanced_oracle(trials: Floats, drawn: Integers) -> Floats:
    """Leave-one-out oracle of groups of trials of equal size.

    Parameters
    ----------
    trials : float64, (n_trials, n_units)
        Less their mean over all trials, which keeps the sums of squares accurate.
    drawn : int, (n_draws, n_images, n_repeats)
        Rows of `trials`.

    Returns
    -------
    float64, (n_draws, n_units)
        0 where the drawn trials are constant.

    Notes
    -----
    The Pearson correlation in terms of sums: with t_i the sum of image i's m trials, the others
    of a trial y of it have the mean (t_i - y) / (m - 1).
    """
    n_draws, n_images, m = drawn.shape
    n = n_images * m
    groups = _sum_rows(trials, drawn.reshape(-1, m)).reshape(n_draws, n_images, -1)
    total = groups.sum(axis=1)
    between = np.square(groups).sum(axis=1)
    squares = _sum_rows(np.square(trials), drawn.reshape(n_draws, n))
    covariance = (between - squares) / (m - 1) - total**2 / n
    variance = squares - total**2 / n
    of_others = ((m - 2) * between + squares) / (m - 1) ** 2 - total**2 / n
    varies = (variance > 1e-12 * squares) & (of_others > 0)
    scale = np.sqrt(np.where(varies, variance * of_others, np.inf))
    return np.clip(covariance / scale, -1, 1)


def _sum_rows(values: Floats, rows: Integers) -> Floats:
    """Sum the rows (n_sums, n_rows) of values (n_trials, n_units), each row once per sum."""
    n_sums, n_rows = rows.shape
    pointers = np.arange(0, rows.size + 1, n_rows)
    chosen = csr_array((np.ones(rows.size), rows.ravel(), pointers), (n_sums, len(values)))
    return chosen @ values
