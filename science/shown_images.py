"""What a monitor shows of images at the model's resolution, and what the model sees of that.

The steps are those of microns_vei 9.6 and 9.7: enlarge, translate grey levels to luminance by the
monitor of the recording that the model learned from, bring all images to one mean and contrast,
translate back by the monitor that will show them.
"""

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator
from scipy.ndimage import zoom

from science.blocks import blocks
from science.contrast import ContrastTarget, match_contrast
from science.grey_scale import MAX_GREY, check_images
from science.monitor import MonitorCurve
from science.params import Params, Positive
from science.preprocessing import resize_image

Floats = NDArray[np.float64]

LEVELS = np.arange(256)
GREY = MonitorCurve(LEVELS, LEVELS)
"""A monitor whose luminance is the grey level."""
REACHED = 0.01  # relative error of mean and contrast
ARRAYS = 4  # of the size of the images that are worth counting


class DisplayParams(Params):
    """How images are shown; the defaults are ProcessedImageConfig 0 of microns_vei 9.6.

    Attributes
    ----------
    unit : {'luminance', 'grey'}
        Of mean and contrast: cd/m2, or grey levels where no monitor was measured.
    mean : float
        Mean of an image, > 0.
    contrast : float
        Population standard deviation over the pixels, > 0.
    inside_mask : bool
        Mean and contrast are those inside the mask; otherwise those of the whole frame.
    height, width : int, optional
        Size shown, pixels. By default that of the recorded images.
    """

    unit: Literal["luminance", "grey"] = "luminance"
    mean: Positive = 10.0
    contrast: Positive = 2.0
    inside_mask: bool = False
    height: int | None = Field(None, gt=0)
    width: int | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _has_whole_size(self) -> Self:
        if (self.height is None) != (self.width is None):
            raise ValueError("give both height and width, or neither")
        return self

    def size(self, recorded: tuple[int, int]) -> tuple[int, int]:
        """Return the (height, width) shown, given that of the recorded images."""
        if self.height is None or self.width is None:
            return recorded
        return self.height, self.width


@dataclass(frozen=True)
class ShownImages:
    """Images as a monitor shows them.

    Attributes
    ----------
    pixels : uint8, (n, H, W)
        Grey levels.
    mean, contrast : float64, (n,)
        What `pixels`, rounded as they are, have on that monitor, in the unit asked for; NaN inside
        an empty mask.
    reached : bool, (n,)
        Both are within 1 % of what was asked for. False for a flat image, where the monitor's
        range does not allow the contrast, and where its grey levels are too coarse: a masked image
        is of one grey level but for the mask, so that its mean comes in steps.
    """

    pixels: NDArray[np.uint8]
    mean: Floats
    contrast: Floats
    reached: NDArray[np.bool_]


def shown_images(
    images: NDArray[np.number],
    recorded_size: tuple[int, int],
    params: DisplayParams,
    source: MonitorCurve | None = None,
    shown_on: MonitorCurve | None = None,
    masks: NDArray[np.floating] | None = None,
) -> ShownImages:
    """Enlarge images, bring them to equal mean and contrast and round them (microns_vei 9.6, 9.7).

    Cubic splines, reflected at the border, place the enlarged pixels so that averaging areas
    leads back. Rounding replaces the original's truncation.

    Parameters
    ----------
    images : float or uint8, (n, h, w)
        Grey levels 0..255 on the source monitor.
    recorded_size : (int, int)
        Height and width of the recorded images, to be shown at unless the parameters say otherwise.
    params : DisplayParams
        Mean, contrast, their unit, the size.
    source, shown_on : MonitorCurve, optional
        Monitor of the recording the images come from, and monitor they will be shown on. Both are
        needed for luminance and neither is used for grey levels.
    masks : float, (n, h, w), optional
        0..1; outside, the image is of one grey. The resolution may be another, as for photographs
        at their own resolution and masks at the model's.

    Returns
    -------
    ShownImages

    Raises
    ------
    ValueError
        If images or masks are not as above, would have to shrink, a monitor is missing or cannot
        show that mean and contrast of any image.
    """
    check_images(images)
    if masks is not None:
        _check_masks(masks, images)
    if params.unit == "grey":
        source = shown_on = GREY
    if source is None or shown_on is None:
        raise ValueError(
            "images of a given luminance need the calibrations of both monitors, that of the "
            "recording and that they will be shown on; without them use the unit 'grey'"
        )
    target = _target(params, shown_on)
    levels = shown_on.luminance(LEVELS)
    size = params.size(recorded_size)
    pixels = np.empty((len(images), *size), np.uint8)
    mean, contrast = np.empty((2, len(images)))
    for part in blocks(len(images), ARRAYS * size[0] * size[1]):
        light = source.luminance(_enlarged(images[part], size).clip(0, MAX_GREY))
        mask = None if masks is None else _enlarged(masks[part], size).clip(0, 1)
        matched = match_contrast(
            torch.from_numpy(light), target, None if mask is None else torch.from_numpy(mask)
        )
        pixels[part] = np.rint(shown_on.pixels(matched.images.numpy()))
        weights = mask if mask is not None and params.inside_mask else np.ones_like(light)
        mean[part], contrast[part] = _moments(levels[pixels[part]], weights)
    reached = np.abs(mean - params.mean) <= REACHED * params.mean
    reached &= np.abs(contrast - params.contrast) <= REACHED * params.contrast
    return ShownImages(pixels, mean, contrast, reached)


def shifted(pixels: NDArray[np.uint8], dx: int, dy: int) -> NDArray[np.uint8]:
    """Shift images (n, H, W) by dx pixels to the right and dy down, around the border.

    The original shows every image at nine places, a pixel of the model apart (microns_vei 9.6).
    """
    return np.roll(pixels, (dy, dx), axis=(1, 2))


def as_modelled(
    pixels: NDArray[np.uint8],
    size: tuple[int, int],
    source: MonitorCurve | None = None,
    shown_on: MonitorCurve | None = None,
) -> NDArray[np.float32]:
    """Translate shown images to what the model of the source recording takes (microns_vei 9.6).

    The original exchanged height and width here (section 14, item 4).

    Parameters
    ----------
    pixels : uint8, (n, H, W)
        As shown.
    size : (int, int)
        Height and width of the model's images.
    source, shown_on : MonitorCurve, optional
        As in `shown_images`; without them the grey levels are taken as they are. Luminance that
        the source monitor did not reach is taken as its darkest or brightest.

    Returns
    -------
    float32, (n, h, w)
        Grey levels 0..255 on the source monitor, resized as recorded images are.

    Raises
    ------
    ValueError
        If `pixels` are not uint8 images, or only one monitor is given.
    """
    if pixels.ndim != 3 or pixels.dtype != np.uint8:
        raise ValueError(
            f"shown images must be uint8, (n, height, width), got {pixels.dtype}, {pixels.shape}"
        )
    if (source is None) != (shown_on is None):
        raise ValueError("give the calibrations of both monitors, or of neither")
    source, shown_on = source or GREY, shown_on or GREY
    light = shown_on.luminance(LEVELS).clip(source.darkest, source.brightest)
    grey = source.pixels(light)
    frames = np.empty((len(pixels), *size), np.float32)
    for frame, image in zip(frames, pixels, strict=True):
        frame[:] = resize_image(grey[image], *size)
    return frames


def _target(params: DisplayParams, shown_on: MonitorCurve) -> ContrastTarget:
    try:
        return ContrastTarget(
            mean=params.mean,
            std=params.contrast,
            low=shown_on.darkest,
            high=shown_on.brightest,
            inside_mask=params.inside_mask,
        )
    except ValidationError as error:
        unit = "cd/m2" if params.unit == "luminance" else "grey levels"
        raise ValueError(
            f"the monitor shows {shown_on.darkest:.4g} to {shown_on.brightest:.4g} {unit}: "
            f"{error.errors()[0]['ctx']['error']}"
        ) from None


def _check_masks(masks: NDArray[np.floating], images: NDArray[np.number]) -> None:
    n, height, width = images.shape
    if masks.ndim != 3 or len(masks) != n or masks.shape[1] * width != masks.shape[2] * height:
        raise ValueError(
            f"masks must be as many and of the same proportions as the images, {images.shape}, "
            f"got {masks.shape}"
        )
    bad = np.flatnonzero(~((masks >= 0) & (masks <= 1)).all((1, 2)))
    if bad.size:
        raise ValueError(f"masks {bad.tolist()} leave [0, 1] or are not finite")


def _enlarged(images: NDArray[np.number], size: tuple[int, int]) -> Floats:
    """Interpolate images (n, h, w) by cubic splines, along one side and then the other."""
    images = images.astype(np.float64)
    height, width = images.shape[1:]
    if (height, width) == size:
        return images
    if size[0] < height or size[1] < width:
        raise ValueError(
            f"images of {height} x {width} pixels are to be shown at {size[0]} x {size[1]}: "
            "images are only enlarged, give a larger height and width"
        )
    return _spline(height, size[0]) @ images @ _spline(width, size[1]).T


def _spline(n: int, n_shown: int) -> Floats:
    """Weights (n_shown, n) of pixels, which are areas, reflected at the border."""
    return zoom(np.eye(n), (n_shown / n, 1), order=3, mode="reflect", grid_mode=True)


def _moments(values: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Weighted mean and standard deviation (n,) of images (n, H, W)."""
    total = weights.sum((1, 2))
    with np.errstate(invalid="ignore"):
        mean = (weights * values).sum((1, 2)) / total
        power = (weights * np.square(values - mean[:, None, None])).sum((1, 2)) / total
    return mean, np.sqrt(power)
