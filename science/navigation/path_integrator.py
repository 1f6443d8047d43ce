"""Path integrators: recurrent networks from a start and velocities to place codes (mec 5)."""

from collections.abc import Collection
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import skip_init

from science.navigation.cells import ACTIVATIONS, CELLS, Activation, initialize_glorot
from science.navigation.scan import scan
from science.params import Params

N_VELOCITY = 2


class PathIntegratorConfig(Params):
    """Architecture of a path integrator.

    Attributes
    ----------
    type : {"rnn", "vanilla_rnn", "ugrnn", "gru", "lstm"}
        Recurrent cell. "rnn" is the network of two layers: the cell reads the velocity itself, its
        states are `g`, nothing has a bias. All others encode the velocity before the cell and
        have a dense layer behind it.
    activation : {"relu", "tanh", "sigmoid", "linear"}
        Of cell and dense layer.
    n_units : int
        Width of all layers but the decoder.
    signals : {"encoded", "concatenated"}
        Where cues or rewards, if there are any, come in: encoded together with the velocity, as in
        CueUGRNN, or beside the encoded velocity. The same for "rnn", which encodes nothing.
    """

    type: Literal["rnn", "vanilla_rnn", "ugrnn", "gru", "lstm"] = "ugrnn"
    activation: Activation = "relu"
    n_units: int = Field(4096, ge=1)
    signals: Literal["encoded", "concatenated"] = "encoded"


class PathIntegrator(nn.Module):
    """Encoder of the start, recurrent cell driven by velocities, dense layer, decoder.

    Parameters
    ----------
    config : PathIntegratorConfig
        Architecture.
    n_places : int
        Width of the place code; 2 if the network reads and returns positions.
    n_signals : int
        Cues or rewards at every step.

    Attributes
    ----------
    config, n_places, n_signals
        As given.
    layer_names : tuple of str
        Layers of `layers`, from the cell to the output: "pre_g" (states of the cell), "g" and "dc"
        (output); "rnn" has no "pre_g".

    Raises
    ------
    ValueError
        If there are no places or a negative number of signals.

    Notes
    -----
    A new network is the one that `initialize` makes from seed 0.
    """

    def __init__(self, config: PathIntegratorConfig, n_places: int, n_signals: int = 0) -> None:
        super().__init__()
        if n_places < 1 or n_signals < 0:
            raise ValueError(f"no network has {n_places} places and {n_signals} signals")
        self.config, self.n_places, self.n_signals = config, n_places, n_signals
        n, inputs, cell = config.n_units, N_VELOCITY + n_signals, CELLS[config.type]
        deep = config.type != "rnn"
        encoded = n_signals if config.signals == "encoded" else 0
        beside = n_signals - encoded
        self.encoders = nn.ModuleList(_linear(n_places, n, deep) for _ in range(cell.n_states))
        self.velocity = _linear(N_VELOCITY + encoded, n) if deep else None
        self.cell = cell(n + beside if deep else inputs, n, config.activation)
        self.dense = _linear(n, n) if deep else None
        self.decoder = _linear(n, n_places, deep)
        self.layer_names = ("pre_g", "g", "dc") if deep else ("g", "dc")
        self.initialize(torch.Generator().manual_seed(0))

    def initialize(self, generator: torch.Generator) -> None:
        """Draw the initial parameters: glorot uniform weights, biases of 0 (mec 5.1).

        Parameters
        ----------
        generator : torch.Generator
            CPU source of all random numbers; the network must still be on the CPU.
        """
        for layer in (*self.encoders, self.velocity, self.dense, self.decoder):
            if layer is not None:
                initialize_glorot([layer], generator)
        self.cell.initialize(generator)

    def forward(self, start: Tensor, velocity: Tensor, signals: Tensor | None = None) -> Tensor:
        """Output of the decoder, "dc"; see `layers`."""
        return self.layers(start, velocity, signals, ("dc",))["dc"]

    def layers(
        self,
        start: Tensor,
        velocity: Tensor,
        signals: Tensor | None = None,
        names: Collection[str] | None = None,
    ) -> dict[str, Tensor]:
        """Activity of chosen layers along paths, each computed once.

        Parameters
        ----------
        start : Tensor
            float32, (b, n_places), place code of where the paths start.
        velocity : Tensor
            float32, (b, s, 2), displacements in metres per step.
        signals : Tensor, optional
            float32, (b, s, n_signals), for a network that has them.
        names : collection of str, optional
            Of `layer_names`; by default all.

        Returns
        -------
        dict of str to Tensor
            float32, (b, s, n_units), "dc" (b, s, n_places): after every step.

        Raises
        ------
        ValueError
            If a layer is unknown or shapes do not fit.
        """
        names = self.layer_names if names is None else names
        if unknown := set(names) - set(self.layer_names):
            raise ValueError(f"no layers {sorted(unknown)}: there are {list(self.layer_names)}")
        self._check(start, velocity, signals)
        given = [velocity] if signals is None else [velocity, signals]
        inputs = torch.cat([*given, torch.ones_like(velocity[..., :1])], -1)
        # Time first, so that what a step of the scan reads and writes is in one piece.
        inputs, initial = inputs.transpose(0, 1), tuple(encoder(start) for encoder in self.encoders)
        step, drive_map, recurrent = self.cell.step, self._drive_map(), self.cell.recurrent
        hidden = scan(step, inputs, drive_map, initial, recurrent.weight, recurrent.bias)
        found = {"pre_g": hidden, "g": hidden}
        if self.dense is not None and {"g", "dc"} & set(names):
            found["g"] = ACTIVATIONS[self.config.activation](self.dense(hidden))
        if "dc" in names:
            found["dc"] = self.decoder(found["g"])
        return {name: found[name].transpose(0, 1) for name in names}

    def _drive_map(self) -> Tensor:
        """Map from velocity, signals and 1 to the drive of the cell, (k, 3 + n_signals).

        Two linear maps in a row are one. A product of `n_units` x `n_blocks n_units` for every
        sample would cost as much as the recurrence itself.
        """
        weight, bias = self.cell.input.weight, self.cell.input.bias
        constant = weight.new_zeros(len(weight), 1) if bias is None else bias[:, None]
        if self.velocity is None:
            return torch.cat([weight, constant], 1)
        beside = weight.shape[1] - self.config.n_units
        kept = torch.eye(beside, dtype=weight.dtype, device=weight.device)
        encode = torch.block_diag(self.velocity.weight, kept)
        encode = torch.cat([encode, F.pad(self.velocity.bias, (0, beside))[:, None]], 1)
        drive = weight @ encode
        return torch.cat([drive[:, :-1], drive[:, -1:] + constant], 1)

    def _check(self, start: Tensor, velocity: Tensor, signals: Tensor | None) -> None:
        batch = tuple(velocity.shape[:2])
        given = {
            "start": (tuple(start.shape), (*batch[:1], self.n_places)),
            "velocity": (tuple(velocity.shape), (*batch, N_VELOCITY)),
        }
        if signals is not None or self.n_signals:
            shape = None if signals is None else tuple(signals.shape)
            given["signals"] = (shape, (*batch, self.n_signals))
        for name, (shape, expected) in given.items():
            if shape != expected:
                raise ValueError(f"{name} has the shape {shape}, this network takes {expected}")


def _linear(n_inputs: int, n_outputs: int, bias: bool = True) -> nn.Linear:
    """Linear layer that draws nothing from the global generator."""
    return skip_init(nn.Linear, n_inputs, n_outputs, bias=bias)
