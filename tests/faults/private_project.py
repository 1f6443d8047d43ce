"""A project with a server of its own, which tests may kill, and commands that run beside pytest.

Commands are those of `inceptionloop`, each in a process of its own. They are forks of one process
that has imported everything (`multiprocessing`'s fork server), so that one starts in milliseconds
instead of five seconds, and a kill hits work and not imports.
"""

import importlib
import itertools
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pymysql
from miniature import STUDY, write_study
from pymysql.cursors import Cursor

from pipeline.server import PrivateServer, ServerInfo
from pipeline.settings import Settings

PREFIX = "faults_"
RECORDING = "--n-simple 4 --n-complex 4 --n-undriven 2 --n-train 150 --n-test 12 --repeats 5"
WORK = ("work", "--forever", "--threads", "1", "--quiet")
QUICK = {
    "pipeline.heartbeat.BEAT_SECONDS": 0.5,
    "pipeline.heartbeat.DEAD_AFTER_SECONDS": 6,
    "pipeline.janitor.DEAD_AFTER_SECONDS": 6,
    "pipeline.janitor.GRACE_SECONDS": 6,
    "pipeline.janitor.FIRST_DELAY_SECONDS": 1,
    "pipeline.work.MAX_POLLS": 1,
    "pipeline.work.LONGEST_DELAY_SECONDS": 1,
}
"""Workers to whom a minute is eight seconds; nothing else of them is different."""

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["pipeline.cli"])


class Command:
    """A command of `inceptionloop` in a process of its own, and what it printed."""

    def __init__(
        self,
        arguments: tuple[str, ...],
        environment: dict[str, str],
        constants: dict[str, float],
        log: Path,
    ) -> None:
        self.log = log
        self.process: ForkServerProcess = _processes.Process(
            target=_command, args=(arguments, environment, constants, log)
        )
        self.process.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    @property
    def running(self) -> bool:
        return self.process.is_alive()

    def wait(self, seconds: float = 120) -> int:
        """Wait for its end and return its exit status."""
        self.process.join(seconds)
        assert not self.running, f"it has not ended in {seconds} s:\n{self.output}"
        return self.process.exitcode

    def kill(self) -> None:
        """Kill it as a machine that fails does."""
        self.process.kill()
        self.process.join()

    def terminate(self) -> int:
        """Ask it to stop; return its exit status."""
        self.process.terminate()
        return self.wait()


def _command(
    arguments: tuple[str, ...], environment: dict[str, str], constants: dict[str, float], log: Path
) -> None:
    os.environ.update(environment)
    stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    time.tzset()
    _set_clock_ahead(float(environment.get("CLOCK_AHEAD_SECONDS", 0)))
    for name, value in constants.items():
        module, _, constant = name.rpartition(".")
        assert hasattr(importlib.import_module(module), constant), name
        setattr(importlib.import_module(module), constant, value)
    from pipeline.cli import app

    app(list(arguments), prog_name="inceptionloop")


def _set_clock_ahead(seconds: float) -> None:
    """Make Python's clock in this process wrong by so much."""
    import datetime

    right_time, right = time.time, datetime.datetime

    class Datetime(right):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return right.now(tz) + datetime.timedelta(seconds=seconds)

    time.time = lambda: right_time() + seconds
    datetime.datetime = Datetime


class Project:
    """A folder with a private server and an object store.

    Parameters
    ----------
    home : Path
        Its folder.
    program : str or None
        Server program.
    """

    def __init__(self, home: Path, program: str | None) -> None:
        self.home, self.program = home, program
        self.server = PrivateServer(Settings(home=home, mysqld=program))
        self.started: list[Command] = []
        self._numbers = itertools.count()

    @property
    def info(self) -> ServerInfo:
        return self.server.status()

    @property
    def environment(self) -> dict[str, str]:
        """As on another machine: by address, so that no command starts the server."""
        info = self.info
        return {
            "INCEPTIONLOOP_HOME": str(self.home),
            "INCEPTIONLOOP_PREFIX": PREFIX,
            "DJ_HOST": info.host,
            "DJ_PORT": str(info.port),
            "DJ_USER": info.user,
            "DJ_PASS": info.password,
        }

    def start(self, *arguments: str, **environment: str) -> Command:
        """Start a command."""
        return self._start(arguments, environment, {})

    def work(self, constants: dict[str, float] = QUICK, **environment: str) -> Command:
        """Start a worker that goes on for ever."""
        return self._start(WORK, environment, constants)

    def _start(
        self,
        arguments: tuple[str, ...],
        environment: dict[str, str],
        constants: dict[str, float],
    ) -> Command:
        log = self.home / f"command-{next(self._numbers)}.log"
        command = Command(arguments, self.environment | environment, constants, log)
        self.started.append(command)
        return command

    def run(self, *arguments: str) -> str:
        """Run a command to its good end and return what it printed."""
        command = self.start(*arguments)
        assert command.wait() == 0, command.output
        return command.output

    def stop(self) -> None:
        """End the commands and the server."""
        for command in self.started:
            if command.running:
                command.kill()
        self.server.stop()

    def kill_server(self) -> None:
        """Kill the server as a power failure does."""
        pid = self.info.pid
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: self.info.pid is None)

    @contextmanager
    def session(self) -> Iterator[Cursor]:
        """A connection of a person beside the workers."""
        info = self.info
        with (
            pymysql.connect(
                host=info.host,
                port=info.port,
                user=info.user,
                password=info.password,
                autocommit=True,
            ) as connection,
            connection.cursor() as cursor,
        ):
            yield cursor

    def query(self, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self.session() as cursor:
            # without arguments a % is a %
            cursor.execute(sql, arguments or None)
            return list(cursor.fetchall())

    def copy(self, name: str) -> "Project":
        """Return a project beside this one that is the same to the byte; this one is stopped."""
        home = self.home.with_name(name)
        shutil.copytree(self.home, home, ignore=shutil.ignore_patterns("command-*"))
        return Project(home, self.program)

    def __enter__(self) -> "Project":
        self.server.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    # ---- what there is

    @cached_property
    def computed_tables(self) -> list[tuple[str, str]]:
        """Schema and name of every computed table."""
        tables = self.query(
            "SELECT table_schema, table_name FROM information_schema.tables "
            "WHERE table_name LIKE '~~%%' AND LEFT(table_schema, %s) = %s ORDER BY 1, 2",
            *(len(PREFIX), PREFIX),
        )
        return [(schema, queue.removeprefix("~~")) for schema, queue in tables]

    def n_rows(self) -> dict[str, int]:
        """Return the number of rows of every computed table that has any."""
        counts = " UNION ALL ".join(
            f"SELECT '{name}', COUNT(*) FROM `{schema}`.`__{name}`"
            for schema, name in self.computed_tables
        )
        return {name: n for name, n in self.query(counts) if n}

    def jobs(self, status: str | None = None) -> list[dict[str, Any]]:
        """Return the jobs of all tables, those with one status if it is given."""
        columns = ("status", "pid", "error_message")
        where = f"WHERE status = '{status}'" if status else ""
        rows = " UNION ALL ".join(
            f"SELECT '{name}', {', '.join(columns)} FROM `{schema}`.`~~{name}` {where}"
            for schema, name in self.computed_tables
        )
        return [dict(zip(("table", *columns), row, strict=True)) for row in self.query(rows)]

    def add_plan(self, max_epoch: int = 5) -> int:
        """Ask for one more network; return its seed."""
        seed, file = 1000 + next(self._numbers), self.home / "study.toml"
        model = STUDY["models"]["cnn"] | {"seeds": (seed,), "meis": False}
        study = {
            "preprocessing": STUDY["preprocessing"],
            "split": STUDY["split"],
            "training": {"max_epoch": max_epoch, "patience": max_epoch, "schedule": (0.001,)},
            "models": {"cnn": model},
        }
        write_study(file, study)
        self.run("register", str(file), "--scan", "1-1-1")
        return seed

    def is_done(self, seed: int) -> bool:
        """Whether a network is trained, and no job is in another state than done."""
        trained = f"SELECT 1 FROM `{PREFIX}model`.__trained_model WHERE seed = %s"
        return bool(self.query(trained, seed)) and not self.unfinished()

    def unfinished(self) -> list[dict[str, Any]]:
        """Return the jobs that are not done."""
        return [job for job in self.jobs() if job["status"] != "success"]

    def is_training(self) -> bool:
        """Whether some worker trains a network."""
        return any(job["table"] == "trained_model" for job in self.jobs("reserved"))

    def wait_for(self, *workers: Command) -> None:
        """Wait until workers have signed on."""
        table = f"`{PREFIX}operations`.worker"
        pids = {(worker.pid,) for worker in workers}
        wait_until(lambda: pids <= set(self.query(f"SELECT worker_pid FROM {table}")))

    def retried(self) -> list[tuple[str, int, int]]:
        """Return table, retries and deaths of jobs that were tried again unasked."""
        table = f"`{PREFIX}operations`.retried_job"
        return self.query(f"SELECT job_table, n_retries, n_deaths FROM {table}")

    def forget_retries(self) -> None:
        """Let no job have been tried again."""
        self.query(f"DELETE FROM `{PREFIX}operations`.retried_job")

    def drop_schemas(self) -> None:
        """Lose the database of the project."""
        with self.session() as cursor:
            cursor.execute("SET foreign_key_checks = 0")
            cursor.execute("SELECT schema_name FROM information_schema.schemata")
            for (name,) in cursor.fetchall():
                if name.startswith(PREFIX):
                    cursor.execute(f"DROP DATABASE `{name}`")

    def reserved_by(self, worker: Command) -> list[str]:
        """Return the tables of which a worker has reserved a job."""
        return [job["table"] for job in self.jobs("reserved") if job["pid"] == worker.pid]


def wait_until(condition: Callable[[], Any], seconds: float = 120) -> None:
    """Wait for something to happen."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def planned(home: Path, program: str | None, n_seeds: int, max_epoch: int) -> Project:
    """Return a project with a recording and a plan, stopped.

    Parameters
    ----------
    home : Path
        Its folder, which is made.
    program : str or None
        Server program.
    n_seeds, max_epoch : int
        Of the networks; there are as many blocks of two units to make MEIs of.
    """
    study = {
        "training": {"max_epoch": max_epoch, "patience": max_epoch, "schedule": (0.001,)},
        "models": {"cnn": STUDY["models"]["cnn"] | {"seeds": range(1, n_seeds + 1)}},
        "selection": {"only_reliable": False, "max_units": 2 * n_seeds, "block_size": 2},
    }
    home.mkdir()
    file = home / "study.toml"
    write_study(file, STUDY | study)
    project = Project(home, program)
    project.server.start()
    project.run("init")
    project.run("ingest", "virtual", *RECORDING.split(), "--study", str(file))
    project.stop()
    return project


def worked_off(project: Project) -> Project:
    """Let two workers do everything that is planned; return the project, stopped."""
    with project:
        workers = [project.start("work", "--threads", "1", "--quiet") for _ in range(2)]
        for worker in workers:
            assert worker.wait(300) == 0, worker.output
    return project
