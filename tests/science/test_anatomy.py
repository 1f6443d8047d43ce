"""Areas from painted masks and layers from depth (microns_vei 3.1)."""

import numpy as np
import pytest

from science.anatomy import areas_from_masks, layers_from_depth

# Two fields of 3 x 5 pixels.
LABELS = np.array(
    [
        [[0, 1, 1, 2, 2], [0, 1, 1, 2, 2], [0, 0, 1, 1, 2]],
        [[2, 2, 2, 2, 2], [2, 2, 2, 2, 2], [0, 0, 0, 0, 0]],
    ]
)


def test_a_cell_has_the_area_painted_at_its_rounded_pixel():
    units = [  # field, y, x, area
        (0, 0.0, 1.0, "V1"),
        (0, 0.4, 2.49, "V1"),
        (0, 0.4, 2.5, "LM"),
        (0, 1.5, 3.0, "V1"),
        (0, 2.2, 0.1, "unknown"),
        (1, 1.4, 0.0, "LM"),
        (1, 1.6, 4.3, "unknown"),
        (1, -0.5, -0.3, "LM"),
    ]
    field, y, x, expected = zip(*units, strict=True)
    areas = areas_from_masks(LABELS, ["V1", "LM"], field, y, x)
    assert areas.tolist() == list(expected)


def test_every_pixel_keeps_its_name():
    field, y, x = np.indices(LABELS.shape).reshape(3, -1)
    areas = areas_from_masks(LABELS, ["V1", "RL"], field, y, x)
    names = {0: "unknown", 1: "V1", 2: "RL"}
    assert areas.tolist() == [names[label] for label in LABELS.ravel().tolist()]


@pytest.mark.parametrize(
    ("field", "y", "x"),
    [(0, 2.5, 0), (0, -0.6, 0), (0, 0, 4.5), (2, 0, 0), (-1, 0, 0), (0, np.nan, 0)],
)
def test_a_cell_outside_its_field_is_refused(field, y, x):
    with pytest.raises(ValueError, match=r"unit 1 .* outside the 2 fields of 3 x 5 pixels"):
        areas_from_masks(LABELS, ["V1", "LM"], [0, field], [0, y], [0, x])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS[0], "whole numbers"),
        (LABELS.astype(float), "whole numbers"),
        (LABELS + 1, "0 .none. to 2"),
        (LABELS - 1, "0 .none. to 2"),
    ],
)
def test_masks_that_cannot_be_read_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        areas_from_masks(labels, ["V1", "LM"], [0], [0], [0])


def test_a_layer_includes_its_lower_border():
    depth = [-5, 0, 1, 100, 100.1, 370, 371, 500, 500.5, np.nan]
    layers = ["unset"] * 2 + ["L1"] * 2 + ["L2/3"] * 2 + ["L4"] * 2 + ["unset"] * 2
    assert layers_from_depth(depth).tolist() == layers


def test_other_borders_name_other_layers():
    assert layers_from_depth([600, 50], {"L5": (500, 700)}).tolist() == ["L5", "unset"]
