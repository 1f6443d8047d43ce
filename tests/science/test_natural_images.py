import socket

import numpy as np
import pytest

from science.natural_images import (
    MIN_CONTRAST,
    dead_leaves,
    natural_images,
    photograph_crops,
)


@pytest.fixture(scope="module")
def images():
    return natural_images(600, 24, 40, seed=3)


def amplitude_slope(images, axis):
    """Slope of log amplitude against log frequency along one axis, averaged over images."""
    patch = images[:, :24, :24] - images[:, :24, :24].mean((1, 2), keepdims=True)
    window = np.hanning(24)[:, None] * np.hanning(24)
    power = np.abs(np.fft.fft2(patch * window)) ** 2
    spectrum = np.sqrt(power.mean(0))
    along = spectrum[0, 2:10] if axis == 1 else spectrum[2:10, 0]
    return np.polyfit(np.log(np.arange(2, 10)), np.log(along), 1)[0]


def test_shape_type_and_range(images):
    assert images.shape == (600, 24, 40)
    assert images.dtype == np.uint8
    assert images.min() < 10
    assert images.max() > 245


def test_no_two_identical_and_none_flat(images):
    assert len({image.tobytes() for image in images}) == 600
    assert images.std((1, 2)).min() >= MIN_CONTRAST


def test_seed_decides(images):
    assert np.array_equal(images, natural_images(600, 24, 40, seed=3))
    other = {image.tobytes() for image in natural_images(600, 24, 40, seed=4)}
    assert len(other & {image.tobytes() for image in images}) < 6


def test_spectrum_falls_like_natural_scenes(images):
    # amplitude ~ 1 / frequency in photographs (Field 1987); white noise would give 0
    for axis in (0, 1):
        assert -1.7 < amplitude_slope(images, axis) < -0.7


def test_dead_leaves_alone_have_the_natural_spectrum():
    leaves = dead_leaves(300, 24, 40, np.random.default_rng(0))
    slopes = [amplitude_slope(leaves, axis) for axis in (0, 1)]
    assert -1.7 < min(slopes) <= max(slopes) < -0.7
    assert abs(slopes[0] - slopes[1]) < 0.3  # no direction is special


def test_crops_are_windows_of_the_photograph_or_its_mirror_images():
    photograph = np.arange(256, dtype=np.uint8).reshape(16, 16)
    crops = photograph_crops([photograph], 200, 5, 7, np.random.default_rng(0))
    orientations = set()
    for crop in crops:
        upright = crop[:: np.sign(int(crop[1, 0]) - int(crop[0, 0]))]
        upright = upright[:, :: np.sign(int(upright[0, 1]) - int(upright[0, 0]))]
        row, column = divmod(int(upright[0, 0]), 16)
        assert np.array_equal(upright, photograph[row : row + 5, column : column + 7])
        orientations.add((crop[1, 0] > crop[0, 0], crop[0, 1] > crop[0, 0]))
    assert len(orientations) == 4


def test_needs_no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("asked for the network")

    monkeypatch.setattr(socket, "socket", refuse)
    assert len(natural_images(20, 24, 40, seed=0)) == 20


@pytest.mark.parametrize("size", [(8, 8), (36, 64), (144, 256)])
def test_other_sizes(size):
    images = natural_images(12, *size, seed=0)
    assert images.shape == (12, *size)
    assert len({image.tobytes() for image in images}) == 12


def test_none_asked_none_given():
    assert natural_images(0, 24, 40, seed=0).shape == (0, 24, 40)


@pytest.mark.parametrize(("n", "height", "width"), [(-1, 24, 40), (5, 4, 40), (5, 24, 400)])
def test_impossible_requests_raise(n, height, width):
    with pytest.raises(ValueError, match=r"n is -1|each side"):
        natural_images(n, height, width, seed=0)
