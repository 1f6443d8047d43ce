"""Workers as processes of their own: two at once, killed ones, and ones that may not create.

They work under a prefix of their own, so that no other test's plans are in their way; this process
looks at them with plain SQL.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import datajoint as dj
import pytest
from miniature import STUDY

from pipeline import heartbeat
from pipeline.settings import Settings
from schemas.graph import STEPS
from schemas.operations import Worker

PREFIX = "crew_"
SEEDS = (1, 2, 3)
N_BLOCKS = 3


def toml(value):
    """Write the values of a study as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return repr(value)


def study_file(folder, **changes):
    """Write the study of the miniature, with some of its parts replaced."""
    path = folder / "study.toml"
    path.write_text("\n".join(f"{k} = {toml(v)}" for k, v in (STUDY | changes).items()))
    return path


def environment(**more):
    return os.environ | {"INCEPTIONLOOP_PREFIX": PREFIX, "OMP_NUM_THREADS": "1"} | more


def command(*arguments, **more):
    """Run a command of the project to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *map(str, arguments)],
        env=environment(**more),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def worker(**more):
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "work", "--threads", "1", "--quiet"],
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def query(sql):
    return dj.conn().query(sql).fetchall()


def sql_name(table):
    """Return the database and name of a table under the workers' prefix."""
    return table().full_table_name.replace(f"`{Settings().prefix}", f"`{PREFIX}")


def n_rows(table):
    return query(f"SELECT COUNT(*) FROM {sql_name(table)}")[0][0]


def jobs(table):
    """Return the number of jobs of a table by status."""
    schema = sql_name(table).partition(".")[0]
    name = table().jobs.table_name
    return dict(query(f"SELECT status, COUNT(*) FROM {schema}.`{name}` GROUP BY status"))


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def plan(tables, tmp_path_factory):
    """A recording and its study: three seeds, three blocks of MEIs."""
    study = study_file(
        tmp_path_factory.mktemp("study"),
        models={"cnn": STUDY["models"]["cnn"] | {"seeds": SEEDS}},
        selection={"only_reliable": False, "max_units": 6, "block_size": 6 // N_BLOCKS},
    )
    command("init")
    virtual = "--n-simple 4 --n-complex 4 --n-undriven 2 --n-train 150 --n-test 12 --repeats 5"
    command("ingest", "virtual", *virtual.split(), "--study", study)
    yield study
    query("SET foreign_key_checks = 0")
    for (name,) in query(f"SHOW DATABASES LIKE '{PREFIX}%%'"):
        query(f"DROP DATABASE `{name}`")
    query("SET foreign_key_checks = 1")


@pytest.fixture(scope="module")
def servant(tables) -> Iterator[dict[str, str]]:
    """The address of the server for a user who may change rows, but create nothing."""
    info = dj.conn().conn_info
    who = "'servant'@'%%'"
    dj.conn().query(f"CREATE USER {who} IDENTIFIED BY 'work'")
    rights = "SELECT, INSERT, UPDATE, DELETE"
    dj.conn().query(f"GRANT {rights} ON `{PREFIX.replace('_', chr(92) + '_')}%%`.* TO {who}")
    store = dj.config.stores[dj.config.stores["default"]]["location"]
    yield {
        "DJ_HOST": info["host"],
        "DJ_PORT": str(info["port"]),
        "DJ_USER": "servant",
        "DJ_PASS": "work",
        "INCEPTIONLOOP_STORE": store,
    }
    dj.conn().query(f"DROP USER {who}")


@pytest.fixture(scope="module")
def after_two_workers(plan, servant):
    """Two workers, started together, have ended; one of them has the least rights."""
    together = [worker(), worker(**servant)]
    output = [process.communicate(timeout=120)[0] for process in together]
    assert [process.returncode for process in together] == [0, 0], "\n".join(output)
    return output


def test_two_workers_make_everything_once(after_two_workers):
    made = {step.table.__name__: n_rows(step.table) for step in STEPS}
    assert made == {
        "Frame": 1,
        "InputResponse": 1,
        "ConditionTier": 1,
        "TargetDataset": 1,
        "Oracle": 1,
        "OracleRankedUnit": 1,
        "TrainedModel": len(SEEDS),
        "Ensemble": 1,
        "ModelGroup": 1,
        "UnitSelection": 1,
        "MEI": N_BLOCKS,
        "TightMEIMask": N_BLOCKS,
        "ProximityCellMatch": 0,
        "BestProximityCellMatch": 0,
        "ConfusionMatrix": 0,
        "DiagonalTest": 0,
    }
    # one job each, ended well; none failed, none left reserved or pending
    for step in STEPS:
        n = made[step.table.__name__]
        assert jobs(step.table) == ({"success": n} if n else {}), step.table.__name__


def test_both_workers_worked_and_signed_off(after_two_workers):
    for output in after_two_workers:
        assert " done" in output
        assert "Traceback" not in output
    assert query(f"SELECT * FROM `{PREFIX}operations`.`worker`") == ()


def test_a_worker_without_work_ends(after_two_workers):
    started = time.monotonic()
    assert "failed" not in command("work", "--threads", "1", "--quiet")
    assert time.monotonic() - started < 30


@contextmanager
def killed_while_training(signal_number):
    """A worker that got a signal while a network trained; yields its process id."""
    from schemas.model import TrainedModel

    victim = worker()
    try:
        wait_until(lambda: jobs(TrainedModel).get("reserved"))
        victim.send_signal(signal_number)
        victim.communicate(timeout=30)
    finally:
        victim.kill()
    assert victim.returncode != 0
    yield victim.pid


def slow(tmp_path, seed):
    """Register a training of a few seconds."""
    study = study_file(
        tmp_path,
        training={"max_epoch": 40, "patience": 40, "schedule": (0.001,)},
        models={"cnn": STUDY["models"]["cnn"] | {"seeds": (seed,), "meis": False}},
    )
    command("register", study, "--scan", "1-1-1")


def test_the_job_of_a_killed_worker_is_done_by_another(after_two_workers, tmp_path):
    from schemas.model import Ensemble, TrainedModel

    slow(tmp_path, seed=11)
    with killed_while_training(signal.SIGKILL) as pid:
        assert jobs(TrainedModel)["reserved"] == 1
        ((dead,),) = query(f"SELECT worker_pid FROM `{PREFIX}operations`.`worker`")
        assert dead == pid
        # an hour passes: the heartbeat is as old as that
        query(
            f"UPDATE `{PREFIX}operations`.`worker` "
            "SET heartbeat = CURRENT_TIMESTAMP - INTERVAL 1 HOUR"
        )
        command("work", "--threads", "1", "--quiet")
    assert jobs(TrainedModel) == {"success": len(SEEDS) + 1}
    assert jobs(Ensemble) == {"success": 2}
    assert n_rows(TrainedModel) == len(SEEDS) + 1


def test_a_worker_that_is_asked_to_stop_gives_its_job_back(after_two_workers, tmp_path):
    from schemas.model import TrainedModel

    before = n_rows(TrainedModel)
    slow(tmp_path, seed=12)
    with killed_while_training(signal.SIGTERM):
        assert query(f"SELECT * FROM `{PREFIX}operations`.`worker` WHERE heartbeat > now()") == ()
        command("work", "--threads", "1", "--quiet")
    assert jobs(TrainedModel) == {"success": before + 1}
    assert n_rows(TrainedModel) == before + 1


# --- whose job it is, in this process


@pytest.fixture
def reserved_job(populated):
    """A job of `Frame` that is reserved by this process, as far as its row says."""
    from schemas.dataset import Frame

    queue = Frame().jobs
    key = {"animal_id": 4711, "session": 1, "scan_idx": 1, "preprocessing_hash": "0" * 16}
    queue.insert1(
        key | {"status": "reserved", "host": heartbeat._me()["worker_host"], "pid": os.getpid()}
    )
    yield queue & key
    (queue & key).delete_quick()


def test_the_job_of_a_living_worker_is_left_alone(reserved_job):
    Worker.insert1(heartbeat._me())
    assert heartbeat.return_jobs_of_the_dead() == 0
    assert reserved_job
    assert heartbeat.reserved_by_living() == 1
    (Worker & heartbeat._me()).delete_quick()


def test_a_heartbeat_that_is_too_old_is_none(reserved_job):
    Worker.insert1(heartbeat._me())
    old = f"CURRENT_TIMESTAMP - INTERVAL {heartbeat.DEAD_AFTER_SECONDS + 1} SECOND"
    dj.conn().query(f"UPDATE {Worker().full_table_name} SET heartbeat = {old}")
    assert heartbeat.reserved_by_living() == 0
    assert heartbeat.return_jobs_of_the_dead() == 1
    assert not reserved_job
    (Worker & heartbeat._me()).delete_quick()


def test_a_worker_does_not_take_a_dead_one_with_its_number_for_itself(reserved_job):
    # a container that is started again has the same host name and the same process id
    Worker.insert1(heartbeat._me())
    with heartbeat.heartbeat():
        assert not reserved_job
        assert len(Worker & heartbeat._me()) == 1
    assert not Worker & heartbeat._me()


def test_the_heart_beats_while_the_process_is_busy(tables, monkeypatch):
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.05)
    with heartbeat.heartbeat():
        dj.conn().query(f"UPDATE {Worker().full_table_name} SET heartbeat = '2020-01-01 00:00:00'")
        assert not heartbeat.living_workers() & heartbeat._me()
        wait_until(lambda: len(heartbeat.living_workers() & heartbeat._me()) == 1, seconds=10)
    assert not Worker & heartbeat._me()
