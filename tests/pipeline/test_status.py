"""Status, errors and their retry, in a graph of which half is computed."""

import json

import numpy as np
import pytest
from miniature import SEEDS, arrays, insert_arrays, row_counts, study

from pipeline.status import TableStatus, as_json, errors, retry_errors, status
from pipeline.study import register
from schemas.dataset import ConditionTier, TargetDataset
from schemas.graph import STEPS
from schemas.responses import Frame, InputResponse


@pytest.fixture(autouse=True)
def _populated(populated):
    """All that the miniature asked for is done, but for the ensemble with a failed member."""


def by_table():
    return {row.table: row for row in status()}


def changes(before):
    """Return (done, pending, running, failed, blocked) of the tables where they changed."""

    def counts(row):
        return (row.done, row.pending, row.running, row.failed, row.blocked)

    return {
        name: tuple(b - a for a, b in zip(counts(before[name]), counts(row), strict=True))
        for name, row in by_table().items()
        if counts(row) != counts(before[name])
    }


def run(table, restriction):
    return table.populate(restriction, reserve_jobs=True, suppress_errors=True)


def test_the_status_names_every_table_in_the_order_of_work():
    assert [row.table for row in status()] == [step.table.__name__ for step in STEPS]


def test_what_is_done_is_counted_and_timed():
    rows = by_table()
    for step in STEPS:
        row = rows[step.table.__name__]
        assert row.done == len(step.table())
        assert (row.pending, row.running, row.failed) == (0, 0, 0)
    assert rows["TrainedModel"].mean_seconds > rows["Frame"].mean_seconds > 0


def test_an_ensemble_with_a_failed_member_is_blocked_and_so_is_what_follows():
    rows = by_table()
    assert rows["Ensemble"].blocked == 2
    assert "did not stay finite" in rows["Ensemble"].blocked_by
    assert rows["ModelGroup"].blocked == 0  # a candidate that failed is out of the race
    assert rows["MEI"].blocked_by == "waits for Ensemble"
    assert rows["MEIMask"].blocked_by == "waits for MEI"
    assert rows["UnitSelection"].blocked == 0
    assert rows["UnitSelection"].blocked_by == ""


def test_work_moves_from_blocked_over_pending_to_done(recordings):
    before = by_table()
    key = recordings.insert(80)
    plan = register(study(), [key])["training_set"]
    assert changes(before) == {
        "Frame": (0, 1, 0, 0, 0),
        "InputResponse": (0, 0, 0, 0, 1),
        "ConditionTier": (0, 1, 0, 0, 0),
        "TargetDataset": (0, 0, 0, 0, 1),
        "Oracle": (0, 0, 0, 0, 1),
        "OracleRankedUnit": (0, 0, 0, 0, 1),
        "UnitStatistics": (0, 0, 0, 0, 1),
        "TrainedModel": (0, 0, 0, 0, len(SEEDS) + 1),
        "UnitReadout": (0, 0, 0, 0, len(SEEDS) + 1),
        "Ensemble": (0, 0, 0, 0, 2),
        "ModelGroup": (0, 0, 0, 0, 1),
        "UnitSelection": (0, 0, 0, 0, 1),
        "MEI": (0, 0, 0, 0, 2),
        "MEIMask": (0, 0, 0, 0, 2),
        "DiverseMEI": (0, 0, 0, 0, 1),
        "SurroundMEI": (0, 0, 0, 0, 1),
        "BestGabor": (0, 0, 0, 0, 1),
        "OptimalGabor": (0, 0, 0, 0, 1),
        "GradientField": (0, 0, 0, 0, 1),
        "RegressionField": (0, 0, 0, 0, 1),
        "BestNaturalImage": (0, 0, 0, 0, 1),
        "ImageComparison": (0, 0, 0, 0, 1),
    }
    rows = by_table()
    assert rows["InputResponse"].blocked_by == "waits for Frame"
    assert rows["TargetDataset"].blocked_by == "waits for InputResponse, ConditionTier"
    assert rows["TrainedModel"].blocked_by == "waits for TargetDataset"
    for table in (Frame, InputResponse, ConditionTier):
        run(table, key)
    run(TargetDataset, plan)
    now = changes(before)
    assert now["Frame"] == now["TargetDataset"] == (1, 0, 0, 0, 0)
    assert now["Oracle"] == now["UnitStatistics"] == (0, 1, 0, 0, 0)
    assert now["TrainedModel"] == (0, len(SEEDS) + 1, 0, 0, 0)
    assert now["Ensemble"] == (0, 0, 0, 0, 2)
    assert by_table()["Ensemble"].blocked_by == "waits for TrainedModel"
    recordings.delete()
    assert changes(before) == {}


def test_a_job_that_is_being_worked_on_is_running(recordings):
    before = by_table()
    key = recordings.insert(81)
    register(study(), [key])
    jobs = Frame().jobs
    jobs.refresh()
    (pending,) = (jobs.pending & key).keys()
    assert jobs.reserve(pending)
    assert changes(before)["Frame"] == (0, 0, 1, 0, 0)
    (jobs & pending).delete_quick()
    recordings.delete()


@pytest.fixture
def failing(recordings):
    """A recording whose study names an area that it does not have, worked on."""
    key = recordings.key()
    insert_arrays(key, arrays(82), units={"area": np.array(["V1"] * 4)})
    plan = register(study(data={"brain_areas": ("V9",)}), [key])["training_set"]
    before = by_table()
    for table in (Frame, InputResponse, ConditionTier):
        run(table, key)
    result = run(TargetDataset, plan)
    assert len(result["error_list"]) == 1
    yield plan, before
    recordings.delete()
    assert not errors()


def test_a_failed_job_leaves_no_row_and_blocks_what_needs_it(failing):
    plan, before = failing
    assert not TargetDataset & plan
    assert not TargetDataset.Unit & plan
    now = changes(before)
    assert now["TargetDataset"] == (0, 0, 0, 1, -1)
    rows = by_table()
    for name in ("Oracle", "TrainedModel"):
        assert rows[name].blocked == before[name].blocked
        assert rows[name].blocked_by == "1 failed in TargetDataset"


def test_a_failed_job_is_listed_with_message_and_stack(failing):
    plan, _ = failing
    (error,) = errors()
    assert error["table"] == "TargetDataset"
    assert error["key"] == plan
    assert error["message"].startswith("ValueError: brain_area ['V9'] does not occur in recording")
    assert "Traceback" in error["stack"]
    assert "_selected_units" in error["stack"]
    assert error["pid"] > 0


def test_a_failed_job_is_tried_again_only_when_asked(failing):
    plan, _ = failing
    assert run(TargetDataset, plan) == {"success_count": 0, "error_list": []}
    assert retry_errors() == 1
    assert not errors()
    assert by_table()["TargetDataset"].pending == 1
    assert len(run(TargetDataset, plan)["error_list"]) == 1
    assert len(errors()) == 1


def test_the_status_is_json_for_programs():
    rows = json.loads(json.dumps(as_json(status())))
    assert [TableStatus(**row) for row in rows] == status()


def test_reading_the_status_changes_nothing():
    before = row_counts()
    status()
    errors()
    assert row_counts() == before
