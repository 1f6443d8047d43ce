"""Workers: do what the plans ask for, in dependency order, any number of them at once."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from pipeline.errors import UserError
from pipeline.heartbeat import heartbeat, reserved_by_living, return_jobs_of_the_dead
from pipeline.memory import keep_freed_memory
from pipeline.queue import refill, work_off
from pipeline.status import TableStatus, status
from schemas.graph import STEPS

POLL_SECONDS = 1.0
IDLE_PASSES = 2
MAX_POLLS = 8  # seconds between two looks, in POLL_SECONDS

logger = logging.getLogger(__name__)


class WorkerDied(UserError):
    """A worker process that did not end by itself."""


def work(n_threads: int) -> tuple[int, int]:
    """Populate all computed tables until there is nothing left to do.

    Ends when two passes in a row find nothing pending and nothing reserved by a living worker.
    Asked to stop (SIGTERM), it gives back the job that it is at.

    Parameters
    ----------
    n_threads : int
        Of this process. Results are repeatable to the bit for the same number only.

    Returns
    -------
    n_done, n_failed : int
    """
    keep_freed_memory()
    torch.set_num_threads(n_threads)
    n_done = n_failed = idle = polls = 0
    with _leaving_when_asked(), heartbeat():
        while idle < IDLE_PASSES:
            return_jobs_of_the_dead()
            done, failed = _one_pass()
            n_done, n_failed = n_done + done, n_failed + failed
            worked = done or failed
            others_work = not worked and reserved_by_living()
            idle = 0 if worked or others_work else idle + 1
            # Looking takes computing time from those who work: ever more seldom.
            polls = 0 if worked else min(polls + 1, MAX_POLLS) if others_work else 1
            time.sleep(polls * POLL_SECONDS)
    return n_done, n_failed


@contextmanager
def _leaving_when_asked() -> Iterator[None]:
    """Make SIGTERM an exception, so that a worker gives back its job and signs off."""

    def leave(signal_number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + signal_number)

    earlier = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)


def _one_pass() -> tuple[int, int]:
    n_done = n_failed = 0
    for step in STEPS:
        refill(step.instance)
        done, errors = work_off(step.instance)
        n_done, n_failed = n_done + done, n_failed + len(errors)
        if done:
            logger.info("%s: %d done", step.table.__name__, done)
        for key, message in errors:
            logger.error("%s %s: %s", step.table.__name__, key, message)
    return n_done, n_failed


def supervise(n_workers: int, n_threads: int) -> int:
    """Run worker processes on this machine and show their progress; return how many jobs failed.

    Raises
    ------
    WorkerDied
        If a worker ended in another way than by finding nothing more to do.
    """
    processes = start_workers(n_workers, n_threads)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("jobs"),
        TimeElapsedColumn(),
    )
    try:
        with Progress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task("starting", total=None)
            while any(p.poll() is None for p in processes):
                _show(progress, task)
                time.sleep(5 * POLL_SECONDS)
            rows = _show(progress, task)
    finally:
        for process in processes:
            if process.poll() is None:
                process.terminate()
                process.wait()
    failed = sum(row.failed for row in rows)
    if any(p.returncode for p in processes) and not failed:
        raise WorkerDied(f"workers ended with status {[p.returncode for p in processes]}")
    return failed


def _show(progress: Progress, task: TaskID) -> list[TableStatus]:
    rows = status()
    done = sum(row.done for row in rows)
    running = [row.table for row in rows if row.running]
    progress.update(
        task,
        description=" + ".join(running) or "looking for work",
        completed=done,
        total=done + sum(row.unfinished for row in rows),
    )
    return rows


def threads_per_worker(n_workers: int) -> int:
    """Return how many threads each of several workers on this machine should use."""
    return max(1, len(os.sched_getaffinity(0)) // n_workers)


def start_workers(n_workers: int, n_threads: int) -> Sequence[subprocess.Popen]:
    """Start worker processes of their own on this machine.

    The thread count is set in their environment, before any library makes its threads.
    """
    libraries = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    environment = os.environ | dict.fromkeys(libraries, str(n_threads))
    command = [sys.executable, "-m", "pipeline.cli", "work", "--threads", str(n_threads), "--quiet"]
    return [subprocess.Popen(command, env=environment) for _ in range(n_workers)]
