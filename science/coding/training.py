"""Training of efficient codes to a target rate (neural_vae 5).

Distortion plus beta times rate is minimised, and beta follows the rate: after every epoch it grows
by `beta_rate` times what the rate is above its target, and is cut at 0.

The published rule multiplies all of the rate by beta, and gets stuck at 2.4 nats with N = 8: the
rate starts below its target, beta falls to 0 within ten epochs, and from then on the word prior has
no gradient at all, so that the measured rate is the information of the words *plus* their
divergence from a prior that stands still. That sum reaches the target, and keeps beta at 0, long
before the information does. Here the word prior always follows the gradient of the rate itself,
whatever beta is: it has the same optimum for any beta above 0, and Adam does not see the factor, so
that nothing else changes where beta is not 0. Amplitudes that are optimised as logarithms then let
the tuning curves become sharp enough to carry the information in time.

Measured with log-normal stimuli (entropy 2.419 nats), N = 8, 2000 stimuli, 2.4 nats, two seeds:
after 1500 epochs the published rule has D + R = 2.95 and 2.96 with 1.9 nats of information and
beta 0; ours has 2.486 and 2.459, and after 3000 epochs 2.456 and 2.446 at a rate of 2.400, with
2.40 nats of information and beta at 0.7. The followed prior alone, with `legacy` amplitudes, has
2.476 and 2.470 after 1000 epochs, but only 1.78 nats of information so far. At 0.6, 1.2 and 1.8
nats, 3000 epochs and one seed, ours has 2.461, 2.445 and 2.419, the published rule 2.461, 2.464 and
2.438.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from science.coding.adam import AdamOfModels
from science.coding.config import CodingConfig, CodingTask, CodingTraining
from science.coding.models import CodingModels
from science.training import Schedule, identity

TEST_SEED = 2**32 - 1
"""Of the sample that all models are scored on."""

EVALUATION_BATCH = 1000
"""Stimuli that are evaluated at once."""


@dataclass(frozen=True, eq=False)
class SweepResult:
    """Models that were trained together, and how.

    Attributes
    ----------
    models : CodingModels
        As they are after the last epoch.
    distortion, rate : Tensor, (n_epochs, K)
        float64, nats, means over the batches of an epoch before each step.
    beta : Tensor, (n_epochs, K)
        float64, of the epoch.
    """

    models: CodingModels
    distortion: Tensor
    rate: Tensor
    beta: Tensor

    @property
    def loss(self) -> Tensor:
        """Distortion and rate together, without beta: at least the entropy of the stimuli."""
        return self.distortion + self.rate


def check_target_rate(config: CodingConfig, target_rate: float) -> None:
    """Refuse a target that words cannot carry.

    Raises
    ------
    ValueError
        If it is not in (0, N ln 2], or (0, ln N] where one neuron is active at a time.
    """
    if not 0 < target_rate <= config.max_rate:
        raise ValueError(
            f"a target rate of {target_rate:g} nats is not in (0, {config.max_rate:.4g}], what "
            f"words of {config.n_neurons} neurons can carry"
        )


def train_epoch(
    models: CodingModels,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    training: CodingTraining,
    target_rates: Tensor,
) -> tuple[Tensor, Tensor]:
    """Make the gradient steps of an epoch, and then move beta.

    Parameters
    ----------
    models : CodingModels
        Changed in place, beta too.
    optimizer : torch.optim.Optimizer
        Of their parameters.
    x : Tensor, (K, n)
        Stimuli, in the order in which they are used.
    training : CodingTraining
        Batch size, step of beta, legacy.
    target_rates : Tensor, (K,)
        float64, nats.

    Returns
    -------
    distortion, rate : Tensor, (K,)
        float64, nats, unweighted means over the batches before each step.
    """
    steps = []
    for batch in x.split(training.batch_size, 1):
        loss, *terms = models.terms(batch, models.beta, training.legacy)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps.append(torch.stack(terms))
    distortion, rate = torch.stack(steps).double().mean(0)
    models.beta.add_(training.beta_rate * (rate - target_rates)).clamp_(min=0)
    return distortion, rate


@torch.no_grad()
def evaluate(models: CodingModels, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean distortion and rate at stimuli (K, n) or (n,), nats, float64, (K,) each.

    Raises
    ------
    ValueError
        If stimuli are not finite, or not above 0 where a logarithm is taken.
    """
    models.check_stimuli(x)
    x = x.to(models.words).expand(models.n_models, -1)
    parts = [torch.stack(models(part)).double() for part in x.split(EVALUATION_BATCH, 1)]
    distortion, rate = torch.cat(parts, 2).mean(2)
    return distortion, rate


def train_sweep(
    config: CodingConfig,
    task: CodingTask,
    trainings: Sequence[CodingTraining],
    seeds: Sequence[int],
    device: torch.device | str = "cpu",
) -> SweepResult:
    """Train many models of one architecture together, each as if alone.

    Parameters
    ----------
    config : CodingConfig
        Architecture.
    task : CodingTask
        Stimuli.
    trainings : sequence of CodingTraining
        One per model; they may differ in target rate and learning rate.
    seeds : sequence of int
        One per model, of its sample of stimuli and its initial parameters.
    device : torch.device or str
        Where to train.

    Raises
    ------
    ValueError
        If there are no models, not as many seeds, a target that words cannot carry, trainings that
        differ in more than targets and learning rates, or words that need too much memory.
    """
    if not trainings or len(trainings) != len(seeds):
        raise ValueError(f"{len(trainings)} trainings and {len(seeds)} seeds: one of each a model")
    first = trainings[0]
    own = {"target_rate": first.target_rate, "learning_rate": first.learning_rate}
    if any(training.model_copy(update=own) != first for training in trainings):
        raise ValueError("models trained together may only differ in target and learning rate")
    for training in trainings:
        check_target_rate(config, training.target_rate)
    models, x = draw_models(config, task, getattr(torch, first.dtype), seeds)
    models, x = models.to(device), x.to(device)
    targets, step_sizes = (
        torch.tensor(values, dtype=torch.float64, device=device)
        for values in (
            [training.target_rate for training in trainings],
            [training.step_size for training in trainings],
        )
    )
    optimizer = AdamOfModels(models.parameters(), step_sizes)
    curves = torch.empty(3, first.n_epochs, len(seeds), dtype=torch.float64)
    for epoch in range(first.n_epochs):
        curves[2, epoch] = models.beta
        curves[0, epoch], curves[1, epoch] = train_epoch(models, optimizer, x, first, targets)
    return SweepResult(models, *curves)


def draw_models(
    config: CodingConfig, task: CodingTask, dtype: torch.dtype, seeds: Sequence[int]
) -> tuple[CodingModels, Tensor]:
    """Draw models, and the stimuli (K, n_train) they are trained on, a seed for each."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return _draw_models(config, task, dtype, generators)


def _draw_models(
    config: CodingConfig,
    task: CodingTask,
    dtype: torch.dtype,
    generators: Sequence[torch.Generator],
) -> tuple[CodingModels, Tensor]:
    models = CodingModels(config, len(generators), dtype)
    x = torch.stack([task.stimulus.sample(task.n_train, g) for g in generators]).to(dtype)
    models.initialize(x, generators)
    return models, x


class CodingTrainee:
    """One model, for `science.training.train`.

    Parameters
    ----------
    config : CodingConfig
        Architecture.
    training : CodingTraining
        How it is trained.
    task : CodingTask
        Stimuli.
    device : torch.device or str
        Where to train.

    Raises
    ------
    ValueError
        If words cannot carry the target rate.
    """

    def __init__(
        self,
        config: CodingConfig,
        training: CodingTraining,
        task: CodingTask,
        device: torch.device | str = "cpu",
    ) -> None:
        check_target_rate(config, training.target_rate)
        self._config, self._training, self._task, self._device = config, training, task, device
        self.identity = identity(config=config, training=training, task=task)
        self.schedule = Schedule.of_epochs(training.step_size, training.n_epochs)
        generator = torch.Generator().manual_seed(TEST_SEED)
        self._test = task.stimulus.sample(task.n_test, generator).to(device)
        self._target = torch.tensor([training.target_rate], dtype=torch.float64, device=device)

    def build(self, generator: torch.Generator) -> CodingModels:
        """Return the initial model, with the sample it is trained on as its `stimuli`."""
        dtype = getattr(torch, self._training.dtype)
        models, x = _draw_models(self._config, self._task, dtype, [generator])
        # not a part of the state: the seed draws it again
        models.register_buffer("stimuli", x, persistent=False)
        return models.to(self._device)

    def optimizer(self, network: CodingModels, learning_rate: float) -> AdamOfModels:
        """Return a fresh Adam."""
        return AdamOfModels(network.parameters(), torch.full_like(self._target, learning_rate))

    def run_epoch(
        self, network: CodingModels, optimizer: AdamOfModels, generator: torch.Generator
    ) -> dict[str, float]:
        """Make the gradient steps of an epoch; distortion and rate, both of weight 1, nats."""
        terms = train_epoch(network, optimizer, network.stimuli, self._training, self._target)
        return dict(zip(("distortion", "rate"), map(Tensor.item, terms), strict=True))

    def score(self, network: CodingModels) -> float:
        """Return -(D + R + |R - target|) of the stimuli that all models are scored on, nats.

        D + R alone is the same along the whole ideal line, at any rate. The penalty is exact: with
        its weight of 1, no rate but the target is better as long as beta at the optimum, which
        is near 1 where the target is attainable, is between 0 and 2.
        """
        distortion, rate = evaluate(network, self._test)
        return -(distortion + rate + (rate - self._target).abs()).item()
