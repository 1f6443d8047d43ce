"""The workers of one machine: processes of their own, one per GPU, with their progress."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

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
from pipeline.status import TableStatus, status
from pipeline.work import Shift, leaving_when_asked

LOOK_SECONDS = 5.0
UNSEEN_SECONDS = 60.0
"""Between two looks if nobody sees the progress: it takes time from those who work."""


class WorkerDied(UserError):
    """A worker process that did not end by itself."""


def gpus() -> list[str]:
    """Return the GPUs of this machine, as CUDA_VISIBLE_DEVICES names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = [name.strip() for name in visible.split(",") if name.strip()]
    n = torch.cuda.device_count()
    return (names or [str(i) for i in range(n)])[:n]


def n_workers() -> int:
    """Return how many workers fit this machine: one per GPU, or one."""
    return max(1, len(gpus()))


def threads_per_worker(n_processes: int) -> int:
    """Return how many threads each of several workers on this machine should use."""
    return max(1, len(os.sched_getaffinity(0)) // n_processes)


def supervise(n_processes: int, shift: Shift, json_logs: bool = False) -> int:
    """Run worker processes on this machine and show their progress; return how many jobs failed.

    With `Shift.forever` one that dies is started again. Of more processes than there are GPUs, the
    first have one GPU each and the others do what needs none.

    Raises
    ------
    WorkerDied
        If a worker ended in another way than by finding nothing more to do.
    """
    crew = [_command(shift, json_logs, place) for place in range(n_processes)]
    processes = [subprocess.Popen(command, env=env) for command, env in crew]
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("jobs"),
        TimeElapsedColumn(),
    )
    try:
        console = Console(stderr=True)
        look_seconds = LOOK_SECONDS if console.is_terminal else UNSEEN_SECONDS
        with leaving_when_asked(), Progress(*columns, console=console) as progress:
            task = progress.add_task("starting", total=None)
            while any(p.poll() is None for p in processes):
                _show(progress, task)
                _wait(processes, look_seconds)
                for place, process in enumerate(processes):
                    if shift.forever and process.poll():
                        command, env = crew[place]
                        progress.print(f"worker {process.pid} ended with {process.returncode}")
                        processes[place] = subprocess.Popen(command, env=env)
            rows = _show(progress, task)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
    failed = sum(row.failed for row in rows)
    if any(p.returncode for p in processes) and not failed:
        raise WorkerDied(f"workers ended with status {[p.returncode for p in processes]}")
    return failed


def _command(shift: Shift, json_logs: bool, place: int) -> tuple[list[str], dict[str, str]]:
    """Return the command and the environment of a worker process.

    The thread count is set in the environment, before any library makes its threads.
    """
    devices = gpus()
    if devices and place >= len(devices):
        shift = replace(shift, serves="cpu")
    command = [sys.executable, "-m", "pipeline.cli", "work", "--processes", "1", "--quiet"]
    command += ["--threads", str(shift.n_threads), "--serves", shift.serves]
    command += ["--forever"] if shift.forever else []
    command += ["--json-logs"] if json_logs else []
    if shift.max_seconds < float("inf"):
        command += ["--minutes", str(shift.max_seconds / 60)]
    if shift.max_jobs < float("inf"):
        command += ["--jobs", str(shift.max_jobs)]
    libraries = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    environment = os.environ | dict.fromkeys(libraries, str(shift.n_threads))
    if devices:
        environment["CUDA_VISIBLE_DEVICES"] = devices[place] if place < len(devices) else ""
    return command, environment


def _wait(processes: Sequence[subprocess.Popen], seconds: float) -> None:
    """Wait so long, or until one has ended."""
    running = [p for p in processes if p.poll() is None]
    end = time.monotonic() + seconds
    while time.monotonic() < end and all(p.poll() is None for p in running):
        time.sleep(0.1)


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
