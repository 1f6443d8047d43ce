"""Networks in one context after the other, with or without their feedback (naumann22 4)."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from science.feedback.network import FeedbackNetwork
from science.feedback.task import FeedbackTask, mix, segment
from science.params import NonNegative, Params

GAIN_SD = 0.1
"""Of the initial gains of "dale" networks, ten times that of training."""

Floats = NDArray[np.float32]


class Conditions(Params):
    """Where a test may differ from the task that a network was trained on.

    Attributes
    ----------
    n_steps : int, optional
        In a context; by default the task's.
    noise : float, optional
        Standard deviation of what is added to every input; by default the task's.
    seed : int
        Of contexts, noise and initial gains.
    """

    n_steps: int | None = Field(None, ge=10)
    noise: NonNegative | None = None
    seed: int = Field(0, ge=0, lt=2**31)

    def of(self, task: FeedbackTask) -> FeedbackTask:
        """Return a task under these conditions."""
        given = {"n_steps": self.n_steps, "noise": self.noise}
        return task.model_copy(update={n: v for n, v in given.items() if v is not None})


@dataclass(frozen=True)
class ContextTraces:
    """What networks did in r runs of n contexts each.

    Attributes
    ----------
    mixing : float32, (r, n, i, o)
        Contexts.
    frozen : bool, (n, t)
        Steps that did not change the modulation.
    targets : float32, (n, t, o)
        Sources, the same in all runs.
    inputs : float32, (r, n, t, i)
        With noise.
    outputs : float32, (r, n, t, o)
    feedback : float32, (r, n, t, k)
    activity : dict of str to float32, (r, n, t, width)
        See `FeedbackNetwork.activity`.
    loss : float64, (r, n)
        Of every context, sum over its steps. The first one is that of a network that starts from
        nothing: report the mean with and without it.
    """

    mixing: Floats
    frozen: NDArray[np.bool_]
    targets: Floats
    inputs: Floats
    outputs: Floats
    feedback: Floats
    activity: dict[str, Floats]
    loss: NDArray[np.float64]


@torch.no_grad()
def run_contexts(
    network: FeedbackNetwork,
    task: FeedbackTask,
    mixing: NDArray[np.float32],
    rng: np.random.Generator,
    freeze_from: int | None = None,
    n_frozen: int = 500,
    with_activity: bool = True,
) -> ContextTraces:
    """Show contexts one after the other, without a reset, while the sources go on.

    Parameters
    ----------
    network : FeedbackNetwork
        On any device.
    task : FeedbackTask
        Its sources, noise and steps per context. The record of the sources goes round; if there are
        more than outputs, the first ones are shown.
    mixing : float32, (r, n, i, o)
        Contexts of every run, in their order; runs are independent.
    rng : Generator
        Of noise and initial gains.
    freeze_from : int, optional
        Index, at least 1, of the first context that begins with frozen feedback; so do all after.
    n_frozen : int
        For how many steps.
    with_activity : bool
        Whether `ContextTraces.activity` is filled.

    Raises
    ------
    ValueError
        If contexts do not fit the network or feedback is to be frozen from the first one.
    """
    shape = (network.n_inputs, network.n_outputs)
    if mixing.ndim != 4 or mixing.shape[2:] != shape or 0 in mixing.shape:
        raise ValueError(
            f"contexts have the shape {mixing.shape}, expected (runs, contexts, {shape[0]}, "
            f"{shape[1]})"
        )
    if freeze_from is not None and freeze_from < 1:
        raise ValueError("feedback can be frozen from context 1 on: before it there is none")
    n_runs, n_contexts = mixing.shape[:2]
    record = task.record[:, : network.n_outputs]
    n_steps, device = task.n_steps, network.readout.weight.device
    starts = np.zeros(network.n_outputs, np.int64)
    targets = segment(record, starts, n_contexts * n_steps).reshape(n_contexts, n_steps, -1)
    inputs = mix(targets, mixing, task.noise, rng)
    frozen = torch.zeros(n_contexts, n_steps, dtype=torch.bool)
    if freeze_from is not None:
        frozen[freeze_from:, :n_frozen] = True
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    state = network.initial_state(n_runs, generator, GAIN_SD)
    parts: defaultdict[str, list[Tensor]] = defaultdict(list)
    for c in range(n_contexts):
        seen, held = inputs[:, c].to(network.readout.weight), frozen[c].to(device)
        found = network(seen, state, held)
        parts["outputs"].append(found.outputs)
        parts["feedback"].append(found.feedback)
        if with_activity:
            for name, values in network.activity(seen, found.feedback, state, held).items():
                parts[name].append(values)
        state = found.state
    outputs = torch.stack(parts.pop("outputs"), 1).cpu()
    feedback = torch.stack(parts.pop("feedback"), 1).cpu()
    loss = F.smooth_l1_loss(
        outputs.double(), torch.tensor(targets).double().expand_as(outputs), reduction="none"
    )
    return ContextTraces(
        mixing,
        frozen.numpy(),
        targets,
        inputs.numpy(),
        outputs.numpy(),
        feedback.numpy(),
        {name: torch.stack(values, 1).cpu().numpy() for name, values in parts.items()},
        loss.mean(-1).sum(-1).numpy(),
    )
