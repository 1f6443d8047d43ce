"""Deleting with everything that depends on it: what is shown is what goes."""

import datajoint as dj
import pytest
from miniature import all_tables, row_counts, study

from pipeline.deletion import delete_rows, preview
from pipeline.selection import BadSelection, find_table
from pipeline.status import errors, status
from pipeline.study import register
from schemas.dataset import ConditionTier, StaticMultiDataset, TargetDataset
from schemas.graph import STEPS
from schemas.recording import Image, Scan
from schemas.reliability import Oracle, OracleRankedUnit
from schemas.responses import Frame, InputResponse


@pytest.fixture
def computed(recordings):
    """A recording with frames, responses, dataset, oracle and ranks, by workers' code."""
    key = recordings.insert(90)
    # a split of its own: with the miniature's, that would be deleted too
    plan = register(study(split={"validation_fraction": 0.3}), [key])["training_set"]
    for table in (Frame, InputResponse, ConditionTier):
        table.populate(key, reserve_jobs=True)
    for table in (TargetDataset, Oracle, OracleRankedUnit):
        table.populate(plan, reserve_jobs=True)
    yield key, plan
    recordings.delete()


def sql_names():
    return {table().full_table_name.replace("`", ""): name for name, table in all_tables().items()}


def conditions(key):
    return [f"{attribute}={value}" for attribute, value in key.items()]


@pytest.mark.parametrize("name", ["Scan", "Frame", "TargetDataset", "SplitConfig"])
def test_the_preview_counts_what_the_deletion_takes(computed, name):
    key, plan = computed
    where = {"Scan": key, "Frame": key, "TargetDataset": plan, "SplitConfig": {}}[name]
    if name == "SplitConfig":
        where = (TargetDataset.Member & plan).proj("split_hash").to_dicts()[0]
        where = {"split_hash": where["split_hash"]}
    before = row_counts()
    found = preview(name, conditions(where))
    assert row_counts() == before
    delete_rows(found.rows)
    after = row_counts()
    named = {sql_names()[table]: n for table, n in found.counts.items()}
    assert named == {n: before[n] - after[n] for n in before if before[n] != after[n]}
    assert named[name] == 1
    assert "OracleRankedUnit.Unit" in named
    assert not OracleRankedUnit & plan


def test_a_recording_goes_with_all_that_was_asked_of_it_and_its_images_stay(computed):
    key, _ = computed
    images = len(Image())
    delete_rows(Scan & key)
    for name, table in all_tables().items():
        if {"animal_id", "session"} <= set(table().heading.names):
            assert not table & key, name
    assert len(Image()) == images
    assert not StaticMultiDataset - StaticMultiDataset.Member.proj()


def test_the_jobs_of_deleted_rows_go_with_them(computed):
    key, plan = computed
    # a key of the dataset that fails, and jobs that wait
    for step in STEPS:
        step.table().jobs.refresh()
    table = OracleRankedUnit()
    (done,) = (table.jobs.completed & plan).keys()
    delete_rows(OracleRankedUnit & plan)
    # a success without a row would be made pending again by each worker for itself
    assert not table.jobs & done
    delete_rows(Scan & key)
    for step in STEPS:
        gone = step.table().jobs.restrict(dj.Not(step.table().proj()), semantic_check=False)
        wanted = step.table().key_source.proj()
        assert not gone.restrict(dj.Not(wanted), semantic_check=False)


def test_a_deleted_recording_leaves_no_failed_job(recordings):
    key = recordings.insert(91)
    plan = register(study(data={"layers": ("L9",)}), [key])["training_set"]
    for table in (Frame, InputResponse, ConditionTier):
        table.populate(key, reserve_jobs=True)
    TargetDataset.populate(plan, reserve_jobs=True, suppress_errors=True)
    assert len(errors()) == 1
    recordings.delete()
    assert not errors()
    assert {row.table: row.failed for row in status() if row.failed} == {}


def test_what_does_not_exist_selects_nothing(tables):
    found = preview("Scan", ["animal_id=123456"])
    assert not found.rows
    assert found.counts == found.owners == {}


def test_all_conditions_must_hold(computed):
    key, _ = computed
    assert not preview("Scan", [*conditions(key), "reader=arrays"]).rows
    assert len(preview("Scan", [*conditions(key), "reader=test"]).rows) == 1


@pytest.mark.parametrize(
    ("name", "where", "message"),
    [
        ("Scans", ["animal_id=1"], "there is no table 'Scans'; there are .*Scan"),
        ("scan", ["animal_id=1"], "there is no table 'scan'"),
        ("Unit", ["unit_id=1"], "there is no table 'Unit'"),
        ("Scan", ["animal=1"], "'animal=1' is not attribute=value .*: animal_id, session"),
        ("Scan", ["animal_id"], "'animal_id' is not attribute=value"),
        ("Scan", ["animal_id=mouse"], "animal_id is a number, not 'mouse'"),
        ("Scan", ["animal_id="], "animal_id is a number, not ''"),
        ("Scan", ["animal_id=1 OR 1=1"], "animal_id is a number"),
        ("Image", ["image=0"], "image holds arrays or documents"),
        ("DataConfig", ["data_params={}"], "data_params holds arrays or documents"),
    ],
)
def test_a_bad_selection_is_refused(tables, name, where, message):
    with pytest.raises(BadSelection, match=message):
        preview(name, where)


@pytest.mark.parametrize("value", ["' OR '1'='1", "100%", "\\", '"; DROP TABLE x; --', "%"])
def test_text_is_compared_as_it_is(recordings, value):
    recordings.insert(92)
    found = preview("Scan", [f"source_name={value}"])
    assert not found.rows
    assert found.counts == {}


def test_every_table_is_found_by_its_name():
    for name, table in all_tables().items():
        if "." not in name:
            assert find_table(name) is table
