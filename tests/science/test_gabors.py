from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.ndimage import rotate

from science.gabors import GaborLimits, GaborRange, canonical, canvas_phase, gabor_patches

SHAPES = [(36, 64), (24, 40)]


def patch(shape, phase=0.0, wavelength=8.0, orientation=0.0, sigma=4.0, dy=0.0, dx=0.0):
    parameters = torch.tensor(
        [[phase, wavelength, orientation, sigma, dy, dx]], dtype=torch.float64
    )
    return gabor_patches(parameters, shape)[0].numpy()


def published(shape, phase, wavelength, orientation, sigma, dy, dx):
    """The text of microns_vei 9.8: tile, turn, window, move, crop."""
    pad = max(shape)
    height, width = (size + 2 * pad for size in shape)
    rows = np.sin(np.deg2rad(phase + 360 / wavelength * np.arange(height)))
    canvas = rotate(np.tile(rows[:, None], width), orientation, reshape=False)
    y, x = np.mgrid[:height, :width] - (np.array([height, width])[:, None, None] - 1) / 2
    canvas *= np.exp(-(y**2 + x**2) / (2 * sigma**2))
    canvas = np.roll(canvas, (int(dy * shape[0]), int(dx * shape[1])), (0, 1))
    return canvas[pad:-pad, pad:-pad]


@pytest.mark.parametrize("shape", SHAPES)
@given(
    phase=st.floats(0, 360),
    wavelength=st.floats(5, 20),
    orientation=st.floats(0, 180),
    sigma=st.floats(2, 9),
    rows=st.integers(-7, 7),
    columns=st.integers(-12, 12),
)
def test_gabors_are_those_of_the_original_generator(
    shape, phase, wavelength, orientation, sigma, rows, columns
):
    # Half a pixel more, which the original cuts off.
    dy, dx = ((n + np.sign(n) / 2) / size for n, size in zip((rows, columns), shape, strict=True))
    expected = published(shape, phase, wavelength, orientation, sigma, dy, dx)
    place = (rows / shape[0], columns / shape[1])
    parameters = torch.tensor(
        [[phase, wavelength, orientation, sigma, *place]], dtype=torch.float64
    )
    found = gabor_patches(canvas_phase(parameters, shape), shape)[0]
    np.testing.assert_allclose(found, expected, atol=0.02)  # the original interpolates


@pytest.mark.parametrize("shape", SHAPES)
def test_orientation_turns_counter_clockwise_on_the_screen(shape):
    horizontal = patch(shape, phase=90)
    middle = horizontal[:, shape[1] // 2 - 1 : shape[1] // 2 + 1]
    np.testing.assert_allclose(middle[:, 0], middle[:, 1])
    diagonal = patch((33, 33), phase=90, orientation=45)
    up_right = diagonal[np.arange(12, 21), np.arange(20, 11, -1)]
    window = np.exp(-(2 * np.arange(-4, 5) ** 2) / (2 * 4.0**2))
    np.testing.assert_allclose(up_right, window, atol=1e-6, err_msg="stripes run up to the right")
    np.testing.assert_allclose(
        patch((33, 33), phase=30, orientation=90), np.rot90(patch((33, 33), phase=30)), atol=1e-12
    )


def test_phase_90_is_a_cosine_and_0_a_sine_that_rises_downwards():
    d = np.arange(-16, 17)
    window = np.exp(-(d**2) / 32)
    np.testing.assert_allclose(
        patch((33, 33), phase=90)[:, 16], window * np.cos(2 * np.pi * d / 8), atol=1e-7
    )
    np.testing.assert_allclose(
        patch((33, 33))[:, 16], window * np.sin(2 * np.pi * d / 8), atol=1e-7
    )


@given(wavelength=st.floats(4, 12), orientation=st.floats(0, 180))
def test_wavelength_and_orientation_by_the_peak_of_the_spectrum(wavelength, orientation):
    size = 256
    image = patch((36, 64), 90, wavelength, orientation, sigma=9)
    power = np.abs(np.fft.fft2(image, (size, size)))[:, : size // 2]
    fy, fx = np.unravel_index(power.argmax(), power.shape)
    fy = (fy + size // 2) % size - size // 2
    assert np.hypot(fy, fx) / size == pytest.approx(1 / wavelength, abs=0.01)
    direction = np.rad2deg(np.arctan2(fx, fy))  # of the carrier, from down towards the right
    assert abs((direction - orientation + 90) % 180 - 90) < 5


@given(
    phase=st.floats(0, 360), sigma=st.floats(2, 4), dy=st.floats(-0.2, 0.2), dx=st.floats(-0.2, 0.2)
)
def test_the_window_is_where_and_as_wide_as_asked_for(phase, sigma, dy, dx):
    shape = (36, 64)
    pair = [patch(shape, p, 8, 30, sigma, dy, dx) for p in (phase, phase + 90)]
    density = pair[0] ** 2 + pair[1] ** 2  # of a quadrature pair: the squared window
    density /= density.sum()
    y, x = np.mgrid[:36, :64]
    assert (density * y).sum() == pytest.approx(17.5 + dy * 36, abs=0.05)
    assert (density * x).sum() == pytest.approx(31.5 + dx * 64, abs=0.05)
    variance = (density * (x - 31.5 - dx * 64) ** 2).sum()
    assert variance == pytest.approx(sigma**2 / 2, rel=0.05)


def test_whole_pixels_move_window_and_carrier_together():
    still = patch((36, 64), 20, 7, 35, 3)
    moved = patch((36, 64), 20, 7, 35, 3, dy=5 / 36, dx=-11 / 64)
    np.testing.assert_allclose(moved[5:, :-11], still[:-5, 11:], atol=1e-12)


def test_gradients_are_right():
    parameters = torch.tensor([[20, 7, 35, 3, 0.1, -0.2], [300, 15, 160, 8, 0, 0.3]]).double()
    assert torch.autograd.gradcheck(
        lambda p: gabor_patches(p, (8, 11)), parameters.requires_grad_()
    )


@given(phase=st.floats(-800, 800), orientation=st.floats(-800, 800))
def test_canonical_parameters_draw_the_same_gabor(phase, orientation):
    parameters = torch.tensor([[phase, 7, orientation, 3, 0.1, -0.2]]).double()
    same = canonical(parameters)
    assert 0 <= same[0, 0] <= 360 and 0 <= same[0, 2] <= 180
    np.testing.assert_allclose(
        gabor_patches(same, (24, 40)), gabor_patches(parameters, (24, 40)), atol=1e-9
    )


def test_the_default_range_is_the_published_one():
    published_range = GaborRange()
    assert len(published_range) == 72_800 == 4 * 5 * 8 * 5 * 7 * 13
    assert published_range.orientations == tuple(np.arange(8) * 22.5)
    # Given or by default, the same document, of which keys are made.
    spelt_out = GaborRange(phases=(0, 90, 180, 270), wavelengths=(4, 7, 10, 15, 20))
    assert spelt_out.model_dump_json() == published_range.model_dump_json()
    limits = GaborLimits(wavelength=(4, 20), sigma=(2, 9))
    assert limits.model_dump_json() == GaborLimits().model_dump_json()
    np.testing.assert_allclose(published_range.dys, np.linspace(-0.3, 0.3, 7))
    np.testing.assert_allclose(published_range.dxs, np.linspace(-0.3, 0.3, 13))


@pytest.mark.parametrize("shape", SHAPES)
def test_blocks_run_through_the_grid_in_whole_pixels(shape):
    small = GaborRange(phases=(0, 90), sigmas=(2, 3), orientations=(0, 45))
    blocks = list(small.blocks(shape, batch_size=1000))
    assert [len(block) for block in blocks] == [1000, 1000, 1000, 640]
    found = torch.cat(blocks).numpy()
    # 3.6 pixels are 3, as int() has it; 0.3 of 40 pixels are 12.
    expected = np.array(list(product(*small.axes)))
    expected[:, 4] = np.trunc(np.round(expected[:, 4] * shape[0], 6)) / shape[0]
    expected[:, 5] = np.trunc(np.round(expected[:, 5] * shape[1], 6)) / shape[1]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    rows = {(36, 64): [-10, -7, -3, 0, 3, 7, 10], (24, 40): [-7, -4, -2, 0, 2, 4, 7]}[shape]
    np.testing.assert_allclose(np.unique(found[:, 4]) * shape[0], rows, atol=1e-5)
    spaced = GaborRange(dys=tuple(np.linspace(-0.3, 0.3, 7)), dxs=tuple(np.linspace(-0.3, 0.3, 13)))
    index = torch.arange(len(spaced))
    assert torch.equal(spaced.parameters(index, shape), GaborRange().parameters(index, shape))
    assert np.unique(found[:, 5]).max() * shape[1] == pytest.approx({64: 19, 40: 12}[shape[1]])


@pytest.mark.parametrize("bad", [{"phases": ()}, {"sigmas": (0,)}, {"wavelengths": (-4,)}])
def test_ranges_that_make_no_sense_are_refused(bad):
    with pytest.raises(ValidationError):
        GaborRange(**bad)
    for name in ("wavelength", "sigma"):
        with pytest.raises(ValidationError, match=f"{name}: 9.0 is not below 4.0"):
            GaborLimits(**{name: (9, 4)})


def test_bad_parameters_are_named():
    with pytest.raises(ValueError, match=r"must be \(n, 6\): phase, wavelength"):
        gabor_patches(torch.zeros(6), (36, 64))
