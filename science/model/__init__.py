"""Static image networks: architecture, training, ensembles, weights as bytes."""

from science.model.config import ImageModelConfig, TrainConfig
from science.model.cores.energy import EnergyCoreConfig
from science.model.cores.gabor import GaborCoreConfig
from science.model.cores.stacked import StackedCoreConfig
from science.model.ensemble import Ensemble
from science.model.modulators import MLPModulatorConfig
from science.model.network import ImageNetwork, predict
from science.model.readouts.factorized import FactorizedReadoutConfig
from science.model.readouts.gaussian import GaussianReadoutConfig
from science.model.readouts.pyramid import PyramidReadoutConfig
from science.model.shifters import AffineShifterConfig, MLPShifterConfig

__all__ = [
    "AffineShifterConfig",
    "EnergyCoreConfig",
    "Ensemble",
    "FactorizedReadoutConfig",
    "GaborCoreConfig",
    "GaussianReadoutConfig",
    "ImageModelConfig",
    "ImageNetwork",
    "MLPModulatorConfig",
    "MLPShifterConfig",
    "PyramidReadoutConfig",
    "StackedCoreConfig",
    "TrainConfig",
    "predict",
]
