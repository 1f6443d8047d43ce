"""The best of all Gabors for each unit, by gradient ascent on its parameters (microns_vei 9.8).

It starts from the best Gabor of a grid and from random others, and replaces the annealing and
Nelder-Mead search of the original.
"""

from collections.abc import Callable

import torch
from numpy.typing import ArrayLike
from pydantic import Field
from torch import Tensor

from science.contrast import ContrastTarget, match_contrast
from science.gabor_search import BestGabors, GaborFit, check_finite
from science.gabors import PARAMETERS, GaborLimits, GaborRange, gabor_patches
from science.grey_scale import GreyScale
from science.params import Params, Positive

Respond = Callable[[Tensor], Tensor]
"""Maps z-scored images (m, 1, h, w) to the response (m,) of each image's own unit."""

LIMITED = [PARAMETERS.index(name) for name in ("wavelength", "sigma", "dy", "dx")]


class OptimalGaborParams(Params):
    """Parameters of the continuous search.

    Attributes
    ----------
    steps : int
        Of the ascent, from each start.
    learning_rate : float
        First step of Adam, as a fraction of the range of each parameter; it falls to zero along
        half a cosine.
    n_starts : int
        Random starts besides those given; 0 searches from those given alone.
    seed : int
        Of the random starts. They are the same for all units, so that a unit's result does not
        depend on the block it is in.
    """

    steps: int = Field(50, ge=1)
    learning_rate: Positive = 0.03
    n_starts: int = Field(2, ge=0)
    seed: int = 0


class GaborParams(Params):
    """Which Gabors are searched.

    Attributes
    ----------
    grid : GaborRange
        All of it, first.
    limits : GaborLimits
        Of the continuous search that starts at the grid's best.
    ascent : OptimalGaborParams
        How it climbs.
    """

    grid: GaborRange = GaborRange()
    limits: GaborLimits = GaborLimits()
    ascent: OptimalGaborParams = OptimalGaborParams()


def optimal_gabors(
    respond: Respond,
    starts: ArrayLike | Tensor,
    image_shape: tuple[int, int],
    mean: float,
    std: float,
    contrast: ContrastTarget,
    limits: GaborLimits | None = None,
    params: OptimalGaborParams | None = None,
    device: str | torch.device = "cpu",
    on_step: Callable[[int], None] | None = None,
) -> GaborFit:
    """Search all Gabors within limits for the one that drives each unit most.

    Adam climbs in the parameters, all units at once and one start after another, and is put back
    to the limits where it leaves them. The gradient is that of the response to the image at equal
    mean and contrast, clipping included. The best Gabor on the way is kept, so none drives its
    unit less than the starts given.

    Random starts differ in phase, wavelength, orientation and width. Their place is that of the
    first start given: a Gabor elsewhere seldom drives the unit, and then has no gradient.

    Parameters
    ----------
    respond : Respond
        Responses of the m units, each to its own image; differentiable.
    starts : float, (m, 6) or (m, k, 6)
        One or several Gabors per unit, e.g. `GaborFit.parameters` of the grid.
    image_shape : (h, w)
        Pixels.
    mean, std : float
        Statistics of the training images, grey levels; z = (grey - mean) / std.
    contrast : ContrastTarget
        Mean and standard deviation of every Gabor over the frame, grey levels.
    limits : GaborLimits, optional
        Those published by default.
    params : OptimalGaborParams, optional
        Steps and random starts.
    device : str or torch.device
        Where `respond` computes.
    on_step : callable, optional
        Called after each step with the number of steps done; (k + n_starts) * (steps + 1) in all.

    Returns
    -------
    GaborFit

    Raises
    ------
    ValueError
        No units; starts of the wrong shape or outside the limits; std not positive; responses of
        the wrong shape, not finite or not differentiable; a contrast that no Gabor on the way can
        have.
    """
    scale = GreyScale(mean, std)
    params = params or OptimalGaborParams()
    low, high = _bounds(limits or GaborLimits(), device)
    starts = _random_starts(_given_starts(starts, low, high), params)
    best = BestGabors(len(starts), device)
    n_done = 0
    for start in starts.unbind(dim=1):
        centre = (low + (high - low) * start)[:, 4:]
        point = start.clone().requires_grad_()
        adam = torch.optim.Adam([point], lr=params.learning_rate, maximize=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, params.steps)
        for step in range(params.steps + 1):
            with torch.enable_grad():
                gabors = _gabors_at(low + (high - low) * point, centre, image_shape)
                matched = match_contrast(gabor_patches(gabors, image_shape), contrast)
                responses = respond(scale.z(matched.images).unsqueeze(1))
                _check_own(responses, len(gabors))
            found = responses.detach()
            best.update(torch.where(matched.reached, found, -torch.inf), gabors.detach(), found)
            if step < params.steps:
                (point.grad,) = torch.autograd.grad(responses.sum(), point)
                check_finite(point.grad)
                adam.step()
                schedule.step()
                with torch.no_grad():
                    point[:, LIMITED] = point[:, LIMITED].clamp(0, 1)
            n_done += 1
            if on_step is not None:
                on_step(n_done)
    return best.fit(image_shape, contrast, batch_size=len(starts))


def _bounds(limits: GaborLimits, device: str | torch.device) -> tuple[Tensor, Tensor]:
    """Return the ends of the range of each parameter; for the periodic ones a period."""
    ends = [
        (0, 360),
        limits.wavelength,
        (0, 180),
        limits.sigma,
        *2 * [(-limits.shift, limits.shift)],
    ]
    low, high = torch.tensor(ends, dtype=torch.float32, device=device).unbind(dim=1)
    return low, high


def _given_starts(starts: ArrayLike | Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Coordinates (m, k, 6) of the starts, 0 to 1 within the limits."""
    starts = torch.as_tensor(starts, dtype=torch.float32, device=low.device)
    if starts.ndim == 2:
        starts = starts.unsqueeze(1)
    if starts.ndim != 3 or starts.shape[-1] != len(PARAMETERS) or not starts.numel():
        raise ValueError(
            f"starts must be (m, 6) or (m, k, 6) with at least one unit and one start, "
            f"got {tuple(starts.shape)}"
        )
    coordinates = (starts - low) / (high - low)
    limited = coordinates[..., LIMITED]
    bad = ~((limited >= -1e-5) & (limited <= 1 + 1e-5)).flatten(1).all(dim=1)
    bad |= ~torch.isfinite(coordinates).flatten(1).all(dim=1)
    if bad.any():
        raise ValueError(
            f"the starts of units {bad.nonzero().flatten().tolist()} are outside the limits; "
            "widen GaborLimits or search a narrower GaborRange"
        )
    coordinates[..., LIMITED] = limited.clamp(0, 1)
    return coordinates


def _random_starts(given: Tensor, params: OptimalGaborParams) -> Tensor:
    """Append `n_starts` random starts (m, k + n_starts, 6), at the place of the first given."""
    generator = torch.Generator().manual_seed(params.seed)
    drawn = torch.rand(params.n_starts, 4, generator=generator).to(given.device)
    place = given[:, :1, 4:].expand(-1, params.n_starts, -1)
    drawn = torch.cat([drawn.expand(len(given), -1, -1), place], dim=2)
    return torch.cat([given, drawn], dim=1)


def _gabors_at(values: Tensor, centre: Tensor, image_shape: tuple[int, int]) -> Tensor:
    """Parameters (m, 6) of Gabors whose phase in `values` is that at `centre`, dy and dx (m, 2).

    So the window moves over a carrier that stays. Were they to move together, phase and place
    would pull at each other, and the ascent would take several times the steps.
    """
    phase, wavelength, orientation, _, dy, dx = values.unbind(dim=1)
    height, width = image_shape
    angle = torch.deg2rad(orientation)
    down, right = (dy - centre[:, 0]) * height, (dx - centre[:, 1]) * width
    moved = 360 / wavelength * (angle.cos() * down + angle.sin() * right)
    return torch.cat([(phase + moved)[:, None], values[:, 1:]], dim=1)


def _check_own(responses: Tensor, m: int) -> None:
    if responses.shape != (m,):
        raise ValueError(
            f"the responder must return one response per image, shape ({m},), "
            f"got {tuple(responses.shape)}"
        )
    if not responses.requires_grad:
        raise ValueError("the responder is not differentiable in its images")
    check_finite(responses)
