"""Entropy of words, and the information that they carry about the stimulus (neural_vae 7)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import entr

from science.blocks import blocks
from science.coding.stimulus_weights import stimulus_weights

Floats = NDArray[np.float64]


def entropy(probabilities: ArrayLike) -> Floats:
    """Entropy of distributions, nats.

    The original adds 1e-10 inside the logarithm (neural_vae 7), which takes up to 1e-10 per word
    from the entropy; here 0 log 0 is 0.

    Parameters
    ----------
    probabilities : array_like
        float, (..., n), of the word prior for instance.

    Returns
    -------
    ndarray
        float64, (...), in [0, log n].

    Raises
    ------
    ValueError
        If probabilities are negative or do not sum to 1 within 1e-4.

    Examples
    --------
    >>> entropy([[0.5, 0.5], [1.0, 0.0]]).round(3)
    array([0.693, 0.   ])
    """
    return entr(_distributions(probabilities)).sum(-1)


@dataclass(frozen=True)
class WordInformation:
    """Of words about the stimulus, nats.

    Attributes
    ----------
    marginal : ndarray
        float64, (...), entropy of the words over all stimuli, H(r).
    conditional : ndarray
        float64, (...), entropy of the words given the stimulus, H(r|x).
    mutual : ndarray
        float64, (...), H(r) - H(r|x): at most the rate, which it equals when the word prior is the
        marginal law of the words.
    """

    marginal: Floats
    conditional: Floats
    mutual: Floats


def word_information(
    word_probability: ArrayLike, weights: ArrayLike | None = None
) -> WordInformation:
    """Entropies of the words and their mutual information with the stimulus.

    Parameters
    ----------
    word_probability : array_like
        float, (..., n_x, n_words), P(r|x) of any number of models.
    weights : array_like, optional
        float, (n_x,), of the stimuli if they were not drawn from the prior.

    Returns
    -------
    WordInformation

    Raises
    ------
    ValueError
        If probabilities are negative or do not sum to 1 within 1e-4.
    """
    p = _distributions(word_probability)
    weights = stimulus_weights(p.shape[-2], weights)
    marginal = entr(weights @ p).sum(-1)
    conditional = np.zeros(marginal.shape)
    for part in blocks(len(weights), p.size // len(weights)):
        conditional += entr(p[..., part, :]).sum(-1) @ weights[part]
    return WordInformation(marginal, conditional, marginal - conditional)


def _distributions(probabilities: ArrayLike) -> Floats:
    probabilities = np.asarray(probabilities, np.float64)
    sums = probabilities.sum(-1)
    if not ((probabilities >= 0).all() and np.allclose(sums, 1, rtol=0, atol=1e-4)):
        raise ValueError("probabilities must not be negative and must sum to 1 on the last axis")
    return probabilities
