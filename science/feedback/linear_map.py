"""Least squares of many data sets at once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LinearMap:
    """A linear map with an intercept, or one of each data set.

    Attributes
    ----------
    weights : ndarray
        float64, (..., n_inputs, n_outputs).
    intercept : ndarray
        float64, (..., 1, n_outputs).
    """

    weights: Floats
    intercept: Floats

    def __call__(self, inputs: ArrayLike) -> Floats:
        """Map (..., n_samples, n_inputs) to (..., n_samples, n_outputs)."""
        return np.asarray(inputs, np.float64) @ self.weights + self.intercept


def fit_linear_map(inputs: ArrayLike, targets: ArrayLike) -> LinearMap:
    """Fit targets by ordinary least squares with an intercept.

    Directions in which the inputs do not vary, but for the rounding of their type, get no weight:
    a population of rank 8, as that of a `SpatialNet` is, does no harm. Give inputs that were
    computed in float32 as such.

    Parameters
    ----------
    inputs : array_like
        float, (..., n_samples, n_inputs).
    targets : array_like
        float, (..., n_samples, n_outputs).

    Returns
    -------
    LinearMap

    Raises
    ------
    ValueError
        If shapes do not fit, or anything is not finite.
    """
    inputs, targets = np.asarray(inputs), np.asarray(targets, np.float64)
    precision = np.finfo(inputs.dtype if inputs.dtype.kind == "f" else np.float64).eps
    inputs = inputs.astype(np.float64)
    if min(inputs.ndim, targets.ndim) < 2 or inputs.shape[-2] != targets.shape[-2]:
        raise ValueError(
            "inputs and targets must be (..., n_samples, n) with equal samples, got "
            f"{inputs.shape} and {targets.shape}"
        )
    if not (np.isfinite(inputs).all() and np.isfinite(targets).all()):
        raise ValueError("least squares needs finite inputs and targets: leave out other samples")
    input_mean, target_mean = inputs.mean(-2, keepdims=True), targets.mean(-2, keepdims=True)
    centred = inputs - input_mean
    smallest = precision * np.sqrt(max(centred.shape[-2:]))
    weights = np.linalg.pinv(centred, rcond=smallest) @ (targets - target_mean)
    return LinearMap(weights, target_mean - input_mean @ weights)


def r_squared(targets: ArrayLike, predictions: ArrayLike) -> Floats:
    """Coefficient of determination over samples.

    Parameters
    ----------
    targets, predictions : array_like
        float, (..., n_samples, n_outputs).

    Returns
    -------
    ndarray
        float64, (..., n_outputs), ``1 - squared error / squared deviation from the mean``, at most
        1, negative where the mean would do better; NaN for a constant target.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    Exact predictions, and the mean of the targets:

    >>> r_squared([[1, 1], [2, 2], [3, 3]], [[1, 2], [2, 2], [3, 2]])
    array([1., 0.])
    """
    targets, predictions = np.asarray(targets, np.float64), np.asarray(predictions, np.float64)
    if targets.shape != predictions.shape:
        raise ValueError(f"predictions have the shape {predictions.shape}, targets {targets.shape}")
    constant = targets.max(-2) == targets.min(-2)
    total = np.square(targets - targets.mean(-2, keepdims=True)).sum(-2)
    error = np.square(targets - predictions).sum(-2)
    return 1 - error / np.where(constant, np.nan, total)
