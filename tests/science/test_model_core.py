"""Core and regularisers against microns_vei 7.1."""

import math

import pytest
import torch
import torch.nn.functional as F

from science.model.config import StackedCoreConfig
from science.model.core import StackedCore
from science.model.regularizer import group_sparsity, laplace_weights, smoothness


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


def test_images_smaller_than_the_filter_are_refused():
    with pytest.raises(ValueError, match="input_kern=5"):
        core_of(image_shape=(4, 14))
