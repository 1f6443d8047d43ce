"""Static image networks: architecture, training, ensembles, weights as bytes."""

from science.model.config import (
    ImageModelConfig,
    PyramidReadoutConfig,
    StackedCoreConfig,
    TrainConfig,
)
from science.model.ensemble import Ensemble
from science.model.network import ImageNetwork, predict

__all__ = [
    "Ensemble",
    "ImageModelConfig",
    "ImageNetwork",
    "PyramidReadoutConfig",
    "StackedCoreConfig",
    "TrainConfig",
    "predict",
]
