"""The queues of jobs: filled in bulk, worked off by many without all wanting the same job."""

import hashlib
import random
from typing import Any

import datajoint as dj

LOCK_SECONDS = 60
JOBS_AT_ONCE = 16
JOBS_IN_VIEW = 8 * JOBS_AT_ONCE


def refill(table: dj.Computed) -> int:
    """Bring the queue of a table up to date, and return how many jobs it has got.

    One worker at a time, and a few statements for any number of jobs: `jobs.refresh` alone inserts
    job by job, and every worker all of them.

    Parameters
    ----------
    table : dj.Computed
        Keep the instance: DataJoint reads all foreign keys for the jobs of a new one.
    """
    connection, jobs = table.connection, table.jobs
    lock = lock_name(jobs)
    # who waits in vain goes on: a refresh too many does no harm
    connection.query("SELECT GET_LOCK(%s, %s)", (lock, LOCK_SECONDS)).fetchone()
    try:
        missing = table.key_source - table.proj()
        keys = missing.restrict(dj.Not(jobs), semantic_check=False).proj().keys()
        if keys:
            jobs.insert(_pending(connection, keys), skip_duplicates=True, chunk_size=1000)
        jobs.refresh(delay=-1)  # what vanished, what has to be done again
    finally:
        connection.query("SELECT RELEASE_LOCK(%s)", (lock,)).fetchone()
    return len(keys)


def lock_name(jobs: dj.Table) -> str:
    """Return the name of the lock of a queue: those of tables may be too long for one."""
    return hashlib.sha256(jobs.full_table_name.encode()).hexdigest()[:32]


def _pending(connection: dj.Connection, keys: list[dict[str, Any]]) -> list[dict[str, Any]]:
    (now,) = connection.query("SELECT CURRENT_TIMESTAMP(3) - INTERVAL 1 SECOND").fetchone()
    state = {
        "status": "pending",
        "priority": dj.config.jobs.default_priority,
        "scheduled_time": now,
    }
    return [key | state for key in keys]


def work_off(table: dj.Computed) -> tuple[int, list[tuple[dict[str, Any], str]]]:
    """Do the jobs of a table until its queue is empty, or others have taken what is left.

    Workers draw from the first jobs in line: with the same order for all of them, each would try
    to reserve what another one has just taken.

    Returns
    -------
    n_done : int
    errors : list of (key, message)
        Of jobs that failed; they stay in the queue as errors.
    """
    due = table.jobs.pending & "scheduled_time <= CURRENT_TIMESTAMP(3)"
    n_done, errors = 0, []
    while keys := due.keys(order_by="priority, scheduled_time", limit=JOBS_IN_VIEW):
        drawn = random.sample(keys, min(JOBS_AT_ONCE, len(keys)))
        result = table.populate(drawn, reserve_jobs=True, suppress_errors=True, refresh=False)
        n_done += result["success_count"]
        errors += result["error_list"]
        if not result["success_count"] and not result["error_list"]:
            break
    return n_done, errors
