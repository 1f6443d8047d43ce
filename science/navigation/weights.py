"""Trained path integrators as bytes: safetensors with all that inference needs, never pickle."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from science.model.tensor_bytes import pack_tensors, unpack_tensors
from science.navigation.path_integrator import PathIntegrator, PathIntegratorConfig

FORMAT = "inceptionloop-path-integrator-1"


def pack(network: PathIntegrator, task: Mapping[str, Any]) -> bytes:
    """Serialise a network with what is needed to give it inputs and to read its outputs.

    Parameters
    ----------
    network : PathIntegrator
        Any device; tensors are stored exactly.
    task : mapping
        JSON values or numpy arrays (stored as lists): centres of the place cells in metres, ...

    Returns
    -------
    bytes
        safetensors, the same bytes for the same network and task.

    Raises
    ------
    ValueError
        If `task` is not finite or no JSON.
    """
    header = {
        "format": FORMAT,
        "config": network.config.model_dump(mode="json"),
        "n_places": network.n_places,
        "n_signals": network.n_signals,
        "task": dict(task),
    }
    return pack_tensors(network.state_dict(), header)


def unpack(data: bytes) -> tuple[PathIntegrator, dict[str, Any]]:
    """Rebuild a network from the bytes of `pack`.

    Returns
    -------
    network : PathIntegrator
        On the CPU, in evaluation mode.
    task : dict
        As packed, arrays as lists.

    Raises
    ------
    ValueError
        If the bytes are truncated, altered or of another format.
    """
    tensors, header = unpack_tensors(data)
    if header.get("format") != FORMAT:
        raise ValueError(f"weights have the format {header.get('format')!r}, expected {FORMAT!r}")
    try:
        config = PathIntegratorConfig.model_validate(header["config"])
        network = PathIntegrator(config, header["n_places"], header["n_signals"])
        network.load_state_dict(tensors)
    except (ValidationError, RuntimeError) as error:
        raise ValueError(f"this version does not know the stored architecture: {error}") from error
    return network.eval(), header["task"]
