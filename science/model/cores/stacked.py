"""Stack of convolutions: the CNN, its linear control, and the Allen core (microns_vei 7.1)."""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from science.model.cores.geometry import MapGeometry
from science.model.cores.windows import cut, trimmed, within
from science.model.regularizer import group_sparsity, laplace_weights, smoothness
from science.params import NonNegative, Params


class StackedCoreConfig(Params):
    """Stacked convolutional core shared by all recordings (microns_vei 7.1, allen_mei 4).

    Attributes
    ----------
    hidden_channels : int
        Channels of every layer; the core puts out ``layers * hidden_channels``.
    layers : int
        Convolution layers.
    skip : int
        A hidden layer reads the outputs of up to this many preceding layers.
    input_kern, hidden_kern : int
        Filter sizes in pixels. Hidden layers keep the size of the map, which needs an odd
        `hidden_kern`.
    input_padding : int
        Zeros around the image.
    input_pool : int
        Average pooling of the first layer, pixels.
    linear : bool
        Leave out every ELU: with the final nonlinearity an LN model, the linear control.
    gamma_input : float
        Weight of the smoothness of the first layer's filters.
    gamma_hidden : float
        Weight of the group sparsity of the hidden layers.
    gauss_sigma : float
        Width, in half filter widths, of the Gaussian around the filter's centre in which roughness
        costs little; 0 weighs all pixels alike.
    gauss_bias : float
        Added to the weights of the smoothness.
    """

    type: Literal["stacked"] = "stacked"
    hidden_channels: int = Field(32, ge=1, le=1024)
    layers: int = Field(3, ge=1, le=20)
    skip: int = Field(3, ge=1, le=20)
    input_kern: int = Field(15, ge=2, le=101)
    hidden_kern: int = Field(7, ge=1, le=101)
    input_padding: int = Field(0, ge=0, le=50)
    input_pool: int = Field(1, ge=1, le=16)
    linear: bool = False
    gamma_input: NonNegative = 50.0
    gamma_hidden: NonNegative = 0.1
    gauss_sigma: NonNegative = 0.5
    gauss_bias: NonNegative = 0.0

    @model_validator(mode="after")
    def _hidden_kernel_is_odd(self) -> "StackedCoreConfig":
        if self.hidden_kern % 2 == 0:
            raise ValueError(f"hidden_kern={self.hidden_kern} must be odd to keep the map's size")
        return self


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
    geometry : MapGeometry
        Where in the image the map lies.

    Raises
    ------
    ValueError
        If the images are smaller than the first layer's filters.
    """

    def __init__(self, config: StackedCoreConfig, image_shape: tuple[int, int]) -> None:
        super().__init__()
        self.config = config
        reach = config.input_kern - 1 - 2 * config.input_padding
        height, width = ((size - reach) // config.input_pool for size in image_shape)
        if min(height, width) < 1:
            raise ValueError(
                f"images of {image_shape} pixels are smaller than input_kern={config.input_kern}"
            )
        channels = config.hidden_channels
        self.output_shape = (config.layers * channels, height, width)
        first = reach / 2 + (config.input_pool - 1) / 2
        self.geometry = MapGeometry(height, width, first, config.input_pool)
        self.convolutions = nn.ModuleList(
            [nn.Conv2d(1, channels, config.input_kern, padding=config.input_padding, bias=False)]
        )
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

    def forward(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Feature map of each image.

        Parameters
        ----------
        images : Tensor
            float32, (b, 1, h, w), z-scored.
        generator : torch.Generator, optional
            Not used: nothing here is random.

        Returns
        -------
        Tensor
            float32, (b, *output_shape), channels last in memory.
        """
        del generator
        outputs: list[Tensor] = []
        inputs = images.contiguous(memory_format=torch.channels_last)
        for layer, convolution in enumerate(self.convolutions):
            if outputs:
                inputs = torch.cat(outputs[-self.config.skip :], dim=1)
            outputs.append(self._layer(layer, inputs, convolution.padding))
        return torch.cat(outputs, dim=1)

    def windows(self, images: Tensor, corners: Tensor, size: tuple[int, int]) -> Tensor:
        """Compute a window of each image's map from the patch of the image that it sees.

        Parameters
        ----------
        images : Tensor
            float32, (b, 1, h, w), z-scored.
        corners : Tensor
            int64, (b, 2), row and column of each window's first element.
        size : tuple of int
            Height and width of the windows, elements.

        Returns
        -------
        Tensor
            float32, (b, channels, *size): the windows of what `forward` returns, as long as no
            batch statistics are taken.
        """
        config = self.config
        reach = config.hidden_kern // 2
        margin = reach * (config.layers - 1)
        first = (corners - margin) * config.input_pool - config.input_padding
        patch = [(n + 2 * margin) * config.input_pool + config.input_kern - 1 for n in size]
        inputs = cut(images, first, (patch[0], patch[1]))
        outputs: list[Tensor] = []
        for layer in range(config.layers):
            if outputs:
                inputs = torch.cat(outputs[-config.skip :], dim=1)
                outputs = [trimmed(earlier, reach) for earlier in outputs]
                margin -= reach
            output = self._layer(layer, inputs, padding=0)
            grown = (size[0] + 2 * margin, size[1] + 2 * margin)
            inside = within(corners - margin, grown, self.output_shape[1:])
            # Beyond its edges `forward` pads every layer with zeros.
            outputs.append(output if inside is None else output * inside)
        return torch.cat(outputs, dim=1)

    def _layer(self, layer: int, inputs: Tensor, padding: int | tuple[int, ...] | str) -> Tensor:
        """Convolve, pool (the first layer), normalise and activate."""
        weight, norm = self.convolutions[layer].weight, self.norms[layer]
        bias = None
        if not self.training:  # the statistics are constants: a factor of weights, and a bias
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            weight = weight * scale[:, None, None, None]
            bias = norm.bias - norm.running_mean * scale
        maps = F.conv2d(inputs, weight, bias, padding=padding)
        if layer == 0 and self.config.input_pool > 1:
            maps = F.avg_pool2d(maps, self.config.input_pool)
        if self.training:
            maps = norm(maps)
        return maps if self.config.linear else F.elu(maps)

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


CORE = (StackedCoreConfig, StackedCore)
