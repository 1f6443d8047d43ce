"""Where a mask is and what an image is like inside it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class MaskStatistics:
    """Centres of m masks and image statistics inside them, weighted by the mask; float64, (m,).

    NaN where a mask is zero everywhere.

    Attributes
    ----------
    x, y
        Centroid of the mask: column and row, pixels, (0, 0) is the centre of the top left pixel.
    mean, std
        Of the image inside the mask, grey levels.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]


def mask_statistics(images: NDArray[np.floating], masks: NDArray[np.floating]) -> MaskStatistics:
    """Describe masks and the images inside them (microns_vei 12, MEIMask).

    Parameters
    ----------
    images : float, (m, h, w)
        Grey levels.
    masks : float, (m, h, w)
        In [0, 1]; each pixel counts as much as its mask.

    Returns
    -------
    MaskStatistics

    Raises
    ------
    ValueError
        Shapes that differ or are not (m, h, w).
    """
    if np.ndim(images) != 3 or np.shape(images) != np.shape(masks):
        raise ValueError(
            "images and masks must be (units, height, width) alike, "
            f"got {np.shape(images)} and {np.shape(masks)}"
        )
    total = masks.sum((1, 2), dtype=np.float64, keepdims=True)
    weights = masks / np.where(total > 0, total, np.nan)
    mean = (weights * images).sum((1, 2), keepdims=True)
    variance = (weights * (images - mean) ** 2).sum((1, 2))
    return MaskStatistics(
        x=weights.sum(1) @ np.arange(masks.shape[2]),
        y=weights.sum(2) @ np.arange(masks.shape[1]),
        mean=mean[:, 0, 0],
        std=np.sqrt(variance),
    )
