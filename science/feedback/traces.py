"""What modulation and gains are at every step, from what drives them (naumann22 2, 4)."""

import torch
from torch import Tensor


def low_pass(values: Tensor, before: Tensor, rate: Tensor, held: Tensor | None = None) -> Tensor:
    """Low-pass (b, t, k), from (b, k) before; steps (t,) that are held do not change it."""
    states, moves = [], [True] * values.shape[1] if held is None else (~held).tolist()
    for value, moved in zip(values.unbind(1), moves, strict=True):
        before = torch.lerp(before, value, rate) if moved else before
        states.append(before)
    return torch.stack(states, 1)


def hold(values: Tensor, before: Tensor, held: Tensor) -> Tensor:
    """Values (b, t, k), at steps (t,) that are held those of the last one that is not."""
    steps = torch.arange(1, len(held) + 1, device=held.device)
    last = torch.where(held, 0, steps).cummax(0).values
    return torch.cat([before[:, None], values], 1)[:, last]


def lagged(values: Tensor, before: Tensor) -> Tensor:
    """Values (b, t, k) of the step before, (b, k) at the first one."""
    return torch.cat([before[:, None], values[:, :-1]], 1)
