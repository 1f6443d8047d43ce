"""Fixed bank of simple and complex cells: an informative core with nothing to learn."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from science.model.cores.geometry import MapGeometry
from science.model.cores.windows import cut
from science.params import Params, Positive

PHASES = 4  # of the simple cells: both signs of the even and of the odd filter


class GaborCoreConfig(Params):
    """Gabor energy front end: which V1 cells a linear readout finds ready made.

    Attributes
    ----------
    orientations : int
        Evenly spaced over half a turn.
    wavelengths : tuple of float
        Of the carriers, pixels.
    sigma_ratio : float
        Width of the envelope in wavelengths.
    input_kern : int
        Filter size, pixels; the image is not padded.
    simple : bool
        Besides the energy of every pair, put out the rectified filters in four phases.
    """

    type: Literal["gabor"] = "gabor"
    orientations: int = Field(8, ge=1, le=64)
    wavelengths: tuple[Positive, ...] = Field((4.0, 6.0, 9.0), min_length=1)
    sigma_ratio: Positive = 0.4
    input_kern: int = Field(15, ge=3, le=101)
    simple: bool = True


def gabor_bank(config: GaborCoreConfig) -> Tensor:
    """Quadrature pairs of zero mean and unit norm.

    Returns
    -------
    Tensor
        float32, (2, wavelengths * orientations, input_kern, input_kern): even, then odd filters.
    """
    axis = torch.arange(config.input_kern, dtype=torch.float64) - (config.input_kern - 1) / 2
    wavelength = torch.tensor(config.wavelengths, dtype=torch.float64)[:, None, None, None]
    angle = torch.arange(config.orientations)[:, None, None] * math.pi / config.orientations
    along = axis * angle.cos() + axis[:, None] * angle.sin()
    envelope = torch.exp(
        -(axis**2 + axis[:, None] ** 2) / (2 * (config.sigma_ratio * wavelength) ** 2)
    )
    phase = 2 * math.pi * along / wavelength
    pairs = torch.stack([phase.cos(), phase.sin()]) * envelope
    pairs = pairs.flatten(1, 2)
    # The envelope takes the mean out, so that the filter still ends in zeros.
    envelope = envelope.expand(-1, config.orientations, -1, -1).flatten(0, 1)
    mean = pairs.sum((-2, -1), keepdim=True) / envelope.sum((-2, -1), keepdim=True)
    pairs = pairs - mean * envelope
    return (pairs / torch.linalg.vector_norm(pairs, dim=(-2, -1), keepdim=True)).float()


class GaborCore(nn.Module):
    """Energy and, by choice, rectified phases of a Gabor bank, each channel standardised.

    Parameters
    ----------
    config : GaborCoreConfig
        Bank.
    image_shape : tuple of int
        Height and width of the images in pixels.

    Attributes
    ----------
    output_shape : tuple of int
        (channels, height, width) of the feature map; 120 x 22 x 50 by default at 36 x 64.
    geometry : MapGeometry
        Where in the image the map lies.

    Raises
    ------
    ValueError
        If the images are smaller than the filters.
    """

    def __init__(self, config: GaborCoreConfig, image_shape: tuple[int, int]) -> None:
        super().__init__()
        self.config = config
        height, width = (size - config.input_kern + 1 for size in image_shape)
        if min(height, width) < 1:
            raise ValueError(
                f"images of {image_shape} pixels are smaller than input_kern={config.input_kern}"
            )
        bank = gabor_bank(config)
        channels = bank.shape[1] * (1 + PHASES * config.simple)
        self.output_shape = (channels, height, width)
        self.geometry = MapGeometry(height, width, (config.input_kern - 1) / 2)
        self.register_buffer("bank", bank.flatten(0, 1)[:, None], persistent=False)
        self.norm = nn.BatchNorm2d(channels, momentum=0.1, affine=False)

    def initialize(self, generator: torch.Generator) -> None:
        """Forget the statistics of the channels; nothing is drawn."""
        del generator
        self.norm.reset_running_stats()

    def forward(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Feature map of each image: energies, then even +, even -, odd + and odd - responses.

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
        images = images.contiguous(memory_format=torch.channels_last)
        even, odd = F.conv2d(images, self.bank).chunk(2, dim=1)
        energy = torch.sqrt(even.square() + odd.square() + 1e-8)  # no infinite slope on grey
        channels = [energy]
        if self.config.simple:
            channels += [F.relu(even), F.relu(-even), F.relu(odd), F.relu(-odd)]
        return self.norm(torch.cat(channels, dim=1))

    def windows(self, images: Tensor, corners: Tensor, size: tuple[int, int]) -> Tensor:
        """Compute a window of each image's map; see `StackedCore.windows`.

        A window that leaves the map holds there what the filters answer to grey.
        """
        height, width = (n + self.config.input_kern - 1 for n in size)
        return self.forward(cut(images, corners, (height, width)))

    def regularizers(self) -> dict[str, Tensor]:
        """Nothing to regularise."""
        return {}


CORE = (GaborCoreConfig, GaborCore)
