import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, grey_erosion
from skimage.morphology import convex_hull_image

from science.masks import TightMaskParams, tight_mask

MEAN, STD = 111.3, 60.9
SHAPE = (24, 32)
PARAMS = TightMaskParams()


def blob(row, column, sigma):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * sigma**2))


def linear(filters):
    filters = torch.as_tensor(np.asarray(filters), dtype=torch.float32)
    return lambda images, units: (images[:, 0] * filters[units]).sum((-2, -1))


def reference(filter_, image, params):
    """The text of microns_vei 9.5 for one unit; returns mask, ratio and erosions."""
    deviation = np.abs(image - image.mean())
    region = convex_hull_image(deviation > params.stdev_size_thr * deviation.std())

    def respond(mask):
        masked = mask * image + (1 - mask) * image.mean()
        return ((masked - MEAN) / STD * filter_).sum()

    mask = gaussian_filter(region.astype(float), params.filter_sigma)
    baseline = respond(mask)
    for n in range(1, 101):
        # Beyond the frame counts as inside, as in skimage.morphology.erosion.
        region = grey_erosion(np.pad(region, 1, constant_values=True), (3, 3))[1:-1, 1:-1]
        mask = gaussian_filter(region.astype(float), params.filter_sigma)
        if respond(mask) <= params.target_reduction_ratio * baseline:
            return mask, respond(mask) / baseline, n
    raise AssertionError("not reached")


@pytest.mark.parametrize("changed", [{}, {"filter_sigma": 1}, {"target_reduction_ratio": 0.5}])
def test_masks_are_those_of_the_specification(changed):
    params = TightMaskParams(**changed)
    filters = np.stack([blob(11, 14, 4.0), blob(2, 30, 6.0), blob(12, 16, 2.5) - blob(15, 20, 3.0)])
    images = 110 + 100 * filters
    result = tight_mask(linear(filters), images, MEAN, STD, params)
    assert result.status.tolist() == ["ok"] * 3
    for i in range(3):
        mask, ratio, n = reference(filters[i], images[i], params)
        assert result.n_erosions[i] == n
        np.testing.assert_allclose(result.masks[i], mask, atol=1e-6)
        assert result.reduction_ratio[i] == pytest.approx(ratio, rel=1e-4)
    assert (result.reduction_ratio <= params.target_reduction_ratio).all()
    assert result.masks.min() >= 0 and result.masks.max() <= 1
    assert len(set(result.n_erosions)) > 1, "the units should not all end in one round"


def test_units_do_not_depend_on_the_block():
    filters = np.stack([blob(11, 14, 4.0), blob(2, 30, 6.0), blob(12, 16, 2.5)])
    images = 110 + 100 * filters
    block = tight_mask(linear(filters), images, MEAN, STD, PARAMS)
    for i in range(3):
        alone = tight_mask(linear(filters[[i]]), images[[i]], MEAN, STD, PARAMS)
        np.testing.assert_array_equal(alone.masks[0], block.masks[i])
        assert alone.n_erosions[0] == block.n_erosions[i]


def test_hopeless_units_end_with_a_status():
    dot, corners = blob(12, 16, 2.0), sum(blob(r, c, 1.0) for r in (0, 23) for c in (0, 31))
    images = 110 + 100 * np.stack([dot, corners, dot, dot, 0 * dot])
    gains = torch.tensor([0.0, 0.0, -1.0, 1.0, 1.0])  # the first two always respond with 1

    def respond(z, units):
        weights = torch.as_tensor(dot, dtype=torch.float32)
        drive = ((z[:, 0] - (110 - MEAN) / STD) * weights).sum((-2, -1))
        return torch.where(gains[units] == 0, 1.0, gains[units] * drive + (units == 4) * 1.0)

    result = tight_mask(respond, images, MEAN, STD, PARAMS)
    assert result.status.tolist() == ["emptied", "exhausted", "silent", "ok", "emptied"]
    assert result.n_erosions[0] > 0 and result.masks[0].max() > 0.1, "the last mask is kept"
    assert result.n_erosions[1] == 0 and result.masks[1].min() == pytest.approx(1)
    assert np.isnan(result.reduction_ratio[2])
    assert result.reduction_ratio[3] <= 0.9
    assert result.masks[4].max() == 0 and result.n_erosions[4] == 0


def test_bad_input_is_named():
    image = 110 + 100 * blob(12, 16, 3.0)[None]
    with pytest.raises(ValueError, match=r"units \[0\] leave 0..255"):
        tight_mask(linear(image), image * np.nan, MEAN, STD, PARAMS)
    with pytest.raises(ValueError, match="height, width"):
        tight_mask(linear(image), image[0], MEAN, STD, PARAMS)
    with pytest.raises(ValueError, match=r"units \[0\] of the block is not finite"):
        tight_mask(linear(image * np.nan), image, MEAN, STD, PARAMS)
    with pytest.raises(ValueError, match="one response per image"):
        tight_mask(lambda z, units: z[:, 0], image, MEAN, STD, PARAMS)
