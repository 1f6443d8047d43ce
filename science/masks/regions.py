"""Regions of images, (m, h, w), and their soft edges; all functions treat all images at once."""

from functools import reduce

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_closing, label
from skimage.morphology import convex_hull_image
from torch import Tensor
from torch.nn import functional as F

from science.mei.filters import gaussian_blur

CROSS = np.array([[[0, 1, 0], [1, 1, 1], [0, 1, 0]]], dtype=bool)  # never across images
EIGHT_NEIGHBOURS = np.pad(np.ones((1, 3, 3), dtype=bool), ((1, 1), (0, 0), (0, 0)))


def deviations(grey: Tensor) -> Tensor:
    """Return |image - mean of the image|; exactly zero, without rounding, for a flat image."""
    flat = grey.amax((-2, -1), keepdim=True) == grey.amin((-2, -1), keepdim=True)
    return torch.where(flat, 0.0, (grey - grey.mean((-2, -1), keepdim=True)).abs())


def soften(regions: Tensor, sigma: float) -> Tensor:
    """Blur regions with a Gaussian of `sigma` pixels into soft masks in [0, 1]."""
    return gaussian_blur(regions, sigma).clamp(0, 1)


def erode(regions: Tensor, size: int) -> Tensor:
    """Erode regions, float 0 or 1, with an odd square; the frame itself does not eat into them."""
    # Shifted minima along each axis: on a CPU a tenth of the time of pooling.
    eroded = F.pad(regions, (size // 2,) * 4, value=1.0)
    for axis in (-2, -1):
        length = eroded.shape[axis] - size + 1
        eroded = reduce(torch.minimum, (eroded.narrow(axis, i, length) for i in range(size)))
    return eroded


def convex_hulls(regions: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the convex hull of each region; of an empty one, nothing."""
    hulls = np.zeros_like(regions)
    for hull, region in zip(hulls, regions, strict=True):  # scikit-image takes one at a time
        rows, columns = (np.flatnonzero(region.any(axis)) for axis in (1, 0))
        if rows.size:
            box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            hull[box] = convex_hull_image(region[box])
    return hulls


def close_gaps(regions: NDArray[np.bool_], iterations: int) -> NDArray[np.bool_]:
    """Dilate regions with a cross so many times, then erode them as often.

    What lies beyond the frame is empty, but there: no pixel of a region is lost at the frame.
    """
    if iterations == 0:
        return regions
    room = ((0, 0), (iterations, iterations), (iterations, iterations))
    closed = binary_closing(np.pad(regions, room), CROSS, iterations)
    return closed[:, iterations:-iterations, iterations:-iterations]


def large_components(
    regions: NDArray[np.bool_], min_size: int, largest_only: bool
) -> NDArray[np.bool_]:
    """Keep the connected components (8 neighbours) of at least `min_size` pixels, or the largest.

    Of equally large ones the first from the top, then from the left, is the largest.
    """
    labels, _ = label(regions, EIGHT_NEIGHBOURS)
    sizes = np.bincount(labels.ravel())
    keep = sizes >= min_size
    if largest_only:
        owner = np.zeros(len(sizes), dtype=np.int64)
        owner[labels] = np.arange(len(regions))[:, None, None]
        by_size = 1 + np.lexsort((-sizes[1:], owner[1:]))
        _, first = np.unique(owner[by_size], return_index=True)
        keep &= np.isin(np.arange(len(sizes)), by_size[first])
    keep[0] = False
    return keep[labels]
