"""How well a network predicts every unit, trial by trial and against the noise ceiling."""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from science.dataset import ImageDataset, repeat_average
from science.metrics import cc_norm, correlation, feve
from science.model.ensemble import Ensemble
from science.model.network import ImageNetwork, predict
from science.oracle import leave_one_out_oracle
from science.reliability import n_repeated_images

Floats = NDArray[np.float64]

TIERS = ("validation", "test")
SCORES = ("corr", "corr_avg", "cc_norm", "feve", "oracle_fraction")


def unit_scores(
    network: ImageNetwork | Ensemble,
    dataset: ImageDataset,
    inputs: Literal["recorded", "mean"] = "recorded",
) -> dict[str, Floats]:
    """Score the predictions of every unit on the validation and the test tier.

    Parameters
    ----------
    network : ImageNetwork or Ensemble
    dataset : ImageDataset
    inputs : {"recorded", "mean"}
        Eye position and behaviour, where the dataset has them: as recorded in each trial, or their
        means over the train tier in all trials (microns_vei 9, frozen evaluation).

    Returns
    -------
    dict of str to float64 (n_units,)
        ``{tier}_{score}``, units in the order of `unit_index`, NaN for what the tier does not
        allow: `corr` over single trials, `corr_avg` with the mean over repeats, `cc_norm` the same
        divided by its ceiling, `feve`, and `oracle_fraction`, `corr` divided by the leave-one-out
        oracle. Without repeats the last three are unknown, as for units that are not reliable.
    """
    scores = {}
    for tier in TIERS:
        parts = [_tier_scores(network, dataset, key, tier, inputs) for key in dataset.recordings]
        for name in SCORES:
            scores[f"{tier}_{name}"] = np.concatenate([part[name] for part in parts])
    return scores


def _tier_scores(
    network: ImageNetwork | Ensemble, dataset: ImageDataset, key: str, tier: str, inputs: str
) -> dict[str, Floats]:
    recording = dataset.recordings[key]
    image_index = recording.image_index[recording.trials(tier)]
    scores = dict.fromkeys(SCORES, np.full(dataset.n_units[key], np.nan))
    if len(np.unique(image_index)) < 2:
        return scores
    predicted, responses = (
        _predicted(network, dataset, key, tier, inputs),
        dataset.targets(key, tier),
    )
    scores["corr"] = correlation(predicted, responses)
    scores["corr_avg"] = correlation(
        repeat_average(predicted, image_index), repeat_average(responses, image_index)
    )
    if n_repeated_images(image_index) >= 2:
        scores["cc_norm"] = cc_norm(responses, predicted, image_index)
        scores["feve"] = feve(responses, predicted, image_index)
        oracle = leave_one_out_oracle(responses, image_index, min_repeats=2)
        known = np.isfinite(scores["feve"]) & (oracle > 0)
        scores["oracle_fraction"] = np.where(
            known, scores["corr"] / np.where(known, oracle, 1), np.nan
        )
    return scores


def _predicted(
    network: ImageNetwork | Ensemble, dataset: ImageDataset, key: str, tier: str, inputs: str
) -> NDArray[np.float32]:
    device = next(network.parameters()).device
    behavior = pupil_center = None
    if dataset.recordings[key].behavior is not None:
        behavior, pupil_center = dataset.behavior(key, tier)
        if inputs == "mean":
            mean = (
                dataset.normalization.behavior_mean[key] / dataset.normalization.behavior_scale[key]
            )
            behavior = np.broadcast_to(mean, behavior.shape).copy()
            pupil_center = np.zeros_like(pupil_center)
        behavior, pupil_center = (
            torch.from_numpy(values).to(device) for values in (behavior, pupil_center)
        )
    images = torch.from_numpy(dataset.inputs(key, tier)).to(device)
    return predict(network, images, key, behavior, pupil_center).cpu().numpy()
