"""Readout of units at one place of a Laplace pyramid of the core's map (microns_vei 7.2).

A unit's response is linear in the map, whatever its place and weights, and all of the pyramid but
the map itself is made of the once smoothed (and, by choice, subsampled) map. `PyramidReadout`
therefore has two exactly equivalent routes. While all images are seen from one eye position and
the kernels fit into `KERNEL_LIMIT`, it reads the map at the unit's place, and the smoothed map by
one kernel per unit, built from small matrices per axis, in one matrix product. Otherwise it
computes the pyramid of every image and interpolates in it.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from science.model.readouts.laplace_pyramid import (
    along_axes,
    axis_steps,
    pyramid,
    smoothed_operators,
)
from science.model.readouts.point import PointReadout
from science.model.readouts.sampling import neighbours, sample
from science.params import NonNegative, Params

KERNEL_LIMIT = 2**25
"""Largest number of kernel elements, units x channels x rows x columns (128 MiB)."""


class PyramidReadoutConfig(Params):
    """Readout at one place of a Laplace pyramid per unit (microns_vei 7.2).

    Attributes
    ----------
    scale_n : int
        High-pass levels; with the low-pass rest a unit reads ``scale_n + 1`` levels.
    downsample : bool
        Halve the resolution from level to level.
    positive : bool
        Keep the feature weights at or above zero.
    gamma_features : float
        Weight of the mean absolute feature weight.
    start : {"centre", "located"}
        Positions start around the centre, as in the original, or where `locate` finds the best
        simple or complex cell of a fixed bank.
    init_range : float
        Positions start uniformly within ``[-init_range, init_range]``.
    """

    type: Literal["pyramid"] = "pyramid"
    scale_n: int = Field(5, ge=1, le=10)
    downsample: bool = True
    positive: bool = False
    gamma_features: NonNegative = 1.0
    start: Literal["centre", "located"] = "centre"
    init_range: float = Field(0.1, ge=0, le=1)


class PyramidReadout(PointReadout):
    """Units of one recording, each at one place of the pyramid of the core's map.

    Parameters
    ----------
    config : PyramidReadoutConfig
        Pyramid and regulariser.
    map_shape : tuple of int
        (channels, height, width) of the core's output.
    n_units : int
        Units of the recording.

    Attributes
    ----------
    position : Parameter
        float32, (n_units, 2), x along the width and y along the height, in [-1, 1].
    features : Parameter
        float32, (n_units, scale_n + 1, channels).
    bias : Parameter
        float32, (n_units,).
    """

    def __init__(
        self, config: PyramidReadoutConfig, map_shape: tuple[int, int, int], n_units: int
    ) -> None:
        super().__init__(config, map_shape)
        channels, height, width = map_shape
        self.position = nn.Parameter(torch.zeros(n_units, 2))
        self.features = nn.Parameter(torch.full((n_units, self.n_levels, channels), 1 / channels))
        self.bias = nn.Parameter(torch.zeros(n_units))
        for axis, size in (("rows", height), ("columns", width)):
            steps = axis_steps(size, config.scale_n, config.downsample)
            for level, (smooth, expand) in enumerate(steps):
                self.register_buffer(f"smooth_{axis}_{level}", smooth, persistent=False)
                self.register_buffer(f"expand_{axis}_{level}", expand, persistent=False)
            for level, operator in enumerate(smoothed_operators(steps)):
                self.register_buffer(f"{axis}_{level}", operator, persistent=False)

    @property
    def n_levels(self) -> int:
        """Levels of the pyramid, the low-pass rest included."""
        return self.config.scale_n + 1

    def forward(
        self, maps: Tensor, shift: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Linear response of every unit to every map.

        Parameters
        ----------
        maps : Tensor
            float32, (b, *map_shape).
        shift : Tensor, optional
            float32, (1, 2) or (b, 2), added to the positions.
        generator : torch.Generator, optional
            Not used: nothing here is random.

        Returns
        -------
        Tensor
            float32, (b, n_units), before the final nonlinearity.
        """
        del generator
        maps = maps.permute(0, 2, 3, 1)
        places = self.position[None] if shift is None else self.position + shift[:, None]
        if len(places) > 1 or self._kernel_size > KERNEL_LIMIT:
            return self._from_pyramid(maps, places.expand(len(maps), -1, -1))
        kernels = self._kernels(places[0], self.features)
        coarse = self._smoothed(maps).flatten(1) @ kernels.flatten(1).T
        fine = sample(maps, places.expand(len(maps), -1, -1))
        return coarse + torch.einsum("bnc,nc->bn", fine, self.features[:, 0]) + self.bias

    def respond(self, maps: Tensor, units: Tensor, shift: Tensor | None = None) -> Tensor:
        """Linear response of unit ``units[i]`` to map i.

        Parameters
        ----------
        maps : Tensor
            float32, (b, *map_shape).
        units : Tensor
            int64, (b,), indices of units.
        shift : Tensor, optional
            float32, (1, 2).

        Returns
        -------
        Tensor
            float32, (b,).
        """
        maps = maps.permute(0, 2, 3, 1)
        places, features = self.position[units], self.features[units]
        if shift is not None:
            places = places + shift
        coarse = (self._smoothed(maps) * self._kernels(places, features)).sum((1, 2, 3))
        fine = sample(maps, places[:, None])[:, 0]
        return coarse + (fine * features[:, 0]).sum(-1) + self.bias[units]

    @property
    def _kernel_size(self) -> int:
        height, width = self.smooth_rows_0.shape[0], self.smooth_columns_0.shape[0]
        return self.n_units * self.map_shape[0] * height * width

    def _smoothed(self, maps: Tensor) -> Tensor:
        """Smooth channels-last maps once, (b, h, w, c)."""
        return along_axes(maps, self.smooth_rows_0, self.smooth_columns_0)

    def _kernels(self, places: Tensor, features: Tensor) -> Tensor:
        """Kernels over the once smoothed map, (n, h, w, c), of all but the map itself.

        The first level is the map less the expanded smoothed one; all others are made of that.
        """
        x, y = places.unbind(-1)
        levels = []
        for level in range(self.n_levels):
            rows = _interpolated(self.get_buffer(f"rows_{level}"), y)[..., None]
            columns = _interpolated(self.get_buffer(f"columns_{level}"), x)[..., None, :]
            smoothed, expanded = (rows * columns).unbind(1)
            levels.append((smoothed - expanded).flatten(1))
        kernels = torch.stack(levels, dim=-1) @ features
        return kernels.unflatten(1, (len(self.smooth_rows_0), len(self.smooth_columns_0)))

    def _from_pyramid(self, maps: Tensor, places: Tensor) -> Tensor:
        """Responses to channels-last maps by interpolation in the pyramid of each of them."""
        steps = [
            [
                (self.get_buffer(f"smooth_{axis}_{i}"), self.get_buffer(f"expand_{axis}_{i}"))
                for i in range(self.config.scale_n)
            ]
            for axis in ("rows", "columns")
        ]
        response = self.bias
        levels = pyramid(maps, *steps)
        for level, weights in zip(levels, self.features.unbind(1), strict=True):
            response = response + torch.einsum("bnc,nc->bn", sample(level, places), weights)
        return response

    def feature_weights(self) -> Tensor:
        """Weights of pyramid levels and channels, float32, (n_units, scale_n + 1, channels)."""
        return self.features


def _interpolated(operator: Tensor, places: Tensor) -> Tensor:
    """Linear interpolation along the first axis, (n, *operator.shape[1:]); see `neighbours`."""
    index, weight = neighbours(places, len(operator))
    lower, upper = (operator[i] * w[:, None, None] for i, w in zip(index.T, weight.T, strict=True))
    return lower + upper


READOUT = (PyramidReadoutConfig, PyramidReadout)
