"""The image network: a core shared by recordings, a readout for each (microns_vei 7)."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from science.model.config import ImageModelConfig, PyramidReadoutConfig, StackedCoreConfig
from science.model.core import StackedCore
from science.model.readout import PyramidReadout

CORES = {StackedCoreConfig: StackedCore}
READOUTS = {PyramidReadoutConfig: PyramidReadout}
"""Architectures by their configuration: the only way from a stored row to a module."""


class ImageNetwork(nn.Module):
    """Core, one readout per recording, final nonlinearity ELU + 1.

    Parameters
    ----------
    config : ImageModelConfig
        Architecture.
    image_shape : tuple of int
        Height and width of the images in pixels.
    n_units : mapping of str to int
        Units of every recording by its readout key.

    Attributes
    ----------
    config, image_shape, n_units
        As given.

    Raises
    ------
    ValueError
        If the images are too small for the core, there is no recording, or a readout key is
        empty or contains a dot (it names a submodule).

    Notes
    -----
    A new network is the one that `initialize` makes from seed 0 and mean responses of 1.
    """

    def __init__(
        self, config: ImageModelConfig, image_shape: tuple[int, int], n_units: Mapping[str, int]
    ) -> None:
        super().__init__()
        _check_units(n_units)
        self.config = config
        self.image_shape = (int(image_shape[0]), int(image_shape[1]))
        self.n_units = dict(n_units)
        # Layers draw their first weights from the global generator: leave it as it was.
        with torch.random.fork_rng(devices=[]):
            self.core = CORES[type(config.core)](config.core, self.image_shape)
            readout = READOUTS[type(config.readout)]
            self.readouts = nn.ModuleDict(
                {
                    key: readout(config.readout, self.core.output_shape, n)
                    for key, n in self.n_units.items()
                }
            )
        means = {key: torch.ones(n) for key, n in self.n_units.items()}
        self.initialize(means, torch.Generator().manual_seed(0))

    def initialize(self, mean_responses: Mapping[str, Tensor], generator: torch.Generator) -> None:
        """Draw the initial parameters; call it before the network moves to another device.

        Parameters
        ----------
        mean_responses : mapping of str to Tensor
            float32, (n_units,) for every readout key: mean training responses as scaled for
            training.
        generator : torch.Generator
            Source of all random numbers.
        """
        self.core.initialize(generator)
        for key, readout in self.readouts.items():
            readout.initialize(mean_responses[key], generator)

    def forward(self, images: Tensor, readout_key: str) -> Tensor:
        """Responses of all units of a recording.

        Parameters
        ----------
        images : Tensor
            float32, (b, 1, h, w), z-scored.
        readout_key : str
            Recording.

        Returns
        -------
        Tensor
            float32, (b, n_units), >= 0, in units of each unit's training standard deviation.
        """
        readout = self._readout(readout_key)
        return F.elu(readout(self._maps(images))) + 1

    def respond(self, images: Tensor, readout_key: str, units: Tensor) -> Tensor:
        """Response of unit ``units[i]`` to image i, without evaluating the other units.

        Parameters
        ----------
        images : Tensor
            float32, (b, 1, h, w), z-scored.
        readout_key : str
            Recording.
        units : Tensor
            int64, (b,), indices of units on the device of the images.

        Returns
        -------
        Tensor
            float32, (b,), >= 0: the entries ``(i, units[i])`` of `forward`.
        """
        readout = self._readout(readout_key)
        if units.shape != images.shape[:1]:
            raise ValueError(
                f"respond needs one unit per image, got {tuple(units.shape)} units "
                f"for {len(images)} images"
            )
        return F.elu(readout.respond(self._maps(images), units)) + 1

    def regularizers(self, readout_key: str) -> dict[str, Tensor]:
        """Terms of the regulariser by name, each weighted by its gamma."""
        return self.core.regularizers() | self._readout(readout_key).regularizers()

    def positions(self, readout_key: str) -> Tensor:
        """Places of the units, float32, (n_units, 2) in [-1, 1]: x = width, y = height."""
        return self._readout(readout_key).position.detach().clamp(-1, 1)

    def constrain(self) -> None:
        """Bring bounded parameters back into their range, after every optimiser step."""
        for readout in self.readouts.values():
            readout.constrain()

    def _maps(self, images: Tensor) -> Tensor:
        if images.ndim != 4 or images.shape[1:] != (1, *self.image_shape):
            raise ValueError(
                f"images have the shape {tuple(images.shape)}, "
                f"the network takes (b, 1, {self.image_shape[0]}, {self.image_shape[1]})"
            )
        return self.core(images)

    def _readout(self, readout_key: str) -> nn.Module:
        if readout_key not in self.readouts:
            raise ValueError(f"no readout {readout_key!r}, there are {sorted(self.n_units)}")
        return self.readouts[readout_key]


def predict(network: nn.Module, images: Tensor, readout_key: str, batch_size: int = 256) -> Tensor:
    """Responses to many images without gradients, batch by batch, in evaluation mode.

    Parameters
    ----------
    network : ImageNetwork or Ensemble
        Left in the mode in which it was.
    images : Tensor
        float32, (n, 1, h, w), z-scored.
    readout_key : str
        Recording.
    batch_size : int
        Images at a time: bounds the memory.

    Returns
    -------
    Tensor
        float32, (n, n_units).
    """
    training = network.training
    network.eval()
    with torch.no_grad():
        responses = [network(batch, readout_key) for batch in images.split(batch_size)]
    network.train(training)
    return torch.cat(responses)


def _check_units(n_units: Mapping[str, int]) -> None:
    if not n_units:
        raise ValueError("a network needs at least one recording in n_units")
    for key, n in n_units.items():
        if not key or "." in key:
            raise ValueError(f"readout key {key!r} must not be empty or contain a dot")
        if n < 1:
            raise ValueError(f"recording {key!r} has {n} units, at least 1 is needed")
