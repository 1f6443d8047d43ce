"""What readouts at one point of the map per unit have in common."""

import torch
from torch import Tensor, nn

from science.params import Params


class PointReadout(nn.Module):
    """Units of one recording, each at one place of the core's map.

    A subclass makes the parameters `position` (n_units, 2), `features` (n_units, ...) and `bias`
    (n_units,). Its configuration has `positive`, `gamma_features` and `init_range`.

    Parameters
    ----------
    config : Params
        Of the subclass.
    map_shape : tuple of int
        (channels, height, width) of the core's output.
    """

    position: nn.Parameter
    features: nn.Parameter
    bias: nn.Parameter

    def __init__(self, config: Params, map_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.config = config
        self.map_shape = map_shape

    @property
    def n_units(self) -> int:
        """Units of the recording."""
        return len(self.bias)

    @torch.no_grad()
    def initialize(self, mean_responses: Tensor, generator: torch.Generator) -> None:
        """Random positions, features 1 / channels, bias such that ELU + 1 starts at the mean.

        Parameters
        ----------
        mean_responses : Tensor
            float32, (n_units,), mean training response in the units of training.
        generator : torch.Generator
            Source of the positions.
        """
        limit = self.config.init_range
        self.position.uniform_(-limit, limit, generator=generator)
        self.features.fill_(1 / self.map_shape[0])
        self.bias.copy_(mean_responses - 1)

    @torch.no_grad()
    def constrain(self) -> None:
        """Bring the parameters back into their range, as is due after every optimiser step."""
        self.position.clamp_(-1, 1)
        if self.config.positive:
            self.features.clamp_(min=0)

    def regularizers(self) -> dict[str, Tensor]:
        """Mean absolute feature weight times its gamma."""
        return {"readout_features": self.config.gamma_features * self.features.abs().mean()}

    def positions(self) -> Tensor:
        """Places of the units on the map, float32, (n_units, 2), in [-1, 1]."""
        return self.position
