"""Oracle scores: how well trials of an image are predicted by other trials of the same image.

All methods take trials with an image index, so numbers of repeats may differ between images.
Responses are finite; a unit whose response never varies has no score, NaN. With fewer than two
images to compare nothing is known of any unit.
"""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.stats import rankdata

from science.blocks import blocks
from science.metrics import correlation, repeated_trials
from science.params import Params

Floats = NDArray[np.float64]
Integers = NDArray[np.integer]


class _OracleMethod(Params):
    """What all methods share.

    Attributes
    ----------
    images : {'test', 'all'}
        Which images are looked at: those of the test tier, or all (the Allen study).
    min_fev : float
        Units whose fraction of explainable variance is above are marked as included.
    """

    images: Literal["test", "all"] = "test"
    min_fev: float = Field(0.15, ge=0.0, lt=1.0)


class LeaveOneOut(_OracleMethod):
    """Each trial is predicted by the mean of the other trials of its image (microns_vei 6).

    Attributes
    ----------
    min_repeats : int
        Images shown less often are left out.
    """

    method: Literal["leave_one_out"] = "leave_one_out"
    min_repeats: int = Field(4, ge=2)


class RepeatDraw(_OracleMethod):
    """One trial of each image is predicted by the others, many times over (allen_mei 3).

    Attributes
    ----------
    n_draws : int
    seed : int
    """

    method: Literal["repeat_draw"] = "repeat_draw"
    n_draws: int = Field(50, ge=1, le=10_000)
    seed: int = Field(0, ge=0)


class Bootstrap(_OracleMethod):
    """Leave-one-out over equal numbers of trials, against shuffled images (microns_vei 6).

    Attributes
    ----------
    min_repeats : int
        Images shown less often are left out; of the others as many trials are drawn as the least
        shown one has.
    n_draws : int
        Of trials, and of shuffles: the smallest possible p is 1 / (1 + n_draws).
    seed : int
    """

    method: Literal["bootstrap"] = "bootstrap"
    min_repeats: int = Field(4, ge=2)
    n_draws: int = Field(1000, ge=1, le=100_000)
    seed: int = Field(0, ge=0)


OracleParams = Annotated[LeaveOneOut | RepeatDraw | Bootstrap, Field(discriminator="method")]


def leave_one_out_oracle(
    responses: NDArray[np.floating], image_index: Integers, min_repeats: int = 4
) -> Floats:
    """Correlate each trial with the mean of the other trials of the same image.

    Parameters
    ----------
    responses : float, (n_trials, n_units)
    image_index : int, (n_trials,)
        Which image each trial showed; repeats may be unequal.
    min_repeats : int
        Images with fewer trials are left out.

    Returns
    -------
    float64, (n_units,)
        Pearson correlation over trials and images; NaN where the unit or its leave-one-out means
        are constant, and for every unit when fewer than two images are repeated often enough.

    Notes
    -----
    microns_vei 6, with the (n-1)/n factor of its correlation corrected. With a single image the
    score is -1 by construction and says nothing, hence NaN. For r repeats of many images, signal
    variance S and noise variance N its value is ``S / sqrt((S + N) (S + N / (r - 1)))``.

    Examples
    --------
    >>> trials = np.array([[1.0], [1.0], [3.0], [3.0]])
    >>> leave_one_out_oracle(trials, np.array([0, 0, 1, 1]), min_repeats=2)
    array([1.])
    """
    pairs = _leave_one_out(responses, image_index, min_repeats)
    return unknown(responses) if pairs is None else correlation(*pairs)


def leave_one_out_spearman(
    responses: NDArray[np.floating], image_index: Integers, min_repeats: int = 4
) -> Floats:
    """Correlate ranks of trials with ranks of the means of the other trials of their images.

    Parameters
    ----------
    responses, image_index, min_repeats
        As in `leave_one_out_oracle`.

    Returns
    -------
    float64, (n_units,)
        Spearman correlation, NaN as in `leave_one_out_oracle`.

    Notes
    -----
    microns_vei 6, except that ties share their mean rank. The original ranks ties by position;
    as trials are sorted by image, that alone correlates silent trials with silent means.
    """
    pairs = _leave_one_out(responses, image_index, min_repeats)
    if pairs is None:
        return unknown(responses)
    return correlation(*(rankdata(values, axis=0) for values in pairs))


def _leave_one_out(
    responses: NDArray[np.floating], image_index: Integers, min_repeats: int
) -> tuple[Floats, Floats] | None:
    """Trials and the means of the other trials of their images; None without two images."""
    order, counts = repeated_trials(image_index, min_repeats)
    if len(counts) < 2:
        return None
    trials = np.asarray(responses[order], np.float64)
    totals = np.add.reduceat(trials, np.cumsum(counts) - counts)
    n_others = np.repeat(counts - 1, counts)[:, None]
    return trials, (np.repeat(totals, counts, axis=0) - trials) / n_others


def repeat_draw_scores(
    responses: NDArray[np.floating], image_index: Integers, n_draws: int = 50, seed: int = 0
) -> Floats:
    """Correlate a random trial of each image with the mean of its other trials, many times.

    Parameters
    ----------
    responses : float, (n_trials, n_units)
    image_index : int, (n_trials,)
        Which image each trial showed; repeats may be unequal.
    n_draws : int
    seed : int
        Of the draws; all units share them.

    Returns
    -------
    float64, (n_draws, n_units)
        Pearson correlation over the images shown more than once, times their fraction of all
        images; the score of a unit is its mean over draws. NaN for a unit that is constant, and
        for all when fewer than two images are repeated.

    Notes
    -----
    allen_mei 3. A trial without spikes is a response of 0; the notebook lost those. In a draw in
    which a sparse unit happens to be constant it is correlated with nothing and scores 0: to
    leave such draws out would put a unit of two spikes to one image above all others. For many
    images the value is that of `leave_one_out_oracle`.
    """
    order, counts = repeated_trials(image_index)
    if len(counts) < 2:
        return np.tile(unknown(responses), (n_draws, 1))
    trials = np.asarray(responses[order], np.float64)
    starts = np.cumsum(counts) - counts
    totals = np.add.reduceat(trials, starts)
    rng = np.random.default_rng(seed)
    drawn = starts + rng.integers(counts, size=(n_draws, len(counts)))
    scores = np.empty((n_draws, trials.shape[1]))
    for draws in blocks(n_draws, totals.size):
        one = trials[drawn[draws]]
        others = (totals - one) / (counts - 1)[:, None]
        scores[draws] = correlation(one, others, axis=1)
    scores[np.isnan(scores)] = 0.0
    scores[:, np.ptp(trials, axis=0) == 0] = np.nan
    return scores * (len(counts) / len(np.unique(image_index)))


def mean_ranks(scores: Floats) -> Floats:
    """Rank units in each draw and average the ranks over draws (allen_mei 3).

    Parameters
    ----------
    scores : float, (n_draws, n_units)

    Returns
    -------
    float64, (n_units,)
        0 = best in every draw; ties share their mean rank. NaN where a score is NaN.

    Examples
    --------
    >>> mean_ranks(np.array([[0.9, 0.1, 0.5], [0.8, 0.5, 0.1]]))
    array([0. , 1.5, 1.5])
    """
    return rankdata(-scores, axis=1, nan_policy="omit").mean(axis=0) - 1


def unknown(responses: NDArray[np.floating]) -> Floats:
    """Return NaN for every unit."""
    return np.full(responses.shape[1], np.nan)
