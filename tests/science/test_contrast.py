import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.optimize import brentq

from science.contrast import ContrastTarget, match_contrast

TARGET = ContrastTarget()


def images(seed, n=4, shape=(12, 17), sharpness=1.0):
    """Smooth to very sparse images, of any mean and scale."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(n, *shape))
    values = np.sign(noise) * np.abs(noise) ** sharpness
    return torch.tensor(rng.normal() * 50 + 10.0 ** rng.uniform(-2, 2) * values).float()


def reference(image, target, mask=None):
    """Gain and offset of one image by nested root finding, in float64."""
    mask = np.ones(image.shape) if mask is None else mask
    r = (image - (mask * image).sum() / mask.sum()) * mask
    weights = mask / mask.sum() if target.inside_mask else np.full(r.shape, 1 / r.size)

    def transformed(gain, offset):
        return np.clip(gain * r + target.mean + offset, target.low, target.high)

    def offset_at(gain):
        reach = gain * np.abs(r).max() + target.high - target.low
        error = lambda offset: (weights * transformed(gain, offset)).sum() - target.mean  # noqa: E731
        return brentq(error, -reach, reach, xtol=1e-10)

    def std_error(log_gain):
        gain = np.exp(log_gain)
        result = transformed(gain, offset_at(gain))
        return np.sqrt((weights * (result - target.mean) ** 2).sum()) - target.std

    linear = np.log(target.std / np.sqrt((weights * r**2).sum()))
    gain = np.exp(brentq(std_error, linear - 1, linear + 9, xtol=1e-9))
    return gain, offset_at(gain)


@given(
    seed=st.integers(0, 10_000),
    sharpness=st.floats(0.5, 4),
    mean=st.floats(30, 225),
    std=st.floats(1, 25),
)
def test_targets_are_hit_within_the_bounds(seed, sharpness, mean, std):
    target = ContrastTarget(mean=mean, std=std)
    result = match_contrast(images(seed, sharpness=sharpness), target)
    pixels = result.images.double().flatten(1)
    assert result.reached.all()
    np.testing.assert_allclose(pixels.mean(1), mean, rtol=1e-3)
    np.testing.assert_allclose(pixels.std(1, correction=0), std, rtol=1.1e-3)
    np.testing.assert_allclose(result.mean, pixels.mean(1), rtol=1e-5)
    np.testing.assert_allclose(result.std, pixels.std(1, correction=0), rtol=1e-4)
    assert pixels.min() >= 0 and pixels.max() <= 255


@given(
    seed=st.integers(0, 10_000), inside=st.booleans(), masked=st.booleans(), std=st.floats(8, 40)
)
def test_gain_and_offset_are_those_of_nested_root_finding(seed, inside, masked, std):
    target = ContrastTarget(mean=60, std=std, inside_mask=inside)
    originals = images(seed, n=2, sharpness=2.5)
    y, x = np.mgrid[:12, :17]
    mask = np.exp(-((y - 5) ** 2 + (x - 8) ** 2) / 40)
    masks = torch.tensor(np.stack([mask, mask**2])).float() if masked else None
    result = match_contrast(originals, target, masks)
    for i in range(2):
        own = None if masks is None else masks[i].double().numpy()
        try:
            gain, offset = reference(originals[i].double().numpy(), target, own)
        except ValueError:  # no gain has this contrast
            assert not result.reached[i]
            continue
        assert result.reached[i]
        r = originals[i].double().numpy()
        own = np.ones(r.shape) if own is None else own
        r = r - (own * r).sum() / own.sum()
        for found, values in ((result.images, own * r), (result.unmasked, r)):
            expected = np.clip(gain * values + 60 + offset, 0, 255)
            np.testing.assert_allclose(found[i], expected, atol=0.02 * std)


def test_unclipped_images_are_only_shifted_and_scaled():
    originals = images(0, sharpness=0.5)
    result = match_contrast(originals, TARGET)
    pixels = originals.double().flatten(1)
    z = (pixels - pixels.mean(1, keepdim=True)) / pixels.std(1, correction=0, keepdim=True)
    np.testing.assert_allclose(result.images.flatten(1), 111 + 16 * z, rtol=1e-5)
    np.testing.assert_allclose(result.gain * pixels.std(1, correction=0), 16, rtol=1e-5)
    np.testing.assert_allclose(result.offset, 0, atol=1e-3)
    assert result.unmasked is result.images


def test_the_scale_and_level_of_an_image_do_not_matter():
    originals = images(1, sharpness=3)
    result = match_contrast(originals, TARGET)
    other = match_contrast(1e-3 * originals + 0.01, TARGET)
    np.testing.assert_allclose(other.images, result.images, atol=0.05)


def test_z_scores_and_luminances_are_matched_as_grey_levels_are():
    originals = images(2, sharpness=3)
    grey = match_contrast(originals, TARGET).images
    z = ContrastTarget(mean=0, std=16 / 60, low=-111 / 60, high=144 / 60)
    np.testing.assert_allclose(60 * match_contrast(originals, z).images + 111, grey, atol=0.02)


def test_impossible_contrasts_are_flagged_with_the_nearest_image():
    dot, step = torch.zeros(2, 20, 20)
    dot[3, 4] = 1
    step[:10] = 1
    half = ContrastTarget(mean=100, std=90)  # two levels, 100 apart from the mean at most
    result = match_contrast(torch.stack([dot, step]), half)
    assert result.reached.tolist() == [False, True]
    # One white pixel; the others darker by 155 / 399, so that the mean holds.
    assert result.images[0, 3, 4] == pytest.approx(255, abs=0.1)
    assert result.std[0].item() == pytest.approx(155 / np.sqrt(399), rel=1e-3)
    assert result.mean[0].item() == pytest.approx(100, rel=1e-4)
    # The half that is darker can go to 0 only, the other to 200 then.
    too_much = match_contrast(step[None], ContrastTarget(mean=100, std=101))
    assert not too_much.reached.any()
    assert too_much.std.item() == pytest.approx(100, rel=1e-3)


def test_flat_images_and_empty_masks_are_flagged():
    flat = torch.stack([torch.full((9, 7), level) for level in (0.0, 111.3, -1e6)])
    result = match_contrast(flat, TARGET)
    assert not result.reached.any()
    np.testing.assert_array_equal(result.images, np.full((3, 9, 7), np.float32(111)))
    assert (result.std == 0).all() and (result.gain == 0).all()
    empty = match_contrast(images(3), TARGET, torch.zeros(4, 12, 17))
    assert not empty.reached.any() and (empty.images == 111).all()


def test_images_do_not_depend_on_the_batch():
    easy, hard = images(4, sharpness=0.5), images(5, sharpness=4)
    together = match_contrast(torch.cat([easy, hard, 0 * easy]), TARGET)
    for i, original in enumerate(torch.cat([easy, hard])):
        alone = match_contrast(original[None], TARGET)
        np.testing.assert_allclose(together.images[i], alone.images[0], atol=1e-3)
    assert len(match_contrast(easy[:0], TARGET).images) == 0


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("inside", [False, True])
def test_gradients_include_gain_and_offset(masked, inside, monkeypatch):
    monkeypatch.setattr("science.contrast.SOLVER_TOLERANCE", 1e-11)  # finer than the differences
    target = ContrastTarget(mean=40, std=16, inside_mask=inside)
    originals = images(6, n=2, shape=(6, 7), sharpness=2).double().requires_grad_()
    masks = None
    if masked:
        masks = torch.linspace(0.1, 1, 84, dtype=torch.float64).reshape(2, 6, 7)
    result = match_contrast(originals, target, masks)
    assert result.reached.all() and (result.images == 0).any(), "some pixels must be clipped"
    assert torch.autograd.gradcheck(
        lambda values: match_contrast(values, target, masks).images, originals, atol=1e-4
    )


@pytest.mark.parametrize(
    "bad", [{"mean": 0}, {"mean": 300}, {"std": 0}, {"low": 255}, {"std": 127}]
)
def test_targets_out_of_range_are_refused(bad):
    with pytest.raises(ValidationError):
        ContrastTarget(**bad)


def test_bad_input_is_named():
    some = images(0)
    with pytest.raises(ValueError, match=r"must be floating point, \(m, height, width\)"):
        match_contrast(some[0], TARGET)
    with pytest.raises(ValueError, match="floating point"):
        match_contrast(some.byte(), TARGET)
    spoiled = some.clone()
    spoiled[1, 2, 3], spoiled[2, 0, 0] = torch.nan, torch.inf
    with pytest.raises(ValueError, match=r"images \[1, 2\] are not finite"):
        match_contrast(spoiled, TARGET)
    with pytest.raises(ValueError, match="as the images"):
        match_contrast(some, TARGET, torch.ones(4, 17, 12))
    with pytest.raises(ValueError, match=r"masks \[0, 1\] leave \[0, 1\]"):
        match_contrast(some[:2], TARGET, torch.stack([some[0] * torch.nan, 2 + 0 * some[0]]))
