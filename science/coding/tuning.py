"""Tuning curves of the encoder, and what a population of them looks like (neural_vae 2 and 7)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, wrightomega

from science.coding.exponents import Undetermined

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BellTuning:
    """Bell-shaped tuning of the odds of a spike: A exp(-(g(x) - c)^2 / 2 w^2).

    Attributes
    ----------
    centers, widths, amplitudes : ndarray
        float64, (..., n_neurons), c, w > 0 and A > 0, of any number of models.
    linear_share : float or ndarray
        float64, (...), s in [0, 1] of g(x) = s x + (1 - s) log x: 1 for the linear encoder, 0 for
        the logarithmic one.
    """

    centers: Floats
    widths: Floats
    amplitudes: Floats
    linear_share: float | Floats = 1.0

    def __post_init__(self) -> None:
        if not (np.all(self.widths > 0) and np.all(self.amplitudes > 0)):
            raise ValueError("widths and amplitudes of tuning curves must be positive")

    @property
    def peaks(self) -> Floats:
        """Probability of a spike at the centre, (..., n_neurons)."""
        return self.amplitudes / (1 + self.amplitudes)

    @property
    def preferred_stimuli(self) -> Floats:
        """Stimuli x of the centres, g(x) = c, (..., n_neurons)."""
        share = np.asarray(self.linear_share, np.float64)[..., None]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            # s x + (1 - s) log x = c has the solution (1 - s) / s W(s / (1 - s) e^(c / (1 - s)))
            odds = share / (1 - share)
            mixed = wrightomega(np.log(odds) + self.centers / (1 - share)) / odds
            logarithmic = np.where(share == 0, np.exp(self.centers), mixed)
        return np.where(share == 1, self.centers, logarithmic)

    @property
    def stimulus_widths(self) -> Floats:
        """Widths at the centres in units of the stimulus, w / g'(x), (..., n_neurons)."""
        return self.widths / self._stretch(self.preferred_stimuli)

    def logits(self, x: ArrayLike) -> Floats:
        """Log-odds of a spike at stimuli (n_x,) or (..., n_x), (..., n_x, n_neurons)."""
        z = self._distance(x) / self.widths[..., None, :]
        return np.log(self.amplitudes)[..., None, :] - 0.5 * z**2

    def spike_probability(self, x: ArrayLike) -> Floats:
        """Of each neuron at stimuli (n_x,) or (..., n_x), (..., n_x, n_neurons)."""
        return expit(self.logits(x))

    def logit_slopes(self, x: ArrayLike) -> Floats:
        """Slope of the log-odds over the stimulus, (..., n_x, n_neurons), as of `logits`."""
        stretch = self._stretch(np.asarray(x, np.float64))
        return -stretch[..., None] * self._distance(x) / self.widths[..., None, :] ** 2

    def _stretch(self, x: Floats) -> Floats:
        """Return g'(x), (..., n_x)."""
        share = np.asarray(self.linear_share, np.float64)[..., None]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(share == 1, 1.0, share + (1 - share) / x)

    def _distance(self, x: ArrayLike) -> Floats:
        x, share = np.asarray(x, np.float64), np.asarray(self.linear_share, np.float64)[..., None]
        if (share < 1).any() and not (x > 0).all():
            raise ValueError("an encoder of log x needs positive stimuli")
        with np.errstate(divide="ignore", invalid="ignore"):
            g = np.where(share == 1, x, share * x + (1 - share) * np.log(x))
        return g[..., None] - self.centers[..., None, :]


@dataclass(frozen=True)
class TuningSummary:
    """A population averaged over trials, rank by rank of the centre.

    Attributes
    ----------
    centers, widths, peaks : ndarray
        float64, (..., n_neurons), in order of the centre.
    """

    centers: Floats
    widths: Floats
    peaks: Floats


def tuning_summary(tuning: BellTuning) -> TuningSummary:
    """Sort the neurons of each trial by centre, and average over trials neuron by neuron.

    Parameters
    ----------
    tuning : BellTuning
        Of (..., n_trials, n_neurons).

    Returns
    -------
    TuningSummary
    """
    arrays = (tuning.centers, tuning.widths, tuning.peaks)
    order = np.argsort(tuning.centers, axis=-1)
    return TuningSummary(*(np.take_along_axis(a, order, -1).mean(-2) for a in arrays))


def mean_width(widths: ArrayLike, density_at_centers: ArrayLike) -> Floats:
    """Width of a population, its neurons weighted by the stimulus prior at their centre.

    Parameters
    ----------
    widths : array_like
        float, (..., n_neurons).
    density_at_centers : array_like
        float, (..., n_neurons), pi(c).

    Returns
    -------
    ndarray
        float64, (...); NaN if no centre is where stimuli occur.
    """
    widths, weights = np.asarray(widths, np.float64), np.asarray(density_at_centers, np.float64)
    with np.errstate(invalid="ignore"):
        return (widths * weights).sum(-1) / weights.sum(-1)


def silverman_bandwidth(values: ArrayLike) -> float:
    """Bandwidth of a Gaussian kernel by Silverman's rule.

    Parameters
    ----------
    values : array_like
        float, (n,), at least two.

    Returns
    -------
    float
        s (4 / 3n)^(1/5), with s the smaller one of the standard deviation and of the interquartile
        range over 1.349, its value for a standard normal law.

    Raises
    ------
    Undetermined
        If there are fewer than two values, or the spread of most of them is 0.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1:
        raise ValueError(f"a bandwidth needs values (n,), got shape {values.shape}")
    if len(values) < 2:
        raise Undetermined(f"a bandwidth needs at least two values, got {len(values)}")
    low, high = np.quantile(values, [0.25, 0.75])
    spread = min(values.std(ddof=1), (high - low) / 1.3489795003921634)
    if not spread > 0:
        raise Undetermined("a bandwidth needs values that differ")
    return float(spread * (4 / (3 * len(values))) ** 0.2)


def kernel_density(values: ArrayLike, at: ArrayLike, bandwidth: float) -> Floats:
    """Density of values, smoothed with a Gaussian kernel.

    Parameters
    ----------
    values : array_like
        float, (..., n), for instance the centres of all neurons of each model.
    at : array_like
        float, (n_x,), where to evaluate it.
    bandwidth : float
        Standard deviation of the kernel, for instance of `silverman_bandwidth`.

    Returns
    -------
    ndarray
        float64, (..., n_x), which integrates to 1. Of equal numbers of values, the density of all
        is the mean of the densities.
    """
    at, values = np.asarray(at, np.float64), np.asarray(values, np.float64)
    z = (at[:, None] - values[..., None, :]) / bandwidth
    return np.exp(-0.5 * z**2).mean(-1) / (bandwidth * np.sqrt(2 * np.pi))


def sort_couplings(
    couplings: ArrayLike, biases: ArrayLike, centers: ArrayLike
) -> tuple[Floats, Floats]:
    """Put the parameters of an Ising prior in order of the preferred stimuli.

    Parameters
    ----------
    couplings : array_like
        float, (..., n_neurons, n_neurons).
    biases, centers : array_like
        float, (..., n_neurons).

    Returns
    -------
    couplings, biases : ndarray
        float64, of the same shapes.
    """
    order = np.argsort(np.asarray(centers), axis=-1)
    couplings = np.take_along_axis(np.asarray(couplings, np.float64), order[..., :, None], -2)
    couplings = np.take_along_axis(couplings, order[..., None, :], -1)
    return couplings, np.take_along_axis(np.asarray(biases, np.float64), order, -1)
