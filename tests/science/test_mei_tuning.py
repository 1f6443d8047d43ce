import numpy as np
import pytest
import torch

from science.mei import contrast_tuning

MEAN, STD = 111.3, 60.9
Y, X = np.mgrid[:18, :32]
GABOR = torch.tensor(
    np.exp(-((X - 15.5) ** 2 + (Y - 8.5) ** 2) / 32) * np.cos(2 * np.pi * (X - 15.5) / 8)
).float()


def linear(filter_):
    return lambda images, _: (images[:, 0] * filter_).sum((-2, -1))


def test_contrast_tuning_of_known_units():
    image = 100 + 60 * GABOR.numpy() / GABOR.abs().max().item()
    image -= image.mean() - 100
    images = np.stack([image, image, np.full_like(image, 111.3)])
    filter_ = torch.tensor(image - image.mean())
    preferred = 5.0  # grey levels of std at which the second unit responds most

    def respond(z, units):
        contrast = z[:, 0].std((-2, -1), correction=0) * STD
        rising = linear(filter_)(z, units)
        return torch.stack([rising[0], -((contrast[1] - preferred) ** 2), contrast[2] * 0 + 1])

    tuning = contrast_tuning(respond, images, MEAN, STD)
    delta = image - image.mean()
    largest = min((255 - image.mean()) / delta.max(), image.mean() / -delta.min())
    assert tuning.monotonic.tolist() == [True, False, True]
    assert tuning.sat_contrast[0] == pytest.approx(largest * image.std(), rel=1e-4)
    assert tuning.max_contrast[0] == tuning.sat_contrast[0]
    full = (image.mean() + largest * delta - MEAN) / STD
    assert tuning.max_activation[0] == pytest.approx((full * filter_.numpy()).sum(), rel=1e-4)
    assert tuning.max_contrast[1] == pytest.approx(preferred, abs=0.05)
    assert tuning.lim_contrast[0] == pytest.approx(255 / np.ptp(image) * image.std(), rel=1e-5)
    assert tuning.sat_contrast[2] == 0 and np.isnan(tuning.lim_contrast[2])
    np.testing.assert_allclose(tuning.img_mean, [100, 100, 111.3], rtol=1e-5)


def test_contrast_tuning_refuses_z_scores():
    with pytest.raises(ValueError, match=r"units \[1\] leave 0..255"):
        contrast_tuning(linear(GABOR), np.stack([GABOR * 0, GABOR]), MEAN, STD)
