"""Activations of an image network as features that may explain recorded units."""

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from science.model.cores.energy import EnergyCoreConfig
from science.model.cores.stacked import StackedCoreConfig
from science.model.network import ImageNetwork
from science.model.registry import CoreConfig
from science.params import Params


class ImageFeatureParams(Params):
    """Which activations of an image network, and of which images.

    Attributes
    ----------
    layer : str
        'core': all that the core puts out. 'core.0', 'core.1' ...: what one of its trained layers
        does.
    grid : int
        Activations are averaged over grid x grid parts of the map, which overlap by one element
        where the map cannot be divided evenly.
    tier : {'all', 'train', 'validation', 'test'}
        Images of the explained set that are fitted.
    """

    layer: str = Field("core", pattern=r"^core(\.\d{1,2})?$")
    grid: int = Field(6, ge=1, le=64)
    tier: Literal["all", "train", "validation", "test"] = "test"


def layer_channels(core: CoreConfig, layer: str) -> slice:
    """Return which channels of a core's output are those of a layer.

    Raises
    ------
    ValueError
        If the core has no such layer: one whose layers are not trained has 'core' only.
    """
    if layer == "core":
        return slice(None)
    n_layers = 0
    if isinstance(core, StackedCoreConfig):
        n_layers = core.layers
    elif isinstance(core, EnergyCoreConfig):
        n_layers = len(core.hidden_kern)
    index = int(layer.removeprefix("core."))
    if index >= n_layers:
        layers = ["core", *(f"core.{i}" for i in range(n_layers))]
        raise ValueError(f"a {core.type!r} core has no layer {layer!r}: use one of {layers}")
    return slice(index * core.hidden_channels, (index + 1) * core.hidden_channels)


@torch.no_grad()
def image_features(
    network: ImageNetwork, images: Tensor, params: ImageFeatureParams, batch_size: int = 256
) -> NDArray[np.float32]:
    """Activations of a layer to images, averaged over parts of its map.

    Parameters
    ----------
    network : ImageNetwork
        In evaluation mode.
    images : Tensor
        float32, (n, 1, h, w), z-scored.
    params : ImageFeatureParams
    batch_size : int
        Images at a time: bounds the memory.

    Returns
    -------
    float32, (n, n_channels * grid * grid)
        Part by part of a channel, row by row.

    Raises
    ------
    ValueError
        If there is no such layer, or the map has fewer elements than the grid.
    """
    channels = layer_channels(network.config.core, params.layer)
    size = network.core.output_shape[1:]
    if params.grid > min(size):
        raise ValueError(
            f"a map of {size[0]} x {size[1]} has no {params.grid} x {params.grid} parts: use "
            f"a grid of at most {min(size)}"
        )
    pooled = [
        F.adaptive_avg_pool2d(network.maps(batch)[:, channels], params.grid).flatten(1)
        for batch in images.split(batch_size)
    ]
    return torch.cat(pooled).numpy()
