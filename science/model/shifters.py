"""Shifters: from the eye's position to the displacement of all readouts (microns_vei 7.3).

A shifter is an `nn.Module` of one recording. It has `initialize(generator)`,
`forward(pupil_center)` and `regularizers()`. Eye positions are z-scored, (b, 2); displacements lie
in (-1, 1), half maps, (b, 2).
"""

from itertools import pairwise
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from science.model.perceptron import initialize_linear
from science.params import NonNegative, Params


class MLPShifterConfig(Params):
    """Perceptron with tanh after every layer.

    Attributes
    ----------
    layers : int
        Linear layers.
    hidden_channels : int
        Width of all but the last, which has 2.
    gamma : float
        Weight of the mean squared weight.
    """

    type: Literal["mlp"] = "mlp"
    layers: int = Field(3, ge=1, le=10)
    hidden_channels: int = Field(5, ge=1, le=256)
    gamma: NonNegative = 0.0


class MLPShifter(nn.Module):
    """2 -> 5 tanh -> 5 tanh -> 2 tanh."""

    def __init__(self, config: MLPShifterConfig) -> None:
        super().__init__()
        self.config = config
        sizes = [2, *[config.hidden_channels] * (config.layers - 1), 2]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))

    def initialize(self, generator: torch.Generator) -> None:
        """Draw all weights as `nn.Linear` does."""
        for layer in self.layers:
            initialize_linear(layer, generator)

    def forward(self, pupil_center: Tensor) -> Tensor:
        """Displacement, float32, (b, 2)."""
        for layer in self.layers:
            pupil_center = torch.tanh(layer(pupil_center))
        return pupil_center

    def regularizers(self) -> dict[str, Tensor]:
        """Mean squared weight times gamma."""
        weights = torch.cat([layer.weight.flatten() for layer in self.layers])
        return {"shifter": self.config.gamma * weights.square().mean()}


class AffineShifterConfig(Params):
    """tanh of an affine map.

    Attributes
    ----------
    gamma : float
        Weight of the mean squared weight.
    """

    type: Literal["affine"] = "affine"
    gamma: NonNegative = 1e-3


class AffineShifter(nn.Module):
    """tanh(W x + b).

    b would start at minus the mean eye position, which is 0 as positions are z-scored.
    """

    def __init__(self, config: AffineShifterConfig) -> None:
        super().__init__()
        self.config = config
        self.linear = nn.Linear(2, 2)

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """W normal with standard deviation 1e-6, b zero."""
        self.linear.weight.normal_(0, 1e-6, generator=generator)
        self.linear.bias.zero_()

    def forward(self, pupil_center: Tensor) -> Tensor:
        """Displacement, float32, (b, 2)."""
        return torch.tanh(self.linear(pupil_center))

    def regularizers(self) -> dict[str, Tensor]:
        """Mean squared weight times gamma."""
        return {"shifter": self.config.gamma * self.linear.weight.square().mean()}
