"""The gradient of responses at a grey image: the receptive field to first order."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def gradient_fields(
    respond: Callable[[Tensor], Tensor],
    image_shape: tuple[int, int],
    n_units: int,
    device: str | torch.device = "cpu",
) -> NDArray[np.float32]:
    """Differentiate each unit's response at the grey image (`point_rf` of GradRF, microns_vei 9.9).

    Parameters
    ----------
    respond : callable
        From z-scored images (m, 1, h, w) to responses (m,): the i-th image through the i-th unit.
    image_shape : tuple of int
        Height and width.
    n_units : int
        m, at least 1.
    device : str or torch.device
        Where `respond` computes.

    Returns
    -------
    float32, (m, h, w)
        Response per z-scored grey level; 0 everywhere for a unit that is dead at grey.

    Raises
    ------
    ValueError
        If the responses are not (m,) or do not depend on the images by torch operations, or a
        gradient is not finite.
    """
    grey = torch.zeros(n_units, 1, *image_shape, device=device, requires_grad=True)
    with torch.enable_grad():
        responses = respond(grey)
        if responses.shape != (n_units,) or not responses.requires_grad:
            raise ValueError(
                f"the responder must return a differentiable response for each of {n_units} "
                f"images, got {tuple(responses.shape)}, requires_grad={responses.requires_grad}"
            )
        (gradient,) = torch.autograd.grad(responses.sum(), grey)
    bad = torch.nonzero(~gradient.isfinite().flatten(1).all(1)).flatten().tolist()
    if bad:
        raise ValueError(f"the gradient of units {bad} of the block is not finite")
    return gradient[:, 0].float().cpu().numpy()
