"""The queue of a table: filled in bulk, worked off by many without all wanting the same job."""

import hashlib
import os
import platform
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import datajoint as dj

LOCK_SECONDS = 60
JOBS_AT_ONCE = 16
JOBS_IN_VIEW = 8 * JOBS_AT_ONCE


@dataclass(frozen=True)
class JobDone:
    """A job that ended here.

    Attributes
    ----------
    key : dict
    seconds : float or None
        How long its make took; None of one that failed.
    error : str
        Empty when it ended well.
    """

    key: dict[str, Any]
    seconds: float | None
    error: str


def refill(table: dj.Computed, priorities: Mapping[str, int] | None = None) -> int:
    """Bring the queue of a table up to date, and return how many jobs it has got.

    One worker at a time, and a few statements for any number of jobs: `jobs.refresh` alone inserts
    job by job, and every worker all of them.

    Parameters
    ----------
    table : dj.Computed
        Keep the instance: DataJoint reads all foreign keys for the jobs of a new one.
    priorities : mapping, optional
        Of jobs by `training_set_hash`, where they are not the default.
    """
    connection, jobs = table.connection, table.jobs
    lock = lock_name("queue", jobs.full_table_name)
    # who waits in vain goes on: a refresh too many does no harm
    connection.query("SELECT GET_LOCK(%s, %s)", (lock, LOCK_SECONDS)).fetchone()
    try:
        missing = table.key_source - table.proj()
        keys = missing.restrict(dj.Not(jobs), semantic_check=False).proj().keys()
        if keys:
            pending = _pending(connection, keys, priorities or {})
            jobs.insert(pending, skip_duplicates=True, chunk_size=1000)
        jobs.refresh(delay=-1)  # what has to be done again, records of what vanished
        vanished = jobs.pending.restrict(dj.Not(table.key_source.proj()), semantic_check=False)
        vanished.delete_quick()
    finally:
        connection.query("SELECT RELEASE_LOCK(%s)", (lock,)).fetchone()
    return len(keys)


def lock_name(purpose: str, full_table_name: str) -> str:
    """Return the name of a lock of the database: those of tables may be too long for one."""
    return hashlib.sha256(f"{purpose} {full_table_name}".encode()).hexdigest()[:32]


def _pending(
    connection: dj.Connection, keys: list[dict[str, Any]], priorities: Mapping[str, int]
) -> list[dict[str, Any]]:
    (now,) = connection.query("SELECT CURRENT_TIMESTAMP(3) - INTERVAL 1 SECOND").fetchone()
    default = dj.config.jobs.default_priority
    return [
        key
        | {
            "status": "pending",
            "priority": priorities.get(key.get("training_set_hash", ""), default),
            "scheduled_time": now,
        }
        for key in keys
    ]


def do_due_jobs(
    table: dj.Computed, n_jobs: int = JOBS_AT_ONCE, priority: int | None = None
) -> list[JobDone]:
    """Do some of the jobs of a table that are due.

    Workers draw from the first jobs in line: with the same order for all of them, each would try
    to reserve what another one has just taken.

    Parameters
    ----------
    n_jobs : int
        At most so many.
    priority : int, optional
        Only of jobs with this priority.

    Returns
    -------
    list of JobDone
        Empty if there is nothing due, or others took it. Failed jobs stay in the queue as errors.
    """
    jobs = table.jobs
    due = jobs.pending & "scheduled_time <= CURRENT_TIMESTAMP(3)"
    if priority is not None:
        due &= {"priority": priority}
    keys = due.keys(order_by="priority, scheduled_time", limit=JOBS_IN_VIEW)
    if not keys:
        return []
    drawn = random.sample(keys, min(n_jobs, JOBS_AT_ONCE, len(keys)))
    table.populate(drawn, reserve_jobs=True, suppress_errors=True, refresh=False)
    mine = jobs & drawn & {"host": platform.node(), "pid": os.getpid()}
    _refuse_nothing(table, mine)
    return [
        JobDone({a: row[a] for a in jobs.primary_key}, row["duration"], row["error_message"])
        for row in mine.proj("duration", "error_message").to_dicts(order_by="KEY")
    ]


def _refuse_nothing(table: dj.Computed, mine: dj.Table) -> None:
    """Make errors of jobs that ended without a row: they would be done again, for ever."""
    done = mine & "status = 'success'"
    empty_handed = done.restrict(dj.Not(table.proj()), semantic_check=False).proj()
    for key in empty_handed.to_dicts():
        table.jobs.error(key, "NoRow: make inserted nothing; a negative outcome is a row too")
