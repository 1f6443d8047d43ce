"""Squared error of the decoded stimulus (neural_vae 7)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from science.blocks import blocks
from science.coding.stimulus_weights import stimulus_weights

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DecodingError:
    """Error against stimulus, averaged over the words that the stimulus evokes.

    Attributes
    ----------
    posterior : ndarray
        float64, (..., n_x), squared error of the decoded mean: not the error of the estimate
        averaged over words, which is `bias` squared and smaller.
    sampling : ndarray
        float64, (..., n_x), squared error of a draw from the decoded law: more by its variance.
    bias : ndarray
        float64, (..., n_x), decoded mean less stimulus.
    posterior_mse, sampling_mse : ndarray
        float64, (...), means of the two errors over stimuli.
    """

    posterior: Floats
    sampling: Floats
    bias: Floats
    posterior_mse: Floats
    sampling_mse: Floats


def decoded_moments(
    mu: ArrayLike, sigma: ArrayLike, log_normal: bool = False
) -> tuple[Floats, Floats]:
    """Mean and variance of the stimulus that each word is decoded to.

    Parameters
    ----------
    mu, sigma : array_like
        float, (..., n_words), outputs of the decoder.
    log_normal : bool
        Whether they describe the logarithm of the stimulus.

    Returns
    -------
    mean, variance : ndarray
        float64, (..., n_words).
    """
    mean, variance = np.asarray(mu, np.float64), np.square(np.asarray(sigma, np.float64))
    if log_normal:
        mean = np.exp(mean + variance / 2)
        variance = np.expm1(variance) * mean**2
    return mean, variance


def decoding_error(
    x: ArrayLike,
    word_probability: ArrayLike,
    mean: ArrayLike,
    variance: ArrayLike,
    weights: ArrayLike | None = None,
) -> DecodingError:
    """Error of decoding, exactly over all words.

    Parameters
    ----------
    x : array_like
        float, (n_x,), stimuli; or (..., n_x), for instance each model's preferred ones.
    word_probability : array_like
        float, (..., n_x, n_words), P(r|x).
    mean, variance : array_like
        float, (..., n_words), of `decoded_moments`.
    weights : array_like, optional
        float, (n_x,), of the stimuli in the overall errors if they were not drawn from the prior.

    Returns
    -------
    DecodingError
    """
    x, p = np.asarray(x, np.float64), np.asarray(word_probability, np.float64)
    mean, variance = np.asarray(mean, np.float64), np.asarray(variance, np.float64)
    n_x = x.shape[-1]
    shape = np.broadcast_shapes(p.shape[:-1], x.shape)
    posterior, bias = np.empty(shape), np.empty(shape)
    for part in blocks(n_x, p.size // n_x):
        # Differences first: expanding the square cancels where the error is small.
        error = mean[..., None, :] - x[..., part, None]
        bias[..., part] = np.einsum("...w,...w->...", p[..., part, :], error)
        posterior[..., part] = np.einsum("...w,...w,...w->...", p[..., part, :], error, error)
    sampling = posterior + (p @ variance[..., None])[..., 0]
    weights = stimulus_weights(n_x, weights)
    return DecodingError(posterior, sampling, bias, posterior @ weights, sampling @ weights)
