"""How a result depends on what was varied in a grid of models."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Dependence:
    """A result, summarised over the seeds at every point of a grid.

    Attributes
    ----------
    values : dict of str to float64, (n_points,)
        Of the parameters, in lexicographic order.
    n : ndarray
        int64, (n_points,), models whose result is finite.
    mean, sd, median : ndarray
        float64, (n_points,), over these; `sd` of n - 1. NaN where there are too few.
    rank_correlation : dict of str to float
        Spearman's, of every parameter and the result over single models; NaN for a parameter that
        was not varied. In a full grid the parameters do not confound each other.
    """

    values: dict[str, Floats]
    n: NDArray[np.int64]
    mean: Floats
    sd: Floats
    median: Floats
    rank_correlation: dict[str, float]


def dependence(parameters: Mapping[str, ArrayLike], results: ArrayLike) -> Dependence:
    """Summarise the results of a grid, for instance clarity by timescale, width or noise.

    Parameters
    ----------
    parameters : mapping of str to array_like
        float, (n_models,), what was varied, by name: one entry per trained model, as rows of a
        table come; the seed is not among them. Infinity is a value (a kernel without a width).
    results : array_like
        float, (n_models,); not finite where a training failed.

    Returns
    -------
    Dependence

    Raises
    ------
    ValueError
        If there are no models or parameters, shapes differ, or a parameter is NaN.

    Notes
    -----
    Ranks do not ask for a straight line, nor care whether a timescale is taken in its logarithm.
    """
    results = np.asarray(results, np.float64)
    columns = {name: np.asarray(value, np.float64) for name, value in parameters.items()}
    if not columns or results.ndim != 1 or not results.size:
        raise ValueError("give at least one parameter and the result of at least one model")
    for name, column in columns.items():
        if column.shape != results.shape or np.isnan(column).any():
            raise ValueError(
                f"{name} must have a value for each of {len(results)} models, none of them NaN; "
                f"got the shape {column.shape}"
            )
    points, point = np.unique(np.stack(list(columns.values()), -1), axis=0, return_inverse=True)
    finite = np.isfinite(results)
    known = [results[finite & (point == index)] for index in range(len(points))]
    return Dependence(
        dict(zip(columns, points.T, strict=True)),
        np.array([len(group) for group in known]),
        np.array([group.mean() if group.size else np.nan for group in known]),
        np.array([group.std(ddof=1) if group.size > 1 else np.nan for group in known]),
        np.array([np.median(group) if group.size else np.nan for group in known]),
        {name: _spearman(column[finite], results[finite]) for name, column in columns.items()},
    )


def _spearman(values: Floats, results: Floats) -> float:
    if len(values) < 2 or np.ptp(stats.rankdata(values)) == 0 or np.ptp(results) == 0:
        return float("nan")
    return float(stats.spearmanr(values, results).statistic)
