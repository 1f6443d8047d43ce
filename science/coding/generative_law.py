"""The law of stimuli that the word prior and the decoder generate (neural_vae 7)."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from science.blocks import blocks
from science.coding.stimulus_weights import stimulus_weights

Floats = NDArray[np.float64]

LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


def log_generative_density(
    x: ArrayLike, word_prior: ArrayLike, mu: ArrayLike, sigma: ArrayLike, log_normal: bool = False
) -> Floats:
    """Logarithm of q(x), the sum over words of q(r) times the density that r is decoded to.

    Parameters
    ----------
    x : array_like
        float, (n_x,), stimuli.
    word_prior : array_like
        float, (..., n_words), q(r) of any number of models.
    mu, sigma : array_like
        float, (..., n_words), mean and standard deviation (> 0) of the decoded stimulus, or of its
        logarithm.
    log_normal : bool
        Whether words are decoded to log-normal laws.

    Returns
    -------
    ndarray
        float64, (..., n_x).

    Raises
    ------
    ValueError
        If `sigma` is not positive, or `x` not with `log_normal`.
    """
    x, word_prior = np.asarray(x, np.float64), np.asarray(word_prior, np.float64)
    mu, sigma = np.asarray(mu, np.float64), np.asarray(sigma, np.float64)
    if not (sigma > 0).all():
        raise ValueError("the widths of the decoded laws must be positive")
    if log_normal and not (x > 0).all():
        raise ValueError("a log-normal decoder generates positive stimuli only: leave out x <= 0")
    y = np.log(x) if log_normal else x
    with np.errstate(divide="ignore"):
        log_weight = np.log(word_prior) - np.log(sigma) - LOG_SQRT_2PI
    mu, sigma, log_weight = (a[..., None, :] for a in np.broadcast_arrays(mu, sigma, log_weight))
    density = np.empty((*mu.shape[:-2], len(x)))
    for part in blocks(len(x), mu.size):
        z = (y[part, None] - mu) / sigma
        density[..., part] = logsumexp(log_weight - 0.5 * z**2, axis=-1)
    return density - y if log_normal else density


def generative_divergence(
    density: ArrayLike, log_generative: ArrayLike, weights: ArrayLike | None = None
) -> Floats:
    """KL divergence of the generated law from the stimulus prior, E[log pi(x) - log q(x)].

    Parameters
    ----------
    density : array_like
        float, (n_x,), pi(x) > 0.
    log_generative : array_like
        float, (..., n_x), of `log_generative_density`.
    weights : array_like, optional
        float, (n_x,), of the stimuli if they were not drawn from the prior.

    Returns
    -------
    ndarray
        float64, (...), nats. An average over finitely many draws can be negative.

    Raises
    ------
    ValueError
        If `density` is 0 somewhere.
    """
    density = np.asarray(density, np.float64)
    if not (density > 0).all():
        raise ValueError("the stimulus prior is 0 at a stimulus: leave out what cannot occur")
    gap = np.log(density) - np.asarray(log_generative, np.float64)
    return gap @ stimulus_weights(len(density), weights)
