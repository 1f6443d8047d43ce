"""The janitor and the heartbeat, in this process: whose job is given back, what is tried again."""

import os
import time
from contextlib import closing

import datajoint as dj
import pymysql
import pytest

from pipeline import heartbeat, janitor
from pipeline.connection import driver_connection
from pipeline.heartbeat import give_back_mine, living_workers, me, tidy_up
from pipeline.janitor import DEAD_AFTER_SECONDS, FIRST_DELAY_SECONDS, MAX_DEATHS, MAX_RETRIES
from schemas.operations import RetriedJob, Worker
from schemas.responses import Frame

KEY = {"animal_id": 4711, "session": 1, "scan_idx": 1, "preprocessing_hash": "0" * 16}
OTHER = {"worker_host": "elsewhere", "worker_pid": 12}
LOST = "LostConnectionError: Server connection lost"


@pytest.fixture(autouse=True)
def clean(tables, monkeypatch):
    """No trace of an earlier test, and a server that has been up for long."""
    monkeypatch.setattr(janitor, "GRACE_SECONDS", 0)
    yield
    (Frame().jobs & KEY).delete_quick()
    RetriedJob().delete_quick()
    Worker().delete_quick()


@pytest.fixture
def queues():
    return janitor.queues()


def set_job(status, host="", pid=0, message=""):
    jobs = Frame().jobs
    jobs.insert1(
        KEY | {"status": status, "host": host, "pid": pid, "priority": 5, "error_message": message},
        replace=True,
    )


def job():
    return (Frame().jobs & KEY).fetch1()


def sign_on(key, seconds_ago=0):
    dj.conn().query(
        f"INSERT INTO {Worker().full_table_name} (worker_host, worker_pid, heartbeat) "
        "VALUES (%s, %s, UTC_TIMESTAMP - INTERVAL %s SECOND)",
        (*key.values(), seconds_ago),
    )


@pytest.mark.parametrize("seconds_ago", [0, DEAD_AFTER_SECONDS - 3])
def test_the_job_of_a_living_worker_is_left_alone(queues, seconds_ago):
    sign_on(OTHER, seconds_ago)
    set_job("reserved", "elsewhere", 12)
    assert tidy_up(queues) == 0
    assert job()["status"] == "reserved"
    assert [w["worker_pid"] for w in living_workers()] == [12]


@pytest.mark.parametrize("signed_on", [True, False])
def test_the_job_of_a_dead_worker_is_pending_again(queues, signed_on):
    if signed_on:
        sign_on(OTHER, DEAD_AFTER_SECONDS + 1)
    set_job("reserved", "elsewhere", 12)
    assert not living_workers()
    assert tidy_up(queues) == 1
    assert (job()["status"], job()["pid"], job()["reserved_time"]) == ("pending", 0, None)
    assert RetriedJob.fetch1("n_deaths", "n_retries") == (1, 0)


def test_a_worker_with_the_same_number_on_another_host_keeps_nobody_alive(queues):
    sign_on(OTHER)
    set_job("reserved", "here", 12)
    assert tidy_up(queues) == 1


def test_a_job_that_kills_its_workers_becomes_an_error(queues):
    for _ in range(MAX_DEATHS):
        set_job("reserved", "elsewhere", 12)
        assert tidy_up(queues) == 1
        assert job()["status"] == "pending"
    set_job("reserved", "elsewhere", 12)
    tidy_up(queues)
    assert job()["status"] == "error"
    assert f"as {MAX_DEATHS} before it" in job()["error_message"]
    assert tidy_up(queues) == 0  # and stays one


def test_after_a_restart_of_the_server_workers_have_time_to_come_back(queues, monkeypatch):
    monkeypatch.setattr(janitor, "GRACE_SECONDS", 10**9)
    set_job("reserved", "elsewhere", 12)
    assert tidy_up(queues) == 0
    assert job()["status"] == "reserved"


PASSING = [
    LOST,
    "OperationalError: (1213, 'Deadlock found when trying to get lock; try restarting')",
    "OperationalError: (1205, 'Lock wait timeout exceeded; try restarting transaction')",
    "OperationalError: (2003, \"Can't connect to MySQL server on 'db'\")",
    "OperationalError: (1040, 'Too many connections')",
    "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
    "ConnectionResetError: [Errno 104] Connection reset by peer",
    "EndpointConnectionError: Could not connect to the endpoint URL",
    "StoreUnavailable: cannot reach the object store s3://lab",
    "DuplicateError: Duplicate entry '1' for key 'PRIMARY'",
]
REAL = [
    "ValueError: no unit is left. LostConnectionError is only mentioned",
    "OperationalError: (1064, 'syntax')",
    "OperationalError: (12050, 'no such thing')",
    "OSError: [Errno 28] No space left on device",
    "MemoryError: ",
    "WorkerDied: here:1 was at it",
]


@pytest.mark.parametrize("message", PASSING)
def test_what_may_pass_is_tried_again(queues, message):
    set_job("error", "elsewhere", 12, message)
    assert tidy_up(queues) == 1
    assert (job()["status"], job()["error_message"]) == ("pending", "")
    assert RetriedJob.fetch1("last_failure") == message


@pytest.mark.parametrize("message", REAL)
def test_a_real_error_stays(queues, message):
    set_job("error", "elsewhere", 12, message)
    assert tidy_up(queues) == 0
    assert (job()["status"], job()["error_message"]) == ("error", message)


def test_retries_are_few_and_ever_later(queues):
    delays = []
    for _ in range(MAX_RETRIES):
        set_job("error", "elsewhere", 12, LOST)
        assert tidy_up(queues) == 1
        (delay,) = (
            dj.conn()
            .query(
                "SELECT TIMESTAMPDIFF(MICROSECOND, CURRENT_TIMESTAMP(3), scheduled_time) / 1e6 "
                f"FROM {Frame().jobs.full_table_name} WHERE animal_id = 4711"
            )
            .fetchone()
        )
        delays.append(float(delay))
    expected = [FIRST_DELAY_SECONDS * 3**n for n in range(MAX_RETRIES)]
    assert delays == pytest.approx(expected, abs=1)
    set_job("error", "elsewhere", 12, LOST)
    assert tidy_up(queues) == 0
    assert job()["status"] == "error"


def test_exceptions_and_messages_are_judged_alike():
    assert janitor.may_pass(dj.errors.LostConnectionError("Connection timed out"))
    assert janitor.may_pass(pymysql.err.OperationalError(2003, "Can't connect"))
    assert not janitor.may_pass(pymysql.err.OperationalError(1045, "Access denied"))
    assert not janitor.may_pass(ValueError("LostConnectionError"))


def test_an_interrupted_job_is_pending_at_once(queues):
    set_job("error", "elsewhere", 12, "SystemExit: SIGTERM received")
    assert tidy_up(queues) == 1
    assert job()["status"] == "pending"
    assert not RetriedJob()  # nobody failed


def test_only_one_janitor_at_a_time(queues):
    set_job("reserved", "elsewhere", 12)
    name = janitor.lock_name("janitor", Worker().full_table_name)
    with closing(driver_connection()) as other, other.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK(%s, 0)", (name,))
        assert tidy_up(queues) == 0
        assert job()["status"] == "reserved"
    assert tidy_up(queues) == 1


def test_what_is_long_dead_is_forgotten(queues):
    sign_on(OTHER, 3 * 86400)
    tidy_up(queues)
    assert not Worker()


# --- the heartbeat


def test_own_jobs_are_given_back_those_of_others_are_not(queues):
    host, pid = me().values()
    set_job("reserved", host, pid + 1)
    assert give_back_mine(queues) == 0
    set_job("reserved", host, pid)
    assert give_back_mine(queues) == 1
    assert job()["status"] == "pending"


def test_a_worker_does_not_take_a_dead_one_with_its_number_for_itself(queues):
    # a container that is started again has the same host name and the same process id
    sign_on(me())
    set_job("reserved", *me().values())
    with heartbeat.heartbeat(queues):
        assert job()["status"] == "pending"
        assert len(Worker & me()) == 1
    assert not Worker & me()


def test_the_heart_beats_while_the_process_is_busy(queues, monkeypatch):
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.05)
    with heartbeat.heartbeat(queues, "gpu", "a fine one") as pulse:
        pulse.at_work_on, pulse.n_done = "MEI", 3
        dj.conn().query(f"UPDATE {Worker().full_table_name} SET heartbeat = '2020-01-01 00:00:00'")
        # the janitor of the same thread works as well
        set_job("reserved", "elsewhere", 12)
        end = time.monotonic() + 10
        while time.monotonic() < end and not living_workers():
            time.sleep(0.02)
        (row,) = living_workers()
        assert (row["worker_pid"], row["serves"]) == (os.getpid(), "gpu")
        assert (row["worker_device"], row["at_work_on"], row["n_done"]) == ("a fine one", "MEI", 3)
        while time.monotonic() < end and job()["status"] != "pending":
            time.sleep(0.02)
        assert job()["status"] == "pending"
    assert not Worker & me()
