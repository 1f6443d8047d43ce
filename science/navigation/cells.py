"""Recurrent cells of path integrators (mec 5.2 and 5.4), each with any activation.

A cell is one linear map of its input, one of its hidden state, and an elementwise `step`. A new
cell is one class here, one line in `CELLS`, and its name in `PathIntegratorConfig`.
"""

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

Activation = Literal["relu", "tanh", "sigmoid", "linear"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "linear": lambda value: value,
}


@torch.no_grad()
def initialize_glorot(layers: Sequence[nn.Linear], generator: torch.Generator) -> None:
    """Draw weights as Keras' glorot uniform does, set biases to 0.

    Parameters
    ----------
    layers : sequence of nn.Linear
        With the same outputs; they count as one layer that reads all their inputs.
    generator : torch.Generator
        CPU source of the random numbers.
    """
    limit = (6 / (sum(layer.in_features for layer in layers) + layers[0].out_features)) ** 0.5
    for layer in layers:
        layer.weight.uniform_(-limit, limit, generator=generator)
        if layer.bias is not None:
            layer.bias.zero_()


class Cell(nn.Module):
    """Base of the cells.

    Parameters
    ----------
    n_inputs, n_units : int
        Width of the input and of the hidden state.
    activation : {"relu", "tanh", "sigmoid", "linear"}
        Of candidates and outputs; gates are sigmoids.

    Attributes
    ----------
    input, recurrent : nn.Linear
        To `n_blocks` times `n_units`, from the input and from the hidden state.
    n_blocks, n_states : int
        Blocks of rows in these maps; states, the hidden one included.
    input_bias, recurrent_bias : bool
        Whether these maps have a bias.
    """

    n_blocks: ClassVar[int]
    n_states: ClassVar[int] = 1
    input_bias: ClassVar[bool] = True
    recurrent_bias: ClassVar[bool] = False

    def __init__(self, n_inputs: int, n_units: int, activation: Activation) -> None:
        super().__init__()
        width = self.n_blocks * n_units
        self.input = skip_init(nn.Linear, n_inputs, width, bias=self.input_bias)
        self.recurrent = skip_init(nn.Linear, n_units, width, bias=self.recurrent_bias)
        self.activation = ACTIVATIONS[activation]

    def initialize(self, generator: torch.Generator) -> None:
        """Draw glorot uniform weights, set biases to 0."""
        initialize_glorot([self.input], generator)
        initialize_glorot([self.recurrent], generator)

    def step(self, drive: Tensor, recurrent: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """States from the products with input and hidden state and the states before.

        Parameters
        ----------
        drive, recurrent : Tensor
            (b, n_blocks * n_units).
        *states : Tensor
            `n_states` of (b, n_units), the hidden state first.

        Returns
        -------
        tuple of Tensor
            As `states`.
        """
        raise NotImplementedError

    def legacy_decayed(self) -> Tensor:
        """Return what the original penalises: the second variable of the Keras layer."""
        return self.recurrent.weight


class SimpleCell(Cell):
    """``act(x K + h R)``, without bias."""

    n_blocks = 1
    input_bias = False

    def step(self, drive: Tensor, recurrent: Tensor, hidden: Tensor) -> tuple[Tensor]:
        """Return the new hidden state; it depends on the one before only by `recurrent`."""
        return (self.activation(drive + recurrent),)


class UGRNNCell(Cell):
    """Update-gated cell: blocks gate and candidate, the gate with a constant bias of 1."""

    n_blocks = 2

    def initialize(self, generator: torch.Generator) -> None:
        """Draw input and recurrent weights as the one kernel that they are in the original."""
        initialize_glorot([self.input, self.recurrent], generator)

    def step(self, drive: Tensor, recurrent: Tensor, hidden: Tensor) -> tuple[Tensor]:
        """``gate * h + (1 - gate) * candidate``."""
        gate, candidate = (drive + recurrent).chunk(2, -1)
        return (torch.lerp(self.activation(candidate), hidden, torch.sigmoid(gate + 1)),)

    def legacy_decayed(self) -> Tensor:
        """Return the bias, which nobody meant."""
        return self.input.bias


class GRUCell(Cell):
    """Gated recurrent unit with the reset after the product: blocks update, reset, candidate."""

    n_blocks = 3
    recurrent_bias = True

    def step(self, drive: Tensor, recurrent: Tensor, hidden: Tensor) -> tuple[Tensor]:
        """``update * h + (1 - update) * candidate``."""
        update, reset, candidate = drive.chunk(3, -1)
        from_update, from_reset, from_candidate = recurrent.chunk(3, -1)
        reset = torch.sigmoid(reset + from_reset)
        candidate = self.activation(torch.addcmul(candidate, reset, from_candidate))
        return (torch.lerp(candidate, hidden, torch.sigmoid(update + from_update)),)


class LSTMCell(Cell):
    """Long short-term memory: blocks input, forget, candidate, output; states hidden and cell."""

    n_blocks = 4
    n_states = 2

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """Draw glorot uniform weights, set biases to 0, those of the forget gates to 1."""
        super().initialize(generator)
        self.input.bias.chunk(4)[1].fill_(1)

    def step(
        self, drive: Tensor, recurrent: Tensor, hidden: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return hidden state and memory."""
        admit, keep, candidate, emit = (drive + recurrent).chunk(4, -1)
        memory = torch.sigmoid(keep) * memory
        memory = torch.addcmul(memory, torch.sigmoid(admit), self.activation(candidate))
        return torch.sigmoid(emit) * self.activation(memory), memory


CELLS: dict[str, type[Cell]] = {
    "rnn": SimpleCell,
    "vanilla_rnn": SimpleCell,
    "ugrnn": UGRNNCell,
    "gru": GRUCell,
    "lstm": LSTMCell,
}
