"""A worker: does what the plans ask for, the most urgent first; any number of them at once."""

import logging
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Literal

import datajoint as dj
import datajoint.jobs
import pymysql
import torch
from threadpoolctl import threadpool_limits

from pipeline.agenda import Agenda, any_job
from pipeline.connection import DatabaseUnavailable
from pipeline.errors import UserError
from pipeline.heartbeat import Pulse, give_back_mine, heartbeat, tidy_up
from pipeline.janitor import Queue, may_pass, queues
from pipeline.memory import keep_freed_memory
from pipeline.object_store import default_store
from pipeline.queue import JOBS_AT_ONCE
from schemas.code_version import code_version
from schemas.graph import STEPS, Step
from schemas.operations import Pause

POLL_SECONDS = 1.0
IDLE_PASSES = 2
MAX_POLLS = 8  # seconds between two looks, in POLL_SECONDS
PATIENCE_SECONDS = 300.0
"""With a database that does not answer, of a worker that is to end some day."""
LONGEST_DELAY_SECONDS = 30.0

Serves = Literal["all", "gpu", "cpu"]

logger = logging.getLogger(__name__)


class NoGPU(UserError):
    """A worker for a GPU where there is none."""


@dataclass(frozen=True)
class Shift:
    """What a worker is to do, and when it may go.

    Attributes
    ----------
    n_threads : int
        Results are repeatable to the bit for the same number only.
    serves : 'all', 'gpu' or 'cpu'
        All tables, those that a GPU makes faster, or the others.
    forever : bool
        Wait for new work when there is none, and for a database that is down.
    max_seconds, max_jobs : float, int
        Take no new job after so long, or so many.
    """

    n_threads: int
    serves: Serves = "all"
    forever: bool = False
    max_seconds: float = float("inf")
    max_jobs: float = float("inf")


def served_steps(serves: Serves) -> list[Step]:
    """Return the tables that a worker serves, parents before children."""
    return [step for step in STEPS if serves == "all" or step.gpu == (serves == "gpu")]


def work(shift: Shift) -> tuple[int, int]:
    """Populate computed tables until there is nothing left to do, or the shift is over.

    There is nothing left when two looks in a row find nothing pending, and nothing reserved that
    could lead to more. Asked to stop (SIGTERM), a worker gives back the job that it is at.

    Returns
    -------
    n_done, n_failed : int

    Raises
    ------
    NoGPU
        If it is to serve a GPU and finds none.
    StoreError
        If the object store cannot be reached, before the first job.
    DatabaseUnavailable
        If the database is away for longer than the worker may wait.
    """
    keep_freed_memory()
    torch.set_num_threads(shift.n_threads)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    if shift.serves == "gpu" and device == "cpu":
        raise NoGPU("there is no GPU here that PyTorch can use: leave out --serves gpu")
    default_store()
    all_queues, agenda = queues(), Agenda(served_steps(shift.serves))
    end = time.monotonic() + shift.max_seconds
    idle = polls = 0
    with (
        # NumPy's too: torch sets only its own
        threadpool_limits(shift.n_threads),
        leaving_when_asked(_disconnect),
        _software_noted(),
        heartbeat(all_queues, shift.serves, device) as pulse,
    ):
        while idle < IDLE_PASSES and time.monotonic() < end:
            n_left = shift.max_jobs - pulse.n_done - pulse.n_failed
            if n_left <= 0:
                break
            try:
                worked = _do_some(agenda, pulse, all_queues, int(min(n_left, JOBS_AT_ONCE)))
                waits = not worked and (shift.forever or _more_may_come(agenda, all_queues))
            except Exception as error:
                if not may_pass(error):
                    raise
                logger.warning("interrupted: %s", error)
                time.sleep(POLL_SECONDS)
                _return_to_work(all_queues, float("inf") if shift.forever else PATIENCE_SECONDS)
                continue
            idle = 0 if worked or waits else idle + 1
            # Looking takes computing time from those who work: ever more seldom.
            polls = 0 if worked else min(polls + 1, MAX_POLLS) if waits else 1
            time.sleep(min(polls * POLL_SECONDS, max(0.0, end - time.monotonic())))
    return pulse.n_done, pulse.n_failed


def _do_some(agenda: Agenda, pulse: Pulse, all_queues: Sequence[Queue], n_jobs: int) -> bool:
    """Do some of the most urgent jobs; False if there is nothing to do."""
    due = None if Pause() else agenda.next()
    if due is None:
        return give_back_mine(all_queues) > 0
    name = due.step.table.__name__
    pulse.at_work_on = name
    begin = time.monotonic()
    try:
        done = agenda.do(due, n_jobs)
    finally:
        pulse.at_work_on = ""
    if not done:
        # Somebody took them; or they look so, reserved here just when the connection broke.
        give_back_mine(all_queues)
    failed = [job for job in done if job.error]
    pulse.n_done += len(done) - len(failed)
    pulse.n_failed += len(failed)
    if len(done) > len(failed):
        seconds, keys = time.monotonic() - begin, [job.key for job in done if not job.error]
        about = {"table": name, "keys": keys, "seconds": round(seconds, 3)}
        logger.info("%s: %d done in %.1f s", name, len(keys), seconds, extra=about)
    if any("OutOfMemoryError" in job.error for job in failed) and torch.cuda.is_available():
        torch.cuda.empty_cache()
    for job in failed:
        about = {"table": name, "keys": [job.key]}
        logger.error("%s %s: %s", name, job.key, job.error, extra=about)
    return True


def _more_may_come(agenda: Agenda, all_queues: Sequence[Queue]) -> bool:
    """Whether a worker with nothing to do should wait: for others, for retries, or in a pause."""
    tidy_up(all_queues)  # errors that may pass are pending again
    return bool(Pause()) or not agenda.is_empty() or any_job(STEPS, ("reserved",))


def _return_to_work(all_queues: Sequence[Queue], patience: float) -> None:
    """Connect again, and give back the job that was lost with the connection.

    Raises
    ------
    DatabaseUnavailable
        If the database does not answer for so many seconds.
    """
    begin, delay = time.monotonic(), POLL_SECONDS
    while True:
        try:
            dj.conn().connect()
            dj.conn().cancel_transaction()
            give_back_mine(all_queues)
            return
        except (pymysql.err.MySQLError, dj.DataJointError, OSError) as error:
            if time.monotonic() - begin > patience:
                raise DatabaseUnavailable(
                    f"the database has not answered for {patience:.0f} s: {error}"
                ) from error
            logger.warning("no database (%s): next try in %.0f s", error, delay)
        time.sleep(delay)
        delay = min(2 * delay, LONGEST_DELAY_SECONDS)


@contextmanager
def _software_noted() -> Iterator[None]:
    """Have every computed row say by its hidden `_job_version` which `CodeVersion` made it.

    DataJoint itself can note the commit of the working directory only, by a process for each job.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    software = code_version(device)["code_hash"]
    usual = datajoint.jobs._get_job_version
    datajoint.jobs._get_job_version = lambda config=None: software
    try:
        yield
    finally:
        datajoint.jobs._get_job_version = usual


def _disconnect() -> None:
    """Let go of a connection that may be amid an answer, whose rest is not that of the next."""
    # RuntimeError: amid a read, which PyMySQL ends by closing the connection itself.
    with suppress(pymysql.err.Error, RuntimeError):
        dj.conn().close()


@contextmanager
def leaving_when_asked(before: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Make SIGTERM and Ctrl-C an exit, on which a worker gives back its job and signs off.

    DataJoint would take a `KeyboardInterrupt` for an error of the job, and go on with the next.
    """

    def leave(signal_number: int, frame: FrameType | None) -> None:
        before()
        raise SystemExit(128 + signal_number)

    earlier = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
