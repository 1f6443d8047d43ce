"""Trained networks as bytes: safetensors with all that inference needs, never pickle."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from science.model.config import ImageModelConfig
from science.model.ensemble import Ensemble
from science.model.network import ImageNetwork
from science.tensor_bytes import pack_tensors, unpack_network

FORMAT = "inceptionloop-image-network-2"


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
    header = {
        "format": FORMAT,
        "config": network.config.model_dump(mode="json"),
        "image_shape": network.image_shape,
        "n_units": list(network.n_units.items()),
        "statistics": dict(statistics),
    }
    return pack_tensors(network.state_dict(), header)


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
    network, header = unpack_network(data, FORMAT, _build)
    return network, header["statistics"]


def _build(header: dict[str, Any]) -> ImageNetwork:
    config = ImageModelConfig.model_validate(header["config"])
    return ImageNetwork(config, tuple(header["image_shape"]), dict(header["n_units"]))


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
    columns : list of (str, int)
        Readout key and column of every unit, in the order of `unit_index`.
    response_scale : dict of str to list of float
        Of every unit, per readout key: what its responses were divided by.
    """

    network: Ensemble
    image_mean: float
    image_std: float
    image_shape: tuple[int, int]
    columns: list[tuple[str, int]]
    response_scale: dict[str, list[float]]


def unpack_ensemble(members: Sequence[bytes]) -> TrainedEnsemble:
    """Rebuild an ensemble from the packed weights of its members.

    Parameters
    ----------
    members : sequence of bytes
        As `pack` made them with the statistics of `fitting.statistics`; at least one.

    Raises
    ------
    ValueError
        If weights are truncated or altered.
    """
    networks, statistics = zip(*map(unpack, members), strict=True)
    first = statistics[0]
    return TrainedEnsemble(
        Ensemble(networks),
        first["image_mean"],
        first["image_std"],
        networks[0].image_shape,
        [(key, column) for key, column in first["columns"]],
        first["response_scale"],
    )
