"""Penalties on convolution filters (microns_vei 7.1)."""

import torch
import torch.nn.functional as F
from torch import Tensor

LAPLACIAN = ((0.0, -1.0, 0.0), (-1.0, 4.0, -1.0), (0.0, -1.0, 0.0))


def laplace_weights(size: int, sigma: float, bias: float = 0.0) -> Tensor:
    """Weights ``1 - exp(-d^2 / (2 sigma^2)) + bias``: low at the centre, high at the rim.

    Parameters
    ----------
    size : int
        Filter size in pixels; both axes run from -1 to 1.
    sigma : float
        Width of the Gaussian in half filter sizes; 0 leaves it out: all weights are 1.
    bias : float
        Added to every weight.

    Returns
    -------
    Tensor
        float32, (size, size).
    """
    if sigma == 0:
        return torch.ones(size, size) + bias
    axis = torch.linspace(-1, 1, size)
    squared_distance = axis[:, None] ** 2 + axis[None, :] ** 2
    return 1 - torch.exp(-squared_distance / (2 * sigma**2)) + bias


def smoothness(filters: Tensor, weights: Tensor) -> Tensor:
    """Half the mean, over all filter pixels, of the weighted squared Laplacian.

    Parameters
    ----------
    filters : Tensor
        float, (out, in, k, k).
    weights : Tensor
        float, (k, k), see `laplace_weights`.

    Returns
    -------
    Tensor
        float, scalar.
    """
    size = filters.shape[-1]
    kernel = filters.new_tensor(LAPLACIAN)[None, None]
    laplace = F.conv2d(filters.reshape(-1, 1, size, size), kernel, padding=1)
    return 0.5 * (weights * laplace.square()).mean()


def group_sparsity(filters: Tensor) -> Tensor:
    """Mean over (out, in) pairs of the L2 norm of the filter.

    Parameters
    ----------
    filters : Tensor
        float, (out, in, k, k).

    Returns
    -------
    Tensor
        float, scalar. `vector_norm` has the gradient 0 at a filter that is zero.
    """
    return torch.linalg.vector_norm(filters, dim=(2, 3)).mean()
