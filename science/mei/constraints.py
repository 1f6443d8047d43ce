"""Constraints on z-scored images (m, h, w), and their contrast."""

import torch
from torch import Tensor

from science.grey_scale import MAX_GREY, GreyScale


def pixel_std(images: Tensor, ddof: int = 0) -> Tensor:
    """Return the standard deviation over the pixels of each image, (m, 1, 1)."""
    return images.std((-2, -1), correction=ddof, keepdim=True)


def limit_contrast(images: Tensor, largest: float) -> Tensor:
    """Scale images whose pixel standard deviation exceeds `largest` down to it."""
    return images * (largest / pixel_std(images)).clamp(max=1)


def fix_contrast(images: Tensor, std: float, mean: float | None) -> Tensor:
    """Give every image this standard deviation and, unless None, this mean.

    A flat image stays flat.
    """
    own = images.mean((-2, -1), keepdim=True)
    deviation = images - own
    spread = pixel_std(deviation)
    scaled = deviation * torch.where(spread > 0, std / spread, 0.0)
    return scaled + (own if mean is None else mean)


def stretch(images: Tensor, low: float, high: float) -> Tensor:
    """Map each image's minimum to `low` and its maximum to `high`; a flat image stays as it is."""
    least = images.amin((-2, -1), keepdim=True)
    extent = images.amax((-2, -1), keepdim=True) - least
    return torch.where(extent > 0, (images - least) / extent * (high - low) + low, images)


def check_contrast(std: float, mean: float, scale: GreyScale) -> None:
    """Raise ValueError unless images of this mean and contrast, z-scores, exist within 0..255.

    Of all images of one mean, that of black and white pixels has the largest contrast.
    """
    grey, sd = mean * scale.std + scale.mean, std * scale.std
    largest = (max(grey, 0.0) * max(MAX_GREY - grey, 0.0)) ** 0.5
    if sd > largest:
        raise ValueError(
            f"contrast {std:g} at mean {mean:g} (z-scores) is a standard deviation of {sd:.1f} at "
            f"a mean of {grey:.1f} grey levels, but at most {largest:.1f} fit into 0..255: "
            "ask for less contrast"
        )
