"""Fit image models to a dataset and score every unit."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from science.dataset import ImageDataset, repeat_average
from science.metrics import cc_norm, correlation
from science.model.config import ImageModelConfig, TrainConfig
from science.model.ensemble import Ensemble
from science.model.network import ImageNetwork, predict
from science.model.training import TrainingResult, TrialData, train
from science.reliability import n_repeated_images


def fit(
    dataset: ImageDataset,
    config: ImageModelConfig,
    train_config: TrainConfig,
    seed: int,
    device: str = "cpu",
) -> TrainingResult:
    """Train one network on the train tier, stopping early on the validation tier."""

    def trials(tier: str) -> dict[str, TrialData]:
        return {
            key: TrialData(*map(torch.from_numpy, dataset.training_pairs(key, tier)))
            for key in dataset.recordings
        }

    return train(config, train_config, trials("train"), trials("validation"), seed, device)


def statistics(dataset: ImageDataset) -> dict[str, Any]:
    """Return what a packed network needs to be used without its dataset."""
    normalization = dataset.normalization
    return {
        "image_mean": normalization.image_mean,
        "image_std": normalization.image_std,
        "response_scale": {k: s.tolist() for k, s in normalization.response_scale.items()},
        "columns": [list(c) for c in dataset.columns],
    }


def unit_scores(
    network: ImageNetwork | Ensemble, dataset: ImageDataset
) -> dict[str, NDArray[np.float64]]:
    """Correlate predictions and responses of every unit.

    Returns
    -------
    dict of str to float64 (n_units,)
        `validation_corr` and `test_corr` over single trials, `test_corr_avg` with the mean over
        repeats, `cc_norm` the same divided by its ceiling (NaN for unreliable units); units in
        the order of `unit_index`, NaN for what the split or the repeats do not allow.
    """
    parts = [_recording_scores(network, dataset, key) for key in dataset.recordings]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _recording_scores(
    network: ImageNetwork | Ensemble, dataset: ImageDataset, key: str
) -> dict[str, NDArray[np.float64]]:
    recording = dataset.recordings[key]

    def predicted(tier: str) -> NDArray[np.float32]:
        images = torch.from_numpy(dataset.inputs(key, tier))
        device = next(network.parameters()).device
        return predict(network, images.to(device), key).cpu().numpy()

    validation = predicted("validation")
    unknown = np.full(validation.shape[1], np.nan)
    scores = dict.fromkeys(("test_corr", "test_corr_avg", "cc_norm"), unknown)
    scores["validation_corr"] = correlation(validation, dataset.targets(key, "validation"))
    image_index = recording.image_index[recording.trials("test")]
    if len(np.unique(image_index)) < 2:
        return scores
    test, targets = predicted("test"), dataset.targets(key, "test")
    scores["test_corr"] = correlation(test, targets)
    scores["test_corr_avg"] = correlation(
        repeat_average(test, image_index), repeat_average(targets, image_index)
    )
    if n_repeated_images(image_index) >= 2:
        scores["cc_norm"] = cc_norm(targets, test, image_index)
    return scores
