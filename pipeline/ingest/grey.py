"""Pixels of other formats as the grey values that were shown."""

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.checks import is_real
from pipeline.ingest.rows import BadRecording


def grey_values(pixels: NDArray[np.generic], name: str) -> NDArray[np.uint8]:
    """Return pixels as whole grey values.

    Parameters
    ----------
    pixels : integer or float, any shape
        Grey values 0-255. Fractions, which resized images have, are rounded: what is stored is at
        most half a grey value off.
    name : str
        What they are, for the message.

    Returns
    -------
    uint8, the shape of `pixels`

    Raises
    ------
    BadRecording
        If a value does not round into 0-255, or the pixels look scaled to 0-1.
    """
    if pixels.dtype == np.uint8:
        return pixels
    if not is_real(pixels):
        raise BadRecording(f"{name} must be grey values 0-255, not {pixels.dtype}")
    whole = np.rint(pixels)
    low, high = whole.min(initial=0), whole.max(initial=0)
    if not (low >= 0 and high <= 255):  # NaN is refused, too
        raise BadRecording(
            f"{name} must be grey values 0-255, but they go from {pixels.min()} to {pixels.max()}: "
            "store them as they were shown, not normalised"
        )
    if high <= 1 and (whole != pixels).any():
        raise BadRecording(
            f"{name} must be grey values 0-255, but they look scaled to 0-1: multiply them by 255"
        )
    return whole.astype(np.uint8)
