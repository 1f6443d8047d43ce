"""What people tell all workers at once: to pause, to go on, what to do first."""

import datajoint as dj

from pipeline.errors import UserError
from schemas.dataset import TrainingSet, TrainingSetPriority
from schemas.graph import STEPS
from schemas.operations import Pause

MAX_REASON = 64


class BadPriority(UserError):
    """A priority that cannot be given; the message says why."""


class BadReason(UserError):
    """A pause without a reason, or with too long a one."""


def pause(reason: str) -> None:
    """Let all workers finish their jobs and take no new ones, until `resume`.

    Raises
    ------
    BadReason
        If the reason is empty or longer than its column.
    """
    if not 0 < len(reason) <= MAX_REASON:
        raise BadReason(f"say in 1 to {MAX_REASON} characters why the workers are to pause")
    Pause.insert1({"pause_reason": reason, "paused_by": dj.conn().get_user()}, skip_duplicates=True)


def resume(reason: str | None = None) -> int:
    """End one pause, or all; return how many there were."""
    pauses = Pause() if reason is None else Pause & {"pause_reason": reason}
    return pauses.delete_quick(get_count=True)


def prioritise(training_set_hash: str, priority: int) -> int:
    """Set the priority of all jobs of a training set; return how many waiting jobs have changed.

    Parameters
    ----------
    priority : int
        The lower the sooner; 5 is that of everything else.

    Raises
    ------
    BadPriority
        If there is no such training set, or the priority is not from 0 to 9.
    """
    key = {"training_set_hash": training_set_hash}
    if not 0 <= priority <= 9:
        raise BadPriority(f"a priority is a number from 0 (first) to 9 (last), not {priority}")
    if not TrainingSet & key:
        raise BadPriority(
            f"there is no training set '{training_set_hash}': `inceptionloop register` prints "
            "its hash when a study is registered"
        )
    TrainingSetPriority.insert1(key | {"set_priority": priority}, replace=True)
    changed = 0
    for step in STEPS:
        jobs = step.instance.jobs
        if "training_set_hash" in jobs.primary_key:
            # one statement, so that a job that is taken meanwhile is not touched
            changed += (
                dj.conn()
                .query(
                    f"UPDATE {jobs.full_table_name} SET priority = %s "
                    "WHERE training_set_hash = %s AND status = 'pending'",
                    (priority, training_set_hash),
                )
                .rowcount
            )
    return changed
