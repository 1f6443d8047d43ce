"""Training of feedback-modulated networks on contexts drawn as they are needed (naumann22 3)."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from science.feedback.config import FeedbackConfig
from science.feedback.contexts import contexts
from science.feedback.network import FeedbackNetwork, State
from science.feedback.networks import feedback_network
from science.feedback.task import Batch, FeedbackTask, draw_batch
from science.feedback.testing import run_contexts
from science.params import NonNegative, Params, Positive
from science.training import Schedule, identity

HELD_OUT_SEED = 2**32 - 1
"""Of the contexts that networks are scored on; training draws its seeds below it."""


class FeedbackTraining(Params):
    """How networks are trained; the defaults are those of the original.

    After a few hundred batches a network has hardly left the plateau (naumann22 8.3); the published
    ones had 10 000.

    Attributes
    ----------
    learning_rate : float
        Of Adam.
    n_epochs : int
        The best state after any of them is kept; 0: the network stays as it was drawn.
    batches_per_epoch : int
        Gradient steps.
    n_contexts : int
        Per batch.
    max_gradient : float
        To which every element of the gradient is clipped.
    feedback_cost : float
        What the absolute feedback, summed over steps, contexts of the batch and signals, is
        multiplied by.
    n_held_out : int
        Contexts, the same after every epoch, whose loss chooses the best state.
    """

    learning_rate: Positive = 1e-3
    n_epochs: int = Field(100, ge=0)
    batches_per_epoch: int = Field(100, ge=1)
    n_contexts: int = Field(32, ge=1)
    max_gradient: Positive = 1.0
    feedback_cost: NonNegative = 0.0
    n_held_out: int = Field(20, ge=1)


def source_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Smooth L1, mean over trials and outputs, sum over steps (naumann22 3).

    Parameters
    ----------
    outputs : Tensor
        (b, t, o).
    targets : Tensor
        (t, o) or (b, t, o).
    """
    total = F.smooth_l1_loss(outputs, targets.expand_as(outputs), reduction="sum")
    return total / (outputs.shape[0] * outputs.shape[2])


class HeldOut(NamedTuple):
    """Losses per context, sum over its steps.

    Attributes
    ----------
    loss : float
        Of the network.
    silent_loss : float
        If all outputs were 0.
    """

    loss: float
    silent_loss: float


class Carried(nn.Module):
    """State that a network goes on from in the next batch, kept with it in checkpoints."""

    def __init__(self, state: State) -> None:
        super().__init__()
        self.put(state)

    def put(self, state: State) -> None:
        """Keep a state."""
        for name, value in state._asdict().items():
            self.register_buffer(name, value)

    def state(self) -> State:
        """Return the state."""
        return State(**dict(self.named_buffers()))


class FeedbackTrainee:
    """Networks of one architecture, and the task that trains them.

    Parameters
    ----------
    config : FeedbackConfig
        Architecture.
    training : FeedbackTraining
        How it is trained.
    task : FeedbackTask
        What it is trained on.
    device : torch.device or str
        Where to train.

    Notes
    -----
    Contexts switch without a reset: the state after a batch, and after an epoch, is where the next
    one starts. A network in training keeps it in its buffers ``carried``, so that a killed run goes
    on to the same result; `science.feedback.weights.pack` leaves it away.
    """

    def __init__(
        self,
        config: FeedbackConfig,
        training: FeedbackTraining,
        task: FeedbackTask,
        device: torch.device | str = "cpu",
    ) -> None:
        self._config, self._training, self._task, self._device = config, training, task, device
        self.identity = identity(config=config, training=training, task=task)
        self.schedule = Schedule.of_epochs(training.learning_rate, training.n_epochs)
        rng = np.random.default_rng(HELD_OUT_SEED)
        shape = (task.n_inputs, task.n_outputs)
        self._held_out = contexts(training.n_held_out, task.contexts, shape, rng)

    def build(self, generator: torch.Generator) -> FeedbackNetwork:
        """Return the initial network, drawn on the CPU."""
        network = feedback_network(self._config, self._task.n_inputs, self._task.n_outputs)
        network.initialize(generator)
        network.carried = Carried(network.initial_state(self._training.n_contexts, generator))
        return network.to(self._device)

    def optimizer(self, network: FeedbackNetwork, learning_rate: float) -> torch.optim.Adam:
        """Return a fresh Adam."""
        return torch.optim.Adam(network.parameters(), learning_rate, fused=True)

    def run_epoch(
        self, network: FeedbackNetwork, optimizer: torch.optim.Adam, generator: torch.Generator
    ) -> dict[str, float]:
        """Make the gradient steps of an epoch, each in contexts of its own."""
        network.train()
        training, steps = self._training, []
        seeds = torch.randint(HELD_OUT_SEED, (training.batches_per_epoch,), generator=generator)
        for seed in seeds.tolist():
            batch = draw_batch(self._task, training.n_contexts, np.random.default_rng(seed))
            steps.append(self.step(network, optimizer, batch))
        return {name: float(np.mean([terms[name] for terms in steps])) for name in steps[0]}

    def step(
        self, network: FeedbackNetwork, optimizer: torch.optim.Adam, batch: Batch
    ) -> dict[str, float]:
        """Make a gradient step from where the last batch ended; returns the terms of its loss."""
        inputs, targets = (v.to(self._device) for v in (batch.inputs, batch.targets))
        found = network(inputs, network.carried.state())
        terms = {"sources": source_loss(found.outputs, targets)}
        if self._training.feedback_cost:
            terms["feedback"] = self._training.feedback_cost * found.feedback.abs().sum()
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        nn.utils.clip_grad_value_(network.parameters(), self._training.max_gradient)
        optimizer.step()
        network.carried.put(found.state)
        return {name: term.item() for name, term in terms.items()}

    def held_out(self, network: FeedbackNetwork) -> HeldOut:
        """Return the losses in contexts that are never trained on."""
        network.eval()
        contexts, rng = self._held_out[None], np.random.default_rng(HELD_OUT_SEED)
        traces = run_contexts(network, self._task, contexts, rng, with_activity=False)
        targets = torch.from_numpy(traces.targets)
        silent = source_loss(torch.zeros_like(targets), targets)
        return HeldOut(float(traces.loss.mean()), silent.item())

    def score(self, network: FeedbackNetwork) -> float:
        """Return the negative loss per held-out context."""
        return -self.held_out(network).loss
