"""From datasets to oracles, statistics and selections, in the database."""

import numpy as np
import pytest
from miniature import arrays, insert_arrays, study

from pipeline.ingest.scan import Fields
from pipeline.study import register
from schemas.dataset import ConditionTier, TargetDataset
from schemas.loading import load_dataset
from schemas.mei import SelectionRule, UnitSelection
from schemas.reliability import Oracle, OracleMethod, OracleRankedUnit, UnitStatistics
from schemas.responses import Frame, InputResponse
from science.bootstrap import bootstrap_oracle
from science.dataset import repeat_average
from science.oracle import (
    leave_one_out_oracle,
    leave_one_out_spearman,
    mean_ranks,
    repeat_draw_scores,
)

N_UNITS = 12  # of each recording; the last one is constant
SILENT = [N_UNITS - 1, 2 * N_UNITS - 1]
RANDOM = np.random.default_rng(8)
POSITION = RANDOM.uniform(0, 60, (N_UNITS, 3))
PIXEL = RANDOM.uniform([0, 0], [80, 40], (N_UNITS, 2))
FIELD = np.repeat([0, 1], N_UNITS // 2)
WIDTH, HEIGHT = 80, 40  # px
WIDTH_UM, HEIGHT_UM = np.array([160.0, 80.0]), np.array([40.0, 120.0])  # by field
FIELDS = Fields(
    np.arange(2),
    size_px=np.array([[HEIGHT, WIDTH]] * 2),
    size_um=np.column_stack([HEIGHT_UM, WIDTH_UM]),
)
ORACLE = {"method": "leave_one_out", "min_repeats": 3}


def record(key, seed, **changes):
    """Insert a recording whose units prefer images of their own, the later the more."""
    content, rng = arrays(seed, n_units=N_UNITS), np.random.default_rng(seed)
    rates = rng.gamma(1.0, 2.0, (40, N_UNITS)) * np.linspace(0.1, 3, N_UNITS)
    rates = rates[content["image_index"]]
    content["responses"] = rng.poisson(rates).astype(np.float32)
    content["responses"][:, -1] = 2.0
    insert_arrays(key, content, **changes)
    return key


@pytest.fixture(scope="module")
def scans(recordings):
    """Two recordings of known geometry, six repeated images in each."""
    units = {"position": POSITION, "pixel": PIXEL, "field": FIELD}
    return [record(recordings.key(), seed, units=units, fields=FIELDS) for seed in (70, 71)]


def planned(scans, oracle=ORACLE, selection=None):
    """Ask for a study, compute its dataset; returns the keys of its oracle and its selection."""
    asked = study(preprocessing={"height": 6, "width": 9}, oracle=oracle, selection=selection or {})
    dataset = register(asked, scans)["training_set"]
    for table in (Frame, InputResponse, ConditionTier):
        table.populate(scans)
    TargetDataset.populate(dataset)
    oracle_key = dataset | OracleMethod.register(asked.oracle)
    return oracle_key, dataset | SelectionRule.register(asked.selection)


def trials(key, tier=None):
    """Return responses and images of each recording of a dataset, as arrays."""
    dataset = load_dataset(key, (TargetDataset & key).fetch1("dataset_digest"))
    for recording in dataset.recordings.values():
        kept = slice(None) if tier is None else recording.trials(tier)
        yield np.asarray(recording.responses)[kept], recording.image_index[kept]


def column(table, key, name):
    """Return a column in the order of units, NaN where it is null."""
    return np.asarray((table & key).to_arrays(name, order_by="unit_index"), float)


# --- oracles


def test_leave_one_out_scores_the_test_trials_of_all_recordings(scans):
    key, _ = planned(scans)
    Oracle.populate(key)
    for name, score in (
        ("oracle", leave_one_out_oracle),
        ("oracle_spearman", leave_one_out_spearman),
    ):
        expected = np.concatenate([score(*shown, 3) for shown in trials(key, "test")])
        np.testing.assert_allclose(column(Oracle.UnitScores, key, name), expected)
        assert np.flatnonzero(np.isnan(expected)).tolist() == SILENT
    assert (Oracle & key).fetch1("n_repeated_images") == 12
    assert np.isnan(column(Oracle.UnitScores, key, "oracle_p")).all()
    assert np.isnan(column(Oracle.UnitScores, key, "oracle_mean_rank")).all()


def test_repeat_draws_rank_the_units_of_all_recordings_together(scans):
    params = {"method": "repeat_draw", "images": "all", "n_draws": 20, "seed": 5}
    key, _ = planned(scans, params)
    Oracle.populate(key)
    draws = np.hstack([repeat_draw_scores(*shown, 20, 5) for shown in trials(key)])
    np.testing.assert_allclose(column(Oracle.UnitScores, key, "oracle"), draws.mean(0))
    ranks = column(Oracle.UnitScores, key, "oracle_mean_rank")
    np.testing.assert_allclose(ranks, mean_ranks(draws))
    assert np.nanmax(ranks) > N_UNITS


def test_the_bootstrap_stores_p_and_the_threshold_of_fev_is_the_methods(scans):
    params = {"method": "bootstrap", "min_repeats": 3, "n_draws": 30, "min_fev": 0.4}
    key, _ = planned(scans, params)
    Oracle.populate(key)
    p = np.concatenate([bootstrap_oracle(*s, 3, 30)[1] for s in trials(key, "test")])
    np.testing.assert_allclose(column(Oracle.UnitScores, key, "oracle_p"), p)
    fev = column(Oracle.UnitScores, key, "fev")
    included = column(Oracle.UnitScores, key, "fev_included")
    np.testing.assert_array_equal(included, fev > 0.4)
    assert ((fev > 0.15) & (fev < 0.4)).any()


def test_without_repeats_the_row_says_so_and_the_chain_goes_on(recordings):
    key = recordings.key()
    insert_arrays(key, arrays(72, repeated=1))
    oracle, selection = planned([key])
    for table, restriction in (
        (Oracle, oracle),
        (OracleRankedUnit, oracle),
        (UnitStatistics, oracle),
        (UnitSelection, selection),
    ):
        table.populate(restriction)
    assert (Oracle & oracle).fetch1("n_repeated_images", "n_reliable") == (1, 0)
    for name in ("oracle", "signal_power", "fev", "cc_max"):
        assert np.isnan(column(Oracle.UnitScores, oracle, name)).all()
    assert not column(Oracle.UnitScores, oracle, "fev_included").any()
    assert (UnitSelection & selection).fetch1("n_selected") == 0


# --- statistics


def test_statistics_are_of_the_mean_responses_to_all_images(scans):
    key, _ = planned(scans)
    UnitStatistics.populate(key)
    means = [repeat_average(*shown) for shown in trials(key)]
    variance = np.concatenate([m.var(axis=0, ddof=1) for m in means])
    np.testing.assert_allclose(column(UnitStatistics.Unit, key, "response_variance"), variance)
    entropy = []
    for unit in np.hstack(means).T:
        p = np.unique(unit, return_counts=True)[1] / len(unit)
        entropy.append(-(p * np.log(p)).sum())
    np.testing.assert_allclose(column(UnitStatistics.Unit, key, "entropy"), entropy, atol=1e-12)
    label = column(UnitStatistics.Unit, key, "anomaly_label")
    assert set(label) <= {-1, 1}
    assert (UnitStatistics & key).fetch1("n_anomalous") == (label == -1).sum()


def test_the_most_and_least_alike_are_of_the_same_recording_by_unit_index(scans):
    key, _ = planned(scans)
    UnitStatistics.populate(key)
    corr = np.full((2 * N_UNITS, 2 * N_UNITS), np.nan)
    for first, shown in zip((0, N_UNITS), trials(key), strict=True):
        varying = slice(first, first + N_UNITS - 1)
        corr[varying, varying] = np.corrcoef(repeat_average(*shown)[:, :-1].T)
    np.fill_diagonal(corr, np.nan)
    known = np.delete(np.arange(2 * N_UNITS), SILENT)
    for name, best in (("highest", np.nanargmax), ("lowest", np.nanargmin)):
        other = column(UnitStatistics.Unit, key, f"{name}_unit_index")
        value = column(UnitStatistics.Unit, key, f"{name}_correlation")
        assert np.isnan(other[SILENT]).all() and np.isnan(value[SILENT]).all()
        np.testing.assert_array_equal(other[known], best(corr[known], axis=1))
        np.testing.assert_allclose(value[known], corr[known, other[known].astype(int)])


# --- selection


def selected(scans, **rule):
    """Select units under a rule, and return their indices, best first."""
    oracle, selection = planned(scans, selection={"only_reliable": False} | rule)
    for table in (Oracle, OracleRankedUnit, UnitStatistics):
        table.populate(oracle)
    UnitSelection.populate(selection)
    units = UnitSelection.Unit & selection
    return oracle, units.to_arrays("unit_index", order_by="selection_rank").tolist()


def test_a_selection_waits_for_statistics(scans):
    oracle, selection = planned(scans, selection={"max_units": 3})
    (UnitStatistics & oracle).delete(prompt=False)
    for table in (Oracle, OracleRankedUnit):
        table.populate(oracle)
    assert not UnitSelection().key_source & selection
    UnitStatistics.populate(oracle)
    assert len(UnitSelection().key_source & selection) == 1


def test_percentiles_of_oracle_and_variance_select(scans):
    key, units = selected(scans, min_oracle_percentile=60, min_variance_percentile=50)
    oracle = column(Oracle.UnitScores, key, "oracle")
    variance = column(UnitStatistics.Unit, key, "response_variance")
    good = (oracle > np.nanpercentile(oracle, 60)) & (variance > np.percentile(variance, 50))
    assert 0 < len(units) < 22 * 0.4
    assert units == sorted(np.flatnonzero(good), key=lambda unit: -oracle[unit])


def test_edge_and_spacing_are_those_of_the_recorded_geometry(scans):
    key, units = selected(scans, edge_distance_um=6, min_spacing_um=25)
    oracle = column(Oracle.UnitScores, key, "oracle")
    x_um = PIXEL[:, 0] * WIDTH_UM[FIELD] / WIDTH
    y_um = PIXEL[:, 1] * HEIGHT_UM[FIELD] / HEIGHT
    inside = (x_um > 6) & (WIDTH_UM[FIELD] - x_um > 6) & (y_um > 6) & (HEIGHT_UM[FIELD] - y_um > 6)
    assert 0 < inside.sum() < N_UNITS
    expected = []
    for unit in np.argsort(-np.nan_to_num(oracle, nan=-2), kind="stable").tolist():
        scan, row = divmod(unit, N_UNITS)
        kept = [u % N_UNITS for u in expected if u // N_UNITS == scan]
        near = [np.linalg.norm(POSITION[row] - POSITION[k]) < 25 for k in kept]
        if inside[row] and not any(near):
            expected.append(unit)
    assert units == expected
    assert len(units) < 2 * inside.sum()


@pytest.mark.parametrize(
    ("rule", "needed"), [("edge_distance_um", "px_width"), ("min_spacing_um", "um_z")]
)
def test_a_rule_without_the_geometry_it_needs_is_an_error(recordings, rule, needed):
    key = record(recordings.key(), 73 if rule == "edge_distance_um" else 74)
    with pytest.raises(ValueError, match=f"{rule} needs .*{needed}"):
        selected([key], **{rule: 10})
