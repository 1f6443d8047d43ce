"""Gabor patches, and the published range of them (microns_vei 9.8)."""

import math
from collections.abc import Iterator
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from science.params import Params, Positive

PARAMETERS = ("phase", "wavelength", "orientation", "sigma", "dy", "dx")
"""Columns of Gabor parameters: degrees, pixels, degrees, pixels, fractions of height and width."""


class GaborRange(Params):
    """A grid of Gabors; the defaults are GaborRange 1 of microns_vei 9.8, 72 800 Gabors.

    Attributes
    ----------
    phases, orientations : tuple of float
        Degrees.
    wavelengths, sigmas : tuple of float
        Pixels, > 0.
    dys, dxs : tuple of float
        Displacement down and to the right, fractions of the height and width.
    """

    phases: tuple[float, ...] = Field((0.0, 90.0, 180.0, 270.0), min_length=1)
    wavelengths: tuple[Positive, ...] = Field((4.0, 7.0, 10.0, 15.0, 20.0), min_length=1)
    orientations: tuple[float, ...] = Field(tuple(22.5 * i for i in range(8)), min_length=1)
    sigmas: tuple[Positive, ...] = Field((2.0, 3.0, 5.0, 7.0, 9.0), min_length=1)
    dys: tuple[float, ...] = Field(tuple(i / 10 for i in range(-3, 4)), min_length=1)
    dxs: tuple[float, ...] = Field(tuple(i / 20 for i in range(-6, 7)), min_length=1)

    @property
    def axes(self) -> tuple[tuple[float, ...], ...]:
        """Values along each axis of the grid, in the order of `PARAMETERS`."""
        return (
            self.phases,
            self.wavelengths,
            self.orientations,
            self.sigmas,
            self.dys,
            self.dxs,
        )

    def __len__(self) -> int:
        return math.prod(len(axis) for axis in self.axes)

    def parameters(self, index: Tensor, image_shape: tuple[int, int]) -> Tensor:
        """Parameters of chosen Gabors of the grid, which move by whole pixels.

        Parameters
        ----------
        index : int64 Tensor, (n,)
            0 to `len(self)` - 1; the last axis varies fastest.
        image_shape : (h, w)
            Pixels. Displacements are truncated to whole pixels, as in the original.

        Returns
        -------
        float32 Tensor, (n, 6)
        """
        axes = [torch.tensor(axis, dtype=torch.float64, device=index.device) for axis in self.axes]
        for axis, size in zip(axes[4:], image_shape, strict=True):
            # Rounded first: 0.3 * 40 is 12 pixels whatever the last bit says.
            axis.mul_(size).round_(decimals=6).trunc_().div_(size)
        places = torch.unravel_index(index, tuple(len(axis) for axis in axes))
        chosen = [axis[place] for axis, place in zip(axes, places, strict=True)]
        return torch.stack(chosen, dim=1).float()

    def blocks(
        self,
        image_shape: tuple[int, int],
        batch_size: int,
        device: str | torch.device = "cpu",
    ) -> Iterator[Tensor]:
        """Yield the parameters of the whole grid, (n <= batch_size, 6) at a time."""
        for index in torch.arange(len(self), device=device).split(batch_size):
            yield self.parameters(index, image_shape)


class GaborLimits(Params):
    """Limits of a continuous search; the defaults are GaborLimits 1 of microns_vei 9.8.

    Phase and orientation are periodic and have none.

    Attributes
    ----------
    wavelength, sigma : (float, float)
        Smallest and largest, pixels.
    shift : float
        Largest displacement either way, fraction of the height and of the width.
    """

    wavelength: tuple[Positive, Positive] = (4.0, 20.0)
    sigma: tuple[Positive, Positive] = (2.0, 9.0)
    shift: Positive = 0.35

    @model_validator(mode="after")
    def _rising(self) -> Self:
        for name in ("wavelength", "sigma"):
            smallest, largest = getattr(self, name)
            if smallest >= largest:
                raise ValueError(f"{name}: {smallest} is not below {largest}")
        return self


def gabor_patches(parameters: Tensor, image_shape: tuple[int, int]) -> Tensor:
    """Draw Gabors: a sinusoid in a circular Gaussian window, both moved together.

    At orientation 0 the stripes are horizontal; they turn counter-clockwise as seen on a screen,
    where the row axis points down. With the distance d in pixels from the centre of the window,
    downwards at orientation 0, the sinusoid is sin(phase + 360 deg / wavelength * d). The original
    counts rows from the top of a canvas instead; `canvas_phase` translates.

    Parameters
    ----------
    parameters : float Tensor, (n, 6)
        Phase (deg), wavelength (px), orientation (deg), sigma (px), and the displacement of the
        window from the centre of the image, down and to the right, in fractions of h and w.
    image_shape : (h, w)
        Pixels.

    Returns
    -------
    float Tensor, (n, h, w)
        Within -1 to 1, 0 is grey; differentiable in the parameters.

    Raises
    ------
    ValueError
        If the parameters are not (n, 6).

    Examples
    --------
    At a phase of 90 degrees the middle is white.

    >>> gabor = gabor_patches(torch.tensor([[90.0, 8, 0, 3, 0, 0]]), (9, 9))
    >>> gabor.shape, gabor[0, 4, 4].item()
    (torch.Size([1, 9, 9]), 1.0)
    """
    if parameters.ndim != 2 or parameters.shape[1] != len(PARAMETERS):
        raise ValueError(
            f"parameters must be (n, 6): {', '.join(PARAMETERS)}; got {tuple(parameters.shape)}"
        )
    phase, wavelength, orientation, sigma, *shifts = parameters.unsqueeze(-1).unbind(1)
    rows, columns = (
        torch.arange(size).to(parameters) - (size - 1) / 2 - shift * size
        for size, shift in zip(image_shape, shifts, strict=True)
    )
    frequency = 2 * torch.pi / wavelength
    angle = torch.deg2rad(orientation)
    down = torch.deg2rad(phase) + frequency * angle.cos() * rows
    right = frequency * angle.sin() * columns
    # sin(down + right) and the window are sums of products of a row and a column.
    down = torch.stack([down.sin(), down.cos()], dim=2) * _window(rows, sigma).unsqueeze(2)
    right = torch.stack([right.cos(), right.sin()], dim=1) * _window(columns, sigma).unsqueeze(1)
    return down @ right


def canonical(parameters: Tensor) -> Tensor:
    """Bring phase and orientation to 0..360 and 0..180 degrees without changing the Gabor.

    Half a turn of the stripes runs through the sinusoid backwards, so the phase is mirrored.

    Parameters
    ----------
    parameters : float Tensor, (n, 6)
        As of `gabor_patches`.

    Returns
    -------
    float Tensor, (n, 6)

    Examples
    --------
    >>> canonical(torch.tensor([[0.0, 8, 190, 3, 0, 0]])).tolist()
    [[180.0, 8.0, 10.0, 3.0, 0.0, 0.0]]
    """
    phase, wavelength, orientation, *rest = parameters.unbind(1)
    turned = orientation.div(180).floor().remainder(2) == 1
    phase = torch.where(turned, 180 - phase, phase).remainder(360)
    return torch.stack([phase, wavelength, orientation.remainder(180), *rest], dim=1)


def canvas_phase(parameters: Tensor, image_shape: tuple[int, int]) -> Tensor:
    """Translate the phases of the original generator to those of `gabor_patches`.

    It tiles the sinusoid from the top of a canvas, which extends beyond the image by its longer
    side all around, before turning it about the middle (microns_vei 9.8).

    Parameters
    ----------
    parameters : float Tensor, (n, 6)
        As of `gabor_patches`, but with the phase at the top row of the canvas, degrees.
    image_shape : (h, w)
        Pixels.

    Returns
    -------
    float Tensor, (n, 6)
        With the phase in the middle of the window, 0 to 360 degrees.
    """
    middle = (image_shape[0] + 2 * max(image_shape) - 1) / 2
    phase = parameters[:, :1] + 360 * middle / parameters[:, 1:2]
    return torch.cat([phase.remainder(360), parameters[:, 1:]], dim=1)


def _window(distance: Tensor, sigma: Tensor) -> Tensor:
    return torch.exp(-(distance / sigma).square() / 2)
