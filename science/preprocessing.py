"""Shown images as frames."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from skimage.transform import resize

from science.params import Params


class PreprocessingParams(Params):
    """How shown images become frames and activity becomes one response per trial.

    Attributes
    ----------
    height, width : int
        Frame size in pixels.
    offset, duration : float
        Response window in seconds after stimulus onset (traces and spikes; microns_vei 4.4).
        Finished trial responses pass through unchanged.
    window : {'fixed', 'presentation'}
        Count spikes in that window, or from the onset of the image to its offset (allen_mei 1).
    """

    height: int = Field(36, ge=4, le=512)
    width: int = Field(64, ge=4, le=512)
    offset: float = Field(0.05, ge=0.0, le=5.0)
    duration: float = Field(0.5, gt=0.0, le=10.0)
    window: Literal["fixed", "presentation"] = "fixed"


def resize_image(image: NDArray[np.generic], height: int, width: int) -> NDArray[np.float32]:
    """Resize one grey image (h, w) to (height, width), antialiased, values kept (0-255).

    Examples
    --------
    >>> resize_image(np.full((72, 128), 7, np.uint8), 36, 64).shape
    (36, 64)
    """
    if image.shape == (height, width):
        return image.astype(np.float32)
    return resize(
        image.astype(np.float32), (height, width), order=1, anti_aliasing=True, preserve_range=True
    ).astype(np.float32)
