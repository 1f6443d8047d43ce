"""Weights as bytes: exact, deterministic, and refused when damaged."""

import json

import numpy as np
import pytest
import safetensors.torch
import torch

from science.model import ImageModelConfig, ImageNetwork, PyramidReadoutConfig, StackedCoreConfig
from science.model.weights import pack, unpack

CONFIG = ImageModelConfig(
    core=StackedCoreConfig(hidden_channels=3, layers=2, input_kern=4, hidden_kern=3, linear=True),
    readout=PyramidReadoutConfig(scale_n=2),
)
STATISTICS = {
    "image_mean": 111.3,
    "image_std": 60.9,
    "response_scale": {"b": np.array([0.1, 2.0], np.float32), "a": [1.0]},
}


@pytest.fixture(scope="module")
def network():
    network = ImageNetwork(CONFIG, (10, 12), {"b": 2, "a": 1})
    with torch.no_grad():  # state of a trained network, running statistics included
        for index, value in enumerate(network.state_dict().values()):
            generator = torch.Generator().manual_seed(index)
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator) + 0.1)
    return network.eval()


@pytest.fixture(scope="module")
def data(network):
    return pack(network, STATISTICS)


def test_round_trip_is_exact(network, data):
    copy, statistics = unpack(data)
    images = torch.randn(5, 1, 10, 12, generator=torch.Generator().manual_seed(0))
    assert (copy.config, copy.image_shape) == (CONFIG, (10, 12))
    assert list(copy.n_units.items()) == [("b", 2), ("a", 1)]
    assert not copy.training
    for key in network.n_units:
        assert torch.equal(copy(images, key), network(images, key))
    for name, value in network.state_dict().items():
        assert torch.equal(copy.state_dict()[name], value)
    assert statistics["image_mean"] == 111.3
    scale = np.asarray(statistics["response_scale"]["b"], np.float32)
    np.testing.assert_array_equal(scale, STATISTICS["response_scale"]["b"])


def test_same_network_same_bytes(network, data):
    assert pack(network, STATISTICS) == data
    assert pack(unpack(data)[0], STATISTICS) == data


def test_truncation_is_refused(data):
    for length in (0, 4, 100, len(data) // 2, len(data) - 1):
        with pytest.raises(ValueError, match="not tensors of this project, or truncated"):
            unpack(data[:length])


def test_any_flipped_byte_is_refused(data):
    rng = np.random.default_rng(0)
    header = 8 + int.from_bytes(data[:8], "little")
    places = [*rng.integers(0, header, 60), *rng.integers(header, len(data), 20)]
    for place in places:
        tampered = bytearray(data)
        tampered[place] ^= 1 << int(rng.integers(8))
        try:
            unpack(bytes(tampered))
        except ValueError:
            continue
        # Only insignificant padding of the header may change unnoticed.
        assert data[place] == ord(" "), place


def test_altered_statistics_are_refused(data):
    tampered = data.replace(b"111.3", b"111.4")
    assert tampered != data
    with pytest.raises(ValueError, match="altered"):
        unpack(tampered)


def test_tensors_of_another_architecture_are_refused(network, monkeypatch):
    wider = CONFIG.model_copy(update={"core": CONFIG.core.model_copy(update={"layers": 3})})
    monkeypatch.setattr(network, "config", wider)
    with pytest.raises(ValueError, match="does not know the stored architecture"):
        unpack(pack(network, {}))


def test_foreign_safetensors_are_refused():
    with pytest.raises(ValueError, match="not tensors of this project"):
        unpack(safetensors.torch.save({"weight": torch.zeros(3)}))


@pytest.mark.parametrize("statistics", [{"mean": float("nan")}, {"mean": object()}])
def test_statistics_must_be_json(network, statistics):
    with pytest.raises(ValueError, match="not finite JSON"):
        pack(network, statistics)


def test_nothing_is_pickled(data):
    length = int.from_bytes(data[:8], "little")
    entries = json.loads(data[8 : 8 + length])
    assert set(entries) - {"__metadata__"} == set(unpack(data)[0].state_dict())
