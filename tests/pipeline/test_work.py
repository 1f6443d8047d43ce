"""Workers as processes of their own: killed ones, two at once, and one that may not create.

They work under a prefix of their own, so that no other test's plans are in their way; this process
looks at them with plain SQL.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import datajoint as dj
import pytest
from miniature import STUDY, write_study

from pipeline.accounts import Role, open_accounts
from pipeline.janitor import DEAD_AFTER_SECONDS
from pipeline.settings import Settings
from schemas.graph import STEPS
from schemas.model import TrainedModel

PREFIX = "crew_"
SEEDS = (1, 2, 3, 4)
N_BLOCKS = 3


def environment(**more):
    return os.environ | {"INCEPTIONLOOP_PREFIX": PREFIX, "OMP_NUM_THREADS": "1"} | more


def worker(*options, **more):
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "work", "--threads", "1", "--quiet", *options],
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


def reserved_by(table):
    """Return the processes that have reserved a job of a table."""
    schema, name = sql_name(table).partition(".")[0], table().jobs.table_name
    rows = query(f"SELECT pid FROM {schema}.`{name}` WHERE status = 'reserved'")
    return [pid for (pid,) in rows]


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


SETUP = """
import sys
from pipeline.cli import app
app(["init"], standalone_mode=False)
app(["ingest", "virtual", *sys.argv[1:]], standalone_mode=False)
"""
RECORDING = "--n-simple 4 --n-complex 4 --n-undriven 2 --n-train 150 --n-test 12 --repeats 5"


@pytest.fixture(scope="module")
def plan(tables, tmp_path_factory):
    """A recording and its study, as commands make them: three seeds, three blocks of MEIs."""
    file = tmp_path_factory.mktemp("study") / "study.toml"
    study = STUDY | {
        # slow enough to be killed in
        "training": {"max_epoch": 15, "patience": 15, "schedule": (0.001,)},
        "models": {"cnn": STUDY["models"]["cnn"] | {"seeds": SEEDS}},
        "selection": {"only_reliable": False, "max_units": 6, "block_size": 6 // N_BLOCKS},
    }
    write_study(file, study)
    arguments = [sys.executable, "-c", SETUP, *RECORDING.split(), "--study", str(file)]
    done = subprocess.run(arguments, env=environment(), check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    yield
    query("SET foreign_key_checks = 0")
    for (name,) in query(f"SHOW DATABASES LIKE '{PREFIX}%%'"):
        query(f"DROP DATABASE `{name}`")
    query("SET foreign_key_checks = 1")


@pytest.fixture(scope="module")
def servant(tables, tmp_path_factory) -> Iterator[dict[str, str]]:
    """The address of the server for an account that may change rows, but create nothing."""
    info = dj.conn().conn_info
    password = tmp_path_factory.mktemp("servant") / "password"
    with open_accounts(Settings(prefix=PREFIX)) as accounts:
        accounts.add("servant", Role.WORKER, password_file=password)
        yield {
            "DJ_HOST": info["host"],
            "DJ_PORT": str(info["port"]),
            "DJ_USER": "servant",
            "DJ_PASS_FILE": str(password),
            "INCEPTIONLOOP_STORE": dj.config.stores[dj.config.stores["default"]]["location"],
        }
        accounts.remove("servant")


@dataclass(frozen=True)
class Stopped:
    """What a worker left behind that got a signal while a network trained."""

    pid: int
    returncode: int
    jobs: dict[str, int]
    reserved_by: list[int]
    signed_on: list[int]


def stopped_while_training(signal_number):
    victim = worker()
    try:
        wait_until(lambda: victim.pid in reserved_by(TrainedModel))
        time.sleep(0.2)  # into the training
        victim.send_signal(signal_number)
        victim.communicate(timeout=60)
    finally:
        victim.kill()
    left = (jobs(TrainedModel), reserved_by(TrainedModel), signed_on())
    return Stopped(victim.pid, victim.returncode, *left)


def signed_on():
    return [pid for (pid,) in query(f"SELECT worker_pid FROM `{PREFIX}operations`.`worker`")]


@pytest.fixture(scope="module")
def killed(plan):
    """The first worker is killed while it trains, and a minute passes."""
    observed = stopped_while_training(signal.SIGKILL)
    query(
        f"UPDATE `{PREFIX}operations`.`worker` SET heartbeat = UTC_TIMESTAMP "
        f"- INTERVAL {DEAD_AFTER_SECONDS + 1} SECOND"
    )
    return observed


@pytest.fixture(scope="module")
def terminated(killed):
    """The second is asked to stop while it trains."""
    return stopped_while_training(signal.SIGTERM)


@pytest.fixture(scope="module")
def finished(terminated, servant):
    """Two more, started together, do what is left; one of them has the least rights."""
    together = [worker("--json-logs"), worker(**servant)]
    output = [process.communicate(timeout=300)[0] for process in together]
    assert [process.returncode for process in together] == [0, 0], "\n".join(output)
    return output


def test_a_killed_worker_leaves_its_job_reserved(killed):
    assert killed.returncode == -signal.SIGKILL
    assert killed.reserved_by == [killed.pid]
    assert "error" not in killed.jobs
    assert killed.signed_on == [killed.pid]


def test_a_worker_that_is_asked_to_stop_signs_off(killed, terminated):
    assert terminated.returncode != 0
    # of the two, only the dead one did not
    assert terminated.signed_on == [killed.pid]
    # and its job was given back
    assert terminated.pid not in terminated.reserved_by
    assert "error" not in terminated.jobs


def test_two_workers_make_everything_once_also_what_others_left(finished):
    made = {step.table.__name__: n_rows(step.table) for step in STEPS}
    assert {name: n for name, n in made.items() if n} == {
        "Frame": 1,
        "InputResponse": 1,
        "ConditionTier": 1,
        "TargetDataset": 1,
        "Oracle": 1,
        "OracleRankedUnit": 1,
        "UnitStatistics": 1,
        "TrainedModel": len(SEEDS),
        "UnitReadout": len(SEEDS),
        "Ensemble": 1,
        "ModelGroup": 1,
        "UnitSelection": 1,
        "MEI": N_BLOCKS,
        "MEIMask": N_BLOCKS,
        "DiverseMEI": N_BLOCKS,
        "SurroundMEI": N_BLOCKS,
        "BestGabor": 1,
        "OptimalGabor": N_BLOCKS,
        "GradientField": N_BLOCKS,
        "RegressionField": 1,
        "BestNaturalImage": N_BLOCKS,
        "ImageComparison": N_BLOCKS,
        "ProcessedMonitorCalibration": 1,
        "ClosestCalibration": 1,
    }
    # one job each, ended well; none failed, none left reserved or pending
    for step in STEPS:
        n = made[step.table.__name__]
        assert jobs(step.table) == ({"success": n} if n else {}), step.table.__name__


def test_both_workers_worked_and_signed_off(killed, finished):
    for output in finished:
        assert " done" in output
        assert "Traceback" not in output
    assert signed_on() == [killed.pid]
