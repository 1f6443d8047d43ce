"""Gabor energy core against gratings and direct filtering."""

import math

import numpy as np
import pytest
import torch
from scipy.signal import correlate2d

from science.model.cores.gabor import GaborCore, GaborCoreConfig, gabor_bank

CONFIG = GaborCoreConfig()
N = len(CONFIG.wavelengths) * CONFIG.orientations
NO_NORM = math.sqrt(1 + 1e-5)  # a fresh normalisation divides by it


def core_of(**parameters):
    return GaborCore(GaborCoreConfig(**parameters), (36, 64)).eval()


def gratings(wavelength, angle, phases):
    """Full-field gratings, (n_phases, 1, 36, 64), whose phase moves along the angle."""
    y, x = np.mgrid[:36, :64]
    along = x * np.cos(angle) + y * np.sin(angle)
    waves = np.cos(2 * np.pi * along / wavelength - phases[:, None, None])
    return torch.from_numpy(waves[:, None]).float()


def central(maps):
    """Responses of the cells in the middle, (b, channels)."""
    return maps[:, :, 11, 25].numpy()


def test_pairs_are_in_quadrature_with_zero_mean_and_unit_norm():
    bank = gabor_bank(CONFIG).double()
    assert bank.shape == (2, N, 15, 15)
    assert bank.sum((-2, -1)).abs().max() < 1e-5
    torch.testing.assert_close(bank.square().sum((-2, -1)), torch.ones(2, N).double())
    even, odd = bank
    turned = bank.flip(-1, -2)
    torch.testing.assert_close(turned, torch.stack([even, -odd]), rtol=0, atol=1e-6)
    assert (even * odd).sum((-2, -1)).abs().max() < 1e-6


@pytest.mark.parametrize(("simple", "channels"), [(True, 5 * N), (False, N)])
def test_shape_and_nothing_to_learn(simple, channels):
    core = core_of(simple=simple)
    assert core.output_shape == (channels, 22, 50)
    assert core(torch.zeros(2, 1, 36, 64)).shape == (2, channels, 22, 50)
    assert not list(core.parameters()) and core.regularizers() == {}
    assert (5 * N, N) == (120, 24)


def test_channels_are_the_energy_and_the_four_rectified_phases():
    image = np.random.default_rng(0).normal(size=(36, 64))
    even, odd = (
        np.stack([correlate2d(image, kernel, mode="valid") for kernel in kernels])
        for kernels in gabor_bank(CONFIG).double().numpy()
    )
    expected = [np.hypot(even, odd), *(np.clip(v, 0, None) for v in (even, -even, odd, -odd))]
    maps = core_of()(torch.from_numpy(image).float()[None, None])[0]
    np.testing.assert_allclose(maps.numpy() * NO_NORM, np.concatenate(expected), atol=2e-4)


def test_complex_cells_ignore_the_phase_of_a_grating_and_simple_cells_do_not():
    core, phases = core_of(), np.arange(12) * np.pi / 6
    for channel, wavelength in enumerate(CONFIG.wavelengths):
        responses = central(core(gratings(wavelength, 0.0, phases)))
        energy, *simple = responses[:, channel * CONFIG.orientations :: N].T
        assert np.ptp(energy) < 0.03 * energy.mean()
        for response in simple:
            assert response.min() == 0 and response.max() > 0.9 * energy.mean()


def test_the_best_channel_has_the_orientation_and_the_wavelength_of_the_grating():
    core, phases = core_of(simple=False), np.array([0.3])
    angles = np.arange(CONFIG.orientations) * np.pi / CONFIG.orientations
    best = [
        central(core(gratings(wavelength, angle, phases)))[0].argmax()
        for wavelength in CONFIG.wavelengths
        for angle in angles
    ]
    assert best == list(range(N))


def test_channels_are_standardised_in_training_and_initialising_forgets():
    core = core_of().train()
    images = torch.randn(8, 1, 36, 64, generator=torch.Generator().manual_seed(0))
    maps = core(images).double()
    assert maps.mean((0, 2, 3)).abs().max() < 1e-4
    torch.testing.assert_close(
        maps.var((0, 2, 3), correction=0), torch.ones(5 * N).double(), rtol=1e-3, atol=0
    )
    fresh = core_of()(images)
    assert not torch.allclose(core.eval()(images), fresh)
    core.initialize(torch.Generator())
    torch.testing.assert_close(core(images), fresh)


def test_grey_has_a_finite_gradient():
    grey = torch.zeros(1, 1, 36, 64, requires_grad=True)
    core_of()(grey).sum().backward()
    assert grey.grad.isfinite().all()


def test_images_smaller_than_the_filter_are_refused():
    with pytest.raises(ValueError, match="input_kern=15"):
        GaborCore(CONFIG, (14, 64))
