"""Architecture, stimuli and training of efficient codes (neural_vae 2, 3, 5)."""

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from science.coding.stimuli import LogNormalStimulus, Stimulus
from science.coding.words import check_enumerable
from science.params import Params, Positive

RATE_OF_SMALL_STEPS = 1.5
"""Target below which the original's learning rate is smaller, nats."""


class CodingConfig(Params):
    """Architecture of an efficient code; the defaults are those of the original.

    Attributes
    ----------
    n_neurons : int
        N, bits of a word.
    n_hidden : int
        M, hidden units of a decoder.
    encoder : {"linear", "log", "mixed", "categorical"}
        What neurons are tuned to: x, log x, a trainable mixture of the two; "categorical" has one
        active neuron at a time, and goes with the decoder "mixture" and the prior "categorical".
    decoder : {"mlp", "separate", "mixture"}
        One hidden layer, one each for mean and width, or a table.
    word_prior : {"ising", "bernoulli", "vamp", "categorical"}
        Over words.
    law : {"gaussian", "lognormal"}
        Of the stimulus given the word.
    width_scale : float
        w of the initial widths sqrt(w spacing).
    n_pseudo_stimuli : int
        Of the prior "vamp".
    legacy : bool
        Amplitudes optimised themselves, and the wrong sign of the prior in the categorical encoder:
        for parity (neural_vae 10.1 and 2).
    """

    n_neurons: int = Field(12, ge=2)
    n_hidden: int = Field(100, ge=1)
    encoder: Literal["linear", "log", "mixed", "categorical"] = "linear"
    decoder: Literal["mlp", "separate", "mixture"] = "mlp"
    word_prior: Literal["ising", "bernoulli", "vamp", "categorical"] = "ising"
    law: Literal["gaussian", "lognormal"] = "gaussian"
    width_scale: Positive = 2.0
    n_pseudo_stimuli: int = Field(20, ge=1)
    legacy: bool = False

    @property
    def categorical(self) -> bool:
        """Whether one neuron is active at a time."""
        return self.encoder == "categorical"

    @property
    def max_rate(self) -> float:
        """What words can carry, nats."""
        return math.log(self.n_neurons) if self.categorical else self.n_neurons * math.log(2)

    @property
    def positive_only(self) -> bool:
        """Whether stimuli must be above 0."""
        return self.encoder in ("log", "mixed") or self.law == "lognormal"

    @model_validator(mode="after")
    def _check(self) -> Self:
        parts = (self.encoder, self.decoder, self.word_prior)
        expected = ("categorical", "mixture", "categorical")
        which = {part == name for part, name in zip(parts, expected, strict=True)}
        if len(which) > 1 or (self.categorical and self.law != "gaussian"):
            raise ValueError(
                "the categorical encoder, the mixture decoder and the categorical prior only go "
                "together, and with the Gaussian law"
            )
        if not self.categorical:
            check_enumerable(self.n_neurons, self.n_hidden_units)
        return self

    @property
    def n_hidden_units(self) -> int:
        """Of all hidden layers of the decoder."""
        return {"mlp": 1, "separate": 2, "mixture": 0}[self.decoder] * self.n_hidden


class CodingTask(Params):
    """Stimuli that are encoded.

    Attributes
    ----------
    stimulus : Stimulus
        Their prior.
    n_train : int
        In the sample that a model is trained on, its own for every seed.
    n_test : int
        In the one that all models are scored on.
    """

    stimulus: Stimulus = Field(LogNormalStimulus(), discriminator="type")
    n_train: int = Field(2000, ge=2)
    n_test: int = Field(3000, ge=1)


class CodingTraining(Params):
    """How efficient codes are trained to target rates; the defaults are those of the original.

    Attributes
    ----------
    target_rates : tuple of float
        Of the words about the stimulus, nats, at most what N bits carry. The models of one seed, a
        target each, are trained together: they start alike and see the same stimuli, so that each
        is what it would be alone.
    n_epochs : int
        0: the model stays as it was drawn.
    batch_size : int
        Stimuli per gradient step, always in the same order; the last batch is smaller.
    learning_rate : float, optional
        Of Adam; by default 1e-4 for targets below 1.5 nats, where larger steps are unstable, and
        1e-3 above (neural_vae 5).
    score_every : int
        Epochs between two looks at the stimuli that all models are scored on.
    beta_rate : float
        Of the multiplier beta of the rate, per nat and epoch.
    dtype : {"float32", "float64"}
        Of all that is computed.
    legacy : bool
        The published gradient, of D + beta R for all parameters: the word prior stands still while
        beta is 0 (neural_vae 10.13). Otherwise it always follows the gradient of R.
    """

    target_rates: tuple[Positive, ...] = Field((1.8,), min_length=1)
    n_epochs: int = Field(4000, ge=0)
    score_every: int = Field(100, ge=1)
    batch_size: int = Field(128, ge=1)
    learning_rate: Positive | None = None
    beta_rate: Positive = 0.1
    dtype: Literal["float32", "float64"] = "float32"
    legacy: bool = False

    @property
    def step_sizes(self) -> tuple[float, ...]:
        """Learning rate of every target, by the rule if there is none."""
        if self.learning_rate is not None:
            return (self.learning_rate,) * len(self.target_rates)
        return tuple(1e-4 if r < RATE_OF_SMALL_STEPS else 1e-3 for r in self.target_rates)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len(set(self.target_rates)) < len(self.target_rates):
            raise ValueError(f"a target rate occurs twice in {list(self.target_rates)}")
        return self
