"""Pyramid and readout against microns_vei 7.2, and its two routes against each other."""

import pytest
import torch

from science.model import readout as readout_module
from science.model.config import PyramidReadoutConfig
from science.model.readout import PyramidReadout, expand, gaussian_filter, pyramid


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def readout_of(map_shape=(3, 22, 50), n_units=7, **parameters):
    """Readout with units all over the map and at its corners, random weights."""
    readout = PyramidReadout(PyramidReadoutConfig(**parameters), map_shape, n_units)
    with torch.no_grad():
        readout.position.copy_(random(n_units, 2, seed=1).clamp(-1, 1))
        readout.position[:2] = torch.tensor([[-1.0, 1.0], [1.0, 1.0]])[:n_units]
        readout.features.copy_(random(*readout.features.shape, seed=2))
        readout.bias.copy_(random(n_units, seed=3))
    return readout


def test_filter_has_the_values_of_the_specification():
    kernel = torch.outer(gaussian_filter(), gaussian_filter())
    assert kernel[0, 0].item() == pytest.approx(0.003765, abs=1e-6)
    assert kernel[2, 2].item() == pytest.approx(0.150342, abs=1e-6)
    assert kernel.sum().item() == pytest.approx(1)


def test_pyramid_sizes():
    sizes = [tuple(level.shape[2:]) for level in pyramid(random(1, 2, 22, 50), 5, downsample=True)]
    assert sizes == [(22, 50), (11, 25), (6, 13), (3, 7), (2, 4), (1, 2)]
    sizes = [tuple(level.shape[2:]) for level in pyramid(random(1, 2, 22, 50), 5, downsample=False)]
    assert sizes == [(22, 50)] * 6


def test_downsampled_levels_recombine_to_the_map():
    maps = random(2, 3, 22, 50).double()
    *high, image = pyramid(maps, 5, downsample=True)
    for level in reversed(high):
        image = level + expand(image, level.shape[2:])
    torch.testing.assert_close(image, maps, rtol=0, atol=1e-14)


def test_full_size_levels_sum_to_the_map():
    maps = random(2, 3, 22, 50).double()
    torch.testing.assert_close(sum(pyramid(maps, 5, downsample=False)), maps)


def test_zero_map_gives_the_bias():
    readout = PyramidReadout(PyramidReadoutConfig(), (96, 22, 50), 4)
    means = torch.tensor([0.5, 1.0, 2.0, 3.0])
    readout.initialize(means, torch.Generator().manual_seed(0))
    torch.testing.assert_close(readout.features, torch.full((4, 6, 96), 1 / 96))
    assert readout.position.abs().max() <= 0.1
    torch.testing.assert_close(readout(torch.zeros(2, 96, 22, 50)), (means - 1).expand(2, 4))


@pytest.mark.parametrize("map_shape", [(3, 22, 50), (2, 16, 32), (2, 1, 5)])
@pytest.mark.parametrize("downsample", [True, False])
def test_kernels_equal_interpolation_in_the_pyramid(map_shape, downsample):
    readout = readout_of(map_shape, downsample=downsample)
    maps = random(4, *map_shape, seed=4)
    by_kernels, by_pyramid = readout(maps), readout.sample_pyramid(maps)
    torch.testing.assert_close(by_kernels, by_pyramid, rtol=1e-4, atol=1e-4)
    inner = slice(2, None)  # at the border the slope of the position is the one from within
    parameters = list(readout.parameters())
    gradients = [
        torch.autograd.grad(response[:, inner].square().sum(), parameters)
        for response in (by_kernels, by_pyramid)
    ]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one[inner], other[inner], rtol=1e-3, atol=1e-3)
        assert one[inner].abs().max() > 0.1


def test_large_populations_take_the_pyramid(monkeypatch):
    readout, maps = readout_of(), random(4, 3, 22, 50)
    expected = readout(maps)
    monkeypatch.setattr(readout_module, "KERNEL_LIMIT", 0)
    monkeypatch.setattr(readout, "kernels", None)
    torch.testing.assert_close(readout(maps), expected, rtol=1e-4, atol=1e-4)


def test_a_unit_in_the_middle_reads_the_middle_pixel():
    readout = readout_of((1, 5, 9), n_units=1, downsample=False, scale_n=2)
    with torch.no_grad():
        readout.position.zero_()
        readout.features.fill_(1.0)  # all levels together are the map itself
    maps = random(3, 1, 5, 9)
    torch.testing.assert_close(readout(maps)[:, 0], maps[:, 0, 2, 4] + readout.bias)


def test_x_is_the_width_and_corners_are_corner_pixels():
    readout = readout_of((1, 5, 9), n_units=1, downsample=False)
    with torch.no_grad():
        readout.position.copy_(torch.tensor([[1.0, -1.0]]))
        readout.features.fill_(1.0)
    maps = random(3, 1, 5, 9)
    torch.testing.assert_close(readout(maps)[:, 0], maps[:, 0, 0, 8] + readout.bias)


def test_a_position_beyond_the_border_comes_back():
    readout = readout_of((1, 9, 9), n_units=1, downsample=False)
    maps = torch.linspace(-1, 1, 9).expand(1, 1, 9, 9)  # grows with x
    with torch.no_grad():
        readout.features.fill_(1.0)
        readout.position.copy_(torch.tensor([[1.7, 0.0]]))
    optimizer = torch.optim.SGD(readout.parameters(), lr=0.05)
    for _ in range(3):
        readout.constrain()
        optimizer.zero_grad()
        readout(maps).sum().backward()
        optimizer.step()
    assert readout.position[0, 0] < 1


def test_regularizer_is_the_mean_absolute_feature():
    readout = readout_of(gamma_features=2.0)
    (name, term), *rest = readout.regularizers().items()
    assert (name, rest) == ("readout_features", [])
    torch.testing.assert_close(term, 2 * readout.features.abs().mean())


def test_positive_features():
    readout = readout_of(positive=True)
    clamped = readout_of()
    with torch.no_grad():
        clamped.features.clamp_(min=0)
    maps = random(2, 3, 22, 50)
    torch.testing.assert_close(readout(maps), clamped(maps))
    readout.constrain()
    assert readout.features.min() == 0


def test_initialize_refuses_means_of_other_units():
    with pytest.raises(ValueError, match="7 units"):
        readout_of().initialize(torch.ones(6), torch.Generator())


def test_interpolation_between_two_pixels():
    operator = torch.tensor([0.0, 10.0, 40.0])[:, None, None]
    places = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0])
    values = readout_module.interpolate(operator, places).flatten()
    assert values.tolist() == [0, 5, 10, 25, 40]
