"""What feedback modulates (naumann22 2), in place and with the way back written by hand."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor


class Plant(Protocol):
    """What feedback modulates: reads outputs from inputs, is updated by the LSTM.

    All of it happens in place; `pull_update` and `pull_read` are the reverse of `update` and
    `read`, called in reverse order.
    """

    def read(self, time: int, output: Tensor) -> None:
        """Write the output of a step."""
        ...

    def update(self, time: int, hidden: Tensor) -> None:
        """Take over the hidden state after a step, below a row of ones, (1 + n, b)."""
        ...

    def start_pull(self, grad_hidden: Tensor, grad_output: Tensor) -> None:
        """Set all gradients to 0; take the places of those that the two methods below work on."""
        ...

    def pull_update(self, time: int) -> None:
        """Add to the gradient of what `update` was given."""
        ...

    def pull_read(self, time: int) -> None:
        """Take the gradient of what `read` wrote."""
        ...

    def gradients(self, hidden: Tensor) -> tuple[Tensor | None, ...]:
        """Return gradients of the tensors it was made of, given `update`'s of all steps."""
        ...

    def final(self) -> tuple[Tensor, ...]:
        """Return the state after the last step."""
        ...


class EffectiveWeights:
    """``y = W x``, W a low-pass of an affine map of the hidden state (naumann22 2).

    Parameters
    ----------
    inputs : Tensor
        (t, ..., i, b).
    initial : Tensor
        (..., o i, b), W before the first step, row-major.
    drive : Tensor
        (..., o i, 1 + n): what W approaches, of 1 and hidden state.
    rate : Tensor
        (..., 1, 1), fraction of the way that W goes in a step; no gradient.
    held : sequence of bool
        Steps after which W stays as it is.
    """

    def __init__(
        self, inputs: Tensor, initial: Tensor, drive: Tensor, rate: Tensor, held: Sequence[bool]
    ) -> None:
        shape = (initial.shape[-2] // inputs.shape[-2], inputs.shape[-2])
        self._weights = initial.clone(memory_format=torch.contiguous_format)
        self._matrix = self._weights.unflatten(-2, shape)
        self._inputs, self._rate, self._held = inputs.unsqueeze(-3).unbind(0), rate, held
        self._drive, self._target = drive, torch.empty_like(self._weights)
        self._terms = torch.empty_like(self._matrix)
        self._product, self._add_product = products(drive)

    def read(self, time: int, output: Tensor) -> None:
        """Write ``W x``."""
        torch.mul(self._matrix, self._inputs[time], out=self._terms)
        torch.sum(self._terms, -2, out=output)

    def update(self, time: int, hidden: Tensor) -> None:
        """Move W."""
        if not self._held[time]:
            self._product(self._drive, hidden, out=self._target)
            self._weights.lerp_(self._target, self._rate)

    def start_pull(self, grad_hidden: Tensor, grad_output: Tensor) -> None:
        """Set all gradients to 0."""
        self._grad_hidden, self._grad_output = grad_hidden, grad_output.unsqueeze(-2)
        self._grad = torch.zeros_like(self._weights)
        self._grad_matrix = self._grad.view_as(self._matrix)
        self._grad_targets = self._grad.new_zeros(len(self._inputs), *self._grad.shape)
        self._grad_target, self._back = self._grad_targets.unbind(0), self._drive.mT

    def pull_update(self, time: int) -> None:
        """Add to the gradient of the hidden state."""
        if not self._held[time]:
            target = torch.mul(self._grad, self._rate, out=self._grad_target[time])
            self._grad.sub_(target)
            self._add_product(self._grad_hidden, self._back, target)

    def pull_read(self, time: int) -> None:
        """Take the gradient of ``W x``."""
        self._grad_matrix.addcmul_(self._grad_output, self._inputs[time])

    def gradients(self, hidden: Tensor) -> tuple[Tensor | None, ...]:
        """Return those of `initial` and `drive`."""
        return self._grad, _sum_of_products(self._grad_targets, hidden), None

    def final(self) -> tuple[Tensor]:
        """Return W after the last step."""
        return (self._weights,)


class Gains:
    """``y = V relu(p a + b)``, p the sigmoid of minus a kernel of low-passed feedback.

    Parameters
    ----------
    inputs : Tensor
        (t, ..., i, b), not used.
    modulation : Tensor
        (..., k, b), low-passed feedback before the first step; no gradient.
    gain : Tensor
        (..., z, b), p before the first step; no gradient.
    drive : Tensor
        (..., k, 1 + n): the feedback, of 1 and hidden state.
    modulated, other : Tensor
        (t, ..., z, b): a and b.
    readout : Tensor
        (..., o, z): V.
    kernel : Tensor
        (..., z, k); no gradient.
    rate : Tensor
        (..., 1, 1), of the low-pass; no gradient.
    held : sequence of bool
        Steps after which p stays as it is; the low-pass goes on.
    """

    def __init__(
        self,
        inputs: Tensor,
        modulation: Tensor,
        gain: Tensor,
        drive: Tensor,
        modulated: Tensor,
        other: Tensor,
        readout: Tensor,
        kernel: Tensor,
        rate: Tensor,
        held: Sequence[bool],
    ) -> None:
        self._modulation = modulation.clone(memory_format=torch.contiguous_format)
        gains = rollout_memory(gain, len(modulated) + 1, *gain.shape)
        gains[0] = gain
        self._gains, self._all_gains = gains.unbind(0), gains
        self._activity = rollout_memory(other, *other.shape)
        self._units = self._activity.unbind(0)
        self._modulated, self._other = modulated.unbind(0), other.unbind(0)
        self._rate, self._held = rate, held
        self._drive, self._readout, self._closing = drive, readout, -kernel
        self._target = torch.empty_like(self._modulation)
        self._product, self._add_product = products(drive)

    def read(self, time: int, output: Tensor) -> None:
        """Write ``V relu(p a + b)``."""
        units, gain = self._units[time], self._gains[time]
        torch.addcmul(self._other[time], gain, self._modulated[time], out=units).relu_()
        self._product(self._readout, units, out=output)

    def update(self, time: int, hidden: Tensor) -> None:
        """Move the low-pass and set p."""
        self._product(self._drive, hidden, out=self._target)
        self._modulation.lerp_(self._target, self._rate)
        gain = self._gains[time + 1]
        if self._held[time]:
            gain.copy_(self._gains[time])
        else:
            self._product(self._closing, self._modulation, out=gain).sigmoid_()

    def start_pull(self, grad_hidden: Tensor, grad_output: Tensor) -> None:
        """Set all gradients to 0."""
        self._grad_hidden, self._grad_output = grad_hidden, grad_output
        self._grad_modulation = torch.zeros_like(self._target)
        self._grad_gain = torch.zeros_like(self._gains[0])
        n_steps = len(self._units)
        self._grad_targets = self._target.new_empty(n_steps, *self._target.shape)
        self._grad_all_outputs = grad_output.new_empty(n_steps, *grad_output.shape)
        self._grad_all_units = rollout_memory(self._activity, *self._activity.shape)
        self._grad_target, self._grad_outputs, self._grad_units = (
            values.unbind(0)
            for values in (self._grad_targets, self._grad_all_outputs, self._grad_all_units)
        )
        self._back, self._opening = self._drive.mT, self._closing.mT
        self._read_back = self._readout.mT

    def pull_update(self, time: int) -> None:
        """Add to the gradient of the hidden state."""
        if not self._held[time]:
            grad = torch.ops.aten.sigmoid_backward(self._grad_gain, self._gains[time + 1])
            self._add_product(self._grad_modulation, self._opening, grad)
            self._grad_gain.zero_()
        target = torch.mul(self._grad_modulation, self._rate, out=self._grad_target[time])
        self._grad_modulation.sub_(target)
        self._add_product(self._grad_hidden, self._back, target)

    def pull_read(self, time: int) -> None:
        """Take the gradient of the output."""
        grad = self._grad_units[time]
        self._grad_outputs[time].copy_(self._grad_output)
        self._product(self._read_back, self._grad_output, out=grad)
        grad.masked_fill_(self._units[time] <= 0, 0)
        self._grad_gain.addcmul_(grad, self._modulated[time])

    def gradients(self, hidden: Tensor) -> tuple[Tensor | None, ...]:
        """Return those of `drive`, `modulated`, `other` and `readout`."""
        drive = _sum_of_products(self._grad_targets, hidden)
        readout = _sum_of_products(self._grad_all_outputs, self._activity)
        modulated = self._grad_all_units * self._all_gains[:-1]
        return None, None, drive, modulated, self._grad_all_units, readout, None, None

    def final(self) -> tuple[Tensor, Tensor]:
        """Return low-pass and p after the last step."""
        return self._modulation, self._gains[-1].clone()


def _sum_of_products(rows: Tensor, columns: Tensor) -> Tensor:
    """Sum over steps (t, ..., k, b) times transposed (t, ..., n, b): (..., k, n)."""
    return (rows @ columns.mT).sum(0)


def rollout_memory(like: Tensor, *shape: int) -> Tensor:
    """Empty memory for all steps.

    On the CPU it is numpy's, which asks for huge pages: to have small ones mapped takes several
    times as long as to write what is kept.
    """
    if like.device.type != "cpu":
        return like.new_empty(shape)
    return torch.from_numpy(np.empty(shape, like.new_empty(0).detach().numpy().dtype))


def products(matrix: Tensor) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    """Product of matrices, and in-place addition of one, for this number of axes."""
    if matrix.ndim == 2:
        return torch.mm, torch.Tensor.addmm_
    return torch.bmm, torch.Tensor.baddbmm_
