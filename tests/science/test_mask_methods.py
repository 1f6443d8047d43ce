"""Threshold and Gaussian masks, mask statistics, and the registry of methods."""

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from scipy.ndimage import binary_closing, gaussian_filter, label
from skimage.morphology import convex_hull_image

from science.masks import (
    GREY_LEVEL_MASK,
    Z_SCORE_MASK,
    GaussianMaskParams,
    MaskParams,
    ThresholdMaskParams,
    TightMaskParams,
    gaussian_mask,
    make_masks,
    mask_statistics,
    threshold_mask,
    tight_mask,
)

MEAN, STD = 111.3, 60.9
SHAPE = (36, 64)
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]]


def blob(row, column, sigma):
    return np.exp(-((Y - row) ** 2 + (X - column) ** 2) / (2 * sigma**2))


SCENE = 110 + 70 * (blob(15, 20, 3.5) - blob(20, 24, 2.5)) - 40 * blob(14, 50, 2.0)
MEIS = np.stack([SCENE, 110 - 90 * blob(18, 40, 5.0), 60 + 100 * blob(20, 30, 3.0)])
FILTERS = MEIS - 100


def linear(images, units):
    filters = torch.as_tensor(FILTERS, dtype=torch.float32)
    return (images[:, 0] * filters[units]).sum((-2, -1))


def always(images, units):
    return torch.ones(len(images))


def grey_level_reference(mei):
    """MEIMask, parameter 0, of microns_vei 9.5."""
    labels, n = label(np.abs(mei - mei.mean()) > 16, np.ones((3, 3)))
    sizes = [(labels == i).sum() for i in range(n + 1)]
    large = [i for i in range(1, n + 1) if sizes[i] >= 50]
    hull = convex_hull_image(np.isin(labels, large)).astype(float)
    return gaussian_filter((gaussian_filter(hull, 3) > 0.3).astype(float), 2)


def z_score_reference(mei):
    """MEIMask, row 3, of microns_vei 12."""
    closed = binary_closing(np.abs((mei - mei.mean()) / mei.std()) > 1.5, iterations=2)
    labels, n = label(closed, np.ones((3, 3)))
    largest = 1 + np.argmax([(labels == i).sum() for i in range(1, n + 1)])
    return gaussian_filter(convex_hull_image(labels == largest).astype(float), 1.5)


@pytest.mark.parametrize(
    ("params", "reference"),
    [(GREY_LEVEL_MASK, grey_level_reference), (Z_SCORE_MASK, z_score_reference)],
)
def test_threshold_masks_are_those_of_the_specification(params, reference):
    result = threshold_mask(linear, MEIS, MEAN, STD, params)
    assert result.status.tolist() == ["ok"] * 3
    for mei, mask in zip(MEIS, result.masks, strict=True):
        np.testing.assert_allclose(mask, reference(mei), atol=1e-6)
    assert result.masks.dtype == np.float32
    assert (result.n_erosions == 0).all()
    assert result.masks[0, 14, 50] < 1e-3, "the second, smaller spot is left out"


def test_each_step_of_the_threshold_mask_does_what_it_says():
    def area(**changed):
        params = GREY_LEVEL_MASK.model_copy(update={"min_component": 1, **changed})
        return threshold_mask(always, SCENE[None], MEAN, STD, params).masks.sum()

    assert area(min_component=50) < area(), "the small spot widens the hull"
    assert area(min_component=50) == pytest.approx(area(largest_only=True))
    assert area(threshold=30.0) < area()
    assert area(expansion_sigma=0.0) < area(), "a threshold below 1/2 expands"
    assert area(expansion_threshold=0.6) < area(expansion_sigma=0.0)
    same = SCENE.std() * 0.5
    assert area(threshold=0.5, unit="std") == pytest.approx(area(threshold=same))


@pytest.mark.parametrize("params", [GREY_LEVEL_MASK, Z_SCORE_MASK, GaussianMaskParams()])
def test_ratio_is_the_response_under_the_mask_to_that_without(params):
    result = make_masks(params, linear, MEIS, MEAN, STD)
    for mei, filter_, mask, ratio in zip(
        MEIS, FILTERS, result.masks, result.reduction_ratio, strict=True
    ):
        masked = mask * mei + (1 - mask) * mei.mean()
        expected = ((masked - MEAN) * filter_).sum() / ((mei - MEAN) * filter_).sum()
        assert ratio == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("params", [GREY_LEVEL_MASK, Z_SCORE_MASK])
def test_where_nothing_stands_out_there_is_no_mask(params):
    flat, line = np.full(SHAPE, 111.3), np.full(SHAPE, 110.0)
    line[10, 5:65] = 200.0  # 59 pixels: enough, but too thin to survive the expansion
    result = threshold_mask(always, np.stack([flat, line, SCENE]), MEAN, STD, params)
    thin = "emptied" if params is GREY_LEVEL_MASK else "ok"
    assert result.status.tolist() == ["emptied", thin, "ok"]
    empty = result.status == "emptied"
    assert (result.masks[empty] == 0).all() and np.isnan(result.reduction_ratio[empty]).all()
    assert (result.reduction_ratio[~empty] == 1).all()


def test_a_spot_in_the_corner_keeps_its_corner():
    corner = 110 + 100 * blob(0, 0, 4.0)[None]
    for params in (GREY_LEVEL_MASK, Z_SCORE_MASK):
        assert threshold_mask(always, corner, MEAN, STD, params).masks[0, 0, 0] > 0.9


@pytest.mark.parametrize("params", [Z_SCORE_MASK, GaussianMaskParams()])
def test_a_silent_unit_has_a_mask_but_no_ratio(params):
    result = make_masks(params, lambda z, units: -(units == 1).float(), MEIS, MEAN, STD)
    assert result.status.tolist() == ["silent"] * 3
    assert np.isnan(result.reduction_ratio).all() and (result.masks.max((1, 2)) > 0.9).all()


@pytest.mark.parametrize("exponent", [1.0, 1.875])
def test_gaussian_mask_has_the_moments_of_the_energy(exponent):
    """An image that is + and - the root of a Gaussian density has that density as energy."""
    covariance = np.array([[30.0, 8.0], [8.0, 12.0]])
    offsets = np.stack([X - 30.25, Y - 17.5], axis=-1)
    distance = np.einsum("...i,ij,...j", offsets, np.linalg.inv(covariance), offsets)
    image = 120 + 100 * np.exp(-distance / 4) * (-1.0) ** (X + Y)
    result = gaussian_mask(always, image[None], MEAN, STD, GaussianMaskParams(exponent=exponent))
    assert result.status.tolist() == ["ok"]
    np.testing.assert_allclose(
        result.masks[0], np.sqrt(np.exp(-distance / 2)) ** exponent, atol=2e-3
    )
    assert result.masks.max() <= 1


def test_what_no_gaussian_fits_is_degenerate_and_harms_no_one():
    image = np.full((5, 40, 40), 111.3)
    image[1, 20, 20] = image[2, 0, 39] = 250.0
    image[3, 7, 10:12] = 250.0
    image[4, :36] += 100 * blob(20, 20, 4.0)[:, :40]
    result = gaussian_mask(always, image, MEAN, STD, GaussianMaskParams())
    assert result.status.tolist() == ["degenerate"] * 4 + ["ok"]
    assert (result.masks[:4] == 0).all() and np.isnan(result.reduction_ratio[:4]).all()
    assert result.masks[4].max() > 0.99
    strip = gaussian_mask(always, image[:, :1], MEAN, STD, GaussianMaskParams())
    assert set(strip.status) == {"degenerate"}, "one row has no height"


def test_statistics_inside_a_hard_mask_are_those_of_its_pixels():
    masks = np.zeros((2, *SHAPE), dtype=np.float32)
    masks[0, 10:15, 20:41] = 1
    statistics = mask_statistics(MEIS[:2], masks)
    assert (statistics.x[0], statistics.y[0]) == pytest.approx((30, 12))
    assert statistics.mean[0] == pytest.approx(SCENE[10:15, 20:41].mean())
    assert statistics.std[0] == pytest.approx(SCENE[10:15, 20:41].std())
    for values in vars(statistics).values():
        assert values.shape == (2,) and np.isnan(values[1]), "an empty mask is nowhere"


def test_statistics_count_pixels_by_their_mask():
    image, mask = np.array([[[1.0, 2.0, 4.0]]]), np.array([[[1.0, 0.5, 0.5]]])
    statistics = mask_statistics(image, mask)
    assert (statistics.x[0], statistics.mean[0]) == pytest.approx((0.75, 2.0))
    assert statistics.std[0] == pytest.approx(np.sqrt(0.5 * 1 + 0.25 * 0 + 0.25 * 4))
    with pytest.raises(ValueError, match="alike"):
        mask_statistics(image, mask[0])


@pytest.mark.parametrize(
    ("params", "method"),
    [
        (TightMaskParams(erosion_size=5), tight_mask),
        (Z_SCORE_MASK, threshold_mask),
        (GaussianMaskParams(exponent=1.0), gaussian_mask),
    ],
)
def test_a_stored_row_gives_the_mask_of_its_method(params, method):
    stored = params.model_dump(mode="json")
    restored = TypeAdapter(MaskParams).validate_python(stored)
    assert restored == params and type(restored) is type(params)
    made, direct = (
        make_masks(restored, linear, MEIS, MEAN, STD),
        method(linear, MEIS, MEAN, STD, params),
    )
    np.testing.assert_array_equal(made.masks, direct.masks)
    np.testing.assert_array_equal(made.reduction_ratio, direct.reduction_ratio)
    assert made.masks.min() >= 0 and made.masks.max() <= 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "round"},
        {"type": "gaussian", "filter_sigma": 2.0},
        {"type": "gaussian", "exponent": 0.0},
        {"type": "threshold", "expansion_threshold": 1.0},
        {"type": "threshold", "min_component": 0},
        {"type": "threshold", "unit": "cd/m2"},
    ],
)
def test_impossible_parameters_are_refused(wrong):
    with pytest.raises(ValidationError):
        TypeAdapter(MaskParams).validate_python(wrong)


def test_defaults_of_the_threshold_mask_are_parameter_0():
    p = ThresholdMaskParams()
    published = (p.threshold, p.min_component, p.expansion_sigma, p.expansion_threshold)
    assert (*published, p.filter_sigma, p.unit) == (16, 50, 3, 0.3, 2, "grey")


@pytest.mark.parametrize("params", [TightMaskParams(), GREY_LEVEL_MASK, GaussianMaskParams()])
def test_every_method_names_the_units_that_are_not_finite(params):
    def respond(images, units):
        return torch.where(units == 1, torch.nan, 1.0)

    with pytest.raises(ValueError, match=r"units \[1\] of the block is not finite"):
        make_masks(params, respond, MEIS, MEAN, STD)
    with pytest.raises(ValueError, match=r"units \[2\] leave 0..255"):
        make_masks(params, linear, MEIS + np.array([0, 0, 250])[:, None, None], MEAN, STD)
