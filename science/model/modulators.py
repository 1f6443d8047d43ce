"""Modulators: from behaviour to the gain of every unit of a recording (microns_vei 7.4).

A modulator is an `nn.Module` of one recording. It has `initialize(generator)`, `forward(behavior)`
and `regularizers()`. Behaviour is (b, 3), divided by its standard deviation; gains are
(b, n_units), > 0. What they multiply is part of the configuration.
"""

from itertools import pairwise
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from science.model.perceptron import initialize_linear
from science.params import NonNegative, Params

N_BEHAVIOR = 3  # pupil radius, its change, running speed


class MLPModulatorConfig(Params):
    """Perceptron with ReLU between its layers, and exp.

    Attributes
    ----------
    layers : int
        Hidden layers.
    hidden_channels : int
        Width of each.
    gamma : float
        Weight of the mean absolute weight of the last layer.
    multiplies : {"drive", "response"}
        The linear response including its bias, as the original does, or the output of the final
        nonlinearity. A unit's drive is negative while it responds less than its standard
        deviation: there a larger gain of the drive lowers the response (decision 0008).
    """

    type: Literal["mlp"] = "mlp"
    layers: int = Field(2, ge=1, le=10)
    hidden_channels: int = Field(10, ge=1, le=256)
    gamma: NonNegative = 0.0
    multiplies: Literal["drive", "response"] = "drive"


class MLPModulator(nn.Module):
    """3 -> 10 ReLU -> 10 ReLU -> n_units, exp."""

    def __init__(self, config: MLPModulatorConfig, n_units: int) -> None:
        super().__init__()
        self.config = config
        sizes = [N_BEHAVIOR, *[config.hidden_channels] * config.layers]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.last = nn.Linear(config.hidden_channels, n_units)

    def initialize(self, generator: torch.Generator) -> None:
        """Draw all weights as `nn.Linear` does."""
        for layer in (*self.hidden, self.last):
            initialize_linear(layer, generator)

    def forward(self, behavior: Tensor) -> Tensor:
        """Gain, float32, (b, n_units)."""
        for layer in self.hidden:
            behavior = torch.relu(layer(behavior))
        return torch.exp(self.last(behavior))

    def regularizers(self) -> dict[str, Tensor]:
        """Mean absolute weight of the last layer times gamma."""
        return {"modulator": self.config.gamma * self.last.weight.abs().mean()}
