"""Scores of units: eye and behaviour as recorded or at their means, ceilings, oracles."""

import numpy as np
import pytest
import torch
from torch import nn

from science.dataset import ImageDataset, Normalization, Recording
from science.model import (
    AffineShifterConfig,
    ImageModelConfig,
    ImageNetwork,
    MLPModulatorConfig,
    PyramidReadoutConfig,
    StackedCoreConfig,
    predict,
)
from science.model.scores import SCORES, TIERS, unit_scores

N_TEST, REPEATS, N_UNITS = 30, 12, 8
CONFIG = ImageModelConfig(
    core=StackedCoreConfig(hidden_channels=2, layers=1, input_kern=5),
    readout=PyramidReadoutConfig(scale_n=1),
    shifter=AffineShifterConfig(),
    modulator=MLPModulatorConfig(),
)


def dataset_of(behavior=True, gain_moves=True, seed=0):
    """Poisson units that respond to one pixel each, times a gain that follows the running speed."""
    rng = np.random.default_rng(seed)
    n_once = 160
    frames = rng.uniform(0, 255, (n_once + N_TEST, 9, 11)).astype(np.float32)
    tiers = np.repeat(["train", "validation", "test"], [120, 40, N_TEST])
    index = np.concatenate([np.arange(n_once), np.repeat(np.arange(n_once, len(frames)), REPEATS)])
    index = rng.permutation(index)
    running = rng.uniform(0.2, 3, (len(index), 3)).astype(np.float32)
    rate = frames[index, 4, :N_UNITS] / 50
    if gain_moves:
        rate = rate * running[:, 2:]
    pupil = rng.normal([60, 40], 4, (len(index), 2)).astype(np.float32)
    responses = rng.poisson(rate).astype(np.float32)
    state = (running, pupil) if behavior else ()
    recordings = {"a": Recording(frames, tiers, index, responses, *state)}
    columns = [("a", unit) for unit in range(N_UNITS)]
    return ImageDataset(recordings, Normalization.of(recordings), columns)


class Truth(nn.Module):
    """The expectation of the responses of `dataset_of`, scaled as they are."""

    def __init__(self, data, gain_moves=True, factor=1.0):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))
        self.scales = data.normalization
        self.gain_moves, self.factor = gain_moves, factor

    def forward(self, images, key, behavior=None, pupil_center=None):
        grey = images[:, 0, 4, :N_UNITS] * self.scales.image_std + self.scales.image_mean
        rate = grey / 50 * self.factor
        if self.gain_moves:
            rate = rate * behavior[:, 2:] * self.scales.behavior_scale[key][2]
        return rate / torch.from_numpy(self.scales.response_scale[key])


def network_of(data):
    network = ImageNetwork(CONFIG, data.image_shape, data.n_units).eval()
    with torch.no_grad():
        for index, parameter in enumerate(network.parameters()):
            generator = torch.Generator().manual_seed(index)
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return network


def correlations(a, b):
    return [np.corrcoef(x, y)[0, 1] for x, y in zip(a.T, b.T, strict=True)]


def test_the_truth_explains_all_that_can_be_explained():
    data = dataset_of(gain_moves=False)
    scores = unit_scores(Truth(data, gain_moves=False), data)
    assert scores["test_feve"].mean() == pytest.approx(1, abs=0.03)
    assert scores["test_cc_norm"].mean() == pytest.approx(1, abs=0.02)
    wrong = unit_scores(Truth(data, gain_moves=False, factor=2.0), data)
    np.testing.assert_allclose(wrong["test_cc_norm"], scores["test_cc_norm"], atol=1e-5)
    assert (wrong["test_feve"] < 0.5).all()


def test_fraction_of_the_oracle():
    data = dataset_of(gain_moves=False)
    model = Truth(data, gain_moves=False)
    recording = data.recordings["a"]
    trials = recording.trials("test")
    shown, responses = recording.image_index[trials], recording.responses[trials]
    others = np.stack(
        [
            np.delete(responses, i, 0)[np.delete(shown, i) == image].mean(0)
            for i, image in enumerate(shown)
        ]
    )
    scores = unit_scores(model, data)
    expected = scores["test_corr"] / correlations(responses, others)
    np.testing.assert_allclose(scores["test_oracle_fraction"], expected, rtol=1e-6)
    # With r repeats the oracle of a unit of signal S and noise N lies sqrt((S + N/(r-1)) / S)
    # below the truth.
    power = np.var(recording.frames[160:, 4, :N_UNITS] / 50, axis=0)
    noise = np.mean(recording.frames[160:, 4, :N_UNITS] / 50, axis=0)
    above = np.sqrt((power + noise / (REPEATS - 1)) / power)
    assert scores["test_oracle_fraction"].mean() == pytest.approx(above.mean(), abs=0.02)


def test_inputs_are_those_of_each_trial_or_the_means_of_the_train_tier():
    data = dataset_of()
    network, recording = network_of(data), data.recordings["a"]
    train, test = recording.trials("train"), recording.trials("test")
    images = torch.from_numpy(data.inputs("a", "test"))
    deviation = recording.behavior[train].std(0, ddof=1)
    eye = recording.pupil_center
    recorded = (
        torch.from_numpy(recording.behavior[test] / deviation),
        torch.from_numpy((eye[test] - eye[train].mean(0)) / eye[train].std(0, ddof=1)),
    )
    mean = torch.from_numpy(recording.behavior[train].mean(0) / deviation)
    at_rest = mean.expand(len(test), 3), torch.zeros(len(test), 2)
    found = []
    for inputs, state in (("recorded", recorded), ("mean", at_rest)):
        direct = predict(network, images, "a", *state).numpy()
        scores = unit_scores(network, data, inputs)
        expected = correlations(direct, recording.responses[test])
        np.testing.assert_allclose(scores["test_corr"], expected, atol=1e-5)
        found.append(scores)
    assert np.abs(found[0]["test_corr"] - found[1]["test_corr"]).min() > 1e-4


def test_a_model_of_the_gain_explains_single_trials_better_with_behavior():
    data = dataset_of()
    model = Truth(data)
    recorded, mean = (unit_scores(model, data, inputs) for inputs in ("recorded", "mean"))
    for tier in TIERS:
        assert (recorded[f"{tier}_corr"] > mean[f"{tier}_corr"] + 0.05).all()


def test_without_behavior_in_the_dataset_both_inputs_are_the_same():
    data = dataset_of(behavior=False)
    network = network_of(data)
    one, other = (unit_scores(network, data, inputs) for inputs in ("recorded", "mean"))
    assert set(one) == {f"{tier}_{score}" for tier in TIERS for score in SCORES}
    images = torch.from_numpy(data.inputs("a", "test"))
    recording = data.recordings["a"]
    responses = recording.responses[recording.trials("test")]
    expected = correlations(predict(network, images, "a").numpy(), responses)
    np.testing.assert_allclose(one["test_corr"], expected, atol=1e-5)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])
