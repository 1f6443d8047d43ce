"""The shipped Allen study builds the network of its specification (allen_mei 4); the benchmark's
simulated recording has the design of the real one."""

import numpy as np
import pytest
import torch

from benchmarks import allen_models
from pipeline.demo import STUDIES
from pipeline.study import read_study
from science.model import ImageNetwork
from science.virtual import VirtualAnimal


@pytest.fixture(scope="module")
def study():
    return read_study(STUDIES / "allen.toml")


def test_the_network_of_a_unit_has_the_shapes_of_the_specification(study):
    shape = (study.preprocessing.height, study.preprocessing.width)
    assert shape == (60, 96)
    network = ImageNetwork(study.models["cnn"].config, shape, {"unit": 1})
    assert [tuple(c.weight.shape) for c in network.core.convolutions] == [
        (64, 1, 4, 4),
        (64, 64, 3, 3),
        (64, 64, 3, 3),
    ]
    assert network.core.output_shape == (192, 30, 48)
    assert network.feature_weights("unit").shape == (1, 4, 192)  # 768 features
    torch.testing.assert_close(network.feature_weights("unit"), torch.full((1, 4, 192), 1 / 192))
    assert network.positions("unit").abs().max() <= 0.1
    response = network(torch.randn(3, 1, *shape), "unit")
    assert response.shape == (3, 1)
    assert (response >= 0).all()


def test_the_feature_weights_stay_at_or_above_zero(study):
    network = ImageNetwork(study.models["cnn"].config, (60, 96), {"unit": 1})
    with torch.no_grad():
        network.readouts["unit"].features.normal_()
    network.constrain()
    assert network.feature_weights("unit").min() == 0


def test_the_core_is_regularised_as_specified(study):
    config = study.models["cnn"].config
    assert (config.core.gamma_input, config.core.gamma_hidden) == (0.1, 0.1)
    network = ImageNetwork(config, (60, 96), {"unit": 1})
    assert (network.core.laplace_weights == 1).all()


def test_the_simulation_shows_118_images_50_times_each_in_one_tier(study):
    animal = VirtualAnimal(allen_models.virtual_area(24, 4), seed=0)
    dataset = allen_models.simulate(animal, study.split)
    recording = dataset.recordings[allen_models.KEY]
    assert np.bincount(recording.image_index).tolist() == [50] * 118
    tiers = [dataset.training_pairs("allen", tier)[0] for tier in ("train", "validation", "test")]
    assert sum(map(len, tiers)) == len({image.tobytes() for tier in tiers for image in tier}) == 118


def test_a_unit_alone_keeps_images_tiers_and_its_own_responses(study):
    animal = VirtualAnimal(allen_models.virtual_area(24, 4), seed=0)
    dataset = allen_models.simulate(animal, study.split)
    alone = allen_models.single_units(dataset, [3, 1])
    assert [d.n_units for d in alone] == [{"allen": 1}] * 2
    for tier in ("train", "validation", "test"):
        inputs, targets = dataset.training_pairs("allen", tier)
        for one, unit in zip(alone, (3, 1), strict=True):
            np.testing.assert_array_equal(one.training_pairs("allen", tier)[0], inputs)
            expected = targets[:, [unit]]
            np.testing.assert_allclose(one.training_pairs("allen", tier)[1], expected, rtol=1e-6)
