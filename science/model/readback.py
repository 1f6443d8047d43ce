"""What is read back from trained models: places, feature weights, responses to any images."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from science.model.network import predict
from science.model.weights import TrainedEnsemble
from science.preprocessing import resize_image

Floats = NDArray[np.float32]


def read_units(model: TrainedEnsemble) -> tuple[Floats, Floats, Floats]:
    """Places and feature weights of all units of a single network.

    Parameters
    ----------
    model : TrainedEnsemble
        Of one member.

    Returns
    -------
    positions : float32, (n_units, 2)
        x and y on the core's map, [-1, 1], while the eye is at its mean position.
    pixels : float32, (n_units, 2)
        Centres of the receptive fields in the image; (0, 0) is the centre of the top left pixel.
    features : float32, (n_units, n_levels, n_channels)
        Weights of the levels and channels of the map. All in the order of `model.columns`.
    """
    (network,) = model.network.networks
    per_recording = {
        key: (network.positions(key), network.receptive_fields(key), network.feature_weights(key))
        for key in network.n_units
    }
    positions, pixels, features = (
        torch.stack([per_recording[key][part][column] for key, column in model.columns]).numpy()
        for part in range(3)
    )
    return positions, pixels, features


def network_inputs(model: TrainedEnsemble, images: NDArray[np.generic]) -> Tensor:
    """Return images (n, h, w) of grey values as what a network takes: resized and z-scored.

    Parameters
    ----------
    model : TrainedEnsemble
    images : (n, h, w)
        Grey values, 0 to 255.

    Returns
    -------
    Tensor
        float32, (n, 1, *model.image_shape).

    Raises
    ------
    ValueError
        If the images have another aspect ratio than those that the model was trained with.
    """
    height, width = model.image_shape
    if abs(images.shape[1] / images.shape[2] - height / width) > 0.02 * height / width:
        raise ValueError(
            f"images of {images.shape[1:]} have another aspect ratio than the model's "
            f"{model.image_shape}: crop them first"
        )
    frames = np.stack([resize_image(image, height, width) for image in images])
    return torch.from_numpy((frames - model.image_mean) / model.image_std).float()[:, None]


def respond_to(model: TrainedEnsemble, images: NDArray[np.generic]) -> Floats:
    """Predict the responses of all units to any images.

    Parameters
    ----------
    model : TrainedEnsemble
    images : (n, h, w)
        Grey levels, 0 to 255; resized to the model's resolution where they differ from it.

    Returns
    -------
    float32, (n, n_units)
        In the units of the recorded responses, columns in the order of `model.columns`; the eye at
        its mean position, the gain 1.

    Raises
    ------
    ValueError
        If the images are no stack of finite images, or of another aspect ratio.
    """
    images = np.asarray(images)
    if images.ndim != 3 or len(images) == 0 or not np.isfinite(images).all():
        raise ValueError(f"images must be (n, h, w) and finite, at least one; got {images.shape}")
    inputs = network_inputs(model, images)
    responses = {
        key: predict(model.network, inputs, key) * torch.tensor(scale)
        for key, scale in model.response_scale.items()
    }
    return torch.stack([responses[key][:, column] for key, column in model.columns], 1).numpy()
