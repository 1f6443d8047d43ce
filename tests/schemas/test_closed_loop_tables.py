"""The closed loop of the miniature, against the recorded trials and the virtual truth.

Two later days show five kinds of images on a monitor whose gamma has changed.
"""

import numpy as np
import pytest
from miniature import (
    ANIMAL,
    DAY_1,
    DAY_2,
    DAY_3,
    NATURAL_REPEATS,
    REPEATS,
    STIMULUS,
    recorded_activity,
)
from scipy.stats import false_discovery_control, ttest_ind, wilcoxon

from pipeline.ingest.virtual import load_animal
from schemas.cell_match import (
    BestProximityCellMatch,
    CellMatchOracleCorrelation,
    ClosedLoopScan,
    LoopPool,
    ProximityCellMatch,
)
from schemas.closed_loop import ConfusionMatrix, DiagonalTest, PermutationTest
from schemas.dataset import TargetDataset
from schemas.mei import MEI
from schemas.monitor import ClosestCalibration, ProcessedMonitorCalibration
from schemas.recording import Condition, Image, MonitorCalibration, StackUnitCoord, Trial
from schemas.responses import InputResponse
from schemas.stimulus import MADE_FROM, StimulusSet
from science.closed_loop import permutation_test

DAYS = (DAY_2, DAY_3)
KINDS = STIMULUS.kinds
SCALINGS = ("raw", "normalized", "zscored")


@pytest.fixture(autouse=True)
def _populated(populated):
    """Everything here reads the miniature."""


def pool_of(*days):
    """Return the key of the pool of these days and no others."""
    for pool in LoopPool().to_dicts():
        members = {row["session"] for row in (LoopPool.Member & pool).to_dicts()}
        if members == {day["session"] for day in days}:
            return {"pool_hash": pool["pool_hash"]}
    raise LookupError(days)


# --- monitors


@pytest.mark.parametrize(("day", "gamma"), [(1, 1.7), (2, 2.1)])
def test_the_gamma_of_a_monitor_is_found(day, gamma):
    fits = (ProcessedMonitorCalibration.GammaFit()).to_dicts(order_by="calibrated_at")
    assert len(fits) == 2
    assert fits[day - 1]["gamma"] == pytest.approx(gamma, rel=0.02)
    assert fits[day - 1]["amplitude"] == pytest.approx(ANIMAL.monitor_amplitude, rel=0.01)


@pytest.mark.parametrize(("scan", "calibration"), [(DAY_1, 0), (DAY_2, 1), (DAY_3, 1)])
def test_recordings_go_by_the_calibration_nearest_in_time(scan, calibration):
    times = MonitorCalibration().to_arrays("calibrated_at", order_by="calibrated_at")
    row = (ClosestCalibration & scan).fetch1()
    assert row["calibrated_at"] == times[calibration]
    assert row["delta_time"] == pytest.approx(-1 if scan != DAY_3 else -25)


# --- stimuli


def test_every_unit_has_an_image_of_every_kind(populated):
    items = (StimulusSet.Item & populated.stimulus).to_dicts(order_by="item")
    assert [row["item"] for row in items] == list(range(len(items)))
    units = {kind: {r["unit_index"] for r in items if r["stimulus_kind"] == kind} for kind in KINDS}
    assert len(set(map(frozenset, units.values()))) == 1
    with_mei = MEI.Unit & populated.plan & "mei_status = 'ok'"
    assert 5 <= len(units["mei"]) <= len(with_mei)


def test_shown_images_have_the_mean_and_contrast_asked_for_on_the_later_monitor(populated):
    _, session = load_animal(DAY_2)
    items = (StimulusSet.Item * Image & populated.stimulus).to_dicts(order_by="item")
    light = session.monitor.luminance(np.stack([row["image"] for row in items]))
    for name, values in (("shown_mean", light.mean((1, 2))), ("shown_contrast", light.std((1, 2)))):
        np.testing.assert_allclose([row[name] for row in items], values, rtol=0.01)
    reached = np.array([bool(row["display_reached"]) for row in items])
    assert reached.mean() > 0.9
    np.testing.assert_allclose(light.mean((1, 2))[reached], 10, rtol=0.02)
    np.testing.assert_allclose(light.std((1, 2))[reached], 2, rtol=0.02)


def test_the_eye_sees_the_mei_that_was_made(populated):
    """Whatever the gamma: light correlates with that of the MEI on the monitor of day 1."""
    _, first = load_animal(DAY_1)
    _, second = load_animal(DAY_2)
    shown = StimulusSet.Item * StimulusSet.FromMEI * MEI.Unit * Image
    rows = (shown & populated.stimulus & "stimulus_kind = 'mei'").to_dicts()
    assert rows
    for row in rows:
        seen = second.monitor.luminance(row["image"])
        made = first.monitor.luminance(np.clip(row["mei"], 0, 255))
        assert np.corrcoef(seen.ravel(), made.ravel())[0, 1] > 0.99


def test_items_refer_to_what_they_were_made_from(populated):
    models = {"linear_mei": populated.linear["model_hash"]}
    for kind, (part, table) in MADE_FROM.items():
        items = StimulusSet.Item.proj("stimulus_kind", own_unit="unit_index") * part
        rows = (items & populated.stimulus & {"stimulus_kind": kind}).to_dicts()
        assert bool(rows) == (kind in KINDS)
        for row in rows:
            assert row["unit_index"] == row["own_unit"]
            assert row["model_hash"] == models.get(kind, populated.plan["model_hash"])
            assert len(table & {name: row[name] for name in table.primary_key}) == 1


# --- matches


@pytest.mark.parametrize("day", DAYS)
def test_matched_cells_are_the_same_cells(day):
    _, first = load_animal(DAY_1)
    _, later = load_animal(day)
    cell_on_day_1 = dict(zip(first.unit_ids.tolist(), first.cells.tolist(), strict=True))
    cell_on_later = dict(zip(later.unit_ids.tolist(), later.cells.tolist(), strict=True))
    matches = BestProximityCellMatch.Unit * TargetDataset.Unit.proj(day_1_unit="unit_id") & day
    rows = matches.to_dicts()
    assert len(rows) == len(later.unit_ids)
    for row in rows:
        assert cell_on_day_1[row["day_1_unit"]] == cell_on_later[row["matched_unit_id"]]
        assert row["n_votes"] == ANIMAL.n_stacks


def test_distances_are_those_in_the_stacks():
    votes = ProximityCellMatch.Unit * TargetDataset.Unit.proj(source_unit="unit_id") & DAY_2
    for vote in votes.to_dicts():
        stack = {"stack_id": vote["stack_id"]}
        here = StackUnitCoord & DAY_2 & stack & {"unit_id": vote["matched_unit_id"]}
        there = StackUnitCoord & DAY_1 & stack & {"unit_id": vote["source_unit"]}
        xyz = [q.fetch1("stack_x", "stack_y", "stack_z") for q in (here, there)]
        distance = np.linalg.norm(np.subtract(*xyz))
        assert vote["match_distance"] == pytest.approx(distance, abs=1e-9)


def test_matched_cells_are_compared_by_the_images_that_both_days_repeated():
    means = [mean_responses(day) for day in (DAY_1, DAY_2)]
    shared = sorted(means[0].keys() & means[1].keys())
    row = (CellMatchOracleCorrelation & DAY_2).fetch1()
    assert row["n_shared_images"] == len(shared) == 24
    first, later = (np.stack([m[image] for image in shared]) for m in means)
    units = CellMatchOracleCorrelation.Unit * BestProximityCellMatch.Unit & DAY_2
    units = (units * TargetDataset.Unit.proj(day_1_unit="unit_id")).to_dicts()
    matrix = row["match_correlations"]
    ids = column_of(DAY_2)
    for unit in units:
        r = np.corrcoef(first[:, unit["day_1_unit"] - 1], later[:, ids[unit["matched_unit_id"]]])
        assert unit["match_correlation"] == pytest.approx(r[0, 1], abs=1e-6)
        i = unit["match_index"]
        assert matrix[i, i] == unit["match_correlation"]
    others = matrix[~np.eye(len(matrix), dtype=bool)]
    assert np.median(np.diag(matrix)) > np.median(others) + 0.3


def mean_responses(day):
    """Mean responses (n_units,) to every image shown at least five times, by class and number."""
    trials = (Trial * Condition & day).to_dicts(order_by="trial_idx")
    shown = np.array([f"{t['image_class']}/{t['image_id']}" for t in trials])
    responses = recorded_activity(day).astype(float)
    names, counts = np.unique(shown, return_counts=True)
    repeated = names[counts >= NATURAL_REPEATS]
    return {name: responses[shown == name].mean(0) for name in repeated.tolist()}


def column_of(day):
    ids = (InputResponse.ResponseKeys & day).to_arrays("unit_id", order_by="col_id")
    return {unit: i for i, unit in enumerate(ids.tolist())}


# --- confusion matrices


def single_trials(populated, day, scaling, kind):
    """Return {(cell, other cell): responses of the cell to the image made for the other}."""
    responses = recorded_activity(day).astype(float)
    if scaling != "raw":
        sd = responses.std(0, ddof=1)
        mean = responses.mean(0) if scaling == "zscored" else 0
        with np.errstate(invalid="ignore", divide="ignore"):
            responses = (responses - mean) / np.where(sd == 0, np.nan, sd)
    trials = (Trial * Condition & day).to_dicts(order_by="trial_idx")
    shown = [(trial["image_class"], trial["image_id"]) for trial in trials]
    items = (StimulusSet.Item & populated.stimulus & {"stimulus_kind": kind}).to_dicts()
    image_of = {item["unit_index"]: (item["image_class"], item["image_id"]) for item in items}
    ids = column_of(day)
    matched = (BestProximityCellMatch.Unit & day).to_dicts()
    column = {row["unit_index"]: ids[row["matched_unit_id"]] for row in matched}
    return {
        (cell, other): np.array(
            [responses[t, column[cell]] for t, i in enumerate(shown) if i == of]
        )
        for cell in column
        for other, of in image_of.items()
    }


def pooled_trials(populated, days, scaling, kind):
    found = [single_trials(populated, day, scaling, kind) for day in days]
    pairs = set().union(*found)
    return {pair: np.concatenate([f[pair] for f in found if pair in f]) for pair in pairs}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("days", [(DAY_2,), (DAY_3,), DAYS], ids=["2", "3", "pooled"])
def test_a_matrix_is_that_of_the_concatenated_trials(populated, days, scaling, kind):
    """Rows = matched cells, columns = the images made for them; a lost cell counts less."""
    expected = pooled_trials(populated, days, scaling, kind)
    key = pool_of(*days) | {"response_scaling": scaling, "stimulus_kind": kind}
    row = (ConfusionMatrix & key).fetch1()
    cells = (ConfusionMatrix.Diagonal & key).to_arrays("unit_index", order_by="matrix_index")
    shown = {other for _, other in expected}
    assert set(cells.tolist()) == {cell for cell, _ in expected if cell in shown}
    for i, cell in enumerate(cells.tolist()):
        for j, other in enumerate(cells.tolist()):
            values = expected[cell, other]
            assert row["confusion_n"][i, j] == len(values) in (REPEATS, 2 * REPEATS)
            np.testing.assert_allclose(row["confusion_mean"][i, j], values.mean(), atol=1e-6)
            np.testing.assert_allclose(row["confusion_variance"][i, j], values.var(), atol=1e-6)


def test_a_cell_that_one_day_lost_is_pooled_from_the_other(populated):
    lost = {}
    for day in DAYS:
        _, session = load_animal(day)
        lost[day["session"]] = set(range(ANIMAL.n_cells)) - set(session.cells.tolist())
    assert lost[2] != lost[3]
    counts = {
        len(days): (ConfusionMatrix & pool_of(*days) & "stimulus_kind = 'mei'").to_arrays(
            "n_matrix_units"
        )
        for days in ((DAY_2,), DAYS)
    }
    assert counts[2].max() >= counts[1].max()


@pytest.mark.parametrize("kind", KINDS)
def test_the_diagonal_holds_the_responses_to_the_own_image(kind):
    key = pool_of(*DAYS) | {"response_scaling": "normalized", "stimulus_kind": kind}
    row = (ConfusionMatrix & key).fetch1()
    for entry in (ConfusionMatrix.Diagonal & key).to_dicts(order_by="matrix_index"):
        i = entry["matrix_index"]
        n, own = row["confusion_n"][i, i], row["confusion_mean"][i, i]
        assert entry["diagonal_n"] == n
        if np.isnan(own):
            assert entry["diagonal_response"] is None
            continue
        assert entry["diagonal_response"] == pytest.approx(own)
        sem = np.sqrt(row["confusion_variance"][i, i] / (n - 1))
        assert entry["diagonal_sem"] == pytest.approx(sem)
        larger = int((row["confusion_mean"][i] > own).sum())
        assert entry["diagonal_rank"] == larger
        assert entry["row_max"] == (larger == 0)


def test_single_trials_are_kept(populated):
    key = pool_of(*DAYS) | {"response_scaling": "normalized", "stimulus_kind": "mei"}
    units = (ConfusionMatrix.Diagonal & key).to_arrays("unit_index", order_by="matrix_index")
    for day in DAYS:
        kept = (ConfusionMatrix.Recording & key & day).fetch1()
        columns, responses = np.asarray(kept["trial_columns"]), np.asarray(kept["trial_responses"])
        for (cell, other), values in single_trials(populated, day, "normalized", "mei").items():
            if {cell, other} <= set(units.tolist()):
                i, j = units.tolist().index(cell), units.tolist().index(other)
                np.testing.assert_allclose(responses[columns == j, i], values, rtol=1e-6)


# --- tests


@pytest.mark.filterwarnings("ignore:Precision loss")  # of constant responses
@pytest.mark.parametrize("days", [(DAY_2,), DAYS], ids=["2", "pooled"])
@pytest.mark.parametrize("other", ["linear_mei", "masked_natural"])
def test_welch_tests_are_those_of_the_pooled_trials(populated, days, other):
    first = pooled_trials(populated, days, "raw", "mei")
    second = pooled_trials(populated, days, "raw", other)
    key = pool_of(*days) | {"stimulus_kind": "mei", "other_kind": other}
    rows = (DiagonalTest.Unit & key & "response_scaling = 'raw'").to_dicts(order_by="unit_index")
    assert len(rows) >= 4
    p = []
    for row in rows:
        own = (row["unit_index"], row["unit_index"])
        a, b = first[own], second[own]
        assert row["difference"] == pytest.approx(a.mean() - b.mean(), abs=1e-9)
        if a.var() + b.var() == 0:
            assert row["welch_p"] is None
            continue
        test = ttest_ind(a, b, equal_var=False)
        assert row["welch_t"] == pytest.approx(test.statistic, abs=1e-9)
        assert row["welch_df"] == pytest.approx(test.df, abs=1e-9)
        assert row["welch_p"] == pytest.approx(test.pvalue, abs=1e-9)
        p.append((test.pvalue, row["welch_q"]))
    q = false_discovery_control([value for value, _ in p])
    np.testing.assert_allclose([value for _, value in p], q, atol=1e-9)


def test_the_population_is_tested_by_wilcoxon(populated):
    first = pooled_trials(populated, DAYS, "raw", "mei")
    second = pooled_trials(populated, DAYS, "raw", "masked_natural")
    cells = sorted(a for a, b in first if a == b)
    pairs = [(first[c, c].mean(), second[c, c].mean()) for c in cells]
    key = pool_of(*DAYS) | {"stimulus_kind": "mei", "other_kind": "masked_natural"}
    row = (DiagonalTest & key & "response_scaling = 'raw'").fetch1()
    a, b = np.array(pairs).T
    assert row["n_compared"] == len(cells)
    assert row["wilcoxon_p"] == pytest.approx(wilcoxon(a - b).pvalue)
    assert row["median_difference"] == pytest.approx(np.median(a - b))
    assert row["response_ratio"] == pytest.approx(a.mean() / b.mean())
    assert row["response_ratio_low"] <= row["response_ratio"] <= row["response_ratio_high"]


def test_the_diagonal_is_tested_by_permutation():
    for row in (PermutationTest * ConfusionMatrix).to_dicts():
        result = permutation_test(
            row["confusion_mean"],
            10_000,
            row["permutation_seed"],
            divide_rows=row["response_scaling"] != "zscored",
        )
        assert row["n_tested"] + row["n_dropped"] == row["n_matrix_units"]
        assert row["n_tested"] == result.n
        assert row["permutation_p"] == pytest.approx(result.p)


# --- provenance


def test_a_matrix_says_which_recordings_and_matches_it_is_of(populated):
    rows = (ConfusionMatrix.Recording & pool_of(*DAYS)).to_dicts()
    assert {row["session"] for row in rows} == {2, 3}
    loops = ClosedLoopScan * StimulusSet & DAY_2
    assert loops.fetch1("training_set_hash") == populated.training_set["training_set_hash"]
