"""Garbage of the object store: what interrupted work and deleted rows have left there."""

import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import datajoint as dj
from tqdm import tqdm

from pipeline.agenda import any_job
from pipeline.connection import driver_connection
from pipeline.errors import UserError
from pipeline.foreman import resume
from pipeline.heartbeat import me, tidy_up
from pipeline.janitor import queues
from pipeline.object_store import default_store
from pipeline.queue import lock_name
from pipeline.server import Report
from pipeline.stored_objects import StoredFile, is_referred_to, references, stored_files, written
from schemas.graph import STEPS
from schemas.model import TrainedModel, TrainingCheckpoint
from schemas.operations import Pause
from schemas.store import Store

REASON = "garbage collection"
LOOK_SECONDS = 1.0
QUIET_LOOKS = 2
"""In a row without a job at work: a worker that had seen no pause may just have taken one."""
FILES_AT_ONCE = 1000


class StoreBusy(UserError):
    """Somebody else collects garbage, or makes a backup."""


@dataclass(frozen=True)
class Garbage:
    """What nothing refers to.

    Attributes
    ----------
    files : list of StoredFile
        Old enough to be deleted.
    n_young : int
        Files that are not: perhaps their rows are about to come.
    n_checkpoints : int
        Rows of checkpoints of networks that exist.
    """

    files: list[StoredFile]
    n_young: int
    n_checkpoints: int

    def by_schema(self) -> dict[str, tuple[int, int]]:
        """Return how many files, and bytes, there are of each database schema."""
        found: dict[str, list[int]] = defaultdict(list)
        for file in self.files:
            found[file.schema].append(file.n_bytes)
        return {schema: (len(sizes), sum(sizes)) for schema, sizes in found.items()}


def find_garbage(prefix: str, min_age: timedelta) -> Garbage:
    """Look for what no row refers to; nothing is changed.

    Parameters
    ----------
    prefix : str
        Of the project's schemas; what others keep in the same store is not looked at.
    min_age : timedelta
        By the clock of the store. An object comes before its row, and in an ingest long before.

    Raises
    ------
    schemas.store.StoreError
        If the store fails.
    """
    store = default_store()
    newest = _time_of(store) - min_age
    # Files first: what is written from now on is in none of both.
    files = list(stored_files(store, prefix))
    referred = {reference.path for reference in references(prefix)}
    unused = [file for file in files if not is_referred_to(file.path, referred)]
    old = [file for file in unused if file.written <= newest]
    return Garbage(old, len(unused) - len(old), len(_finished_checkpoints()))


def collect_garbage(prefix: str, min_age: timedelta, report: Report) -> Garbage:
    """Delete what no row refers to, while no worker is at work; return what was deleted.

    Raises
    ------
    StoreBusy
        If somebody else is at it, or at a backup.
    schemas.store.StoreError
        If the store fails.
    """
    with only_one(prefix) as still_alone:
        first = set(find_garbage(prefix, min_age).files)
        with workers_drained(report):
            report("looking again")
            found = find_garbage(prefix, min_age)
            doomed = [file for file in found.files if file in first]
            still_alone()
            _delete(default_store(), doomed)
            _finished_checkpoints().delete_quick()
    return Garbage(doomed, found.n_young, found.n_checkpoints)


@contextmanager
def only_one(prefix: str) -> Iterator[Callable[[], None]]:
    """Let one process at a time delete objects of a project, or rely on none being deleted.

    Yields
    ------
    callable
        Raises `StoreBusy` if the lock was lost with its connection.
    """
    lock = lock_name("store", prefix)
    with closing(driver_connection()) as connection, connection.cursor() as cursor:

        def insist(sql: str) -> None:
            cursor.execute(sql, (lock,))
            if cursor.fetchone() != (1,):
                raise StoreBusy(
                    "somebody else collects garbage or makes a backup of this project: try again "
                    "when that has ended"
                )

        cursor.execute("SET SESSION wait_timeout = 2147483")
        insist("SELECT GET_LOCK(%s, 0)")
        yield lambda: insist("SELECT IS_USED_LOCK(%s) = CONNECTION_ID()")


@contextmanager
def workers_drained(report: Report) -> Iterator[None]:
    """Let workers end the jobs that they are at, and take no new ones until this is over."""
    # One that is there already was left by a process that was killed: only one does this.
    resume(REASON)
    Pause.insert1(
        {"pause_reason": REASON, "paused_by": "{worker_host}:{worker_pid}".format(**me())}
    )
    try:
        all_queues, quiet = queues(), 0
        while quiet < QUIET_LOOKS:
            tidy_up(all_queues)  # jobs of the dead
            quiet = 0 if any_job(STEPS, ("reserved",)) else quiet + 1
            report("waiting until the workers have ended their jobs")
            time.sleep(LOOK_SECONDS)
        yield
    finally:
        resume(REASON)


def _time_of(store: Store) -> datetime:
    """Return the time by the clock that dates the objects of a store: it need not be ours."""
    probe = f"{store.root}/.time-{secrets.token_hex(8)}"
    with store.explained("write to"):
        store.fs.pipe_file(probe, b"time")
        try:
            return written(store.fs.info(probe))
        finally:
            store.fs.rm_file(probe)


def _finished_checkpoints() -> dj.expression.QueryExpression:
    return TrainingCheckpoint & TrainedModel.proj()


def _delete(store: Store, files: Sequence[StoredFile]) -> None:
    with (
        store.explained("delete from"),
        tqdm(total=len(files), desc="deleting", unit="object", leave=False, disable=None) as bar,
    ):
        for start in range(0, len(files), FILES_AT_ONCE):
            paths = [f"{store.root}/{f.path}" for f in files[start : start + FILES_AT_ONCE]]
            store.fs.rm(paths)
            bar.update(len(paths))
            if store.protocol == "file":
                for path in paths:
                    _remove_empty_folders(Path(path).parent, Path(store.root))


def _remove_empty_folders(folder: Path, root: Path) -> None:
    # The first that is not empty ends it.
    with suppress(OSError):
        while folder != root:
            folder.rmdir()
            folder = folder.parent
