"""The most exciting recorded Gabors against Gabors written out here."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from science.recorded_gabors import RecordedGaborParams, best_presentations, recorded_gabors

Y, X = np.mgrid[:60, :96] - np.array([29.5, 47.5])[:, None, None]


def rescaled(image):
    return (image - image.min()) / np.ptp(image)


def drawn(orientation):
    """The study's Gabor of a recorded orientation: 0 vertical bars, turning clockwise.

    Its phase is counted from the top of a canvas padded by 96 pixels, 125.5 above the middle.
    """
    angle = math.radians(orientation)
    across = X * math.cos(angle) + Y * math.sin(angle)  # rows point down
    carrier = np.sin(math.radians(3644.93) + 2 * math.pi / math.pi * (across + 125.5))
    return carrier * np.exp(-(X**2 + Y**2) / (2 * 5**2))


def test_the_three_best_are_averaged_and_rescaled():
    orientations = np.array([0, 45, 90, 0, 90, 45])
    counts = np.array([[1, 5, 0, 3, 0, 9], [7, 0, 8, 0, 9, 1], [2, 9, 3, 0, 1, 0]]).T
    images = recorded_gabors(counts, orientations)
    assert images.shape == (3, 60, 96) and images.dtype == np.float32
    for image, best in zip(images, [(45, 45, 0), (90, 90, 0), (45, 90, 0)], strict=True):
        expected = rescaled(sum(drawn(orientation) for orientation in best))
        np.testing.assert_allclose(image, expected, atol=1e-5)
        assert image.min() == 0 and image.max() == 1


def test_orientations_are_those_of_the_recording():
    """Vertical bars at 0, clockwise from there: at 45 they run from lower left to upper right."""
    params = RecordedGaborParams(n_best=1, wavelength=10)
    counts = np.eye(3, dtype=int)
    vertical, oblique, horizontal = recorded_gabors(counts, np.array([0, 45, 90]), params)
    np.testing.assert_allclose(vertical[29], vertical[30], atol=1e-5)
    np.testing.assert_allclose(horizontal[:, 47], horizontal[:, 48], atol=1e-5)
    assert oblique[30, 47] == pytest.approx(oblique[29, 48], abs=1e-5)
    assert abs(oblique[29, 47] - oblique[30, 48]) > 0.1


def test_ties_go_to_the_first_shown():
    counts = np.array([[1, 2, 2, 2, 1, 2], [0, 0, 0, 0, 4, 0]]).T
    np.testing.assert_array_equal(best_presentations(counts, 3), [[1, 4], [2, 0], [3, 1]])


@given(
    arrays(np.int64, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=st.integers(0, 3))
)
def test_best_presentations_are_a_stable_sort(counts):
    n_best = (len(counts) + 1) // 2
    for unit, best in enumerate(best_presentations(counts.astype(np.uint8), n_best).T):
        order = sorted(range(len(counts)), key=lambda i: -counts[i, unit])
        assert best.tolist() == order[:n_best]


def test_many_units_are_as_each_alone():
    rng = np.random.default_rng(0)
    orientations = rng.choice([0, 45, 90], 3645)
    counts = rng.poisson(1.5, (3645, 1500))
    images = recorded_gabors(counts, orientations)
    for unit in (0, 700, 1499):
        alone = recorded_gabors(counts[:, [unit]], orientations)[0]
        np.testing.assert_allclose(images[unit], alone, atol=1e-6)


def test_a_unit_that_responds_to_all_alike_has_no_best_gabor():
    counts = np.array([[0, 2, 0], [0, 2, 1], [0, 2, 0]])
    images = recorded_gabors(counts, np.array([0, 45, 90]))
    assert np.isnan(images[:2]).all() and np.isfinite(images[2]).all()


@pytest.mark.parametrize(
    ("counts", "orientations", "message"),
    [
        (np.ones(5), np.zeros(5), "counts must be"),
        (np.ones((5, 2)), np.zeros(4), "counts must be"),
        (np.ones((5, 0)), np.zeros(5), "counts must be"),
        (np.ones((0, 2)), np.zeros(0), "best 3 of 0"),
        (np.ones((2, 2)), np.zeros(2), "best 3 of 2"),
        (np.full((5, 2), np.nan), np.zeros(5), "counts must be finite"),
        (np.ones((5, 2)), np.full(5, np.nan), "orientations must be finite"),
    ],
)
def test_bad_presentations_are_named(counts, orientations, message):
    with pytest.raises(ValueError, match=message):
        recorded_gabors(counts, orientations)


@pytest.mark.parametrize("value", [{"n_best": 0}, {"wavelength": 0}, {"sigma": -1}, {"height": 0}])
def test_parameters_are_checked(value):
    with pytest.raises(ValidationError):
        RecordedGaborParams(**value)
