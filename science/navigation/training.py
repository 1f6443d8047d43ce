"""Training of path integrators on walks drawn as they are needed (mec 6)."""

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from science.navigation.keras_adam import KerasAdam
from science.navigation.losses import decoding_error, place_loss, position_loss, weight_decay
from science.navigation.path_integrator import PathIntegrator, PathIntegratorConfig
from science.navigation.place_cells import PositionParams
from science.navigation.random_source import random_source
from science.navigation.task import Batch, NavigationTask, draw_batch
from science.params import NonNegative, Params, Positive
from science.training import Schedule, identity

HELD_OUT_SEED = 2**32 - 1
"""Of the walks that networks are scored on; training draws its seeds below it."""

WALKS_AT_ONCE = 200
"""That a network is scored on: what its layers need grows with them."""


class PathIntegratorTraining(Params):
    """How path integrators are trained; the defaults are those of the original (mec 2 and 6).

    With them it takes hours until a network of 256 units finds its way; with a learning rate of
    1e-3 it takes 1 500 steps (mec 15).

    Attributes
    ----------
    learning_rate : float
        Of Adam.
    n_epochs : int
        The best state after any of them is kept; 0: the network stays as it was drawn.
    steps_per_epoch : int
        Gradient steps.
    n_walks : int
        Per step.
    weight_decay : float
        What the sum of squares of the recurrent weights is multiplied by.
    n_held_out : int
        Walks, the same after every epoch, whose decoding error chooses the best state.
    legacy : bool
        Adam's epsilon as in Keras, the bias of a UGRNN decayed instead of its kernel, walks in the
        original's order of random numbers: for parity (mec 16).
    """

    learning_rate: Positive = 1e-4
    n_epochs: int = Field(100, ge=0)
    steps_per_epoch: int = Field(1000, ge=1)
    n_walks: int = Field(200, ge=1)
    weight_decay: NonNegative = 1e-4
    n_held_out: int = Field(1000, ge=1)
    legacy: bool = False


@dataclass(frozen=True)
class HeldOut:
    """Distance of decoded from true positions on held-out walks, metres.

    Attributes
    ----------
    error, median : float
        Over walks and steps.
    standing_error : float
        The mean of a network that takes every position for the start.
    centre_error : float
        The mean of one that takes every position for the middle of the arena: chance.
    """

    error: float
    median: float
    standing_error: float
    centre_error: float


class PathIntegratorTrainee:
    """Path integrators of one architecture, and the task that trains them.

    Parameters
    ----------
    config : PathIntegratorConfig
        Architecture.
    training : PathIntegratorTraining
        How it is trained.
    task : NavigationTask
        What it is trained on.
    device : torch.device or str
        Where to train.
    """

    def __init__(
        self,
        config: PathIntegratorConfig,
        training: PathIntegratorTraining,
        task: NavigationTask,
        device: torch.device | str = "cpu",
    ) -> None:
        self._config, self._training, self._task, self._device = config, training, task, device
        self._code = task.place_code(device=device)
        self.identity = identity(config=config, training=training, task=task)
        self.schedule = Schedule.of_epochs(training.learning_rate, training.n_epochs)
        rng = random_source(HELD_OUT_SEED, training.legacy)
        self._held_out = draw_batch(task, self._code, training.n_held_out, rng)

    def build(self, generator: torch.Generator) -> PathIntegrator:
        """Return the initial network, drawn on the CPU."""
        network = PathIntegrator(self._config, self._code.n_outputs, self._task.n_signals)
        network.initialize(generator)
        return network.to(self._device)

    def optimizer(self, network: PathIntegrator, learning_rate: float) -> torch.optim.Adam:
        """Return a fresh Adam."""
        if self._training.legacy:
            return KerasAdam(network.parameters(), learning_rate, fused=True)
        return torch.optim.Adam(network.parameters(), learning_rate, fused=True)

    def run_epoch(
        self, network: PathIntegrator, optimizer: torch.optim.Adam, generator: torch.Generator
    ) -> dict[str, float]:
        """Make the gradient steps of an epoch, each on walks of its own."""
        network.train()
        training, steps = self._training, []
        seeds = torch.randint(HELD_OUT_SEED, (training.steps_per_epoch,), generator=generator)
        for seed in seeds.tolist():
            rng = random_source(seed, training.legacy)
            batch = draw_batch(self._task, self._code, training.n_walks, rng)
            terms = self._loss_terms(network, batch)
            values = torch.stack(list(terms.values()))
            optimizer.zero_grad()
            values.sum().backward()
            optimizer.step()
            steps.append(values.detach())
        return dict(zip(terms, torch.stack(steps).mean(0).tolist(), strict=True))

    def score(self, network: PathIntegrator) -> float:
        """Return the negative decoding error of the held-out walks, metres."""
        return -self.held_out(network).error

    def held_out(self, network: PathIntegrator) -> "HeldOut":
        """Return how well a network finds its way on walks that it was not trained on."""
        network.eval()
        batch, code = self._held_out, self._code
        with torch.no_grad():
            parts = zip(
                *(
                    values.split(WALKS_AT_ONCE)
                    for values in (batch.initial_code, batch.velocities, batch.signals)
                    if values is not None
                ),
                strict=True,
            )
            decoded = torch.cat([code.decode(network(*part)) for part in parts])
        start = code.decode(batch.initial_code)[:, None]
        distance = torch.linalg.vector_norm(decoded - batch.positions, dim=-1)
        centre = torch.as_tensor(self._task.arena.center).to(batch.positions)
        return HeldOut(
            float(distance.mean()),
            float(distance.median()),
            decoding_error(start.expand_as(batch.positions), batch.positions).item(),
            decoding_error(centre.expand_as(batch.positions), batch.positions).item(),
        )

    def _loss_terms(self, network: PathIntegrator, batch: Batch) -> dict[str, Tensor]:
        outputs = network(batch.initial_code, batch.velocities, batch.signals)
        if isinstance(self._task.code, PositionParams):
            terms = {"position": position_loss(outputs, batch.positions)}
        else:
            terms = {"place": place_loss(outputs, batch.targets)}
        if self._training.weight_decay:
            decay = weight_decay(network, self._training.legacy)
            terms["weight_decay"] = self._training.weight_decay * decay
        return terms
