"""Trained convolutions on the log energy of a fixed Gabor pyramid.

For recordings with few images: the first stage, which takes most images to learn, is given.

Simoncelli EP, Freeman WT (1995). The steerable pyramid. ICIP. David SV, Hayden BY, Gallant JL
(2006). Spectral receptive field properties explain shape selectivity in area V4. J Neurophysiol 96.
"""

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from science.model.cores.gabor import GaborCoreConfig, gabor_bank
from science.model.cores.geometry import MapGeometry
from science.model.cores.windows import cut
from science.model.regularizer import group_sparsity
from science.params import NonNegative, Params, Positive


class EnergyCoreConfig(Params):
    """Log energy of a Gabor bank at several octaves, pooled, then a stack of convolutions.

    Attributes
    ----------
    orientations, wavelengths, sigma_ratio, input_kern
        The bank, as of `GaborCoreConfig`; `input_kern` is odd, the image is padded with zeros.
    octaves : int
        How often the bank is applied, each time to the image at half the resolution.
    pool : int
        Pixels of the image per element of the map; a multiple of ``2 ** (octaves - 1)``.
    floor : float
        Added to the energy before the logarithm; images are z-scored.
    dropout : float
        Probability with which a channel of the bank is left out for an image while training.
    hidden_channels : int
        Channels of every trained layer; the core puts out all of them.
    hidden_kern : tuple of int
        Filter sizes of the trained layers, odd.
    gamma_hidden : float
        Weight of the group sparsity of the trained layers.
    """

    type: Literal["energy"] = "energy"
    orientations: int = Field(8, ge=1, le=64)
    wavelengths: tuple[Positive, ...] = Field((3.0, 4.25), min_length=1)
    sigma_ratio: Positive = 0.5
    input_kern: int = Field(9, ge=3, le=101)
    octaves: int = Field(3, ge=1, le=6)
    pool: int = Field(4, ge=1, le=64)
    floor: Positive = 0.03
    dropout: float = Field(0.25, ge=0, lt=1)
    hidden_channels: int = Field(32, ge=1, le=1024)
    hidden_kern: tuple[Annotated[int, Field(ge=1, le=101)], ...] = Field((5, 3), min_length=1)
    gamma_hidden: NonNegative = 0.0

    @model_validator(mode="after")
    def _sizes_fit(self) -> "EnergyCoreConfig":
        if self.pool % 2 ** (self.octaves - 1):
            raise ValueError(
                f"pool={self.pool} must be a multiple of {2 ** (self.octaves - 1)} "
                f"for {self.octaves} octaves"
            )
        if any(kern % 2 == 0 for kern in (self.input_kern, *self.hidden_kern)):
            raise ValueError("input_kern and hidden_kern must be odd to keep the map's size")
        return self


class EnergyCore(nn.Module):
    """Log energies, standardised per channel, then convolution, batch normalisation and ELU.

    Parameters
    ----------
    config : EnergyCoreConfig
        Bank, layers and regulariser.
    image_shape : tuple of int
        Height and width of the images in pixels.

    Attributes
    ----------
    output_shape : tuple of int
        (channels, height, width) of the feature map.
    geometry : MapGeometry
        Where in the image the map lies.

    Raises
    ------
    ValueError
        If the images are smaller than `pool`.
    """

    def __init__(self, config: EnergyCoreConfig, image_shape: tuple[int, int]) -> None:
        super().__init__()
        self.config = config
        height, width = (size // config.pool for size in image_shape)
        if min(height, width) < 1:
            raise ValueError(f"images of {image_shape} pixels are smaller than pool={config.pool}")
        bank = gabor_bank(
            GaborCoreConfig(
                orientations=config.orientations,
                wavelengths=config.wavelengths,
                sigma_ratio=config.sigma_ratio,
                input_kern=config.input_kern,
            )
        )
        self.register_buffer("bank", bank.flatten(0, 1)[:, None], persistent=False)
        inputs = config.octaves * bank.shape[1]
        self.norm = nn.BatchNorm2d(inputs, momentum=0.1, affine=False)
        self.convolutions, self.norms = nn.ModuleList(), nn.ModuleList()
        for kern in config.hidden_kern:
            self.convolutions.append(
                nn.Conv2d(inputs, config.hidden_channels, kern, padding="same", bias=False)
            )
            self.norms.append(nn.BatchNorm2d(config.hidden_channels, momentum=0.1))
            inputs = config.hidden_channels
        self.output_shape = (len(config.hidden_kern) * config.hidden_channels, height, width)
        self.geometry = MapGeometry(height, width, (config.pool - 1) / 2, config.pool)
        self.to(memory_format=torch.channels_last)

    def initialize(self, generator: torch.Generator) -> None:
        """Draw the filters from the Xavier normal distribution, reset the normalisation."""
        self.norm.reset_running_stats()
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            nn.init.xavier_normal_(convolution.weight, generator=generator)
            norm.reset_parameters()

    def forward(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Feature map of each image.

        Parameters
        ----------
        images : Tensor
            float32, (b, 1, h, w), z-scored.
        generator : torch.Generator, optional
            CPU source of the channels that are left out in training; without it all are there.

        Returns
        -------
        Tensor
            float32, (b, *output_shape), channels last in memory.
        """
        maps = self.norm(self.log_energy(images))
        if generator is not None and self.config.dropout > 0:
            drawn = torch.rand(*maps.shape[:2], 1, 1, generator=generator)
            kept = (drawn >= self.config.dropout) / (1 - self.config.dropout)
            maps = maps * kept.to(maps)
        outputs = []
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            maps = F.elu(norm(convolution(maps)))
            outputs.append(maps)
        return torch.cat(outputs, dim=1)

    def windows(self, images: Tensor, corners: Tensor, size: tuple[int, int]) -> Tensor:
        """Return a window of each image's map; see `StackedCore.windows`.

        The coarse octaves of one element see most of the image: the whole map is computed.
        """
        return cut(self.forward(images), corners, size)

    def log_energy(self, images: Tensor) -> Tensor:
        """Log energies, octave after octave.

        Returns
        -------
        Tensor
            float32, (b, octaves * wavelengths * orientations, h / pool, w / pool).
        """
        images = images.contiguous(memory_format=torch.channels_last)
        levels = []
        for octave in range(self.config.octaves):
            pairs = F.conv2d(images, self.bank, padding=self.config.input_kern // 2)
            even, odd = pairs.chunk(2, dim=1)
            energy = torch.log(even.square() + odd.square() + self.config.floor)
            levels.append(F.avg_pool2d(energy, self.config.pool // 2**octave))
            images = F.avg_pool2d(images, 2)
        return torch.cat(levels, dim=1)

    def regularizers(self) -> dict[str, Tensor]:
        """Group sparsity of the trained layers times its gamma."""
        sparsity = torch.stack([group_sparsity(c.weight) for c in self.convolutions]).mean()
        return {"core_sparsity": self.config.gamma_hidden * sparsity}


CORE = (EnergyCoreConfig, EnergyCore)
