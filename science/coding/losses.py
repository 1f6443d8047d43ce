"""Distortions and rates of efficient codes, exact over all words, nats (neural_vae 4).

Models are along the first axis of everything, stimuli along the second; means over stimuli are left
to the caller.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from science.coding.words import half_word_probabilities, word_log_probabilities

Law = Literal["gaussian", "lognormal"]


def negative_log_likelihood(x: Tensor, mu: Tensor, log_sigma: Tensor, law: Law) -> Tensor:
    """Of stimuli under what a word is decoded to.

    Parameters
    ----------
    x, mu, log_sigma : Tensor
        Of shapes that broadcast; mean and log standard deviation of x, or of log x.
    law : {"gaussian", "lognormal"}
        Of x given the word; log-normal needs x > 0.

    Returns
    -------
    Tensor
        Nats per unit of x; may be negative.
    """
    u, offset = _gaussian_variable(x, law)
    error = (u - mu) * torch.exp(-log_sigma)
    return 0.5 * error.square() + log_sigma + offset


def distortion(
    logits: Tensor, x: Tensor, mu: Tensor, log_sigma: Tensor, law: Law = "gaussian"
) -> Tensor:
    """Mean negative log-likelihood over all words.

    The likelihood is quadratic in x (or log x), so that the sum over words takes the means of
    three coefficients and no table of stimuli by words.

    Parameters
    ----------
    logits : Tensor, (K, B, N)
        Of firing.
    x : Tensor, (K, B)
        Stimuli.
    mu, log_sigma : Tensor, (K, 2**N)
        What every word is decoded to.
    law : {"gaussian", "lognormal"}
        Of x given the word.

    Returns
    -------
    Tensor, (K, B)
        Nats.
    """
    first, second = half_word_probabilities(logits)
    u, offset = _gaussian_variable(x, law)
    # in units of the data and around their middle: less is lost to rounding
    shift, scale = u.mean(1, keepdim=True), u.std(1, correction=0, keepdim=True).clamp(min=1e-6)
    v, center = (u - shift) / scale, (mu - shift) / scale
    precision = torch.exp(-2 * log_sigma) * scale.square()
    coefficients = torch.stack(
        [0.5 * precision, -precision * center, 0.5 * precision * center.square() + log_sigma], 2
    )
    n_models, n_first, n_second = len(x), first.shape[-1], second.shape[-1]
    table = coefficients.view(n_models, n_first, n_second, 3).transpose(2, 3)
    means = (first @ table.reshape(n_models, n_first, 3 * n_second)).unflatten(-1, (3, n_second))
    means = (means * second[:, :, None]).sum(-1)
    return (means[..., 0] * v + means[..., 1]) * v + means[..., 2] + offset


def relaxed_distortion(
    logits: Tensor, x: Tensor, decoder: torch.nn.Module, uniforms: Tensor, temperature: float = 0.5
) -> Tensor:
    """Gaussian distortion of sampled words that are relaxed to numbers between 0 and 1.

    Parameters
    ----------
    logits : Tensor, (K, B, N)
        Of firing.
    x : Tensor, (K, B)
        Stimuli.
    decoder : nn.Module
        From words (K, S, N) to mean and log standard deviation, (K, S) each.
    uniforms : Tensor, (K, B, n_samples, N)
        In (0, 1).
    temperature : float
        Above 0; the lower, the closer to binary.

    Returns
    -------
    Tensor, (K, B)
        Nats, mean over the samples.
    """
    words = torch.sigmoid((torch.logit(uniforms) + logits[:, :, None]) / temperature)
    mu, log_sigma = (out.unflatten(1, words.shape[1:3]) for out in decoder(words.flatten(1, 2)))
    return negative_log_likelihood(x[..., None], mu, log_sigma, "gaussian").mean(-1)


def rate_bernoulli(logits: Tensor, bias: Tensor) -> Tensor:
    """Divergence of the words from independent neurons.

    Parameters
    ----------
    logits : Tensor, (K, B, N)
        Of firing.
    bias : Tensor, (K, N)
        Logits of firing under the word prior.

    Returns
    -------
    Tensor, (K, B)
        Nats.
    """
    return bernoulli_divergence(logits, bias[:, None])


def rate_iid(logits: Tensor, probabilities: Tensor) -> Tensor:
    """`rate_bernoulli` by the prior probabilities of firing, (K, N), in (0, 1)."""
    return rate_bernoulli(logits, torch.logit(probabilities))


def rate_ising(logits: Tensor, bias: Tensor, couplings: Tensor, log_z: Tensor) -> Tensor:
    """Divergence of the words from an Ising model, exact in a few products.

    Parameters
    ----------
    logits : Tensor, (K, B, N)
        Of firing.
    bias : Tensor, (K, N)
        h of log q(r) = h r + r J r - log Z with spins 0 and 1.
    couplings : Tensor, (K, N, N)
        J, symmetric with diagonal 0; a pair contributes 2 J_ij.
    log_z : Tensor, (K,)
        Logarithm of the sum over all words.

    Returns
    -------
    Tensor, (K, B)
        Nats.
    """
    p = torch.sigmoid(logits)
    energy = (p * (logits - bias[:, None] - p @ couplings)).sum(-1)
    return energy - F.softplus(logits).sum(-1) + log_z[:, None]


def rate_as_sum(logits: Tensor, log_prior: Tensor) -> Tensor:
    """Divergence of the words from any prior, (K, 2**N) nats, summed word by word: (K, B)."""
    log_p = word_log_probabilities(logits)
    return (log_p.exp() * (log_p - log_prior[:, None])).sum(-1)


def rate_vamp(logits: Tensor, pseudo_logits: Tensor) -> Tensor:
    """Bound on the divergence of the words from their mean over pseudo-stimuli.

    Parameters
    ----------
    logits : Tensor, (K, B, N)
        Of firing at the stimuli.
    pseudo_logits : Tensor, (K, P, N)
        At the pseudo-stimuli.

    Returns
    -------
    Tensor, (K, B)
        Nats.
    """
    p = torch.sigmoid(logits)
    own = (p * logits - F.softplus(logits)).sum(-1, keepdim=True)
    other = p @ pseudo_logits.mT - F.softplus(pseudo_logits).sum(-1)[:, None]
    return math.log(pseudo_logits.shape[1]) - torch.logsumexp(other - own, -1)


def bernoulli_divergence(logits: Tensor, other: Tensor) -> Tensor:
    """Divergence between independent neurons, by logits (..., N) that broadcast; nats, (...)."""
    on = torch.sigmoid(logits) * (F.logsigmoid(logits) - F.logsigmoid(other))
    off = torch.sigmoid(-logits) * (F.logsigmoid(-logits) - F.logsigmoid(-other))
    return (on + off).sum(-1)


def categorical_distortion(logits: Tensor, x: Tensor, mu: Tensor, log_sigma: Tensor) -> Tensor:
    """Mean Gaussian negative log-likelihood where one neuron is active at a time.

    Parameters
    ----------
    logits : Tensor, (K, B, N)
        Of which neuron it is.
    x : Tensor, (K, B)
        Stimuli.
    mu, log_sigma : Tensor, (K, N)
        What every neuron is decoded to.

    Returns
    -------
    Tensor, (K, B)
        Nats.
    """
    values = negative_log_likelihood(x[..., None], mu[:, None], log_sigma[:, None], "gaussian")
    return (torch.softmax(logits, -1) * values).sum(-1)


def categorical_rate(logits: Tensor, prior_logits: Tensor) -> Tensor:
    """Divergence of the active neuron, logits (K, B, N), from its prior, (K, N); nats, (K, B)."""
    log_p = torch.log_softmax(logits, -1)
    return (log_p.exp() * (log_p - torch.log_softmax(prior_logits, -1)[:, None])).sum(-1)


def categorical_squared_error(logits: Tensor, x: Tensor, mu: Tensor, log_sigma: Tensor) -> Tensor:
    """Squared error of a stimulus drawn for the active neuron; arguments and shape as above."""
    error = (x[..., None] - mu[:, None]).square() + torch.exp(2 * log_sigma)[:, None]
    return (torch.softmax(logits, -1) * error).sum(-1)


def mixture_loss(x: Tensor, mu: Tensor, log_sigma: Tensor, prior_logits: Tensor) -> Tensor:
    """Negative log-likelihood of the mixture: what D + R is for the best categorical encoder.

    Parameters
    ----------
    x : Tensor, (K, B)
        Stimuli.
    mu, log_sigma, prior_logits : Tensor, (K, N)
        Of its components.

    Returns
    -------
    Tensor, (K, B)
        Nats.
    """
    values = negative_log_likelihood(x[..., None], mu[:, None], log_sigma[:, None], "gaussian")
    return -torch.logsumexp(torch.log_softmax(prior_logits, -1)[:, None] - values, -1)


def _gaussian_variable(x: Tensor, law: Law) -> tuple[Tensor, Tensor | float]:
    """Return what is Gaussian given the word, and what the negative log-density adds to it."""
    constant = 0.5 * math.log(2 * math.pi)
    if law == "gaussian":
        return x, constant
    u = torch.log(x)
    return u, u + constant
