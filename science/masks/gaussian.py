"""Gaussian masks: one Gaussian as wide as the energy of an MEI (microns_vei 9.5)."""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from science.masks.masked_images import MaskedImages
from science.masks.regions import deviations
from science.masks.result import MaskResult, compared_with_whole
from science.mei.ascent import Responder
from science.params import Params

MIN_SIGMA = 1.0  # pixels; the grid does not resolve a narrower Gaussian


class GaussianMaskParams(Params):
    """Parameters of the Gaussian mask.

    Attributes
    ----------
    exponent : float
        The mask is the square root of the Gaussian, to this power; microns_vei 9.5 takes 1.875.
    """

    type: Literal["gaussian"] = "gaussian"
    exponent: float = Field(1.875, gt=0)


def gaussian_mask(
    respond: Responder,
    images: NDArray[np.float32],
    mean: float,
    std: float,
    params: GaussianMaskParams,
    device: str | torch.device = "cpu",
) -> MaskResult:
    """Match a Gaussian to where each MEI deviates from its mean and make a mask of it.

    (MEI - mean)^2 is taken as a density. A Gaussian with its centre and covariance, 1 at its
    centre, gives the mask; responses only say how much the mask costs.

    Parameters
    ----------
    respond, images, mean, std, device
        As of `MaskedImages`, which says what is an error.
    params : GaussianMaskParams
        How far the mask reaches.

    Returns
    -------
    MaskResult
        "degenerate" where the covariance is singular, or narrower than a pixel in any direction.

    Examples
    --------
    A bright dot in the middle.

    >>> rows, columns = np.mgrid[:15, :25]
    >>> dot = np.exp(-((rows - 7) ** 2 + (columns - 12) ** 2) / 8)
    >>> images = (20 + 100 * dot[None]).astype(np.float32)
    >>> def respond(images, units):
    ...     return images.sum((1, 2, 3))
    >>> masks = gaussian_mask(respond, images, 20.0, 50.0, GaussianMaskParams()).masks
    >>> masks.shape, masks[0, 7, 12].item()
    ((1, 15, 25), 1.0)
    """
    masked = MaskedImages(respond, images, mean, std, device)
    centre, covariance = moments(deviations(masked.grey).double() ** 2)
    narrowest = torch.linalg.eigvalsh(covariance)[:, 0]
    degenerate = narrowest < MIN_SIGMA**2
    covariance[degenerate] = torch.eye(2, dtype=covariance.dtype, device=device)
    offsets = _pixels(masked.grey) - centre[:, None]  # (m, h * w, 2)
    distance = (offsets @ torch.linalg.inv(covariance) * offsets).sum(-1)
    masks = torch.exp(-params.exponent / 4 * distance).float().reshape(masked.grey.shape)
    masks[degenerate] = 0.0
    return compared_with_whole(masked, masks, degenerate.cpu().numpy(), "degenerate")


def moments(density: Tensor) -> tuple[Tensor, Tensor]:
    """Centre and covariance of densities on the pixels.

    Parameters
    ----------
    density : Tensor, float64, (m, h, w)
        Not negative; need not sum to 1.

    Returns
    -------
    centre : Tensor, float64, (m, 2)
        Column x and row y, pixels; (0, 0) is the centre of the top left pixel.
    covariance : Tensor, float64, (m, 2, 2)
        Both are zero where the density is.
    """
    total = density.sum((-2, -1))[:, None, None]
    weights = (density / torch.where(total > 0, total, 1.0)).flatten(1)
    pixels = _pixels(density)
    centre = weights @ pixels
    offsets = pixels - centre[:, None]
    return centre, (weights[..., None] * offsets).mT @ offsets


def _pixels(images: Tensor) -> Tensor:
    """Columns and rows (h * w, 2) of the pixels of images (m, h, w), float64."""
    height, width = (torch.arange(size, device=images.device) for size in images.shape[1:])
    y, x = torch.meshgrid(height, width, indexing="ij")
    return torch.stack([x, y], dim=-1).flatten(0, 1).double()
