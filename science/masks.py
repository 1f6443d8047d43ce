"""Tight MEI masks: the smallest region of an MEI that still drives its unit (microns_vei 9.5)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy.ndimage import binary_erosion, gaussian_filter
from skimage.morphology import convex_hull_image
from torch import Tensor

from science.mei import check_images
from science.params import Params

BlockResponder = Callable[[Tensor, Tensor], Tensor]
"""Maps z-scored images (k, 1, h, w) and the positions (k,) of their units in the block, int64,
to the response (k,) of each image's own unit."""

MAX_EROSIONS = 100
SQUARE = np.ones((1, 3, 3), dtype=bool)  # erodes each mask of a stack, never across masks


class TightMaskParams(Params):
    """Parameters of the tight mask; the defaults are row 2 of microns_vei 9.5, the one used.

    Attributes
    ----------
    stdev_size_thr : float
        Pixels enter the first region when their deviation exceeds this many standard deviations.
    filter_sigma : float
        Standard deviation of the soft edge, pixels.
    target_reduction_ratio : float
        Shrink until the response is at most this fraction of the first masked response, in (0, 1).
    """

    stdev_size_thr: float = Field(1.0, ge=0)
    filter_sigma: float = Field(2.0, ge=0)
    target_reduction_ratio: float = Field(0.9, gt=0, lt=1)


@dataclass(frozen=True)
class TightMaskResult:
    """Tight masks of a block of m units.

    Attributes
    ----------
    masks : float32, (m, h, w)
        Soft masks in [0, 1]. For status "ok" the first mask at or below the target, otherwise the
        last mask above it.
    reduction_ratio : float64, (m,)
        Response to the masked MEI relative to the response under the first, uneroded mask.
    status : str array, (m,)
        "ok": target reached. "emptied": the region vanished first (at once for a flat image).
        "exhausted": 100 erosions, or erosion stopped changing a region that fills the frame.
        "silent": the first masked image does not drive the unit, so there is no ratio (NaN).
    n_erosions : int64, (m,)
        Erosions that led to the returned mask.
    """

    masks: NDArray[np.float32]
    reduction_ratio: NDArray[np.float64]
    status: NDArray[np.str_]
    n_erosions: NDArray[np.int64]


def first_region(image: NDArray[np.float32], stdev_size_thr: float) -> NDArray[np.bool_]:
    """Convex hull of the pixels of an image (h, w) that deviate most from its mean.

    With f = |image - mean|, the hull of f > `stdev_size_thr` * std(f); empty for a flat image.
    """
    deviation = np.abs(image - image.mean())
    salient = deviation > stdev_size_thr * deviation.std()
    return convex_hull_image(salient) if salient.any() else salient


def soften(regions: NDArray[np.bool_], sigma: float) -> NDArray[np.float32]:
    """Blur regions (m, h, w) into soft masks in [0, 1]; `sigma` in pixels, borders reflected."""
    return gaussian_filter(regions.astype(np.float32), (0, sigma, sigma)).clip(0, 1)


def erode(regions: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Erode regions (m, h, w) with a 3x3 square; the frame itself does not eat into a region."""
    return binary_erosion(regions, SQUARE, border_value=1)


def tight_mask(
    respond: BlockResponder,
    images: NDArray[np.float32],
    mean: float,
    std: float,
    params: TightMaskParams,
    device: str | torch.device = "cpu",
) -> TightMaskResult:
    """Shrink a mask around each MEI until its unit's response falls to the target.

    The procedure of microns_vei 9.5, made to end on every input. All units still shrinking are
    evaluated together in each round.

    Parameters
    ----------
    respond : BlockResponder
        Responses of chosen units of the block, each to its own image.
    images : float32, (m, h, w)
        MEIs, grey levels 0..255.
    mean, std : float
        Statistics of the training images, grey levels.
    params : TightMaskParams
        Threshold, edge and target.
    device : str or torch.device
        Where `respond` computes.

    Returns
    -------
    TightMaskResult

    Raises
    ------
    ValueError
        Images not (m, h, w), not finite or outside 0..255; std not positive; a response that is
        not finite.
    """
    check_images(images)
    if not std > 0:
        raise ValueError(f"std of the training images must be positive, got {std}")

    def masked_response(masks: NDArray[np.float32], units: NDArray[np.int64]) -> NDArray:
        level = images[units].mean((1, 2), keepdims=True)
        z_scored = (masks * images[units] + (1 - masks) * level - mean) / std
        return _evaluate(respond, z_scored, units, device)

    regions = np.stack([first_region(image, params.stdev_size_thr) for image in images])
    masks = soften(regions, params.filter_sigma)
    baseline = masked_response(masks, np.arange(len(images)))
    ratio = np.where(baseline > 0, 1.0, np.nan)
    status = np.where(baseline > 0, "", "silent").astype("U9")
    status[(status == "") & ~regions.any((1, 2))] = "emptied"
    n_erosions = np.zeros(len(images), dtype=np.int64)

    active = np.flatnonzero(status == "")
    while active.size:
        eroded = erode(regions[active])
        vanished = ~eroded.any((1, 2))
        stuck = (eroded == regions[active]).all((1, 2)) | (n_erosions[active] == MAX_EROSIONS)
        status[active[stuck]] = "exhausted"
        status[active[vanished]] = "emptied"
        going = ~(vanished | stuck)
        active, eroded = active[going], eroded[going]
        if not active.size:
            break
        regions[active] = eroded
        masks[active] = soften(eroded, params.filter_sigma)
        ratio[active] = masked_response(masks[active], active) / baseline[active]
        n_erosions[active] += 1
        reached = ratio[active] <= params.target_reduction_ratio
        status[active[reached]] = "ok"
        active = active[~reached]
    return TightMaskResult(masks, ratio, status, n_erosions)


def _evaluate(
    respond: BlockResponder,
    z_scored: NDArray[np.float32],
    units: NDArray[np.int64],
    device: str | torch.device,
) -> NDArray[np.float64]:
    """Responses (k,) of `units` (k,) to their own z-scored images (k, h, w)."""
    with torch.no_grad():
        batch = torch.as_tensor(z_scored, dtype=torch.float32, device=device).unsqueeze(1)
        responses = respond(batch, torch.as_tensor(units, device=device)).double().cpu().numpy()
    if responses.shape != (len(units),):
        raise ValueError(
            f"the responder must return one response per image, shape ({len(units)},), "
            f"got {responses.shape}"
        )
    bad = units[~np.isfinite(responses)]
    if bad.size:
        raise ValueError(f"the response of units {bad.tolist()} of the block is not finite")
    return responses
