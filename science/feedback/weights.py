"""Trained networks as bytes, and the published ones as networks (naumann22 6 and 8)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from science.feedback.config import FeedbackConfig, ModulationParams, SpatialParams, feedback_config
from science.feedback.kernels import kernel_width
from science.feedback.network import FeedbackNetwork
from science.feedback.networks import feedback_network
from science.feedback.task import FeedbackTask
from science.tensor_bytes import pack_tensors, unpack_network

FORMAT = "inceptionloop-feedback-1"

PUBLISHED_NAMES = {
    **{
        f"rec_net.{name}_l0": f"lstm.{name}_l0"
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    },
    "hidden2out.weight": "readout.weight",
    "hidden2out.bias": "readout.bias",
    **{name: name for name in ("w0", "Wro", "Wm")},
}
"""Names of weights in the original and here."""


def pack(network: FeedbackNetwork, task: FeedbackTask) -> bytes:
    """Serialise a network with the task that it was trained on.

    Parameters
    ----------
    network : FeedbackNetwork
        Any device; weights, fixed ones too, are stored exactly, what it carries from batch to batch
        is not.
    task : FeedbackTask
        It was trained on.

    Returns
    -------
    bytes
        safetensors, the same bytes for the same network and task.
    """
    header = {
        "format": FORMAT,
        "config": network.config.model_dump(mode="json"),
        "n_inputs": network.n_inputs,
        "n_outputs": network.n_outputs,
        "task": task.model_dump(mode="json"),
    }
    state = network.state_dict()
    return pack_tensors({n: v for n, v in state.items() if not n.startswith("carried.")}, header)


def unpack(data: bytes) -> tuple[FeedbackNetwork, FeedbackTask]:
    """Rebuild a network from the bytes of `pack`.

    Returns
    -------
    network : FeedbackNetwork
        On the CPU, in evaluation mode.
    task : FeedbackTask
        As packed.

    Raises
    ------
    ValueError
        If the bytes are truncated, altered or of another format.
    """
    network, header = unpack_network(data, FORMAT, _build)
    return network, FeedbackTask.model_validate(header["task"])


def from_published(arrays: Mapping[str, ArrayLike]) -> FeedbackNetwork:
    """Return a published network.

    Parameters
    ----------
    arrays : mapping of str to array
        Of a file ``weights_*.npz``: weights by their names in the original, "tau" and "add".

    Returns
    -------
    FeedbackNetwork
        A `SpatialNet` if there is a kernel "Wm", otherwise a `ModulationNet`; float32, in
        evaluation mode.

    Raises
    ------
    ValueError
        If arrays are missing or do not fit each other.
    """
    spatial = "Wm" in arrays
    needed = {*PUBLISHED_NAMES, "tau", "add"} - (set() if spatial else {"Wro", "Wm"})
    if missing := needed - set(arrays):
        raise ValueError(f"a published network has no {', '.join(sorted(missing))}")
    state = {
        own: torch.tensor(np.asarray(arrays[name]), dtype=torch.float32)
        for name, own in PUBLISHED_NAMES.items()
        if name in needed
    }
    n_outputs, n_inputs = state["Wro" if spatial else "w0"].shape[0], state["w0"].shape[1]
    n_hidden, n_read = state["readout.weight"].shape[1], state["lstm.weight_ih_l0"].shape[1]
    if n_read != n_inputs + n_outputs:
        raise ValueError(
            f"the LSTM reads {n_read} values, a published one {n_inputs} inputs and {n_outputs} "
            "outputs"
        )
    config: FeedbackConfig
    if spatial:
        n_units, n_feedback = state["Wm"].shape
        config = SpatialParams(
            n_hidden=n_hidden,
            tau=float(arrays["tau"]),
            n_units=n_units,
            n_feedback=n_feedback,
            width=kernel_width(state["Wm"]),
        )
    else:
        config = ModulationParams(
            n_hidden=n_hidden, tau=float(arrays["tau"]), additive=bool(arrays["add"])
        )
    network = feedback_network(config, n_inputs, n_outputs)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"the weights do not fit each other: {error}") from error
    return network.eval()


def _build(header: dict[str, Any]) -> FeedbackNetwork:
    return feedback_network(
        feedback_config(header["config"]), header["n_inputs"], header["n_outputs"]
    )
