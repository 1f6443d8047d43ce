import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter

from science.mei import Allen, FixedContrast, InceptionLoop, ascend

SHAPE = (18, 32)
MEAN, STD = 111.3, 60.9
FAST = InceptionLoop(iter_n=60, start_step=40.0, end_step=2.0)


def gabor(theta, phase=0.0, wavelength=8.0, sigma=4.0, shape=SHAPE):
    """Gabor whose carrier runs along the direction theta (0 = x axis)."""
    y, x = np.mgrid[: shape[0], : shape[1]] - (np.array(shape)[:, None, None] - 1) / 2
    along = x * np.cos(theta) + y * np.sin(theta)
    window = np.exp(-(x**2 + y**2) / (2 * sigma**2))
    return torch.tensor(window * np.cos(2 * np.pi * along / wavelength + phase)).float()


def linear(filters):
    """Units whose response is the product of image and filter; filters (m, h, w)."""
    return lambda images, units: (images[:, 0] * filters[units]).sum((-2, -1))


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


def only(respond_units, chosen):
    chosen = torch.as_tensor(chosen)
    return lambda images, units: respond_units(images, chosen[units])


def test_defaults_are_the_published_row():
    params = InceptionLoop()
    assert (params.iter_n, params.start_sigma, params.end_sigma) == (1000, 1.5, 0.01)
    assert (params.start_step, params.end_step) == (3.0, 0.125)
    assert (params.precond, params.step_gain, params.blur, params.norm) == (0.1, 0.1, True, None)


@pytest.mark.parametrize(
    "bad", [{"iter_n": 0}, {"precond": -1}, {"norm": 0}, {"jiter": 1}, {"start_step": np.inf}]
)
def test_params_out_of_range_are_refused(bad):
    with pytest.raises(ValidationError):
        InceptionLoop(**bad)


def test_linear_unit_saturates_to_the_sign_of_its_filter():
    filters = torch.stack([gabor(0.3), gabor(1.2, phase=1.0)])
    filters[filters.abs() < 1e-3] = 0
    params = InceptionLoop(iter_n=50, start_step=1e8, end_step=1e8, precond=0, blur=False)
    result = ascend(linear(filters), [1, 2], SHAPE, MEAN, STD, params)
    driven = filters.numpy() != 0
    expected = np.where(filters.numpy() > 0, 255, 0)
    np.testing.assert_allclose(result.images[driven], expected[driven], atol=1e-3)
    start = ascend(linear(filters * 0), [1, 2], SHAPE, MEAN, STD, params).images
    np.testing.assert_allclose(result.images[~driven], start[~driven], atol=1e-4)


def test_linear_unit_under_a_norm_converges_to_its_preconditioned_filter():
    filters = torch.stack([gabor(0.3), gabor(1.2, phase=1.0), gabor(2.0, wavelength=5.0)])
    params = InceptionLoop(iter_n=200, start_step=20, end_step=20, blur=False, norm=10.0)
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
    frozen = InceptionLoop(iter_n=1, start_step=1e-30, blur=False)
    start = ascend(linear(filter_[None]), [4], SHAPE, MEAN, STD, frozen).images[0]
    result = ascend(linear(filter_[None]), [4], SHAPE, MEAN, STD, FAST)
    expected = reference_ascent(filter_.double().numpy(), start.astype(float), FAST)
    np.testing.assert_allclose(result.images[0], expected, atol=0.01)
    activation = ((expected - MEAN) / STD * filter_.double().numpy()).sum()
    assert result.activations[0] == pytest.approx(activation, rel=1e-4)


def test_start_noise():
    frozen = InceptionLoop(iter_n=1, start_step=1e-30, blur=False)
    result = ascend(linear(gabor(0.0).expand(40, -1, -1)), range(40), SHAPE, MEAN, STD, frozen)
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
    assert result.status.tolist() == ["ok", "dead", "ok"]
    frozen = InceptionLoop(iter_n=1, start_step=1e-30, blur=False)
    start = ascend(respond, [7, 8, 9], SHAPE, MEAN, STD, frozen)
    np.testing.assert_allclose(result.images[1], start.images[1], atol=1e-4)
    assert result.activations[1] == 1


@pytest.mark.parametrize("theta", [0.0, np.pi / 4, np.pi / 2, 3 * np.pi / 4])
def test_energy_unit_gets_its_orientation(theta):
    even, odd = (linear(gabor(theta, phase)[None]) for phase in (0, np.pi / 2))
    result = ascend(
        lambda images, units: even(images, units) ** 2 + odd(images, units) ** 2,
        [3], SHAPE, MEAN, STD, FAST,
    )  # fmt: skip
    rows, columns = np.gradient(result.images[0].astype(float))
    found = 0.5 * np.arctan2(2 * (rows * columns).sum(), (columns**2 - rows**2).sum())
    assert abs(np.angle(np.exp(2j * (found - theta)))) / 2 < np.deg2rad(5)


def test_curve_rises_and_steps_are_reported():
    done = []
    params = FAST.model_copy(update={"iter_n": 250})
    result = ascend(linear(gabor(0.3)[None]), [1], SHAPE, MEAN, STD, params, on_step=done.append)
    assert done == list(range(1, 251))
    assert result.curve_steps.tolist() == list(range(0, 250, 3))
    assert result.curve.shape == (1, 84)
    assert result.curve[0, 0] < result.curve[0, 20] < result.activations[0]
    assert result.images.min() >= 0 and result.images.max() <= 255


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="seeds is empty"):
        ascend(linear(gabor(0.0)[None]), [], SHAPE, MEAN, STD, FAST)
    with pytest.raises(ValueError, match="std > 0"):
        ascend(linear(gabor(0.0)[None]), [1], SHAPE, MEAN, 0.0, FAST)
    with pytest.raises(ValueError, match=r"shape \(2,\), got \(2, 18, 32\)"):
        ascend(lambda images, _: images[:, 0], [1, 2], SHAPE, MEAN, STD, FAST)
    with pytest.raises(ValueError, match="not differentiable"):
        ascend(lambda images, _: torch.ones(len(images)), [1], SHAPE, MEAN, STD, FAST)


def test_a_unit_that_is_not_finite_is_flagged_and_harms_no_other():
    respond_units = convnets(3)
    gains = torch.tensor([1.0, np.nan, 1.0])
    broken = ascend(
        lambda images, units: respond_units(images, units) * gains[units],
        [7, 8, 9], SHAPE, MEAN, STD, FAST,
    )  # fmt: skip
    sound = ascend(only(respond_units, [0, 2]), [7, 9], SHAPE, MEAN, STD, FAST)
    assert broken.status.tolist() == ["ok", "nonfinite", "ok"]
    assert np.isfinite(broken.images).all()
    np.testing.assert_allclose(broken.images[[0, 2]], sound.images, atol=1e-2)


def test_least_exciting_inputs_are_the_most_exciting_ones_of_the_negative_unit():
    respond_units = convnets(3)
    least = FAST.model_copy(update={"excite": "least"})
    found = ascend(respond_units, [7, 8, 9], SHAPE, MEAN, STD, least)
    expected = ascend(
        lambda images, units: -respond_units(images, units), [7, 8, 9], SHAPE, MEAN, STD, FAST
    )
    np.testing.assert_allclose(found.images, expected.images, atol=1e-3)
    assert (found.activations < found.curve[:, 0] - 0.1).all()


def test_several_starts_keep_the_best_and_tell_how_far_they_agree():
    filters = torch.stack([gabor(0.3), gabor(1.2, phase=1.0)])
    even, odd = filters, torch.stack([gabor(0.3, np.pi / 2), gabor(1.2, 1.0 + np.pi / 2)])

    def half_complex(images, units):
        """One linear unit, and one without a preferred phase."""
        energy = linear(even)(images, units) ** 2 + linear(odd)(images, units) ** 2
        return torch.where(units == 1, energy, linear(even)(images, units))

    params = FAST.model_copy(update={"n_starts": 6})
    result = ascend(half_complex, [5, 6], SHAPE, MEAN, STD, params)
    assert result.start_images.shape == (2, 6, *SHAPE)
    best = result.start_activations.argmax(1)
    np.testing.assert_array_equal(result.images, result.start_images[[0, 1], best])
    np.testing.assert_array_equal(result.activations, result.start_activations.max(1))
    pairs = [np.corrcoef(images.reshape(6, -1)) for images in result.start_images.astype(float)]
    expected = [pair[np.triu_indices(6, 1)].mean() for pair in pairs]
    np.testing.assert_allclose(result.agreement, expected, atol=1e-6)
    assert result.agreement[0] > 0.9 > 0.7 > result.agreement[1]
    single = ascend(half_complex, [5, 6], SHAPE, MEAN, STD, FAST)
    assert np.isnan(single.agreement).all()


def test_patience_lets_images_leave_the_batch_once_they_cease_to_improve():
    respond_units = convnets(4)
    slow = InceptionLoop(iter_n=400, start_step=20, end_step=20, blur=False, norm=15.0)
    full = ascend(respond_units, [1, 2, 3, 4], SHAPE, MEAN, STD, slow)
    stops = slow.model_copy(update={"patience": 20, "tolerance": 1e-3})
    batches = []

    def watched(images, units):
        batches.append(len(units))
        return respond_units(images, units)

    early = ascend(watched, [1, 2, 3, 4], SHAPE, MEAN, STD, stops)
    assert full.stopping.tolist() == ["steps"] * 4 and (full.n_steps == 400).all()
    assert early.stopping.tolist() == ["converged"] * 4 and (early.n_steps < 300).all()
    assert sum(batches[:-1]) == early.n_steps.sum() + 4  # the step that found no improvement
    np.testing.assert_allclose(early.activations, full.activations, rtol=0.03)
    after = early.curve_steps[None] > early.n_steps[:, None]
    assert np.isnan(early.curve[after]).all() and np.isfinite(early.curve[~after]).all()


def test_train_norm_limits_what_the_model_sees_and_not_the_image():
    seen = []

    def watched(images, units):
        seen.append(images.std((-2, -1), correction=0).max().item() * STD)
        return linear(gabor(0.3)[None])(images, units)

    params = InceptionLoop(iter_n=20, start_step=1e3, end_step=1e3, blur=False, train_norm=11.0)
    result = ascend(watched, [1], SHAPE, MEAN, STD, params)
    assert max(seen[:-1]) == pytest.approx(11.0, rel=1e-4)
    assert result.images.std() > 20


def test_jitter_rolls_what_the_model_sees_and_the_step_back():
    filter_, seen = gabor(0.3), []

    def watched(images, units):
        seen.append(images[0, 0])
        return linear(filter_[None])(images, units)

    params = InceptionLoop(iter_n=3, jitter=3, blur=False, precond=0.0, noise_sd=30.0)
    result = ascend(watched, [1], SHAPE, MEAN, STD, params)
    x, moves = seen[-1], []
    for step in (2, 1, 0):
        shifts = [(r, c) for r in range(-3, 4) for c in range(-3, 4)]
        size = (params.start_step + (params.end_step - params.start_step) * step / 3) * 0.1 / 255

        def before(shift, x=x, size=size):
            own = torch.roll(filter_, tuple(-s for s in shift), (-2, -1))
            return x - size * own / own.abs().mean()

        errors = [
            (torch.roll(before(s), s, (-2, -1)) - seen[step]).abs().max().item() for s in shifts
        ]
        moves.append(shifts[int(np.argmin(errors))])
        assert min(errors) < 1e-4
        x = before(moves[-1])
    assert len(set(moves)) > 1 and np.isfinite(result.images).all()


def test_fixed_contrast_reaches_the_blurred_filter_at_its_contrast():
    filters = torch.stack([gabor(0.3), gabor(1.2, phase=1.0)])
    filters = filters - filters.mean((-2, -1), keepdim=True)
    result = ascend(linear(filters), [1, 2], SHAPE, MEAN, STD, FixedContrast(iter_n=50))
    expected = gaussian_filter(filters.double().numpy(), (0, 1, 1))
    expected -= expected.mean((1, 2), keepdims=True)
    found = result.images.astype(float) - MEAN
    np.testing.assert_allclose(found.std((1, 2)), 0.25 * STD, rtol=1e-4)
    np.testing.assert_allclose(found.mean((1, 2)), 0, atol=1e-3)
    cosine = (found * expected).sum((1, 2)) / (
        np.linalg.norm(found, axis=(1, 2)) * np.linalg.norm(expected, axis=(1, 2))
    )
    assert cosine.min() >= 0.99
    np.testing.assert_allclose(result.contrast_curve[:, 1:], 0.25 * STD, rtol=1e-4)


def test_norm_constraint_without_smoothing_is_the_scaled_filter():
    filters = torch.stack([gabor(0.3), gabor(1.2, phase=1.0)])
    params = FixedContrast(iter_n=200, gradient_sigma=0.0, mean=None)
    result = ascend(linear(filters), [1, 2], SHAPE, MEAN, STD, params)
    found = (result.images.astype(float) - MEAN).reshape(2, -1)
    target = filters.double().numpy().reshape(2, -1)
    found = found - found.mean(1, keepdims=True)
    target = target - target.mean(1, keepdims=True)
    cosine = (found * target).sum(1) / np.linalg.norm(found, axis=1)
    assert (cosine / np.linalg.norm(target, axis=1)).min() >= 0.99


def test_impossible_contrast_is_refused():
    with pytest.raises(ValueError, match=r"at most 126\.5 fit into 0\.\.255"):
        ascend(linear(gabor(0.0)[None]), [1], SHAPE, MEAN, STD, FixedContrast(contrast=2.5))
    with pytest.raises(ValueError, match=r"at most 0\.0 fit"):
        ascend(linear(gabor(0.0)[None]), [1], SHAPE, MEAN, STD, FixedContrast(mean=3.0))


def allen_reference(filter_, start, params):
    """The text of allen_mei 5 for one linear unit of images in [0, 1], in float64 numpy."""
    x, sigma, (height, width) = start, params.sigma, start.shape
    ky = np.arange(height)
    if not params.legacy:
        ky = np.minimum(ky, height - ky)
    kx = np.minimum(np.arange(width), width - np.arange(width))
    radius = np.sqrt(ky[:, None] ** 2 + kx**2.0)
    radius = radius + 1e-8 if params.legacy else np.maximum(radius, 1)
    gain = 1 / radius**params.exponent
    half = gain[:, : width // 2 + 1]
    half = half / (half if params.legacy else gain).mean()
    for i in range(1, params.iter_n + 1):
        spread = x.std(ddof=1)
        towards = np.sign(params.contrast - spread) * (x - x.mean()) / (spread * (x.size - 1))
        gradient = filter_ + params.contrast_weight * towards
        x = x + params.step * np.fft.irfft2(np.fft.rfft2(gradient) * half, s=x.shape)
        sigma += (0.001 - sigma) * i / params.iter_n
        x = gaussian_filter(x, sigma)
        x = (x - x.min()) / (x.max() - x.min())
    return x


@pytest.mark.parametrize("legacy", [False, True])
def test_allen_follows_its_specification(legacy):
    params = Allen(iter_n=40, sigma=2.0, legacy=legacy)
    filter_ = gabor(0.7)  # on images in [0, 1]: z-scores times STD / 255
    respond = linear(filter_[None] * STD / 255)
    frozen = params.model_copy(update={"iter_n": 1, "step": 1e-30, "sigma": 1e-3})
    start = ascend(respond, [4], SHAPE, MEAN, STD, frozen).images[0] / 255
    result = ascend(respond, [4], SHAPE, MEAN, STD, params)
    expected = allen_reference(filter_.double().numpy(), start.astype(float), params)
    np.testing.assert_allclose(result.images[0] / 255, expected, atol=2e-4)


def test_allen_reaches_the_same_image_from_noise_and_from_black():
    respond_units = convnets(5)
    result = ascend(
        respond_units, range(5), SHAPE, MEAN, STD, Allen(iter_n=200, starts=("noise", "black"))
    )
    assert result.start_images.shape == (5, 2, *SHAPE)
    assert np.median(result.agreement) >= 0.9
    assert result.images.min((1, 2)).max() < 1e-3 and result.images.max((1, 2)).min() > 254.9
