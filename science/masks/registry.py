"""All mask methods, each by its parameters: the only way from a stored row to a mask.

A new method is one file with its parameters and its function, and one line here.
"""

from collections.abc import Callable
from functools import reduce
from operator import or_
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from science.masks.gaussian import GaussianMaskParams, gaussian_mask
from science.masks.result import MaskResult
from science.masks.threshold import ThresholdMaskParams, threshold_mask
from science.masks.tight import TightMaskParams, tight_mask
from science.mei.ascent import Responder
from science.params import Params

METHODS: dict[type[Params], Callable[..., MaskResult]] = {
    TightMaskParams: tight_mask,
    ThresholdMaskParams: threshold_mask,
    GaussianMaskParams: gaussian_mask,
}

MaskParams = Annotated[reduce(or_, METHODS), Field(discriminator="type")]


def make_masks(
    params: MaskParams,
    respond: Responder,
    images: NDArray[np.float32],
    mean: float,
    std: float,
    device: str | torch.device = "cpu",
) -> MaskResult:
    """Make a mask for the MEI of each unit of a block, by the method of the parameters.

    Parameters
    ----------
    params : TightMaskParams, ThresholdMaskParams or GaussianMaskParams
    respond, images, mean, std, device
        As of `science.masks.masked_images.MaskedImages`.

    Returns
    -------
    MaskResult

    Raises
    ------
    ValueError
        Images not (m, h, w), not finite or outside 0..255; mean not finite, std not positive; a
        response that is not finite (the message names the positions in the block).
    """
    return METHODS[type(params)](respond, images, mean, std, params, device)
