"""First weights of linear layers, from an explicit source of randomness."""

import torch
from torch import nn


@torch.no_grad()
def initialize_linear(layer: nn.Linear, generator: torch.Generator) -> None:
    """Draw weight and bias uniformly within 1 / sqrt(inputs), as `nn.Linear` does.

    That is what the original trained from: its own initialiser found no layers (microns_vei 14.8).
    """
    limit = layer.in_features**-0.5
    layer.weight.uniform_(-limit, limit, generator=generator)
    layer.bias.uniform_(-limit, limit, generator=generator)
