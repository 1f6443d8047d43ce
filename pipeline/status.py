"""Where the work stands: per table what is done, pending, running, failed, blocked, and by what."""

from dataclasses import asdict, dataclass
from typing import Any

from schemas.graph import STEPS, Step
from schemas.operations import RetriedJob


@dataclass(frozen=True)
class TableStatus:
    """Counts of jobs of one computed table.

    Attributes
    ----------
    done, pending, running, failed : int
        Jobs; pending ones could start now.
    blocked : int
        What plans ask for and what cannot start yet.
    blocked_by : str
        Why.
    mean_seconds : float or None
        Mean duration of the jobs done, where the job table recorded it.
    """

    table: str
    done: int
    pending: int
    running: int
    failed: int
    blocked: int
    blocked_by: str
    mean_seconds: float | None

    @property
    def unfinished(self) -> int:
        """Jobs that still have to end well."""
        return self.pending + self.running + self.failed + self.blocked


def status() -> list[TableStatus]:
    """Return the status of every computed table, parents first."""
    found: dict[str, TableStatus] = {}
    for step in STEPS:
        found[step.table.__name__] = _table_status(step, found)
    return list(found.values())


def _table_status(step: Step, earlier: dict[str, TableStatus]) -> TableStatus:
    table = step.instance
    jobs = table.jobs
    running, failed = len(jobs.reserved), len(jobs.errors)
    todo = len(table.key_source.proj() - table.proj())
    blocked = len(step.asked() - table.key_source.proj())
    needs = [earlier[need.__name__] for need in step.needs]
    durations = jobs.completed.to_arrays("duration")
    return TableStatus(
        table=step.table.__name__,
        done=len(table),
        pending=max(0, todo - running - failed),
        running=running,
        failed=failed,
        blocked=blocked,
        blocked_by=reason(needs) if blocked else "",
        mean_seconds=float(durations.mean()) if len(durations) else None,
    )


def reason(needs: list[TableStatus]) -> str:
    """Say why jobs cannot start yet, from the status of the tables that they wait for."""
    failed = [f"{n.failed} failed in {n.table}" for n in needs if n.failed]
    if failed:
        return "; ".join(failed)
    waiting = [n.table for n in needs if n.unfinished]
    if waiting:
        return "waits for " + ", ".join(waiting)
    # parents are all there, but not fit to go on from
    return "no fit parents: a training that did not stay finite, or no unit selected"


def errors() -> list[dict[str, Any]]:
    """Return the failed jobs of all tables: table, key, message, stack, when, where."""
    rows = []
    for step in STEPS:
        jobs = step.instance.jobs
        for job in jobs.errors.to_dicts(order_by="completed_time"):
            rows.append(
                {
                    "table": step.table.__name__,
                    "key": {a: job[a] for a in jobs.primary_key},
                    "message": job["error_message"],
                    "stack": job["error_stack"],
                    "time": job["completed_time"],
                    "host": job["host"],
                    "pid": job["pid"],
                }
            )
    return rows


def n_errors() -> int:
    """Return how many jobs have failed."""
    return sum(len(step.instance.jobs.errors) for step in STEPS)


def retry_errors() -> int:
    """Forget all failed jobs, so that workers try them again; return how many."""
    RetriedJob().delete_quick()
    return sum(step.instance.jobs.errors.delete_quick(get_count=True) for step in STEPS)


def as_json(rows: list[TableStatus]) -> list[dict[str, Any]]:
    """Return the status as plain dictionaries."""
    return [asdict(row) for row in rows]
