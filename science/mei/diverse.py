"""Diverse exciting inputs: several images per unit that drive it nearly as well as its MEI.

Cadena SA, Weis MA, Gatys LA, Bethge M, Ecker AS (2018). Diverse feature visualizations reveal
invariances in early layers of deep neural networks. ECCV. Ding Z et al. (2023). Bipartite
invariance in mouse primary visual cortex. bioRxiv 2023.03.15.532836.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from science.grey_scale import GreyScale, check_masked
from science.mei.ascent import Responder, climb, mean_correlation, responses_to
from science.mei.constraints import pixel_std
from science.mei.filters import gaussian_blur
from science.mei.recipes import Recipe, noise, shrinking_steps
from science.params import NonNegative, Params, Positive

FLAT = 1e-4  # z-scores; below it contrast is rounding


class DiverseParams(Params):
    """How images are driven apart.

    Attributes
    ----------
    n_images : int
        Per unit.
    keep : float
        Fraction of the masked MEI's activation that every image shall keep, in (0, 1).
    iter_n : int
        Number of steps.
    step : float
        Mean change of a pixel in the first step, z-scores; it falls linearly to zero.
    response_weight : float
        Of a response below what is to be kept, relative to the MEI's; the correlation of two
        images has the weight 1.
    gradient_sigma : float
        Standard deviation of the Gaussian that blurs the gradient, pixels.
    start_noise : float
        Standard deviation of what is added to the MEI at the start, relative to the MEI's.
    """

    n_images: int = Field(6, ge=2, le=64)
    keep: float = Field(0.85, gt=0, lt=1)
    iter_n: int = Field(200, ge=1, le=100_000)
    step: Positive = 0.02
    response_weight: Positive = 30.0
    gradient_sigma: NonNegative = 1.0
    start_noise: Positive = 1.0


@dataclass(frozen=True)
class DiverseResult:
    """Diverse exciting inputs of m units, n images each.

    Attributes
    ----------
    images : float32, (m, n, h, w)
        Grey levels, 0..255; the mean of the MEI outside the mask, the contrast of the masked MEI.
    activations : float32, (m, n)
    kept : bool, (m, n)
        The response is at least `keep` times that to the masked MEI, to within 2 %.
    correlation : float64, (m,)
        Mean correlation of all pairs of images.
    mei_activations : float32, (m,)
        Response to the masked MEI.
    """

    images: NDArray[np.float32]
    activations: NDArray[np.float32]
    kept: NDArray[np.bool_]
    correlation: NDArray[np.float64]
    mei_activations: NDArray[np.float32]


def diversify(
    respond: Responder,
    meis: NDArray[np.float32],
    masks: NDArray[np.float32],
    seeds: Sequence[int],
    mean: float,
    std: float,
    params: DiverseParams,
    device: str | torch.device = "cpu",
    on_step: Callable[[int], None] | None = None,
) -> DiverseResult:
    """Decorrelate images of each unit in the set of those that keep its response.

    All images start at the MEI plus noise. While one drives its unit less than asked it climbs;
    the correlation of the unit's images is lowered all the time. Every image lives within the
    mask and has the masked MEI's contrast, so that nothing is gained by pixels without effect.

    Parameters
    ----------
    respond : Responder
        Responses of the m units, each to its own image; differentiable.
    meis : float32, (m, h, w)
        Grey levels, 0..255.
    masks : float32, (m, h, w)
        0..1.
    seeds : sequence of int, (m,)
        Of the noise.
    mean, std : float
        Statistics of the training images, grey levels.
    params : DiverseParams
    device : str or torch.device
        Where `respond` computes.
    on_step : callable, optional
        Called after each step with the number of steps done.

    Returns
    -------
    DiverseResult

    Raises
    ------
    ValueError
        Images not (m, h, w), not finite or outside 0..255; masks or seeds that do not fit them; a
        masked MEI that is flat.
    """
    check_masked(meis, masks, seeds)
    scale, n = GreyScale(mean, std), params.n_images
    grey, mask = (torch.as_tensor(a, dtype=torch.float32, device=device) for a in (meis, masks))
    centre = scale.z(grey).mean((-2, -1), keepdim=True)
    masked = mask * (scale.z(grey) - centre)
    contrast = pixel_std(masked)
    if not (contrast > FLAT).all():
        flat = (contrast.flatten() <= FLAT).nonzero().flatten().tolist()
        raise ValueError(f"the masked MEIs of units {flat} of the block are flat")
    units = torch.arange(len(grey), device=device)
    reference = responses_to(respond, centre + masked, units)

    mask, centre, contrast = (t.repeat_interleave(n, 0) for t in (mask, centre, contrast))
    wanted = params.keep * reference.repeat_interleave(n)

    def transform(latent: Tensor, step: int) -> Tensor:
        del step
        return centre + mask * latent

    def finish(latent: Tensor, step: int) -> Tensor:
        del step
        return latent * (contrast / pixel_std(mask * latent))

    def slope(responses: Tensor) -> Tensor:
        return (responses < wanted) * params.response_weight * params.keep / wanted

    def penalty(latent: Tensor, step: int) -> Tensor:
        del step
        return n * mean_correlation((mask * latent).unflatten(0, (-1, n)))

    added = gaussian_blur(noise(seeds, (n, *meis.shape[1:])).flatten(0, 1).to(device), 1.0)
    added = params.start_noise * contrast * added / pixel_std(added)
    start = scale.z(grey).repeat_interleave(n, 0) - centre + added
    units = units.repeat_interleave(n)
    update = shrinking_steps(params.step, params.iter_n, params.gradient_sigma)
    parts = Recipe(update, finish, transform, slope, penalty)
    done = climb(respond, finish(start, 0), units, parts, scale, params.iter_n, on_step=on_step)
    final = transform(done.images, 0).clamp(scale.black, scale.white)
    activations = responses_to(respond, final, units)
    images = scale.grey(final).unflatten(0, (-1, n))
    return DiverseResult(
        images=images.cpu().numpy(),
        activations=activations.view(-1, n).cpu().numpy(),
        kept=(activations >= 0.98 * wanted).view(-1, n).cpu().numpy(),
        correlation=mean_correlation(images).cpu().numpy(),
        mei_activations=reference.cpu().numpy(),
    )
