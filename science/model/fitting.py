"""Fit image models to a dataset."""

import time
from collections.abc import Callable
from typing import Any

import torch

from science.dataset import ImageDataset
from science.model.config import ImageModelConfig, TrainConfig
from science.model.training import Training, TrainingResult
from science.model.trials import TrialData


def fit(
    dataset: ImageDataset,
    config: ImageModelConfig,
    train_config: TrainConfig,
    seed: int,
    device: str = "cpu",
    checkpoint: bytes | None = None,
    after_epoch: Callable[[Training], None] | None = None,
) -> TrainingResult:
    """Train one network on the train tier, stopping early on the validation tier.

    Parameters
    ----------
    dataset : ImageDataset
        With behaviour, if the network has a shifter or a modulator.
    config, train_config, seed, device
        As of `Training`.
    checkpoint : bytes, optional
        Of the same run, to go on from.
    after_epoch : callable, optional
        Called with the run after every epoch but the last.
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
    training = Training(config, train_config, *tiers, seed, device)
    if checkpoint is not None:
        training.resume(checkpoint)
    while not training.finished:
        training.run_epoch()
        if after_epoch is not None and not training.finished:
            after_epoch(training)
    return training.result()


def save_every(seconds: float, save: Callable[[bytes], None]) -> Callable[[Training], None]:
    """Return an `after_epoch` of `fit` that saves a checkpoint when the last one is so old."""
    last = time.monotonic()

    def after_epoch(training: Training) -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            save(training.checkpoint())
            last = time.monotonic()

    return after_epoch


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
