"""Core and regularisers against microns_vei 7.1."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from science.model.cores.stacked import StackedCore, StackedCoreConfig
from science.model.regularizer import group_sparsity, laplace_weights, smoothness

ALLEN = StackedCoreConfig(
    hidden_channels=64,
    layers=3,
    skip=1,
    input_kern=4,
    input_padding=2,
    input_pool=2,
    hidden_kern=3,
    gamma_hidden=0.1,
    gamma_input=0.1,
    gauss_sigma=0,
)


def core_of(image_shape=(12, 14), **parameters):
    small = {"hidden_channels": 4, "input_kern": 5, "hidden_kern": 3}
    core = StackedCore(StackedCoreConfig(**(small | parameters)), image_shape)
    core.initialize(torch.Generator().manual_seed(0))
    return core.eval()


def test_default_output_is_96_x_22_x_50_at_36_x_64():
    core = StackedCore(StackedCoreConfig(), (36, 64))
    assert core.output_shape == (96, 22, 50)
    assert core(torch.zeros(2, 1, 36, 64)).shape == (2, 96, 22, 50)
    assert [tuple(c.weight.shape) for c in core.convolutions] == [
        (32, 1, 15, 15),
        (32, 32, 7, 7),
        (32, 64, 7, 7),
    ]


@pytest.mark.parametrize(
    ("config", "image_shape", "output_shape", "n_weights"),
    [
        (
            StackedCoreConfig(),
            (36, 64),
            (96, 22, 50),
            32 * 15**2 + (32 + 64) * 32 * 7**2 + 3 * 2 * 32,
        ),
        (
            StackedCoreConfig(layers=1, linear=True),
            (36, 64),
            (32, 22, 50),
            32 * 15**2 + 2 * 32,
        ),
        (ALLEN, (60, 96), (192, 30, 48), 64 * 4**2 + 2 * 64 * 64 * 3**2 + 3 * 2 * 64),
    ],
    ids=["cnn", "one linear layer", "allen"],
)
def test_maps_and_numbers_of_weights(config, image_shape, output_shape, n_weights):
    core = StackedCore(config, image_shape)
    assert core.output_shape == output_shape
    assert core(torch.zeros(2, 1, *image_shape)).shape == (2, *output_shape)
    assert sum(parameter.numel() for parameter in core.parameters()) == n_weights


def test_the_allen_core_pools_before_it_normalises_and_then_activates():
    core = StackedCore(ALLEN, (60, 96))
    core.initialize(torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    for norm in core.norms:
        norm.weight.data.uniform_(0.5, 2, generator=generator)
        norm.bias.data.uniform_(-1, 1, generator=generator)
    images = torch.rand(4, 1, 60, 96, generator=generator)
    outputs, inputs = [], images
    for layer, (convolution, norm) in enumerate(zip(core.convolutions, core.norms, strict=True)):
        output = F.conv2d(inputs, convolution.weight, padding=1 if layer else 2)
        if layer == 0:
            assert output.shape[2:] == (61, 97)
            output = F.avg_pool2d(output, 2)
        output = F.batch_norm(output, None, None, norm.weight, norm.bias, training=True)
        inputs = F.elu(output)
        outputs.append(inputs)
    torch.testing.assert_close(core.train()(images), torch.cat(outputs, 1), rtol=1e-3, atol=1e-4)


def test_the_allen_core_weighs_all_pixels_of_the_laplacian_alike():
    core = StackedCore(ALLEN, (60, 96))
    core.initialize(torch.Generator().manual_seed(0))
    first, *hidden = (c.weight.detach().double().numpy() for c in core.convolutions)
    laplace = [ndimage.laplace(kernel, mode="constant") for kernel in first[:, 0]]
    terms = core.regularizers()
    assert terms["core_smoothness"].item() == pytest.approx(0.1 * 0.5 * np.square(laplace).mean())
    norms = [np.sqrt(np.square(kernels).sum((2, 3))).mean() for kernels in hidden]
    assert terms["core_sparsity"].item() == pytest.approx(0.1 * np.mean(norms))


@pytest.mark.parametrize("linear", [False, True])
def test_layers_follow_the_specification(linear):
    core = core_of(layers=4, skip=2, linear=linear)
    images = torch.randn(3, 1, 12, 14, generator=torch.Generator().manual_seed(1))
    activate = (lambda x: x) if linear else F.elu
    outputs = []
    for layer, convolution in enumerate(core.convolutions):
        inputs = torch.cat(outputs[-2:], 1) if layer else images
        output = F.conv2d(inputs, convolution.weight, padding=1 if layer else 0)
        outputs.append(activate(output / math.sqrt(1 + 1e-5)))  # fresh normalisation: mean 0, var 1
    torch.testing.assert_close(core(images), torch.cat(outputs, 1))


def test_the_linear_control_is_linear_and_the_core_is_not():
    x, y = torch.randn(2, 1, 1, 12, 14, generator=torch.Generator().manual_seed(2))
    linear, nonlinear = core_of(linear=True), core_of()
    torch.testing.assert_close(linear(2 * x - y), 2 * linear(x) - linear(y), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(nonlinear(2 * x - y), 2 * nonlinear(x) - nonlinear(y), atol=0.1)


def test_filters_are_xavier_normal():
    core = StackedCore(StackedCoreConfig(), (36, 64))
    core.initialize(torch.Generator().manual_seed(0))
    for convolution in core.convolutions:
        outputs, inputs, k, _ = convolution.weight.shape
        assert convolution.weight.std().item() == pytest.approx(
            math.sqrt(2 / ((inputs + outputs) * k * k)), rel=0.03
        )
    assert {norm.momentum for norm in core.norms} == {0.1}


def test_laplace_weights():
    weights = laplace_weights(15, sigma=0.5)
    assert weights[7, 7] == 0
    at_distance_one = torch.stack([weights[0, 7], weights[14, 7], weights[7, 0], weights[7, 14]])
    torch.testing.assert_close(at_distance_one, torch.full((4,), 1 - math.exp(-2)))
    torch.testing.assert_close(laplace_weights(15, 0.5, bias=0.25), weights + 0.25)


def test_smoothness_by_hand():
    filters = torch.zeros(1, 2, 5, 5)
    filters[0, 1, 2, 2] = 1.0  # Laplacian: 4 at the centre (weight 0), -1 at four neighbours
    weight = 1 - math.exp(-(0.5**2) / (2 * 0.5**2))
    expected = 0.5 * 4 * weight / filters.numel()
    assert smoothness(filters, laplace_weights(5, 0.5)).item() == pytest.approx(expected)


def test_smoothness_pads_with_zeros():
    filters = torch.ones(1, 1, 3, 3)
    laplace = torch.tensor([[2.0, 1.0, 2.0], [1.0, 0.0, 1.0], [2.0, 1.0, 2.0]])
    assert smoothness(filters, torch.ones(3, 3)) == 0.5 * laplace.square().mean()


def test_group_sparsity_by_hand():
    filters = torch.zeros(2, 1, 3, 3, requires_grad=True)
    filters.data[0, 0, 0, :2] = torch.tensor([3.0, 4.0])
    value = group_sparsity(filters)
    value.backward()
    assert value == 2.5
    assert filters.grad.isfinite().all()


def test_regularizers_are_weighted_and_named():
    core = core_of(gamma_input=50.0, gamma_hidden=0.1)
    first, second, third = (c.weight for c in core.convolutions)
    terms = core.regularizers()
    sparsity = (group_sparsity(second) + group_sparsity(third)) / 2
    torch.testing.assert_close(terms.pop("core_sparsity"), 0.1 * sparsity)
    expected = 50 * smoothness(first, laplace_weights(5, 0.5))
    torch.testing.assert_close(terms.pop("core_smoothness"), expected)
    assert not terms
    assert set(core_of(layers=1).regularizers()) == {"core_smoothness"}


@pytest.mark.parametrize(
    "parameters", [{"hidden_kern": 4}, {"layers": 0}, {"gamma_input": -1}, {"unknown": 1}]
)
def test_bad_parameters_are_refused(parameters):
    with pytest.raises(ValueError, match=next(iter(parameters))):
        StackedCoreConfig(**parameters)


def test_a_filter_that_is_linear_inside_costs_only_at_its_rim():
    ramp = torch.linspace(-1, 1, 7).expand(1, 1, 7, 7).clone()
    inside = torch.zeros(7, 7)
    inside[1:-1, 1:-1] = 1
    assert smoothness(ramp, inside).item() == pytest.approx(0, abs=1e-12)
    assert smoothness(ramp, 1 - inside) > 0.01
    assert smoothness(torch.zeros(2, 3, 7, 7), torch.ones(7, 7)) == 0


def test_images_smaller_than_the_filter_are_refused():
    with pytest.raises(ValueError, match="input_kern=5"):
        core_of(image_shape=(4, 14))
