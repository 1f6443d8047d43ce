"""Training of efficient codes to target rates (neural_vae 5).

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

import torch
from torch import Tensor, nn

from science.coding.adam import AdamOfModels
from science.coding.config import CodingConfig, CodingTask, CodingTraining
from science.coding.models import CodingModels
from science.training import Schedule, identity

TEST_SEED = 2**32 - 1
"""Of the sample that all models are scored on."""

EVALUATION_BATCH = 1000
"""Stimuli that are evaluated at once."""


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
    x : Tensor, (n,) or (K, n)
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
    x, steps = x.expand(models.n_models, -1), []
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


class History(nn.Module):
    """Distortion, rate and beta of every epoch, kept with models in training and checkpoints.

    Attributes
    ----------
    values : Tensor, (3, n_epochs, K)
        float64, nats, means over the batches of an epoch before each step, and beta of the epoch;
        NaN of those to come.
    n_epochs : Tensor, scalar
        int64, so far.
    """

    def __init__(self, n_epochs: int, n_models: int) -> None:
        super().__init__()
        values = torch.full((3, n_epochs, n_models), torch.nan, dtype=torch.float64)
        self.register_buffer("values", values)
        self.register_buffer("n_epochs", torch.tensor(0))

    def append(self, *values: Tensor) -> None:
        """Add distortion, rate and beta of an epoch, (K,) each."""
        self.values[:, self.n_epochs] = torch.stack(values)
        self.n_epochs += 1


class CodingTrainee:
    """The models of a seed, one per target rate, for `science.training.train`.

    Parameters
    ----------
    config : CodingConfig
        Architecture.
    training : CodingTraining
        How they are trained.
    task : CodingTask
        Stimuli.
    device : torch.device or str
        Where to train.

    Raises
    ------
    ValueError
        If words cannot carry a target rate, or need too much memory.

    Notes
    -----
    A model that is no longer finite does not stop the others.
    """

    def __init__(
        self,
        config: CodingConfig,
        training: CodingTraining,
        task: CodingTask,
        device: torch.device | str = "cpu",
    ) -> None:
        for target in training.target_rates:
            check_target_rate(config, target)
        self._config, self._training, self._task, self._device = config, training, task, device
        self.identity = identity(config=config, training=training, task=task)
        self._step_sizes, self._targets = (
            torch.tensor(values, dtype=torch.float64, device=device)
            for values in (training.step_sizes, training.target_rates)
        )
        self.schedule = Schedule.of_epochs(
            max(training.step_sizes), training.n_epochs, training.score_every
        )
        generator = torch.Generator().manual_seed(TEST_SEED)
        self._test = task.stimulus.sample(task.n_test, generator).to(device)

    def build(self, generator: torch.Generator) -> CodingModels:
        """Return the initial models, with the sample they are trained on as their `stimuli`."""
        dtype = getattr(torch, self._training.dtype)
        x = self._task.stimulus.sample(self._task.n_train, generator).to(dtype)
        first = CodingModels(self._config, 1, dtype)
        first.initialize(x[None], [generator])
        models = first.copies(len(self._targets))
        models.history = History(self._training.n_epochs, models.n_models)
        # not a part of the state: the seed draws it again
        models.register_buffer("stimuli", x, persistent=False)
        return models.to(self._device)

    def optimizer(self, network: CodingModels, learning_rate: float) -> AdamOfModels:
        """Return a fresh Adam; the learning rate is that of the model with the largest one."""
        sizes = self._step_sizes * (learning_rate / self._step_sizes.max())
        return AdamOfModels(network.parameters(), sizes)

    def run_epoch(
        self, network: CodingModels, optimizer: AdamOfModels, generator: torch.Generator
    ) -> dict[str, float]:
        """Make the gradient steps of an epoch; mean terms of the finite models, nats."""
        beta = network.beta.clone()
        terms = train_epoch(network, optimizer, network.stimuli, self._training, self._targets)
        network.history.append(*terms, beta)
        return {
            name: _mean_of_finite(values)
            for name, values in zip(("distortion", "rate"), terms, strict=True)
        }

    def held_out(self, network: CodingModels) -> tuple[Tensor, Tensor]:
        """Distortion and rate at the stimuli that all models are scored on, nats, (K,) each."""
        return evaluate(network, self._test)

    def score(self, network: CodingModels) -> float:
        """Return -(D + R + |R - target|), nats, mean over the models that are finite.

        D + R alone is the same along the whole ideal line, at any rate. The penalty is exact: with
        its weight of 1, no rate but the target is better as long as beta at the optimum, which
        is near 1 where the target is attainable, is between 0 and 2.
        """
        distortion, rate = self.held_out(network)
        return -_mean_of_finite(distortion + rate + (rate - self._targets).abs())


def _mean_of_finite(values: Tensor) -> float:
    """Mean over models (K,); NaN if none of them is finite."""
    return values[values.isfinite()].mean().item()
