"""Validated parameters of the image models and of their training.

A configuration is data: it is stored as a row, hashed, and turned into a module only by the
registries of :mod:`science.model.network`. All classes are frozen and refuse unknown fields.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from science.params import Params

NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class StackedCoreConfig(Params):
    """Stacked convolutional core shared by all recordings (microns_vei 7.1).

    Attributes
    ----------
    hidden_channels : int
        Channels of every layer; the core puts out ``layers * hidden_channels``.
    layers : int
        Convolution layers.
    skip : int
        A hidden layer reads the outputs of up to this many preceding layers.
    input_kern, hidden_kern : int
        Filter sizes in pixels. The first layer is unpadded; hidden layers keep the size of the
        map, which needs an odd `hidden_kern`.
    linear : bool
        Leave out every ELU: with the final nonlinearity an LN model, the linear control.
    gamma_input : float
        Weight of the Gauss-weighted smoothness of the first layer's filters.
    gamma_hidden : float
        Weight of the group sparsity of the hidden layers.
    gauss_sigma, gauss_bias : float
        Width and offset of the smoothness weight, in half filter widths.
    laplace_padding : int
        Zero padding of the Laplacian; with any other value than 1 its size would not match.
    """

    type: Literal["stacked"] = "stacked"
    hidden_channels: int = Field(32, ge=1, le=1024)
    layers: int = Field(3, ge=1, le=20)
    skip: int = Field(3, ge=1, le=20)
    input_kern: int = Field(15, ge=2, le=101)
    hidden_kern: int = Field(7, ge=1, le=101)
    linear: bool = False
    gamma_input: NonNegative = 50.0
    gamma_hidden: NonNegative = 0.1
    gauss_sigma: Positive = 0.5
    gauss_bias: NonNegative = 0.0
    laplace_padding: Literal[1] = 1

    @model_validator(mode="after")
    def _hidden_kernel_is_odd(self) -> "StackedCoreConfig":
        if self.hidden_kern % 2 == 0:
            raise ValueError(f"hidden_kern={self.hidden_kern} must be odd to keep the map's size")
        return self


class PyramidReadoutConfig(Params):
    """Readout at one place of a Laplace pyramid per unit (microns_vei 7.2).

    Attributes
    ----------
    scale_n : int
        High-pass levels; with the low-pass rest a unit reads ``scale_n + 1`` levels.
    downsample : bool
        Halve the resolution from level to level.
    positive : bool
        Keep the feature weights at or above zero.
    gamma_features : float
        Weight of the mean absolute feature weight.
    init_range : float
        Positions start uniformly within ``[-init_range, init_range]``.
    """

    type: Literal["pyramid"] = "pyramid"
    scale_n: int = Field(5, ge=1, le=10)
    downsample: bool = True
    positive: bool = False
    gamma_features: NonNegative = 1.0
    init_range: float = Field(0.1, ge=0, le=1)


# A second architecture makes these `Annotated[A | B, Field(discriminator="type")]`.
CoreConfig = StackedCoreConfig
ReadoutConfig = PyramidReadoutConfig
ShifterConfig = None
ModulatorConfig = None


class ImageModelConfig(Params):
    """Architecture of a static image network: core, readout, shifter, modulator."""

    core: CoreConfig = StackedCoreConfig()
    readout: ReadoutConfig = PyramidReadoutConfig()
    shifter: ShifterConfig = None
    modulator: ModulatorConfig = None


class TrainConfig(Params):
    """Parameters of the training loop (microns_vei 8.2 and 8.3).

    Attributes
    ----------
    batch_size : int
        Images per gradient step, all of one recording.
    schedule : tuple of float
        Learning rates, one early-stopped stage with a fresh Adam each.
    max_epoch : int
        Cap on the epochs of all stages together.
    patience : int
        Epochs without improvement that end a stage.
    tolerance : float
        Least increase of the validation correlation that counts as improvement.
    """

    batch_size: int = Field(60, ge=1)
    schedule: tuple[Positive, ...] = Field((0.005, 0.001), min_length=1)
    max_epoch: int = Field(500, ge=1)
    patience: int = Field(10, ge=1)
    tolerance: NonNegative = 1e-6
