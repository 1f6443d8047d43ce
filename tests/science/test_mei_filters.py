import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from science.mei.constraints import fix_contrast, limit_contrast, pixel_std, stretch
from science.mei.filters import fourier_filter, gaussian_blur, power_law_gain, radius_gain

SHAPE = (18, 32)


@pytest.mark.parametrize("shape", [(36, 64), (9, 15)])
def test_power_law_gain(shape):
    images = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(fourier_filter(images, power_law_gain(shape, 0.0)), images)
    gain = power_law_gain(shape, 0.1).double()
    width = shape[1]
    full = torch.stack([gain[:, min(j, width - j)] for j in range(width)], dim=1)
    assert full.mean().item() == pytest.approx(1, abs=1e-6)
    # Amplitude falls as f^-0.2 and no bin but the first is taken for DC.
    assert (gain[0, 4] / gain[0, 1]).item() == pytest.approx(4**-0.2, rel=1e-6)
    assert (gain[-1, 0] / gain[1, 0]).item() == pytest.approx(1, rel=1e-6)
    assert (gain[-3, 0] / gain[0, 1]).item() == pytest.approx(3**-0.2, rel=1e-6)


@pytest.mark.parametrize("sigma", [0.0, 0.1, 0.12, 0.4, 1.5, 6.0, 15.0])
def test_blur_is_scipys(sigma):
    images = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    expected = gaussian_filter(images.double().numpy(), (0, sigma, sigma), mode="reflect")
    np.testing.assert_allclose(gaussian_blur(images, sigma).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(36, 64), (9, 15)])
def test_radius_gain(shape):
    torch.testing.assert_close(radius_gain(shape, 0.0), torch.ones(shape[0], shape[1] // 2 + 1))
    gain = radius_gain(shape, 0.25).double()
    assert gain[0, 0] == gain[0, 1] == gain[-1, 0]
    assert (gain[3, 4] / gain[0, 1]).item() == pytest.approx(5**-0.25, rel=1e-6)
    legacy = radius_gain(shape, 0.25, legacy=True).double()
    assert (legacy[0, 0] / legacy[0, 1]).item() == pytest.approx(100, rel=1e-5)
    rows = shape[0] - 1
    assert (legacy[-1, 0] / legacy[1, 0]).item() == pytest.approx(rows**-0.25, rel=1e-6)


@given(st.integers(0, 2**31), st.floats(0.01, 2), st.floats(-1, 1))
def test_constraints(seed, contrast, mean):
    images = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(seed)).double()
    images[2] *= 0.001
    fixed = fix_contrast(images, contrast, mean)
    np.testing.assert_allclose(pixel_std(fixed).flatten(), contrast, rtol=1e-9)
    np.testing.assert_allclose(fixed.mean((-2, -1)), mean, atol=1e-9)
    free = fix_contrast(images, contrast, None)
    np.testing.assert_allclose(free.mean((-2, -1)), images.mean((-2, -1)), atol=1e-9)
    limited = limit_contrast(images, 0.5)
    np.testing.assert_allclose(pixel_std(limited)[:2].flatten(), 0.5, rtol=1e-9)
    assert torch.equal(limited[2], images[2])
    stretched = stretch(images, -2.0, 3.0)
    np.testing.assert_allclose(stretched.amin((-2, -1)), -2, rtol=1e-9)
    np.testing.assert_allclose(stretched.amax((-2, -1)), 3, rtol=1e-9)


def test_flat_images_stay_flat():
    flat = torch.full((1, *SHAPE), 0.3)
    torch.testing.assert_close(fix_contrast(flat, 0.25, None), flat)
    torch.testing.assert_close(fix_contrast(flat, 0.25, 0.0), 0 * flat)
    assert torch.equal(stretch(flat, -1.0, 1.0), flat)
    assert torch.equal(limit_contrast(flat, 0.5), flat)
