"""Convolutional cores: image to feature map (microns_vei 7.1)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from science.model.config import StackedCoreConfig
from science.model.regularizer import group_sparsity, laplace_weights, smoothness


class StackedCore(nn.Module):
    """Stack of convolution, batch normalisation and ELU; the output concatenates all layers.

    Parameters
    ----------
    config : StackedCoreConfig
        Architecture and regulariser strengths.
    image_shape : tuple of int
        Height and width of the images in pixels.

    Attributes
    ----------
    output_shape : tuple of int
        (channels, height, width) of the feature map; 96 x 22 x 50 for the default
        configuration at 36 x 64.

    Raises
    ------
    ValueError
        If the images are smaller than the first layer's filters.
    """

    def __init__(self, config: StackedCoreConfig, image_shape: tuple[int, int]) -> None:
        super().__init__()
        self.config = config
        height, width = (size - config.input_kern + 1 for size in image_shape)
        if min(height, width) < 1:
            raise ValueError(
                f"images of {image_shape} pixels are smaller than input_kern={config.input_kern}"
            )
        channels = config.hidden_channels
        self.output_shape = (config.layers * channels, height, width)
        self.convolutions = nn.ModuleList([nn.Conv2d(1, channels, config.input_kern, bias=False)])
        for layer in range(1, config.layers):
            inputs = channels * min(config.skip, layer)
            self.convolutions.append(
                nn.Conv2d(inputs, channels, config.hidden_kern, padding="same", bias=False)
            )
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(channels, momentum=0.1) for _ in range(config.layers)
        )
        weights = laplace_weights(config.input_kern, config.gauss_sigma, config.gauss_bias)
        self.register_buffer("laplace_weights", weights, persistent=False)
        # Channels last is what the CPU convolutions run fastest on (1.3 times here).
        self.to(memory_format=torch.channels_last)

    def initialize(self, generator: torch.Generator) -> None:
        """Draw the filters from the Xavier normal distribution, reset the normalisation."""
        for convolution in self.convolutions:
            nn.init.xavier_normal_(convolution.weight, generator=generator)
        for norm in self.norms:
            norm.reset_parameters()

    def forward(self, images: Tensor) -> Tensor:
        """Feature map of each image.

        Parameters
        ----------
        images : Tensor
            float32, (b, 1, h, w), z-scored.

        Returns
        -------
        Tensor
            float32, (b, *output_shape), channels last in memory.
        """
        outputs: list[Tensor] = []
        inputs = images.contiguous(memory_format=torch.channels_last)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            if outputs:
                inputs = torch.cat(outputs[-self.config.skip :], dim=1)
            output = norm(convolution(inputs))
            outputs.append(output if self.config.linear else F.elu(output))
        return torch.cat(outputs, dim=1)

    def regularizers(self) -> dict[str, Tensor]:
        """Smoothness of the first and group sparsity of the other layers, times their gamma."""
        first, *hidden = (convolution.weight for convolution in self.convolutions)
        terms = {
            "core_smoothness": self.config.gamma_input * smoothness(first, self.laplace_weights)
        }
        if hidden:
            sparsity = torch.stack([group_sparsity(weight) for weight in hidden]).mean()
            terms["core_sparsity"] = self.config.gamma_hidden * sparsity
        return terms
