"""Comparisons with the truth: of MEIs on arrays, of the closed loop on the miniature."""

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from miniature import DAY_1, DAY_2, DAY_3
from scipy.linalg import subspace_angles
from scipy.spatial.distance import cosine

from pipeline.ingest.virtual import load_animal
from pipeline.truth import (
    MARGIN,
    WELL_PREDICTED,
    closed_loop,
    closed_loop_results,
    exceeds,
    kind_results,
    match_results,
    match_truth,
    plane_cosine,
    signed_cosine,
    summarise,
)
from schemas.cell_match import BestProximityCellMatch, CellMatchOracleCorrelation, LoopPool
from schemas.closed_loop import ConfusionMatrix, DiagonalTest, PermutationTest
from schemas.dataset import TargetDataset
from schemas.recording import VirtualAnimal


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def mask():
    mask = np.zeros((12, 20))
    mask[3:9, 5:14] = np.linspace(0.2, 1, 9)
    return mask


def test_the_cosine_of_a_scaled_filter_is_one_whatever_its_grey_level(rng, mask):
    field = rng.normal(size=mask.shape)
    field -= field.mean()
    assert signed_cosine(127 + 40 * field, field, mask) == pytest.approx(1)
    assert signed_cosine(127 - 40 * field, field, mask) == pytest.approx(-1)


def test_the_cosine_is_that_of_the_masked_deviations(rng, mask):
    mei, field = rng.uniform(0, 255, mask.shape), rng.normal(size=mask.shape)
    expected = 1 - cosine(((mei - mei.mean()) * mask).ravel(), (field * mask).ravel())
    assert signed_cosine(mei, field, mask) == pytest.approx(expected)


def test_the_cosine_ignores_what_lies_outside_the_mask(rng, mask):
    field, inside = rng.normal(size=mask.shape), mask > 0
    mei = np.where(inside, field, 0) - np.where(inside, field, 0).mean()
    other = rng.normal(size=mask.shape)
    other[inside] = 0
    other[~inside] -= other[~inside].mean()  # the grey level of the whole image stays
    assert signed_cosine(mei + other, field, mask) == pytest.approx(signed_cosine(mei, field, mask))


def test_no_cosine_without_mask_or_contrast(rng, mask):
    field = rng.normal(size=mask.shape)
    assert np.isnan(signed_cosine(field, field, np.zeros_like(mask)))
    assert np.isnan(signed_cosine(np.full_like(field, 127), field, mask))
    pair = np.stack([field, field[::-1]])
    assert np.isnan(plane_cosine(field, pair, np.zeros_like(mask))[0])
    assert np.isnan(plane_cosine(np.full_like(field, 127), pair, mask)[0])


@pytest.mark.parametrize("phase", [0, 1, 2.5, 4])
def test_every_phase_of_a_quadrature_pair_lies_in_its_plane(rng, mask, phase):
    pair = rng.normal(size=(2, *mask.shape))
    pair -= pair.mean((1, 2), keepdims=True)
    mei = np.cos(phase) * pair[0] + np.sin(phase) * pair[1]
    found, nearest = plane_cosine(127 + 30 * mei, pair, mask)
    assert found == pytest.approx(1)
    np.testing.assert_allclose(nearest, 30 * mei, atol=1e-9)


def test_the_plane_cosine_is_that_of_the_principal_angle(rng, mask):
    pair, mei = rng.normal(size=(2, *mask.shape)), rng.normal(size=mask.shape)
    masked = (mask * (mei - mei.mean())).reshape(-1, 1)
    angle = subspace_angles((mask * pair).reshape(2, -1).T, masked)[0]
    assert plane_cosine(mei, pair, mask)[0] == pytest.approx(np.cos(angle))


def test_a_response_must_exceed_the_quantile_by_a_margin_of_the_range():
    training = np.linspace(0, 10, 1001)  # quantile 0.995: 9.95; margin 0.05 * 10
    assert not exceeds(9.95 + 10 * MARGIN - 0.01, training)
    assert exceeds(9.95 + 10 * MARGIN + 0.01, training)


def test_a_cell_without_any_range_is_not_exceeded_by_its_own_constant():
    assert not exceeds(2.0, np.full(100, 2.0))
    assert exceeds(2.1, np.full(100, 2.0))


def test_the_summary_counts_known_cells_only():
    nan = np.nan
    units = pd.DataFrame(
        {
            "kind": ["simple", "simple", "simple", "complex", "undriven", None],
            "ensemble_validation_corr": [0.8, WELL_PREDICTED, 0.5, 0.4, -0.1, 0.9],
            "cosine": [0.9, 0.5, 0.7, nan, nan, nan],
            "plane_cosine": [nan, nan, nan, 0.6, nan, nan],
            "exceeds": [True, True, False, True, False, None],
        }
    )
    found = summarise(units)
    assert (found.n_simple, found.n_complex) == (3, 1)
    assert found.median_cosine == pytest.approx(0.7)
    assert found.median_plane_cosine == pytest.approx(0.6)
    assert found.n_well_predicted == 3  # strictly above the threshold, kind known
    assert found.fraction_exceeding == pytest.approx(2 / 3)


def test_a_summary_of_nothing_is_not_a_number():
    columns = ["kind", "ensemble_validation_corr", "cosine", "plane_cosine", "exceeds"]
    found = summarise(pd.DataFrame(columns=columns))
    assert (found.n_simple, found.n_complex, found.n_well_predicted) == (0, 0, 0)
    assert np.isnan([found.median_cosine, found.fraction_exceeding]).all()


# ---------------------------------------------------------------- closed loop


@pytest.fixture
def cells(populated, monkeypatch):
    """True cells by day and unit_id, after two of day 3 were swapped and one made a new one.

    The matches of the miniature are right; so three are not.
    """
    loaded = {day["session"]: load_animal(day) for day in (DAY_1, DAY_2, DAY_3)}
    animal, session = loaded[3]
    in_matrix = ConfusionMatrix.Diagonal.proj() & (LoopPool & "n_pooled = 1").proj()
    units = np.unique((in_matrix * LoopPool.Member & DAY_3).to_arrays("unit_index"))[:3]
    a, b, c = (int(m["matched_unit_id"]) - 1 for m in _matches(3) if m["unit_index"] in units)
    changed = session.cells.copy()
    changed[[a, b, c]] = changed[b], changed[a], 10**6
    loaded[3] = animal, replace(session, cells=changed)
    monkeypatch.setattr(closed_loop, "load_animal", lambda scan: loaded[scan["session"]])
    return {day: dict(enumerate(s.cells.tolist(), 1)) for day, (_, s) in loaded.items()}


@pytest.fixture
def no_truth_of_day_3(populated):
    """As if day 3 were a real recording."""
    row = (VirtualAnimal & DAY_3).fetch1()
    (VirtualAnimal & DAY_3).delete_quick()
    yield
    VirtualAnimal.insert1(row)


def _matches(day):
    return (BestProximityCellMatch.Unit & {"session": day}).to_dicts(order_by="unit_index")


def _right(cells, day):
    """Return whether each matched unit is its own cell on a day."""
    own = {row["unit_index"]: row["unit_id"] for row in TargetDataset.Unit().to_dicts()}
    return {
        m["unit_index"]: cells[day][m["matched_unit_id"]] == cells[1][own[m["unit_index"]]]
        for m in _matches(day)
    }


def test_matches_are_right_if_they_are_the_same_cell(cells):
    found = match_truth({})
    for day in (2, 3):
        right = _right(cells, day)
        of = found[found.session == day].set_index("unit_index")
        assert of.right.to_dict() == right
        assert sum(not r for r in right.values()) == (0 if day == 2 else 3)


def test_matches_carry_what_their_cells_answer(populated):
    found = match_truth(DAY_2).set_index("unit_index")
    rows = (CellMatchOracleCorrelation.Unit & DAY_2).to_dicts()
    matrix = (CellMatchOracleCorrelation & DAY_2).fetch1("match_correlations")
    assert len(found) == len(rows) == len(matrix)
    for row in rows:
        correlation, i = found.match_correlation[row["unit_index"]], row["match_index"]
        assert correlation == pytest.approx(matrix[i, i], nan_ok=True)
        assert found.match_status[row["unit_index"]] == row["match_status"]


def test_recall_counts_the_modelled_cells_that_a_recording_holds(cells):
    found = match_results({}).set_index("session")
    own = TargetDataset.Unit().to_arrays("unit_id").tolist()
    for day in (2, 3):
        right = sum(_right(cells, day).values())
        present = {cells[1][unit] for unit in own} & set(cells[day].values())
        row = found.loc[day]
        assert (row.n_matched, row.n_right, row.n_present) == (
            len(_matches(day)),
            right,
            len(present),
        )
        assert row.recall == right / len(present)
        assert row.n_accepted == row.n_matched
        assert row.n_accepted_right == right
    assert found.recall[3] < 1


def test_a_unit_is_right_if_every_pooled_recording_has_its_cell(cells):
    found = closed_loop_results({}).set_index(ConfusionMatrix.primary_key)
    pools = defaultdict(set)
    for row in LoopPool.Member().to_dicts():
        pools[row["pool_hash"]].add(row["session"])
    right = {day: _right(cells, day) for day in (2, 3)}
    n_wrong = defaultdict(set)
    for matrix in ConfusionMatrix().to_dicts():
        key = {name: matrix[name] for name in ConfusionMatrix.primary_key}
        days = sorted(pools[matrix["pool_hash"]])
        row = found.loc[tuple(key.values())]
        assert (row.days, row.n_recordings) == (tuple(days), len(days))
        mean = matrix["confusion_mean"]
        most = np.diag(mean) >= np.nanmax(mean, axis=1)
        rows = (ConfusionMatrix.Diagonal & key).to_dicts(order_by="matrix_index")
        is_right = np.array([all(right[d].get(r["unit_index"], True) for d in days) for r in rows])
        assert (row.n_units, row.n_right) == (len(mean), is_right.sum())
        assert row.row_max_fraction == pytest.approx(most.mean())
        assert row.right_row_max_fraction == pytest.approx(most[is_right].mean())
        n_wrong[tuple(days)].add(int((~is_right).sum()))
    assert n_wrong == {(2,): {0}, (3,): {3}, (2, 3): {3}}


def test_results_carry_the_permutation_test(populated):
    found = closed_loop_results({"response_scaling": "normalized"})
    for row in found.to_dict("records"):
        test = (PermutationTest & {a: row[a] for a in PermutationTest.primary_key}).fetch1()
        for name in ("permutation_statistic", "permutation_p", "statistic_low", "statistic_high"):
            assert row[name] == test[name]


def test_nothing_is_right_or_wrong_without_a_truth(no_truth_of_day_3):
    assert match_truth(DAY_2).right.all()
    assert match_truth(DAY_3).right.isna().all()
    of_matches = match_results(DAY_3).iloc[0]
    assert np.isnan(of_matches[["n_right", "n_present", "recall"]].astype(float)).all()
    assert of_matches.n_accepted == len(_matches(3))
    for row in closed_loop_results({}).itertuples():
        unknown = [row.n_right, row.n_right_shown, row.right_row_max_fraction]
        assert np.isnan(unknown).all() == (3 in row.days)
        assert 0 <= row.row_max_fraction <= 1


def test_units_are_counted_by_the_kind_that_drives_them_more(populated):
    found = kind_results({})
    assert len(found) == len(DiagonalTest())
    for row in found.to_dict("records"):
        key = {a: row[a] for a in DiagonalTest.primary_key}
        units = (DiagonalTest.Unit & key).to_dicts()
        sure = [u["difference"] for u in units if u["welch_q"] is not None and u["welch_q"] < 0.05]
        assert row["n_first_better"] == sum(d > 0 for d in sure)
        assert row["n_other_better"] == sum(d < 0 for d in sure)
        p = (DiagonalTest & key).fetch1("wilcoxon_p")
        assert row["wilcoxon_p"] == pytest.approx(np.nan if p is None else p, nan_ok=True)
    assert found.n_first_better.any()


def test_there_are_columns_without_rows(tables):
    none = {"match_hash": "none"}
    assert {"right", "match_status"} <= set(match_truth(none).columns)
    assert {"recall", "n_accepted"} <= set(match_results(none).columns)
    assert {"days", "permutation_p"} <= set(closed_loop_results(none).columns)
    assert {"n_first_better", "rank_biserial"} <= set(kind_results(none).columns)
