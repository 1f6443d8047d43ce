"""Most exciting inputs: preconditioned gradient ascent on the image, for a block of units at once.

Every image of the batch has its own unit, so the gradient of the summed responses is block diagonal
and a single backward pass serves the whole block. The procedure is that of microns_vei 9.4
(Walker et al. 2019), with its defects repaired: seeded starts and the corrected preconditioner.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from science.params import Params

Responder = Callable[[Tensor], Tensor]
"""Maps z-scored images (m, 1, h, w) to the response (m,) of each image's *own* unit.

The i-th response may depend on the i-th image only: networks must be in evaluation mode.
"""

MAX_GREY = 255.0
GRADIENT_FLOOR = 1e-12  # added to mean|g|; a unit that never exceeds it cannot climb
BLUR_TRUNCATION = 4.0  # kernel half-width in standard deviations
CURVE_POINTS = 100


class MEIParams(Params):
    """Parameters of the ascent; the defaults are the row of microns_vei 9.3 used everywhere.

    Attributes
    ----------
    iter_n : int
        Number of steps, >= 1.
    start_sigma, end_sigma : float
        Standard deviation of the blur, pixels, first step and (never quite reached) end.
    start_step, end_step : float
        Step size, same schedule; in units of `step_gain` / 255 z-units of mean change.
    precond : float
        Exponent of the low-pass preconditioner, >= 0; amplitude falls as f^(-2 precond).
    step_gain : float
        Overall factor of the step size.
    blur : bool
        Blur the image after each step.
    noise_mean, noise_sd : float
        Start noise, grey levels 0..255.
    norm : float or None
        Largest pixel standard deviation of the image, grey levels; None: no contrast constraint.
    """

    iter_n: int = Field(1000, ge=1)
    start_sigma: float = Field(1.5, ge=0)
    end_sigma: float = Field(0.01, ge=0)
    start_step: float = Field(3.0, gt=0)
    end_step: float = Field(0.125, gt=0)
    precond: float = Field(0.1, ge=0)
    step_gain: float = Field(0.1, gt=0)
    blur: bool = True
    noise_mean: float = Field(128.0, ge=0, le=MAX_GREY)
    noise_sd: float = Field(8.0, ge=0)
    norm: float | None = Field(None, gt=0)


@dataclass(frozen=True)
class MEIResult:
    """MEIs of a block of m units.

    Attributes
    ----------
    images : float32, (m, h, w)
        Grey levels, 0..255.
    activations : float32, (m,)
        Response of each unit to its own final image.
    curve : float32, (m, k)
        Responses on the way, before the update of step `curve_steps`.
    curve_steps : int64, (k,)
        At most 100 evenly spaced steps, the first is 0.
    alive : bool, (m,)
        False where the gradient was zero (mean magnitude <= 1e-12) throughout: the unit was never
        driven and its image is only (blurred) start noise.
    """

    images: NDArray[np.float32]
    activations: NDArray[np.float32]
    curve: NDArray[np.float32]
    curve_steps: NDArray[np.int64]
    alive: NDArray[np.bool_]


@dataclass(frozen=True)
class ContrastTuning:
    """Responses of m units to their own image at rising contrast (microns_vei 9.4 step 5).

    Attributes
    ----------
    monotonic : bool, (m,)
        The response never falls below one at lower contrast, by more than float32 rounding
        (1e-5 of the largest response).
    max_activation, max_contrast : float32, (m,)
        Largest response, and the pixel standard deviation (grey levels) where it occurs.
    sat_contrast : float32, (m,)
        Largest pixel standard deviation reached before a pixel leaves 0..255.
    lim_contrast : float32, (m,)
        Standard deviation if the range of the image were stretched to 255; NaN for a flat image.
    img_mean : float32, (m,)
        Mean grey level of the image.
    """

    monotonic: NDArray[np.bool_]
    max_activation: NDArray[np.float32]
    max_contrast: NDArray[np.float32]
    sat_contrast: NDArray[np.float32]
    lim_contrast: NDArray[np.float32]
    img_mean: NDArray[np.float32]


def start_images(seeds: Sequence[int], image_shape: tuple[int, int], params: MEIParams) -> Tensor:
    """Draw the start noise, one generator per unit.

    Parameters
    ----------
    seeds : sequence of int, (m,)
        Seed of each unit; an image depends on its own seed only, not on the rest of the block.
    image_shape : (h, w)
        Pixels.
    params : MEIParams
        Supplies `noise_mean` and `noise_sd`.

    Returns
    -------
    float32 tensor, (m, h, w), CPU
        Grey levels within 0..255.
    """
    noise = [torch.randn(image_shape, generator=torch.Generator().manual_seed(s)) for s in seeds]
    return (params.noise_mean + params.noise_sd * torch.stack(noise)).clamp(0, MAX_GREY)


def preconditioner(image_shape: tuple[int, int], precond: float) -> Tensor:
    """Low-pass gain over the spatial frequencies of a real FFT, normalised to mean 1.

    The gain is t / mean(t) with t = 1 / max(1, (kx^2 + ky^2)^precond), k the integer frequency
    bin min(j, size - j), and the mean over the full (two-sided) spectrum (microns_vei 9.4d).

    Parameters
    ----------
    image_shape : (h, w)
        Pixels.
    precond : float
        Exponent, >= 0; 0 gives all ones.

    Returns
    -------
    float32 tensor, (h, w // 2 + 1)
    """
    rows, columns = (torch.arange(size, dtype=torch.float64) for size in image_shape)
    ky = torch.minimum(rows, len(rows) - rows)
    kx = torch.minimum(columns, len(columns) - columns)
    gain = 1 / (ky[:, None] ** 2 + kx**2).pow(precond).clamp(min=1)
    return (gain / gain.mean())[:, : len(columns) // 2 + 1].float()


def precondition(gradient: Tensor, gain: Tensor) -> Tensor:
    """Filter images (m, h, w) with the `gain` of :func:`preconditioner`."""
    return torch.fft.irfft2(torch.fft.rfft2(gradient) * gain, s=gradient.shape[-2:])


def blur_matrix(size: int, sigma: float) -> Tensor:
    """Gaussian blur of one axis as a matrix, borders reflected (d c b a | a b c d | d c b a).

    The kernel is truncated at 4 sigma and sums to 1, as in `scipy.ndimage.gaussian_filter1d`.
    On images of this size two small matrix products are cheaper than padding and convolving.

    Parameters
    ----------
    size : int
        Length of the axis, pixels.
    sigma : float
        Standard deviation, pixels, > 0.

    Returns
    -------
    float32 tensor, (size, size)
        Rows sum to 1; `matrix @ x` is the blurred x.
    """
    radius = int(BLUR_TRUNCATION * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1)
    taps = torch.exp(-0.5 * (offsets.double() / sigma) ** 2)
    source = (torch.arange(size)[:, None] + offsets) % (2 * size)
    source = torch.minimum(source, 2 * size - 1 - source)
    weights = (taps / taps.sum()).expand(size, -1)
    return torch.zeros(size, size, dtype=torch.float64).scatter_add_(1, source, weights).float()


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Blur images (m, h, w) with a Gaussian of `sigma` pixels; a one-tap kernel does nothing."""
    if int(BLUR_TRUNCATION * sigma + 0.5) == 0:
        return images
    height, width = (blur_matrix(size, sigma).to(images) for size in images.shape[-2:])
    return height @ images @ width.T


def ascend(
    respond: Responder,
    seeds: Sequence[int],
    image_shape: tuple[int, int],
    mean: float,
    std: float,
    params: MEIParams,
    device: str | torch.device = "cpu",
    on_step: Callable[[int], None] | None = None,
) -> MEIResult:
    """Synthesise the MEIs of a block of units (microns_vei 9.4 steps 1-4).

    Parameters
    ----------
    respond : Responder
        Responses of the m units, each to its own image; differentiable, evaluation mode.
    seeds : sequence of int, (m,)
        Seed of the start noise of each unit.
    image_shape : (h, w)
        Pixels.
    mean, std : float
        Statistics of the training images, grey levels; z = (grey - mean) / std.
    params : MEIParams
        Parameters of the ascent.
    device : str or torch.device
        Where `respond` computes.
    on_step : callable, optional
        Called after each step with the number of steps done, for progress and heartbeats.

    Returns
    -------
    MEIResult

    Raises
    ------
    ValueError
        Empty block, std not positive, responses of the wrong shape or not differentiable,
        or a gradient that is not finite (the message names the positions in the block).
    """
    _check_statistics(mean, std)
    if not len(seeds):
        raise ValueError("no units to synthesise for: seeds is empty")
    x = ((start_images(seeds, image_shape, params) - mean) / std).to(device)
    gain = preconditioner(image_shape, params.precond).to(device)
    alive = torch.zeros(len(x), dtype=torch.bool, device=device)
    curve_steps = np.arange(0, params.iter_n, math.ceil(params.iter_n / CURVE_POINTS))
    recorded, curve = set(curve_steps.tolist()), []
    for i in range(params.iter_n):
        activation, gradient = _value_and_gradient(respond, x)
        if i in recorded:
            curve.append(activation)
        if params.precond > 0:
            gradient = precondition(gradient, gain)
        magnitude = gradient.abs().mean((-2, -1), keepdim=True)
        alive |= magnitude.flatten() > GRADIENT_FLOOR
        x = _update(
            x, gradient / (magnitude + GRADIENT_FLOOR), i / params.iter_n, mean, std, params
        )
        if on_step is not None:
            on_step(i + 1)
    return MEIResult(
        images=(x * std + mean).clamp(0, MAX_GREY).cpu().numpy(),
        activations=_responses(respond, x).cpu().numpy(),
        curve=torch.stack(curve, dim=1).cpu().numpy(),
        curve_steps=curve_steps,
        alive=alive.cpu().numpy(),
    )


def contrast_tuning(
    respond: Responder,
    images: NDArray[np.float32],
    mean: float,
    std: float,
    n_gains: int = 1000,
    device: str | torch.device = "cpu",
) -> ContrastTuning:
    """Vary the contrast of each image around its own mean and describe the responses.

    Gains run linearly from 0.01 grey levels of standard deviation to the largest gain that keeps
    all pixels within 0..255 (microns_vei 9.4 step 5). Memory: one batch of m images at a time.

    Parameters
    ----------
    respond : Responder
        Responses of the m units, each to its own image.
    images : float32, (m, h, w)
        Grey levels, 0..255, e.g. `MEIResult.images`.
    mean, std : float
        Statistics of the training images, grey levels.
    n_gains : int
        Number of contrasts, >= 2.
    device : str or torch.device
        Where `respond` computes.

    Returns
    -------
    ContrastTuning

    Raises
    ------
    ValueError
        Images not (m, h, w), not finite or outside 0..255; std not positive; fewer than 2 gains.
    """
    _check_statistics(mean, std)
    check_images(images)
    if n_gains < 2:
        raise ValueError(f"a tuning curve needs at least 2 gains, got {n_gains=}")
    grey = torch.as_tensor(images, dtype=torch.float32, device=device)
    img_mean = grey.mean((-2, -1), keepdim=True)
    extent = grey.amax((-2, -1), keepdim=True) - grey.amin((-2, -1), keepdim=True)
    delta = torch.where(extent > 0, grey - img_mean, 0.0)  # a flat image, without rounding
    lowest, highest = _gain_range(img_mean, delta)
    activations, contrasts = [], []
    for fraction in torch.linspace(0, 1, n_gains).tolist():
        scaled = img_mean + torch.lerp(lowest, highest, fraction) * delta
        scaled = scaled.clamp(0, MAX_GREY)
        contrasts.append(_pixel_std(scaled).flatten())
        activations.append(_responses(respond, (scaled - mean) / std))
    curve, contrast = torch.stack(activations), torch.stack(contrasts)
    rounding = 1e-5 * curve.abs().amax(0)
    best = curve.argmax(0, keepdim=True)
    return ContrastTuning(
        monotonic=(curve >= curve.cummax(0).values - rounding).all(0).cpu().numpy(),
        max_activation=curve.gather(0, best)[0].cpu().numpy(),
        max_contrast=contrast.gather(0, best)[0].cpu().numpy(),
        sat_contrast=contrast.amax(0).cpu().numpy(),
        lim_contrast=(MAX_GREY / extent * _pixel_std(delta)).flatten().cpu().numpy(),
        img_mean=img_mean.flatten().cpu().numpy(),
    )


def _gain_range(img_mean: Tensor, delta: Tensor) -> tuple[Tensor, Tensor]:
    """Gains (m, 1, 1) of `delta` from 0.01 grey levels of std to the first pixel at a bound."""
    flat = (delta == 0).all(-1).all(-1)[:, None, None]  # any gain will do
    lowest = torch.where(flat, 1.0, 0.01 / _pixel_std(delta))
    headroom = (MAX_GREY - img_mean) / delta.amax((-2, -1), keepdim=True)
    footroom = -img_mean / delta.amin((-2, -1), keepdim=True)
    return lowest, torch.where(flat, 1.0, torch.minimum(headroom, footroom))


def check_images(images: NDArray[np.float32]) -> None:
    """Raise ValueError unless `images` is a finite (m, h, w) stack of grey levels 0..255."""
    if np.ndim(images) != 3:
        raise ValueError(f"images must be (units, height, width), got shape {np.shape(images)}")
    bad = np.flatnonzero(~((images >= 0) & (images <= MAX_GREY)).all((1, 2)))
    if bad.size:
        raise ValueError(
            f"images of units {bad.tolist()} leave 0..255 or are not finite; "
            "pass grey levels, not z-scores"
        )


def _check_statistics(mean: float, std: float) -> None:
    if not (math.isfinite(mean) and math.isfinite(std) and std > 0):
        raise ValueError(f"image statistics must be finite with std > 0, got {mean=}, {std=}")


def _responses(respond: Responder, x: Tensor) -> Tensor:
    """Responses (m,) to z-scored images x (m, h, w), without a graph."""
    with torch.no_grad():
        return _check_responses(respond(x.unsqueeze(1)), len(x))


def _check_responses(responses: Tensor, m: int) -> Tensor:
    if responses.shape != (m,):
        raise ValueError(
            f"the responder must return one response per image, shape ({m},), "
            f"got {tuple(responses.shape)}"
        )
    return responses


def _value_and_gradient(respond: Responder, x: Tensor) -> tuple[Tensor, Tensor]:
    """Own-unit responses (m,) and their gradients (m, h, w) with respect to the images."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        responses = _check_responses(respond(leaf.unsqueeze(1)), len(x))
        if not responses.requires_grad:
            raise ValueError("the responder is not differentiable in its images")
        (gradient,) = torch.autograd.grad(responses.sum(), leaf)
    bad = (~torch.isfinite(gradient)).flatten(1).any(1).nonzero().flatten()
    if len(bad):
        raise ValueError(f"the gradient of units {bad.tolist()} of the block is not finite")
    return responses.detach(), gradient


def _update(
    x: Tensor, direction: Tensor, alpha: float, mean: float, std: float, params: MEIParams
) -> Tensor:
    """One step, steps e-h of microns_vei 9.4; `alpha` in [0, 1) is the progress of the schedule."""
    step = params.start_step + (params.end_step - params.start_step) * alpha
    x = x + step * params.step_gain / MAX_GREY * direction
    if params.norm is not None:
        x = x * (params.norm / std / _pixel_std(x)).clamp(max=1)
    x = x.clamp(-mean / std, (MAX_GREY - mean) / std)
    if params.blur:
        x = gaussian_blur(x, params.start_sigma + (params.end_sigma - params.start_sigma) * alpha)
    return x


def _pixel_std(images: Tensor) -> Tensor:
    """Return the population standard deviation over the pixels of each image, (m, 1, 1)."""
    return images.std((-2, -1), correction=0, keepdim=True)
