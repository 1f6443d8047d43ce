"""Colours for numbers: from the smallest to the largest, ever darker."""

import numpy as np
from numpy.typing import NDArray

COLOURS = np.array(
    [
        (250, 251, 247),
        (209, 232, 214),
        (139, 198, 185),
        (62, 150, 155),
        (22, 98, 122),
        (20, 52, 84),
        (18, 20, 46),
    ],
    np.float64,
)
UNKNOWN = (212, 210, 216)
HEX = tuple(f"#{int(r):02x}{int(g):02x}{int(b):02x}" for r, g, b in COLOURS)
"""The same as SVG has them."""


def coloured(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return colours (..., 3) of values from the smallest to the largest; NaN is grey."""
    known = np.isfinite(values)
    image = np.full((*values.shape, 3), UNKNOWN, np.uint8)
    if known.any():
        low, high = values[known].min(), values[known].max()
        place = (values[known] - low) / ((high - low) or 1.0) * (len(COLOURS) - 1)
        image[known] = np.stack(
            [np.rint(np.interp(place, range(len(COLOURS)), c)) for c in COLOURS.T], axis=-1
        )
    return image
