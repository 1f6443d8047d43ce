"""What a worker does first, and when it goes: on two small tables of their own, in this process."""

import os
import signal
import threading
import time

import datajoint as dj
import pytest

from pipeline import agenda, foreman, janitor, work
from pipeline.agenda import Agenda
from pipeline.foreman import BadPriority, BadReason
from pipeline.queue import refill
from pipeline.work import NoGPU, Shift, served_steps
from schemas.graph import STEPS, Step
from schemas.model import TrainedModel
from schemas.operations import Pause, RetriedJob, Worker

URGENT, LATER = "a" * 16, "b" * 16

schema = dj.Schema()


@schema
class Wish(dj.Manual):
    definition = """
    training_set_hash : char(16)
    n : int32
    """


@schema
class Parent(dj.Computed):
    definition = """
    -> Wish
    """

    def make(self, key):
        MADE.append(("Parent", key["training_set_hash"][0], key["n"]))
        if key["n"] in HOOKS:
            HOOKS.pop(key["n"])()
        self.insert1(key)


@schema
class Child(dj.Computed):
    definition = """
    -> Parent
    """

    def make(self, key):
        MADE.append(("Child", key["training_set_hash"][0], key["n"]))
        self.insert1(key)


MADE = []
HOOKS = {}


@pytest.fixture(scope="module")
def steps(tables):
    dj.conn().query("CREATE DATABASE test_shift")
    schema.activate("test_shift", create_schema=True, create_tables=True)
    steps = (
        Step(Parent, lambda: Wish.proj(), gpu=True),
        Step(Child, lambda: Wish.proj(), (Parent,)),
    )
    for step in steps:
        step.instance.jobs.declare()
    yield steps
    dj.conn().query("DROP DATABASE test_shift")


@pytest.fixture(autouse=True)
def only_these(steps, monkeypatch):
    """Make the two tables the whole graph."""
    for module in (agenda, work, janitor, foreman):
        if hasattr(module, "STEPS"):
            monkeypatch.setattr(module, "STEPS", steps)
    monkeypatch.setattr(work, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(agenda, "BATCH_SECONDS", 0.0)  # one job at a time
    monkeypatch.setattr(agenda, "REFILL_SECONDS", 0.0)
    monkeypatch.setattr(agenda, "REFILL_SHARE", float("inf"))
    MADE.clear()
    HOOKS.clear()
    yield
    for step in steps:
        step.instance.jobs.delete_quick()
    for table in (Child(), Parent(), Wish(), Pause(), RetriedJob()):
        table.delete_quick()


@pytest.fixture
def priorities(monkeypatch):
    found = {}
    monkeypatch.setattr(agenda, "training_set_priorities", lambda: found)
    return found


def wish(training_set, *numbers):
    Wish.insert({"training_set_hash": training_set, "n": n} for n in numbers)


def jobs(table):
    return {k: v for k, v in table().jobs.progress().items() if v and k != "total"}


def test_parents_come_before_children_and_all_is_done():
    wish(LATER, 1, 2, 3)
    assert work.work(Shift(1)) == (6, 0)
    assert [made[0] for made in MADE] == ["Parent"] * 3 + ["Child"] * 3
    assert jobs(Child) == {"success": 3}
    assert not Worker()


def test_the_urgent_goes_first_through_the_whole_graph(priorities):
    wish(LATER, 1, 2)
    wish(URGENT, 1, 2)
    priorities[URGENT] = 1
    work.work(Shift(1))
    assert [made[:2] for made in MADE] == [
        ("Parent", "a"),
        ("Parent", "a"),
        ("Child", "a"),
        ("Child", "a"),
        ("Parent", "b"),
        ("Parent", "b"),
        ("Child", "b"),
        ("Child", "b"),
    ]


def test_what_becomes_urgent_meanwhile_goes_before_the_rest(priorities):
    wish(LATER, *range(5))

    def hurry():
        priorities[URGENT] = 0
        wish(URGENT, 9)

    for n in range(5):
        HOOKS[n] = hurry if n == MADE_FIRST else lambda: None
    work.work(Shift(1))
    when = MADE.index(("Parent", "b", MADE_FIRST))
    assert MADE[when + 1 : when + 3] == [("Parent", "a", 9), ("Child", "a", 9)]


MADE_FIRST = 3


def test_a_budget_of_jobs_is_kept(monkeypatch):
    monkeypatch.setattr(agenda, "BATCH_SECONDS", 60.0)  # many at a time, if it were not for it
    wish(LATER, *range(40))
    assert work.work(Shift(1, max_jobs=25)) == (25, 0)
    assert len(Parent()) == 25
    assert jobs(Parent) == {"success": 25, "pending": 15}


def test_a_budget_of_time_is_kept():
    wish(LATER, *range(3))
    for n in range(3):
        HOOKS[n] = lambda: time.sleep(0.4)
    begin = time.monotonic()
    assert work.work(Shift(1, forever=True, max_seconds=0.2))[0] == 1
    assert time.monotonic() - begin < 5
    assert jobs(Parent) == {"success": 1, "pending": 2}  # nothing reserved


def test_with_nothing_to_do_it_waits_for_the_end_of_its_time():
    begin = time.monotonic()
    assert work.work(Shift(1, forever=True, max_seconds=1.0)) == (0, 0)
    assert 1.0 <= time.monotonic() - begin < 3


@pytest.mark.parametrize(("serves", "done"), [("cpu", 0), ("all", 4)])
def test_tables_for_a_gpu_are_left_to_others(serves, done):
    wish(LATER, 1, 2)
    assert work.work(Shift(1, serves=serves)) == (done, 0)
    if serves == "cpu":
        work.work(Shift(1, max_jobs=2))
        assert work.work(Shift(1, serves="cpu")) == (2, 0)
        assert {made[0] for made in MADE[2:]} == {"Child"}


def test_without_a_gpu_nobody_serves_one(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(NoGPU, match="leave out --serves gpu"):
        work.work(Shift(1, serves="gpu"))


def test_trainings_and_images_are_for_the_gpu():
    names = {step.table.__name__ for step in STEPS if step.gpu}
    assert {"TrainedModel", "MEI"} < names
    assert len(STEPS) > len(names) > 4


def test_each_table_is_served_by_one_kind(monkeypatch):
    monkeypatch.setattr(work, "STEPS", STEPS)
    gpu, cpu = served_steps("gpu"), served_steps("cpu")
    assert TrainedModel in [step.table for step in gpu]
    assert not {s.table for s in gpu} & {s.table for s in cpu}
    assert len(gpu) + len(cpu) == len(served_steps("all"))


def test_during_a_pause_nothing_is_begun():
    wish(LATER, 1, 2)
    foreman.pause("a test")
    foreman.pause("a test")  # twice is once
    assert work.work(Shift(1, max_seconds=0.5)) == (0, 0)
    assert Pause.fetch1("pause_reason") == "a test"
    assert foreman.resume() == 1
    assert work.work(Shift(1)) == (4, 0)


@pytest.mark.parametrize("reason", ["", "x" * 65])
def test_a_pause_has_a_reason(reason):
    with pytest.raises(BadReason, match="1 to 64 characters"):
        foreman.pause(reason)
    assert not Pause()


def test_priorities_are_of_training_sets_that_exist():
    with pytest.raises(BadPriority, match="no training set 'nonsense'"):
        foreman.prioritise("nonsense", 1)
    with pytest.raises(BadPriority, match="0 \\(first\\) to 9"):
        foreman.prioritise(URGENT, 10)


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_asked_to_stop_gives_back_its_job(asked):
    wish(LATER, 7)
    HOOKS[7] = lambda: os.kill(os.getpid(), asked) or time.sleep(10)
    with pytest.raises(SystemExit):
        work.work(Shift(1, forever=True))
    assert jobs(Parent) == {"pending": 1}
    assert not Parent() and not Worker()


def test_a_worker_may_be_asked_to_stop_while_the_database_answers(monkeypatch):
    def wait_for_an_answer():
        asked = (threading.get_ident(), signal.SIGTERM)
        threading.Timer(0.3, signal.pthread_kill, asked).start()
        dj.conn().query("SELECT SLEEP(3)")

    monkeypatch.setattr(work, "Pause", wait_for_an_answer)
    with pytest.raises(SystemExit):
        work.work(Shift(1, forever=True))
    assert not Worker()


def kill_own_connection():
    """As an administrator, a restart or a proxy would."""
    from pipeline.connection import driver_connection

    number = dj.conn().query("SELECT CONNECTION_ID()").fetchone()[0]
    with driver_connection() as other, other.cursor() as cursor:
        cursor.execute(f"KILL CONNECTION {number}")


def test_a_job_whose_connection_is_lost_is_done_in_the_end(monkeypatch):
    monkeypatch.setattr(janitor, "FIRST_DELAY_SECONDS", 0.1)
    wish(LATER, 5)
    HOOKS[5] = kill_own_connection
    done, _ = work.work(Shift(1))
    assert len(Parent()) == len(Child()) == 1
    assert done >= 2
    assert jobs(Parent) == jobs(Child) == {"success": 1}


def test_a_job_reserved_just_when_the_connection_broke_is_done():
    wish(LATER, 1, 2)
    refill(Parent())
    # The server has done the UPDATE; sent again, it finds nothing to reserve.
    assert Parent().jobs.reserve({"training_set_hash": LATER, "n": 1})
    assert work.work(Shift(1, max_seconds=20)) == (4, 0)
    assert jobs(Parent) == {"success": 2}


def test_a_connection_lost_between_jobs_is_made_again():
    wish(LATER, 1)
    kill_own_connection()
    assert work.work(Shift(1)) == (2, 0)


def test_what_fails_for_good_stays_and_does_not_stop_the_others():
    wish(LATER, 1, 2, 3)

    def fail():
        raise ValueError("no such luck")

    HOOKS[2] = fail
    assert work.work(Shift(1)) == (4, 1)
    (error,) = Parent().jobs.errors.to_dicts()
    assert error["error_message"] == "ValueError: no such luck"
    assert "in fail" in error["error_stack"]
    assert jobs(Parent) == {"success": 2, "error": 1}


def test_two_agendas_share_the_work():
    wish(LATER, *range(10))
    first, second = Agenda(work.STEPS), Agenda(work.STEPS)
    while (due := first.next()) and (other := second.next()):
        first.do(due, 1)
        second.do(other, 1)
    assert sorted(made[2] for made in MADE if made[0] == "Parent") == list(range(10))
    assert first.is_empty() and second.is_empty()
    assert threading.active_count() < 10
