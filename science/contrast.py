"""Images at equal mean and contrast, within the bounds of what a screen can show.

Comparing images by the responses they evoke is fair only at equal luminance and contrast. The
transformation is that of microns_vei 9.6, T(r) = clip(gain r + mean + offset) with r the masked
deviation of the image from its mean; of all images within the bounds that have the wanted mean and
standard deviation it is the one most correlated with r. The original searches gain and offset on
grids; here they are found by a safeguarded Newton method, for all images of a batch together.
"""

import math
from dataclasses import dataclass
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from science.params import Params

TOLERANCE = 1e-3  # of the target's standard deviation, for its mean and its standard deviation
SOLVER_TOLERANCE = TOLERANCE / 10
MAX_GAIN = 1e5  # times the gain that would do without the bounds
MAX_PASSES = 100  # over the pixels; a dozen are usual
TINY = 1e-30
FLAT = 1e-6  # an image that varies less than this, relative to its largest value, is flat


class ContrastTarget(Params):
    """Mean and contrast to bring images to; the defaults are ImageConfig 0 of microns_vei 9.6.

    The unit is that of the images, grey levels by default.

    Attributes
    ----------
    mean : float
        Mean over the pixels, between the bounds.
    std : float
        Population standard deviation over the pixels, > 0.
    low, high : float
        What a pixel can be.
    inside_mask : bool
        Mean and standard deviation are those inside the mask, its values being the weights of the
        pixels; otherwise those of the whole frame.
    """

    mean: float = 111.0
    std: float = Field(16.0, gt=0)
    low: float = 0.0
    high: float = 255.0
    inside_mask: bool = False

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if not self.low < self.mean < self.high:
            raise ValueError(
                f"the mean {self.mean} must be between the bounds {self.low} and {self.high}"
            )
        # All pixels at a bound have the largest variance (Bhatia & Davis 2000).
        largest = math.sqrt((self.high - self.mean) * (self.mean - self.low))
        if self.std > largest:
            raise ValueError(
                f"no image within {self.low} to {self.high} with a mean of {self.mean} has a "
                f"standard deviation of {self.std}: {largest:.4g} is the largest"
            )
        return self


@dataclass(frozen=True)
class MatchedImages:
    """Images at equal mean and contrast.

    Attributes
    ----------
    images : Tensor, (m, h, w)
        Masked images, within the bounds.
    unmasked : Tensor, (m, h, w)
        The same gain and offset without the mask; `images` itself if there was none.
    mean, std : Tensor, (m,)
        What `images` have, in the frame or inside the mask as asked for.
    gain, offset : Tensor, (m,)
        Of the transformation; the offset is the one beyond the target's mean.
    reached : bool Tensor, (m,)
        Mean and standard deviation are right to 0.1 % of the target's standard deviation. False
        for a flat image and where the bounds do not allow the contrast at any gain up to
        `MAX_GAIN`; such an image has the right mean and a standard deviation as near as it gets.
    """

    images: Tensor
    unmasked: Tensor
    mean: Tensor
    std: Tensor
    gain: Tensor
    offset: Tensor
    reached: Tensor


def match_contrast(
    images: Tensor, target: ContrastTarget, masks: Tensor | None = None
) -> MatchedImages:
    """Bring each image to the target's mean and standard deviation (microns_vei 9.6).

    Differentiable in the images, gain and offset included (by the implicit function theorem), but
    not in the masks.

    Parameters
    ----------
    images : float Tensor, (m, h, w)
        Any finite values; only the deviation of an image from its mean matters, not its scale.
    target : ContrastTarget
        Mean, standard deviation, bounds, and where they are measured.
    masks : float Tensor, (m, h, w), optional
        Soft masks in [0, 1]. Outside, the image is grey.

    Returns
    -------
    MatchedImages

    Raises
    ------
    ValueError
        If shapes disagree, or an image or mask is not finite or a mask leaves [0, 1].

    Examples
    --------
    >>> images = torch.rand(2, 20, 30, generator=torch.Generator().manual_seed(1))
    >>> matched = match_contrast(images, ContrastTarget(mean=120, std=20)).images
    >>> matched.mean((1, 2)).round().tolist(), matched.std((1, 2)).round().tolist()
    ([120.0, 120.0], [20.0, 20.0])
    """
    if images.ndim != 3 or not images.is_floating_point():
        raise ValueError(
            f"images must be floating point, (m, height, width), got {images.dtype}, "
            f"{tuple(images.shape)}"
        )
    pixels = images.flatten(1)
    mask = None if masks is None else _checked_masks(masks, images).flatten(1)
    frame = torch.full_like(pixels[:1], 1 / pixels.shape[1])
    inside = frame if mask is None else mask / mask.sum(1, keepdim=True).clamp(min=TINY)
    weights = inside if target.inside_mask else frame

    deviation = pixels - _average(inside, pixels)[:, None]
    masked = deviation if mask is None else deviation * mask
    centre = _average(weights, masked)
    power = _average(weights, masked.square()) - centre.square()
    bad = (~torch.isfinite(power)).nonzero().flatten()
    if len(bad):
        raise ValueError(f"images {bad.tolist()} are not finite")
    flat = power <= (FLAT * torch.maximum(pixels.amax(1), -pixels.amin(1))).square()

    scale = torch.where(flat, 0.0, target.std / torch.where(flat, 1.0, power).sqrt())
    unit = torch.addcmul(-(scale * centre)[:, None], scale[:, None], masked)
    low, high = target.low - target.mean, target.high - target.mean
    gain, offset = _solve(unit.detach(), weights, low, high, target.std)
    if unit.requires_grad:
        gain, offset = _differentiable(unit, weights, gain, offset, low, high)
    gain = gain * scale
    offset = offset - gain * centre

    def transform(values: Tensor) -> Tensor:
        wished = torch.addcmul(offset[:, None] + target.mean, gain[:, None], values)
        return wished.clamp(target.low, target.high)

    matched = transform(masked)
    change = matched.detach() - target.mean
    error = _average(weights, change)
    std = (_average(weights, change.square()) - error.square()).clamp(min=0).sqrt()
    result = matched.view_as(images)
    return MatchedImages(
        images=result,
        unmasked=result if mask is None else transform(deviation).view_as(images),
        mean=target.mean + error,
        std=std,
        gain=gain.detach(),
        offset=offset.detach(),
        reached=torch.maximum(error.abs(), (std - target.std).abs()) <= TOLERANCE * target.std,
    )


@dataclass(frozen=True)
class _Moments:
    """Averages of clipped images d = clip(gain u + offset), (m,) each; "free" is not clipped."""

    mean: Tensor
    power: Tensor  # of d^2
    free: Tensor  # fraction of free pixels
    free_u: Tensor  # of u where free, else 0; likewise below
    free_d: Tensor
    free_du: Tensor


def _moments(
    u: Tensor,
    weights: Tensor,
    gain: Tensor,
    offset: Tensor,
    bounds: tuple[float, float],
    work: Tensor,
) -> _Moments:
    """`work` (3, m, n) is overwritten; fresh memory for every product would triple the time."""
    wished, d, free = work
    torch.addcmul(offset[:, None], gain[:, None], u, out=wished)
    torch.clamp(wished, *bounds, out=d)
    torch.eq(d, wished, out=free)
    product = torch.mul(d, weights, out=wished)
    mean = product.sum(1)
    power = product.mul_(d).sum(1)
    share = free.mul_(weights).sum(1)
    free_u = torch.mul(free, u, out=product).sum(1)
    free_d = free.mul_(d).sum(1)
    free_du = free.mul_(u).sum(1)
    return _Moments(mean, power, share, free_u, free_d, free_du)


def _average(weights: Tensor, values: Tensor) -> Tensor:
    """Weighted sums (m,) over the pixels of (m, n)."""
    return values @ weights[0] if len(weights) == 1 else torch.linalg.vecdot(weights, values)


def _solve(
    u: Tensor, weights: Tensor, low: float, high: float, std: float
) -> tuple[Tensor, Tensor]:
    """Find gain and offset (m,) at which clip(gain u + offset) has mean 0 and the given std.

    `u` (m, n) has mean 0 and that std already, so that the gain is 1 where nothing is clipped and
    larger elsewhere. At a given gain the mean rises with the offset; at the offset that holds the
    mean, the std rises with the gain. Each pass moves the offset while the mean is off, the gain
    otherwise: by Newton's method, and by bisection where that leaves the bracket.
    """
    gain, offset = torch.ones_like(u[:, 0]), torch.zeros_like(u[:, 0])
    found_gain, found_offset = gain.clone(), offset.clone()
    top, bottom = u.amax(1), u.amin(1)
    gain_low, gain_high = gain, gain * MAX_GAIN
    offset_low, offset_high = low - gain * top, high - gain * bottom
    active = torch.arange(len(u), device=u.device)
    work = u.new_empty(3, *u.shape)
    for _ in range(MAX_PASSES):
        now = _moments(u, weights, gain, offset, (low, high), work[:, : len(u)])
        now_std = (now.power - now.mean.square()).clamp(min=0).sqrt()
        held = now.mean.abs() <= SOLVER_TOLERANCE * std
        found_gain[active[held]], found_offset[active[held]] = gain[held], offset[held]
        free = now.free.clamp(min=TINY)

        offset_low = torch.where(now.mean < 0, offset, offset_low)
        offset_high = torch.where(now.mean > 0, offset, offset_high)
        better_offset = _inside(
            offset - now.mean / free, offset_low, offset_high, (offset_low + offset_high) / 2
        )

        gain_low = torch.where(held & (now_std < std), gain, gain_low)
        gain_high = torch.where(held & (now_std > std), gain, gain_high)
        drift = -now.free_u / free  # of the offset with the gain, at a constant mean
        slope = (now.free_du + drift * now.free_d) / now_std
        better_gain = _inside(
            gain + (std - now_std) / slope, gain_low, gain_high, (gain_low * gain_high).sqrt()
        )
        lowest, highest = low - better_gain * top, high - better_gain * bottom
        followed = offset + drift * (better_gain - gain)

        done = held & ((now_std - std).abs() <= SOLVER_TOLERANCE * std)
        done |= gain_high <= gain_low * (1 + SOLVER_TOLERANCE / 10)
        gain = torch.where(held, better_gain, gain)
        offset = torch.where(held, followed.clamp(lowest, highest), better_offset)
        offset_low = torch.where(held, lowest, offset_low)
        offset_high = torch.where(held, highest, offset_high)
        if done.all():
            break
        if done.any():
            going = ~done
            weights = weights if len(weights) == 1 else weights[going]
            active, u, top, bottom, gain, gain_low, gain_high, offset, offset_low, offset_high = (
                state[going]
                for state in (
                    *(active, u, top, bottom),
                    *(gain, gain_low, gain_high),
                    *(offset, offset_low, offset_high),
                )
            )
    return found_gain, found_offset


def _inside(proposed: Tensor, low: Tensor, high: Tensor, otherwise: Tensor) -> Tensor:
    """Take what is proposed where it lies within the bracket, which NaN does not."""
    return torch.where((proposed > low) & (proposed < high), proposed, otherwise)


def _differentiable(
    u: Tensor, weights: Tensor, gain: Tensor, offset: Tensor, low: float, high: float
) -> tuple[Tensor, Tensor]:
    """Attach to the solution its gradient in `u`, by the implicit function theorem.

    Where mean and contrast do not determine them, next to all pixels being at a bound, gain and
    offset are taken as constants.
    """
    now = _moments(u.detach(), weights, gain, offset, (low, high), u.new_empty(3, *u.shape))
    d = torch.addcmul(offset[:, None], gain[:, None], u).clamp(low, high)
    mean, power = _average(weights, d), _average(weights, d.square()) / 2
    mean, power = mean - mean.detach(), power - power.detach()
    determinant = now.free * now.free_du - now.free_u * now.free_d
    determined = determinant > 1e-5 * (now.free * now.free_du).abs() + TINY
    inverse = torch.where(determined, 1 / determinant, 0.0)
    return (
        gain - inverse * (now.free * power - now.free_d * mean),
        offset - inverse * (now.free_du * mean - now.free_u * power),
    )


def _checked_masks(masks: Tensor, images: Tensor) -> Tensor:
    if masks.shape != images.shape:
        raise ValueError(
            f"masks must be as the images, {tuple(images.shape)}, got {tuple(masks.shape)}"
        )
    bad = (~((masks >= 0) & (masks <= 1)).all(-1).all(-1)).nonzero().flatten()
    if len(bad):
        raise ValueError(f"masks {bad.tolist()} leave [0, 1] or are not finite")
    return masks.detach().to(images)
