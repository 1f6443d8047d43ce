"""The energy core: what it computes, by hand, and what it leaves out in training."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.signal import correlate2d

from science.model import EnergyCoreConfig, GaborCoreConfig
from science.model.cores.energy import EnergyCore
from science.model.cores.gabor import gabor_bank

CONFIG = EnergyCoreConfig(
    orientations=2, wavelengths=(4.0,), input_kern=5, octaves=2, pool=4, hidden_channels=3
)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def halved(image, factor):
    height, width = (size // factor for size in image.shape)
    return image[: height * factor, : width * factor].reshape(
        height, factor, width, factor
    ).mean((1, 3))  # fmt: skip


def test_log_energies_by_hand():
    core, images = EnergyCore(CONFIG, (18, 21)), random(2, 1, 18, 21)
    bank = gabor_bank(
        GaborCoreConfig(orientations=2, wavelengths=(4.0,), sigma_ratio=0.5, input_kern=5)
    ).double().numpy()  # fmt: skip
    for image, maps in zip(images[:, 0].double().numpy(), core.log_energy(images), strict=True):
        expected = []
        for octave in (1, 2):
            small = halved(image, octave)
            for even, odd in bank.swapaxes(0, 1):
                pair = [correlate2d(small, kernel, mode="same") for kernel in (even, odd)]
                expected.append(halved(np.log(np.square(pair).sum(0) + 0.03), 4 // octave))
        np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-4)
    assert core.output_shape == (6, 4, 5) and core(images).shape == (2, 6, 4, 5)


def test_whole_channels_are_left_out_only_with_a_generator():
    core, images = EnergyCore(CONFIG, (16, 16)), random(50, 1, 16, 16)
    seen = []
    core.convolutions[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    core(images)
    core(images, torch.Generator().manual_seed(1))
    core(images, torch.Generator().manual_seed(1))
    whole, dropped, again = seen
    assert torch.equal(dropped, again)
    gone = (dropped == 0).all((2, 3))
    assert gone.float().mean().item() == pytest.approx(0.25, abs=0.1)
    torch.testing.assert_close(dropped[~gone], whole[~gone] / 0.75)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValidationError, match="multiple of 4"):
        EnergyCoreConfig(octaves=3, pool=6)
    with pytest.raises(ValidationError, match="odd"):
        EnergyCoreConfig(hidden_kern=(4,))
    with pytest.raises(ValueError, match="smaller than pool=4"):
        EnergyCore(EnergyCoreConfig(), (3, 9))
