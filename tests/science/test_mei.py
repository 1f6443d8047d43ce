import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter

from science.mei import (
    MEIParams,
    ascend,
    contrast_tuning,
    gaussian_blur,
    precondition,
    preconditioner,
)

SHAPE = (18, 32)
MEAN, STD = 111.3, 60.9
FAST = MEIParams(iter_n=60, start_step=40.0, end_step=2.0)


def gabor(theta, phase=0.0, wavelength=8.0, sigma=4.0, shape=SHAPE):
    """Gabor whose carrier runs along the direction theta (0 = x axis)."""
    y, x = np.mgrid[: shape[0], : shape[1]] - (np.array(shape)[:, None, None] - 1) / 2
    along = x * np.cos(theta) + y * np.sin(theta)
    window = np.exp(-(x**2 + y**2) / (2 * sigma**2))
    return torch.tensor(window * np.cos(2 * np.pi * along / wavelength + phase)).float()


def linear(filters):
    return lambda images: (images[:, 0] * filters).sum((-2, -1))


def convnets(n_units, dead=()):
    """A random convolutional network with one linear readout per unit; `dead` ones are silent."""
    generator = torch.Generator().manual_seed(5)
    kernels = torch.randn(8, 1, 7, 7, generator=generator) / 7
    readout = torch.randn(n_units, 8, 12, 26, generator=generator) / 50
    readout[list(dead)] = 0

    def respond_units(images, units):
        features = torch.nn.functional.elu(torch.nn.functional.conv2d(images, kernels))
        return torch.nn.functional.elu((features * readout[units]).sum((1, 2, 3))) + 1

    return respond_units


def only(respond_units, units):
    units = torch.as_tensor(units)
    return lambda images: respond_units(images, units)


def test_defaults_are_the_published_row():
    params = MEIParams()
    assert (params.iter_n, params.start_sigma, params.end_sigma) == (1000, 1.5, 0.01)
    assert (params.start_step, params.end_step) == (3.0, 0.125)
    assert (params.precond, params.step_gain, params.blur, params.norm) == (0.1, 0.1, True, None)


@pytest.mark.parametrize(
    "bad", [{"iter_n": 0}, {"precond": -1}, {"norm": 0}, {"jitter": 1}, {"start_step": np.inf}]
)
def test_params_out_of_range_are_refused(bad):
    with pytest.raises(ValidationError):
        MEIParams(**bad)


def test_linear_unit_saturates_to_the_sign_of_its_filter():
    filters = torch.stack([gabor(0.3), gabor(1.2, phase=1.0)])
    filters[filters.abs() < 1e-3] = 0
    params = MEIParams(iter_n=50, start_step=1e8, end_step=1e8, precond=0, blur=False)
    result = ascend(linear(filters), [1, 2], SHAPE, MEAN, STD, params)
    driven = filters.numpy() != 0
    expected = np.where(filters.numpy() > 0, 255, 0)
    np.testing.assert_allclose(result.images[driven], expected[driven], atol=1e-3)
    start = ascend(linear(filters * 0), [1, 2], SHAPE, MEAN, STD, params).images
    np.testing.assert_allclose(result.images[~driven], start[~driven], atol=1e-4)


def test_linear_unit_under_a_norm_converges_to_its_preconditioned_filter():
    filters = torch.stack([gabor(0.3), gabor(1.2, phase=1.0), gabor(2.0, wavelength=5.0)])
    params = MEIParams(iter_n=200, start_step=20, end_step=20, blur=False, norm=10.0)
    result = ascend(linear(filters), [1, 2, 3], SHAPE, MEAN, STD, params)
    full = np.fft.fft2(filters.double().numpy())
    ky, kx = (np.minimum(np.arange(n), n - np.arange(n)) for n in SHAPE)
    gain = 1 / np.maximum(1, (ky[:, None] ** 2 + kx**2.0) ** 0.1)
    target = np.fft.ifft2(full * gain / gain.mean()).real.reshape(3, -1)
    found = (result.images.astype(float) - MEAN).reshape(3, -1)
    cosine = (found * target).sum(1) / np.linalg.norm(found, axis=1)
    cosine /= np.linalg.norm(target, axis=1)
    assert cosine.min() >= 0.99
    np.testing.assert_allclose(result.images.std((1, 2)), 10.0, rtol=1e-4)


@pytest.mark.parametrize("shape", [(36, 64), (9, 15)])
def test_preconditioner(shape):
    images = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(precondition(images, preconditioner(shape, 0.0)), images)
    gain = preconditioner(shape, 0.1).double()
    width = shape[1]
    full = torch.stack([gain[:, min(j, width - j)] for j in range(width)], dim=1)
    assert full.mean().item() == pytest.approx(1, abs=1e-6)
    # Amplitude falls as f^-0.2 and no bin but the first is taken for DC.
    assert (gain[0, 4] / gain[0, 1]).item() == pytest.approx(4**-0.2, rel=1e-6)
    assert (gain[-1, 0] / gain[1, 0]).item() == pytest.approx(1, rel=1e-6)
    assert (gain[-3, 0] / gain[0, 1]).item() == pytest.approx(3**-0.2, rel=1e-6)


@pytest.mark.parametrize("sigma", [0.1, 0.4, 1.5, 6.0])
def test_blur_is_scipys(sigma):
    images = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    expected = gaussian_filter(images.double().numpy(), (0, sigma, sigma), mode="reflect")
    np.testing.assert_allclose(gaussian_blur(images, sigma).numpy(), expected, atol=1e-6)


def reference_ascent(filter_, start, params):
    """The text of microns_vei 9.4 for one linear unit, in float64 numpy."""
    x = (start - MEAN) / STD
    ky, kx = (np.minimum(np.arange(n), n - np.arange(n)) for n in SHAPE)
    t = 1 / np.maximum(1, (ky[:, None] ** 2 + kx**2.0) ** params.precond)
    for i in range(params.iter_n):
        alpha = i / params.iter_n
        g = np.fft.ifft2(np.fft.fft2(filter_) * t / t.mean()).real
        step = params.start_step + (params.end_step - params.start_step) * alpha
        x = x + step * params.step_gain / 255 * g / (np.abs(g).mean() + 1e-12)
        x = np.clip(x, -MEAN / STD, (255 - MEAN) / STD)
        sigma = params.start_sigma + (params.end_sigma - params.start_sigma) * alpha
        x = gaussian_filter(x, sigma)
    return x * STD + MEAN


def test_every_step_follows_the_specification():
    filter_ = gabor(0.7)
    frozen = MEIParams(iter_n=1, start_step=1e-30, blur=False)
    start = ascend(linear(filter_), [4], SHAPE, MEAN, STD, frozen).images[0]
    result = ascend(linear(filter_), [4], SHAPE, MEAN, STD, FAST)
    expected = reference_ascent(filter_.double().numpy(), start.astype(float), FAST)
    np.testing.assert_allclose(result.images[0], expected, atol=0.01)
    activation = ((expected - MEAN) / STD * filter_.double().numpy()).sum()
    assert result.activations[0] == pytest.approx(activation, rel=1e-4)


def test_start_noise():
    frozen = MEIParams(iter_n=1, start_step=1e-30, blur=False)
    result = ascend(linear(gabor(0.0)), range(40), SHAPE, MEAN, STD, frozen)
    assert result.images.mean() == pytest.approx(128, abs=0.3)
    assert result.images.std() == pytest.approx(8, abs=0.2)


def test_a_unit_does_not_depend_on_its_block():
    respond_units, seeds = convnets(6), [10, 11, 12, 13, 14, 15]
    block = ascend(only(respond_units, range(6)), seeds, SHAPE, MEAN, STD, FAST)
    assert (block.activations > block.curve[:, 0] + 1).all()
    order = [4, 1, 3]
    part = ascend(only(respond_units, order), [seeds[i] for i in order], SHAPE, MEAN, STD, FAST)
    np.testing.assert_allclose(part.images, block.images[order], atol=1e-2)
    np.testing.assert_allclose(part.activations, block.activations[order], rtol=1e-4)
    for i in range(3):
        alone = ascend(only(respond_units, [i]), [seeds[i]], SHAPE, MEAN, STD, FAST)
        np.testing.assert_allclose(alone.images[0], block.images[i], atol=1e-2)
        np.testing.assert_allclose(alone.activations[0], block.activations[i], rtol=1e-4)


def test_seeds_reproduce_bytes_and_matter():
    respond = only(convnets(3), [0, 1, 2])
    first, again = (ascend(respond, [7, 8, 9], SHAPE, MEAN, STD, FAST) for _ in range(2))
    assert first.images.tobytes() == again.images.tobytes()
    assert first.curve.tobytes() == again.curve.tobytes()
    other = ascend(respond, [7, 8, 10], SHAPE, MEAN, STD, FAST)
    assert np.abs(other.images[2] - first.images[2]).max() > 1e-3


def test_dead_unit_is_flagged_and_only_blurred():
    respond = only(convnets(3, dead=[1]), [0, 1, 2])
    params = FAST.model_copy(update={"blur": False})
    result = ascend(respond, [7, 8, 9], SHAPE, MEAN, STD, params)
    assert result.alive.tolist() == [True, False, True]
    frozen = MEIParams(iter_n=1, start_step=1e-30, blur=False)
    start = ascend(respond, [7, 8, 9], SHAPE, MEAN, STD, frozen)
    np.testing.assert_allclose(result.images[1], start.images[1], atol=1e-4)
    assert result.activations[1] == 1


@pytest.mark.parametrize("theta", [0.0, np.pi / 4, np.pi / 2, 3 * np.pi / 4])
def test_energy_unit_gets_its_orientation(theta):
    even, odd = gabor(theta), gabor(theta, phase=np.pi / 2)
    result = ascend(
        lambda images: linear(even)(images) ** 2 + linear(odd)(images) ** 2,
        [3], SHAPE, MEAN, STD, FAST,
    )  # fmt: skip
    rows, columns = np.gradient(result.images[0].astype(float))
    found = 0.5 * np.arctan2(2 * (rows * columns).sum(), (columns**2 - rows**2).sum())
    assert abs(np.angle(np.exp(2j * (found - theta)))) / 2 < np.deg2rad(5)


def test_curve_rises_and_steps_are_reported():
    done = []
    params = FAST.model_copy(update={"iter_n": 250})
    result = ascend(linear(gabor(0.3)), [1], SHAPE, MEAN, STD, params, on_step=done.append)
    assert done == list(range(1, 251))
    assert result.curve_steps.tolist() == list(range(0, 250, 3))
    assert result.curve.shape == (1, 84)
    assert result.curve[0, 0] < result.curve[0, 20] < result.activations[0]
    assert result.images.min() >= 0 and result.images.max() <= 255


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="seeds is empty"):
        ascend(linear(gabor(0.0)), [], SHAPE, MEAN, STD, FAST)
    with pytest.raises(ValueError, match="std > 0"):
        ascend(linear(gabor(0.0)), [1], SHAPE, MEAN, 0.0, FAST)
    with pytest.raises(ValueError, match=r"shape \(2,\), got \(2, 18, 32\)"):
        ascend(lambda images: images[:, 0], [1, 2], SHAPE, MEAN, STD, FAST)
    with pytest.raises(ValueError, match="not differentiable"):
        ascend(lambda images: torch.ones(len(images)), [1], SHAPE, MEAN, STD, FAST)
    gains = torch.tensor([1.0, np.nan, 1.0])
    with pytest.raises(ValueError, match=r"units \[1\]"):
        ascend(lambda i: linear(gabor(0.0))(i) * gains, [1, 2, 3], SHAPE, MEAN, STD, FAST)


def test_contrast_tuning_of_known_units():
    image = 100 + 60 * gabor(0.0).numpy() / gabor(0.0).abs().max().item()
    image -= image.mean() - 100
    images = np.stack([image, image, np.full_like(image, 111.3)])
    filter_ = torch.tensor(image - image.mean())
    preferred = 5.0  # grey levels of std at which the second unit responds most

    def respond(z):
        contrast = z[:, 0].std((-2, -1), correction=0) * STD
        rising = linear(filter_)(z)
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
        contrast_tuning(linear(gabor(0.0)), np.stack([gabor(0.0) * 0, gabor(0.0)]), MEAN, STD)
