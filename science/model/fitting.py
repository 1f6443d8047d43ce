"""Fit image models to a dataset."""

from typing import Any

import torch

from science.dataset import ImageDataset
from science.model.config import ImageModelConfig, TrainConfig
from science.model.training import ImageTrainee
from science.model.trials import TrialData
from science.training import TrainingResult, train


def image_trainee(
    dataset: ImageDataset,
    config: ImageModelConfig,
    train_config: TrainConfig,
    device: str = "cpu",
) -> ImageTrainee:
    """Train networks on the train tier of a dataset, stopping early on its validation tier.

    Parameters
    ----------
    dataset : ImageDataset
        With behaviour, if the network has a shifter or a modulator.
    config, train_config, device
        As of `ImageTrainee`.
    """
    if config.needs_behavior and any(r.behavior is None for r in dataset.recordings.values()):
        raise ValueError(
            "a shifter or modulator needs a dataset with behaviour: set behavior = true in its "
            "DataConfig"
        )
    tiers = [
        {key: trial_data(dataset, key, tier) for key in dataset.recordings}
        for tier in ("train", "validation")
    ]
    return ImageTrainee(config, train_config, *tiers, device)


def fit(
    dataset: ImageDataset,
    config: ImageModelConfig,
    train_config: TrainConfig,
    seed: int,
    device: str = "cpu",
) -> TrainingResult:
    """Train one network on a dataset; parameters as of `image_trainee` and `Training`."""
    return train(image_trainee(dataset, config, train_config, device), seed)


def trial_data(dataset: ImageDataset, readout_key: str, tier: str) -> TrialData:
    """Trials of one recording and tier as tensors, scaled."""
    arrays = dataset.training_pairs(readout_key, tier)
    if dataset.recordings[readout_key].behavior is not None:
        arrays += dataset.behavior(readout_key, tier)
    return TrialData(*map(torch.from_numpy, arrays))


def statistics(dataset: ImageDataset) -> dict[str, Any]:
    """Return what a packed network needs to be used without its dataset."""
    normalization = dataset.normalization
    per_recording = ("response_scale", "behavior_scale", "behavior_mean", "pupil_mean", "pupil_std")
    return {
        "image_mean": normalization.image_mean,
        "image_std": normalization.image_std,
        "columns": [list(c) for c in dataset.columns],
        **{
            name: {key: values.tolist() for key, values in getattr(normalization, name).items()}
            for name in per_recording
        },
    }
