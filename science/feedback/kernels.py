"""How far feedback signals reach (naumann22 2)."""

import math

import torch
from torch import Tensor

UNIFORM_WIDTH = 10.0
"""From which on a kernel is flat."""


def modulation_kernel(n_units: int, n_feedback: int, width: float) -> Tensor:
    """Weights from feedback signals to units, both on a ring.

    Parameters
    ----------
    n_units, n_feedback : int
        On the ring, evenly spaced.
    width : float
        Of ``exp(cos(angle) / width)``. 0: boxes of ``n_units // n_feedback`` units, disjoint;
        units that remain get no feedback. From `UNIFORM_WIDTH` on: 1 everywhere.

    Returns
    -------
    Tensor
        float64, (n_units, n_feedback), 0 to 1; the maximum of every column is 1.

    Raises
    ------
    ValueError
        If the width is negative or there are more signals than units.
    """
    if width < 0 or not 1 <= n_feedback <= n_units:
        raise ValueError(
            f"no kernel of width {width:g} from {n_feedback} signals to {n_units} units: the width "
            "is at least 0, and there are as many units as signals or more"
        )
    if width >= UNIFORM_WIDTH:
        return torch.ones(n_units, n_feedback, dtype=torch.float64)
    if width == 0:
        box = torch.ones(n_units // n_feedback, 1, dtype=torch.float64)
        kernel = torch.zeros(n_units, n_feedback, dtype=torch.float64)
        kernel[: len(box) * n_feedback] = torch.block_diag(*[box] * n_feedback)
        return kernel
    units, signals = (
        2 * math.pi * torch.arange(n, dtype=torch.float64) / n for n in (n_units, n_feedback)
    )
    cosine = torch.cos(units[:, None] - signals)
    return torch.exp((cosine - cosine.amax(0)) / width)  # divided by its maximum, never overflows


def kernel_width(kernel: Tensor) -> float:
    """Width of a kernel of `modulation_kernel`, from its values.

    Parameters
    ----------
    kernel : Tensor
        (n_units, n_feedback), at least 2 units.

    Raises
    ------
    ValueError
        If it is no such kernel.
    """
    kernel = kernel.double()
    n_units, n_feedback = kernel.shape
    if (kernel == kernel[0, 0]).all():
        width = UNIFORM_WIDTH
    elif (kernel == 0).any():
        width = 0.0
    else:
        opposite = n_units // 2
        cosine = math.cos(2 * math.pi * opposite / n_units)
        width = float((1 - cosine) / torch.log(kernel[0, 0] / kernel[opposite, 0]))
        width = float(f"{width:.5g}")
    if width < 0 or not torch.allclose(
        kernel, modulation_kernel(n_units, n_feedback, width), rtol=1e-3, atol=1e-6
    ):
        raise ValueError("these weights from feedback to units are no kernel on a ring")
    return width
