"""The recurrence of all cells: one matrix product a step, one weight gradient a pass."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Step = Callable[..., tuple[Tensor, ...]]


def scan(
    step: Step,
    inputs: Tensor,
    input_weight: Tensor,
    initial: tuple[Tensor, ...],
    weight: Tensor,
    bias: Tensor | None,
) -> Tensor:
    """Hidden states of a recurrent network at all times.

    Parameters
    ----------
    step : callable
        ``step(drive, recurrent, hidden, *others) -> (hidden, *others)``, elementwise over batch
        and units and without parameters: new states from the products with input, (b, k), and
        hidden state, (b, k), and the states before, (b, n) each.
    inputs : Tensor
        (s, b, i), few, time first.
    input_weight : Tensor
        (k, i).
    initial : tuple of Tensor
        (b, n) each: hidden state, then what else the cell keeps.
    weight : Tensor
        (k, n), of the hidden state.
    bias : Tensor or None
        (k,), added to the recurrent product.

    Returns
    -------
    Tensor
        (s, b, n), hidden state after every step.

    Notes
    -----
    Equal to a loop under autograd. But the backward pass keeps the gradients of the recurrent
    products and multiplies them with the states once, instead of adding s gradients of the size of
    `weight`; and it makes drive and intermediate values of a step again, which costs less than new
    memory for them.
    """
    return _Scan.apply(step, inputs, input_weight, weight, bias, *initial)


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        step: Step,
        inputs: Tensor,
        input_weight: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        *initial: Tensor,
    ) -> Tensor:
        n_steps, n_walks, _ = inputs.shape
        recurrent = inputs.new_empty(n_steps, n_walks, len(weight))
        states = [first.new_empty(n_steps + 1, *first.shape) for first in initial]
        current = initial
        for time in range(n_steps):
            _put(states, time, current)
            recurrent[time] = F.linear(current[0], weight, bias)
            drive = F.linear(inputs[time], input_weight)
            current = step(drive, recurrent[time], *current)
        _put(states, n_steps, current)
        ctx.step, ctx.has_bias = step, bias is not None
        ctx.save_for_backward(inputs, input_weight, weight, recurrent, *states)
        return states[0][1:]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_hidden: Tensor) -> tuple[Tensor | None, ...]:
        inputs, input_weight, weight, recurrent, *states = ctx.saved_tensors
        grad_inputs = torch.empty_like(inputs)
        grad_input_weight = torch.zeros_like(input_weight.T)
        grad_recurrent = torch.empty_like(recurrent)
        grads = [torch.zeros_like(state[0]) for state in states]
        for time in reversed(range(len(inputs))):
            drive = F.linear(inputs[time], input_weight)
            before = (drive, recurrent[time], *(state[time] for state in states))
            grads[0] = grads[0] + grad_hidden[time]
            grad_drive, grad_recurrent[time], *grads = _pull_back(ctx.step, before, grads)
            grads[0] = torch.addmm(grads[0], grad_recurrent[time], weight)
            grad_input_weight.addmm_(inputs[time].T, grad_drive)
            if ctx.needs_input_grad[1]:
                grad_inputs[time] = grad_drive @ input_weight
        products, hidden = grad_recurrent.flatten(0, 1), states[0][:-1].flatten(0, 1)
        grad_bias = products.sum(0) if ctx.has_bias else None
        grad_weight = products.T @ hidden
        return None, grad_inputs, grad_input_weight.T, grad_weight, grad_bias, *grads


def _put(states: list[Tensor], time: int, values: tuple[Tensor, ...]) -> None:
    for state, value in zip(states, values, strict=True):
        state[time] = value


def _pull_back(step: Step, inputs: tuple[Tensor, ...], grads: list[Tensor]) -> tuple[Tensor, ...]:
    """Gradients of the inputs of a step from those of its outputs."""
    with torch.enable_grad():
        inputs = tuple(value.detach().requires_grad_() for value in inputs)
        outputs = step(*inputs)
    return torch.autograd.grad(outputs, inputs, grads, materialize_grads=True)
