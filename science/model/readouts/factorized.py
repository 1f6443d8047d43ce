"""Readout by a spatial mask and a vector of feature weights per unit (microns_vei 7.2).

Klindt DA, Ecker AS, Euler T, Bethge M (2017). Neural system identification for large populations
separating "what" and "where". NeurIPS 30.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from science.model.readouts.sampling import sample
from science.params import NonNegative, Params, Positive


class FactorizedReadoutConfig(Params):
    """Spatial mask times feature weights.

    Attributes
    ----------
    positive : bool
        Keep mask and feature weights at or above zero.
    gamma : float
        Weight of the mean absolute weight of the kernels mask x features.
    init_sd : float
        Mask and feature weights start normally distributed.
    """

    type: Literal["factorized"] = "factorized"
    positive: bool = False
    gamma: NonNegative = 1.0
    init_sd: Positive = Field(1e-3, le=1)


class FactorizedReadout(nn.Module):
    """Units of one recording, each with a mask over the map and weights over its channels.

    Parameters
    ----------
    config : FactorizedReadoutConfig
        Regulariser and start.
    map_shape : tuple of int
        (channels, height, width) of the core's output.
    n_units : int
        Units of the recording.

    Attributes
    ----------
    spatial : Parameter
        float32, (n_units, height, width).
    features : Parameter
        float32, (n_units, channels).
    bias : Parameter
        float32, (n_units,).
    """

    def __init__(
        self, config: FactorizedReadoutConfig, map_shape: tuple[int, int, int], n_units: int
    ) -> None:
        super().__init__()
        self.config = config
        self.map_shape = map_shape
        channels, height, width = map_shape
        self.spatial = nn.Parameter(torch.zeros(n_units, height, width))
        self.features = nn.Parameter(torch.zeros(n_units, channels))
        self.bias = nn.Parameter(torch.zeros(n_units))

    @property
    def n_units(self) -> int:
        """Units of the recording."""
        return len(self.bias)

    @torch.no_grad()
    def initialize(self, mean_responses: Tensor, generator: torch.Generator) -> None:
        """Small random weights, bias of the mean response; see `PyramidReadout`."""
        for weights in (self.spatial, self.features):
            weights.normal_(0, self.config.init_sd, generator=generator)
            if self.config.positive:
                weights.abs_()
        self.bias.copy_(mean_responses - 1)

    @torch.no_grad()
    def constrain(self) -> None:
        """Bring the weights back into their range, as is due after every optimiser step."""
        if self.config.positive:
            self.spatial.clamp_(min=0)
            self.features.clamp_(min=0)

    def forward(
        self, maps: Tensor, shift: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Linear response of each unit to each map, (b, n_units); see `PyramidReadout.forward`."""
        del generator
        maps = maps.permute(0, 2, 3, 1)
        if shift is not None:
            maps = _moved(maps, shift)
        read = self.spatial.flatten(1) @ maps.flatten(1, 2)
        return torch.einsum("bnc,nc->bn", read, self.features) + self.bias

    def respond(self, maps: Tensor, units: Tensor, shift: Tensor | None = None) -> Tensor:
        """Linear response of unit ``units[i]`` to map i, (b,); see `PyramidReadout.respond`."""
        maps = maps.permute(0, 2, 3, 1)
        if shift is not None:
            maps = _moved(maps, shift)
        read = torch.einsum("bhwc,bhw->bc", maps, self.spatial[units])
        return (read * self.features[units]).sum(-1) + self.bias[units]

    def regularizers(self) -> dict[str, Tensor]:
        """Mean absolute weight of the kernels mask x features times gamma."""
        per_unit = self.spatial.abs().mean((1, 2)) * self.features.abs().mean(1)
        return {"readout_kernels": self.config.gamma * per_unit.mean()}

    def positions(self) -> Tensor:
        """Centres of mass of the absolute masks, float32, (n_units, 2), in [-1, 1].

        NaN for a mask of zeros.
        """
        mass = self.spatial.abs()
        mass = mass / mass.sum((1, 2), keepdim=True)
        y, x = (torch.linspace(-1, 1, size, device=mass.device) for size in mass.shape[1:])
        return torch.stack([mass.sum(1) @ x, mass.sum(2) @ y], dim=-1)

    def feature_weights(self) -> Tensor:
        """Weights of the channels, float32, (n_units, 1, channels)."""
        return self.features[:, None]


def _moved(maps: Tensor, shift: Tensor) -> Tensor:
    """Displace channels-last maps by the eye, (b, h, w, c)."""
    b, h, w, _ = maps.shape
    y, x = torch.meshgrid(
        *(torch.linspace(-1, 1, size, device=maps.device) for size in (h, w)), indexing="ij"
    )
    points = torch.stack([x, y], dim=-1).flatten(0, 1) + shift[:, None]
    return sample(maps, points.expand(b, -1, -1)).view_as(maps)


READOUT = (FactorizedReadoutConfig, FactorizedReadout)
