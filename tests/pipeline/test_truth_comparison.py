"""MEIs against their controls: statistics of small tables, truth of the miniature's cells."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from miniature import ANIMAL, DAY_1, SEED
from scipy.stats import rankdata, wilcoxon

from pipeline.truth import (
    CELL_GROUPS,
    PAIRS,
    WELL_PREDICTED,
    comparison_summary,
    comparison_truth,
    relative_responses,
)
from pipeline.truth.comparison import MIN_PAIRS, paired
from schemas.comparison import ImageComparison, ImageKind
from science.virtual import VirtualAnimal
from science.virtual.cells import CELL_TYPES

FIRST, SECOND = "mei", "natural"


def signed_rank_p(first, second, n_random=200_000):
    """Two-sided p of the signed-rank statistic, by random signs."""
    logs = np.log(first) - np.log(second)
    ranks = rankdata(np.abs(logs))
    signs = np.random.default_rng(0).choice([-1, 1], (n_random, len(logs)))
    return np.mean(np.abs(signs @ ranks) >= abs(np.sign(logs) @ ranks) - 1e-9)


def median(ratios):
    """Median that is inverted with the ratios."""
    return np.exp(np.median(np.log(ratios)))


def table(first, second, kinds=None, **columns):
    """Return rows as of `comparison_truth`; the truth is twice the model's response squared."""
    n = len(first)
    rows = []
    for image_kind, responses in ((FIRST, first), (SECOND, second)):
        rows.append(
            pd.DataFrame(
                {
                    "training_set_hash": "a",
                    "unit_index": np.arange(n),
                    "image_kind": image_kind,
                    "compared_response": responses,
                    "contrast_reached": True,
                    "ensemble_validation_corr": 0.8,
                    "cell_kind": kinds,
                    "true_response": np.nan if kinds is None else 2 * np.square(responses),
                }
            ).assign(**columns)
        )
    return pd.concat(rows, ignore_index=True)


def responses(seed, n=9):
    rng = np.random.default_rng(seed)
    return rng.uniform(1, 3, n), rng.uniform(0.5, 2, n)


def test_the_test_is_the_signed_rank_test_of_the_log_ratios():
    for seed in range(3):
        first, second = responses(seed)
        found = paired(first, second)
        assert found["p"] == pytest.approx(signed_rank_p(first, second), abs=0.005)
        assert found["p"] == wilcoxon(np.log(first), np.log(second)).pvalue
        assert found["ratio"] == pytest.approx(median(first / second))
        assert (found["n"], found["larger"]) == (9, np.mean(first > second))


@given(arrays(float, st.tuples(st.just(2), st.integers(0, 12)), elements=st.floats(-1, 3)))
def test_no_pairs_of_numbers_make_a_warning(pairs):
    found = paired(*pairs)
    usable = (pairs > 0).all(0)
    unequal = usable & (pairs[0] != pairs[1])
    assert found["n"] == usable.sum()
    if unequal.sum() < MIN_PAIRS:
        assert np.isnan(found["p"])
    if not usable.any():
        assert np.isnan([found["ratio"], found["larger"]]).all()


def test_too_few_units_have_a_ratio_but_no_p():
    first, second = responses(0, MIN_PAIRS)
    assert np.isfinite(paired(first, second)["p"])
    few = paired(first[1:], second[1:])
    assert np.isnan(few["p"])
    assert few["ratio"] == pytest.approx(median(first[1:] / second[1:]))


def test_swapping_the_images_inverts_the_ratio_and_keeps_p():
    first, second = responses(4)
    there, back = paired(first, second), paired(second, first)
    assert there["ratio"] == pytest.approx(1 / back["ratio"])
    assert there["p"] == pytest.approx(back["p"])
    assert there["larger"] == pytest.approx(1 - back["larger"])


def test_the_summary_is_of_all_units_and_of_groups_of_cells():
    kinds = ["simple"] * 3 + ["complex"] * 3 + ["curved", "suppressed", "undriven"]
    first, second = responses(1)
    found = comparison_summary(table(first, second, kinds)).set_index("group")
    assert dict(found.n_units) == {"all units": 9, "Gabor cells": 6, "other cells": 2}
    assert (found["first"] == FIRST).all()
    for group, chosen in (("all units", slice(9)), ("Gabor cells", slice(6))):
        a, b = first[chosen], second[chosen]
        row = found.loc[group]
        assert row.model_ratio == pytest.approx(median(a / b))
        assert row.true_ratio == pytest.approx(median(a / b) ** 2)  # the squares
        assert row.true_p == pytest.approx(wilcoxon(np.log(a / b)).pvalue)
    assert np.isnan(found.loc["other cells"].model_p)


def test_without_truth_the_summary_is_the_models_alone():
    (row,) = comparison_summary(table(*responses(2))).to_dict("records")
    assert (row["group"], row["n_units"], row["model_n"], row["true_n"]) == ("all units", 9, 9, 0)
    assert np.isfinite(row["model_p"])
    assert np.isnan([row["true_ratio"], row["true_p"], row["true_larger"]]).all()


def test_units_that_are_not_well_predicted_or_not_at_the_contrast_do_not_count():
    rows = table(*responses(3))
    rows.loc[rows.unit_index == 0, "ensemble_validation_corr"] = WELL_PREDICTED
    rows.loc[rows.unit_index == 1, "ensemble_validation_corr"] = np.nan
    rows.loc[(rows.unit_index == 2) & (rows.image_kind == SECOND), "contrast_reached"] = False
    rows = rows[~((rows.unit_index == 3) & (rows.image_kind == FIRST))]  # has no such image
    (row,) = comparison_summary(rows).to_dict("records")
    first, second = (r[4:] for r in responses(3))
    assert row["n_units"] == 5
    assert row["model_ratio"] == pytest.approx(median(first / second))


def test_nobody_well_predicted_leaves_an_empty_summary():
    rows = table(*responses(3), ensemble_validation_corr=0.1)
    found = comparison_summary(rows)
    assert found.empty
    assert "true_p" in found


def test_responses_are_relative_to_the_units_own_mei():
    first, second = responses(5)
    second[0] = -1  # no ratio
    rows = table(first, second, ["simple"] * 9)
    rows.loc[(rows.unit_index == 1) & (rows.image_kind == "mei"), "contrast_reached"] = False
    found = relative_responses(rows).set_index(["image_kind", "unit_index"])
    assert 1 not in found.loc["natural"].index
    assert (found.loc["mei"].model_ratio == 1).all()
    ratios = found.loc["natural"]
    assert np.isnan(ratios.model_ratio[0])
    np.testing.assert_allclose(ratios.model_ratio.loc[2:], second[2:] / first[2:])
    np.testing.assert_allclose(ratios.true_ratio.loc[2:], (second[2:] / first[2:]) ** 2)


def test_groups_and_pairs_name_what_exists():
    grouped = [kind for kinds in CELL_GROUPS.values() for kind in kinds]
    assert sorted([*grouped, "undriven"]) == sorted(CELL_TYPES)
    assert {kind for pair in PAIRS for kind in pair} <= {
        row["image_kind"] for row in ImageKind.contents
    }


def test_the_true_response_is_the_expected_one_of_the_cell_to_that_image(populated):
    rows = comparison_truth(populated.plan)
    assert len(rows) == len(ImageComparison.Response & populated.plan) > 0
    assert rows.ensemble_validation_corr.is_monotonic_decreasing
    animal = VirtualAnimal(ANIMAL, SEED)
    session = animal.session(1)
    stored = (ImageComparison.Response & populated.plan).to_dicts()
    images = {(row["unit_index"], row["image_kind"]): row["compared_image"] for row in stored}
    for row in rows.iloc[::7].itertuples():
        unit = session.unit_ids.tolist().index(row.unit_id)
        cell = session.cells[unit]
        expected = animal.rates(images[row.unit_index, row.image_kind][None])[0, cell]
        assert row.true_response == pytest.approx(expected * session.drift[unit])
        assert row.cell_kind == animal.kind[cell]
        assert (row.animal_id, row.session, row.scan_idx) == tuple(DAY_1.values())


def test_recordings_that_are_not_virtual_have_no_truth(populated, monkeypatch):
    monkeypatch.setattr("pipeline.truth.comparison.true_cells", lambda *_: None)
    rows = comparison_truth(populated.plan)
    assert rows.true_response.isna().all()
    assert rows.cell_kind.isna().all()
    assert rows.compared_response.notna().all()


def test_nothing_compared_is_an_empty_table(populated):
    rows = comparison_truth("FALSE")
    assert rows.empty
    assert comparison_summary(rows).empty
    assert relative_responses(rows).empty
