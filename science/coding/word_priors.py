"""Trainable priors over words (neural_vae 4.2)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from science.coding.config import CodingConfig
from science.coding.losses import categorical_rate, rate_bernoulli, rate_ising, rate_vamp
from science.coding.words import word_log_probabilities

INITIAL_BIAS = -1.0


class BernoulliPrior(nn.Module):
    """Independent neurons.

    Parameters
    ----------
    config : CodingConfig
        Number of neurons.
    n_models : int
        K.
    dtype : torch.dtype
        Of all parameters.

    Attributes
    ----------
    bias : nn.Parameter, (K, N)
        Logits of firing.
    """

    def __init__(self, config: CodingConfig, n_models: int, dtype: torch.dtype) -> None:
        super().__init__()
        bias = torch.full((n_models, config.n_neurons), INITIAL_BIAS, dtype=dtype)
        self.bias = nn.Parameter(bias)

    def initialize(self, x: Tensor, generators: list[torch.Generator]) -> None:
        """Nothing is drawn."""

    def log_probabilities(self, words: Tensor, encoder: nn.Module) -> Tensor:
        """Of words (W, N), nats, (K, W)."""
        return self.bias @ words.T + F.logsigmoid(-self.bias).sum(-1, keepdim=True)

    def rate(self, logits: Tensor, words: Tensor, encoder: nn.Module) -> Tensor:
        """Divergence of the words, by logits (K, B, N), from the prior; nats, (K, B)."""
        return rate_bernoulli(logits, self.bias)


class IsingPrior(nn.Module):
    """Pairwise couplings, with the exact sum over all words as normaliser.

    Parameters
    ----------
    config : CodingConfig
        Number of neurons.
    n_models : int
        K.
    dtype : torch.dtype
        Of all parameters.

    Attributes
    ----------
    bias : nn.Parameter, (K, N)
        h of log q(r) = h r + r J r - log Z.
    raw_couplings : nn.Parameter, (K, N, N)
        Only its symmetric part off the diagonal counts: see `couplings`.
    """

    def __init__(self, config: CodingConfig, n_models: int, dtype: torch.dtype) -> None:
        super().__init__()
        n = config.n_neurons
        self.bias = nn.Parameter(torch.full((n_models, n), INITIAL_BIAS, dtype=dtype))
        self.raw_couplings = nn.Parameter(torch.zeros(n_models, n, n, dtype=dtype))
        self.register_buffer("_off_diagonal", 1 - torch.eye(n, dtype=dtype), persistent=False)

    @torch.no_grad()
    def initialize(self, x: Tensor, generators: list[torch.Generator]) -> None:
        """Draw W W^T, element by element, with W normal of variance 1 / N; diagonal 0."""
        n = self.bias.shape[1]
        for values, generator in zip(self.raw_couplings, generators, strict=True):
            weights = torch.randn(n, n, generator=generator, dtype=torch.float64) / n**0.5
            values.copy_(weights * weights.T)
            values.fill_diagonal_(0)

    def couplings(self) -> Tensor:
        """J: symmetric with diagonal 0, (K, N, N)."""
        return 0.5 * (self.raw_couplings + self.raw_couplings.mT) * self._off_diagonal

    def log_probabilities(self, words: Tensor, encoder: nn.Module) -> Tensor:
        """Of words (W, N), which must be all there are, nats, (K, W)."""
        return torch.log_softmax(self._energies(words, self.couplings()), -1)

    def rate(self, logits: Tensor, words: Tensor, encoder: nn.Module) -> Tensor:
        """Divergence of the words, by logits (K, B, N), from the prior; nats, (K, B)."""
        couplings = self.couplings()
        log_z = torch.logsumexp(self._energies(words, couplings), -1)
        return rate_ising(logits, self.bias, couplings, log_z)

    def _energies(self, words: Tensor, couplings: Tensor) -> Tensor:
        return ((words @ couplings + self.bias[:, None]) * words).sum(-1)


class VampPrior(nn.Module):
    """Mean of the encoder's words over trainable pseudo-stimuli.

    Parameters
    ----------
    config : CodingConfig
        Number of pseudo-stimuli.
    n_models : int
        K.
    dtype : torch.dtype
        Of all parameters.

    Attributes
    ----------
    pseudo_stimuli : nn.Parameter, (K, P)
    """

    def __init__(self, config: CodingConfig, n_models: int, dtype: torch.dtype) -> None:
        super().__init__()
        stimuli = torch.ones(n_models, config.n_pseudo_stimuli, dtype=dtype)
        self.pseudo_stimuli = nn.Parameter(stimuli)

    @torch.no_grad()
    def initialize(self, x: Tensor, generators: list[torch.Generator]) -> None:
        """Draw pseudo-stimuli from the stimuli, (K, n), without replacement."""
        n = self.pseudo_stimuli.shape[1]
        if x.shape[1] < n:
            raise ValueError(f"{n} pseudo-stimuli cannot be drawn from {x.shape[1]} stimuli")
        for values, own, generator in zip(self.pseudo_stimuli, x, generators, strict=True):
            values.copy_(own[torch.randperm(len(own), generator=generator)[:n].to(own.device)])

    def log_probabilities(self, words: Tensor, encoder: nn.Module) -> Tensor:
        """Of words, which must be all there are, nats, (K, W)."""
        log_p = word_log_probabilities(encoder(self.pseudo_stimuli))
        return torch.logsumexp(log_p, 1) - torch.log(log_p.new_tensor(log_p.shape[1]))

    def rate(self, logits: Tensor, words: Tensor, encoder: nn.Module) -> Tensor:
        """Bound on the divergence of the words, by logits (K, B, N); nats, (K, B)."""
        return rate_vamp(logits, encoder(self.pseudo_stimuli))


class CategoricalPrior(nn.Module):
    """Which neuron is the active one.

    Parameters
    ----------
    config : CodingConfig
        Number of neurons.
    n_models : int
        K.
    dtype : torch.dtype
        Of all parameters.

    Attributes
    ----------
    logits : nn.Parameter, (K, N)
    """

    def __init__(self, config: CodingConfig, n_models: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.ones(n_models, config.n_neurons, dtype=dtype))

    def initialize(self, x: Tensor, generators: list[torch.Generator]) -> None:
        """Nothing is drawn."""

    def log_probabilities(self, words: Tensor, encoder: nn.Module) -> Tensor:
        """Of one-hot words (W, N), nats, (K, W)."""
        return torch.log_softmax(self.logits, -1) @ words.T

    def rate(self, logits: Tensor, words: Tensor, encoder: nn.Module) -> Tensor:
        """Divergence of the active neuron, by logits (K, B, N), from the prior; nats, (K, B)."""
        return categorical_rate(logits, self.logits)


WORD_PRIORS = {
    "bernoulli": BernoulliPrior,
    "ising": IsingPrior,
    "vamp": VampPrior,
    "categorical": CategoricalPrior,
}
