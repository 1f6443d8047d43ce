"""Trained efficient codes as bytes: safetensors with all that inference needs, never pickle."""

from typing import Any

import torch

from science.coding.config import CodingConfig, CodingTask
from science.coding.models import CodingModels
from science.tensor_bytes import pack_tensors, unpack_network

FORMAT = "inceptionloop-efficient-code-1"


def pack(models: CodingModels, task: CodingTask) -> bytes:
    """Serialise models with the task that says what they encode.

    Parameters
    ----------
    models : CodingModels
        One or more, any device; tensors are stored exactly, the history of their training is not.
    task : CodingTask
        They were trained on.

    Returns
    -------
    bytes
        safetensors, the same bytes for the same models and task.
    """
    header = {
        "format": FORMAT,
        "config": models.config.model_dump(mode="json"),
        "n_models": models.n_models,
        "dtype": str(models.words.dtype).removeprefix("torch."),
        "task": task.model_dump(mode="json"),
    }
    state = models.state_dict()
    return pack_tensors({n: v for n, v in state.items() if not n.startswith("history.")}, header)


def unpack(data: bytes) -> tuple[CodingModels, CodingTask]:
    """Rebuild models from the bytes of `pack`.

    Returns
    -------
    models : CodingModels
        On the CPU, in evaluation mode.
    task : CodingTask
        As packed.

    Raises
    ------
    ValueError
        If the bytes are truncated, altered or of another format.
    """
    models, header = unpack_network(data, FORMAT, _build)
    return models, CodingTask.model_validate(header["task"])


def _build(header: dict[str, Any]) -> CodingModels:
    config = CodingConfig.model_validate(header["config"])
    return CodingModels(config, header["n_models"], getattr(torch, header["dtype"]))
