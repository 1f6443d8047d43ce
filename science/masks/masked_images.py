"""What units respond to their MEIs under masks."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from science.grey_scale import GreyScale, check_images
from science.mei.ascent import Responder, responses_to


class MaskedImages:
    """The MEIs of a block of m units, and what drives their units when they are masked.

    Outside its mask an image fades to its own mean: mask * image + (1 - mask) * mean(image)
    (microns_vei 9.5).

    Parameters
    ----------
    respond : Responder
        Responses of chosen units of the block, each to its own image.
    images : float32, (m, h, w)
        MEIs, grey levels 0..255.
    mean, std : float
        Statistics of the training images, grey levels; z = (grey - mean) / std.
    device : str or torch.device
        Where `respond` computes.

    Attributes
    ----------
    grey : Tensor, float32, (m, h, w)
        The images on the device.

    Raises
    ------
    ValueError
        Images not (m, h, w), not finite or outside 0..255; mean not finite, std not positive.
    """

    def __init__(
        self,
        respond: Responder,
        images: NDArray[np.float32],
        mean: float,
        std: float,
        device: str | torch.device = "cpu",
    ) -> None:
        check_images(images)
        self.grey = torch.as_tensor(images, dtype=torch.float32, device=device)
        self._level = self.grey.mean((-2, -1), keepdim=True)
        self._respond, self._scale = respond, GreyScale(mean, std)

    def responses(
        self, masks: Tensor, units: NDArray[np.int64] | None = None
    ) -> NDArray[np.float64]:
        """Responses (k,) of `units` (k,), or all, to their images under `masks` (k, h, w).

        Raises
        ------
        ValueError
            Not one response per image, or a response that is not finite; names the units.
        """
        units = np.arange(len(self.grey)) if units is None else units
        index = torch.as_tensor(units, device=self.grey.device)
        masked = torch.lerp(self._level[index], self.grey[index], masks)
        responses = responses_to(self._respond, self._scale.z(masked), index)
        responses = responses.double().cpu().numpy()
        bad = units[~np.isfinite(responses)]
        if bad.size:
            raise ValueError(f"the response of units {bad.tolist()} of the block is not finite")
        return responses
