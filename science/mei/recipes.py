"""What the methods of image synthesis put into the one optimiser of `science.mei.ascent`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import singledispatch

import torch
from torch import Tensor

from science.grey_scale import MAX_GREY, GreyScale
from science.mei.constraints import (
    check_contrast,
    fix_contrast,
    limit_contrast,
    pixel_std,
    stretch,
)
from science.mei.filters import fourier_filter, gaussian_blur, power_law_gain, radius_gain
from science.mei.methods import Allen, FixedContrast, InceptionLoop

GRADIENT_FLOOR = 1e-12  # added to mean|g|; a unit that never exceeds it cannot climb


def _unchanged(images: Tensor, step: int) -> Tensor:
    del step
    return images


@dataclass(frozen=True)
class Recipe:
    """The parts of a method; images are z-scored, (k, h, w), steps count from 0.

    Attributes
    ----------
    update : callable
        Gradient of what is climbed, and step, to the change of the images.
    finish : callable
        Images after the change, and step, to images that keep the constraints: clipping, contrast,
        blur.
    transform : callable
        Images, and step, to what the model sees of them; differentiable.
    slope : callable
        Responses (k,) to the slope (k,) of what is climbed over the response: 1 climbs it.
    penalty : callable, optional
        Images, and step, to what is taken off the objective, (k,); differentiable.
    """

    update: Callable[[Tensor, int], Tensor]
    finish: Callable[[Tensor, int], Tensor]
    transform: Callable[[Tensor, int], Tensor] = _unchanged
    slope: Callable[[Tensor], Tensor] = torch.ones_like
    penalty: Callable[[Tensor, int], Tensor] | None = None


def noise(seeds: Sequence[int], shape: tuple[int, ...]) -> Tensor:
    """Draw standard normal noise, (m, *shape), a generator for each seed."""
    return torch.stack(
        [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    )


def normalised(gradient: Tensor) -> Tensor:
    """Scale gradients (k, h, w) to a mean magnitude of 1; one that is zero stays zero."""
    return gradient / (gradient.abs().mean((-2, -1), keepdim=True) + GRADIENT_FLOOR)


def shrinking_steps(
    step: float, iter_n: int, gradient_sigma: float
) -> Callable[[Tensor, int], Tensor]:
    """Return an update of mean magnitude `step` that falls linearly to zero; gradients blurred."""

    def update(gradient: Tensor, i: int) -> Tensor:
        return step * (1 - i / iter_n) * normalised(gaussian_blur(gradient, gradient_sigma))

    return update


def towards(excite: str) -> Callable[[Tensor], Tensor]:
    """Return the slope that climbs responses ("most") or descends them ("least")."""
    sign = 1.0 if excite == "most" else -1.0
    return lambda responses: torch.full_like(responses, sign)


@singledispatch
def recipe(params: object, image_shape: tuple[int, int], scale: GreyScale) -> Recipe:
    """Return the parts of a method.

    Parameters
    ----------
    params : InceptionLoop, FixedContrast or Allen
    image_shape : (h, w)
        Pixels.
    scale : GreyScale
        Of the training images.

    Raises
    ------
    ValueError
        If a contrast is asked for that does not fit into 0..255.
    """
    raise TypeError(f"{type(params).__name__} is no method of image synthesis")


@singledispatch
def start_images(
    params: object, seeds: Sequence[int], image_shape: tuple[int, int], scale: GreyScale
) -> Tensor:
    """Draw the first images of a method, one generator per unit.

    Parameters
    ----------
    params : InceptionLoop, FixedContrast or Allen
    seeds : sequence of int, (m,)
        Seed of each unit; an image depends on its own seed only, not on the rest of the block.
    image_shape : (h, w)
        Pixels.
    scale : GreyScale
        Of the training images.

    Returns
    -------
    float32 tensor, (m, n_starts, h, w), CPU
        z-scores.
    """
    raise TypeError(f"{type(params).__name__} is no method of image synthesis")


@recipe.register
def _(params: InceptionLoop, image_shape: tuple[int, int], scale: GreyScale) -> Recipe:
    gain = power_law_gain(image_shape, params.precond)

    def between(first: float, last: float, step: int) -> float:
        return first + (last - first) * step / params.iter_n

    def transform(images: Tensor, step: int) -> Tensor:
        if params.jitter:
            images = torch.roll(images, _shift(params.jitter, step), (-2, -1))
        if params.train_norm is not None:
            images = limit_contrast(images, params.train_norm / scale.std)
        return images

    def update(gradient: Tensor, step: int) -> Tensor:
        if params.precond > 0:
            gradient = fourier_filter(gradient, gain.to(gradient))
        size = between(params.start_step, params.end_step, step) * params.step_gain / MAX_GREY
        return size * normalised(gradient)

    def finish(images: Tensor, step: int) -> Tensor:
        if params.norm is not None:
            images = limit_contrast(images, params.norm / scale.std)
        images = images.clamp(scale.black, scale.white)
        if params.blur:
            images = gaussian_blur(images, between(params.start_sigma, params.end_sigma, step))
        return images

    return Recipe(update, finish, transform, towards(params.excite))


@start_images.register
def _(
    params: InceptionLoop, seeds: Sequence[int], image_shape: tuple[int, int], scale: GreyScale
) -> Tensor:
    grey = params.noise_mean + params.noise_sd * noise(seeds, (params.n_starts, *image_shape))
    return scale.z(grey.clamp(0, MAX_GREY))


@recipe.register
def _(params: FixedContrast, image_shape: tuple[int, int], scale: GreyScale) -> Recipe:
    check_contrast(params.contrast, params.mean or 0.0, scale)
    return Recipe(
        update=lambda gradient, _: params.step * gaussian_blur(gradient, params.gradient_sigma),
        finish=lambda images, _: fix_contrast(images, params.contrast, params.mean),
        slope=towards(params.excite),
    )


@start_images.register
def _(
    params: FixedContrast, seeds: Sequence[int], image_shape: tuple[int, int], scale: GreyScale
) -> Tensor:
    return noise(seeds, (params.n_starts, *image_shape))


@recipe.register
def _(params: Allen, image_shape: tuple[int, int], scale: GreyScale) -> Recipe:
    gain = radius_gain(image_shape, params.exponent, params.legacy)
    unit = MAX_GREY / scale.std  # z-scores from black to white: what [0, 1] is in the study
    sigmas = _allen_sigmas(params)

    def finish(images: Tensor, step: int) -> Tensor:
        return stretch(gaussian_blur(images, sigmas[step]), scale.black, scale.white)

    def penalty(images: Tensor, step: int) -> Tensor:
        del step
        contrast = pixel_std(images, ddof=1).flatten() / unit
        return params.contrast_weight * (params.contrast - contrast).abs()

    return Recipe(
        # dr/d(z / unit) = unit dr/dz, and a change of z / unit is one of z times unit.
        update=lambda gradient, _: (
            params.step * unit**2 * fourier_filter(gradient, gain.to(gradient))
        ),
        finish=finish,
        slope=towards(params.excite),
        penalty=penalty,
    )


@start_images.register
def _(
    params: Allen, seeds: Sequence[int], image_shape: tuple[int, int], scale: GreyScale
) -> Tensor:
    black = torch.zeros(image_shape)
    starts = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        starts += [
            torch.rand(image_shape, generator=generator) if start == "noise" else black
            for start in params.starts
        ]
    return scale.z(MAX_GREY * torch.stack(starts)).unflatten(0, (-1, params.n_starts))


def _allen_sigmas(params: Allen) -> list[float]:
    """Blur of every step: sigma <- sigma + (0.001 - sigma) i / steps, i from 1."""
    sigmas, sigma = [], params.sigma
    for i in range(1, params.iter_n + 1):
        sigma += (0.001 - sigma) * i / params.iter_n
        sigmas.append(sigma)
    return sigmas


def _shift(jitter: int, step: int) -> tuple[int, int]:
    """Rows and columns by which all images are rolled in a step."""
    generator = torch.Generator().manual_seed(step)
    rows, columns = torch.randint(-jitter, jitter + 1, (2,), generator=generator).tolist()
    return rows, columns
