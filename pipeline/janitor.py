"""The janitor: gives back the jobs of dead workers, and tries again what failed of what may pass.

Every worker is one, in the thread of its heartbeat, so that it works while a network trains; a lock
of the database lets one at a time do it. Plain SQL on a connection of its own, since DataJoint's is
not to be shared between threads. Database time is the only clock.
"""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pymysql.cursors import Cursor

from pipeline.alive import YOUNG_SECONDS
from pipeline.queue import lock_name
from schemas.graph import STEPS
from schemas.operations import RetriedJob, Worker

DEAD_AFTER_SECONDS = YOUNG_SECONDS
"""Without a heartbeat; the job of a dead worker is pending again within a minute."""
GRACE_SECONDS = 20
"""After a restart of the server, until all workers are connected again."""
FORGET_AFTER_DAYS = 2
MAX_RETRIES = 5
FIRST_DELAY_SECONDS = 5
"""Before the first retry; three times as long before every further one."""
MAX_DEATHS = 10
"""Of workers at one job, before it counts as what kills them."""

MAY_PASS = (
    "^(LostConnectionError|DuplicateError|InterfaceError"
    "|OperationalError: [(](1040|1053|1205|1213|1927|2002|2003|2006|2013|2055|4031)[^0-9]"
    "|[A-Za-z.]*OutOfMemoryError|(RuntimeError|AcceleratorError): CUDA error: out of memory"
    "|BrokenPipeError|Connection[A-Za-z]*Error|EndpointConnectionError|StoreUnavailable"
    "|[A-Za-z]*TimeoutError)"
)
"""How messages begin of errors that may be gone at the next try: no connection to the database or
to the store, locks that others held, a GPU that others filled. A `DuplicateError` comes of two
workers at one job, one of which was believed dead: the next try finds the row."""

INTERRUPTED = "status = 'error' AND error_message REGEXP '^(SystemExit|KeyboardInterrupt)'"
PENDING = """
    status = 'pending', reserved_time = NULL, completed_time = NULL, duration = NULL,
    error_message = '', error_stack = NULL, host = '', pid = 0
"""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Queue:
    """The job table of a computed table: its class name, its name in SQL, its key."""

    name: str
    table: str
    key: tuple[str, ...]

    @property
    def job_hash(self) -> str:
        """SQL of the hash of a key."""
        return f"LEFT(SHA2(CONCAT_WS('|', {', '.join(f'q.`{a}`' for a in self.key)}), 256), 16)"


def queues() -> list[Queue]:
    """Return the queues of all computed tables; to be called once, in the main thread."""
    found = []
    for step in STEPS:
        jobs = step.instance.jobs
        found.append(Queue(step.table.__name__, jobs.full_table_name, tuple(jobs.primary_key)))
    return found


def tidy(cursor: Cursor, all_queues: Sequence[Queue]) -> int:
    """Put right what workers left behind, unless another one is at it; return how many jobs.

    Jobs reserved by workers without a heartbeat and interrupted ones are pending again; errors that
    may pass are, after a growing delay, a limited number of times. A job at which one worker after
    another died becomes an error.
    """
    lock = lock_name("janitor", Worker().full_table_name)
    cursor.execute("SELECT GET_LOCK(%s, 0)", (lock,))
    if cursor.fetchone() != (1,):
        return 0
    try:
        # After a restart of the server nobody has had time to beat.
        n, troubled = 0, _troubled(cursor, all_queues)
        just_started = bool(troubled) and _seconds_up(cursor) < GRACE_SECONDS
        for queue in troubled:
            n += cursor.execute(f"UPDATE {queue.table} SET {PENDING} WHERE {INTERRUPTED}")
            n += _retry(cursor, queue)
            n += 0 if just_started else _give_back_of_the_dead(cursor, queue)
        for table, time in ((Worker(), "heartbeat"), (RetriedJob(), "retried_at")):
            cursor.execute(
                f"DELETE FROM {table.full_table_name} "
                f"WHERE {time} < UTC_TIMESTAMP - INTERVAL {FORGET_AFTER_DAYS} DAY"
            )
        return n
    finally:
        cursor.execute("SELECT RELEASE_LOCK(%s)", (lock,))


def give_back(cursor: Cursor, all_queues: Sequence[Queue], host: str, pid: int) -> int:
    """Make the jobs pending again that a process has reserved, or was interrupted at."""
    return sum(
        cursor.execute(
            f"UPDATE {queue.table} SET {PENDING} WHERE host = %s AND pid = %s "
            f"AND (status = 'reserved' OR ({INTERRUPTED}))",
            (host, pid),
        )
        for queue in _troubled(cursor, all_queues)
    )


def may_pass(error: Exception) -> bool:
    """Whether an error may be gone at the next try."""
    return bool(re.match(MAY_PASS, f"{type(error).__name__}: {error}"))


def _seconds_up(cursor: Cursor) -> int:
    cursor.execute("SHOW GLOBAL STATUS LIKE 'Uptime'")
    return int(cursor.fetchone()[1])


def _troubled(cursor: Cursor, all_queues: Sequence[Queue]) -> list[Queue]:
    """Return the queues with jobs that are reserved or failed: one look at all."""
    looks = (
        f"(SELECT {place} FROM {queue.table} WHERE status IN ('reserved', 'error') LIMIT 1)"
        for place, queue in enumerate(all_queues)
    )
    cursor.execute(" UNION ALL ".join(looks))
    return [all_queues[place] for (place,) in cursor.fetchall()]


@dataclass(frozen=True)
class _Job:
    """A job in trouble, as it was seen."""

    key: tuple[Any, ...]
    job_hash: str
    status: str
    message: str
    worker: tuple[str, int]
    n_retries: int
    n_deaths: int


def _jobs(cursor: Cursor, queue: Queue, condition: str, *values: str) -> list[_Job]:
    key = ", ".join(f"q.`{a}`" for a in queue.key)
    cursor.execute(
        f"""SELECT q.status, q.error_message, q.host, q.pid, {queue.job_hash},
        COALESCE(r.n_retries, 0), COALESCE(r.n_deaths, 0), {key}
        FROM {queue.table} AS q LEFT JOIN {RetriedJob().full_table_name} AS r
        ON r.job_table = %s AND r.job_hash = {queue.job_hash} WHERE {condition}""",
        (queue.name, *values),
    )
    return [
        _Job(tuple(key), job_hash, status, message, (host, pid), n_retries, n_deaths)
        for status, message, host, pid, job_hash, n_retries, n_deaths, *key in cursor.fetchall()
    ]


def _give_back_of_the_dead(cursor: Cursor, queue: Queue) -> int:
    dead = f"""q.status = 'reserved' AND NOT EXISTS (
        SELECT 1 FROM {Worker().full_table_name} AS w
        WHERE w.worker_host = q.host AND w.worker_pid = q.pid
        AND w.heartbeat > UTC_TIMESTAMP - INTERVAL {DEAD_AFTER_SECONDS} SECOND)"""
    n = 0
    for job in _jobs(cursor, queue, dead):
        cause = "WorkerDied: {}:{} was at it".format(*job.worker)
        if job.n_deaths < MAX_DEATHS:
            n += _change(cursor, queue, job, PENDING)
            _note(cursor, queue, job, "n_deaths", cause)
            continue
        cause += f", as {job.n_deaths} before it. Perhaps there is not enough memory for this job"
        failed = "status = 'error', error_message = %s, completed_time = CURRENT_TIMESTAMP(3)"
        n += _change(cursor, queue, job, failed, cause)
        logger.error("%s %s: %s", queue.name, job.key, cause)
    return n


def _retry(cursor: Cursor, queue: Queue) -> int:
    n = 0
    may_pass = "q.status = 'error' AND q.error_message REGEXP %s"
    for job in _jobs(cursor, queue, may_pass, MAY_PASS):
        if job.n_retries < MAX_RETRIES:
            later = "scheduled_time = CURRENT_TIMESTAMP(3) + INTERVAL %s SECOND"
            delay = FIRST_DELAY_SECONDS * 3**job.n_retries
            n += _change(cursor, queue, job, f"{PENDING}, {later}", delay)
            _note(cursor, queue, job, "n_retries", job.message)
    return n


def _change(cursor: Cursor, queue: Queue, job: _Job, to: str, *values: Any) -> int:
    """Update a job if it still is as it was seen; return how many that were."""
    here = " AND ".join(f"`{a}` = %s" for a in (*queue.key, "status", "host", "pid"))
    return cursor.execute(
        f"UPDATE {queue.table} SET {to} WHERE {here}", (*values, *job.key, job.status, *job.worker)
    )


def _note(cursor: Cursor, queue: Queue, job: _Job, counter: str, message: str) -> None:
    cursor.execute(
        f"""INSERT INTO {RetriedJob().full_table_name}
        (job_table, job_hash, {counter}, last_failure) VALUES (%s, %s, 1, %s)
        ON DUPLICATE KEY UPDATE {counter} = {counter} + 1,
        last_failure = VALUES(last_failure), retried_at = CURRENT_TIMESTAMP""",
        (queue.name, job.job_hash, message),
    )
    logger.warning("%s %s is tried again: %s", queue.name, job.key, message)
