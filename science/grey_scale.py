"""Grey levels and z-scores."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

MAX_GREY = 255.0


@dataclass(frozen=True)
class GreyScale:
    """Statistics of the training images: z = (grey - mean) / std.

    Attributes
    ----------
    mean, std : float
        Grey levels.

    Raises
    ------
    ValueError
        If one is not finite or std is not positive.
    """

    mean: float
    std: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and math.isfinite(self.std) and self.std > 0):
            raise ValueError(
                "image statistics must be finite with std > 0, "
                f"got mean={self.mean}, std={self.std}"
            )

    @property
    def black(self) -> float:
        """Return the z-score of grey level 0."""
        return -self.mean / self.std

    @property
    def white(self) -> float:
        """Return the z-score of grey level 255."""
        return (MAX_GREY - self.mean) / self.std

    def z(self, grey: Tensor) -> Tensor:
        """Return z-scores of grey levels."""
        return (grey - self.mean) / self.std

    def grey(self, z: Tensor) -> Tensor:
        """Return grey levels of z-scores, brought into 0..255."""
        return (z * self.std + self.mean).clamp(0, MAX_GREY)


def check_images(images: NDArray[np.float32]) -> None:
    """Raise ValueError unless `images` is a finite (m, h, w) stack of grey levels 0..255."""
    if np.ndim(images) != 3 or np.size(images) == 0:
        raise ValueError(f"images must be (units, height, width), got shape {np.shape(images)}")
    bad = np.flatnonzero(~((images >= 0) & (images <= MAX_GREY)).all((1, 2)))
    if bad.size:
        raise ValueError(
            f"images of units {bad.tolist()} leave 0..255 or are not finite; "
            "pass grey levels, not z-scores"
        )


def check_masked(
    images: NDArray[np.float32], masks: NDArray[np.float32], seeds: Sequence[int]
) -> None:
    """Raise ValueError unless every image of grey levels has a mask and a seed."""
    check_images(images)
    if masks.shape != images.shape or len(seeds) != len(images):
        raise ValueError(
            f"images {images.shape}, masks {masks.shape} and {len(seeds)} seeds do not fit together"
        )
