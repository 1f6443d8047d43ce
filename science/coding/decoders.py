"""Decoders: from words to mean and log standard deviation of the stimulus (neural_vae 3)."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from science.coding.config import CodingConfig

UNITS_AT_ONCE = 2**18
"""Hidden units times words that are computed at once: as many as a cache holds."""


class PerceptronDecoder(nn.Module):
    """Rectified hidden units; mean and log standard deviation share a layer, or have one each.

    Parameters
    ----------
    config : CodingConfig
        `decoder` "mlp": L = 1 hidden layer with O = 2 outputs; "separate": L = 2 with O = 1.
    n_models : int
        K.
    dtype : torch.dtype
        Of all parameters.

    Attributes
    ----------
    hidden_weight, hidden_bias : nn.Parameter, (K, L, M, N) and (K, L, M)
        From words to hidden units.
    output_weight, output_bias : nn.Parameter, (K, L, O, M) and (K, L, O)
        To the outputs, the mean first.
    """

    def __init__(self, config: CodingConfig, n_models: int, dtype: torch.dtype) -> None:
        super().__init__()
        n_layers = 2 if config.decoder == "separate" else 1
        layers, n_outputs = (n_models, n_layers), 2 // n_layers
        shapes = {
            "hidden_weight": (*layers, config.n_hidden, config.n_neurons),
            "hidden_bias": (*layers, config.n_hidden),
            "output_weight": (*layers, n_outputs, config.n_hidden),
            "output_bias": (*layers, n_outputs),
        }
        for name, shape in shapes.items():
            setattr(self, name, nn.Parameter(torch.zeros(shape, dtype=dtype)))

    @torch.no_grad()
    def initialize(self, generators: list[torch.Generator]) -> None:
        """Draw uniform weights and biases below 1 / sqrt(inputs), model by model."""
        for weight, bias in (
            (self.hidden_weight, self.hidden_bias),
            (self.output_weight, self.output_bias),
        ):
            limit = weight.shape[-1] ** -0.5
            for parameter in (weight, bias):
                for values, generator in zip(parameter, generators, strict=True):
                    uniforms = torch.rand(values.shape, generator=generator, dtype=torch.float64)
                    values.copy_((2 * uniforms - 1) * limit)

    def forward(self, words: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation, (K, S) each, of words (S, N) or (K, S, N).

        Words (S, N), the same for all models, get no gradient.
        """
        weight, output_weight = self.hidden_weight, self.output_weight
        if words.ndim == 2:
            inputs = torch.cat([weight, self.hidden_bias[..., None]], -1).flatten(0, 1)
            out = _Perceptrons.apply(words, inputs, output_weight.flatten(0, 1))
            out = out.view(*output_weight.shape[:3], -1)
        else:
            hidden = F.relu(weight @ words.mT[:, None] + self.hidden_bias[..., None])
            out = output_weight @ hidden
        return (out + self.output_bias[..., None]).flatten(1, 2).unbind(1)


class _Perceptrons(torch.autograd.Function):
    """Many perceptrons at the same words: (P, O, S) from words (S, N).

    Hidden units, by far the largest array of a training step, are computed for a few perceptrons at
    a time that fit into the cache, and again for the gradient, which needs no gradient of
    hidden units: that of all weights follows from one product of what is active, (P, M, S), with
    the output gradients times the words.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, words: Tensor, inputs: Tensor, outputs: Tensor) -> Tensor:
        """Words (S, N), weights and bias of the inputs (P, M, N + 1), of the outputs (P, O, M)."""
        words = F.pad(words, (0, 1), value=1.0)
        ctx.save_for_backward(words, inputs, outputs)
        return torch.cat([outputs[part] @ hidden for part, hidden in _hidden(words, inputs)])

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[None, Tensor, Tensor]:
        """Of inputs and outputs, from that of the result, (P, O, S)."""
        words, inputs, outputs = ctx.saved_tensors
        scaled = (gradient[:, :, None] * words.T.contiguous()).flatten(1, 2)
        both = [scaled[part] @ hidden.sign_().mT for part, hidden in _hidden(words, inputs)]
        both = torch.cat(both).unflatten(1, (outputs.shape[1], -1))  # (P, O, N + 1, M)
        grad_inputs = (both * outputs[:, :, None]).sum(1).mT
        grad_outputs = (both * inputs.mT[:, None]).sum(2)
        return None, grad_inputs, grad_outputs


def _hidden(words: Tensor, inputs: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Which perceptrons, and their hidden units (p, M, S), in memory that the next ones reuse."""
    n_perceptrons, n_hidden, _ = inputs.shape
    step = max(1, UNITS_AT_ONCE // (n_hidden * len(words)))
    memory = inputs.new_empty(min(step, n_perceptrons) * n_hidden, len(words))
    for start in range(0, n_perceptrons, step):
        part = slice(start, start + step)
        rows = inputs[part].flatten(0, 1)
        hidden = torch.mm(rows, words.T, out=memory[: len(rows)]).relu_()
        yield part, hidden.view(-1, n_hidden, len(words))


class MixtureDecoder(nn.Module):
    """A table: mean and log standard deviation of every neuron that may be the active one.

    Parameters
    ----------
    config : CodingConfig
        Number of neurons.
    n_models : int
        K.
    dtype : torch.dtype
        Of all parameters.

    Attributes
    ----------
    mu, log_sigma : nn.Parameter, (K, N)
    """

    def __init__(self, config: CodingConfig, n_models: int, dtype: torch.dtype) -> None:
        super().__init__()
        shape = (n_models, config.n_neurons)
        self.mu = nn.Parameter(torch.zeros(shape, dtype=dtype))
        self.log_sigma = nn.Parameter(torch.zeros(shape, dtype=dtype))

    @torch.no_grad()
    def initialize(self, x: Tensor, centers: Tensor) -> None:
        """Start from the clusters, (K, N), of stimuli (K, n): all as wide as the range over N."""
        self.mu.copy_(centers)
        extent = x.amax(1, keepdim=True) - x.amin(1, keepdim=True)
        self.log_sigma.copy_(torch.log(extent / centers.shape[1]).expand_as(centers))

    def forward(self, words: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation, (K, S) each, of one-hot words (S, N)."""
        return self.mu @ words.T, self.log_sigma @ words.T
