"""Showing the images to the same cells again: cell matches, confusion matrices and their test."""

from typing import Any

import datajoint as dj
import numpy as np

from schemas.configuration import Configuration, configuration_hash
from schemas.dataset import TargetDataset
from schemas.loading import response_block
from schemas.recording import Condition as ShownCondition
from schemas.recording import Scan, Stack, StackRegistration, Trial
from schemas.responses import InputResponse, StaticScan
from schemas.rows import nullable
from schemas.stimulus import StimulusKind, StimulusSet
from science.closed_loop import (
    MatchParams,
    confusion,
    diagonal,
    majority_match,
    match_nearest,
    permutation_test,
    scale_responses,
)

schema = dj.Schema()

N_PERMUTATIONS = 10_000


@schema
class ClosedLoopScan(dj.Manual):
    definition = """
    # A recording in which a stimulus set was shown
    -> Scan
    ---
    -> StaticScan
    -> StimulusSet
    loop_group : int32                  # recordings whose trials may be pooled
    day : int16                         # 1 = the recording the models come from
    """


@schema
class MatchMethod(Configuration, dj.Manual):
    definition = """
    # How cells are matched between recordings
    match_hash : char(16)
    ---
    match_params : json
    """
    params_type = MatchParams
    params_column = "match_params"


@schema
class ResponseScaling(dj.Lookup):
    definition = """
    # How responses are scaled per unit, over all trials of the recording
    response_scaling : varchar(16)
    """
    contents = [{"response_scaling": s} for s in ("raw", "normalized", "zscored")]


@schema
class ConfusionPlan(dj.Manual):
    definition = """
    # A confusion matrix that someone asked for
    -> ClosedLoopScan
    -> MatchMethod
    -> ResponseScaling
    -> StimulusKind
    """


def _unregistered_sources() -> dj.expression.QueryExpression:
    """Return closed-loop recordings and stacks that a source recording is not registered to."""
    sources = (
        ClosedLoopScan.proj("stimulus_set_hash")
        * StimulusSet
        * TargetDataset.Member.proj(
            source_animal_id="animal_id", source_session="session", source_scan_idx="scan_idx"
        )
    )
    registered = StackRegistration.proj(
        source_animal_id="animal_id", source_session="session", source_scan_idx="scan_idx"
    )
    return sources * Stack.proj() - registered


@schema
class ProximityCellMatch(dj.Computed):
    definition = """
    # The recorded cell nearest to each modelled cell, in the frame of one stack
    -> ClosedLoopScan
    -> Stack
    -> MatchMethod
    ---
    n_matched : int32
    """

    class Unit(dj.Part):
        definition = """
        -> master
        -> TargetDataset.Unit
        ---
        -> Scan.Unit.proj(matched_unit_id='unit_id')
        match_distance : float64        # um
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Plans, in every stack that all recordings involved are registered to."""
        asked = ConfusionPlan * StackRegistration - _unregistered_sources().proj()
        return dj.U(*self.primary_key) & asked

    def make(self, key: dict[str, Any]) -> None:
        stack = {"stack_id": key["stack_id"]}
        loop = ClosedLoopScan * StimulusSet & key
        training_set = loop.fetch1("training_set_hash")
        source = (
            TargetDataset.Unit * StackRegistration.Unit
            & {"training_set_hash": training_set}
            & stack
        )
        target = StackRegistration.Unit & key
        units, *source_xyz = source.to_arrays(
            "unit_index", "stack_x", "stack_y", "stack_z", order_by="unit_index"
        )
        ids, *target_xyz = target.to_arrays(
            "unit_id", "stack_x", "stack_y", "stack_z", order_by="unit_id"
        )
        matched, distance = match_nearest(
            np.column_stack(source_xyz), np.column_stack(target_xyz), MatchMethod.params(key)
        )
        found = np.flatnonzero(matched >= 0)
        self.insert1(key | {"n_matched": len(found)})
        self.Unit.insert(
            key
            | {
                "training_set_hash": training_set,
                "unit_index": int(units[i]),
                "matched_unit_id": int(ids[matched[i]]),
                "match_distance": float(distance[i]),
            }
            for i in found
        )


@schema
class BestProximityCellMatch(dj.Computed):
    definition = """
    # The match that most stacks agree on; ties go to the smaller mean distance
    -> ClosedLoopScan
    -> MatchMethod
    ---
    n_stacks : int32
    """

    class Unit(dj.Part):
        definition = """
        -> master
        -> TargetDataset.Unit
        ---
        -> Scan.Unit.proj(matched_unit_id='unit_id')
        n_votes : int32                 # stacks that agree
        mean_distance : float64         # um, over them
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Plans all of whose stacks are matched."""
        pending = ProximityCellMatch().key_source - ProximityCellMatch.proj()
        asked = ConfusionPlan & ProximityCellMatch.proj()
        return dj.U(*self.primary_key) & (asked - pending)

    def make(self, key: dict[str, Any]) -> None:
        votes = (ProximityCellMatch.Unit & key).to_dicts(order_by="KEY")
        best = majority_match(
            [(v["unit_index"], v["matched_unit_id"], v["match_distance"]) for v in votes]
        )
        self.insert1(key | {"n_stacks": len(ProximityCellMatch & key)})
        self.Unit.insert(
            key
            | {
                "training_set_hash": votes[0]["training_set_hash"],
                "unit_index": unit,
                "matched_unit_id": match.target,
                "n_votes": match.n_votes,
                "mean_distance": match.mean_distance,
            }
            for unit, match in best.items()
        )


@schema
class ConfusionMatrix(dj.Computed):
    definition = """
    # Responses of matched cells to the images made for them; rows = cells, columns = images
    -> BestProximityCellMatch
    -> ResponseScaling
    -> StimulusKind
    ---
    -> InputResponse
    n_matrix_units : int32
    confusion_mean : <blob>             # float64, (n, n), mean over repeats
    confusion_variance : <blob>         # float64, (n, n), population variance over repeats
    confusion_n : <blob>                # int64, (n, n), repeats
    """

    class Diagonal(dj.Part):
        definition = """
        # A cell's response to its own image
        -> master
        -> BestProximityCellMatch.Unit
        ---
        matrix_index : int32            # row and column in the matrices
        diagonal_response = null : float64
        diagonal_sem = null : float64
        row_max : bool                  # no other image drives the cell more
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Plans whose cells are matched and whose responses are there."""
        ready = ClosedLoopScan.proj("preprocessing_hash") * InputResponse.proj()
        return (ConfusionPlan & ready.proj() & BestProximityCellMatch.proj()).proj()

    def make(self, key: dict[str, Any]) -> None:
        scan = (ClosedLoopScan & key).proj("preprocessing_hash").fetch1()
        response_key = {a: scan[a] for a in InputResponse.primary_key}
        items = StimulusSet.Item & (ClosedLoopScan & key).proj("stimulus_set_hash").fetch1()
        items &= {"stimulus_kind": key["stimulus_kind"]}
        targets = dj.U("training_set_hash", "unit_index") & items
        matches = (BestProximityCellMatch.Unit & key & targets).to_dicts(order_by="unit_index")
        if not matches:
            raise ValueError(f"none of the cells of {key} that images were made for is matched")
        matrix_index = {m["unit_index"]: i for i, m in enumerate(matches)}
        block, columns = response_block(response_key)
        scaled = scale_responses(block, key["response_scaling"])
        shown = _shown_units(response_key, items)
        matrix = confusion(
            scaled[:, [columns[m["matched_unit_id"]] for m in matches]],
            np.array([matrix_index.get(unit, -1) for unit in shown]),
        )
        self.insert1(
            key
            | response_key
            | {
                "n_matrix_units": len(matches),
                "confusion_mean": matrix.mean,
                "confusion_variance": matrix.variance,
                "confusion_n": matrix.n,
            }
        )
        entries = diagonal(matrix)
        self.Diagonal.insert(
            nullable(
                key
                | {
                    "training_set_hash": m["training_set_hash"],
                    "unit_index": m["unit_index"],
                    "matrix_index": i,
                    "diagonal_response": float(entries.response[i]),
                    "diagonal_sem": float(entries.sem[i]),
                    "row_max": bool(entries.row_max[i]),
                }
            )
            for i, m in enumerate(matches)
        )


def _shown_units(key: dict[str, Any], items: dj.expression.QueryExpression) -> list[int | None]:
    """Return for each trial of a recording the unit its image was made for, or None."""
    classes, ids, units = items.to_arrays("image_class", "image_id", "unit_index")
    made_for = dict(zip(zip(classes, ids, strict=True), units.tolist(), strict=True))
    trials = InputResponse.Input * Trial * ShownCondition & key
    shown = trials.to_arrays("image_class", "image_id", order_by="row_id")
    return [made_for.get(image) for image in zip(*shown, strict=True)]


@schema
class DiagonalTest(dj.Computed):
    definition = """
    # Permutation test: do images drive the cells they were made for more than others?
    -> ConfusionMatrix
    ---
    permutation_statistic = null : float64  # mean diagonal - mean of the rest, rows / maximum
    permutation_p = null : float64          # two-sided; null: fewer than two usable cells
    n_tested : int32
    n_dropped : int32                       # not shown, or constant
    n_permutations : int32
    permutation_seed : int64
    """

    def make(self, key: dict[str, Any]) -> None:
        mean = (ConfusionMatrix & key).fetch1("confusion_mean")
        seed = int(configuration_hash("DiagonalTest", key), 16) >> 1
        result = permutation_test(mean, N_PERMUTATIONS, seed)
        self.insert1(
            nullable(
                key
                | {
                    "permutation_statistic": result.statistic,
                    "permutation_p": result.p,
                    "n_tested": result.n,
                    "n_dropped": result.n_dropped,
                    "n_permutations": result.n_permutations,
                    "permutation_seed": seed,
                }
            )
        )
