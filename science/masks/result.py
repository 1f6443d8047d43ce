"""What every mask method returns."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from science.masks.masked_images import MaskedImages


@dataclass(frozen=True)
class MaskResult:
    """Masks of a block of m units.

    Attributes
    ----------
    masks : float32, (m, h, w)
        Soft masks in [0, 1], zero everywhere where there is none.
    reduction_ratio : float64, (m,)
        Response to the masked MEI, divided, for a tight mask, by the response under its first,
        uneroded mask, otherwise by the response to the MEI itself. NaN for status "silent" and
        where there is no mask.
    status : str array, (m,)
        "ok": the mask was found; a tight mask reached its target.
        "emptied": no region is salient enough, or erosion removed it before the target.
        "exhausted": 100 erosions, or erosion stopped changing a region that fills the frame.
        "degenerate": the MEI is too narrow for a Gaussian, e.g. flat or one pixel.
        "silent": there is a mask, but what the ratio divides by is not above zero.
    n_erosions : int64, (m,)
        Erosions that led to the returned mask; 0 where the method does not erode.
    """

    masks: NDArray[np.float32]
    reduction_ratio: NDArray[np.float64]
    status: NDArray[np.str_]
    n_erosions: NDArray[np.int64]


def first_status(
    missing: NDArray[np.bool_], reason: str, baseline: NDArray[np.float64], otherwise: str
) -> NDArray[np.str_]:
    """Status (m,): `reason` where the mask is missing, "silent" at no response, `otherwise`."""
    return np.where(missing, reason, np.where(baseline > 0, otherwise, "silent")).astype("U10")


def compared_with_whole(
    masked: MaskedImages, masks: Tensor, missing: NDArray[np.bool_], reason: str
) -> MaskResult:
    """Return what a method found that looks at the images only, and what the masks cost.

    Parameters
    ----------
    masked : MaskedImages
    masks : Tensor, (m, h, w)
    missing : bool, (m,)
        Units without a mask.
    reason : str
        Their status.
    """
    whole = masked.responses(torch.ones_like(masks))
    under_mask = masked.responses(masks)
    status = first_status(missing, reason, whole, "ok")
    ratio = np.full(len(whole), np.nan)
    np.divide(under_mask, whole, out=ratio, where=status == "ok")
    return MaskResult(masks.cpu().numpy(), ratio, status, np.zeros(len(whole), np.int64))
