"""What servers and hosts do to workers in months of work; each with processes of their own."""

import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress

import pymysql
import pytest
from private_project import PREFIX, Command, Project, wait_until
from pymysql.cursors import Cursor

from pipeline.server import USER

TRAINED = f"`{PREFIX}model`.__trained_model"
QUEUE = f"`{PREFIX}model`.`~~trained_model`"
CONFIG = f"`{PREFIX}model_config`.train_config"


@pytest.fixture(scope="module")
def project(undisturbed) -> Iterator[Project]:
    """Everything is computed, and the server runs."""
    with undisturbed.copy("faulty") as project:
        yield project


@pytest.fixture(scope="module")
def survivor(project) -> Command:
    """The worker that lives through all of it."""
    worker = project.work()
    project.wait_for(worker)
    return worker


@pytest.fixture
def worker(project, survivor) -> Iterator[Command]:
    """The survivor, with no job left and nothing said of retries."""
    project.forget_retries()
    yield survivor
    wait_until(lambda: not project.unfinished())
    assert survivor.running and "Traceback" not in survivor.output


@contextmanager
def setting(project: Project, name: str, value: int | str) -> Iterator[None]:
    """Change a setting of the server, for connections to come."""
    ((before,),) = project.query(f"SELECT @@GLOBAL.{name}")
    project.query(f"SET GLOBAL {name} = %s", value)
    try:
        yield
    finally:
        project.query(f"SET GLOBAL {name} = %s", before)


def kill_connections(person: Cursor, but: Collection[int] = ()) -> None:
    """Kill the connections of workers; their new ones get the settings as they are now."""
    person.execute(
        "SELECT id FROM information_schema.processlist WHERE user = %s AND id != CONNECTION_ID()",
        (USER,),
    )
    for (number,) in person.fetchall():
        if number not in but:
            with suppress(pymysql.err.OperationalError):  # ended meanwhile
                person.execute(f"KILL CONNECTION {number}")


# --- locks


@contextmanager
def locked(project: Project, *tables: str) -> Iterator[None]:
    """Lock tables, as a backup or a person does."""
    with project.session() as person:
        person.execute("LOCK TABLES " + ", ".join(f"{table} WRITE" for table in tables))
        yield
        person.execute("UNLOCK TABLES")


@pytest.mark.parametrize(
    "seconds", [4, pytest.param(60, marks=pytest.mark.slow)], ids=["seconds", "a_minute"]
)
@pytest.mark.parametrize("patience", [1, 1000])
def test_locked_tables_are_waited_for(project, worker, seconds, patience):
    said = len(worker.output)
    with setting(project, "lock_wait_timeout", patience), project.session() as person:
        kill_connections(person)
        seed = project.add_plan(max_epoch=40)
        wait_until(project.is_training)
        with locked(project, TRAINED, QUEUE, CONFIG):
            time.sleep(seconds)
        wait_until(lambda: project.is_done(seed))
    assert ("Lock wait timeout" in worker.output[said:]) == (patience < seconds)


def test_a_deadlock_is_tried_again(project, worker):
    parents = ("model_config`.`#seed`", "model_config`.model_config", "dataset`.training_set")
    with project.session() as person:
        # having changed more, the person is not the one whom the server lets fail
        person.execute("BEGIN")
        person.execute(f"DELETE FROM `{PREFIX}responses`.__input_response__input")
        with locked(project, QUEUE):
            seed = project.add_plan()
            person.execute(f"SELECT * FROM {CONFIG} FOR UPDATE")
        wait_until(lambda: waits_for_a_lock(project))
        for table in parents:
            person.execute(f"SELECT * FROM `{PREFIX}{table} FOR UPDATE")
        person.execute("ROLLBACK")
    wait_until(lambda: project.is_done(seed))
    assert "Deadlock found" in worker.output
    assert project.retried() == [("TrainedModel", 1, 0)]


def waits_for_a_lock(project: Project) -> bool:
    waiting = "SELECT 1 FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
    return bool(project.query(waiting))


# --- connections


def test_connections_that_are_killed_all_the_time_only_delay_work(project, worker):
    seed = project.add_plan(max_epoch=60)
    wait_until(project.is_training)
    with project.session() as person:
        for _ in range(30):
            kill_connections(person)
            time.sleep(0.1)
    wait_until(lambda: project.is_done(seed))


def test_connections_that_end_while_a_network_trains_are_opened_again(project, worker):
    with setting(project, "wait_timeout", 1), project.session() as person:
        kill_connections(person)
        seed = project.add_plan(max_epoch=250)
        wait_until(lambda: project.is_done(seed))
    ((seconds,),) = project.query(f"SELECT duration FROM {QUEUE} WHERE seed = %s", seed)
    assert seconds > 2
    assert not project.retried()


@pytest.mark.slow
def test_too_many_connections_are_said_and_waited_for(project, worker):
    with setting(project, "max_connections", 12), ExitStack() as people:
        sessions = fill_up(project, people)
        refused = project.start("status")
        assert refused.wait() == 1
        assert "Too many connections" in one_line(refused)
        kill_connections(sessions[0], but={s.connection.thread_id() for s in sessions})
        fill_up(project, people)
        wait_until(lambda: "Too many connections" in worker.output)
    seed = project.add_plan()
    wait_until(lambda: project.is_done(seed))


def fill_up(project: Project, people: ExitStack) -> list[Cursor]:
    """Open connections until no more are let in."""
    sessions = []
    while True:
        try:
            sessions.append(people.enter_context(project.session()))
        except pymysql.err.OperationalError as error:
            assert error.args[0] == 1040
            return sessions


# --- the database is away


def test_a_database_that_is_away_for_a_while_is_waited_for(project, worker):
    project.server.stop()
    late = project.work()
    assert late.wait() == 1
    assert "no connection to the database at 127.0.0.1" in one_line(late)
    time.sleep(3)
    project.server.start()
    seed = project.add_plan()
    wait_until(lambda: project.is_done(seed))


def one_line(command: Command) -> str:
    """Return the only line that a command printed."""
    (line,) = [line for line in command.output.splitlines() if line.strip()]
    assert line.startswith("error: ")
    return line


# --- errors that do not pass


def test_a_real_error_stays_with_its_stack_until_a_person_has_mended_it(project, worker):
    with locked(project, QUEUE):
        seed = project.add_plan(max_epoch=7)
        ((config,),) = project.query(
            f"SELECT train_hash FROM `{PREFIX}model`.training_plan "
            f"JOIN `{PREFIX}model_config`.seed_set__member USING (seed_set_hash) WHERE seed = %s",
            seed,
        )
        params = f"SELECT train_params FROM {CONFIG} WHERE train_hash = %s"
        ((right,),) = project.query(params, config)
        change = f"UPDATE {CONFIG} SET train_params = %s WHERE train_hash = %s"
        project.query(change, '{"max_epoch": "nonsense"}', config)
    wait_until(lambda: project.jobs("error"))
    time.sleep(3)  # in which the janitor looks at it six times
    (job,) = project.jobs("error")
    assert job["error_message"].startswith("ValidationError: ")
    shown = project.run("errors", "--stack")
    assert "Traceback" in shown and "nonsense" in shown
    assert not project.retried()
    project.query(change, right, config)
    project.run("errors", "--retry")
    wait_until(lambda: project.is_done(seed))


# --- a new server


def test_any_number_of_inits_at_once_make_the_tables_once(project):
    inits = [project.start("init", INCEPTIONLOOP_PREFIX="new_") for _ in range(4)]
    for init in inits:
        assert init.wait() == 0, init.output
        assert "'new_*' are complete" in init.output
    assert tables(project, "new_") == tables(project, PREFIX)


def tables(project: Project, prefix: str) -> list[tuple[str, str]]:
    return project.query(
        "SELECT SUBSTR(table_schema, %s), table_name FROM information_schema.tables "
        "WHERE LEFT(table_schema, %s) = %s ORDER BY 1, 2",
        *(len(prefix) + 1, len(prefix), prefix),
    )
