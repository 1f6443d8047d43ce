"""How far the work is, counted in plain SQL: what `pipeline.status` says, and how fast it goes.

DataJoint writes the queries once, when the application is made; after that its connection, which
threads may not share, is not needed.
"""

import threading
import time
from dataclasses import dataclass

from flask import current_app

from pipeline.address import DatabaseUnavailable
from pipeline.alive import YOUNG_SECONDS
from pipeline.plan import ASSUMED_OTHER_SECONDS, ASSUMED_SECONDS
from pipeline.status import TableStatus, reason
from pipeline.web.reader import STATEMENT_SECONDS, Reader
from schemas.graph import STEPS, Step
from schemas.operations import Worker

FRESH_SECONDS = 2.0
"""As long at least are counts shown again without a look at the database."""
SHARE = 0.1
"""Of the time, at most, for counting: with many rows it takes seconds."""
PATIENCE_SECONDS = 0.15
"""Of a page, for new counts, before it shows those that there are, and how old they are."""
RECENT_MINUTES = 10


@dataclass(frozen=True)
class Snapshot:
    """How far the work was at one moment.

    Attributes
    ----------
    tables : list of TableStatus
        In the order of work.
    recent : int
        Jobs that ended well in the last `RECENT_MINUTES`.
    n_workers : int
        Alive.
    taken : float
        When, by the clock of this process.
    """

    tables: list[TableStatus]
    recent: int
    n_workers: int
    taken: float

    @property
    def age(self) -> float:
        """Seconds since it was taken."""
        return time.monotonic() - self.taken

    def total(self, state: str) -> int:
        """Return the number of jobs of all tables that are done, running, failed, ..."""
        return sum(getattr(row, state) for row in self.tables)

    @property
    def seconds_of_work(self) -> float:
        """What one worker would need for all that is to be done, failed jobs left out."""
        return sum(
            (row.pending + row.running + row.blocked) * _seconds_per_job(row) for row in self.tables
        )

    @property
    def seconds_left(self) -> float | None:
        """Until the work is done if all workers have enough to do; None without a worker."""
        return self.seconds_of_work / self.n_workers if self.n_workers else None


class Progress:
    """Snapshots of the work, shared by all who ask at once.

    Parameters
    ----------
    reader : Reader
        Of the database. DataJoint has to be connected while this is made.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._queries = [_workers(), *(query for step in STEPS for query in _queries(step))]
        self._changed = threading.Condition()
        self._counting = False
        self._fresh_until = 0.0
        self._last: Snapshot | Exception | None = None
        with self._changed:
            self._start_counting()

    def snapshot(self) -> Snapshot:
        """Return new counts, or after a moment those that there are.

        Raises
        ------
        DatabaseUnavailable
            If the database does not answer.
        """
        with self._changed:
            if not self._counting and time.monotonic() > self._fresh_until:
                self._start_counting()
            patience = PATIENCE_SECONDS if isinstance(self._last, Snapshot) else STATEMENT_SECONDS
            self._changed.wait_for(lambda: not self._counting, patience)
            if isinstance(self._last, Exception):
                raise self._last
            if self._last is None:
                raise DatabaseUnavailable("the database takes long to count the jobs: try again")
            return self._last

    def _start_counting(self) -> None:
        self._counting = True
        threading.Thread(target=self._count, name="progress", daemon=True).start()

    def _count(self) -> None:
        begin = time.monotonic()
        try:
            found: Snapshot | Exception = self._take()
        except Exception as error:
            found = error
        end = time.monotonic()
        with self._changed:
            self._counting, self._last = False, found
            if isinstance(found, Snapshot):
                self._fresh_until = end + max(FRESH_SECONDS, (end - begin) / SHARE)
            self._changed.notify_all()

    def _take(self) -> Snapshot:
        taken = time.monotonic()
        ((n_workers,),), *answers = self._reader.as_written(self._queries)
        found: dict[str, TableStatus] = {}
        recent = 0
        for step, jobs, ((*counts,),) in zip(STEPS, answers[::2], answers[1::2], strict=True):
            found[step.table.__name__] = _status(step, jobs, counts, found)
            recent += sum(int(n_recent) for *_, n_recent in jobs)
        return Snapshot(list(found.values()), recent, n_workers, taken)


def progress() -> Progress:
    """Return the progress of the application that answers the request."""
    return current_app.extensions["progress"]


def _workers() -> str:
    return (
        f"SELECT COUNT(*) FROM {Worker().full_table_name} "
        f"WHERE heartbeat > UTC_TIMESTAMP - INTERVAL {YOUNG_SECONDS} SECOND"
    )


def _queries(step: Step) -> tuple[str, str]:
    """Return what counts the jobs of a table by status, and what is done, due and blocked."""
    table, ready = step.instance, step.instance.key_source.proj()
    due, blocked = ready - table.proj(), step.asked() - ready
    jobs = (
        "SELECT status, COUNT(*), SUM(duration), COUNT(duration), "
        f"SUM(status = 'success' AND completed_time > NOW() - INTERVAL {RECENT_MINUTES} MINUTE) "
        f"FROM {table.jobs.full_table_name} GROUP BY status"
    )
    counts = (
        f"SELECT (SELECT COUNT(*) FROM {table.full_table_name}), "
        f"(SELECT COUNT(*) FROM ({due.make_sql()}) AS due), "
        f"(SELECT COUNT(*) FROM ({blocked.make_sql()}) AS blocked)"
    )
    return jobs, counts


def _status(
    step: Step, jobs: list[tuple], counts: tuple, earlier: dict[str, TableStatus]
) -> TableStatus:
    by_status = {status: (n, seconds, n_timed) for status, n, seconds, n_timed, _ in jobs}
    running, failed = (by_status.get(name, (0,))[0] for name in ("reserved", "error"))
    _, seconds, n_timed = by_status.get("success", (0, None, 0))
    done, due, blocked = counts
    return TableStatus(
        table=step.table.__name__,
        done=done,
        pending=max(0, due - running - failed),
        running=running,
        failed=failed,
        blocked=blocked,
        blocked_by=reason([earlier[need.__name__] for need in step.needs]) if blocked else "",
        mean_seconds=seconds / n_timed if n_timed else None,
    )


def _seconds_per_job(row: TableStatus) -> float:
    if row.mean_seconds is not None:
        return row.mean_seconds
    return ASSUMED_SECONDS.get(row.table, ASSUMED_OTHER_SECONDS)
