"""The natural image that drives a unit most, in the frame and in the mask of its MEI."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from science.contrast import ContrastTarget, match_contrast
from science.grey_scale import GreyScale

IMAGES_AT_ONCE = 256


@dataclass(frozen=True)
class NaturalImages:
    """The best natural image of each of m units; NaN where none can have the contrast.

    Attributes
    ----------
    index, masked_index : int64, (m,)
        Which image is best in the whole frame, and in the mask.
    images, masked_images : float32, (m, h, w)
        Those images, grey levels, at the mean and contrast asked for.
    activations, masked_activations : float32, (m,)
    """

    index: NDArray[np.int64]
    images: NDArray[np.float32]
    activations: NDArray[np.float32]
    masked_index: NDArray[np.int64]
    masked_images: NDArray[np.float32]
    masked_activations: NDArray[np.float32]


def best_natural_images(
    respond: Callable[[Tensor], Tensor],
    respond_all: Callable[[Tensor], Tensor],
    images: NDArray[np.floating],
    masks: NDArray[np.floating],
    mean: float,
    std: float,
    contrast: ContrastTarget,
    n_candidates: int = 100,
    device: str | torch.device = "cpu",
) -> NaturalImages:
    """Show all images to all units, and the best of them in each unit's mask (microns_vei 9.7).

    Every image is brought to the same mean and contrast of the frame, with the mask once more.
    The original tries all images in the mask; here only those that drive the unit most without.

    Parameters
    ----------
    respond : callable
        From z-scored images (m, 1, h, w) to responses (m,), the i-th image to the i-th unit.
    respond_all : callable
        From z-scored images (b, 1, h, w) to responses (b, m) of all units.
    images : float, (n, h, w)
        Grey levels.
    masks : float, (m, h, w)
        0..1.
    mean, std : float
        Statistics of the training images, grey levels.
    contrast : ContrastTarget
        Of every image.
    n_candidates : int
        Images tried in the mask, >= 1.
    device : str or torch.device
        Where the responders compute.

    Returns
    -------
    NaturalImages

    Raises
    ------
    ValueError
        If there are no images, or images or masks are not finite or do not fit.
    """
    if len(images) == 0:
        raise ValueError("there is no natural image to choose from")
    scale = GreyScale(mean, std)
    mask = torch.as_tensor(np.asarray(masks), dtype=torch.float32, device=device)

    def shown(index: NDArray[np.int64]) -> Tensor:
        return torch.as_tensor(np.asarray(images[index], np.float32), device=device)

    everything = np.arange(len(images))
    responses = torch.cat(
        [
            _matched_responses(respond_all, shown(some), contrast, scale)
            for some in np.split(everything, everything[IMAGES_AT_ONCE::IMAGES_AT_ONCE])
        ]
    )
    ranked = responses.argsort(dim=0, descending=True, stable=True)[:n_candidates].cpu().numpy()
    masked = torch.stack(
        [_matched_responses(respond, shown(some), contrast, scale, mask) for some in ranked]
    )
    place = masked.argmax(0).cpu().numpy()
    best, best_masked = ranked[0], ranked[place, np.arange(len(mask))]
    return NaturalImages(
        index=best,
        images=match_contrast(shown(best), contrast).images.cpu().numpy(),
        activations=_finite(responses.amax(0)),
        masked_index=best_masked,
        masked_images=match_contrast(shown(best_masked), contrast, mask).images.cpu().numpy(),
        masked_activations=_finite(masked.amax(0)),
    )


def _matched_responses(
    respond: Callable[[Tensor], Tensor],
    images: Tensor,
    contrast: ContrastTarget,
    scale: GreyScale,
    masks: Tensor | None = None,
) -> Tensor:
    """Responses to images at equal contrast; -inf to those that cannot have it."""
    with torch.no_grad():
        matched = match_contrast(images, contrast, masks)
        responses = respond(scale.z(matched.images).unsqueeze(1))
    reached = matched.reached.view(-1, *[1] * (responses.ndim - 1))
    return torch.where(reached, responses, -torch.inf)


def _finite(activations: Tensor) -> NDArray[np.float32]:
    values = activations.float().cpu().numpy()
    return np.where(np.isfinite(values), values, np.nan).astype(np.float32)
