"""Shifters and modulators against numpy and microns_vei 7.3 and 7.4."""

import numpy as np
import pytest
import torch

from science.model.modulators import MLPModulator, MLPModulatorConfig
from science.model.shifters import (
    AffineShifter,
    AffineShifterConfig,
    MLPShifter,
    MLPShifterConfig,
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def initialized(module):
    module.initialize(seeded())
    return module


def n_weights(module):
    return sum(parameter.numel() for parameter in module.parameters())


def weights_of(module):
    """(weight, bias) of every linear layer, in order."""
    values = [parameter.detach().numpy() for parameter in module.parameters()]
    return list(zip(values[::2], values[1::2], strict=True))


def test_the_mlp_shifter_is_2_5_5_2_with_tanh_throughout():
    shifter = initialized(MLPShifter(MLPShifterConfig()))
    assert n_weights(shifter) == (2 * 5 + 5) + (5 * 5 + 5) + (5 * 2 + 2) == 57
    values = torch.randn(20, 2, generator=seeded(1))
    expected = values.numpy()
    for weight, bias in weights_of(shifter):
        expected = np.tanh(expected @ weight.T + bias)
    np.testing.assert_allclose(shifter(values).detach(), expected, atol=1e-6)


def test_the_affine_shifter_starts_at_rest():
    shifter = initialized(AffineShifter(AffineShifterConfig()))
    ((weight, bias),) = weights_of(shifter)
    assert 0 < np.abs(weight).max() < 5e-6 and not bias.any()
    draws = [AffineShifter(AffineShifterConfig()) for _ in range(200)]
    generator = seeded()
    for drawn in draws:
        drawn.initialize(generator)
    all_weights = np.stack([drawn.linear.weight.detach() for drawn in draws])
    assert all_weights.std() == pytest.approx(1e-6, rel=0.1)
    with torch.no_grad():
        shifter.linear.weight.copy_(torch.tensor([[0.5, 0.0], [0.1, -2.0]]))
        shifter.linear.bias.copy_(torch.tensor([0.0, 0.3]))
    eye = torch.tensor([[1.0, 2.0]])
    np.testing.assert_allclose(shifter(eye).detach(), np.tanh([[0.5, 0.1 - 4 + 0.3]]), rtol=1e-6)


@pytest.mark.parametrize(
    "shifter", [MLPShifter(MLPShifterConfig()), AffineShifter(AffineShifterConfig())]
)
def test_displacements_stay_within_half_a_map(shifter):
    with torch.no_grad():
        for parameter in shifter.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=seeded()))
    shift = shifter(torch.randn(500, 2, generator=seeded(1)))
    assert shift.shape == (500, 2)
    assert 0.8 < shift.abs().max() <= 1


def test_the_mlp_modulator_is_3_10_10_n_with_relu_and_exp():
    modulator = initialized(MLPModulator(MLPModulatorConfig(), 7))
    assert n_weights(modulator) == (3 * 10 + 10) + (10 * 10 + 10) + (10 * 7 + 7)
    values = torch.randn(20, 3, generator=seeded(1))
    hidden = values.numpy()
    *layers, (weight, bias) = weights_of(modulator)
    for w, b in layers:
        hidden = np.maximum(hidden @ w.T + b, 0)
    gain = modulator(values).detach()
    np.testing.assert_allclose(gain, np.exp(hidden @ weight.T + bias), rtol=1e-5)


@pytest.mark.parametrize(
    "module",
    [
        MLPShifter(MLPShifterConfig(hidden_channels=64)),
        MLPModulator(MLPModulatorConfig(hidden_channels=64), 50),
    ],
)
def test_layers_start_as_those_of_pytorch(module):
    """Uniform within 1 / sqrt(inputs), weights and biases (microns_vei 7.4, 14.8)."""
    module.initialize(seeded())
    for weight, bias in weights_of(module):
        limit = weight.shape[1] ** -0.5
        assert 0.9 * limit < np.abs(weight).max() <= limit
        assert weight.std() == pytest.approx(limit / np.sqrt(3), rel=0.1)
        assert 0.5 * limit < np.abs(bias).max() <= limit


@pytest.mark.parametrize(
    ("module", "name", "penalty"),
    [
        (
            MLPShifter(MLPShifterConfig(gamma=3.0)),
            "shifter",
            lambda layers: np.square(np.concatenate([w.ravel() for w, _ in layers])).mean(),
        ),
        (
            AffineShifter(AffineShifterConfig(gamma=3.0)),
            "shifter",
            lambda layers: np.square(layers[0][0]).mean(),
        ),
        (
            MLPModulator(MLPModulatorConfig(gamma=3.0), 4),
            "modulator",
            lambda layers: np.abs(layers[-1][0]).mean(),
        ),
    ],
)
def test_penalties(module, name, penalty):
    initialized(module)
    ((found, value),) = module.regularizers().items()
    assert found == name
    assert value.item() == pytest.approx(3 * penalty(weights_of(module)))
    assert value > 0


def test_penalties_of_the_specification():
    assert MLPShifterConfig().gamma == 0 and MLPModulatorConfig().gamma == 0
    assert AffineShifterConfig().gamma == 1e-3
