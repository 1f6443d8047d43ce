"""The Gabors of the Allen Brain Observatory as pictures on the canvas of its natural scenes."""

import numpy as np
from numpy.typing import NDArray

GREY = 127
"""Background of all stimuli (``STIMULUS_GRAY`` of allensdk's ``stimulus_info``)."""

DEGREES_PER_PIXEL = np.degrees(61.214 / np.hypot(1920, 1200) / 15)
"""0.103 degrees: a panel of 61.214 cm with 1920 x 1200 pixels, 15 cm from the eye, in the
small-angle approximation (allensdk's ``BrainObservatoryMonitor``). Stimuli were drawn on this flat
plane of degrees and then warped onto the screen."""

SCENE_PIXELS = (918, 1174)
"""Height and width of a natural scene on that plane, whose middle it covers: 95 x 121 degrees."""


def render_gabor(
    shape: tuple[int, int],
    *,
    orientation: float,
    x_position: float,
    y_position: float,
    spatial_frequency: float,
    contrast: float,
    size: float,
    **_others: float,
) -> NDArray[np.uint8]:
    """Draw one Gabor as it stands at phase 0: a grating behind a circular mask.

    The geometry is that of PsychoPy, with which the stimuli were shown: x to the right and y
    upwards from the middle of the screen, a bright bar through the middle of the patch, vertical
    bars at orientation 0, turned clockwise by the orientation.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the picture in pixels; it covers what a natural scene covers.
    orientation, x_position, y_position, size : float
        Degrees; size is the diameter of the mask.
    spatial_frequency : float
        Cycles per degree.
    contrast : float
        From 0 to 1.

    Returns
    -------
    uint8, shape
        `GREY` outside the mask.
    """
    height, width = (pixels * DEGREES_PER_PIXEL for pixels in SCENE_PIXELS)
    y = height * (0.5 - (np.arange(shape[0]) + 0.5) / shape[0]) - y_position
    x = width * ((np.arange(shape[1]) + 0.5) / shape[1] - 0.5) - x_position
    angle = np.radians(orientation)
    along = x * np.cos(angle) - y[:, None] * np.sin(angle)
    inside = x**2 + y[:, None] ** 2 <= (size / 2) ** 2
    grating = contrast * np.cos(2 * np.pi * spatial_frequency * along)
    return np.where(inside, 127.5 * (1 + grating), GREY).astype(np.uint8)
