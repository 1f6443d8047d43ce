"""Readout at a point that is drawn around a learned mean while training.

Lurz KK, Bashiri M, Willeke K et al. (2021). Generalization in data-driven models of primary visual
cortex. ICLR.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from science.model.readouts.point import PointReadout
from science.model.readouts.sampling import sample
from science.params import NonNegative, Params


class GaussianReadoutConfig(Params):
    """Readout at one point of the map, Gaussian in training.

    Attributes
    ----------
    positive : bool
        Keep the feature weights at or above zero.
    gamma_features : float
        Weight of the mean absolute feature weight.
    start : {"centre", "located"}
        Positions start around the centre, as in the original, or where `locate` finds the best
        simple or complex cell of a fixed bank.
    init_range : float
        Means start uniformly within ``[-init_range, init_range]``, half maps.
    init_sigma : float
        Standard deviation of the points at the start, half maps.
    """

    type: Literal["gaussian"] = "gaussian"
    positive: bool = False
    gamma_features: NonNegative = 1.0
    start: Literal["centre", "located"] = "centre"
    init_range: float = Field(0.3, ge=0, le=1)
    init_sigma: float = Field(0.3, ge=0, le=1)


class GaussianReadout(PointReadout):
    """Units of one recording, each at one point of the core's map.

    Parameters
    ----------
    config : GaussianReadoutConfig
        Regulariser and start.
    map_shape : tuple of int
        (channels, height, width) of the core's output.
    n_units : int
        Units of the recording.

    Attributes
    ----------
    position : Parameter
        float32, (n_units, 2), means: x along the width and y along the height, in [-1, 1].
    spread : Parameter
        float32, (n_units, 2, 2): points are ``position + spread @ standard normal``.
    features : Parameter
        float32, (n_units, channels).
    bias : Parameter
        float32, (n_units,).
    """

    def __init__(
        self, config: GaussianReadoutConfig, map_shape: tuple[int, int, int], n_units: int
    ) -> None:
        super().__init__(config, map_shape)
        self.position = nn.Parameter(torch.zeros(n_units, 2))
        self.spread = nn.Parameter(config.init_sigma * torch.eye(2).repeat(n_units, 1, 1))
        self.features = nn.Parameter(torch.full((n_units, map_shape[0]), 1 / map_shape[0]))
        self.bias = nn.Parameter(torch.zeros(n_units))

    @torch.no_grad()
    def initialize(self, mean_responses: Tensor, generator: torch.Generator) -> None:
        """Initialise as every `PointReadout`, with the configured spread."""
        super().initialize(mean_responses, generator)
        self.spread.copy_(self.config.init_sigma * torch.eye(2))

    def forward(
        self, maps: Tensor, shift: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Linear response of each unit to each map, (b, n_units); see `PyramidReadout.forward`.

        With a generator every image is read at points of its own, drawn on the CPU and kept within
        the map; without it at the means.
        """
        points = self.position[None].expand(len(maps), -1, -1)
        if generator is not None:
            noise = torch.randn(points.shape, generator=generator).to(maps)
            points = (points + torch.einsum("nij,bnj->bni", self.spread, noise)).clamp(-1, 1)
        if shift is not None:
            points = points + shift[:, None]
        sampled = sample(maps.permute(0, 2, 3, 1), points)
        return torch.einsum("bnc,nc->bn", sampled, self.features) + self.bias

    def respond(self, maps: Tensor, units: Tensor, shift: Tensor | None = None) -> Tensor:
        """Linear response of unit ``units[i]`` to map i, (b,); see `PyramidReadout.respond`."""
        points = self.position[units][:, None]
        if shift is not None:
            points = points + shift[:, None]
        sampled = sample(maps.permute(0, 2, 3, 1), points)[:, 0]
        return (sampled * self.features[units]).sum(-1) + self.bias[units]

    def feature_weights(self) -> Tensor:
        """Weights of the channels, float32, (n_units, 1, channels)."""
        return self.features[:, None]


READOUT = (GaussianReadoutConfig, GaussianReadout)
