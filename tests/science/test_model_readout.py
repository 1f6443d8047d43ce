"""Pyramid and readout against microns_vei 7.2, and its two routes against each other."""

import pytest
import torch
import torch.nn.functional as F

from science.model.readouts import pyramid as pyramid_module
from science.model.readouts.laplace_pyramid import (
    along_axes,
    axis_steps,
    gaussian_filter,
    pyramid,
)
from science.model.readouts.pyramid import PyramidReadout, PyramidReadoutConfig


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


def steps_of(maps, downsample):
    """Rows' and columns' matrices of five steps for maps (b, h, w, c)."""
    steps = (axis_steps(size, 5, downsample) for size in maps.shape[1:3])
    return [[tuple(m.to(maps) for m in step) for step in axis] for axis in steps]


def levels_of(maps, downsample):
    return pyramid(maps, *steps_of(maps, downsample))


def grid_sampled(readout, maps):
    """Response by `torch.nn.functional.grid_sample` in the levels of the pyramid."""
    points = readout.position.expand(len(maps), -1, -1)[:, :, None]
    steps = (axis_steps(n, readout.config.scale_n, True) for n in maps.shape[2:])
    levels = pyramid(maps.permute(0, 2, 3, 1), *steps)
    sampled = [
        F.grid_sample(level.permute(0, 3, 1, 2), points, align_corners=True)[..., 0]
        for level in levels
    ]
    return torch.einsum("lbcn,nlc->bn", torch.stack(sampled), readout.features) + readout.bias


def from_pyramid(readout, maps):
    """The route of eyes that differ between images, here all in one place."""
    return readout(maps, torch.zeros(len(maps), 2))


def test_filter_has_the_values_of_the_specification():
    kernel = torch.outer(gaussian_filter(), gaussian_filter())
    assert kernel[0, 0].item() == pytest.approx(0.003765, abs=1e-6)
    assert kernel[2, 2].item() == pytest.approx(0.150342, abs=1e-6)
    assert kernel.sum().item() == pytest.approx(1)


def test_pyramid_sizes():
    sizes = [tuple(level.shape[1:3]) for level in levels_of(random(1, 22, 50, 2), True)]
    assert sizes == [(22, 50), (11, 25), (6, 13), (3, 7), (2, 4), (1, 2)]
    sizes = [tuple(level.shape[1:3]) for level in levels_of(random(1, 22, 50, 2), False)]
    assert sizes == [(22, 50)] * 6


@pytest.mark.parametrize("downsample", [True, False])
@pytest.mark.parametrize("size", [(22, 50), (7, 5), (1, 3)])
def test_levels_are_those_of_convolutions(size, downsample):
    """Depthwise convolutions, transposed ones to expand: how the original does it."""
    maps = random(2, 3, *size)
    kernel = torch.outer(gaussian_filter(), gaussian_filter()).expand(3, 1, 5, 5)
    expected, image = [], maps
    for _ in range(5):
        low = F.conv2d(image, kernel, padding=2, stride=2 if downsample else 1, groups=3)
        expanded = low
        if downsample:
            even = tuple(1 - n % 2 for n in image.shape[2:])
            expanded = F.conv_transpose2d(
                low, 4 * kernel, stride=2, padding=2, output_padding=even, groups=3
            )
        expected.append(image - expanded)
        image = low
    for level, other in zip(
        levels_of(maps.permute(0, 2, 3, 1), downsample), [*expected, image], strict=True
    ):
        torch.testing.assert_close(level.permute(0, 3, 1, 2), other, rtol=0, atol=1e-5)


def test_downsampled_levels_recombine_to_the_map():
    maps = random(2, 22, 50, 3).double()
    steps = steps_of(maps, downsample=True)
    *high, image = pyramid(maps, *steps)
    for level, (_, rows), (_, columns) in zip(*(reversed(x) for x in (high, *steps)), strict=True):
        image = level + along_axes(image, rows, columns)
    torch.testing.assert_close(image, maps, rtol=0, atol=1e-14)


def test_full_size_levels_sum_to_the_map():
    maps = random(2, 22, 50, 3).double()
    torch.testing.assert_close(sum(levels_of(maps, downsample=False)), maps)


def test_zero_map_gives_the_bias():
    readout = PyramidReadout(PyramidReadoutConfig(), (96, 22, 50), 4)
    means = torch.tensor([0.5, 1.0, 2.0, 3.0])
    readout.initialize(means, torch.Generator().manual_seed(0))
    torch.testing.assert_close(readout.features, torch.full((4, 6, 96), 1 / 96))
    assert readout.position.abs().max() <= 0.1
    torch.testing.assert_close(readout(torch.zeros(2, 96, 22, 50)), (means - 1).expand(2, 4))


@pytest.mark.parametrize(
    ("scale_n", "map_shape", "n_features"),
    [(5, (96, 22, 50), 576), (3, (192, 30, 48), 768)],
    ids=["microns", "allen"],
)
def test_numbers_and_initial_values(scale_n, map_shape, n_features):
    readout = PyramidReadout(PyramidReadoutConfig(scale_n=scale_n), map_shape, 300)
    readout.initialize(torch.ones(300), torch.Generator().manual_seed(0))
    assert sum(p.numel() for p in readout.parameters()) == 300 * (n_features + 2 + 1)
    assert readout.features.flatten(1).shape == (300, n_features)
    assert (readout.features == 1 / map_shape[0]).all()
    assert 0.099 < readout.position.abs().max() <= 0.1
    assert readout.position.std().item() == pytest.approx(0.1 / 3**0.5, rel=0.05)
    assert (readout.bias == 0).all()


@pytest.mark.parametrize("map_shape", [(3, 22, 50), (2, 16, 32), (2, 1, 5)])
@pytest.mark.parametrize("downsample", [True, False])
def test_kernels_equal_interpolation_in_the_pyramid(map_shape, downsample):
    readout = readout_of(map_shape, downsample=downsample)
    maps = random(4, *map_shape, seed=4)
    by_kernels, by_pyramid = readout(maps), from_pyramid(readout, maps)
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
    monkeypatch.setattr(pyramid_module, "KERNEL_LIMIT", 0)
    monkeypatch.setattr(readout, "_kernels", None)
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


def test_positive_features_stay_positive():
    readout = readout_of(positive=True)
    before = readout.features.clone()
    assert before.min() < 0
    readout.constrain()
    torch.testing.assert_close(readout.features, before.clamp(min=0))


@pytest.mark.parametrize("route", ["kernels", "pyramid"])
def test_a_shift_moves_all_units(route, monkeypatch):
    """The shifted units read where unshifted ones at position + shift do; nothing outside."""
    readout, moved = readout_of(), readout_of()
    maps, shift = random(4, 3, 22, 50), torch.tensor([[0.3, -0.2]])
    with torch.no_grad():
        readout.position.clamp_(-0.6, 0.6)
        moved.position.copy_(readout.position + shift)
    if route == "pyramid":
        monkeypatch.setattr(pyramid_module, "KERNEL_LIMIT", 0)
    torch.testing.assert_close(readout(maps, shift), moved(maps), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(readout(maps, shift.expand(4, 2)), moved(maps), rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        moved.position.copy_(readout.position + 0.7)  # some units leave the map
    assert (moved.position > 1).any()
    beyond = readout(maps, torch.tensor([[0.7, 0.7]]))
    torch.testing.assert_close(beyond, grid_sampled(moved, maps), rtol=1e-4, atol=1e-4)
    far = readout(maps, torch.tensor([[5.0, 0.0]]))
    torch.testing.assert_close(far, readout.bias.expand(4, -1))
