"""All binary words of a population, and the memory that a sum over them needs."""

from functools import lru_cache

import torch
from torch import Tensor

MEMORY_LIMIT = 8 * 2**30
"""Bytes that models may need at once in training; more is refused."""


def binary_words(
    n_neurons: int, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"
) -> Tensor:
    """All words of `n_neurons` bits in the order of the numbers they stand for.

    Parameters
    ----------
    n_neurons : int
        0 or more.
    dtype : torch.dtype
        Of the words.
    device : torch.device or str
        Where they are.

    Returns
    -------
    Tensor
        (2**n_neurons, n_neurons), 0 or 1; neuron 0 is the most significant bit (neural_vae 1).

    Examples
    --------
    >>> binary_words(2).tolist()
    [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    """
    numbers = torch.arange(2**n_neurons, device=device)[:, None]
    shifts = torch.arange(n_neurons - 1, -1, -1, device=device)
    return ((numbers >> shifts) & 1).to(dtype)


def enumeration_bytes(n_neurons: int, n_hidden: int, n_models: int = 1, itemsize: int = 4) -> int:
    """Bytes that a training step needs for all 2^N words.

    Parameters
    ----------
    n_neurons : int
        Bits of a word.
    n_hidden : int
        Hidden units of a decoder, which are computed for one model after the other.
    n_models : int
        Trained at once.
    itemsize : int
        Bytes of a number.
    """
    per_model = 7 * n_neurons + 30  # energies, decoded values, their gradients times the words
    return 2**n_neurons * (n_models * per_model + n_hidden) * itemsize


def check_enumerable(n_neurons: int, n_hidden: int, n_models: int = 1, itemsize: int = 4) -> None:
    """Refuse to enumerate more words than fit.

    Parameters
    ----------
    n_neurons, n_hidden, n_models, itemsize
        As of `enumeration_bytes`.

    Raises
    ------
    ValueError
        If they need more than `MEMORY_LIMIT`.
    """
    needed = enumeration_bytes(n_neurons, n_hidden, n_models, itemsize)
    if needed > MEMORY_LIMIT:
        raise ValueError(
            f"{n_models} model(s) with 2^{n_neurons} words of {n_neurons} neurons and {n_hidden} "
            f"hidden units would need {needed / 2**30:,.0f} GiB of memory, more than the limit of "
            f"{MEMORY_LIMIT / 2**30:.0f} GiB: take fewer neurons, hidden units or models at once"
        )


def half_word_probabilities(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities of the words of the first and of the second half of the neurons.

    Neurons are independent given the stimulus, so that the outer product of the two, flattened, is
    the probability of every word: an expectation over 2^N words takes two small matrix products
    and 2 * 2^(N/2) exponentials.

    Parameters
    ----------
    logits : Tensor, (..., n_neurons)
        Of firing.

    Returns
    -------
    first : Tensor, (..., 2**ceil(n_neurons / 2))
    second : Tensor, (..., 2**floor(n_neurons / 2))
    """
    n_neurons = logits.shape[-1]
    halves = logits.split([(n_neurons + 1) // 2, n_neurons // 2], -1)
    return tuple(word_log_probabilities(half).exp() for half in halves)


def word_log_probabilities(logits: Tensor) -> Tensor:
    """Log-probability of every word given the stimulus (neural_vae 4).

    Parameters
    ----------
    logits : Tensor, (..., n_neurons)
        Of firing.

    Returns
    -------
    Tensor, (..., 2**n_neurons)
        Nats, in the order of `binary_words`.
    """
    words = _kept_words(logits.shape[-1], logits.dtype, logits.device)
    silence = torch.nn.functional.logsigmoid(-logits).sum(-1, keepdim=True)
    return logits @ words.T + silence


@lru_cache(maxsize=16)
def _kept_words(n_neurons: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Keep the words that every training step needs: making them takes longer than using them."""
    return binary_words(n_neurons, dtype, device)
