"""Frequency difference limens that a code predicts, beside those of listeners (neural_vae 7).

How the authors compared their model with Moore's listeners is not published: the notebook of their
Figure 9 is missing. What is here is the natural reconstruction, the limen proportional to the root
of the squared error, with one free scale. Two caveats (neural_vae 9.1): a single small model
(8 neurons, one rate) agreed less well with the listeners than the classical prediction 1 / pi(f)
(correlation .87 against .99), so that a claim of agreement takes 12 neurons, all rates and many
trials; and whether the constants of the frequency prior were fitted to the environment or to
thresholds, which would make the comparison circular, is not known.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from science.coding.exponents import Interval, fit_power_law

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LimenAgreement:
    """Measured limens against predicted ones, in log-log.

    Attributes
    ----------
    scale : float
        Of the prediction to fit the limens, slope 1.
    log_error : float
        Root mean squared natural logarithm of limen over scaled prediction: 0.69 is a factor of 2.
    slope : float
        Of the limens on the predictions, 1 if they are proportional.
    slope_interval : tuple of float
        95 %.
    correlation : float
        In [-1, 1]. It does not see a wrong slope.
    correlation_interval : tuple of float
        95 %.
    n_limens : int
    """

    scale: float
    log_error: float
    slope: float
    slope_interval: Interval
    correlation: float
    correlation_interval: Interval
    n_limens: int


def predicted_limens(frequency: ArrayLike, x: ArrayLike, error: ArrayLike) -> Floats:
    """Limens up to a scale: the root of the squared error at a frequency.

    Parameters
    ----------
    frequency : array_like
        float, (n,), in units of `x`.
    x : array_like
        float, (n_x,), stimuli, > 0, increasing.
    error : array_like
        float, (..., n_x), squared error, > 0: that of sampling, or that of the posterior mean.

    Returns
    -------
    ndarray
        float64, (..., n), interpolated in log-log.

    Raises
    ------
    ValueError
        If a frequency is outside of `x`, `x` does not increase from above 0, or an error is not
        positive.
    """
    frequency, x = np.asarray(frequency, np.float64), np.asarray(x, np.float64)
    if not (x[0] > 0 and (np.diff(x) > 0).all()):
        raise ValueError("stimuli must be positive and increase: sort them, leave out repeats")
    if frequency.min() < x[0] or frequency.max() > x[-1]:
        raise ValueError(
            f"frequencies from {frequency.min():g} to {frequency.max():g}, but stimuli from "
            f"{x[0]:g} to {x[-1]:g}: evaluate the error where limens were measured, in its unit"
        )
    error = np.asarray(error, np.float64)
    if not (error > 0).all():
        raise ValueError("squared errors must be positive to predict limens")
    right = np.clip(np.searchsorted(x, frequency), 1, len(x) - 1)
    left = right - 1
    share = np.log(frequency / x[left]) / np.log(x[right] / x[left])
    log_error = np.log(error)
    return np.exp(0.5 * ((1 - share) * log_error[..., left] + share * log_error[..., right]))


def limen_agreement(
    frequency: ArrayLike,
    limens: ArrayLike,
    prediction: ArrayLike,
    n_draws: int = 2000,
    seed: int = 0,
) -> LimenAgreement:
    """Compare limens of listeners with a prediction up to a scale.

    Parameters
    ----------
    frequency, limens : array_like
        float, (n,), of all listeners.
    prediction : array_like
        float, (n,), at these frequencies: of `predicted_limens`, or 1 / pi(f), which infomax codes
        predict.
    n_draws : int
        Bootstrap draws. Frequencies are drawn, all listeners of one together, since they share
        what the prediction gets wrong about it.
    seed : int
        Of the draws.

    Returns
    -------
    LimenAgreement

    Raises
    ------
    ValueError
        If shapes differ, or a limen or prediction is not positive and finite.
    """
    law = fit_power_law(prediction, limens, np.asarray(frequency), n_draws, seed)
    log_ratio = np.log(np.asarray(limens, np.float64) / np.asarray(prediction, np.float64))
    return LimenAgreement(
        scale=float(np.exp(log_ratio.mean())),
        log_error=float(log_ratio.std()),
        slope=law.exponent,
        slope_interval=law.interval,
        correlation=law.correlation,
        correlation_interval=law.correlation_interval,
        n_limens=law.n_points,
    )
