"""Trained networks as bytes: safetensors with all that inference needs, never pickle."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors.torch
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from torch import Tensor

from science.model.config import ImageModelConfig
from science.model.ensemble import Ensemble
from science.model.network import ImageNetwork

FORMAT = "inceptionloop-image-network-1"


def pack(network: ImageNetwork, statistics: Mapping[str, Any]) -> bytes:
    """Serialise a network with the statistics of its inputs and outputs.

    Parameters
    ----------
    network : ImageNetwork
        Any device; tensors are stored exactly.
    statistics : mapping
        JSON values or numpy arrays (stored as lists): image mean and standard deviation in grey
        levels, response scales of every recording, ...

    Returns
    -------
    bytes
        safetensors, the same bytes for the same network and statistics.

    Raises
    ------
    ValueError
        If `statistics` is not finite or no JSON.
    """
    tensors = {name: value.detach().cpu() for name, value in network.state_dict().items()}
    tensors = {name: value.contiguous().clone() for name, value in tensors.items()}
    header = {
        "format": FORMAT,
        "config": network.config.model_dump(mode="json"),
        "image_shape": network.image_shape,
        "n_units": list(network.n_units.items()),
        "statistics": dict(statistics),
    }
    try:
        text = json.dumps(header, sort_keys=True, allow_nan=False, default=_as_list)
    except (TypeError, ValueError) as error:
        raise ValueError(f"statistics must be finite JSON values or arrays: {error}") from error
    metadata = json.dumps({"header": text, "sha256": _digest(text, tensors)})
    # One metadata entry: the order of several would not be fixed.
    return safetensors.torch.save(tensors, metadata={"network": metadata})


def unpack(data: bytes) -> tuple[ImageNetwork, dict[str, Any]]:
    """Rebuild a network from the bytes of `pack`.

    Parameters
    ----------
    data : bytes
        As made by `pack`.

    Returns
    -------
    network : ImageNetwork
        On the CPU, in evaluation mode.
    statistics : dict
        As packed, arrays as lists.

    Raises
    ------
    ValueError
        If the bytes are truncated, altered or of another format.
    """
    try:
        tensors = safetensors.torch.load(data)
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["network"])
        text, digest = metadata["header"], metadata["sha256"]
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not the weights of a network, or truncated: {error!r}") from error
    if digest != _digest(text, tensors):
        raise ValueError("weights were altered: their SHA-256 is not the one stored with them")
    header = json.loads(text)
    if header["format"] != FORMAT:
        raise ValueError(f"weights have the format {header['format']!r}, expected {FORMAT!r}")
    try:
        config = ImageModelConfig.model_validate(header["config"])
        network = ImageNetwork(config, tuple(header["image_shape"]), dict(header["n_units"]))
        network.load_state_dict(tensors)
    except (ValidationError, RuntimeError) as error:
        raise ValueError(f"this version does not know the stored architecture: {error}") from error
    return network.eval(), header["statistics"]


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the header and names, types, shapes and bytes of the tensors."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"\n{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _as_list(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic | Tensor):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON")


@dataclass(frozen=True)
class TrainedEnsemble:
    """An ensemble ready for inference, with the image statistics it was trained under.

    Attributes
    ----------
    network : Ensemble
    image_mean, image_std : float
        Grey values; images are z-scored with them.
    image_shape : (h, w)
        Pixels.
    """

    network: Ensemble
    image_mean: float
    image_std: float
    image_shape: tuple[int, int]


def unpack_ensemble(members: Sequence[bytes]) -> TrainedEnsemble:
    """Rebuild an ensemble from the packed weights of its members.

    Parameters
    ----------
    members : sequence of bytes
        As `pack` made them with the statistics `image_mean` and `image_std`; at least one.

    Raises
    ------
    ValueError
        If weights are truncated or altered.
    """
    networks, statistics = zip(*map(unpack, members), strict=True)
    first = statistics[0]
    return TrainedEnsemble(
        Ensemble(networks), first["image_mean"], first["image_std"], networks[0].image_shape
    )
