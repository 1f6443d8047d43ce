"""The screen in front of a virtual mouse: how much light a pixel value makes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from science.virtual.params import VirtualAnimalParams

MEASURED_PIXELS = np.arange(0.0, 256.0, 15.0)
MEASUREMENT_NOISE = 0.003  # sd of a photometer's reading, relative


@dataclass(frozen=True)
class VirtualMonitor:
    """A monitor with ``luminance = amplitude * (pixel / 255)**gamma + offset``.

    The form is that of microns_vei 9.10, with pixel values scaled to 1.

    Attributes
    ----------
    amplitude : float
        Luminance that white adds to black, cd/m2, above 0.
    gamma : float
        Exponent, above 0.
    offset : float
        Luminance of black, cd/m2, 0 or more.
    """

    amplitude: float
    gamma: float
    offset: float

    def __post_init__(self) -> None:
        """Refuse what no monitor does."""
        if not (self.amplitude > 0 and self.gamma > 0 and self.offset >= 0):
            raise ValueError(f"{self}: amplitude and gamma must be above 0, offset 0 or more")

    def luminance(self, pixels: ArrayLike) -> NDArray[np.float64]:
        """Compute the light of pixel values.

        Parameters
        ----------
        pixels : real, any shape
            0 to 255.

        Returns
        -------
        float64, same shape
            cd/m2.

        Raises
        ------
        ValueError
            If a pixel value is not between 0 and 255.
        """
        pixels = np.asarray(pixels, dtype=np.float64)
        if not ((pixels >= 0) & (pixels <= 255)).all():
            raise ValueError(
                f"pixel values run from {pixels.min():g} to {pixels.max():g}: "
                "a monitor shows 0 to 255, clip or rescale them"
            )
        return self.amplitude * (pixels / 255) ** self.gamma + self.offset

    def pixels(self, luminance: ArrayLike) -> NDArray[np.float64]:
        """Find the pixel values that make some light, not rounded.

        Parameters
        ----------
        luminance : real, any shape
            cd/m2. What is darker than black or brighter than white becomes black or white.

        Returns
        -------
        float64, same shape
            0 to 255.

        Raises
        ------
        ValueError
            If a luminance is NaN.
        """
        luminance = np.asarray(luminance, dtype=np.float64)
        if np.isnan(luminance).any():
            raise ValueError("luminance is NaN: give cd/m2")
        fraction = np.clip((luminance - self.offset) / self.amplitude, 0, 1)
        return 255 * fraction ** (1 / self.gamma)

    def measured(self, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Measure the monitor with a photometer that errs by 0.3 %.

        Parameters
        ----------
        seed : int
            Non-negative; another seed gives other errors.

        Returns
        -------
        pixel_value : float64, (18,)
            0, 15, ..., 255.
        luminance : float64, (18,)
            cd/m2, strictly rising: readings that the errors swapped are put in order.
        """
        errors = np.random.default_rng(seed).normal(0, MEASUREMENT_NOISE, len(MEASURED_PIXELS))
        readings = self.luminance(MEASURED_PIXELS) * (1 + errors)
        return MEASURED_PIXELS.copy(), np.sort(readings)


def monitor_on(day: int, params: VirtualAnimalParams) -> VirtualMonitor:
    """Look up the monitor of one day of an animal.

    Parameters
    ----------
    day : int
        From 1.
    params : VirtualAnimalParams
        Of the animal.
    """
    later = params.later_monitor_gamma
    gamma = params.monitor_gamma if day == 1 or later is None else later
    return VirtualMonitor(params.monitor_amplitude, gamma, params.monitor_offset)
