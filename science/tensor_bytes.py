"""Named tensors and a JSON header as bytes: safetensors with a checksum, never pickle."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import safetensors.torch
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from torch import Tensor, nn

N = TypeVar("N", bound=nn.Module)


def pack_tensors(tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> bytes:
    """Serialise tensors exactly.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        Any device.
    header : mapping
        JSON values; arrays are stored as lists.

    Returns
    -------
    bytes
        safetensors, the same bytes for the same content.

    Raises
    ------
    ValueError
        If `header` is not finite or no JSON.
    """
    stored = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    try:
        text = json.dumps(header, sort_keys=True, allow_nan=False, default=_as_list)
    except (TypeError, ValueError) as error:
        raise ValueError(f"not finite JSON values or arrays: {error}") from error
    metadata = json.dumps({"header": text, "sha256": _digest(text, stored)})
    # One metadata entry: the order of several would not be fixed.
    return safetensors.torch.save(stored, metadata={"inceptionloop": metadata})


def unpack_tensors(data: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return tensors, on the CPU, and header from the bytes of `pack_tensors`.

    Raises
    ------
    ValueError
        If the bytes are truncated, altered or something else.
    """
    try:
        tensors = safetensors.torch.load(data)
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["inceptionloop"])
        text, digest = metadata["header"], metadata["sha256"]
        header = json.loads(text)
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"not tensors of this project, or truncated: {error!r}") from error
    if digest != _digest(text, tensors):
        raise ValueError("the bytes were altered: their SHA-256 is not the one stored with them")
    return tensors, header


def unpack_network(
    data: bytes, stored_format: str, build: Callable[[dict[str, Any]], N]
) -> tuple[N, dict[str, Any]]:
    """Rebuild a network from the bytes of `pack_tensors` over its state and a header.

    Parameters
    ----------
    data : bytes
        Whose header names its `format`.
    stored_format : str
        The one that is expected.
    build : callable
        Returns a network of the stored architecture from the header.

    Returns
    -------
    network : nn.Module
        On the CPU, in evaluation mode.
    header : dict
        As packed, arrays as lists.

    Raises
    ------
    ValueError
        If the bytes are truncated, altered, of another format, or of an unknown architecture.
    """
    tensors, header = unpack_tensors(data)
    found = header.get("format") if isinstance(header, dict) else None
    if found != stored_format:
        raise ValueError(f"weights have the format {found!r}, expected {stored_format!r}")
    try:
        # Without memory at first: a header can describe a network of any size.
        with torch.device("meta"):
            described = build(header).state_dict()
        for name, value in tensors.items():
            if name in described and described[name].shape != value.shape:
                raise RuntimeError(f"'{name}' has another shape than its network has")
        network = build(header)
        network.load_state_dict(tensors)
    except (ValidationError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"this version does not know the stored architecture: {error}") from error
    return network.eval(), header


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
