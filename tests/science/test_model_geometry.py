"""Places: where units look, in the map and in the image, and how image and eye move them."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from science.model import (
    AffineShifterConfig,
    EnergyCoreConfig,
    FactorizedReadoutConfig,
    GaborCoreConfig,
    GaussianReadoutConfig,
    ImageModelConfig,
    ImageNetwork,
    PyramidReadoutConfig,
    StackedCoreConfig,
)
from science.model.readouts.factorized import FactorizedReadout
from science.model.registry import CORES, READOUTS

# Maps of 25 x 33, so that halving them keeps the pixels of the corners.
VALID = StackedCoreConfig(hidden_channels=16, layers=2, input_kern=5, hidden_kern=3)
POOLED = StackedCoreConfig(
    hidden_channels=16, layers=2, input_kern=4, hidden_kern=3, input_padding=2, input_pool=2
)
GABOR = GaborCoreConfig(wavelengths=(4.0,), input_kern=9)
ENERGY = EnergyCoreConfig(octaves=2, pool=2, hidden_channels=16, hidden_kern=(3,))
PLACES = [  # core, image shape, pixels per element of the map
    pytest.param(VALID, (29, 37), 1, id="valid"),
    pytest.param(POOLED, (50, 66), 2, id="pooled"),
    pytest.param(GABOR, (33, 41), 1, id="gabor"),
    pytest.param(ENERGY, (50, 66), 2, id="energy"),
]
MAP = torch.tensor([33, 25])
CONFIGS = [
    PyramidReadoutConfig(scale_n=2, init_range=0.3),
    PyramidReadoutConfig(scale_n=2, init_range=0.3, downsample=False),
    FactorizedReadoutConfig(),
    GaussianReadoutConfig(init_range=0.3),
]
readouts = pytest.mark.parametrize("readout", CONFIGS, ids=lambda config: config.type)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_all_architectures_are_here():
    assert {type(core.values[0]) for core in PLACES} == set(CORES)
    assert {type(config) for config in CONFIGS} == set(READOUTS)


def network_of(core, readout, image_shape, n_units=6):
    """Network with a shifter at rest, random filters and features, and local masks."""
    config = ImageModelConfig(core=core, readout=readout, shifter=AffineShifterConfig())
    network = ImageNetwork(config, image_shape, {"a": n_units}).eval()
    assert network.core.output_shape[1:] == (25, 33)
    head = network.readouts["a"]
    if isinstance(core, EnergyCoreConfig):  # grey is no signal, as after training
        network.core.norm.running_mean.fill_(math.log(core.floor))
    with torch.no_grad():
        network.shifters["a"].linear.weight.zero_()
        head.features.copy_(torch.randn(head.features.shape, generator=seeded(1)))
        head.bias.uniform_(0.5, 1, generator=seeded(2))
        place(head, 0.6 * torch.rand(n_units, 2, generator=seeded(3)) - 0.3)
    return network


def place(readout, places):
    """Let the units read at these places, or through masks of a few elements around them."""
    if not isinstance(readout, FactorizedReadout):
        readout.position.copy_(places)
        return
    y, x = torch.linspace(-1, 1, 25)[:, None], torch.linspace(-1, 1, 33)
    distance = (x - places[:, 0, None, None]) ** 2 + (y - places[:, 1, None, None]) ** 2
    readout.spatial.copy_(torch.exp(-60 * distance))
    readout.spatial.mul_(distance < 0.06)


@readouts
@pytest.mark.parametrize(("core", "image_shape", "stride"), PLACES)
@settings(max_examples=8)
@given(elements=st.tuples(st.integers(-1, 1), st.integers(-1, 1)))
def test_an_eye_that_follows_the_image_sees_the_same(core, image_shape, stride, readout, elements):
    """Four elements, and so a whole one in every level of the pyramid."""
    network = network_of(core, readout, image_shape)
    elements = 4 * torch.tensor(elements)
    pixels = stride * elements
    height, width = image_shape
    images = torch.zeros(3, 1, height, width)
    inner = images[:, :, height // 3 : -(height // 3), width // 3 : -(width // 3)]
    inner.normal_(generator=seeded())
    before, fields = network(images, "a"), network.receptive_fields("a")
    places = network.positions("a")
    with torch.no_grad():
        network.shifters["a"].linear.bias.copy_(torch.atanh(2 * elements / (MAP - 1)))
    moved = torch.roll(images, (pixels[1].item(), pixels[0].item()), (2, 3))
    torch.testing.assert_close(network(moved, "a"), before, rtol=1e-3, atol=2e-3)
    assert before.std() > 0.1
    moved_places = places + 2 * elements / (MAP - 1)
    torch.testing.assert_close(network.positions("a"), moved_places)
    torch.testing.assert_close(network.receptive_fields("a"), fields + pixels)


@readouts
@pytest.mark.parametrize(("core", "image_shape", "stride"), PLACES)
def test_receptive_fields_are_the_centres_of_the_gradient(core, image_shape, stride, readout):
    """Where the energy of the gradient is symmetric: random filters made so, faint images."""
    network = network_of(core, readout, image_shape)
    elements = 4 * torch.tensor([[3, 2], [4, 3], [5, 4], [3, 4], [5, 2], [4, 4]])
    with torch.no_grad():
        for convolution in getattr(network.core, "convolutions", []):
            weight = convolution.weight
            for axis in (2, 3):
                weight.add_(weight.flip(axis))
        place(network.readouts["a"], 2 * elements / (MAP - 1) - 1)
    images = 1e-3 * torch.randn(24, 1, *image_shape, generator=seeded(4)).requires_grad_()
    responses = network(images, "a").sum(0)
    gradients = [torch.autograd.grad(r, images, retain_graph=True)[0] for r in responses]
    energy = torch.stack(gradients).square().sum((1, 2))
    energy /= energy.sum((1, 2), keepdim=True)
    y, x = (torch.arange(size, dtype=torch.float32) for size in image_shape)
    centres = torch.stack([energy.sum(1) @ x, energy.sum(2) @ y], dim=1)
    # The phases of noise leave some asymmetry in the gradient of an energy.
    tolerance = 0.4 if isinstance(core, GaborCoreConfig | EnergyCoreConfig) else 1e-3
    torch.testing.assert_close(network.receptive_fields("a"), centres, rtol=0, atol=tolerance)
