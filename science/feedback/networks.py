"""Networks whose gains or weights are modulated by the feedback of an LSTM (naumann22 2)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from science.feedback.config import (
    DaleParams,
    DirectParams,
    FeedbackConfig,
    ModulationParams,
    SpatialParams,
    UnmixingParams,
)
from science.feedback.kernels import modulation_kernel
from science.feedback.network import FeedbackNetwork, Rollout, State
from science.feedback.plants import EffectiveWeights, Gains
from science.feedback.traces import hold, lagged, low_pass

SCALES = {"output": (20.0, 20.0), "excitation": (20.0, 10.0), "inhibition": (10.0, 20.0)}
"""Of excitatory and inhibitory weights, by what is modulated."""


class LinearNetwork(FeedbackNetwork):
    """Base of networks whose outputs are linear in their inputs, and weights linear in modulation.

    Whatever the modulation is, the weights from inputs to outputs are the low-pass of an affine map
    of the feedback: a rollout needs i x o numbers per trial.
    """

    plant = EffectiveWeights

    def plant_tensors(self, inputs: Tensor, state: State) -> tuple[Tensor, ...]:
        """Return initial weights, what drives them, and how fast."""
        map_, offset = self.weight_map()
        drive = map_ @ self.drive()
        drive = torch.cat([drive[:, :1] + offset[:, None], drive[:, 1:]], 1)
        return self.effective_weights(state.modulation).mT, drive, self.rate

    def weight_map(self) -> tuple[Tensor, Tensor]:
        """Map, (o i, k), and offset, (o i,), from feedback to what the weights approach."""
        raise NotImplementedError

    def effective_weights(self, modulation: Tensor) -> Tensor:
        """Weights from inputs to outputs, (..., o i), row-major, under a modulation, (..., k)."""
        return modulation

    def final_state(
        self, before: State, feedback: Tensor, frozen: Tensor, *scanned: Tensor
    ) -> State:
        """State after a rollout."""
        return State(*(value.mT for value in scanned), before.gain)

    def activity(
        self, inputs: Tensor, feedback: Tensor, before: State, frozen: Tensor
    ) -> dict[str, Tensor]:
        """Return "w"."""
        towards = F.linear(feedback, *self.weight_map())
        return {"w": low_pass(towards, before.modulation, self.rate, frozen)}


class UnmixingModel(LinearNetwork):
    """``y = W x``, W the feedback itself."""

    def __init__(self, config: UnmixingParams, n_inputs: int, n_outputs: int) -> None:
        super().__init__(config, n_inputs, n_outputs, n_inputs * n_outputs)
        self.initialize(torch.Generator().manual_seed(0))

    def weight_map(self) -> tuple[Tensor, Tensor]:
        """Return the identity."""
        bias = self.readout.bias
        return torch.eye(len(bias), dtype=bias.dtype, device=bias.device), torch.zeros_like(bias)


class ModulationNet(LinearNetwork):
    """``y = W x``, W a low-pass of fixed weights times, or plus, the feedback.

    Attributes
    ----------
    w0 : Tensor
        (o, i), the fixed weights.
    """

    def __init__(self, config: ModulationParams, n_inputs: int, n_outputs: int) -> None:
        super().__init__(config, n_inputs, n_outputs, n_inputs * n_outputs)
        self._fix("w0", n_outputs, n_inputs)
        self.initialize(torch.Generator().manual_seed(0))

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """Draw all weights."""
        super().initialize(generator)
        mean = 0.0 if self.config.additive else 1.0
        self.w0.normal_(mean, self.config.weight_sd, generator=generator)

    def weight_map(self) -> tuple[Tensor, Tensor]:
        """Return how the fixed weights are modulated."""
        fixed = self.w0.flatten()
        if self.config.additive:
            return torch.diag(torch.ones_like(fixed)), fixed
        return torch.diag(fixed), torch.zeros_like(fixed)


class SpatialNet(LinearNetwork):
    """``y = Wro (m * (w0 x))``, m a low-pass of ``Wm`` times the feedback.

    Attributes
    ----------
    w0, Wro : Tensor
        (n_units, i) and (o, n_units), fixed unless the configuration says that they are learned.
    Wm : Tensor
        (n_units, n_feedback), the kernel.
    """

    def __init__(self, config: SpatialParams, n_inputs: int, n_outputs: int) -> None:
        super().__init__(config, n_inputs, n_outputs, config.n_feedback)
        self.n_modulation = config.n_units
        self._fix("w0", config.n_units, n_inputs, learned=config.learn_baseline)
        self._fix("Wro", n_outputs, config.n_units, learned=config.learn_readout)
        kernel = modulation_kernel(config.n_units, config.n_feedback, config.width)
        self.register_buffer("Wm", kernel.float())
        self.initialize(torch.Generator().manual_seed(0))

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """Draw all weights."""
        super().initialize(generator)
        self.w0.normal_(0, 0.5, generator=generator)
        self.Wro.normal_(0, 0.5, generator=generator)

    def weight_map(self) -> tuple[Tensor, Tensor]:
        """Return the effective weights of every feedback signal."""
        map_ = self.effective_weights(self.Wm.mT).mT
        return map_, torch.zeros_like(map_[:, 0])

    def effective_weights(self, modulation: Tensor) -> Tensor:
        """``Wro diag(m) w0``."""
        return torch.einsum("oz,...z,zi->...oi", self.Wro, modulation, self.w0).flatten(-2)

    def final_state(
        self, before: State, feedback: Tensor, frozen: Tensor, *scanned: Tensor
    ) -> State:
        """State after a rollout."""
        hidden, memory, _ = scanned
        rates = (~frozen).to(feedback) * self.rate[0]
        kept = F.pad((1 - rates).flip(0).cumprod(0).flip(0), (0, 1), value=1)
        signals = torch.einsum("t,btk->bk", rates * kept[1:], feedback)
        modulation = kept[0] * before.modulation + signals @ self.Wm.mT
        return State(hidden.mT, memory.mT, modulation, before.gain)

    def activity(
        self, inputs: Tensor, feedback: Tensor, before: State, frozen: Tensor
    ) -> dict[str, Tensor]:
        """Return "m" and "z"."""
        m = low_pass(feedback @ self.Wm.mT, before.modulation, self.rate, frozen)
        return {"m": m, "z": lagged(m, before.modulation) * (inputs @ self.w0.mT)}


class DaleRateNet(FeedbackNetwork):
    """``y = Wro zH``, zH rectified, excited and inhibited by zL, with gains p.

    Attributes
    ----------
    wx, w0, Wro : Tensor
        (n_lower, i), (n_units, n_lower), (o, n_units), fixed unless they are learned.
    w_inh : Tensor
        (n_units, n_lower), from the lower population by inhibitory units, not negative.
    Wm : Tensor
        (n_units, n_feedback), the kernel.
    """

    plant = Gains

    def __init__(self, config: DaleParams, n_inputs: int, n_outputs: int) -> None:
        super().__init__(config, n_inputs, n_outputs, config.n_feedback)
        self.n_inhibitory = round(config.inhibitory_fraction * config.n_lower)
        if self.n_inhibitory < 1:
            raise ValueError(
                f"a fraction of {config.inhibitory_fraction:g} of {config.n_lower} units is no "
                "inhibitory unit: use a larger inhibitory_fraction"
            )
        self.n_modulation, self.n_gains = config.n_feedback, config.n_units
        self._fix("wx", config.n_lower, n_inputs, learned=config.learn_input)
        self._fix("w0", config.n_units, config.n_lower, learned=config.learn_baseline)
        self._fix("w_inh", config.n_units, config.n_lower)
        self._fix("Wro", n_outputs, config.n_units, learned=config.learn_readout)
        kernel = modulation_kernel(config.n_units, config.n_feedback, config.width)
        self.register_buffer("Wm", kernel.float())
        self.initialize(torch.Generator().manual_seed(0))

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """Draw all weights."""
        super().initialize(generator)
        n_units, excite, inhibit = self.config.n_units, *SCALES[self.config.target]
        self.wx.normal_(0, 0.5, generator=generator)
        self.w0.normal_(1, 0.5, generator=generator).abs_().mul_(excite / n_units)
        to_units, to_inhibitory = (
            torch.normal(1.0, sd, shape, generator=generator).abs()
            for sd, shape in (
                (1.0, (n_units, self.n_inhibitory)),
                (0.5, (self.n_inhibitory, self.config.n_lower)),
            )
        )
        self.w_inh.copy_(to_units * (inhibit / n_units) @ to_inhibitory / self.n_inhibitory)
        self.Wro.normal_(0, 0.5, generator=generator)

    def plant_tensors(self, inputs: Tensor, state: State) -> tuple[Tensor, ...]:
        """Return initial modulation and gains, their drive, what they act on, and rate."""
        _, *acted_on = self._parts(inputs.mT)
        modulation, gain = state.modulation.mT, state.gain.mT
        parts = (value.mT.contiguous() for value in acted_on)
        return modulation, gain, self.drive(), *parts, self.Wro, self.Wm, self.rate

    def _parts(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Lower population, and a and b of ``zH = relu(p a + b)``, for inputs (..., i)."""
        lower = torch.relu(inputs @ self.wx.mT)
        excitation, inhibition = lower @ self.w0.abs().mT, lower @ self.w_inh.mT
        if self.config.target == "output":  # p relu(a) is relu(p a)
            return lower, excitation - inhibition, torch.zeros_like(excitation)
        if self.config.target == "excitation":
            return lower, excitation, -inhibition
        return lower, -inhibition, excitation

    def final_state(
        self, before: State, feedback: Tensor, frozen: Tensor, *scanned: Tensor
    ) -> State:
        """State after a rollout."""
        return State(*(value.mT for value in scanned))

    def activity(
        self, inputs: Tensor, feedback: Tensor, before: State, frozen: Tensor
    ) -> dict[str, Tensor]:
        """Return "m", "p", "zL" and "z"."""
        m = low_pass(feedback, before.modulation, self.rate)
        p = hold(torch.sigmoid(-m @ self.Wm.mT), before.gain, frozen)
        lower, modulated, other = self._parts(inputs)
        z = torch.relu(lagged(p, before.gain) * modulated + other)
        return {"m": m, "p": p, "zL": lower, "z": z}


class DirectDemixNet(FeedbackNetwork):
    """``y = Linear(LSTM(x))``: sources without any modulation."""

    def __init__(self, config: DirectParams, n_inputs: int, n_outputs: int) -> None:
        super().__init__(config, n_inputs, n_outputs, n_outputs)
        self.n_modulation = 0
        self.initialize(torch.Generator().manual_seed(0))

    def forward(
        self, inputs: Tensor, state: State | None = None, frozen: Tensor | None = None
    ) -> Rollout:
        """Run along a sequence; there is no feedback to freeze: the outputs are the readout."""
        state = state or self.initial_state(len(inputs))
        start = (state.hidden[None], state.memory[None])
        hidden, (last, memory) = self.lstm(inputs.transpose(0, 1), start)
        outputs = self.readout(hidden).transpose(0, 1)
        after = state._replace(hidden=last[0].detach(), memory=memory[0].detach())
        return Rollout(outputs, outputs, hidden.transpose(0, 1), after)

    def activity(
        self, inputs: Tensor, feedback: Tensor, before: State, frozen: Tensor
    ) -> dict[str, Tensor]:
        """Return nothing: there is no modulation."""
        return {}


NETWORKS = {
    "direct": DirectDemixNet,
    "unmixing": UnmixingModel,
    "modulation": ModulationNet,
    "spatial": SpatialNet,
    "dale": DaleRateNet,
}


def feedback_network(
    config: FeedbackConfig, n_inputs: int = 2, n_outputs: int = 2
) -> FeedbackNetwork:
    """Return a new network of an architecture, as it is drawn from seed 0."""
    return NETWORKS[config.type](config, n_inputs, n_outputs)
