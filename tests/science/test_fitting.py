"""Fitting a dataset and scoring its units, against direct computations."""

import json

import numpy as np
import pytest
import torch

from science.dataset import ImageDataset, Normalization, Recording
from science.metrics import cc_norm
from science.model.config import ImageModelConfig, TrainConfig
from science.model.ensemble import Ensemble
from science.model.fitting import fit, statistics
from science.model.network import ImageNetwork, predict
from science.model.scores import unit_scores

CONFIG = ImageModelConfig.model_validate(
    {
        "core": {"type": "stacked", "hidden_channels": 2, "layers": 1, "input_kern": 5},
        "readout": {"type": "pyramid", "scale_n": 1},
    }
)
TRAINING = TrainConfig(max_epoch=2, schedule=(0.01,), patience=2, batch_size=20)
SIZE = (12, 16)


def recording(seed, n_units, n_test=6, repeats=4):
    rng = np.random.default_rng(seed)
    n_once = 60
    frames = rng.uniform(0, 255, (n_once + n_test, *SIZE)).astype(np.float32)
    tiers = np.repeat(["train", "validation", "test"], [48, 12, n_test])
    index = np.concatenate([np.arange(n_once), np.repeat(np.arange(n_once, len(frames)), repeats)])
    index = rng.permutation(index)
    drive = frames[:, 5:8, 5:8].mean((1, 2))[index, None] / 50
    responses = rng.poisson(np.clip(drive, 0, None), (len(index), n_units)).astype(np.float32)
    return Recording(frames, tiers, index, responses)


def dataset(**recordings):
    columns = [(key, i) for key, r in recordings.items() for i in range(r.responses.shape[1])]
    return ImageDataset(recordings, Normalization.of(recordings), columns)


def network(data, seed=0):
    torch.manual_seed(seed)
    return ImageNetwork(CONFIG, data.image_shape, data.n_units).eval()


def predicted(net, data, key, tier):
    return predict(net, torch.from_numpy(data.inputs(key, tier)), key).numpy()


def same_weights(a, b):
    b = b.state_dict()
    return all(torch.equal(value, b[name]) for name, value in a.state_dict().items())


def test_training_never_sees_the_test_tier():
    r = recording(0, 3)
    seen = r.responses.copy()
    seen[r.trials("test")] = 1000
    frames = r.frames.copy()
    frames[r.tiers == "test"] = 0
    a = fit(dataset(a=r), CONFIG, TRAINING, seed=1)
    b = fit(dataset(a=Recording(frames, r.tiers, r.image_index, seen)), CONFIG, TRAINING, seed=1)
    assert same_weights(a.network, b.network)
    # and what it does see matters
    seen[r.trials("train")[:5]] = 50
    c = fit(dataset(a=Recording(frames, r.tiers, r.image_index, seen)), CONFIG, TRAINING, seed=1)
    assert not same_weights(a.network, c.network)


def test_the_same_seed_gives_the_same_network_and_another_another():
    data = dataset(a=recording(0, 2))
    a, b, c = (fit(data, CONFIG, TRAINING, seed=s).network for s in (1, 1, 2))
    assert same_weights(a, b)
    assert not same_weights(a, c)


@pytest.mark.parametrize("part", [{"shifter": {"type": "mlp"}}, {"modulator": {"type": "mlp"}}])
def test_a_dataset_without_behavior_is_named(part):
    config = ImageModelConfig.model_validate(CONFIG.model_dump() | part)
    with pytest.raises(ValueError, match=r"needs a dataset with behaviour: set behavior = true"):
        fit(dataset(a=recording(0, 2)), config, TRAINING, seed=0)


def correlations(a, b):
    return [np.corrcoef(x, y)[0, 1] for x, y in zip(a.T, b.T, strict=True)]


def test_scores_are_the_correlations_of_each_unit_in_the_order_of_the_dataset():
    data = dataset(b=recording(0, 3), a=recording(1, 2))
    net = network(data)
    scores = unit_scores(net, data)
    assert all(s.shape == (5,) for s in scores.values())
    for key, rows in (("b", slice(0, 3)), ("a", slice(3, 5))):
        r = data.recordings[key]
        for tier, name in (("validation", "validation_corr"), ("test", "test_corr")):
            direct = correlations(predicted(net, data, key, tier), r.responses[r.trials(tier)])
            np.testing.assert_allclose(scores[name][rows], direct, atol=1e-5)
        test = predicted(net, data, key, "test")
        shown = r.image_index[r.trials("test")]
        responses = r.responses[r.trials("test")]
        mean = np.stack([responses[shown == i].mean(0) for i in range(60, 66)])
        once = np.stack([test[shown == i][0] for i in range(60, 66)])
        direct = correlations(once, mean)
        np.testing.assert_allclose(scores["test_corr_avg"][rows], direct, atol=1e-5)
        direct = cc_norm(responses, test, shown)
        np.testing.assert_allclose(scores["test_cc_norm"][rows], direct, atol=1e-5)


def test_an_ensemble_is_scored_by_the_mean_of_its_members():
    data = dataset(a=recording(0, 3))
    members = [network(data, seed) for seed in (0, 1)]
    scores = unit_scores(Ensemble(members), data)
    mean = (predicted(members[0], data, "a", "test") + predicted(members[1], data, "a", "test")) / 2
    r = data.recordings["a"]
    direct = correlations(mean, r.responses[r.trials("test")])
    np.testing.assert_allclose(scores["test_corr"], direct, atol=1e-5)


@pytest.mark.parametrize(
    ("n_test", "repeats", "known"),
    [
        (0, 1, set()),
        (1, 5, set()),
        (6, 1, {"test_corr", "test_corr_avg"}),
    ],
)
def test_what_the_test_tier_does_not_allow_is_unknown(n_test, repeats, known):
    data = dataset(a=recording(0, 3, n_test=n_test, repeats=repeats))
    scores = unit_scores(network(data), data)
    known = known | {"validation_corr", "validation_corr_avg"}  # every image once
    assert {name for name, values in scores.items() if np.isfinite(values).all()} == known
    assert all(np.isnan(scores[name]).all() for name in set(scores) - known)


def test_a_silent_unit_has_no_score():
    r = recording(0, 3)
    r.responses[:, 1] = 0
    data = dataset(a=r)
    scores = unit_scores(network(data), data)
    np.testing.assert_array_equal(np.isnan(scores["test_corr"]), [False, True, False])


def test_what_is_packed_with_a_network_is_json_and_scales_its_images():
    data = dataset(b=recording(0, 2), a=recording(1, 1))
    packed = json.loads(json.dumps(statistics(data), allow_nan=False))
    assert packed["image_mean"] == data.normalization.image_mean
    assert packed["image_std"] == data.normalization.image_std
    assert packed["columns"] == [["b", 0], ["b", 1], ["a", 0]]
    for key, scale in data.normalization.response_scale.items():
        np.testing.assert_array_equal(np.float32(packed["response_scale"][key]), scale)
