"""Queues of jobs: as many statements for a thousand as for ten, and every job once."""

import datajoint as dj
import pymysql
import pytest

from pipeline import queue
from pipeline.queue import do_due_jobs, refill

SILENT = 1000

schema = dj.Schema()


@schema
class Number(dj.Manual):
    definition = """
    n : int32
    """


@schema
class Square(dj.Computed):
    definition = """
    -> Number
    ---
    square : int64
    """

    def make(self, key):
        if key["n"] < 0:
            raise ValueError("no root of a negative number was asked for")
        if key["n"] != SILENT:
            self.insert1(key | {"square": key["n"] ** 2})


@pytest.fixture(scope="module")
def squares(database):
    dj.conn().query("CREATE DATABASE test_queue")
    schema.activate("test_queue", create_schema=True, create_tables=True)
    Square().jobs.declare()
    yield Square()
    dj.conn().query("DROP DATABASE test_queue")


@pytest.fixture(autouse=True)
def empty(squares):
    yield
    squares.jobs.delete_quick()
    squares.delete_quick()
    Number().delete_quick()


@pytest.fixture
def statements(monkeypatch):
    """The INSERTs that are sent."""
    sent, query = [], dj.Connection.query

    def watched(self, text, *arguments, **options):
        if text.lstrip().upper().startswith("INSERT"):
            sent.append(text)
        return query(self, text, *arguments, **options)

    monkeypatch.setattr(dj.Connection, "query", watched)
    return sent


def work_off(table):
    """Do all that is due; return the keys done, and the messages of those that failed."""
    done = []
    while some := do_due_jobs(table):
        done += some
    return [j.key["n"] for j in done if not j.error], {j.key["n"]: j.error for j in done if j.error}


def numbers(*values):
    Number.insert({"n": n} for n in values)


def test_any_number_of_jobs_takes_a_few_statements(squares, statements):
    numbers(*range(2500))
    statements.clear()
    assert refill(squares) == 2500
    assert len(statements) == 3
    assert squares.jobs.progress()["pending"] == 2500
    assert refill(squares) == 0 and len(statements) == 3


def test_the_queue_is_worked_off_once_and_failures_stay(squares):
    numbers(*range(40), -1, -2)
    refill(squares)
    done, errors = work_off(squares)
    assert sorted(done) == list(range(40))
    assert sorted(errors) == [-2, -1]
    assert all("no root of a negative number" in message for message in errors.values())
    rows = squares.to_dicts(order_by="n")
    assert [row["square"] for row in rows] == [n**2 for n in range(40)]
    assert squares.jobs.progress() | {"total": 0} == {
        **dict.fromkeys(("pending", "reserved", "ignore", "total"), 0),
        "success": 40,
        "error": 2,
    }
    refill(squares)
    assert work_off(squares) == ([], {})  # errors wait until someone asks for them


def test_what_others_have_reserved_is_left_alone(squares):
    numbers(*range(5))
    refill(squares)
    squares.jobs.reserve({"n": 3})
    assert sorted(work_off(squares)[0]) == [0, 1, 2, 4]
    assert squares.jobs.reserved.keys() == [{"n": 3}]


def test_a_job_that_vanished_is_neither_done_nor_waited_for(squares):
    numbers(1, 2)
    refill(squares)
    (Number & {"n": 2}).delete_quick()
    assert work_off(squares) == ([1], {})
    refill(squares)
    assert not squares.jobs.pending


def test_a_deleted_row_is_made_again(squares):
    numbers(7)
    refill(squares)
    work_off(squares)
    squares.delete_quick()
    refill(squares)
    assert work_off(squares) == ([7], {})


def test_only_one_worker_fills_at_a_time(squares, monkeypatch):
    numbers(1)
    lock = queue.lock_name("queue", squares.jobs.full_table_name)
    info = dj.conn().conn_info
    with (
        pymysql.connect(
            host=info["host"], port=info["port"], user=info["user"], password=info["passwd"]
        ) as other,
        other.cursor() as cursor,
    ):
        cursor.execute("SELECT GET_LOCK(%s, 0)", (lock,))
        assert cursor.fetchone() == (1,)
        # who waits in vain fills all the same
        monkeypatch.setattr(queue, "LOCK_SECONDS", 1)
        assert refill(squares) == 1
        cursor.execute("SELECT IS_USED_LOCK(%s) = CONNECTION_ID()", (lock,))
        assert cursor.fetchone() == (1,)
    refill(squares)
    assert dj.conn().query("SELECT IS_FREE_LOCK(%s)", (lock,)).fetchone() == (1,)


def test_a_make_that_inserts_nothing_ends_as_an_error(squares):
    numbers(SILENT, 3)
    refill(squares)
    done, errors = work_off(squares)
    assert done == [3] and list(errors) == [SILENT]
    assert "make inserted nothing" in errors[SILENT]
    refill(squares)
    assert squares.jobs.errors.keys() == [{"n": SILENT}]
    assert work_off(squares) == ([], {})  # it does not come back for ever


def test_only_the_jobs_of_a_priority_and_only_so_many_are_done(squares):
    numbers(*range(6))
    refill(squares)
    squares.jobs.update1({"n": 4, "priority": 1})
    assert [job.key for job in do_due_jobs(squares, 5, priority=1)] == [{"n": 4}]
    assert do_due_jobs(squares, 5, priority=1) == []
    done = do_due_jobs(squares, 2)
    assert len(done) == 2
    assert all(job.seconds >= 0 and not job.error for job in done)
    assert squares.jobs.progress()["pending"] == 3
