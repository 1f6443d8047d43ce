"""Which recorded cell is which on another day: by place in every stack, then by what it answers."""

from collections.abc import Sequence
from typing import Any

import datajoint as dj
import numpy as np
from numpy.typing import NDArray

from schemas import recording
from schemas.configuration import Configuration, configuration_hash
from schemas.dataset import TargetDataset
from schemas.loading import response_block
from schemas.recording import Scan, Stack, StackRegistration, StackUnitCoord
from schemas.responses import InputResponse, StaticScan
from schemas.rows import nullable
from schemas.stimulus import StimulusSet
from science.closed_loop import (
    MatchParams,
    majority_match,
    match_correlations,
    match_nearest,
    match_status,
)
from science.metrics import repeated_trials

schema = dj.Schema()

MIN_REPEATS = 5  # of an image by whose responses matched cells are compared (microns_vei 10.8)
MIN_IMAGES = 3

Images = dict[tuple[str, int], int]


@schema
class ClosedLoopScan(dj.Manual):
    definition = """
    # A recording in which a stimulus set was shown
    -> Scan
    ---
    -> StaticScan
    -> StimulusSet
    loop_group : int32                  # recordings of the same cells whose trials may be pooled
    day : int16                         # 1 = the recording the models come from
    """


@schema
class LoopPool(dj.Manual):
    definition = """
    # A frozen set of closed-loop recordings whose trials are pooled; often of one
    pool_hash : char(16)
    ---
    n_pooled : int32
    """

    class Member(dj.Part):
        """A recording of the pool."""

        definition = """
        -> master
        -> ClosedLoopScan
        """

    @classmethod
    def register(cls, scans: Sequence[dict[str, Any]]) -> dict[str, str]:
        """Insert a pool of closed-loop recordings unless it exists, and return its key."""
        keys = [{name: int(scan[name]) for name in Scan.primary_key} for scan in scans]
        keys.sort(key=lambda k: tuple(k.values()))
        key = {"pool_hash": configuration_hash("LoopPool", {"members": keys})}
        if not cls & key:
            with cls.connection.transaction:
                cls.insert1(key | {"n_pooled": len(keys)})
                cls.Member.insert(key | member for member in keys)
        return key


@schema
class MatchMethod(Configuration, dj.Manual):
    definition = """
    # How cells are matched between recordings, and which matches count
    match_hash : char(16)
    ---
    match_params : json
    """
    params_type = MatchParams
    params_column = "match_params"


@schema
class MatchPlan(dj.Manual):
    definition = """
    # Cell matches that someone asked for
    -> ClosedLoopScan
    -> MatchMethod
    """


@schema
class ExcludedMatch(dj.Manual):
    definition = """
    # A match that does not count, whatever the method: someone looked at it
    -> ClosedLoopScan
    -> TargetDataset.Unit
    ---
    match_comment : varchar(255)
    """


def source_registrations() -> dj.expression.QueryExpression:
    """Return the stacks that the recordings behind each closed-loop recording are registered to."""
    sources = ClosedLoopScan.proj("stimulus_set_hash") * StimulusSet.proj("training_set_hash")
    sources *= TargetDataset.Member.proj(**_SOURCE)
    return sources * StackRegistration.proj(**_SOURCE)


_SOURCE = {f"source_{name}": name for name in ("animal_id", "session", "scan_idx")}


@schema
class ProximityCellMatch(dj.Computed):
    definition = """
    # The recorded cell nearest to each modelled cell, in the frame of one stack
    -> MatchPlan
    -> Stack
    ---
    n_matched : int32
    """

    class Unit(dj.Part):
        """A modelled cell and the recorded one nearest to it."""

        definition = """
        -> master
        -> TargetDataset.Unit
        ---
        -> Scan.Unit.proj(matched_unit_id='unit_id')
        match_distance : float64        # um
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Plans, in every stack that the recording and a source of it are registered to."""
        shared = dj.U(*self.primary_key[:3], "stack_id") & source_registrations()
        return (MatchPlan * StackRegistration & shared).proj()

    def make(self, key: dict[str, Any]) -> None:
        training_set, stack = _training_set(key), {"stack_id": key["stack_id"]}
        source = TargetDataset.Unit * StackUnitCoord & training_set & stack
        target = StackUnitCoord & key
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
            | training_set
            | {
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
    -> MatchPlan
    ---
    n_stacks : int32
    """

    class Unit(dj.Part):
        """A modelled cell and the recorded one that most stacks say it is."""

        definition = """
        -> master
        -> TargetDataset.Unit
        ---
        -> Scan.Unit.proj(matched_unit_id='unit_id')
        n_votes : int32                 # stacks that agree
        mean_distance : float64         # um, over them
        runner_up_unit_id = null : int32    # the second choice; null: all stacks agree
        runner_up_votes : int32
        runner_up_distance = null : float64 # um
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Plans all of whose stacks are matched."""
        pending = ProximityCellMatch().key_source - ProximityCellMatch.proj()
        return (MatchPlan & ProximityCellMatch.proj()) - pending

    def make(self, key: dict[str, Any]) -> None:
        votes = (ProximityCellMatch.Unit & key).to_dicts(order_by="KEY")
        best = majority_match(
            ((v["unit_index"], v["matched_unit_id"], v["match_distance"]) for v in votes),
            MatchMethod.params(key).one_to_one,
        )
        training_set = _training_set(key)
        self.insert1(key | {"n_stacks": len(ProximityCellMatch & key)})
        self.Unit.insert(
            nullable(
                key
                | training_set
                | {
                    "unit_index": unit,
                    "matched_unit_id": match.target,
                    "n_votes": match.n_votes,
                    "mean_distance": match.mean_distance,
                    "runner_up_unit_id": match.runner_up,
                    "runner_up_votes": match.runner_up_votes,
                    "runner_up_distance": match.runner_up_distance,
                }
            )
            for unit, match in best.items()
        )


@schema
class CellMatchOracleCorrelation(dj.Computed):
    definition = """
    # Do matched cells answer alike to the same images? And which matches count
    -> BestProximityCellMatch
    ---
    n_shared_images : int32             # repeated often enough in both recordings
    n_accepted : int32
    match_correlations : <blob>         # float64, (n, n): source cell in the row, matched in the
                                        # column, by match_index; NaN: not known
    """

    class Unit(dj.Part):
        """A match, how alike both cells answer, and whether it counts."""

        definition = """
        -> master
        -> BestProximityCellMatch.Unit
        ---
        match_index : int32
        match_correlation = null : float64
        match_status : enum('accepted', 'excluded', 'distant', 'unlike', 'unmeasured')
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Matches of recordings whose responses are there."""
        answered = ClosedLoopScan.proj("preprocessing_hash") * InputResponse.proj()
        return BestProximityCellMatch & answered.proj()

    def make(self, key: dict[str, Any]) -> None:
        matches = BestProximityCellMatch.Unit.proj("matched_unit_id", "mean_distance") & key
        rows = matches.to_dicts(order_by="unit_index")
        correlations, n_shared = _correlations(key, rows)
        excluded = set((ExcludedMatch & key).to_arrays("unit_index").tolist())
        params = MatchMethod.params(key)
        units = [
            {
                "training_set_hash": row["training_set_hash"],
                "unit_index": row["unit_index"],
                "match_index": i,
                "match_correlation": float(correlations[i, i]),
                "match_status": "excluded"
                if row["unit_index"] in excluded
                else match_status(params, row["mean_distance"], correlations[i, i]),
            }
            for i, row in enumerate(rows)
        ]
        self.insert1(
            key
            | {
                "n_shared_images": n_shared,
                "n_accepted": sum(unit["match_status"] == "accepted" for unit in units),
                "match_correlations": correlations,
            }
        )
        self.Unit.insert(nullable(key | unit) for unit in units)


def _correlations(
    key: dict[str, Any], matches: list[dict[str, Any]]
) -> tuple[NDArray[np.float64], int]:
    """Correlate source cells (rows) with matched cells over the images that both recordings saw.

    Returns
    -------
    correlations : float64, (n, n)
    n_shared : int
        Images, the fewest of any source recording.
    """
    correlations = np.full((len(matches), len(matches)), np.nan)
    loop = (ClosedLoopScan & key).proj("preprocessing_hash").fetch1()
    target, target_images = _image_responses(loop, [m["matched_unit_id"] for m in matches])
    row_of = {match["unit_index"]: i for i, match in enumerate(matches)}
    counts = []
    for member in (TargetDataset.Member & _training_set(key)).to_dicts(order_by="KEY"):
        of_member = {name: member[name] for name in ("training_set_hash", "readout_key")}
        units = (TargetDataset.Unit & of_member).to_dicts(order_by="unit_index")
        units = [unit for unit in units if unit["unit_index"] in row_of]
        source, source_images = _image_responses(member, [unit["unit_id"] for unit in units])
        shared = [image for image in source_images if image in target_images]
        counts.append(len(shared))
        if units and len(shared) >= MIN_IMAGES:
            correlations[[row_of[unit["unit_index"]] for unit in units]] = match_correlations(
                source[[source_images[image] for image in shared]],
                target[[target_images[image] for image in shared]],
            )
    return correlations, min(counts)


def _training_set(key: dict[str, Any]) -> dict[str, str]:
    loop = ClosedLoopScan * StimulusSet & key
    return {"training_set_hash": loop.fetch1("training_set_hash")}


def _image_responses(scan: dict[str, Any], units: list[int]) -> tuple[NDArray[np.float64], Images]:
    """Return mean responses (n_images, n_units) to repeated images, and which image a row is."""
    scan = {name: scan[name] for name in InputResponse.primary_key}
    block, columns = response_block(scan)
    images, shown = shown_images(scan)
    order, counts = repeated_trials(shown, MIN_REPEATS)
    if not len(counts):
        return np.empty((0, len(units))), {}
    firsts = np.cumsum(counts) - counts
    own = block[np.ix_(order, [columns[unit] for unit in units])].astype(np.float64)
    means = np.add.reduceat(own, firsts, axis=0) / counts[:, None]
    return means, {images[i]: row for row, i in enumerate(shown[order[firsts]])}


def shown_images(scan: dict[str, Any]) -> tuple[list[tuple[str, int]], NDArray[np.int64]]:
    """Return the images of a recording, and which of them each row of its responses shows."""
    trials = InputResponse.Input * recording.Trial * recording.Condition & scan
    names = zip(*trials.to_arrays("image_class", "image_id", order_by="row_id"), strict=True)
    number: Images = {}
    shown = [number.setdefault((str(name), int(i)), len(number)) for name, i in names]
    return list(number), np.array(shown, np.int64)
