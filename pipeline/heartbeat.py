"""Signs of life of workers, and giving back the jobs of the dead; by database time only."""

import logging
import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import datajoint as dj
import pymysql

from schemas.graph import STEPS
from schemas.operations import Worker

BEAT_SECONDS = 5
DEAD_AFTER_SECONDS = 60

logger = logging.getLogger(__name__)


def _me() -> dict[str, str | int]:
    return {"worker_host": platform.node(), "worker_pid": os.getpid()}


@contextmanager
def heartbeat() -> Iterator[None]:
    """Register this process as a worker and beat from a thread, also while a network trains.

    The thread has a connection of its own: DataJoint's is busy, and not safe to share.
    """
    # A worker that died here under the same number, as the only one of a container, is not alive.
    (Worker & _me()).delete_quick()
    return_jobs_of_the_dead()
    Worker.insert1(_me())
    stop = threading.Event()
    thread = threading.Thread(target=_beat, args=(stop,), name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=2 * BEAT_SECONDS)
        (Worker & _me()).delete_quick()
        return_jobs_of_the_dead()  # its own among them, if it was stopped at work


def _beat(stop: threading.Event) -> None:
    info = Worker.connection.conn_info
    name = Worker().full_table_name
    while not stop.wait(BEAT_SECONDS):
        try:
            connection = pymysql.connect(
                host=info["host"],
                port=info["port"],
                user=info["user"],
                password=info["passwd"],
                autocommit=True,
            )
            with connection, connection.cursor() as cursor:
                cursor.execute(
                    f"UPDATE {name} SET heartbeat = CURRENT_TIMESTAMP "
                    "WHERE worker_host = %s AND worker_pid = %s",
                    (platform.node(), os.getpid()),
                )
        except pymysql.err.MySQLError as error:
            # the next beat tries again; if none gets through, others may take this worker's jobs
            logger.warning("heartbeat failed: %s", error)


def living_workers() -> dj.expression.QueryExpression:
    """Return the workers whose heartbeat is young."""
    return Worker & f"heartbeat > CURRENT_TIMESTAMP - INTERVAL {DEAD_AFTER_SECONDS} SECOND"


def return_jobs_of_the_dead() -> int:
    """Make jobs pending again that are reserved by workers without a heartbeat; return how many.

    A job interrupted by a signal counts as given back too.
    """
    alive = {(w["worker_host"], w["worker_pid"]) for w in living_workers().to_dicts()}
    returned = 0
    for step in STEPS:
        jobs = step.instance.jobs
        for job in jobs.reserved.to_dicts():
            if (job["host"], job["pid"]) not in alive:
                returned += _forget(jobs, job)
        interrupted = "error_message LIKE 'SystemExit%%' OR error_message LIKE 'Keyboard%%'"
        for job in (jobs.errors & interrupted).to_dicts():
            returned += _forget(jobs, job)
    return returned


def _forget(jobs: dj.Table, job: dict) -> int:
    """Delete a job as it was seen; the next refresh makes it anew if it is still to be done."""
    seen = {a: job[a] for a in (*jobs.primary_key, "status", "host", "pid")}
    return (jobs & seen).delete_quick(get_count=True)


def reserved_by_living() -> int:
    """Return how many jobs are being worked on."""
    workers = living_workers().to_dicts()
    alive = [{"host": w["worker_host"], "pid": w["worker_pid"]} for w in workers]
    return sum(len(step.instance.jobs.reserved & alive) for step in STEPS) if alive else 0
