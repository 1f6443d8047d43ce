"""Efficient codes: encoder, decoder and word prior of many models of one shape at once."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from science.coding.config import CodingConfig
from science.coding.decoders import MixtureDecoder, PerceptronDecoder
from science.coding.encoders import CategoricalEncoder, TuningEncoder, tuning_from_clusters
from science.coding.losses import categorical_distortion, distortion
from science.coding.tuning import BellTuning
from science.coding.word_priors import WORD_PRIORS, VampPrior
from science.coding.words import binary_words, check_enumerable


class CodingModels(nn.Module):
    """K models of one architecture that know nothing of each other.

    Every parameter has the models along its first axis; one model is K = 1. Nothing mixes models,
    so that each is what it would be alone, even if another one is no longer finite.

    Parameters
    ----------
    config : CodingConfig
        Architecture.
    n_models : int
        K.
    dtype : torch.dtype
        Of all parameters and of what is computed.

    Attributes
    ----------
    config, n_models
        As given.
    encoder, decoder, word_prior : nn.Module
        See there.
    beta : Tensor, (K,)
        float64, multiplier of the rate that training has reached; 1 at first.

    Raises
    ------
    ValueError
        If there is no model, or the words of all of them need more memory than there may be.
    """

    def __init__(
        self, config: CodingConfig, n_models: int = 1, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        if n_models < 1:
            raise ValueError(f"{n_models} models: at least one is needed")
        if config.categorical:
            words = torch.eye(config.n_neurons, dtype=dtype)
            self.encoder: nn.Module = CategoricalEncoder(config, n_models, dtype)
            self.decoder: nn.Module = MixtureDecoder(config, n_models, dtype)
        else:
            check_enumerable(config.n_neurons, config.n_hidden_units, n_models, dtype.itemsize)
            words = binary_words(config.n_neurons, dtype)
            self.encoder = TuningEncoder(config, n_models, dtype)
            self.decoder = PerceptronDecoder(config, n_models, dtype)
        self.word_prior = WORD_PRIORS[config.word_prior](config, n_models, dtype)
        self.config, self.n_models = config, n_models
        self.register_buffer("words", words, persistent=False)
        self.register_buffer("beta", torch.ones(n_models, dtype=torch.float64))

    def initialize(self, x: Tensor, generators: Sequence[torch.Generator]) -> None:
        """Start each model from its own stimuli and its own random numbers (neural_vae 2 to 4).

        Parameters
        ----------
        x : Tensor, (K, n)
            Stimuli.
        generators : sequence of torch.Generator
            On the CPU, one per model.

        Raises
        ------
        ValueError
            If there are too few stimuli, or some are not above 0 where a logarithm is taken.
        """
        generators = list(generators)
        if len(x) != self.n_models or len(generators) != self.n_models:
            raise ValueError(
                f"{self.n_models} models need a row of stimuli and a generator each, got "
                f"{len(x)} rows and {len(generators)} generators"
            )
        self.check_stimuli(x)
        x = x.to(self.words)
        if self.config.categorical:
            n_neurons, scale = self.config.n_neurons, self.config.width_scale
            rows = x.cpu().numpy()
            centers = [tuning_from_clusters(row, n_neurons, scale)[0] for row in rows]
            self.decoder.initialize(x, torch.from_numpy(np.stack(centers)).to(x))
            parts = (self.decoder.mu, self.decoder.log_sigma, self.word_prior.logits)
            self.encoder.invert(*parts)
        else:
            self.encoder.initialize(x)
            self.decoder.initialize(generators)
        self.word_prior.initialize(x, generators)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Distortion and rate at stimuli (K, B): nats, (K, B) each."""
        logits = self.encoder(x)
        return self._distortion(logits, x), self._rate(logits)

    def terms(self, x: Tensor, beta: Tensor, legacy: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Return what a gradient step needs; see `science.coding.training`.

        Parameters
        ----------
        x : Tensor, (K, B)
            Stimuli.
        beta : Tensor, (K,)
            What the rate is multiplied by.
        legacy : bool
            Multiply it for the word prior too.

        Returns
        -------
        loss : Tensor, scalar
            The sum over models, whose gradient is theirs.
        distortion, rate : Tensor, (K,)
            Nats, means over the stimuli, without gradients.
        """
        logits = self.encoder(x)
        distortion = self._distortion(logits, x).mean(1)
        beta = beta.to(x.dtype)
        # a vamp prior is made of the encoder's words, and so follows them without any gradient
        if legacy or isinstance(self.word_prior, VampPrior):
            rate = self._rate(logits).mean(1)
            loss = distortion + beta * rate
        else:
            still = logits.detach()
            rate = self._rate(still + beta[:, None, None] * (logits - still)).mean(1)
            loss = distortion + rate
        return loss.sum(), distortion.detach(), rate.detach()

    @torch.no_grad()
    def decoded(self) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation that every word is decoded to, (K, W) each."""
        return self.decoder(self.words)

    @torch.no_grad()
    def word_log_probabilities(self) -> Tensor:
        """Of the word prior, nats, (K, W)."""
        return self.word_prior.log_probabilities(self.words, self.encoder)

    def member(self, index: int) -> "CodingModels":
        """One of the models, with parameters of its own."""
        return self.members([index])

    def copies(self, n_models: int) -> "CodingModels":
        """Return the first of the models so many times, with parameters of their own."""
        return self.members([0] * n_models)

    @torch.no_grad()
    def members(self, indices: Sequence[int]) -> "CodingModels":
        """Return some of the models, at least one, with parameters of their own."""
        chosen = CodingModels(self.config, len(indices), self.words.dtype).to(self.words.device)
        state = self.state_dict()
        chosen.load_state_dict({name: state[name][list(indices)] for name in chosen.state_dict()})
        return chosen

    @torch.no_grad()
    def tuning(self) -> BellTuning:
        """Tuning curves of all neurons.

        Raises
        ------
        ValueError
            If one neuron is active at a time: their tuning is not bell-shaped.
        """
        if self.config.categorical:
            raise ValueError("neurons of which one is active at a time have no bell-shaped tuning")
        return self.encoder.tuning()

    def check_stimuli(self, x: Tensor) -> None:
        """Refuse stimuli whose logarithm does not exist, and such as are not finite."""
        if not torch.isfinite(x).all():
            raise ValueError("some stimuli are not finite")
        if self.config.positive_only and not (x > 0).all():
            raise ValueError(
                "the encoder or the law takes logarithms: stimuli must be above 0, the smallest is "
                f"{x.min().item():.4g}"
            )

    def _distortion(self, logits: Tensor, x: Tensor) -> Tensor:
        mu, log_sigma = self.decoder(self.words)
        if self.config.categorical:
            return categorical_distortion(logits, x, mu, log_sigma)
        return distortion(logits, x, mu, log_sigma, self.config.law)

    def _rate(self, logits: Tensor) -> Tensor:
        return self.word_prior.rate(logits, self.words, self.encoder)
