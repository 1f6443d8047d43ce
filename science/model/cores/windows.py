"""Windows of maps and images: what a unit that reads at one place looks at."""

import torch
import torch.nn.functional as F
from torch import Tensor


def cut(maps: Tensor, corners: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut one window out of each map, zero where it leaves the map.

    Parameters
    ----------
    maps : Tensor
        float32, (b, c, h, w).
    corners : Tensor
        int64, (b, 2), row and column of each window's first element; may lie outside.
    size : tuple of int
        Height and width of the windows.

    Returns
    -------
    Tensor
        float32, (b, c, *size).
    """
    b, c, h, w = maps.shape
    index = window_index(corners, size, (h, w))
    windows = maps.flatten(2).gather(2, index[:, None].expand(-1, c, -1)).view(b, c, *size)
    inside = within(corners, size, (h, w))
    return windows if inside is None else windows * inside


def window_index(corners: Tensor, size: tuple[int, int], map_size: tuple[int, int]) -> Tensor:
    """Index of the windows' elements in flat maps, int64, (b, height * width).

    Elements beyond an edge are those at the edge.
    """
    rows, columns = _places(corners, size)
    height, width = map_size
    rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
    return (rows[:, :, None] * width + columns[:, None]).flatten(1)


def within(corners: Tensor, size: tuple[int, int], map_size: tuple[int, int]) -> Tensor | None:
    """Which elements of windows lie within the map, bool, (b, 1, *size); None if all do."""
    rows, columns = _places(corners, size)
    rows, columns = (rows >= 0) & (rows < map_size[0]), (columns >= 0) & (columns < map_size[1])
    if rows.all() and columns.all():
        return None
    return rows[:, None, :, None] & columns[:, None, None, :]


def trimmed(windows: Tensor, margin: int) -> Tensor:
    """Take `margin` elements off every side of windows (b, c, h, w)."""
    return F.pad(windows, [-margin] * 4) if margin else windows


def _places(corners: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Rows (b, height) and columns (b, width) of windows."""
    row, column = corners.unbind(1)
    steps = [torch.arange(length, device=corners.device) for length in size]
    return row[:, None] + steps[0], column[:, None] + steps[1]
