"""Fisher information of a population of binary neurons, and the error that it bounds."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def fisher_information(spike_probability: ArrayLike, logit_slope: ArrayLike) -> Floats:
    """Fisher information about the stimulus of independent Bernoulli neurons.

    The sum over neurons of p'^2 / (p (1 - p)). With p the logistic function of a logit, p' is
    p (1 - p) times the slope of the logit, and the terms become slope^2 p (1 - p): exact also
    where a neuron is silent or saturated, which adds nothing.

    Parameters
    ----------
    spike_probability : array_like
        float, (..., n_x, n_neurons), p in [0, 1].
    logit_slope : array_like
        float, (..., n_x, n_neurons), derivative of log(p / (1 - p)) by the stimulus.

    Returns
    -------
    ndarray
        float64, (..., n_x), in 1 / units of the stimulus squared.

    Raises
    ------
    ValueError
        If a probability is not in [0, 1].
    """
    p, slope = np.asarray(spike_probability, np.float64), np.asarray(logit_slope, np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("probabilities of a spike must be in [0, 1]")
    return (slope**2 * p * (1 - p)).sum(-1)


def cramer_rao_bound(
    fisher: ArrayLike, bias: ArrayLike = 0.0, bias_slope: ArrayLike = 0.0
) -> Floats:
    """Least mean squared error of any estimator with a given bias: b^2 + (1 + b')^2 / I.

    Decoders that are trained on a prior are biased towards likely stimuli, and beat 1 / I, the
    bound of unbiased ones, where little is known: compare them at their own bias.

    Parameters
    ----------
    fisher : array_like
        float, (..., n_x), I >= 0.
    bias, bias_slope : array_like
        float, (..., n_x), mean estimate less stimulus, and its derivative by the stimulus.

    Returns
    -------
    ndarray
        float64, (..., n_x); infinite where I is 0, unless the estimate is a constant (b' = -1).
    """
    fisher, gain = np.asarray(fisher, np.float64), np.square(1 + np.asarray(bias_slope, np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.where(gain == 0, 0.0, gain / fisher)
    return np.square(bias) + variance
