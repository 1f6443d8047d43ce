from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter, grey_erosion
from skimage.morphology import convex_hull_image

from science.masks import TightMaskParams, tight_mask

MEAN, STD = 111.3, 60.9
SHAPE = (24, 32)
PARAMS = TightMaskParams()
ROWS = {  # stdev_size_thr, filter_sigma, target_reduction_ratio
    "9.5 row 0": (1.0, 1.0, 0.9),
    "9.5 row 1": (1.0, 1.0, 0.95),
    "9.5 row 2": (1.0, 2.0, 0.9),
    "9.5 row 3": (0.8, 1.0, 0.9),
    "9.5 row 4": (1.0, 3.0, 0.9),
    "12 param 1": (1.0, 2.0, 0.95),
}


def blob(row, column, sigma):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * sigma**2))


FILTERS = np.stack([blob(11, 14, 3.0), blob(2, 30, 5.0), blob(12, 16, 2.5) - blob(15, 20, 3.0)])
IMAGES = 110 + 100 * FILTERS


def linear(filters):
    filters = torch.as_tensor(np.asarray(filters), dtype=torch.float32)
    return lambda images, units: (images[:, 0] * filters[units]).sum((-2, -1))


def reference(filter_, image, params):
    """The text of microns_vei 9.5 for one unit; masks and ratios from first to last."""
    deviation = np.abs(image - image.mean())
    region = convex_hull_image(deviation > params.stdev_size_thr * deviation.std())

    def respond(mask):
        masked = mask * image + (1 - mask) * image.mean()
        return ((masked - MEAN) / STD * filter_).sum()

    masks = [gaussian_filter(region.astype(float), params.filter_sigma)]
    ratios = [1.0]
    room = params.erosion_size // 2
    while ratios[-1] > params.target_reduction_ratio:
        # Beyond the frame counts as inside, as in skimage.morphology.erosion.
        region = grey_erosion(
            np.pad(region, room, constant_values=True), (params.erosion_size,) * 2
        )[room:-room, room:-room]
        masks.append(gaussian_filter(region.astype(float), params.filter_sigma))
        ratios.append(respond(masks[-1]) / respond(masks[0]))
    return masks, ratios


@pytest.mark.parametrize("keep", ["first_at_target", "last_above_target"])
@pytest.mark.parametrize("row", [*ROWS.values(), (1.0, 2.0, 0.7)])
@pytest.mark.parametrize("erosion_size", [3, 5])
def test_masks_are_those_of_the_specification(row, erosion_size, keep):
    names = ("stdev_size_thr", "filter_sigma", "target_reduction_ratio")
    changed = dict(zip(names, row, strict=True))
    params = TightMaskParams(erosion_size=erosion_size, keep=keep, **changed)
    result = tight_mask(linear(FILTERS), IMAGES, MEAN, STD, params)
    assert result.status.tolist() == ["ok"] * 3
    for i in range(3):
        masks, ratios = reference(FILTERS[i], IMAGES[i], params)
        n = len(masks) - (1 if keep == "first_at_target" else 2)
        assert result.n_erosions[i] == n
        np.testing.assert_allclose(result.masks[i], masks[n], atol=1e-6)
        assert result.reduction_ratio[i] == pytest.approx(ratios[n], rel=1e-4)
    reached = result.reduction_ratio <= params.target_reduction_ratio
    assert (reached == (keep == "first_at_target")).all()
    assert result.masks.dtype == np.float32
    assert result.masks.min() >= 0 and result.masks.max() <= 1


def test_defaults_are_the_row_that_was_used():
    values = (PARAMS.stdev_size_thr, PARAMS.filter_sigma, PARAMS.target_reduction_ratio)
    assert values == ROWS["9.5 row 2"]
    assert (PARAMS.erosion_size, PARAMS.keep) == (3, "first_at_target")


@pytest.mark.parametrize(
    "wrong",
    [
        {"erosion_size": 4},
        {"erosion_size": 1},
        {"target_reduction_ratio": 1.0},
        {"filter_sigma": -1.0},
        {"stdev_size_thr": float("nan")},
        {"keep": "all"},
    ],
)
def test_impossible_parameters_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        TightMaskParams(**wrong)


@given(seed=st.integers(0, 10**6), keep=st.sampled_from(["first_at_target", "last_above_target"]))
@settings(max_examples=25, deadline=None)
def test_what_holds_for_any_image(seed, keep):
    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.normal(size=(6, 14, 17)), (0, *rng.uniform(0.5, 3, 2)))
    images = 127 + 120 * smooth / np.abs(smooth).max()
    respond = linear(rng.normal(size=smooth.shape) + 10 * smooth)
    results = [
        tight_mask(
            respond, images, MEAN, STD, TightMaskParams(target_reduction_ratio=target, keep=keep)
        )
        for target in (0.95, 0.8, 0.4)
    ]
    for result, target in zip(results, (0.95, 0.8, 0.4), strict=True):
        assert set(result.status) <= {"ok", "emptied", "exhausted", "silent"}
        assert result.masks.min() >= 0 and result.masks.max() <= 1
        assert (np.isnan(result.reduction_ratio) == (result.status == "silent")).all()
        ok = result.status == "ok"
        assert ((result.reduction_ratio[ok] <= target) == (keep == "first_at_target")).all()
        assert (result.reduction_ratio[(result.status != "silent") & ~ok] > target).all()
    for wide, narrow in pairwise(results):
        assert (narrow.masks <= wide.masks + 1e-6).all(), "masks of one unit are nested"
        assert (narrow.n_erosions >= wide.n_erosions).all()


def test_units_do_not_depend_on_the_block():
    block = tight_mask(linear(FILTERS), IMAGES, MEAN, STD, PARAMS)
    for i in range(3):
        alone = tight_mask(linear(FILTERS[[i]]), IMAGES[[i]], MEAN, STD, PARAMS)
        np.testing.assert_allclose(alone.masks[0], block.masks[i], atol=1e-6)
        assert alone.n_erosions[0] == block.n_erosions[i]


def test_units_still_shrinking_are_evaluated_together():
    asked = []

    def respond(images, units):
        asked.append(units.tolist())
        return linear(FILTERS)(images, units)

    n = tight_mask(respond, IMAGES, MEAN, STD, PARAMS).n_erosions
    assert len(set(n)) > 1, "the units should not all end in one round"
    assert asked == [[i for i in range(3) if n[i] >= k] for k in range(n.max() + 1)]


def test_hopeless_units_end_with_a_status():
    dot, corners = blob(12, 16, 2.0), sum(blob(r, c, 1.0) for r in (0, 23) for c in (0, 31))
    images = 110 + 100 * np.stack([dot, corners, dot, dot, 0 * dot])
    images[4] += 1.3  # a mean that float32 does not hold
    gains = torch.tensor([0.0, 0.0, -1.0, 1.0, 1.0])  # the first two always respond with 1

    def respond(z, units):
        weights = torch.as_tensor(dot, dtype=torch.float32)
        drive = ((z[:, 0] - (110 - MEAN) / STD) * weights).sum((-2, -1))
        return torch.where(gains[units] == 0, 1.0, gains[units] * drive + (units == 4) * 1.0)

    result = tight_mask(respond, images, MEAN, STD, PARAMS)
    assert result.status.tolist() == ["emptied", "exhausted", "silent", "ok", "emptied"]
    assert result.n_erosions[0] > 0 and result.masks[0].max() > 0.1, "the last mask is kept"
    assert result.n_erosions[1] == 0 and result.masks[1].min() == pytest.approx(1)
    assert np.isnan(result.reduction_ratio[[2, 4]]).all()
    assert result.reduction_ratio[3] <= 0.9
    assert result.masks[4].max() == 0 and result.n_erosions[4] == 0


def test_a_hundred_erosions_are_the_end():
    """A region that fills 180 columns from the left loses one column a round, on its right."""
    images = np.full((1, 4, 400), 100.0)
    images[..., :180] = 200.0
    rounds = []

    def respond(z, units):
        rounds.append(units)
        return torch.ones(len(z))

    params = TightMaskParams(stdev_size_thr=10.0, filter_sigma=1.0)
    result = tight_mask(respond, images, MEAN, STD, params)
    assert result.status.tolist() == ["exhausted"]
    assert result.n_erosions[0] == 100 and len(rounds) == 101
    assert (result.masks[0, :, 79] > 0.5).all() and (result.masks[0, :, 80] < 0.5).all()
    assert result.masks[0, :, :70].min() == pytest.approx(1)


def test_bad_input_is_named():
    image = 110 + 100 * blob(12, 16, 3.0)[None]
    with pytest.raises(ValueError, match=r"units \[0\] leave 0..255"):
        tight_mask(linear(image), image * np.nan, MEAN, STD, PARAMS)
    for no_stack in (image[0], image[:0]):
        with pytest.raises(ValueError, match="units, height, width"):
            tight_mask(linear(image), no_stack, MEAN, STD, PARAMS)
    for mean, std in ((MEAN, 0.0), (np.nan, STD), (MEAN, np.inf)):
        with pytest.raises(ValueError, match="std > 0"):
            tight_mask(linear(image), image, mean, std, PARAMS)
    with pytest.raises(ValueError, match="one response per image"):
        tight_mask(lambda z, units: z[:, 0], image, MEAN, STD, PARAMS)


def test_units_without_a_finite_response_are_named_even_when_it_happens_late():
    calls = []

    def respond(images, units):
        calls.append(units)
        responses = linear(FILTERS)(images, units)
        return torch.where((units != 1) & (len(calls) > 1), torch.nan, responses)

    with pytest.raises(ValueError, match=r"units \[0, 2\] of the block is not finite"):
        tight_mask(respond, IMAGES, MEAN, STD, PARAMS)
    assert len(calls) == 2
