"""Threshold masks: the convex hull of the pixels of an MEI that stand out, with a soft edge."""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from science.masks.masked_images import MaskedImages
from science.masks.regions import (
    close_gaps,
    convex_hulls,
    deviations,
    large_components,
    soften,
)
from science.masks.result import MaskResult, compared_with_whole
from science.mei.ascent import Responder
from science.mei.constraints import pixel_std
from science.params import Params


class ThresholdMaskParams(Params):
    """Parameters of the threshold mask, in the order of the steps.

    The defaults are MEIMask of microns_vei 9.5 (`GREY_LEVEL_MASK`); that of microns_vei 12, row 3,
    is `Z_SCORE_MASK`.

    Attributes
    ----------
    threshold : float
        Pixels stand out when they deviate by more than this from the mean of their image.
    unit : {'grey', 'std'}
        Of the threshold: grey levels, or standard deviations of the pixels of the image.
    closing : int
        Close gaps between them by so many dilations and as many erosions with a cross.
    min_component : int
        Drop connected components of fewer pixels.
    largest_only : bool
        Of what remains keep only the largest component.
    expansion_sigma, expansion_threshold : float
        Blur the convex hull by this many pixels and keep what is above the threshold; 0 leaves
        the hull as it is.
    filter_sigma : float
        Standard deviation of the soft edge, pixels.
    """

    type: Literal["threshold"] = "threshold"
    threshold: float = Field(16.0, ge=0)
    unit: Literal["grey", "std"] = "grey"
    closing: int = Field(0, ge=0, le=100)
    min_component: int = Field(50, ge=1)
    largest_only: bool = False
    expansion_sigma: float = Field(3.0, ge=0)
    expansion_threshold: float = Field(0.3, gt=0, lt=1)
    filter_sigma: float = Field(2.0, ge=0)


GREY_LEVEL_MASK = ThresholdMaskParams()
Z_SCORE_MASK = ThresholdMaskParams(
    threshold=1.5,
    unit="std",
    closing=2,
    min_component=1,
    largest_only=True,
    expansion_sigma=0.0,
    filter_sigma=1.5,
)


def threshold_mask(
    respond: Responder,
    images: NDArray[np.float32],
    mean: float,
    std: float,
    params: ThresholdMaskParams,
    device: str | torch.device = "cpu",
) -> MaskResult:
    """Mask what stands out in each MEI; responses only say how much the mask costs.

    Parameters
    ----------
    respond, images, mean, std, device
        As of `MaskedImages`, which says what is an error.
    params : ThresholdMaskParams
        What stands out, what is kept of it, and the edge.

    Returns
    -------
    MaskResult
        "emptied" where nothing stands out, or everything is dropped.
    """
    masked = MaskedImages(respond, images, mean, std, device)
    scale = pixel_std(masked.grey) if params.unit == "std" else 1.0
    salient = deviations(masked.grey) > params.threshold * scale
    closed = close_gaps(salient.cpu().numpy(), params.closing)
    hulls = convex_hulls(large_components(closed, params.min_component, params.largest_only))
    grown = soften(
        torch.as_tensor(hulls, dtype=torch.float32, device=device), params.expansion_sigma
    )
    regions = (grown > params.expansion_threshold).float()
    masks = soften(regions, params.filter_sigma)
    empty = ~regions.bool().flatten(1).any(1).cpu().numpy()
    return compared_with_whole(masked, masks, empty, "emptied")
