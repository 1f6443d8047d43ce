"""Images that drive units most, least or alike: one optimiser, several published methods."""

from science.mei.ascent import MEIResult, Responder, ascend
from science.mei.methods import Allen, FixedContrast, InceptionLoop, MEIParams
from science.mei.tuning import ContrastTuning, contrast_tuning

__all__ = [
    "Allen",
    "ContrastTuning",
    "FixedContrast",
    "InceptionLoop",
    "MEIParams",
    "MEIResult",
    "Responder",
    "ascend",
    "contrast_tuning",
]
