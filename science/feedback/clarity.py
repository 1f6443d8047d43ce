"""Signal clarity: how much of one source alone is in a unit's activity."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SignalClarity:
    """Clarity of every unit in every context.

    Attributes
    ----------
    correlations : ndarray
        float64, (..., n_contexts, n_sources, n_units), Pearson's, of sources and units; NaN where
        one of them is constant or not finite.
    values : ndarray
        float64, (..., n_contexts, n_units), in [0, 1]: 1 for a copy of one source that is
        uncorrelated with the others, 0 for equal parts of two.
    """

    correlations: Floats
    values: Floats

    @property
    def per_context(self) -> Floats:
        """Mean over the units that are known, (..., n_contexts); NaN without any."""
        return _mean_of_known(self.values, axis=-1)

    @property
    def per_unit(self) -> Floats:
        """Mean over the contexts that are known, (..., n_units); NaN without any."""
        return _mean_of_known(self.values, axis=-2)


def signal_clarity(sources: ArrayLike, activity: ArrayLike) -> SignalClarity:
    """Largest absolute correlation with a source, less the second largest (naumann22 5).

    Of two sources this is the published ``| |r1| - |r2| |``. The original looks at the first two
    of more; a unit that carries the third would then seem to carry none. Pass ``sources[..., :2]``
    for its numbers.

    Parameters
    ----------
    sources : array_like
        float, (..., n_contexts, n_samples, n_sources), at least two sources.
    activity : array_like
        float, (..., n_contexts, n_samples, n_units): inputs, outputs or a population. Leading axes,
        for instance of models, are those of `sources` or broadcast with them.

    Returns
    -------
    SignalClarity

    Raises
    ------
    ValueError
        If shapes do not fit, or there are fewer than two sources or samples.
    """
    sources, activity = np.asarray(sources, np.float64), np.asarray(activity, np.float64)
    if min(sources.ndim, activity.ndim) < 3 or sources.shape[-3:-1] != activity.shape[-3:-1]:
        raise ValueError(
            "sources and activity must be (..., n_contexts, n_samples, n) with equal contexts and "
            f"samples, got {sources.shape} and {activity.shape}"
        )
    if sources.shape[-1] < 2 or sources.shape[-2] < 2:
        raise ValueError(
            f"clarity compares two sources over at least two samples, got {sources.shape}"
        )
    products = np.swapaxes(_standardized(sources), -1, -2) @ _standardized(activity)
    correlations = np.clip(products, -1, 1)
    ordered = np.sort(np.abs(correlations), axis=-2)
    return SignalClarity(correlations, ordered[..., -1, :] - ordered[..., -2, :])


def _standardized(traces: Floats) -> Floats:
    """Traces of mean 0 and length 1; NaN where they are constant or not finite."""
    # Exact test: the mean of a constant is rounded, its variance need not be 0.
    constant = traces.max(-2, keepdims=True) == traces.min(-2, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        centred = traces - traces.mean(-2, keepdims=True)
        scaled = centred / np.linalg.norm(centred, axis=-2, keepdims=True)
    return np.where(constant, np.nan, scaled)


def _mean_of_known(values: Floats, axis: int) -> Floats:
    known = np.isfinite(values)
    count = known.sum(axis)
    return np.where(known, values, 0).sum(axis) / np.where(count > 0, count, np.nan)
