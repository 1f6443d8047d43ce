"""Activations of image networks as features, against the core itself."""

import numpy as np
import pytest
import torch

from science.model import (
    EnergyCoreConfig,
    Ensemble,
    GaborCoreConfig,
    ImageModelConfig,
    ImageNetwork,
    StackedCoreConfig,
)
from science.model.features import (
    ImageFeatureParams,
    image_features,
    layer_channels,
)
from science.model.readback import network_inputs, respond_to
from science.model.weights import TrainedEnsemble

CORES = {
    "stacked": StackedCoreConfig(hidden_channels=4, layers=3, input_kern=5, hidden_kern=3),
    "energy": EnergyCoreConfig(
        orientations=2, wavelengths=(4.0,), octaves=1, pool=2, hidden_channels=3, hidden_kern=(3, 3)
    ),
    "gabor": GaborCoreConfig(orientations=2, wavelengths=(4.0,), input_kern=5),
}
N_LAYERS = {"stacked": 3, "energy": 2, "gabor": 0}


def network_of(core):
    return ImageNetwork(ImageModelConfig(core=CORES[core]), (16, 20), {"1-1-1": 2}).eval()


def pictures(n, shape=(16, 20), seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (n, *shape))


def inputs(n):
    return torch.from_numpy(pictures(n) / 100 - 1).float()[:, None]


@pytest.mark.parametrize("core", CORES)
def test_features_are_means_over_parts_of_the_map(core):
    network, images = network_of(core), inputs(5)
    with torch.no_grad():
        maps = network.core(images).numpy()
    _, height, width = network.core.output_shape
    found = image_features(network, images, ImageFeatureParams(grid=2), batch_size=2)
    assert found.shape == (5, maps.shape[1] * 4)
    parts = found.reshape(5, -1, 2, 2)
    for row, column in np.ndindex(2, 2):
        # halves, with the element in the middle in both where the map has an odd side
        rows = slice(0, -(-height // 2)) if row == 0 else slice(height // 2, None)
        columns = slice(0, -(-width // 2)) if column == 0 else slice(width // 2, None)
        expected = maps[:, :, rows, columns].mean((2, 3))
        np.testing.assert_allclose(parts[:, :, row, column], expected, atol=1e-5)


@pytest.mark.parametrize("core", CORES)
def test_layers_are_the_trained_convolutions_in_their_order(core):
    network, images = network_of(core), inputs(3)
    together = image_features(network, images, ImageFeatureParams(grid=3))
    layers = [
        image_features(network, images, ImageFeatureParams(grid=3, layer=f"core.{i}"))
        for i in range(N_LAYERS[core])
    ]
    if layers:
        np.testing.assert_allclose(np.concatenate(layers, axis=1), together, atol=1e-6)
        # without its filters a layer is constant, those before it are as they were
        last = len(layers) - 1
        with torch.no_grad():
            network.core.convolutions[last].weight.zero_()
        for i, before in enumerate(layers):
            now = image_features(network, images, ImageFeatureParams(grid=3, layer=f"core.{i}"))
            assert (np.ptp(now, axis=0) == 0).all() if i == last else np.allclose(now, before)
    with pytest.raises(ValueError, match=f"{core}.*no layer 'core.{len(layers)}': use one of"):
        layer_channels(CORES[core], f"core.{len(layers)}")


def test_a_grid_finer_than_the_map_is_refused():
    with pytest.raises(ValueError, match="12 x 16 has no 13 x 13 parts: use a grid of at most 12"):
        image_features(network_of("stacked"), inputs(1), ImageFeatureParams(grid=13))


@pytest.mark.parametrize(
    "wrong", [{"layer": "readout"}, {"layer": "core.x"}, {"grid": 0}, {"tier": "oracle"}]
)
def test_impossible_parameters_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ImageFeatureParams(**wrong)


def test_images_come_as_the_network_takes_them():
    """What the network says to them is what it says to the same images by another way."""
    network, shown = network_of("stacked"), pictures(4, (32, 40))
    columns = [("1-1-1", 0), ("1-1-1", 1)]
    model = TrainedEnsemble(
        Ensemble([network]), 120.0, 60.0, (16, 20), columns, {"1-1-1": [1.0, 2.0]}
    )
    prepared = network_inputs(model, shown)
    assert prepared.shape == (4, 1, 16, 20)
    with torch.no_grad():
        responses = network(prepared, "1-1-1").numpy() * [1.0, 2.0]
    np.testing.assert_allclose(responses, respond_to(model, shown), rtol=1e-5)
    with pytest.raises(ValueError, match="another aspect ratio"):
        network_inputs(model, pictures(2, (30, 20)))
