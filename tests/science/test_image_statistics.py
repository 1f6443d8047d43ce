"""Luminance, contrast, spectrum and symmetry of images that are known by construction."""

import numpy as np
import pytest

from science.image_statistics import (
    centroids,
    circular_masks,
    contrast,
    log_power_spectra,
    luminance,
    symmetry_indices,
)

SHAPE = (60, 96)
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]]


def window(sigma, row=30, column=48):
    return np.exp(-((Y - row) ** 2 + (X - column) ** 2) / (2 * sigma**2))


def grating(angle, wavelength=4.0, phase=0.3):
    return np.cos(2 * np.pi / wavelength * (X * np.cos(angle) + Y * np.sin(angle)) + phase)


def test_centroid_is_where_the_image_differs_from_its_mean():
    images = np.stack(
        [
            window(4, 20, 30) * grating(0.5),
            0.5 - 0.1 * window(3, 41.5, 60.25) * grating(2),
            np.full(SHAPE, 0.1),
        ]
    )
    expected = [[20, 30], [41.5, 60.25], [29.5, 47.5]]
    np.testing.assert_allclose(centroids(images), expected, atol=0.05)


def test_discs_hold_the_pixels_within_the_radius():
    masks = circular_masks([[30, 48], [0, 0]], SHAPE)
    assert masks[0].sum() == pytest.approx(np.pi * 12**2, rel=0.03)
    assert masks[0, 30, 36] and masks[0, 18, 48] and not masks[0, 30, 35]
    np.testing.assert_array_equal(masks[1], np.hypot(Y, X) <= 12)


def test_luminance_and_contrast_see_the_disc_only():
    inside = circular_masks([[30, 48]], SHAPE)[0]
    stripes = np.where(np.abs(Y - 30) > 6, 0.2, 0.8)
    images = np.stack([np.where(inside, 0.5, 1), np.where(inside, stripes, 0), np.full(SHAPE, 0.3)])
    middle = np.tile([30, 48], (3, 1))
    means = np.array([0.5, stripes[inside].mean(), 0.3])
    disc = inside.sum() / (np.pi * 12**2)
    np.testing.assert_allclose(luminance(images, middle), means * disc)
    np.testing.assert_allclose(contrast(images, middle), [0, stripes[inside].std(), 0], atol=1e-12)


def test_by_default_the_disc_lies_about_the_image_s_own_centre():
    image = 0.5 + 0.4 * (window(5, 25, 40) * grating(0.3))[None]
    pixels = image[0, np.hypot(Y - 25, X - 40) <= 20]
    assert luminance(image, radius=20)[0] == pytest.approx(pixels.sum() / (np.pi * 400), rel=0.01)
    assert contrast(image, radius=20)[0] == pytest.approx(pixels.std(), rel=0.01)
    assert contrast(image, [[25, 80]], 20)[0] < 0.01


def test_what_is_beyond_the_border_is_black():
    white = np.ones((1, *SHAPE))
    assert luminance(white, [[-0.5, 47.5]])[0] == pytest.approx(0.5, rel=0.02)


def test_log_power_spectrum_of_a_grating_is_two_points():
    (spectrum,) = log_power_spectra(np.cos(2 * np.pi * (X * 12 / 96 + Y * 5 / 60))[None])
    peaks = np.argwhere(spectrum > spectrum.max() - 1e-6)
    np.testing.assert_array_equal(peaks, [[25, 36], [35, 60]])
    assert spectrum.max() == pytest.approx(2 * np.log(60 * 96 / 2))
    assert np.isfinite(log_power_spectra(np.zeros((1, *SHAPE)))).all()


@pytest.mark.parametrize("angle", np.radians([0, 5, 45, 73, 90, 135]))
def test_a_grating_has_both_symmetries_and_a_plaid_the_second(angle):
    across = angle + np.pi / 2
    images = window(8) * np.stack([grating(angle), grating(angle) + grating(across)])
    (one, two), (plaid_one, plaid_two) = symmetry_indices(images)
    assert one > 0.97 and two > 0.9
    assert plaid_one < 0.02 and plaid_two > 0.9


def test_three_gratings_have_the_third_symmetry_only():
    star = window(8) * sum(grating(k * np.pi / 3 + 0.2) for k in range(3))
    one, two, three = symmetry_indices(star[None], folds=(1, 2, 3))[0]
    assert one < 0.02 and two < 0.02 and three > 0.85


def test_what_has_no_orientation_has_no_symmetry():
    noise = np.random.default_rng(0).normal(size=(20, *SHAPE))
    spots = np.stack([window(3), -window(5)])
    assert symmetry_indices(noise).max() < 0.06
    assert symmetry_indices(spots).max() < 0.07


def test_symmetry_is_blind_to_mean_scale_and_the_rest_of_the_batch():
    images = np.random.default_rng(1).normal(size=(7, 20, 31))
    together = symmetry_indices(images)
    np.testing.assert_allclose(symmetry_indices(5 - 3 * images), together, atol=1e-10)
    np.testing.assert_allclose(symmetry_indices(images[2:3]), together[2:3], atol=1e-12)
    assert np.isnan(symmetry_indices(np.full((1, 20, 31), 0.1))).all()


def test_symmetry_turns_with_the_image_and_is_the_definition():
    image = np.random.default_rng(2).normal(size=(24, 24)) + grating(0.4)[:24, :24]
    (expected,) = symmetry_indices(image[None])
    np.testing.assert_allclose(symmetry_indices(np.rot90(image)[None])[0], expected, atol=1e-10)
    spectrum = np.fft.fftshift(np.abs(np.fft.fft2(image - image.mean(), (48, 48))) ** 2)
    powers = [[] for _ in range(16)]
    for row in range(-24, 24):
        for column in range(-24, 24):
            if 0 < np.hypot(row, column) < 24:
                angle = np.degrees(np.arctan2(row, column)) % 180
                powers[round(angle / 11.25) % 16].append(spectrum[row + 24, column + 24])
    power = np.array([np.mean(p) for p in powers])
    theta = np.arange(16) * np.pi / 16
    by_hand = [abs(power @ np.exp(2j * n * theta)) / power.sum() for n in (1, 2)]
    np.testing.assert_allclose(expected, by_hand, rtol=0.01)


@pytest.mark.parametrize(
    "measure", [centroids, luminance, contrast, log_power_spectra, symmetry_indices]
)
@pytest.mark.parametrize(
    "images", [np.zeros((4, 5)), np.zeros((0, 4, 5)), np.full((1, 4, 5), np.nan)]
)
def test_bad_images_are_named(measure, images):
    with pytest.raises(ValueError, match="images must be finite"):
        measure(images)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.full((1, 9, 9), 127.0),), "divide grey levels"),
        ((np.ones((2, 9, 9)), [[4, 4]]), "2 images need as many centres"),
        ((np.ones((1, 9, 9)), [4, 4]), "need as many centres|centres must be"),
        ((np.ones((1, 9, 9)), [[4, np.nan]]), "centres must be"),
        ((np.ones((1, 9, 9)), [[40, 40]]), "no pixel"),
        ((np.ones((1, 9, 9)), [[4, 4]], 0), "no pixel"),
    ],
)
def test_bad_discs_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        luminance(*arguments)
