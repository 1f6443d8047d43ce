"""The image network: a core shared by recordings, the rest for each (microns_vei 7)."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from science.model.config import ImageModelConfig
from science.model.registry import CORES, MODULATORS, READOUTS, SHIFTERS


class ImageNetwork(nn.Module):
    """Core, then for each recording readout, shifter and modulator; ELU + 1 at the end.

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
            self.readouts, self.shifters, self.modulators = (nn.ModuleDict() for _ in range(3))
            for key, n in self.n_units.items():
                readout = READOUTS[type(config.readout)]
                self.readouts[key] = readout(config.readout, self.core.output_shape, n)
                if config.shifter is not None:
                    self.shifters[key] = SHIFTERS[type(config.shifter)](config.shifter)
                if config.modulator is not None:
                    self.modulators[key] = MODULATORS[type(config.modulator)](config.modulator, n)
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
            means = mean_responses[key]
            if means.shape != (self.n_units[key],):
                raise ValueError(
                    f"mean_responses of {key!r} has the shape {tuple(means.shape)}, "
                    f"the readout has {self.n_units[key]} units"
                )
            readout.initialize(means, generator)
        for module in (*self.shifters.values(), *self.modulators.values()):
            module.initialize(generator)

    @torch.no_grad()
    def place(self, readout_key: str, pixels: Tensor) -> None:
        """Let the units of a recording read at places of the image, as far as the map reaches.

        Parameters
        ----------
        readout_key : str
            Recording; its readout reads at a point.
        pixels : Tensor
            float32, (n_units, 2), x and y.
        """
        places = self.core.geometry.to_map(pixels.to(self._readout(readout_key).position))
        self._readout(readout_key).position.copy_(places.clamp(-1, 1))

    def forward(
        self,
        images: Tensor,
        readout_key: str,
        behavior: Tensor | None = None,
        pupil_center: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Responses of all units of a recording.

        Parameters
        ----------
        images : Tensor
            float32, (b, 1, h, w), z-scored.
        readout_key : str
            Recording.
        behavior : Tensor, optional
            float32, (b, 3), scaled; without it the gain is 1 (microns_vei 2).
        pupil_center : Tensor, optional
            float32, (b, 2), z-scored; without it the eye is at its mean position.
        generator : torch.Generator, optional
            CPU source of what core and readout draw in training.

        Returns
        -------
        Tensor
            float32, (b, n_units), >= 0, in units of each unit's training standard deviation.
        """
        readout = self._readout(readout_key)
        shift = self._shift(readout_key, images, pupil_center)
        drive = readout(self.maps(images, generator), shift, generator)
        if behavior is None or readout_key not in self.modulators:
            return self.response(drive)
        gain = self.modulators[readout_key](behavior)
        if self.config.modulator.multiplies == "drive":
            return self.response(drive * gain)
        return self.response(drive) * gain

    def maps(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Feature maps of the core, (b, *core.output_shape); see `forward`."""
        self.check_images(images)
        return self.core(images, generator)

    def check_images(self, images: Tensor) -> None:
        """Raise ValueError unless images are (b, 1, h, w) of the network's size."""
        if images.ndim != 4 or images.shape[1:] != (1, *self.image_shape):
            raise ValueError(
                f"images have the shape {tuple(images.shape)}, "
                f"the network takes (b, 1, {self.image_shape[0]}, {self.image_shape[1]})"
            )

    def drives(self, maps: Tensor, columns: Sequence[tuple[str, int]]) -> Tensor:
        """Linear response of one unit to each map, while the eye is at its mean position.

        Parameters
        ----------
        maps : Tensor
            float32, (b, *core.output_shape).
        columns : sequence of (str, int), (b,)
            Recording and index of the unit of each map.

        Returns
        -------
        Tensor
            float32, (b,); `response` of it is what `forward` returns for map and unit.
        """
        drives = maps.new_zeros(len(maps))
        for key in dict.fromkeys(key for key, _ in columns):
            here = torch.tensor([i for i, (k, _) in enumerate(columns) if k == key])
            units = torch.tensor([columns[i][1] for i in here])
            here, units = here.to(maps.device), units.to(maps.device)
            own = self._readout(key).respond(maps[here], units, self._shift(key, maps))
            drives = drives.index_put((here,), own)
        return drives

    def response(self, drive: Tensor) -> Tensor:
        """Responses at gain 1 to the linear responses of the readouts."""
        return F.elu(drive) + 1

    def regularizers(self, readout_key: str) -> dict[str, Tensor]:
        """Terms of the regulariser by name, each weighted by its gamma."""
        terms = self.core.regularizers() | self._readout(readout_key).regularizers()
        for modules in (self.shifters, self.modulators):
            if readout_key in modules:
                terms |= modules[readout_key].regularizers()
        return terms

    @torch.no_grad()
    def positions(self, readout_key: str) -> Tensor:
        """Places that the units read while the eye is at its mean position.

        Returns
        -------
        Tensor
            float32, (n_units, 2), x = width, y = height; [-1, 1] is the map, which the shifter may
            leave.
        """
        places = self._readout(readout_key).positions()
        shift = self._shift(readout_key, places)
        return places.clone() if shift is None else places + shift

    def receptive_fields(self, readout_key: str) -> Tensor:
        """Centres of what the units see, float32, (n_units, 2): x and y in image pixels."""
        return self.core.geometry.to_pixels(self.positions(readout_key))

    def feature_weights(self, readout_key: str) -> Tensor:
        """Weights of the map's levels and channels, float32, (n_units, n_levels, n_channels)."""
        return self._readout(readout_key).feature_weights().detach()

    def constrain(self) -> None:
        """Bring bounded parameters back into their range, after every optimiser step."""
        for readout in self.readouts.values():
            readout.constrain()

    def _shift(
        self, readout_key: str, like: Tensor, pupil_center: Tensor | None = None
    ) -> Tensor | None:
        """Displacement of the readouts, (b, 2), or (1, 2) for the mean position of the eye."""
        if readout_key not in self.shifters:
            return None
        if pupil_center is None:
            pupil_center = like.new_zeros(1, 2)
        return self.shifters[readout_key](pupil_center)

    def _readout(self, readout_key: str) -> nn.Module:
        if readout_key not in self.readouts:
            raise ValueError(f"no readout {readout_key!r}, there are {sorted(self.n_units)}")
        return self.readouts[readout_key]


def predict(
    network: nn.Module,
    images: Tensor,
    readout_key: str,
    behavior: Tensor | None = None,
    pupil_center: Tensor | None = None,
    batch_size: int = 256,
) -> Tensor:
    """Responses to many images without gradients, batch by batch, in evaluation mode.

    Parameters
    ----------
    network : ImageNetwork or Ensemble
        Left in the mode in which it was.
    images : Tensor
        float32, (n, 1, h, w), z-scored.
    readout_key : str
        Recording.
    behavior, pupil_center : Tensor, optional
        float32, (n, 3) and (n, 2); see `ImageNetwork.forward`.
    batch_size : int
        Images at a time: bounds the memory.

    Returns
    -------
    Tensor
        float32, (n, n_units).
    """
    training = network.training
    network.eval()
    batches = [slice(start, start + batch_size) for start in range(0, len(images), batch_size)]
    with torch.no_grad():
        responses = [
            network(
                images[batch],
                readout_key,
                None if behavior is None else behavior[batch],
                None if pupil_center is None else pupil_center[batch],
            )
            for batch in batches
        ]
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
