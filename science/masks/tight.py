"""Tight masks: the smallest region of an MEI that still drives its unit (microns_vei 9.5)."""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from science.masks.masked_images import MaskedImages
from science.masks.regions import convex_hulls, deviations, erode, soften
from science.masks.result import MaskResult, first_status
from science.mei.ascent import Responder
from science.mei.constraints import pixel_std
from science.params import Params

MAX_EROSIONS = 100


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
    erosion_size : int
        Side of the square that erodes, pixels, odd (microns_vei 12).
    keep : {'first_at_target', 'last_above_target'}
        The first mask at or below the target, as published, or the last above it.
    """

    type: Literal["tight"] = "tight"
    stdev_size_thr: float = Field(1.0, ge=0)
    filter_sigma: float = Field(2.0, ge=0)
    target_reduction_ratio: float = Field(0.9, gt=0, lt=1)
    erosion_size: int = Field(3, ge=3, le=101)
    keep: Literal["first_at_target", "last_above_target"] = "first_at_target"

    @model_validator(mode="after")
    def _erodes_on_all_sides(self) -> "TightMaskParams":
        if self.erosion_size % 2 == 0:
            raise ValueError(
                f"erosion_size={self.erosion_size} must be odd, or masks drift to one side"
            )
        return self


def first_regions(grey: Tensor, stdev_size_thr: float) -> NDArray[np.bool_]:
    """Convex hulls of the pixels of images (m, h, w) that deviate most from their image's mean.

    With f = |image - mean|, the hull of f > `stdev_size_thr` * std(f); empty for a flat image.
    """
    deviation = deviations(grey)
    return convex_hulls((deviation > stdev_size_thr * pixel_std(deviation)).cpu().numpy())


def tight_mask(
    respond: Responder,
    images: NDArray[np.float32],
    mean: float,
    std: float,
    params: TightMaskParams,
    device: str | torch.device = "cpu",
) -> MaskResult:
    """Shrink a mask around each MEI until its unit's response falls to the target.

    The procedure of microns_vei 9.5, made to end on every input: a unit whose target is never
    reached keeps its last mask above it and has a status that says why. All units still
    shrinking are evaluated together in each round.

    Parameters
    ----------
    respond, images, mean, std, device
        As of `MaskedImages`, which says what is an error.
    params : TightMaskParams
        Threshold, edge, target and erosion.

    Returns
    -------
    MaskResult
    """
    masked = MaskedImages(respond, images, mean, std, device)
    hulls = first_regions(masked.grey, params.stdev_size_thr)
    regions = torch.as_tensor(hulls, dtype=torch.float32, device=device)
    masks = soften(regions, params.filter_sigma)
    baseline = masked.responses(masks)
    status = first_status(~hulls.any((1, 2)), "emptied", baseline, otherwise="")
    ratio = np.where(status == "", 1.0, np.nan)
    n_erosions = np.zeros(len(hulls), dtype=np.int64)

    active = np.flatnonzero(status == "")
    erosions = 0
    while active.size and erosions < MAX_EROSIONS:
        erosions += 1
        eroded = erode(regions[active], params.erosion_size)
        n_pixels = eroded.sum((-2, -1)).cpu().numpy()
        vanished = n_pixels == 0
        stuck = n_pixels == regions[active].sum((-2, -1)).cpu().numpy()
        status[active[vanished]] = "emptied"
        status[active[stuck]] = "exhausted"
        going = ~(vanished | stuck)
        active, eroded = active[going], eroded[going]
        if active.size == 0:
            break
        regions[active] = eroded
        shrunk = soften(eroded, params.filter_sigma)
        fraction = masked.responses(shrunk, active) / baseline[active]
        reached = fraction <= params.target_reduction_ratio
        status[active[reached]] = "ok"
        kept = ~reached | (params.keep == "first_at_target")
        masks[active[kept]] = shrunk[kept]
        ratio[active[kept]] = fraction[kept]
        n_erosions[active[kept]] = erosions
        active = active[~reached]
    status[active] = "exhausted"
    return MaskResult(masks.cpu().numpy(), ratio, status, n_erosions)
