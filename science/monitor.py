"""Monitor calibration: from pixel values to luminance and back (microns_vei 9.10)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import PchipInterpolator
from scipy.optimize import minimize_scalar

from science.blocks import blocks
from science.grey_scale import MAX_GREY

Floats = NDArray[np.float64]

MIN_POINTS = 3
FLAT = 0.05  # cd/m2 from one measured point to the next, on average
MAX_AMPLITUDE = 1000.0  # cd/m2
MAX_OFFSET = 100.0  # cd/m2
GAMMAS = np.geomspace(1e-6, 20.0, 500)
ROUNDING = 1e-6  # by which values may leave a range, relative to its width
CELLS = 2**14  # that the inverse of a curve starts from
ARRAYS = 16  # at work in the inverse
PIXEL_TOLERANCE = 5e-7  # grey levels
TINY = 1e-300
MAX_PASSES = 60  # two are usual


def check_calibration(pixel_value: ArrayLike, luminance: ArrayLike) -> tuple[Floats, Floats]:
    """Check that a monitor was measured so that pixel values and luminance determine each other.

    Parameters
    ----------
    pixel_value : array_like, (n,)
        Grey levels measured, n >= 3, ascending from 0 to 255.
    luminance : array_like, (n,)
        cd/m2, >= 0, rising.

    Returns
    -------
    pixel_value, luminance : ndarray, (n,)
        The same as float64.

    Raises
    ------
    ValueError
        If it is not so; the message says where.
    """
    pixels, light = np.asarray(pixel_value, np.float64), np.asarray(luminance, np.float64)
    if pixels.ndim != 1 or pixels.shape != light.shape or len(pixels) < MIN_POINTS:
        raise ValueError(
            "a monitor calibration needs one luminance for each pixel value and at least "
            f"{MIN_POINTS} of them, got shapes {light.shape} and {pixels.shape}"
        )
    if not (np.isfinite(pixels).all() and np.isfinite(light).all()):
        raise ValueError("pixel values and luminances of a monitor calibration must be finite")
    unordered = np.flatnonzero(np.diff(pixels) <= 0)
    if unordered.size:
        raise ValueError(
            "pixel values of a monitor calibration must ascend, average repeated measurements: "
            f"{pixels[unordered[0]]:g} is followed by {pixels[unordered[0] + 1]:g}"
        )
    if pixels[0] != 0 or pixels[-1] != MAX_GREY:
        raise ValueError(
            f"a monitor calibration must go from pixel value 0 to {MAX_GREY:g}, "
            f"this one goes from {pixels[0]:g} to {pixels[-1]:g}"
        )
    if light[light < 0].size:
        raise ValueError(f"luminance cannot be negative, got {light.min():g} cd/m2")
    falling = np.flatnonzero(np.diff(light) <= 0)
    if falling.size:
        i = falling[0]
        raise ValueError(
            f"luminance must rise with the pixel value, but is {light[i]:g} cd/m2 at "
            f"{pixels[i]:g} and {light[i + 1]:g} cd/m2 at {pixels[i + 1]:g}: measure again or "
            "leave the point out"
        )
    return pixels, light


def is_flat(luminance: ArrayLike) -> bool:
    """Whether the monitor hardly shone; no gamma is fitted then (microns_vei 9.10).

    Parameters
    ----------
    luminance : array_like, (n,)
        cd/m2, n >= 2, in the order of the pixel values.
    """
    return bool(np.diff(np.asarray(luminance, np.float64)).mean() < FLAT)


@dataclass(frozen=True)
class GammaFit:
    """The law L = amplitude (p / 255)^gamma + offset (microns_vei 9.10).

    The original leaves out the 255, so that its amplitude is 255^gamma times smaller.

    Attributes
    ----------
    amplitude : float
        cd/m2, of white above black.
    gamma : float
    offset : float
        cd/m2, of black.
    mse : float
        Mean squared error of the fit, (cd/m2)^2.
    """

    amplitude: float
    gamma: float
    offset: float
    mse: float

    def luminance(self, pixels: ArrayLike) -> Floats:
        """Return the luminance, cd/m2, of pixel values 0..255 of any shape.

        Raises
        ------
        ValueError
            If a pixel value is outside.
        """
        pixels = _within(pixels, 0, MAX_GREY, "grey levels")
        return self.amplitude * (pixels / MAX_GREY) ** self.gamma + self.offset

    def pixels(self, luminance: ArrayLike) -> Floats:
        """Return the pixel values, float 0..255, of luminances, cd/m2, of any shape.

        Raises
        ------
        ValueError
            If a luminance is darker than black or brighter than white.
        """
        light = _within(luminance, self.offset, self.offset + self.amplitude, "cd/m2")
        return MAX_GREY * ((light - self.offset) / self.amplitude) ** (1 / self.gamma)


def fit_gamma(pixel_value: ArrayLike, luminance: ArrayLike) -> GammaFit:
    """Fit the gamma law by least squares (microns_vei 9.10).

    For a given gamma, amplitude (0 to 1000) and offset (0 to 100) solve a linear problem; gamma
    (above 0, to 20) is searched on a grid and then refined. The original starts from 200 random
    points, without a seed.

    Parameters
    ----------
    pixel_value, luminance : array_like, (n,)
        As in `check_calibration`.

    Returns
    -------
    GammaFit

    Raises
    ------
    ValueError
        If it is no valid calibration.

    Examples
    --------
    >>> pixel = np.linspace(0, 255, 16)
    >>> fit = fit_gamma(pixel, 100 * (pixel / 255) ** 2.2 + 1)
    >>> round(fit.gamma, 3), round(fit.amplitude, 1)
    (2.2, 100.0)
    """
    pixels, light = check_calibration(pixel_value, luminance)
    x = pixels / MAX_GREY
    best = int(_at_gamma(x, light, GAMMAS)[0].argmin())
    bracket = GAMMAS[max(best - 1, 0)], GAMMAS[min(best + 1, len(GAMMAS) - 1)]
    refined = minimize_scalar(
        lambda gamma: _at_gamma(x, light, np.array([gamma]))[0][0],
        bounds=bracket,
        method="bounded",
        options={"xatol": 1e-12},
    )
    gammas = np.array([GAMMAS[best], refined.x])
    mse, amplitude, offset = _at_gamma(x, light, gammas)
    i = mse.argmin()
    return GammaFit(float(amplitude[i]), float(gammas[i]), float(offset[i]), float(mse[i]))


def _at_gamma(x: Floats, light: Floats, gammas: Floats) -> tuple[Floats, Floats, Floats]:
    """Least mean squared error, amplitude and offset (m,) at each of m gammas.

    The error is convex: where the best offset for the best amplitude is out of bounds, the minimum
    is at one of the two bounds of the offset.
    """
    powers = x ** gammas[:, None]
    mean, power = powers.mean(1), np.square(powers).mean(1)
    product = powers @ light / len(light)
    free = (product - mean * light.mean()) / (power - mean**2)
    raised = product - MAX_OFFSET * mean
    amplitude = np.stack([free, product / power, raised / power]).clip(0, MAX_AMPLITUDE)
    offset = light.mean() - amplitude * mean
    offset[1], offset[2] = 0, MAX_OFFSET
    offset = offset.clip(0, MAX_OFFSET)
    residuals = amplitude[..., None] * powers + offset[..., None] - light
    error = np.square(residuals).mean(-1)
    chosen = error.argmin(0), np.arange(len(gammas))
    return error[chosen], amplitude[chosen], offset[chosen]


class MonitorCurve:
    """Luminance of a monitor, a monotone cubic through the measured points (microns_vei 9.10).

    Parameters
    ----------
    pixel_value, luminance : array_like, (n,)
        As in `check_calibration`.

    Attributes
    ----------
    darkest, brightest : float
        Luminance of pixel values 0 and 255, cd/m2.

    Raises
    ------
    ValueError
        If it is no valid calibration.
    """

    def __init__(self, pixel_value: ArrayLike, luminance: ArrayLike) -> None:
        pixels, light = check_calibration(pixel_value, luminance)
        self._curve = PchipInterpolator(pixels, light)
        self._slope = self._curve.derivative()
        self._grid = np.linspace(0, MAX_GREY, CELLS + 1)
        self._light = self._curve(self._grid)
        self._secant = np.diff(self._grid) / np.diff(self._light).clip(min=TINY)
        self.darkest, self.brightest = float(self._light[0]), float(self._light[-1])

    def luminance(self, pixels: ArrayLike) -> Floats:
        """Return the luminance, cd/m2, of pixel values 0..255 of any shape.

        Raises
        ------
        ValueError
            If a pixel value is outside.
        """
        return self._curve(_within(pixels, 0, MAX_GREY, "grey levels"))

    def pixels(self, luminance: ArrayLike) -> Floats:
        """Return the pixel values, float 0..255, of luminances, cd/m2, of any shape.

        The inverse of `luminance` to a millionth of a grey level, unless the curve is so level
        that float64 cannot tell.

        Raises
        ------
        ValueError
            If a luminance is outside `darkest` to `brightest`.
        """
        light = _within(luminance, self.darkest, self.brightest, "cd/m2")
        found = np.empty(light.size)
        for part in blocks(light.size, ARRAYS):
            found[part] = self._inverse(light.ravel()[part])
        return found.reshape(light.shape)

    def _inverse(self, light: Floats) -> Floats:
        """Newton's method within cells so small that the curve bends one way in them."""
        cell = np.searchsorted(self._light, light).clip(1, CELLS)
        low, high = self._grid[cell - 1], self._grid[cell]
        found = low + (light - self._light[cell - 1]) * self._secant[cell - 1]
        active, at = np.arange(light.size), found.copy()
        for _ in range(MAX_PASSES):
            error = self._curve(at) - light[active]
            better = (at - error / self._slope(at).clip(min=TINY)).clip(low, high)
            found[active] = better
            going = np.abs(better - at) > PIXEL_TOLERANCE
            if not going.any():
                break
            active, at, low, high = (state[going] for state in (active, better, low, high))
        return found


def _within(values: ArrayLike, low: float, high: float, unit: str) -> Floats:
    """Values as float64; ValueError if one is outside by more than rounding explains."""
    values = np.asarray(values, np.float64)
    slack = ROUNDING * (high - low)
    wrong = values[~((values >= low - slack) & (values <= high + slack))]
    if wrong.size:
        raise ValueError(
            f"the monitor covers {low:.6g} to {high:.6g} {unit}, {wrong[0]:.6g} is outside"
        )
    return values.clip(low, high)
