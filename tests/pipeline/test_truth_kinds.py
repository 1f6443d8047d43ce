"""The truth about MEIs of every kind of virtual cell."""

import numpy as np
import pandas as pd
import pytest

from pipeline.report.style import KIND_COLOURS
from pipeline.truth import summarise
from pipeline.truth.mei import _field_truth
from science.virtual import VirtualAnimal, VirtualAnimalParams

KINDS = VirtualAnimalParams().numbers


@pytest.fixture(scope="module")
def animal():
    return VirtualAnimal(VirtualAnimalParams(**{f"n_{kind}": 2 for kind in KINDS}), seed=0)


@pytest.mark.parametrize("kind", KINDS)
def test_an_mei_is_compared_with_what_is_known_of_its_cell(animal, kind):
    cell = np.flatnonzero(animal.kind == kind)[0]
    mask = np.ones(animal.filters.shape[1:])
    unit = pd.Series({"mei": 127 + 30 * animal.filters[cell], "mei_mask": mask})
    truth = _field_truth(animal, cell, unit)
    if kind == "undriven":
        assert truth == {}
        return
    field = truth.pop("nearest_field")
    assert (field * animal.filters[cell]).sum() == pytest.approx(np.linalg.norm(field))
    cosines = {"complex": ["plane_cosine"], "suppressed": [], "two_subunits": []}
    assert list(truth) == cosines.get(kind, ["cosine"])
    assert all(value == pytest.approx(1) for value in truth.values())


def test_the_summary_of_simple_cells_leaves_out_other_kinds_with_a_filter():
    units = pd.DataFrame(
        {
            "kind": ["simple", "curved", "crossed", "suppressed"],
            "ensemble_validation_corr": 0.5,
            "cosine": [0.9, 0.1, 0.2, np.nan],
            "plane_cosine": np.nan,
            "exceeds": [True, True, True, False],
        }
    )
    found = summarise(units)
    assert (found.n_simple, found.median_cosine, found.n_complex) == (1, 0.9, 0)
    assert (found.n_well_predicted, found.fraction_exceeding) == (4, 0.75)


def test_every_kind_has_its_colour():
    assert set(KIND_COLOURS) == set(KINDS)
    assert len(set(KIND_COLOURS.values())) == len(KINDS)
