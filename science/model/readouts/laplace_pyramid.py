"""Laplace pyramid of feature maps as products with small matrices (microns_vei 7.2).

Smoothing with a separable 5 x 5 Gaussian, with or without subsampling, and expanding back are
linear maps of the rows and of the columns: four small matrices per level. On channels-last maps
these products take a third of the time of depthwise convolutions (60 maps of 96 x 22 x 50).
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def gaussian_filter() -> Tensor:
    """Gaussian of sigma 1 integrated over 5 pixels, float32, (5,), sum 1.

    The outer product with itself has 0.003765 in the corner and 0.150342 in the centre.
    """
    edges = torch.special.ndtr(torch.arange(-2.5, 3.0, dtype=torch.float64))
    return (edges.diff() / edges.diff().sum()).float()


def axis_steps(size: int, scale_n: int, downsample: bool) -> list[tuple[Tensor, Tensor]]:
    """One axis of every step of the pyramid as matrices.

    Parameters
    ----------
    size : int
        Pixels along the axis.
    scale_n : int
        Steps.
    downsample : bool
        Halve the size in every step: keep every second smoothed pixel, and expand it by four times
        (twice per axis) the transposed smoothing.

    Returns
    -------
    list of (Tensor, Tensor)
        smooth, float32, (size_next, size_level), and expand, float32, (size_level, size_next).
    """
    kernel = gaussian_filter()[None, None]
    steps = []
    for _ in range(scale_n):
        pixels = torch.eye(size)[:, None]
        smooth = F.conv1d(pixels, kernel, padding=2, stride=2 if downsample else 1)[:, 0].T
        size = len(smooth)
        steps.append((smooth, 2 * smooth.T if downsample else torch.eye(size)))
    return [(smooth.contiguous(), expand.contiguous()) for smooth, expand in steps]


def smoothed_operators(steps: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
    """One axis of every level as matrices that act on the axis of the once smoothed map.

    With the matrices S, E of the rows and S', E' of the columns, level l of a map whose smoothed
    version is Y is ``S_l Y S'_l^T - E_l Y E'_l^T``: what is smoothed so far, less the next level
    expanded to the size of this one. To the first level the map itself is to be added, S = 0; the
    low-pass rest has E = 0.

    Parameters
    ----------
    steps : list of (Tensor, Tensor)
        From `axis_steps`.

    Returns
    -------
    list of Tensor
        For every level S and E, float32, (size_level, 2, size of the smoothed axis).
    """
    _, expand = steps[0]
    operators = [torch.stack([torch.zeros_like(expand), expand], dim=1)]
    smoothed = torch.eye(expand.shape[1])
    for smooth, expand in steps[1:]:
        low = smooth @ smoothed
        operators.append(torch.stack([smoothed, expand @ low], dim=1))
        smoothed = low
    return [*operators, torch.stack([smoothed, torch.zeros_like(smoothed)], dim=1)]


def along_axes(maps: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Apply one matrix to the rows and one to the columns of channels-last maps.

    Parameters
    ----------
    maps : Tensor
        float32, (b, h, w, c).
    rows, columns : Tensor
        float32, (h_new, h) and (w_new, w).

    Returns
    -------
    Tensor
        float32, (b, h_new, w_new, c).
    """
    b, _, w, c = maps.shape
    maps = (rows @ maps.flatten(2)).view(b, len(rows), w, c)
    return columns @ maps


def pyramid(
    maps: Tensor, rows: list[tuple[Tensor, Tensor]], columns: list[tuple[Tensor, Tensor]]
) -> list[Tensor]:
    """Laplace pyramid: a high-pass level per step, then the low-pass rest.

    Parameters
    ----------
    maps : Tensor
        float32, (b, h, w, c).
    rows, columns : list of (Tensor, Tensor)
        From `axis_steps`, for h and w.

    Returns
    -------
    list of Tensor
        ``len(rows) + 1`` levels, float32, (b, h_level, w_level, c).
    """
    levels = []
    for (smooth_rows, expand_rows), (smooth_columns, expand_columns) in zip(
        rows, columns, strict=True
    ):
        low = along_axes(maps, smooth_rows, smooth_columns)
        levels.append(maps - along_axes(low, expand_rows, expand_columns))
        maps = low
    return [*levels, maps]
