"""Validated parameters of a whole image model and of its training.

A configuration is data: it is stored as a row, hashed, and turned into a module only by
:mod:`science.model.registry`. All classes are frozen and refuse unknown fields.
"""

from pydantic import Field

from science.model.cores.stacked import StackedCoreConfig
from science.model.readouts.pyramid import PyramidReadoutConfig
from science.model.registry import CoreConfig, ModulatorConfig, ReadoutConfig, ShifterConfig
from science.params import NonNegative, Params, Positive
from science.training import Schedule


class ImageModelConfig(Params):
    """Architecture of a static image network: core, readout, shifter, modulator.

    Without a shifter the eye, without a modulator behaviour plays no role.
    """

    core: CoreConfig = StackedCoreConfig()
    readout: ReadoutConfig = PyramidReadoutConfig()
    shifter: ShifterConfig | None = None
    modulator: ModulatorConfig | None = None

    @property
    def linear(self) -> bool:
        """Whether it is linear up to the final nonlinearity, as the control models are."""
        return getattr(self.core, "linear", False)

    @property
    def needs_behavior(self) -> bool:
        """Whether training needs the eye's position or behaviour."""
        return self.shifter is not None or self.modulator is not None


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

    @property
    def stages(self) -> Schedule:
        """Its learning rates with early stopping."""
        return Schedule(self.schedule, self.max_epoch, self.patience, self.tolerance)
