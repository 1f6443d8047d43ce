"""Parameters of the published methods of image synthesis, told apart by their `method`."""

from typing import Annotated, Literal

from pydantic import Field

from science.grey_scale import MAX_GREY
from science.params import NonNegative, Params, Positive


class _Method(Params):
    """What all methods share.

    Attributes
    ----------
    iter_n : int
        Number of steps, >= 1.
    excite : {"most", "least"}
        Climb or descend the response.
    patience : int or None
        An image is done when its response has not improved for so many steps; None: after
        `iter_n` steps. The schedules of published methods leave no room for it.
    tolerance : float
        What counts as improvement, relative to the best response so far.
    """

    iter_n: int = Field(1000, ge=1, le=100_000)
    excite: Literal["most", "least"] = "most"
    patience: int | None = Field(None, ge=1)
    tolerance: float = Field(1e-3, ge=0, lt=1)


class InceptionLoop(_Method):
    """Normalised gradient ascent with a shrinking blur (microns_vei 9.4; Walker et al. 2019).

    The defaults are the row 150966b4... of microns_vei 9.3, the one used everywhere. The other
    row, 9a0fc64f..., is ``blur=False, train_norm=11``.

    Attributes
    ----------
    start_sigma, end_sigma : float
        Standard deviation of the blur, pixels, first step and (never quite reached) end.
    start_step, end_step : float
        Step size, same schedule; in units of `step_gain` / 255 z-units of mean change.
    precond : float
        Exponent of the low-pass preconditioner, >= 0; amplitude falls as f^(-2 precond).
    step_gain : float
        Overall factor of the step size.
    jitter : int
        Largest shift, pixels, by which the images are rolled before a step and back after it.
    blur : bool
        Blur the image after each step.
    norm : float or None
        Largest pixel standard deviation of the image, grey levels; None: no contrast constraint.
    train_norm : float or None
        The same for what the model sees, while the image itself is free.
    noise_mean, noise_sd : float
        Start noise, grey levels 0..255.
    n_starts : int
        Images per unit, from different noise; the best is the MEI.
    """

    method: Literal["inception_loop"] = "inception_loop"
    start_sigma: float = Field(1.5, ge=0)
    end_sigma: float = Field(0.01, ge=0)
    start_step: float = Field(3.0, gt=0)
    end_step: float = Field(0.125, gt=0)
    precond: float = Field(0.1, ge=0)
    step_gain: float = Field(0.1, gt=0)
    jitter: int = Field(0, ge=0, le=32)
    blur: bool = True
    norm: float | None = Field(None, gt=0)
    train_norm: float | None = Field(None, gt=0)
    noise_mean: float = Field(128.0, ge=0, le=MAX_GREY)
    noise_sd: float = Field(8.0, ge=0)
    n_starts: int = Field(1, ge=1, le=64)


class FixedContrast(_Method):
    """Plain gradient ascent at one contrast and mean (microns_vei 12, production row 10).

    Attributes
    ----------
    contrast : float
        Pixel standard deviation after every step, z-scores.
    mean : float or None
        Pixel mean after every step, z-scores; None leaves it free.
    step : float
        Step size: factor of the gradient in z-scores.
    gradient_sigma : float
        Standard deviation of the Gaussian that blurs the gradient, pixels.
    n_starts : int
        As of `InceptionLoop`; the start noise is N(0, 1) in z-scores.
    """

    method: Literal["fixed_contrast"] = "fixed_contrast"
    contrast: Positive = 0.25
    mean: float | None = 0.0
    step: Positive = 1.0
    gradient_sigma: NonNegative = 1.0
    n_starts: int = Field(1, ge=1, le=64)


class Allen(_Method):
    """Ascent in [0, 1] with a contrast penalty and min-max rescaling (allen_mei 5).

    Attributes
    ----------
    sigma : float
        Standard deviation of the blur before the first step, pixels; it shrinks recursively
        towards 0.001.
    step : float
        Factor of the smoothed gradient with respect to the image in [0, 1].
    contrast : float
        Wanted pixel standard deviation of the image in [0, 1]; 0.2656 is the mean of the study's
        118 images.
    contrast_weight : float
        Weight of the distance from it.
    exponent : float
        The gradient's spectrum is divided by frequency^exponent.
    starts : tuple of {"noise", "black"}
        First images, one ascent each: uniform white noise, or black.
    legacy : bool
        Use the notebook's Fourier gain (see `science.mei.filters.radius_gain`).
    """

    method: Literal["allen"] = "allen"
    sigma: Positive = 7.0
    step: Positive = 0.1
    contrast: Positive = Field(0.2656, le=0.5)
    contrast_weight: NonNegative = 2.0
    exponent: NonNegative = 0.25
    starts: tuple[Literal["noise", "black"], ...] = Field(("noise",), min_length=1, max_length=64)
    legacy: bool = False

    @property
    def n_starts(self) -> int:
        """Images per unit."""
        return len(self.starts)


MEIParams = Annotated[InceptionLoop | FixedContrast | Allen, Field(discriminator="method")]
