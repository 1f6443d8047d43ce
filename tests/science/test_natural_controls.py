import numpy as np
import pytest
import torch

from science.contrast import ContrastTarget, match_contrast
from science.natural_controls import best_natural_images
from science.natural_images import natural_images

SHAPE, MEAN, STD = (24, 40), 120.0, 45.0
IMAGES = natural_images(300, *SHAPE, seed=3)
FILTERS = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0))
TARGET = ContrastTarget(mean=127.5, std=16)
Y, X = np.mgrid[:24, :40]
MASKS = np.stack([np.exp(-((X - x) ** 2 + (Y - 12) ** 2) / 40) for x in (10, 20, 30)])


def own(images):
    return (images[:, 0] * FILTERS).sum((1, 2)).exp()


def every(images):
    return torch.einsum("bchw,nhw->bn", images, FILTERS).exp()


def found(images=IMAGES, **changes):
    arguments = {"contrast": TARGET, "n_candidates": len(images)} | changes
    return best_natural_images(own, every, images, MASKS, MEAN, STD, **arguments)


def z(images, masks=None):
    stack = torch.as_tensor(np.asarray(images, np.float32))
    return (match_contrast(stack, TARGET, masks).images - MEAN) / STD


def test_the_best_of_all_images_is_found_in_the_frame_and_in_each_mask():
    result = found()
    responses = every(z(IMAGES)[:, None])
    np.testing.assert_array_equal(result.index, responses.argmax(0))
    np.testing.assert_allclose(result.activations, responses.amax(0), rtol=1e-4)
    for unit, mask in enumerate(MASKS):
        repeated = torch.as_tensor(mask, dtype=torch.float32).expand(len(IMAGES), -1, -1)
        shown = z(IMAGES, repeated)
        masked = (shown * FILTERS[unit]).sum((1, 2)).exp()
        assert result.masked_index[unit] == masked.argmax()
        assert result.masked_activations[unit] == pytest.approx(masked.max().item(), rel=1e-3)
        best = shown[masked.argmax()] * STD + MEAN
        np.testing.assert_allclose(result.masked_images[unit], best, atol=0.01)
    assert not np.array_equal(result.index, result.masked_index)


def test_only_candidates_are_tried_in_the_mask():
    result = found(n_candidates=1)
    np.testing.assert_array_equal(result.masked_index, result.index)
    assert (result.masked_activations <= found().masked_activations).all()


def test_an_image_that_cannot_have_the_contrast_is_never_the_best():
    flat = np.full((1, *SHAPE), 100, IMAGES.dtype)
    assert (found(np.concatenate([flat, IMAGES[:5]])).index > 0).all()
    only = found(np.concatenate([flat, flat]))
    assert np.isnan(only.activations).all() and np.isnan(only.masked_activations).all()


def test_no_images_are_an_error():
    with pytest.raises(ValueError, match="no natural image"):
        found(IMAGES[:0])
