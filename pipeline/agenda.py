"""What is next: the most urgent jobs of all tables, parents before children."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import datajoint as dj

from pipeline.queue import JOBS_AT_ONCE, JobDone, do_due_jobs, refill
from schemas.dataset import TrainingSetPriority
from schemas.graph import Step

REFILL_SECONDS = 10.0
"""After which a queue is filled, also while there is enough to do in others."""
REFILL_SHARE = 0.05
"""Of the time, at most, for filling one queue while others have jobs."""
BATCH_SECONDS = 2.0
"""Of short jobs that are done in one go."""


@dataclass(frozen=True)
class Due:
    """Jobs of one table and one priority that could be done now."""

    step: Step
    priority: int


class Agenda:
    """The queues of several tables, worked off together.

    Parameters
    ----------
    steps : sequence of Step
        The tables whose jobs are done here, parents before children.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = tuple(steps)
        self._next_place = 0
        self._may_refill_at = dict.fromkeys(self._steps, 0.0)
        self._seconds_per_job: dict[Step, float] = {}
        self._priorities: dict[str, int] = {}
        self._last: Step | None = None

    def next(self) -> Due | None:
        """Return what is most urgent, None if there is nothing to do.

        What may have become urgent is seen soon: the children of the table that was worked on last
        and, now and then, all others. If no queue has jobs, they are filled one after another until
        one has.
        """
        self._priorities = training_set_priorities()
        for step in self._steps:
            is_child = self._last is not None and self._last.table in step.needs
            if time.monotonic() - self._may_refill_at[step] > (0.0 if is_child else REFILL_SECONDS):
                self._refill(step)
        found = self._most_urgent()
        for _ in self._steps:
            if found:
                return found
            # Children come after their parents: the rest of the graph is seen in one round.
            step = self._steps[self._next_place]
            self._next_place = (self._next_place + 1) % len(self._steps)
            found = self._most_urgent() if self._refill(step) else None
        return found or self._most_urgent()

    def do(self, due: Due, n_jobs: int = JOBS_AT_ONCE) -> list[JobDone]:
        """Do some jobs, at most so many; return those that ended here, none if others took them."""
        step, begin = due.step, time.monotonic()
        self._last = step
        seconds = self._seconds_per_job.get(step, BATCH_SECONDS)
        batch = max(1, min(n_jobs, int(BATCH_SECONDS / max(seconds, 1e-3))))
        done = do_due_jobs(step.instance, batch, due.priority)
        if done:
            self._seconds_per_job[step] = (time.monotonic() - begin) / len(done)
        else:
            self._refill(step)  # what is wanted no more must not be drawn again
        return done

    def is_empty(self) -> bool:
        """Whether no job is left here: none that waits, and none that somebody is at."""
        return not any_job(self._steps, ("pending", "reserved"))

    def _refill(self, step: Step) -> int:
        begin = time.monotonic()
        n_jobs = refill(step.instance, self._priorities)
        end = time.monotonic()
        self._may_refill_at[step] = end + (end - begin) / REFILL_SHARE
        return n_jobs

    def _most_urgent(self) -> Due | None:
        looks = (
            f"(SELECT priority, {place} AS place FROM {step.instance.jobs.full_table_name} "
            "WHERE status = 'pending' AND scheduled_time <= CURRENT_TIMESTAMP(3) "
            "ORDER BY priority LIMIT 1)"
            for place, step in enumerate(self._steps)
        )
        everything = " UNION ALL ".join(looks) + " ORDER BY priority, place LIMIT 1"
        found = dj.conn().query(everything).fetchone()
        return Due(self._steps[found[1]], found[0]) if found else None


def training_set_priorities() -> dict[str, int]:
    """Return the priorities of jobs by `training_set_hash`, where they are not the default."""
    rows = TrainingSetPriority.to_dicts(order_by="KEY")
    return {row["training_set_hash"]: row["set_priority"] for row in rows}


def any_job(steps: Sequence[Step], status: Sequence[str]) -> bool:
    """Whether a job of these tables has one of these states."""
    states = ", ".join(["%s"] * len(status))
    looks = (
        f"(SELECT 1 FROM {step.instance.jobs.full_table_name} WHERE status IN ({states}) LIMIT 1)"
        for step in steps
    )
    return bool(dj.conn().query(" UNION ALL ".join(looks), (*status,) * len(steps)).fetchone())
