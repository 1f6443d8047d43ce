"""The base of all networks that an LSTM modulates by feedback, and their rollout (naumann22 2).

An output has the modulation that its inputs and those before had led to: it lags by one step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import skip_init

from science.feedback.config import FeedbackConfig
from science.feedback.plants import Plant
from science.feedback.scan import scan

GAIN, TRAIN_GAIN_SD = 0.5, 0.01
"""Mean of the initial gains, and their standard deviation before training."""


class State(NamedTuple):
    """What a network keeps from step to step and from context to context; without gradients.

    Attributes
    ----------
    hidden, memory : Tensor
        (b, n_hidden), of the LSTM.
    modulation : Tensor
        (b, k): weights from inputs to outputs, row-major; "spatial": gains m, (b, n_units);
        "dale": low-passed feedback m, (b, n_feedback); "direct": (b, 0).
    gain : Tensor
        (b, n_units), "dale": p; others (b, 0).
    """

    hidden: Tensor
    memory: Tensor
    modulation: Tensor
    gain: Tensor


@dataclass(frozen=True)
class Rollout:
    """What a network did.

    Attributes
    ----------
    outputs : Tensor
        (b, t, o).
    feedback : Tensor
        (b, t, k), readout l of the LSTM at every step.
    hidden : Tensor
        (b, t, n_hidden), after every step.
    state : State
        After the last step.
    """

    outputs: Tensor
    feedback: Tensor
    hidden: Tensor
    state: State


class FeedbackNetwork(nn.Module):
    """Base of the networks.

    Parameters
    ----------
    config : FeedbackConfig
        Architecture.
    n_inputs, n_outputs : int
        Mixtures and sources.

    Attributes
    ----------
    lstm : nn.LSTM
        Reads inputs and outputs of a step.
    readout : nn.Linear
        Of its hidden state: the feedback.
    n_modulation, n_gains : int
        Widths of the state.

    Notes
    -----
    A new network is the one that `initialize` makes from seed 0. Fixed weights are buffers, so that
    they are stored with the network, unlike in the original.
    """

    plant: ClassVar[Callable[..., Plant] | None] = None
    n_gains: int = 0

    def __init__(
        self, config: FeedbackConfig, n_inputs: int, n_outputs: int, n_feedback: int
    ) -> None:
        super().__init__()
        if n_inputs < 1 or n_outputs < 1:
            raise ValueError(f"no network has {n_inputs} inputs and {n_outputs} outputs")
        self.config, self.n_inputs, self.n_outputs = config, n_inputs, n_outputs
        self.n_modulation = n_inputs * n_outputs
        reads = getattr(config, "reads", "x")
        n_read = n_inputs * ("x" in reads) + n_outputs * ("y" in reads)
        # as `skip_init`, which does not take it: nothing is drawn from the global generator
        self.lstm = nn.LSTM(n_read, config.n_hidden, device="meta").to_empty(device="cpu")
        self.readout = skip_init(nn.Linear, config.n_hidden, n_feedback)

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """Draw all weights: those of LSTM and readout uniform in ``+-1 / sqrt(n_hidden)``.

        Parameters
        ----------
        generator : torch.Generator
            CPU source of all random numbers; the network must still be on the CPU.
        """
        limit = self.config.n_hidden**-0.5
        for parameter in (*self.lstm.parameters(), *self.readout.parameters()):
            parameter.uniform_(-limit, limit, generator=generator)

    def initial_state(
        self,
        n_trials: int,
        generator: torch.Generator | None = None,
        gain_sd: float = TRAIN_GAIN_SD,
    ) -> State:
        """Return the state before the first step: 0, but for the gains.

        Parameters
        ----------
        n_trials : int
            b.
        generator : torch.Generator, optional
            CPU source of the initial gains, which are their mean without it.
        gain_sd : float
            Standard deviation of the gains.
        """
        like = self.readout.weight
        n = self.config.n_hidden
        zeros = [like.new_zeros(n_trials, width) for width in (n, n, self.n_modulation)]
        gain = torch.full((n_trials, self.n_gains), GAIN)
        if generator is not None:
            gain += gain_sd * torch.randn(gain.shape, generator=generator)
        return State(*zeros, gain.to(like))

    def forward(
        self, inputs: Tensor, state: State | None = None, frozen: Tensor | None = None
    ) -> Rollout:
        """Run along a sequence.

        Parameters
        ----------
        inputs : Tensor
            (b, t, i); no gradient.
        state : State, optional
            Before it; by default `initial_state`.
        frozen : Tensor, optional
            bool, (t,): steps that do not change modulation, "dale" gains; the LSTM goes on.

        Raises
        ------
        ValueError
            If shapes do not fit.
        """
        return rollout_together([self], inputs[None], None if state is None else [state], frozen)[0]

    def scan_tensors(self, inputs: Tensor, state: State) -> tuple[Tensor, ...]:
        """Return the tensors of `science.feedback.scan.scan` for inputs (t, i, b)."""
        start = (state.hidden.mT, state.memory.mT)
        return inputs, self.scan_weight(), *start, *self.plant_tensors(inputs, state)

    def plant_tensors(self, inputs: Tensor, state: State) -> tuple[Tensor, ...]:
        """Return those of them that are the plant's."""
        raise NotImplementedError

    def final_state(
        self, before: State, feedback: Tensor, frozen: Tensor, *scanned: Tensor
    ) -> State:
        """State after a rollout, from hidden state, memory, and state of the plant, (..., b)."""
        raise NotImplementedError

    def activity(
        self, inputs: Tensor, feedback: Tensor, before: State, frozen: Tensor
    ) -> dict[str, Tensor]:
        """Activity and modulation at every step, by their names in the original (naumann22 4).

        Parameters
        ----------
        inputs : Tensor
            (b, t, i).
        feedback : Tensor
            (b, t, k), of the `Rollout` with these inputs.
        before : State
            Before it.
        frozen : Tensor
            bool, (t,), as it was.

        Returns
        -------
        dict of str to Tensor
            (b, t, width). Modulation after every step: "w", weights from inputs to outputs, or "m"
            and, "dale", gains "p". Populations behind the output of a step: "z" and "zL" below it.
        """
        raise NotImplementedError

    @property
    def rate(self) -> Tensor:
        """Fraction of the way that a low-pass goes in a step, (1, 1)."""
        return self.readout.weight.new_full((1, 1), 1 / getattr(self.config, "tau", 1.0))

    def drive(self) -> Tensor:
        """Bias and weights of the readout, (k, 1 + n_hidden)."""
        return torch.cat([self.readout.bias[:, None], self.readout.weight], 1)

    def scan_weight(self) -> Tensor:
        """Weights of the LSTM from inputs, outputs, 1 and hidden state."""
        lstm, reads = self.lstm, self.config.reads
        weight = lstm.weight_ih_l0
        n_inputs = self.n_inputs if "x" in reads else 0
        from_inputs = F.pad(weight[:, :n_inputs], (0, self.n_inputs - n_inputs))
        from_outputs = weight[:, n_inputs:]
        from_outputs = F.pad(from_outputs, (0, self.n_outputs - from_outputs.shape[1]))
        bias = (lstm.bias_ih_l0 + lstm.bias_hh_l0)[:, None]
        return torch.cat([from_inputs, from_outputs, bias, lstm.weight_hh_l0], 1)

    def _fix(self, name: str, *shape: int, learned: bool = False) -> None:
        """Declare weights: buffers, unless they are learned."""
        if learned:
            self.register_parameter(name, nn.Parameter(torch.zeros(shape)))
        else:
            self.register_buffer(name, torch.zeros(shape))


def rollout_together(
    networks: Sequence[FeedbackNetwork],
    inputs: Tensor,
    states: Sequence[State] | None = None,
    frozen: Tensor | None = None,
) -> list[Rollout]:
    """Run networks of equal shape side by side, in one program.

    Parameters
    ----------
    networks : sequence of FeedbackNetwork
        Of one class and equal widths; timescales, kernels and weights may differ.
    inputs : Tensor
        (m, b, t, i), of every network; no gradient.
    states : sequence of State, optional
        Before it; by default those of `initial_state`.
    frozen : Tensor, optional
        bool, (t,): steps that do not change modulation, "dale" gains; the LSTM goes on.

    Returns
    -------
    list of Rollout
        One per network.

    Raises
    ------
    ValueError
        If shapes or classes do not fit.
    """
    first = networks[0]
    n_networks, n_inputs = len(networks), first.n_inputs
    if inputs.ndim != 4 or 0 in inputs.shape or inputs.shape[::3] != (n_networks, n_inputs):
        raise ValueError(
            f"inputs have the shape {tuple(inputs.shape)}, expected ({n_networks}, trials, steps, "
            f"{n_inputs}): networks, trials, steps and inputs"
        )
    if first.plant is None or len({type(network) for network in networks}) > 1:
        raise ValueError("only networks of one class, with feedback, run together")
    if states is None:
        states = [network.initial_state(inputs.shape[1]) for network in networks]
    if frozen is None:
        frozen = torch.zeros(inputs.shape[2], dtype=torch.bool, device=inputs.device)
    inputs = inputs.detach().permute(0, 2, 3, 1).to(first.readout.weight)
    parts = [
        network.scan_tensors(each, state)
        for network, each, state in zip(networks, inputs, states, strict=True)
    ]
    if len({tuple(tensor.shape for tensor in part) for part in parts}) > 1:
        raise ValueError("networks run together only if their widths are equal")
    # the axis of models is before the last two; one network does without it
    tensors = [p[0] if n_networks == 1 else torch.stack(p, -3) for p in zip(*parts, strict=True)]
    scanned = scan(partial(first.plant, held=frozen.tolist()), *tensors)
    found = [scanned] if n_networks == 1 else zip(*(v.unbind(-3) for v in scanned), strict=True)
    rollouts = []
    for network, before, (outputs, hidden, *final) in zip(networks, states, found, strict=True):
        outputs, hidden = outputs.permute(2, 0, 1), hidden.permute(2, 0, 1)
        feedback = network.readout(hidden)
        with torch.no_grad():
            state = network.final_state(before, feedback, frozen, hidden[:, -1].mT.clone(), *final)
        rollouts.append(Rollout(outputs, feedback, hidden, state))
    return rollouts
