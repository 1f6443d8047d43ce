"""Losses of path integrators, and the error of the positions decoded from them (mec 5.5)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from science.navigation.path_integrator import PathIntegrator


def place_loss(logits: Tensor, codes: Tensor) -> Tensor:
    """Cross entropy with a place code, mean over paths and steps.

    Parameters
    ----------
    logits : Tensor
        float32, (b, s, n_places).
    codes : Tensor
        float32, like `logits`; >= 0, sum 1 over the last axis.

    Returns
    -------
    Tensor
        float32, scalar, nats; at least the mean entropy of the codes.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    _check_equal("logits", logits, "place codes", codes)
    # Networks compute with time first: so it is the codes that are copied, not logits and gradient.
    return F.cross_entropy(*(values.transpose(0, 1).flatten(0, 1) for values in (logits, codes)))


def position_loss(outputs: Tensor, positions: Tensor) -> Tensor:
    """Squared distance per coordinate of decoded positions, m^2, mean over everything.

    Parameters
    ----------
    outputs, positions : Tensor
        float32, (b, s, 2), metres.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    _check_equal("outputs", outputs, "positions", positions)
    return F.mse_loss(outputs, positions)


def weight_decay(network: PathIntegrator, legacy: bool = False) -> Tensor:
    """Sum of squares of the recurrent weights; the original multiplies it by 1e-4.

    Of the first weights of a UGRNN it is about `n_units`, so that the original's factor makes it
    0.4 for 4096 units, while all that can be learned of a place code is 0.09 nats.

    Parameters
    ----------
    network : PathIntegrator
    legacy : bool
        Penalise what the original does, the second variable of the Keras layer. For the UGRNN that
        is its bias and not the kernel, by mistake (mec 5.5); for all others there is no difference.
    """
    cell = network.cell
    return (cell.legacy_decayed() if legacy else cell.recurrent.weight).square().sum()


def decoding_error(decoded: Tensor, positions: Tensor) -> Tensor:
    """Mean distance of decoded from true positions.

    Parameters
    ----------
    decoded, positions : Tensor
        (..., 2), metres; `PlaceCells.decode` makes positions of logits.

    Returns
    -------
    Tensor
        Scalar, metres.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    _check_equal("decoded positions", decoded, "positions", positions)
    return torch.linalg.vector_norm(decoded - positions, dim=-1).mean()


def _check_equal(name: str, value: Tensor, other_name: str, other: Tensor) -> None:
    """Refuse what would otherwise be broadcast."""
    if value.shape != other.shape:
        raise ValueError(
            f"{name} have the shape {tuple(value.shape)}, {other_name} {tuple(other.shape)}"
        )
