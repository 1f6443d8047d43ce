"""Efficient coding: populations of binary neurons, their decoders, and priors over words."""

from science.coding.config import CodingConfig, CodingTask, CodingTraining
from science.coding.encoders import CategoricalEncoder, TuningEncoder, tuning_from_clusters
from science.coding.models import CodingModels
from science.coding.stimuli import (
    FrequencyStimulus,
    GaussianStimulus,
    LogNormalStimulus,
    MixtureStimulus,
    SpeedStimulus,
    Stimulus,
)
from science.coding.training import CodingTrainee, evaluate
from science.coding.words import binary_words, enumeration_bytes

__all__ = [
    "CategoricalEncoder",
    "CodingConfig",
    "CodingModels",
    "CodingTask",
    "CodingTrainee",
    "CodingTraining",
    "FrequencyStimulus",
    "GaussianStimulus",
    "LogNormalStimulus",
    "MixtureStimulus",
    "SpeedStimulus",
    "Stimulus",
    "TuningEncoder",
    "binary_words",
    "enumeration_bytes",
    "evaluate",
    "tuning_from_clusters",
]
