"""Recordings in which a stimulus set was shown, and what shall be computed of them."""

from collections.abc import Sequence
from typing import Any

import datajoint as dj

from pipeline.errors import UserError
from schemas.cell_match import (
    ClosedLoopScan,
    LoopPool,
    MatchMethod,
    MatchPlan,
)
from schemas.closed_loop import ConfusionPlan, ResponseScaling
from schemas.dataset import TargetDataset
from schemas.recording import Condition, Scan, StackRegistration, Trial
from schemas.responses import StaticScan
from schemas.stimulus import StimulusSet
from science.closed_loop import MatchParams

SCALINGS = tuple(row["response_scaling"] for row in ResponseScaling.contents)


class BadLoop(UserError):
    """A loop that cannot be closed; the message says why."""


def close_loop(
    scan: dict[str, Any],
    stimulus: dict[str, str],
    match: MatchParams,
    scalings: Sequence[str] = SCALINGS,
    day: int = 2,
    loop_group: int = 1,
) -> None:
    """Ask for the confusion matrices of a recording that showed a stimulus set.

    They are asked for alone and, where the loop group has several recordings by now, of all of
    them pooled. The recording is admitted under the preprocessing of those the stimulus set comes
    from.

    Parameters
    ----------
    scan : dict
        Key of `Scan`.
    stimulus : dict
        Key of `StimulusSet`.
    match : MatchParams
    scalings : sequence of str
    day : int
        From 2.
    loop_group : int

    Raises
    ------
    BadLoop
        If recording or stimulus set do not exist, the set was not shown, no stack holds the
        recording and one of those the models come from, the group is of other cells, or the
        recording is known with another set, group or day.
    """
    scan = {name: scan[name] for name in Scan.primary_key}
    _check_shown(scan, stimulus)
    _check_stacks(scan, stimulus)
    _check_group(stimulus, loop_group)
    sources = TargetDataset.Member & (StimulusSet & stimulus).proj("training_set_hash")
    row = stimulus | {"loop_group": loop_group, "day": day}
    for known in (ClosedLoopScan & scan).proj(*row).to_dicts():
        if known != scan | row:
            raise BadLoop(f"recording {scan} already closes a loop, as {known}: delete that first")
    admitted = scan | {"preprocessing_hash": str(sources.to_arrays("preprocessing_hash")[0])}
    method = MatchMethod.register(match)
    with ClosedLoopScan.connection.transaction:
        StaticScan.insert1(admitted, skip_duplicates=True)
        ClosedLoopScan.insert1(admitted | row, skip_duplicates=True)
        group = (ClosedLoopScan & {"loop_group": loop_group}).to_dicts(order_by="KEY")
        MatchPlan.insert(
            (member | method for member in group), skip_duplicates=True, ignore_extra_fields=True
        )
    for pool in [[scan], group] if len(group) > 1 else [[scan]]:
        _plan(LoopPool.register(pool), method, scalings)


def _plan(pool: dict[str, str], method: dict[str, str], scalings: Sequence[str]) -> None:
    shown = LoopPool.Member * ClosedLoopScan.proj("stimulus_set_hash") & pool
    kinds = dj.U("stimulus_kind") & (StimulusSet.Item * shown)
    ConfusionPlan.insert(
        (
            pool | method | {"response_scaling": scaling, "stimulus_kind": str(kind)}
            for kind in kinds.to_arrays("stimulus_kind", order_by="stimulus_kind")
            for scaling in scalings
        ),
        skip_duplicates=True,
    )


def _check_shown(scan: dict[str, Any], stimulus: dict[str, str]) -> None:
    if not StimulusSet & stimulus:
        raise BadLoop(f"there is no stimulus set {stimulus['stimulus_set_hash']}")
    if not Scan & scan:
        raise BadLoop(f"there is no recording {scan}: ingest it first")
    shown = dj.U("image_class", "image_id") & (Condition * Trial & scan)
    if not (StimulusSet.Item & stimulus & shown):
        raise BadLoop(
            f"recording {scan} showed none of the images of stimulus set "
            f"{stimulus['stimulus_set_hash']}: ingest it with the images of the exported set"
        )


def _check_stacks(scan: dict[str, Any], stimulus: dict[str, str]) -> None:
    """Check that the recording and one that the models come from lie in a common stack."""
    sources = TargetDataset.Member & (StimulusSet & stimulus).proj("training_set_hash")
    animal = {"animal_id": scan["animal_id"]}
    if not sources & animal:
        raise BadLoop(
            f"none of the recordings that the models come from is of animal {scan['animal_id']}: "
            "its cells cannot be matched"
        )
    stacks, own = (
        set((StackRegistration & query).to_arrays("stack_id").tolist())
        for query in (sources & animal, scan)
    )
    if not stacks & own:
        raise BadLoop(
            f"recording {scan} lies in the stacks {sorted(own)}, those that the models come from "
            f"in {sorted(stacks)}: register both to one stack (`inceptionloop ingest stack`)"
        )


def _check_group(stimulus: dict[str, str], loop_group: int) -> None:
    """Check that the recordings of a group show images made for the same units."""
    known = dj.U("training_set_hash") & (ClosedLoopScan * StimulusSet & {"loop_group": loop_group})
    wanted = (StimulusSet & stimulus).fetch1("training_set_hash")
    others = [h for h in known.to_arrays("training_set_hash").tolist() if h != wanted]
    if others:
        raise BadLoop(
            f"loop group {loop_group} is of training set {others[0]}, the stimulus set of "
            f"{wanted}: give this recording another group"
        )
