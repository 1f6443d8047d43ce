"""Garbage: what no row refers to is found and deleted, and never anything else."""

import json
import os
import re
import threading
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta

import datajoint as dj
import pytest
from typer.testing import CliRunner

from pipeline import garbage
from pipeline.cli import app
from pipeline.garbage import StoreBusy, collect_garbage, find_garbage, only_one
from pipeline.settings import Settings
from pipeline.stored_objects import is_referred_to, references
from schemas import recording
from schemas.model import TrainedModel, TrainingCheckpoint
from schemas.operations import CodeVersion, Pause
from schemas.responses import Frame

NOW, DAY = timedelta(0), timedelta(days=1)


@pytest.fixture
def prefix(populated, database):
    """The prefix of a project without garbage."""
    collect_garbage(Settings().prefix, NOW, lambda message: None)
    return Settings().prefix


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(garbage, "LOOK_SECONDS", 0.02)


@pytest.fixture
def store(prefix, database):
    return database / "store"


def files(store):
    return {str(path.relative_to(store)) for path in store.rglob("*") if path.is_file()}


def orphan(store, name="frames_abcdefgh.npy", days_old=2.0):
    """Leave an object without a row, as a job does that is killed before it inserts."""
    path = store / "_schema" / f"{Settings().prefix}responses" / "__frame/animal_id=9" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * 1000)
    written = time.time() - 86400 * days_old
    os.utime(path, (written, written))
    return path


def paths_in_rows(table, *columns):
    rows = dj.conn().query(f"SELECT {', '.join(columns)} FROM {table().full_table_name}").fetchall()
    return {json.loads(stored)["path"] for row in rows for stored in row if stored}


def test_all_that_rows_refer_to_lies_in_the_store(prefix, store):
    referred = {reference.path for reference in references(prefix)}
    assert referred and referred <= files(store)
    # independent of the names of columns in the database: some of them by hand
    assert paths_in_rows(Frame, "frames") <= referred
    assert paths_in_rows(TrainedModel, "weights") <= referred
    assert paths_in_rows(recording.Activity.Block, "activity") <= referred
    # and DataJoint's own collector, which takes long, finds the same in one schema
    name = f"{prefix}recording"
    report = dj.gc.GarbageCollector(dj.Schema(name), store="main").collect(dry_run=True)
    of_schema = [path for path in referred if path.startswith(f"_schema/{name}/")]
    assert report["schema_paths_referenced"] == len(of_schema) > 0
    assert report["schema_paths_orphaned"] == 0


def test_every_reference_names_its_table(prefix):
    tables = {reference.table for reference in references(prefix)}
    assert {"Frame", "TrainedModel", "Activity.Block", "InputResponse.ResponseBlock"} <= tables


def test_a_look_finds_garbage_and_deletes_nothing(prefix, store):
    left = orphan(store)
    found = find_garbage(prefix, DAY)
    assert [file.path for file in found.files] == [str(left.relative_to(store))]
    assert found.by_schema() == {f"{prefix}responses": (1, 1000)}
    answer = CliRunner().invoke(app, ["gc"])
    assert answer.exit_code == 0, answer.output
    assert "nothing was deleted: repeat with --delete" in answer.output
    assert left.exists()


def test_collecting_deletes_garbage_alone_and_its_empty_folders(prefix, store):
    kept = files(store)
    left = orphan(store)
    answer = CliRunner().invoke(app, ["gc", "--delete"])
    assert answer.exit_code == 0, answer.output
    assert files(store) == kept
    assert not left.parent.exists() and left.parents[1].exists()
    assert not Pause()


def test_what_is_young_is_left_alone(prefix, store):
    left = orphan(store, days_old=0.5)
    assert collect_garbage(prefix, DAY, print).n_young == 1
    assert left.exists()
    assert len(collect_garbage(prefix, timedelta(hours=11), print).files) == 1
    assert not left.exists()


def test_age_is_by_the_clock_of_the_store(prefix, store, monkeypatch):
    class Ahead(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(days=30)

    left = orphan(store, days_old=0.5)
    monkeypatch.setattr(garbage, "datetime", Ahead)
    monkeypatch.setattr(time, "time", lambda: datetime.now(UTC).timestamp() + 30 * 86400)
    assert find_garbage(prefix, DAY).files == []
    left.unlink()


@contextmanager
def frames_at(path):
    """Have a row of `Frame` refer to another object for a while."""
    table, key = Frame().full_table_name, Frame.keys(limit=1, order_by="KEY")[0]
    where = "WHERE " + " AND ".join(f"{name} = %s" for name in key)
    query, values = dj.conn().query, tuple(key.values())
    (original,) = query(f"SELECT frames FROM {table} {where}", values).fetchone()
    changed = json.dumps(json.loads(original) | {"path": path})
    query(f"UPDATE {table} SET frames = %s {where}", (changed, *values))
    try:
        yield
    finally:
        query(f"UPDATE {table} SET frames = %s {where}", (original, *values))


def test_what_gets_or_loses_its_row_meanwhile_stays(prefix, store, monkeypatch):
    """An ingest has written an object long ago, and inserts its row between the two looks."""
    left = orphan(store)
    before, look, stack = files(store), find_garbage, ExitStack()

    def look_and_let_a_row_come(*arguments):
        found = look(*arguments)
        if paths := [file.path for file in found.files if file.path.endswith(left.name)]:
            stack.enter_context(frames_at(*paths))
        return found

    monkeypatch.setattr(garbage, "find_garbage", look_and_let_a_row_come)
    with stack:
        assert collect_garbage(prefix, NOW, print).files == []
    assert files(store) == before
    left.unlink()


def test_workers_are_drained_while_objects_are_deleted(prefix, store, monkeypatch):
    """Deleting waits for a job that is at work, with a pause for the others, and then goes on."""
    orphan(store)
    at_work, seen = threading.Event(), []
    at_work.set()
    looks = iter(range(100))

    def any_job(steps, status):
        seen.append(len(Pause()))
        if next(looks) == 3:
            at_work.clear()
        return at_work.is_set()

    monkeypatch.setattr(garbage, "any_job", any_job)
    delete = garbage._delete
    monkeypatch.setattr(garbage, "_delete", lambda *a: (seen.append(at_work.is_set()), delete(*a)))
    assert len(collect_garbage(prefix, NOW, print).files) == 1
    assert seen == [1, 1, 1, 1, 1, False]
    assert not Pause()


def test_a_failure_ends_the_pause(prefix, store, monkeypatch):
    left = orphan(store)

    def fail(*arguments):
        raise ZeroDivisionError

    monkeypatch.setattr(garbage, "_delete", fail)
    Pause.insert1({"pause_reason": garbage.REASON, "paused_by": "one that was killed"})
    with pytest.raises(ZeroDivisionError):
        collect_garbage(prefix, NOW, print)
    assert not Pause()
    left.unlink()


def test_one_at_a_time(prefix):
    with only_one(prefix) as still_alone:
        with pytest.raises(StoreBusy, match="try again"):
            collect_garbage(prefix, NOW, print)
        still_alone()
        answer = CliRunner().invoke(app, ["gc", "--delete"])
        assert answer.exit_code == 1 and "somebody else" in answer.stderr
        with only_one("another_project_"):
            pass
        (thread,) = (
            dj.conn()
            .query("SELECT IS_USED_LOCK(%s)", (garbage.lock_name("store", prefix),))
            .fetchone()
        )
        dj.conn().query(f"KILL {thread}")
        with pytest.raises(Exception, match=r"Lost connection|gone away|closed"):
            still_alone()


def test_checkpoints_of_finished_networks_go(prefix, populated):
    done = TrainedModel.keys(limit=1)[0]
    under_way = done | {"seed": 424242}
    code = CodeVersion.keys(limit=1)[0]
    dj.conn().query("SET foreign_key_checks = 0")
    for key in (done, under_way):
        TrainingCheckpoint.insert1(key | code | {"piece": 0, "piece_bytes": b"state"})
    dj.conn().query("SET foreign_key_checks = 1")
    assert find_garbage(prefix, DAY).n_checkpoints == 1
    assert collect_garbage(prefix, DAY, print).n_checkpoints == 1
    assert [row["seed"] for row in TrainingCheckpoint.to_dicts()] == [424242]
    TrainingCheckpoint().delete_quick()


@pytest.mark.parametrize(
    ("path", "used"),
    [
        ("a/b.npy", True),
        ("a/folder/chunk/0", True),
        ("a/folder.manifest.json", True),
        ("a/b.npy.unfinished", False),
        ("a/folder2/0", False),
        ("a", False),
    ],
)
def test_a_folder_that_a_row_refers_to_is_used_with_all_that_is_in_it(path, used):
    assert is_referred_to(path, {"a/b.npy", "a/folder"}) is used


# --- store check


def test_a_check_reads_everything_and_names_what_is_lost(prefix, store):
    n = len(references(prefix))
    answer = CliRunner().invoke(app, ["store", "check"])
    assert answer.exit_code == 0, answer.output
    assert f"{n} of {n} objects read: none missing or damaged" in answer.output
    (path,) = [path for path in paths_in_rows(Frame, "frames") if "/session=2/" in path]
    original = (store / path).read_bytes()
    (store / path).unlink()
    try:
        answer = CliRunner().invoke(app, ["store", "check", "--table", "Frame"])
        assert answer.exit_code == 1
        assert re.search(
            r"the object of Frame \(animal_id=1, session=2, .*\) is missing", answer.output
        )
        assert "3 of 3 objects read: 1 missing or damaged" in answer.output
    finally:
        (store / path).write_bytes(original)
    answer = CliRunner().invoke(app, ["store", "check", "--sample", "4"])
    assert f"4 of {n} objects read: none" in answer.output
    answer = CliRunner().invoke(app, ["store", "check", "--table", "Scan"])
    assert answer.exit_code == 1 and "no row of 'Scan' has an object" in answer.stderr
