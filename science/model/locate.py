"""Rough places of receptive fields, for readouts to start from."""

import torch
import torch.nn.functional as F
from torch import Tensor

from science.model.cores.gabor import GaborCore, GaborCoreConfig

_BATCH = 100


def locate(images: Tensor, responses: Tensor) -> Tensor:
    """Find where in the image each unit's best simple or complex cell lies.

    A readout learns its place by gradient, and stays in a wrong one when its receptive field is
    small in a large image: nothing it sees there has to do with its responses. This looks
    everywhere, with cells of a fixed bank, for the one whose response correlates best.

    Parameters
    ----------
    images : Tensor
        float32, (n, 1, h, w), z-scored.
    responses : Tensor
        float32, (n, n_units).

    Returns
    -------
    Tensor
        float32, (n_units, 2), x and y in pixels; (0, 0) is the centre of the top left pixel.
    """
    height, width = images.shape[-2:]
    scale = min(height, width)
    bank = GaborCoreConfig(
        wavelengths=(scale / 9, scale / 6, scale / 4), input_kern=max(3, int(0.2 * scale) * 2 + 1)
    )
    core = GaborCore(bank, (height, width)).to(images.device).eval()
    targets = responses - responses.mean(0)
    products = squares = total = 0.0
    with torch.no_grad():
        for batch, target in zip(images.split(_BATCH), targets.split(_BATCH), strict=True):
            cells = core(batch).flatten(1)
            products = products + target.T @ cells
            squares, total = squares + cells.square().sum(0), total + cells.sum(0)
    variance = squares - total.square() / len(images)
    # Units' own standard deviations do not matter for which cell is best.
    match = (products / variance.clamp(min=1e-6).sqrt()).unflatten(1, core.output_shape)
    match = F.avg_pool2d(match, 3, stride=1, padding=1, count_include_pad=False).amax(1)
    best = match.flatten(1).argmax(1)
    width = core.geometry.width
    return core.geometry.first + torch.stack([best % width, best // width], dim=1)
