"""All architectures, each by its configuration: the only way from a stored row to a module.

A new architecture is one file with its configuration and its module, and one line here.
"""

from functools import reduce
from operator import or_
from typing import Annotated, Any

from pydantic import Field
from torch import nn

from science.model.cores.energy import EnergyCore, EnergyCoreConfig
from science.model.cores.gabor import GaborCore, GaborCoreConfig
from science.model.cores.stacked import StackedCore, StackedCoreConfig
from science.model.modulators import MLPModulator, MLPModulatorConfig
from science.model.readouts.factorized import FactorizedReadout, FactorizedReadoutConfig
from science.model.readouts.gaussian import GaussianReadout, GaussianReadoutConfig
from science.model.readouts.pyramid import PyramidReadout, PyramidReadoutConfig
from science.model.shifters import (
    AffineShifter,
    AffineShifterConfig,
    MLPShifter,
    MLPShifterConfig,
)
from science.params import Params

Modules = dict[type[Params], type[nn.Module]]

CORES: Modules = {
    StackedCoreConfig: StackedCore,
    GaborCoreConfig: GaborCore,
    EnergyCoreConfig: EnergyCore,
}
READOUTS: Modules = {
    PyramidReadoutConfig: PyramidReadout,
    FactorizedReadoutConfig: FactorizedReadout,
    GaussianReadoutConfig: GaussianReadout,
}
SHIFTERS: Modules = {
    MLPShifterConfig: MLPShifter,
    AffineShifterConfig: AffineShifter,
}
MODULATORS: Modules = {
    MLPModulatorConfig: MLPModulator,
}


def any_of(modules: Modules) -> Any:
    """Type of the configurations of these modules, told apart by their `type`."""
    union = reduce(or_, modules)
    return Annotated[union, Field(discriminator="type")] if len(modules) > 1 else union


CoreConfig = any_of(CORES)
ReadoutConfig = any_of(READOUTS)
ShifterConfig = any_of(SHIFTERS)
ModulatorConfig = any_of(MODULATORS)
