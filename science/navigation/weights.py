"""Trained path integrators as bytes: safetensors with all that inference needs, never pickle."""

from typing import Any

from science.navigation.path_integrator import PathIntegrator, PathIntegratorConfig
from science.navigation.task import NavigationTask
from science.tensor_bytes import pack_tensors, unpack_network

FORMAT = "inceptionloop-path-integrator-2"


def pack(network: PathIntegrator, task: NavigationTask) -> bytes:
    """Serialise a network with the task that says what its inputs and outputs are.

    Parameters
    ----------
    network : PathIntegrator
        Any device; tensors are stored exactly.
    task : NavigationTask
        It was trained on.

    Returns
    -------
    bytes
        safetensors, the same bytes for the same network and task.
    """
    header = {
        "format": FORMAT,
        "config": network.config.model_dump(mode="json"),
        "n_places": network.n_places,
        "n_signals": network.n_signals,
        "task": task.model_dump(mode="json"),
    }
    return pack_tensors(network.state_dict(), header)


def unpack(data: bytes) -> tuple[PathIntegrator, NavigationTask]:
    """Rebuild a network from the bytes of `pack`.

    Returns
    -------
    network : PathIntegrator
        On the CPU, in evaluation mode.
    task : NavigationTask
        As packed.

    Raises
    ------
    ValueError
        If the bytes are truncated, altered or of another format.
    """
    network, header = unpack_network(data, FORMAT, _build)
    return network, NavigationTask.model_validate(header["task"])


def _build(header: dict[str, Any]) -> PathIntegrator:
    config = PathIntegratorConfig.model_validate(header["config"])
    return PathIntegrator(config, header["n_places"], header["n_signals"])
