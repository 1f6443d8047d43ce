"""Gradient ascent on images, for the units of a block at once.

Every image of the batch has its own unit, so the gradient of the summed responses is block diagonal
and a single backward pass serves the whole block (microns_vei 9.4; Walker et al. 2019).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from science.grey_scale import GreyScale
from science.mei.constraints import pixel_std
from science.mei.methods import Allen, FixedContrast, InceptionLoop
from science.mei.recipes import GRADIENT_FLOOR, Recipe, recipe, start_images

Responder = Callable[[Tensor, Tensor], Tensor]
"""Maps z-scored images (k, 1, h, w) and the positions (k,) of their units in the block, int64, to
the response (k,) of each image's own unit.

The i-th response may depend on the i-th image only: networks must be in evaluation mode.
"""

CURVE_POINTS = 100


@dataclass(frozen=True)
class Climb:
    """The way of k images.

    Attributes
    ----------
    images : Tensor
        float32, (k, h, w), z-scores, before the transform.
    curve, contrast_curve : Tensor
        float32, (k, n_points), response and pixel standard deviation (grey levels) before the
        update of step `curve_steps`; NaN after an image's last step.
    curve_steps : int64, (n_points,)
        At most 100 evenly spaced steps, the first is 0.
    n_steps : Tensor
        int64, (k,), updates made.
    alive : Tensor
        bool, (k,): False where the gradient was zero (mean magnitude <= 1e-12) throughout.
    finite : Tensor
        bool, (k,): False where response or gradient were not finite.
    """

    images: Tensor
    curve: Tensor
    contrast_curve: Tensor
    curve_steps: NDArray[np.int64]
    n_steps: Tensor
    alive: Tensor
    finite: Tensor


def climb(
    respond: Responder,
    start: Tensor,
    units: Tensor,
    parts: Recipe,
    scale: GreyScale,
    iter_n: int,
    patience: int | None = None,
    tolerance: float = 0.0,
    on_step: Callable[[int], None] | None = None,
) -> Climb:
    """Improve images step by step.

    Parameters
    ----------
    respond : Responder
        Differentiable in the images.
    start : Tensor
        float32, (k, h, w), z-scores, on the device of `respond`.
    units : Tensor
        int64, (k,), position in the block of each image's unit.
    parts : Recipe
        What a step is.
    scale : GreyScale
        Of the training images.
    iter_n : int
        Largest number of steps.
    patience, tolerance
        An image leaves the batch when for `patience` steps what is climbed has not risen above
        the best so far by more than `tolerance` times its magnitude; None: never.
    on_step : callable, optional
        Called after each step with the number of steps done, for progress and heartbeats.

    Returns
    -------
    Climb

    Raises
    ------
    ValueError
        If responses have the wrong shape or are not differentiable.
    """
    k, device = len(start), start.device
    curve_steps = np.arange(0, iter_n, math.ceil(iter_n / CURVE_POINTS))
    curve, contrast_curve = (
        torch.full((k, len(curve_steps)), math.nan, device=device) for _ in range(2)
    )
    final, n_steps = start.clone(), torch.zeros(k, dtype=torch.int64, device=device)
    alive, finite = (torch.full((k,), value, device=device) for value in (False, True))
    best = torch.full((k,), -math.inf, device=device)
    best_step = torch.zeros(k, dtype=torch.int64, device=device)

    x, active = start, torch.arange(k, device=device)
    for step in range(iter_n):
        responses, gradient = _responses_and_gradient(respond, parts, x, units[active], step)
        sound = torch.isfinite(responses) & torch.isfinite(gradient).all(-1).all(-1)
        finite[active] &= sound
        gradient = torch.where(sound[:, None, None], gradient, 0.0)
        alive[active] |= gradient.abs().mean((-2, -1)) > GRADIENT_FLOOR
        point, between = divmod(step, math.ceil(iter_n / CURVE_POINTS))
        if not between:
            curve[active, point] = responses
            contrast_curve[active, point] = pixel_std(x).flatten() * scale.std
        slope = parts.slope(responses)
        if patience is not None:
            height = slope.sign() * responses
            higher = height > best[active] + tolerance * best[active].abs().nan_to_num(posinf=0)
            best[active] = torch.where(higher, height, best[active])
            best_step[active] = torch.where(higher, step, best_step[active])
            going = step - best_step[active] < patience
            if not going.all():
                final[active[~going]], n_steps[active[~going]] = x[~going], step
                x, active = x[going], active[going]
                gradient, slope = gradient[going], slope[going]
            if not len(active):
                break
        uphill = slope[:, None, None] * gradient
        if parts.penalty is not None:
            uphill = uphill - _gradient(parts.penalty, x, step)
        x = parts.finish(x + parts.update(uphill, step), step)
        if on_step is not None:
            on_step(step + 1)
    final[active], n_steps[active] = x, iter_n
    return Climb(final, curve, contrast_curve, curve_steps, n_steps, alive, finite)


@dataclass(frozen=True)
class MEIResult:
    """MEIs of a block of m units, from n starts each.

    Attributes
    ----------
    images : float32, (m, h, w)
        Grey levels, 0..255: of each unit the start's image with the highest (or, of least exciting
        inputs, lowest) activation.
    activations : float32, (m,)
        Response of each unit to its own image.
    curve, contrast_curve : float32, (m, k)
        Responses and pixel standard deviations (grey levels) on the way, before the update of step
        `curve_steps`; NaN after the last step.
    curve_steps : int64, (k,)
        At most 100 evenly spaced steps, the first is 0.
    status : str array, (m,)
        "ok". "dead": the gradient was zero (mean magnitude <= 1e-12) throughout, the unit was
        never driven and its image is only (blurred) start noise. "nonfinite": the response or its
        gradient is not finite.
    stopping : str array, (m,)
        "steps": all steps were made; "converged": the response ceased to improve.
    n_steps : int64, (m,)
        Steps made.
    start_images : float32, (m, n, h, w)
        Grey levels, of every start.
    start_activations : float32, (m, n)
    agreement : float64, (m,)
        Mean correlation of the images of all pairs of starts; NaN for a single start or a flat
        image.
    """

    images: NDArray[np.float32]
    activations: NDArray[np.float32]
    curve: NDArray[np.float32]
    contrast_curve: NDArray[np.float32]
    curve_steps: NDArray[np.int64]
    status: NDArray[np.str_]
    stopping: NDArray[np.str_]
    n_steps: NDArray[np.int64]
    start_images: NDArray[np.float32]
    start_activations: NDArray[np.float32]
    agreement: NDArray[np.float64]


def ascend(
    respond: Responder,
    seeds: Sequence[int],
    image_shape: tuple[int, int],
    mean: float,
    std: float,
    params: InceptionLoop | FixedContrast | Allen,
    device: str | torch.device = "cpu",
    on_step: Callable[[int], None] | None = None,
) -> MEIResult:
    """Synthesise the MEIs of a block of units.

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
    params : InceptionLoop, FixedContrast or Allen
        The method.
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
        Empty block, std not positive, a contrast that does not fit into 0..255, responses of the
        wrong shape or not differentiable.

    Examples
    --------
    The MEI of a linear unit is its filter.

    >>> from science.gabors import gabor_patches
    >>> from science.mei import FixedContrast
    >>> from science.metrics import correlation
    >>> filters = gabor_patches(torch.tensor([[90.0, 8, 45, 3, 0, 0]]), (16, 16))
    >>> def respond(images, units):
    ...     return (filters[units] * images[:, 0]).sum((1, 2))
    >>> mei = ascend(respond, [1], (16, 16), 120.0, 50.0, FixedContrast(iter_n=50)).images
    >>> mei.shape
    (1, 16, 16)
    >>> bool(correlation(mei.ravel(), filters.numpy().ravel()) > 0.9)
    True
    """
    scale = GreyScale(mean, std)
    if not len(seeds):
        raise ValueError("no units to synthesise for: seeds is empty")
    starts = start_images(params, seeds, image_shape, scale).to(device)
    units = torch.arange(len(seeds), device=device).repeat_interleave(params.n_starts)
    done = climb(
        respond,
        starts.flatten(0, 1),
        units,
        recipe(params, image_shape, scale),
        scale,
        params.iter_n,
        params.patience,
        params.tolerance,
        on_step,
    )
    images = done.images.clamp(scale.black, scale.white)
    return _chosen(done, images, responses_to(respond, images, units), params, scale)


def _chosen(
    done: Climb,
    images: Tensor,
    activations: Tensor,
    params: InceptionLoop | FixedContrast | Allen,
    scale: GreyScale,
) -> MEIResult:
    """Of each unit's starts, take the one that went furthest."""
    n = params.n_starts
    activations, finite = activations.view(-1, n), done.finite & torch.isfinite(activations)
    good = (finite & done.alive).view(-1, n)
    height = activations if params.excite == "most" else -activations
    best = torch.where(good, height, -math.inf).argmax(1)
    chosen = torch.arange(len(best), device=best.device) * n + best
    grey = scale.grey(images)
    alive, finite = done.alive[chosen].cpu(), finite[chosen].cpu()
    status = np.where(finite, np.where(alive, "ok", "dead"), "nonfinite")
    n_steps = done.n_steps[chosen].cpu().numpy()
    return MEIResult(
        images=grey[chosen].cpu().numpy(),
        activations=activations.flatten()[chosen].cpu().numpy(),
        curve=done.curve[chosen].cpu().numpy(),
        contrast_curve=done.contrast_curve[chosen].cpu().numpy(),
        curve_steps=done.curve_steps,
        status=status,
        stopping=np.where(n_steps == params.iter_n, "steps", "converged"),
        n_steps=n_steps,
        start_images=grey.unflatten(0, (-1, n)).cpu().numpy(),
        start_activations=activations.cpu().numpy(),
        agreement=mean_correlation(grey.unflatten(0, (-1, n))).cpu().numpy(),
    )


def mean_correlation(images: Tensor) -> Tensor:
    """Mean correlation of the pairs of n images of each unit, (m, n, h, w) to float64 (m,)."""
    n = images.shape[1]
    deviation = images.double().flatten(2)
    deviation = deviation - deviation.mean(-1, keepdim=True)
    unit = deviation / deviation.norm(dim=-1, keepdim=True)  # NaN for a flat image
    return (unit.sum(1).square().sum(-1) - n) / (n * (n - 1)) if n > 1 else unit[:, 0, 0] * math.nan


def responses_to(respond: Responder, x: Tensor, units: Tensor) -> Tensor:
    """Responses (k,) to z-scored images x (k, h, w), without a graph."""
    with torch.no_grad():
        return _checked(respond(x.unsqueeze(1), units), len(x))


def _responses_and_gradient(
    respond: Responder, parts: Recipe, x: Tensor, units: Tensor, step: int
) -> tuple[Tensor, Tensor]:
    """Own-unit responses (k,) and their gradients (k, h, w) with respect to the images."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        responses = _checked(respond(parts.transform(leaf, step).unsqueeze(1), units), len(x))
        if not responses.requires_grad:
            raise ValueError("the responder is not differentiable in its images")
        (gradient,) = torch.autograd.grad(responses.sum(), leaf)
    return responses.detach(), gradient


def _gradient(function: Callable[[Tensor, int], Tensor], x: Tensor, step: int) -> Tensor:
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        return torch.autograd.grad(function(leaf, step).sum(), leaf)[0]


def _checked(responses: Tensor, k: int) -> Tensor:
    if responses.shape != (k,):
        raise ValueError(
            f"the responder must return one response per image, shape ({k},), "
            f"got {tuple(responses.shape)}"
        )
    return responses
