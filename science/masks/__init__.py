"""Masks of MEIs: where in the image a unit is driven, by three methods, one result for all."""

from science.masks.gaussian import GaussianMaskParams, gaussian_mask
from science.masks.registry import MaskParams, make_masks
from science.masks.result import MaskResult
from science.masks.statistics import MaskStatistics, mask_statistics
from science.masks.threshold import (
    GREY_LEVEL_MASK,
    Z_SCORE_MASK,
    ThresholdMaskParams,
    threshold_mask,
)
from science.masks.tight import TightMaskParams, tight_mask

__all__ = [
    "GREY_LEVEL_MASK",
    "Z_SCORE_MASK",
    "GaussianMaskParams",
    "MaskParams",
    "MaskResult",
    "MaskStatistics",
    "ThresholdMaskParams",
    "TightMaskParams",
    "gaussian_mask",
    "make_masks",
    "mask_statistics",
    "threshold_mask",
    "tight_mask",
]
