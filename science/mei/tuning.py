"""How the response to an image depends on its contrast (microns_vei 9.4 step 5)."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from science.grey_scale import MAX_GREY, GreyScale, check_images
from science.mei.ascent import Responder, responses_to
from science.mei.constraints import pixel_std


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
    scale = GreyScale(mean, std)
    check_images(images)
    if n_gains < 2:
        raise ValueError(f"a tuning curve needs at least 2 gains, got {n_gains=}")
    grey = torch.as_tensor(images, dtype=torch.float32, device=device)
    img_mean = grey.mean((-2, -1), keepdim=True)
    extent = grey.amax((-2, -1), keepdim=True) - grey.amin((-2, -1), keepdim=True)
    delta = torch.where(extent > 0, grey - img_mean, 0.0)  # a flat image, without rounding
    lowest, highest = _gain_range(img_mean, delta)
    units = torch.arange(len(grey), device=grey.device)
    activations, contrasts = [], []
    for fraction in torch.linspace(0, 1, n_gains).tolist():
        scaled = img_mean + torch.lerp(lowest, highest, fraction) * delta
        scaled = scaled.clamp(0, MAX_GREY)
        contrasts.append(pixel_std(scaled).flatten())
        activations.append(responses_to(respond, scale.z(scaled), units))
    curve, contrast = torch.stack(activations), torch.stack(contrasts)
    rounding = 1e-5 * curve.abs().amax(0)
    best = curve.argmax(0, keepdim=True)
    return ContrastTuning(
        monotonic=(curve >= curve.cummax(0).values - rounding).all(0).cpu().numpy(),
        max_activation=curve.gather(0, best)[0].cpu().numpy(),
        max_contrast=contrast.gather(0, best)[0].cpu().numpy(),
        sat_contrast=contrast.amax(0).cpu().numpy(),
        lim_contrast=(MAX_GREY / extent * pixel_std(delta)).flatten().cpu().numpy(),
        img_mean=img_mean.flatten().cpu().numpy(),
    )


def _gain_range(img_mean: Tensor, delta: Tensor) -> tuple[Tensor, Tensor]:
    """Gains (m, 1, 1) of `delta` from 0.01 grey levels of std to the first pixel at a bound."""
    flat = (delta == 0).all(-1).all(-1)[:, None, None]  # any gain will do
    lowest = torch.where(flat, 1.0, 0.01 / pixel_std(delta))
    headroom = (MAX_GREY - img_mean) / delta.amax((-2, -1), keepdim=True)
    footroom = -img_mean / delta.amin((-2, -1), keepdim=True)
    return lowest, torch.where(flat, 1.0, torch.minimum(headroom, footroom))
