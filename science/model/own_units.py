"""Responses of each image's own unit: what image synthesis, masks and controls measure.

While the eye rests a readout is one linear kernel on the core's map. It is computed once, and of
the map only the window in which the kernel is not zero: for a readout at a point that is four
elements, and the core is evaluated on the patch of the image that they see.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from science.model.cores.windows import cut, window_index
from science.model.ensemble import Ensemble
from science.model.network import ImageNetwork

KERNELS_AT_ONCE = 64  # bounds the memory: a kernel over a whole map has some 100 000 weights
MAPS_AT_ONCE = 64  # whole maps; with more, memory is waited for
LARGEST_WINDOW = 0.5  # of the map's elements; beyond, the whole map is no dearer


class OwnUnits:
    """The units of a block at the mean position of the eye and gain 1.

    Parameters
    ----------
    ensemble : Ensemble
        Frozen; on the device of the images.
    columns : sequence of (str, int), (m,)
        Readout key and readout column of each unit of the block.
    """

    def __init__(self, ensemble: Ensemble, columns: Sequence[tuple[str, int]]) -> None:
        self.n_units = len(columns)
        self.members = [_reading(network, columns) for network in ensemble.networks]
        self._in_order = torch.arange(len(columns), device=self.members[0].bias.device)

    def __call__(self, images: Tensor, units: Tensor | None = None) -> Tensor:
        """Respond to each image with one unit.

        Parameters
        ----------
        images : Tensor
            float32, (k, 1, h, w), z-scored.
        units : Tensor, optional
            int64, (k,), which unit of the block each image belongs to; by default all, in order.

        Returns
        -------
        Tensor
            float32, (k,), >= 0, mean of the members.
        """
        n_units = self.n_units if units is None else len(units)
        if len(images) != n_units:
            raise ValueError(f"{len(images)} images for {n_units} units: each needs its own")
        if units is not None and torch.equal(units, self._in_order):
            units = None  # saves a copy of the kernels at every step
        return torch.stack([member.respond(images, units) for member in self.members]).mean(0)

    def all(self, images: Tensor) -> Tensor:
        """Respond to each of the images (b, 1, h, w) with all units of the block, (b, m)."""
        return torch.stack([member.respond_all(images) for member in self.members]).mean(0)


@dataclass(frozen=True)
class Reading:
    """What the units of a block read of one network.

    Attributes
    ----------
    network : ImageNetwork
    kernels : Tensor
        float32, (m, c, height, width), over a window of the map.
    corners : Tensor
        int64, (m, 2), row and column of the first element of each window.
    bias : Tensor
        float32, (m,).
    """

    network: ImageNetwork
    kernels: Tensor
    corners: Tensor
    bias: Tensor

    @property
    def _whole(self) -> bool:
        return self.kernels.shape[1:] == self.network.core.output_shape

    def respond(self, images: Tensor, units: Tensor | None) -> Tensor:
        """Responses (k,) of units (k,), or of all, each to its own image (k, 1, h, w)."""
        if not self._whole:
            return self._respond(images, slice(None) if units is None else units)
        parts = [slice(i, i + MAPS_AT_ONCE) for i in range(0, len(images), MAPS_AT_ONCE)]
        return torch.cat(
            [self._respond(images[p], p if units is None else units[p]) for p in parts]
        )

    def _respond(self, images: Tensor, units: Tensor | slice) -> Tensor:
        kernels, corners, bias = self.kernels[units], self.corners[units], self.bias[units]
        if self._whole:
            maps = self.network.maps(images)
        else:
            self.network.check_images(images)
            maps = self.network.core.windows(images, corners, kernels.shape[-2:])
        return self.network.response((maps * kernels).sum((1, 2, 3)) + bias)

    def respond_all(self, images: Tensor) -> Tensor:
        """Responses (b, m) of all units to each of the images (b, 1, h, w)."""
        maps = self.network.maps(images)
        if self._whole:
            drive = maps.flatten(1) @ self.kernels.flatten(1).T
        else:
            height, width = maps.shape[-2:]
            index = window_index(self.corners, self.kernels.shape[-2:], (height, width))
            read = maps.flatten(2)[:, :, index.flatten()].unflatten(2, index.shape)
            drive = torch.einsum("bcms,mcs->bm", read, self.kernels.flatten(2))
        return self.network.response(drive + self.bias)


def _reading(network: ImageNetwork, columns: Sequence[tuple[str, int]]) -> Reading:
    """Find kernels and windows of a block: its readouts are linear in the map."""
    shape = network.core.output_shape
    device = next(network.parameters()).device
    kernels = torch.zeros(len(columns), *shape, device=device)
    bias = torch.zeros(len(columns), device=device)
    for first in range(0, len(columns), KERNELS_AT_ONCE):
        part = slice(first, first + KERNELS_AT_ONCE)
        blank = torch.zeros(len(kernels[part]), *shape, device=device, requires_grad=True)
        drive = network.drives(blank, columns[part])
        (kernels[part],) = torch.autograd.grad(drive.sum(), blank)
        bias[part] = drive.detach()
    corners, size = _windows((kernels != 0).any(1))
    large = size[0] * size[1] > LARGEST_WINDOW * shape[1] * shape[2]
    if large or not hasattr(network.core, "windows"):
        corners, size = torch.zeros_like(corners), shape[1:]
    windows = cut(kernels, corners, size).contiguous(memory_format=torch.channels_last)
    return Reading(network, windows, corners, bias)


def _windows(used: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """Place windows of one size around what is used of each map, bool (m, h, w).

    Returns
    -------
    corners : Tensor
        int64, (m, 2), such that every window lies within the map.
    size : tuple of int
        The largest extent of any unit.
    """
    corners, size = [], []
    for other_axis in (2, 1):
        here = used.any(other_axis)
        length = here.shape[1]
        place = torch.arange(length, device=used.device)
        first = torch.where(here, place, length).amin(1)
        extent = (torch.where(here, place, -1).amax(1) - first + 1).clamp(min=1).amax().item()
        corners.append(first.clamp(max=length - extent))
        size.append(extent)
    return torch.stack(corners, dim=1), (size[0], size[1])
