"""Erosion, blur, closing and components on stacks, against scipy and scikit-image on one image."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_closing, binary_erosion
from skimage.measure import label
from skimage.morphology import convex_hull_image

from science.masks.regions import (
    close_gaps,
    convex_hulls,
    deviations,
    erode,
    large_components,
)


def random_regions(seed, density=0.5, shape=(3, 13, 19)):
    return np.random.default_rng(seed).random(shape) < density


@pytest.mark.parametrize("size", [3, 5, 9])
def test_erosion_is_that_of_scipy_with_an_outside_that_counts_as_inside(size):
    regions = random_regions(0, density=0.97)
    eroded = erode(torch.as_tensor(regions, dtype=torch.float32), size).numpy()
    square = np.ones((size, size))
    expected = [binary_erosion(region, square, border_value=1) for region in regions]
    np.testing.assert_array_equal(eroded, np.stack(expected).astype(float))
    assert 0 < eroded.sum() < regions.sum()


def test_flat_images_deviate_by_exactly_nothing():
    images = torch.tensor([111.3, 0.1, 254.7])[:, None, None].expand(3, 36, 64).clone()
    images[2, 0, 0] += 1
    deviation = deviations(images)
    assert (deviation[:2] == 0).all()
    assert deviation[2, 0, 0] == pytest.approx(1 - 1 / (36 * 64), rel=1e-4)


@given(seed=st.integers(0, 10**6), iterations=st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_closing_is_that_of_scipy_on_a_frame_with_room(seed, iterations):
    regions = random_regions(seed, density=0.1)
    closed = close_gaps(regions, iterations)
    assert (closed >= regions).all(), "no salient pixel is lost, at the frame neither"
    for one, region in zip(closed, regions, strict=True):
        alone = region
        if iterations:
            alone = binary_closing(np.pad(region, 9), iterations=iterations)[9:-9, 9:-9]
        np.testing.assert_array_equal(one, alone)


@given(seed=st.integers(0, 10**6), min_size=st.integers(1, 12), largest_only=st.booleans())
@settings(max_examples=60, deadline=None)
def test_components_are_those_of_each_image_alone(seed, min_size, largest_only):
    regions = random_regions(seed, density=0.25)
    regions[1] = False
    kept = large_components(regions, min_size, largest_only)
    for one, region in zip(kept, regions, strict=True):
        labels = label(region, connectivity=2)
        sizes = [(labels == i).sum() for i in range(1, labels.max() + 1)]
        wanted = [i for i, size in enumerate(sizes, 1) if size >= min_size]
        if largest_only:
            wanted = [i for i in wanted if i == 1 + int(np.argmax(sizes))]
        np.testing.assert_array_equal(one, np.isin(labels, wanted))


@given(seed=st.integers(0, 10**6), density=st.sampled_from([0.01, 0.05, 0.5]))
@settings(max_examples=40, deadline=None)
def test_hulls_are_those_of_scikit_image(seed, density):
    regions = random_regions(seed, density)
    for hull, region in zip(convex_hulls(regions), regions, strict=True):
        expected = convex_hull_image(region) if region.any() else region
        np.testing.assert_array_equal(hull, expected)


def test_hulls_of_nothing_of_one_pixel_and_of_a_line():
    regions = np.zeros((3, 6, 7), dtype=bool)
    regions[1, 2, 3] = regions[2, 0, 0] = regions[2, 0, 6] = True
    hulls = convex_hulls(regions)
    assert hulls.sum((1, 2)).tolist() == [0, 1, 7]
    assert hulls[1, 2, 3] and hulls[2, 0].all()
