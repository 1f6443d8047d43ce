"""From places on a screen to visual angles."""

import numpy as np
from numpy.typing import NDArray


def visual_angle(
    pixels: NDArray[np.floating],
    image_shape: tuple[int, int],
    screen_width_cm: float,
    screen_distance_cm: float,
) -> NDArray[np.float64]:
    """Angles of places of an image that fills the width of a flat screen, about its middle.

    Parameters
    ----------
    pixels : float, (n, 2)
        x and y; the centre of the top left pixel is (0, 0).
    image_shape : (h, w)
        Of the image, pixels; its pixels are square on the screen.
    screen_width_cm, screen_distance_cm : float
        Width, and distance of the eye from the middle.

    Returns
    -------
    float64, (n, 2)
        Azimuth to the right and elevation downwards, degrees; (0, 0) is the middle of the screen.

    Examples
    --------
    The middle of the screen, and its right edge, as far from the middle as the eye is.

    >>> visual_angle(np.array([[31.5, 17.5], [63.5, 17.5]]), (36, 64), 30, 15)
    array([[ 0.,  0.],
           [45.,  0.]])
    """
    height, width = image_shape
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    cm = (np.asarray(pixels, float) - centre) * (screen_width_cm / width)
    return np.degrees(np.arctan2(cm, screen_distance_cm))
