"""The recurrence of feedback-modulated networks: a fused LSTM that drives what unmixes its inputs.

The batch is the last axis, so that every gate is one piece of memory. Tensors may have an axis of
models before their last two: then all models take a step in one product.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from science.feedback.plants import Plant, products, rollout_memory

BLOCK = 16
"""Steps whose local derivatives and weight gradients are computed at once, still in the cache."""


def scan(
    plant: Callable[..., Plant],
    inputs: Tensor,
    weight: Tensor,
    hidden: Tensor,
    memory: Tensor,
    *tensors: Tensor,
) -> tuple[Tensor, ...]:
    """Return outputs and hidden states at all times (naumann22 2).

    Parameters
    ----------
    plant : callable
        ``plant(inputs, *tensors)``: `EffectiveWeights` or `Gains`.
    inputs : Tensor
        (t, ..., i, b); no gradient.
    weight : Tensor
        (..., 4 n, i + o + 1 + n), of inputs, outputs, 1 and hidden state; rows as PyTorch's LSTM.
    hidden, memory : Tensor
        (..., n, b), before the first step; no gradients.
    *tensors : Tensor
        Of the plant.

    Returns
    -------
    outputs : Tensor
        (t, ..., o, b).
    hidden : Tensor
        (t, ..., n, b), after every step.
    memory, *states : Tensor
        After the last step, of LSTM and plant; no gradients.

    Notes
    -----
    Equal to a loop under autograd, but a step is one product with everything that the LSTM reads,
    and one back; the gradient of the weights is one product for a block of steps.
    """
    return _Scan.apply(plant, inputs, weight, hidden, memory, *tensors)


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        plant_of: Callable[..., Plant],
        inputs: Tensor,
        weight: Tensor,
        hidden: Tensor,
        memory: Tensor,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        n_steps, n_inputs, (*models, n, n_trials) = len(inputs), inputs.shape[-2], hidden.shape
        weight = _emit_first(weight)
        product, _ = products(weight)
        plant = plant_of(inputs, *tensors)
        seen = rollout_memory(hidden, n_steps + 1, *models, weight.shape[-1], n_trials)
        seen[:-1, ..., :n_inputs, :] = inputs
        seen[..., -n - 1, :] = 1
        seen[0, ..., -n:, :] = hidden
        # what a step makes stays in the cache, and is copied in one piece for the way back
        made = hidden.new_zeros(*models, 6 * n, n_trials)
        gates, sigmoids = made[..., : 4 * n, :], made[..., : 3 * n, :]
        o, i, f, g, c, tanh_c = made.chunk(6, -2)
        c.copy_(memory)
        tape = rollout_memory(made, n_steps + 1, *made.shape)
        tape[0] = made
        outputs, hiddens = seen[..., n_inputs : -n - 1, :], seen[..., -n:, :]
        before = (part.unbind(0) for part in (seen, outputs))
        after = (part[1:].unbind(0) for part in (seen[..., -n - 1 :, :], hiddens, tape))
        steps = zip(range(n_steps), *before, *after, strict=False)
        for t, given, y, one_h_next, h_next, kept in steps:
            plant.read(t, y)
            product(weight, given, out=gates)
            sigmoids.sigmoid_()
            g.tanh_()
            c.mul_(f).addcmul_(i, g)
            torch.mul(o, torch.tanh(c, out=tanh_c), out=h_next)
            plant.update(t, one_h_next)
            kept.copy_(made)
        ctx.plant, ctx.n_inputs = plant, n_inputs
        ctx.save_for_backward(weight, seen, tape)
        ctx.set_materialize_grads(False)
        final = (c.clone(), *plant.final())
        ctx.mark_non_differentiable(*final)
        return outputs[:-1].clone(), hiddens[1:], *final

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any, grad_outputs: Tensor | None, grad_hidden: Tensor | None, *_: None
    ) -> tuple[Tensor | None, ...]:
        weight, seen, tape = ctx.saved_tensors
        plant, n_inputs, n = ctx.plant, ctx.n_inputs, tape.shape[-2] // 6
        n_steps, block_size = len(tape) - 1, min(BLOCK, len(tape) - 1)
        product, add_product = products(weight)
        back = weight[..., n_inputs:].mT
        grad = torch.zeros_like(seen[0, ..., n_inputs:, :])  # of outputs, 1 and hidden state
        grad_y, grad_h = grad[..., : -n - 1, :], grad[..., -n:, :]
        grad_c = torch.zeros_like(grad_h)
        grad_weight = torch.zeros_like(weight)
        given_y, given_h = (
            None if given is None else given.unbind(0) for given in (grad_outputs, grad_hidden)
        )
        plant.start_pull(grad[..., -n - 1 :, :], grad_y)
        # the same places for every block, so that views of them are made once
        local = tape.new_empty(block_size, *tape.shape[1:])
        grad_gates = torch.empty_like(local[..., : 4 * n, :])
        by_h, by_c = local[..., :n, :], local[..., n : 4 * n, :].unflatten(-2, (3, n))
        keep, through = local[..., 4 * n :, :].chunk(2, -2)
        of_h, of_c = grad_gates[..., :n, :], grad_gates[..., n:, :].unflatten(-2, (3, n))
        parts = (by_h, by_c, keep, through, of_h, of_c, grad_gates)
        views = list(zip(*(part.unbind(0) for part in parts), strict=True))
        any_c = grad_c.unsqueeze(-3)
        for first in reversed(range(0, n_steps, block_size)):
            last = min(first + block_size, n_steps)
            size = last - first
            _local_derivatives(tape[first : last + 1], out=local[:size])
            for t in reversed(range(first, last)):
                h_by, c_by, c_kept, c_by_h, h_of, c_of, gates_of = views[t - first]
                if given_h is not None:
                    grad_h.add_(given_h[t])
                plant.pull_update(t)
                grad_c.addcmul_(grad_h, c_by_h)
                torch.mul(c_by, any_c, out=c_of)
                torch.mul(h_by, grad_h, out=h_of)
                grad_c.mul_(c_kept)
                product(back, gates_of, out=grad)
                if given_y is not None:
                    grad_y.add_(given_y[t])
                plant.pull_read(t)
            rows, columns = grad_gates[:size], seen[first:last]
            rows, columns = (value.movedim(0, -2).flatten(-2) for value in (rows, columns))
            add_product(grad_weight, rows, columns.mT)
        plant_gradients = plant.gradients(seen[1:, ..., -n - 1 :, :])
        return None, None, _emit_last(grad_weight), None, None, *plant_gradients


def _local_derivatives(tape: Tensor, out: Tensor) -> None:
    """Write derivatives of hidden state and memory, six blocks (..., 6 n, b) for every step.

    Parameters
    ----------
    tape : Tensor
        (1 + t, ..., 6 n, b), gates, memory and its tanh; the first step is the one before.
    out : Tensor
        (t, ..., 6 n, b): of the hidden state by its gate, of the memory by its three gates and by
        the memory before, of the hidden state by the memory.
    """
    emit, admit, keep, candidate, _, squashed = tape[1:].chunk(6, -2)
    by_emit, by_admit, by_keep, by_candidate, by_before, through = out.chunk(6, -2)
    n = emit.shape[-2]
    sigmoids = tape[1:, ..., : 3 * n, :]
    torch.addcmul(sigmoids, sigmoids, sigmoids, value=-1, out=out[..., : 3 * n, :])
    by_emit.mul_(squashed)
    by_admit.mul_(candidate)
    by_keep.mul_(tape[:-1, ..., 4 * n : 5 * n, :])
    torch.addcmul(admit, admit * candidate, candidate, value=-1, out=by_candidate)
    by_before.copy_(keep)
    torch.addcmul(emit, emit * squashed, squashed, value=-1, out=through)


def _emit_first(weight: Tensor) -> Tensor:
    """Rows of PyTorch's gates i, f, g, o as o, i, f, g: sigmoids together, so are i, f and g."""
    return weight.roll(weight.shape[-2] // 4, -2)


def _emit_last(weight: Tensor) -> Tensor:
    return weight.roll(-(weight.shape[-2] // 4), -2)
