"""How error, width and density of a code follow the stimulus prior (neural_vae 7).

Theories of efficient coding predict powers of the prior pi(x): the squared error and the widths of
tuning curves fall with it, the density of their centres grows with it.
"""

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from science.blocks import blocks
from science.coding.exponents import MIN_GROUPS, PowerLaw, fit_power_law, middle_95
from science.coding.tuning import kernel_density, silverman_bandwidth

Floats = NDArray[np.float64]
Resample = Literal["models", "points"]

ERROR_CEILING = 0.5
"""Of the variance of the stimulus; larger errors are those of stimuli that are hardly coded."""

WIDTH_CEILING = 0.4
"""The same for the errors at the centres of neurons."""

DENSITY_CEILING = 1.0
"""The same for the stimuli at which the density of centres is compared."""


def moving_average(values: ArrayLike, window: int = 700) -> Floats:
    """Mean of each run of `window` values.

    Parameters
    ----------
    values : array_like
        float, (..., n), error at sorted stimuli, or the stimuli themselves.
    window : int
        In [1, n].

    Returns
    -------
    ndarray
        float64, (..., n - window + 1).

    Raises
    ------
    ValueError
        If the window is out of range.
    """
    values = np.asarray(values, np.float64)
    if not 1 <= window <= values.shape[-1]:
        raise ValueError(f"a window of {window} does not fit {values.shape[-1]} values")
    return sliding_window_view(values, window, axis=-1).mean(-1)


def error_power_law(
    density: ArrayLike,
    error: ArrayLike,
    stimulus_variance: float,
    resample: Resample = "models",
    seed: int = 0,
) -> PowerLaw:
    """Exponent of squared error = K / pi(x)^exponent, over errors below half the variance.

    Parameters
    ----------
    density : array_like
        float, (n_x,) or (n_models, n_x), pi at the moving average of the stimuli. All points count
        alike, so draw the stimuli from the prior.
    error : array_like
        float, (n_models, n_x), moving average of the squared error.
    stimulus_variance : float
        Of the prior.
    resample : {"models", "points"}
        What is drawn for the interval. Errors of neighbouring stimuli, the more so of overlapping
        windows, are not independent: "points" gives far too narrow an interval for them.
    seed : int
        Of the draws.

    Returns
    -------
    PowerLaw

    Raises
    ------
    Undetermined
        If fewer than two points are left, or too much alike.
    """
    error = np.asarray(error, np.float64)
    return _fall(density, error, error < ERROR_CEILING * stimulus_variance, resample, seed)


def width_power_law(
    density_at_centers: ArrayLike,
    widths: ArrayLike,
    error_at_centers: ArrayLike,
    stimulus_variance: float,
    resample: Resample = "models",
    seed: int = 0,
) -> PowerLaw:
    """Exponent of width = K / pi(center)^exponent, where errors are below 0.4 of the variance.

    Parameters
    ----------
    density_at_centers, widths, error_at_centers : array_like
        float, (n_models, n_neurons): pi(c), the width, and the squared error at the stimulus c.
        Neurons whose centre is where stimuli never occur are left out.
    stimulus_variance : float
        Of the prior.
    resample : {"models", "points"}
        What is drawn for the interval: models, or neurons of all models.
    seed : int
        Of the draws.

    Returns
    -------
    PowerLaw

    Raises
    ------
    Undetermined
        If fewer than two neurons are left, or too much alike.
    """
    density = np.asarray(density_at_centers, np.float64)
    keep = np.asarray(error_at_centers) < WIDTH_CEILING * stimulus_variance
    return _fall(density, np.asarray(widths, np.float64), keep & (density > 0), resample, seed)


def center_density_power_law(
    x: ArrayLike,
    density: ArrayLike,
    centers: ArrayLike,
    error: ArrayLike,
    stimulus_variance: float,
    n_draws: int = 1000,
    seed: int = 0,
) -> PowerLaw:
    """Exponent of density of centres = K pi(x)^exponent, where errors are below the variance.

    The density is that of the centres of all models, smoothed with a Gaussian kernel of Silverman's
    bandwidth. Smoothing widens it, which takes from the exponent: of n centres with a normal law,
    a factor of 1 + (4 / 3n)^(2/5).

    Parameters
    ----------
    x, density : array_like
        float, (n_x,), stimuli and pi(x) > 0.
    centers : array_like
        float, (n_models, n_neurons).
    error : array_like
        float, (n_x,), squared error, for instance the mean over models.
    stimulus_variance : float
        Of the prior.
    n_draws : int
        Bootstrap draws of models. The bandwidth stays that of all models.
    seed : int
        Of the draws.

    Returns
    -------
    PowerLaw
        Its intervals are percentiles.

    Raises
    ------
    Undetermined
        If fewer than two stimuli are left, or too much alike.
    """
    x, density, centers = (np.asarray(a, np.float64) for a in (x, density, centers))
    keep = np.asarray(error) < DENSITY_CEILING * stimulus_variance
    kernels = kernel_density(centers, x[keep], silverman_bandwidth(centers.ravel()))
    # One group: that neighbouring stimuli differ says nothing about other models.
    law = fit_power_law(density[keep], kernels.mean(0), np.zeros(keep.sum()))
    n_models = len(centers)
    if n_models < MIN_GROUPS:
        return law
    log_density = np.log(density[keep])
    log_density -= log_density.mean()
    rng = np.random.default_rng(seed)
    slope, r = np.empty(n_draws), np.empty(n_draws)
    for draws in blocks(n_draws, 3 * len(log_density)):
        n = draws.stop - draws.start
        counts = rng.multinomial(n_models, np.full(n_models, 1 / n_models), n)
        drawn = np.log(np.maximum(counts @ kernels / n_models, np.finfo(np.float64).tiny))
        covariance = drawn @ log_density
        slope[draws] = covariance / (log_density @ log_density)
        r[draws] = slope[draws] * log_density.std() / drawn.std(1)
    return replace(law, interval=middle_95(slope), correlation_interval=middle_95(r))


def _fall(
    density: ArrayLike, value: Floats, keep: NDArray[np.bool_], resample: Resample, seed: int
) -> PowerLaw:
    """Fit value = K / density^exponent to (n_models, n) of which some are kept."""
    if value.ndim != 2:
        raise ValueError(f"values must be (n_models, n), got shape {value.shape}")
    density = np.broadcast_to(np.asarray(density, np.float64), value.shape)
    model = np.nonzero(keep)[0] if resample == "models" else None
    return fit_power_law(1 / density[keep], value[keep], model, seed=seed)
