"""The best Gabor of a grid for each unit, at equal mean and contrast (microns_vei 9.8)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from science.contrast import ContrastTarget, match_contrast
from science.gabors import PARAMETERS, GaborRange, canonical, gabor_patches
from science.grey_scale import GreyScale

RespondAll = Callable[[Tensor], Tensor]
"""Maps z-scored images (b, 1, h, w) to the responses (b, n_units) of all units."""

ROUNDING = 1e-6  # relative; a unit whose responses differ less than this does not respond


@dataclass(frozen=True)
class GaborFit:
    """The best Gabor of each of m units.

    Attributes
    ----------
    parameters : float32, (m, 6)
        As of `science.gabors.gabor_patches`.
    activations : float32, (m,)
        Response of each unit to its image.
    images : float32, (m, h, w)
        Grey levels, at the mean and contrast asked for.
    alive : bool, (m,)
        False where all Gabors drove the unit alike, so that none is best.
    """

    parameters: NDArray[np.float32]
    activations: NDArray[np.float32]
    images: NDArray[np.float32]
    alive: NDArray[np.bool_]


def best_gabors(
    respond_all: RespondAll,
    gabor_range: GaborRange,
    image_shape: tuple[int, int],
    mean: float,
    std: float,
    contrast: ContrastTarget,
    batch_size: int = 256,
    device: str | torch.device = "cpu",
    on_batch: Callable[[int], None] | None = None,
) -> GaborFit:
    """Find the Gabor of a grid that drives each unit most, at equal mean and contrast.

    The grid streams through the model; memory is that of one batch and of the result. Gabors that
    cannot have the contrast are left out. Of equals the first of the grid is taken.

    Parameters
    ----------
    respond_all : RespondAll
        Responses of all units to each image.
    gabor_range : GaborRange
        Grid to search.
    image_shape : (h, w)
        Pixels.
    mean, std : float
        Statistics of the training images, grey levels; z = (grey - mean) / std.
    contrast : ContrastTarget
        Mean and standard deviation of every Gabor over the frame, grey levels.
    batch_size : int
        Gabors at a time, >= 1.
    device : str or torch.device
        Where `respond_all` computes.
    on_batch : callable, optional
        Called after each batch with the number of Gabors done, for progress and heartbeats.

    Returns
    -------
    GaborFit

    Raises
    ------
    ValueError
        Batch size or std not positive; responses of the wrong shape or not finite; a contrast that
        no Gabor can have.
    """
    scale = GreyScale(mean, std)
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    best: BestGabors | None = None
    n_done = 0
    for parameters in gabor_range.blocks(image_shape, batch_size, device):
        with torch.no_grad():
            matched = match_contrast(gabor_patches(parameters, image_shape), contrast)
            responses = respond_all(scale.z(matched.images).unsqueeze(1))
        if responses.ndim != 2 or len(responses) != len(parameters):
            raise ValueError(
                f"the responder must return the responses of all units to each image, shape "
                f"({len(parameters)}, n_units), got {tuple(responses.shape)}"
            )
        check_finite(responses.T)
        best = best or BestGabors(responses.shape[1], device)
        comparable = torch.where(matched.reached[:, None], responses, -torch.inf)
        top, place = comparable.max(dim=0)
        best.update(top, parameters[place], responses.amin(dim=0))
        n_done += len(parameters)
        if on_batch is not None:
            on_batch(n_done)
    return best.fit(image_shape, contrast, batch_size)


class BestGabors:
    """The best Gabor so far of each of n units.

    Parameters
    ----------
    n_units : int
        Number of units.
    device : str or torch.device
        Where their responses are.
    """

    def __init__(self, n_units: int, device: str | torch.device) -> None:
        self.activations = torch.full((n_units,), -torch.inf, device=device)
        self.lowest = torch.full((n_units,), torch.inf, device=device)
        self.parameters = torch.zeros(n_units, len(PARAMETERS), device=device)

    def update(self, activations: Tensor, parameters: Tensor, lowest: Tensor) -> None:
        """Take what is better; -inf never is. `lowest` is the weakest response just seen."""
        better = activations > self.activations
        self.activations = torch.where(better, activations, self.activations)
        self.parameters = torch.where(better[:, None], parameters, self.parameters)
        self.lowest = torch.minimum(self.lowest, lowest)

    def fit(
        self, image_shape: tuple[int, int], contrast: ContrastTarget, batch_size: int
    ) -> GaborFit:
        """Draw the best Gabors; ValueError if some unit has none of the contrast."""
        if not torch.isfinite(self.activations).all():
            raise ValueError(
                f"no Gabor can have a standard deviation of {contrast.std} at a mean of "
                f"{contrast.mean} within {contrast.low} to {contrast.high}: ask for less contrast"
            )
        images = [
            match_contrast(gabor_patches(some, image_shape), contrast).images
            for some in self.parameters.split(batch_size)
        ]
        alive = self.activations - self.lowest > ROUNDING * self.activations.abs()
        return GaborFit(
            parameters=canonical(self.parameters).cpu().numpy(),
            activations=self.activations.float().cpu().numpy(),
            images=torch.cat(images).cpu().numpy(),
            alive=alive.cpu().numpy(),
        )


def check_finite(values: Tensor) -> None:
    """Raise ValueError unless the values (n_units, ...) of each unit are finite."""
    bad = (~torch.isfinite(values.reshape(len(values), -1)).all(dim=1)).nonzero().flatten()
    if len(bad):
        raise ValueError(
            f"responses or gradients of units {bad.tolist()} of the block are not finite: "
            "does the model have NaN among its weights?"
        )
