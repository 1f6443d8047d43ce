"""Equal-weight mean of trained networks (microns_vei 2, ensemble rule)."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from science.model.network import ImageNetwork


class Ensemble(nn.Module):
    """Networks averaged after their final nonlinearity, frozen and in evaluation mode.

    Parameters
    ----------
    networks : sequence of ImageNetwork
        Members; they are copied, the originals stay as they are.

    Attributes
    ----------
    networks : ModuleList
        The members' copies.
    image_shape, n_units
        As of every member.

    Raises
    ------
    ValueError
        If there is no member, or members differ in image shape or units.
    """

    def __init__(self, networks: Sequence[ImageNetwork]) -> None:
        super().__init__()
        if not networks:
            raise ValueError("an ensemble needs at least one network")
        first = networks[0]
        for network in networks[1:]:
            if (network.image_shape, network.n_units) != (first.image_shape, first.n_units):
                raise ValueError("members of an ensemble must share image shape and units")
        self.image_shape, self.n_units = first.image_shape, first.n_units
        self.networks = nn.ModuleList(copy.deepcopy(network) for network in networks)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "Ensemble":
        """Stay in evaluation mode: batch statistics have no place in a frozen model."""
        del mode
        return super().train(False)

    def forward(
        self,
        images: Tensor,
        readout_key: str,
        behavior: Tensor | None = None,
        pupil_center: Tensor | None = None,
    ) -> Tensor:
        """Mean response of all units, float32, (b, n_units); see `ImageNetwork.forward`."""
        responses = [net(images, readout_key, behavior, pupil_center) for net in self.networks]
        return torch.stack(responses).mean(0)
