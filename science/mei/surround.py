"""Surrounds: what around the masked MEI excites or suppresses a unit most.

Fu J et al. (2023). Pattern completion and disruption characterize contextual modulation in the
visual cortex. bioRxiv 2023.03.13.532473.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from science.grey_scale import GreyScale, check_masked
from science.mei.ascent import Responder, climb, responses_to
from science.mei.constraints import pixel_std
from science.mei.recipes import Recipe, noise, shrinking_steps, towards
from science.params import NonNegative, Params, Positive


class SurroundParams(Params):
    """How surrounds are synthesised.

    Attributes
    ----------
    excite : {"most", "least"}
        Surround that raises the response to the centre most, or lowers it most.
    contrast : float
        Pixel standard deviation of what is outside the mask, over the frame, z-scores; it falls
        short where pixels would leave 0..255.
    iter_n : int
        Number of steps.
    step : float
        Mean change of a pixel in the first step, z-scores; it falls linearly to zero.
    gradient_sigma : float
        Standard deviation of the Gaussian that blurs the gradient, pixels.
    """

    excite: Literal["most", "least"] = "least"
    contrast: Positive = 0.25
    iter_n: int = Field(200, ge=1, le=100_000)
    step: Positive = 0.05
    gradient_sigma: NonNegative = 1.0


@dataclass(frozen=True)
class SurroundResult:
    """Surrounds of m units.

    Attributes
    ----------
    images : float32, (m, h, w)
        Masked MEI and surround, grey levels, 0..255.
    activations, centre_activations : float32, (m,)
        Response to that image, and to the masked MEI on grey.
    alive : bool, (m,)
        False where nothing outside the mask changes the response: the surround is start noise.
    """

    images: NDArray[np.float32]
    activations: NDArray[np.float32]
    centre_activations: NDArray[np.float32]
    alive: NDArray[np.bool_]


def surrounds(
    respond: Responder,
    meis: NDArray[np.float32],
    masks: NDArray[np.float32],
    seeds: Sequence[int],
    mean: float,
    std: float,
    params: SurroundParams,
    device: str | torch.device = "cpu",
    on_step: Callable[[int], None] | None = None,
) -> SurroundResult:
    """Optimise what lies outside the mask while the masked MEI stays as it is.

    Parameters
    ----------
    respond, meis, masks, seeds, mean, std, params, device, on_step
        As of `diversify`, with `SurroundParams`.

    Returns
    -------
    SurroundResult

    Raises
    ------
    ValueError
        Images not (m, h, w), not finite or outside 0..255; masks or seeds that do not fit them; a
        mask that leaves no surround.
    """
    check_masked(meis, masks, seeds)
    scale = GreyScale(mean, std)
    grey, mask = (torch.as_tensor(a, dtype=torch.float32, device=device) for a in (meis, masks))
    outside = 1 - mask
    if not (outside.amax((-2, -1)) > 0).all():
        raise ValueError("a mask covers the whole frame: there is no surround")
    level = scale.z(grey).mean((-2, -1), keepdim=True)
    centre = level + mask * (scale.z(grey) - level)
    units = torch.arange(len(grey), device=device)

    def transform(latent: Tensor, step: int) -> Tensor:
        del step
        return centre + outside * latent

    def finish(latent: Tensor, step: int) -> Tensor:
        del step
        inside = (outside * latent).sum((-2, -1), keepdim=True)
        latent = latent - inside / outside.sum((-2, -1), keepdim=True)
        latent = latent * (params.contrast / pixel_std(outside * latent))
        return latent.clamp(scale.black - level, scale.white - level)

    update = shrinking_steps(params.step, params.iter_n, params.gradient_sigma)
    parts = Recipe(update, finish, transform, towards(params.excite))
    start = finish(noise(seeds, meis.shape[1:]).to(device), 0)
    done = climb(respond, start, units, parts, scale, params.iter_n, on_step=on_step)
    final = transform(done.images, 0).clamp(scale.black, scale.white)
    return SurroundResult(
        images=scale.grey(final).cpu().numpy(),
        activations=responses_to(respond, final, units).cpu().numpy(),
        centre_activations=responses_to(respond, centre, units).cpu().numpy(),
        alive=done.alive.cpu().numpy(),
    )
