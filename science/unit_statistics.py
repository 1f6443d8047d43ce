"""What units look like in their mean responses to images: information, company, oddity."""

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from science.blocks import blocks
from science.dataset import repeat_average

Floats = NDArray[np.float64]


def unit_statistics(
    responses: NDArray[np.floating], image_index: NDArray[np.integer]
) -> dict[str, NDArray[np.generic]]:
    """Describe the units of one recording by their mean response to each image (allen_mei 2).

    Parameters
    ----------
    responses : float, (n_trials, n_units)
        Finite; may be a memory map, read one block of units at a time.
    image_index : int, (n_trials,)
        Which image each trial showed; repeats may be unequal.

    Returns
    -------
    dict of str to array (n_units,)
        `entropy`, of `value_entropy`; `response_variance`, sample variance over images, NaN for a
        single one; `highest_correlation`, `highest_unit`, `lowest_correlation` and
        `lowest_unit`, of `extreme_correlations`; `anomaly_label` and `anomaly_score`,
        of `anomalies`.
    """
    means = repeat_average(responses, image_index)
    highest, most, lowest, least = extreme_correlations(means)
    label, score = anomalies(means)
    variance = means.var(axis=0, ddof=1) if len(means) > 1 else np.full(means.shape[1], np.nan)
    return {
        "entropy": value_entropy(means),
        "response_variance": variance,
        "highest_correlation": highest,
        "highest_unit": most,
        "lowest_correlation": lowest,
        "lowest_unit": least,
        "anomaly_label": label,
        "anomaly_score": score,
    }


def value_entropy(values: Floats) -> Floats:
    """Shannon entropy of the histogram of exact values.

    Parameters
    ----------
    values : float, (n, n_units)

    Returns
    -------
    float64, (n_units,)
        In nats, from 0, all values equal, to ln(n), all different.

    Examples
    --------
    Two values, equally frequent: ln 2.

    >>> value_entropy(np.array([[0.0], [0.0], [1.0], [1.0]])).round(3)
    array([0.693])
    """
    n, n_units = values.shape
    entropy = np.empty(n_units)
    for units in blocks(n_units, n):
        ordered = np.sort(values[:, units].T, axis=1)
        first = np.ones(ordered.shape, bool)
        first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
        run = np.cumsum(first) - 1  # of equal values, numbered through all units
        surprise = np.log(n / np.bincount(run))
        entropy[units] = surprise[run].reshape(ordered.shape).mean(axis=1)
    return entropy


def extreme_correlations(
    values: Floats,
) -> tuple[Floats, NDArray[np.int64], Floats, NDArray[np.int64]]:
    """Find the most and the least correlated other unit of each unit.

    Parameters
    ----------
    values : float, (n, n_units)

    Returns
    -------
    highest : float64, (n_units,)
        Pearson correlation with `most`.
    most : int64, (n_units,)
        The first of them, should several be equal.
    lowest : float64, (n_units,)
        Pearson correlation with `least`.
    least : int64, (n_units,)
        NaN and -1 for a constant unit, which correlates with none, and where there is no other.
    """
    n_units = values.shape[1]
    varies = np.ptp(values, axis=0) > 0
    standard = values - values.mean(axis=0)
    standard /= np.where(varies, np.linalg.norm(standard, axis=0), np.nan)
    highest, lowest = np.full((2, n_units), np.nan)
    most, least = np.full((2, n_units), -1)
    for units in blocks(n_units, n_units):
        corr = np.clip(standard[:, units].T @ standard, -1, 1)
        rows = np.arange(len(corr))
        corr[rows, units.start + rows] = np.nan
        best = np.where(np.isnan(corr), -np.inf, corr).argmax(axis=1)
        worst = np.where(np.isnan(corr), np.inf, corr).argmin(axis=1)
        for extreme, partner, found in ((highest, most, best), (lowest, least, worst)):
            extreme[units] = corr[rows, found]
            partner[units] = np.where(np.isnan(extreme[units]), -1, found)
    return highest, most, lowest, least


def anomalies(values: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Find units that are easily told apart, with the isolation forest of the study (allen_mei 2).

    Parameters
    ----------
    values : float, (n_images, n_units)
        The images are the features.

    Returns
    -------
    label : int64, (n_units,)
        -1 for anomalous units, else 1.
    score : float64, (n_units,)
        Of the decision function, negative for anomalous units.
    """
    forest = IsolationForest(n_estimators=100, contamination="auto", random_state=42)
    score = forest.fit(values.T).decision_function(values.T)
    return np.where(score < 0, -1, 1), score
