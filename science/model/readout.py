"""Readout of units at one place of a Laplace pyramid of the core's map (microns_vei 7.2).

A unit's response is linear in the map, whatever its place and weights: pyramid, interpolation and
weighting together are one kernel over (channel, row, column), and the pyramid is separable in rows
and columns. `PyramidReadout` therefore has two exactly equivalent routes. It builds the kernels
and takes one matrix product, as long as they fit into `KERNEL_LIMIT`; for large populations it
computes the pyramid of every image and interpolates in it.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from science.model.config import PyramidReadoutConfig

KERNEL_LIMIT = 2**25
"""Largest number of kernel elements, units x channels x rows x columns (128 MiB)."""


def gaussian_filter() -> Tensor:
    """Gaussian of sigma 1 integrated over 5 pixels, float32, (5,), sum 1.

    The outer product with itself has 0.003765 in the corner and 0.150342 in the centre.
    """
    edges = torch.special.ndtr(torch.arange(-2.5, 3.0, dtype=torch.float64))
    return (edges.diff() / edges.diff().sum()).float()


def expand(low: Tensor, size: tuple[int, int]) -> Tensor:
    """Interpolate a level to twice its size: 4 x transposed smoothing with stride 2.

    Parameters
    ----------
    low : Tensor
        float32, (b, c, ceil(h / 2), ceil(w / 2)).
    size : tuple of int
        (h, w) to restore.

    Returns
    -------
    Tensor
        float32, (b, c, h, w).
    """
    kernel = 2 * gaussian_filter().to(low)
    kernel = torch.outer(kernel, kernel).expand(low.shape[1], 1, 5, 5)
    even = tuple(1 - n % 2 for n in size)
    return F.conv_transpose2d(
        low, kernel, stride=2, padding=2, output_padding=even, groups=low.shape[1]
    )


def pyramid(maps: Tensor, scale_n: int, downsample: bool) -> list[Tensor]:
    """Laplace pyramid: `scale_n` high-pass levels, then the low-pass rest.

    Parameters
    ----------
    maps : Tensor
        float32, (b, c, h, w).
    scale_n : int
        Number of high-pass levels.
    downsample : bool
        Halve the size from level to level (22 x 50, 11 x 25, 6 x 13, ...).

    Returns
    -------
    list of Tensor
        `scale_n + 1` levels, float32, (b, c, h_level, w_level).
    """
    channels = maps.shape[1]
    kernel = gaussian_filter().to(maps)
    kernel = torch.outer(kernel, kernel).expand(channels, 1, 5, 5)
    levels = []
    for _ in range(scale_n):
        low = F.conv2d(maps, kernel, padding=2, stride=2 if downsample else 1, groups=channels)
        levels.append(maps - (expand(low, maps.shape[-2:]) if downsample else low))
        maps = low
    return [*levels, maps]


def axis_operators(size: int, scale_n: int, downsample: bool) -> list[Tensor]:
    """One axis of the pyramid as matrices that act on the axis at full size.

    With the matrices S, E of the rows and S', E' of the columns, level l of a map X is
    ``S_l X S'_l^T - E_l X E'_l^T``: what is smoothed so far, less the next level expanded to the
    size of this one. The low-pass rest has E = 0.

    Parameters
    ----------
    size : int
        Pixels along the axis.
    scale_n, downsample
        As in `pyramid`.

    Returns
    -------
    list of Tensor
        For every level S and E, float32, (size_level, 2, size).
    """
    kernel = gaussian_filter()[None, None]
    smoothed = torch.eye(size)[:, None]  # (pixel at full size, 1, pixel of the level)
    operators = []
    for _ in range(scale_n):
        low = F.conv1d(smoothed, kernel, padding=2, stride=2 if downsample else 1)
        expanded = low
        if downsample:
            even = 1 - smoothed.shape[-1] % 2
            expanded = F.conv_transpose1d(low, 2 * kernel, stride=2, padding=2, output_padding=even)
        operators.append(torch.cat([smoothed, expanded], dim=1))
        smoothed = low
    operators.append(torch.cat([smoothed, torch.zeros_like(smoothed)], dim=1))
    return [operator.permute(2, 1, 0).contiguous() for operator in operators]


def interpolate(operator: Tensor, places: Tensor) -> Tensor:
    """Linear interpolation along the first axis: -1 is its first, 1 its last entry.

    Parameters
    ----------
    operator : Tensor
        float32, (size_level, 2, size).
    places : Tensor
        float32, (n,), in [-1, 1]. At the ends the gradient is the one from within.

    Returns
    -------
    Tensor
        float32, (n, 2, size).
    """
    last = operator.shape[0] - 1
    place = (places + 1) / 2 * last
    lower = place.detach().floor().clamp(0, max(last - 1, 0))
    fraction = (place - lower)[:, None, None]
    index = lower.nan_to_num().long()  # a diverged place makes the response NaN, not an error
    upper = (index + 1).clamp(max=last)
    return operator[index] * (1 - fraction) + operator[upper] * fraction


class PyramidReadout(nn.Module):
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
        super().__init__()
        self.config = config
        self.map_shape = map_shape
        channels, height, width = map_shape
        self.position = nn.Parameter(torch.zeros(n_units, 2))
        self.features = nn.Parameter(torch.full((n_units, self.n_levels, channels), 1 / channels))
        self.bias = nn.Parameter(torch.zeros(n_units))
        for axis, size in (("rows", height), ("columns", width)):
            operators = axis_operators(size, config.scale_n, config.downsample)
            for level, operator in enumerate(operators):
                self.register_buffer(f"{axis}_{level}", operator, persistent=False)

    @property
    def n_levels(self) -> int:
        """Levels of the pyramid, the low-pass rest included."""
        return self.config.scale_n + 1

    @property
    def n_units(self) -> int:
        """Units of the recording."""
        return len(self.bias)

    def initialize(self, mean_responses: Tensor, generator: torch.Generator) -> None:
        """Random positions, features 1 / channels, bias such that ELU + 1 starts at the mean.

        Parameters
        ----------
        mean_responses : Tensor
            float32, (n_units,), mean training response in the units of training.
        generator : torch.Generator
            Source of the positions.
        """
        if mean_responses.shape != self.bias.shape:
            raise ValueError(
                f"mean_responses has the shape {tuple(mean_responses.shape)}, "
                f"the readout has {self.n_units} units"
            )
        limit = self.config.init_range
        with torch.no_grad():
            self.position.uniform_(-limit, limit, generator=generator)
            self.features.fill_(1 / self.map_shape[0])
            self.bias.copy_(mean_responses - 1)

    @torch.no_grad()
    def constrain(self) -> None:
        """Bring the parameters back into their range, as is due after every optimiser step.

        A parameter left outside would have no gradient through the clamp and never come back.
        """
        self.position.clamp_(-1, 1)
        if self.config.positive:
            self.features.clamp_(min=0)

    def forward(self, maps: Tensor) -> Tensor:
        """Linear response of every unit to every map.

        Parameters
        ----------
        maps : Tensor
            float32, (b, *map_shape).

        Returns
        -------
        Tensor
            float32, (b, n_units), before the final nonlinearity.
        """
        if self.n_units * math.prod(self.map_shape) <= KERNEL_LIMIT:
            return maps.permute(0, 2, 3, 1).flatten(1) @ self.kernels().flatten(1).T + self.bias
        return self.sample_pyramid(maps)

    def respond(self, maps: Tensor, units: Tensor) -> Tensor:
        """Linear response of unit ``units[i]`` to map i.

        Parameters
        ----------
        maps : Tensor
            float32, (b, *map_shape).
        units : Tensor
            int64, (b,), indices of units.

        Returns
        -------
        Tensor
            float32, (b,).
        """
        products = maps.permute(0, 2, 3, 1) * self.kernels(units)
        return products.sum(dim=(1, 2, 3)) + self.bias[units]

    def kernels(self, units: Tensor | slice = slice(None)) -> Tensor:
        """Linear kernel of each unit over the core's map.

        Parameters
        ----------
        units : Tensor or slice
            int64, (n,), indices of units; all without it.

        Returns
        -------
        Tensor
            float32, (n, height, width, channels).
        """
        x, y = self._positions()[units].unbind(-1)
        levels = []
        for level in range(self.n_levels):
            rows = interpolate(self.get_buffer(f"rows_{level}"), y)[..., None]
            columns = interpolate(self.get_buffer(f"columns_{level}"), x)[..., None, :]
            smoothed, expanded = (rows * columns).unbind(1)
            levels.append((smoothed - expanded).flatten(1))
        kernels = torch.stack(levels, dim=-1) @ self._features()[units]
        return kernels.unflatten(1, self.map_shape[1:])

    def sample_pyramid(self, maps: Tensor) -> Tensor:
        """Responses by interpolation in the pyramid of every map: `forward` for many units."""
        grid = self._positions()[None, :, None].expand(len(maps), -1, -1, -1)
        features = self._features()
        response = self.bias
        levels = pyramid(maps, self.config.scale_n, self.config.downsample)
        for level, weights in zip(levels, features.unbind(1), strict=True):
            sampled = F.grid_sample(level, grid, align_corners=True)[..., 0]
            response = response + torch.einsum("bcn,nc->bn", sampled, weights)
        return response

    def regularizers(self) -> dict[str, Tensor]:
        """Mean absolute feature weight times its gamma."""
        return {"readout_features": self.config.gamma_features * self._features().abs().mean()}

    def _positions(self) -> Tensor:
        return self.position.clamp(-1, 1)

    def _features(self) -> Tensor:
        return self.features.clamp(min=0) if self.config.positive else self.features
