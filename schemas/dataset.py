"""From recordings to training sets: splits, groups of recordings, tiers, columns."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

import datajoint as dj

from schemas import recording
from schemas.configuration import Configuration, configuration_hash
from schemas.recording import Condition, Scan
from schemas.responses import Eye, Frame, InputResponse, StaticScan, Treadmill
from science.coding import CodingTask
from science.dataset import DataParams
from science.feedback import FeedbackTask
from science.navigation import NavigationTask
from science.split import SplitParams, assign_tiers

schema = dj.Schema()

Task = NavigationTask | CodingTask | FeedbackTask

TASK_FAMILIES: dict[type[Task], str] = {
    NavigationTask: "navigation",
    CodingTask: "coding",
    FeedbackTask: "feedback",
}

DATASET_FORMAT = 1
"""Of the arrays that `schemas.loading` makes of a dataset; part of its digest."""


@schema
class SplitConfig(Configuration, dj.Manual):
    definition = """
    # Which images train, validate and test
    split_hash : char(16)
    ---
    split_method : varchar(24)
    fold = null : int16                 # of a k-fold split, from 0
    split_params : json
    """
    params_type = SplitParams
    params_column = "split_params"

    @classmethod
    def columns(cls, params: SplitParams) -> dict[str, Any]:
        fold = params.fold if params.method == "kfold" else None
        return {"split_method": params.method, "fold": fold}


@schema
class DataConfig(Configuration, dj.Manual):
    definition = """
    # Which units and which normalisation a model is trained with
    data_hash : char(16)
    ---
    -> SplitConfig
    with_behavior : bool                # inputs hold pupil and running
    data_params : json
    """
    params_type = DataParams
    params_column = "data_params"

    @classmethod
    def register(cls, params: DataParams, split: SplitParams) -> dict[str, str]:
        """Insert selection and normalisation together with their split; return the key."""
        checked = DataParams.model_validate(params)
        split_key = SplitConfig.register(split)
        document = checked.model_dump(mode="json")
        key = {"data_hash": configuration_hash("DataConfig", document | split_key, cls.version)}
        row = key | split_key | {"data_params": document, "with_behavior": checked.behavior}
        cls.insert1(row, skip_duplicates=True)
        return key


@schema
class TaskConfig(Configuration, dj.Manual):
    definition = """
    # What a task-driven network is trained on
    task_hash : char(16)
    ---
    task_family : enum('navigation', 'coding', 'feedback')
    task_params : json
    """
    params_type = Task
    params_column = "task_params"

    @classmethod
    def columns(cls, params: Task) -> dict[str, Any]:
        return {"task_family": TASK_FAMILIES[type(params)]}


@schema
class StaticMultiDataset(dj.Manual):
    definition = """
    # A group of recordings that are modelled together
    group_id : int32
    ---
    group_digest : char(16)             # of its members
    unique index (group_digest)
    """

    class Member(dj.Part):
        """A recording of the group."""

        definition = """
        -> master
        -> StaticScan
        """

    @classmethod
    def register(cls, members: list[dict[str, Any]]) -> dict[str, int]:
        """Insert a group of admitted recordings unless it exists, and return its key.

        Parameters
        ----------
        members : list of dict
            Keys of `StaticScan`.
        """
        ordered = sorted(members, key=lambda m: tuple(m[a] for a in StaticScan.primary_key))
        if not ordered:
            raise ValueError("a group of recordings needs at least one member")
        digest = configuration_hash("StaticMultiDataset", {"members": ordered})
        existing = (cls & {"group_digest": digest}).keys()
        if existing:
            return existing[0]
        with cls.connection.transaction:
            # the unique digest makes a second process that registers the same group fail cleanly
            key = {"group_id": 1 + max(cls.to_arrays("group_id"), default=0)}
            cls.insert1(key | {"group_digest": digest})
            cls.Member.insert(key | m for m in ordered)
        return key


@schema
class TrainingSet(dj.Manual):
    definition = """
    # What a model is trained on: exactly one kind of source is filled
    training_set_hash : char(16)
    ---
    training_family : enum('image', 'navigation', 'coding', 'feedback')
    -> [nullable] StaticMultiDataset
    -> [nullable] DataConfig
    -> [nullable] TaskConfig
    """

    @classmethod
    def register_images(cls, group: dict[str, Any], data: dict[str, Any]) -> dict[str, str]:
        """Insert a group of recordings under a data configuration, and return the key."""
        digest = (StaticMultiDataset & group).fetch1("group_digest")
        key = {
            "training_set_hash": configuration_hash(
                "TrainingSet", {"group": digest, "data": data["data_hash"]}
            )
        }
        row = {"training_family": "image", "task_hash": None} | group | data
        cls.insert1(key | row, skip_duplicates=True)
        return key

    @classmethod
    def register_task(cls, task: dict[str, str]) -> dict[str, str]:
        """Insert a task that makes its own training data, and return the key."""
        family = (TaskConfig & task).fetch1("task_family")
        key = {"training_set_hash": configuration_hash("TrainingSet", task)}
        row = {"training_family": family, "group_id": None, "data_hash": None} | task
        cls.insert1(key | row, skip_duplicates=True)
        return key


@schema
class TrainingSetPriority(dj.Manual):
    definition = """
    # Training sets whose jobs go before others, or after them
    -> TrainingSet
    ---
    set_priority : int8                 # as that of jobs: the lower the sooner, 5 without a row
    """


def _members() -> dj.expression.QueryExpression:
    """Return the recordings of all image training sets, with their split."""
    return TrainingSet * StaticMultiDataset.Member * DataConfig


@schema
class ConditionTier(dj.Computed):
    definition = """
    # The tiers of a recording's images under a split
    -> Scan
    -> SplitConfig
    ---
    n_train : int32                     # conditions
    n_validation : int32
    n_test : int32
    """

    class Condition(dj.Part):
        """An image, as it was shown, and its tier."""

        definition = """
        -> master
        -> Condition
        ---
        tier : enum('train', 'validation', 'test')
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Recordings of the training sets that were asked for."""
        return dj.U(*self.primary_key) & _members()

    def make(self, key: dict[str, Any]) -> None:
        shown = recording.Trial * Condition * recording.Image & key
        rows = shown.proj("condition_hash", "image_sha256").to_dicts(order_by="trial_idx")
        condition_image = {r["condition_hash"]: r["image_sha256"] for r in rows}
        presentations = Counter(r["image_sha256"] for r in rows)
        images = sorted(presentations)
        tiers = assign_tiers(images, [presentations[i] for i in images], SplitConfig.params(key))
        tier = dict(zip(images, tiers, strict=True))
        self._check_against_other_recordings(key, tier)
        conditions = {c: tier[i] for c, i in condition_image.items()}
        counts = Counter(conditions.values())
        self.insert1(key | {f"n_{t}": counts[t] for t in ("train", "validation", "test")})
        self.Condition.insert(
            key | {"condition_hash": c, "tier": t} for c, t in sorted(conditions.items())
        )

    def _check_against_other_recordings(self, key: dict[str, Any], tier: dict[str, str]) -> None:
        """Raise ValueError where an image has another tier in another recording."""
        others = self.Condition * Condition * recording.Image & {"split_hash": key["split_hash"]}
        for other in (others.proj("tier", "image_sha256")).to_dicts():
            image = other["image_sha256"]
            if tier.get(image, other["tier"]) != other["tier"]:
                raise ValueError(
                    f"the image with sha256 {image} would be in tier '{tier[image]}' here but is "
                    f"in tier '{other['tier']}' in recording {other['animal_id']}-"
                    f"{other['session']}-{other['scan_idx']}: under split method 'repeated' an "
                    "image must be repeated in all recordings or in none. Use 'random' or 'kfold'."
                )


@schema
class TargetDataset(dj.Computed):
    definition = """
    # The units of an image training set, as the columns of its models
    -> TrainingSet
    ---
    n_units : int32
    dataset_digest : char(64)           # of frames, responses, tiers and units
    """

    class Member(dj.Part):
        definition = """
        # The responses and tiers the data of a recording come from
        -> master
        -> InputResponse
        ---
        -> ConditionTier
        readout_key : varchar(64)       # name of the recording inside a model
        """

    class Unit(dj.Part):
        definition = """
        # Column of the models = recorded unit
        -> master
        unit_index : int32
        ---
        -> Scan.Unit
        readout_key : varchar(64)
        readout_column : int32          # column within its recording's readout
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Image training sets all of whose recordings are preprocessed and split."""
        members = _members()
        behaving = members & "with_behavior"
        return (
            (TrainingSet & "training_family = 'image'").proj()
            - (members - InputResponse).proj()
            - (members - ConditionTier).proj()
            - ((behaving & recording.PupilTrack) - Eye).proj()
            - ((behaving & recording.TreadmillTrace) - Treadmill).proj()
        )

    def make(self, key: dict[str, Any]) -> None:
        params = DataConfig.params(TrainingSet & key)
        members = (_members() & key).to_dicts(order_by=StaticScan.primary_key)
        _check_tiers(members)
        contents, units, member_rows = [], [], []
        for member in members:
            scan = {a: member[a] for a in InputResponse.primary_key}
            split = {"split_hash": member["split_hash"]}
            name = readout_key(scan)
            selected = _selected_units(scan, params)
            member_rows.append(key | scan | split | {"readout_key": name})
            units += [
                unit | {"readout_key": name, "readout_column": column}
                for column, unit in enumerate(selected)
            ]
            contents.append([_content(scan, split, params), selected])
        version = {"params": params.model_dump(mode="json"), "format": DATASET_FORMAT}
        document = json.dumps([version, contents], sort_keys=True)
        digest = hashlib.sha256(document.encode()).hexdigest()
        self.insert1(key | {"n_units": len(units), "dataset_digest": digest})
        self.Member.insert(member_rows)
        self.Unit.insert(key | {"unit_index": i} | unit for i, unit in enumerate(units))


def _content(scan: dict[str, Any], split: dict[str, str], params: DataParams) -> list[Any]:
    """Return the checksums of everything the data of a recording come from.

    Raises
    ------
    ValueError
        If the recording has no images of a wanted class, or lacks the behaviour that is wanted.
    """
    blocks = InputResponse.ResponseBlock & scan
    content = [
        (Frame & scan).fetch1("frames_digest"),
        blocks.to_arrays("responses_digest", order_by="response_block").tolist(),
        (ConditionTier.Condition & scan & split).to_dicts(order_by="condition_hash"),
        (InputResponse.Input & scan).to_arrays("trial_idx", order_by="row_id").tolist(),
    ]
    if params.image_classes is not None:
        shown = dj.U("image_class") & (Frame.Condition * Condition & scan)
        _refuse_unknown("image_class", params.image_classes, shown, scan)
    if params.behavior:
        for table, what in ((Eye, "eye tracking"), (Treadmill, "running speed")):
            if not table & scan:
                raise ValueError(
                    f"recording {readout_key(scan)} has no {what}: set behavior = false"
                )
        content += [
            (Eye & scan).fetch1("eye_digest"),
            (Treadmill & scan).fetch1("treadmill_digest"),
        ]
    return content


def _check_tiers(members: list[dict[str, Any]]) -> None:
    """Raise ValueError if an image has two tiers: made at the same time, neither saw the other."""
    shown = ConditionTier.Condition * Condition * recording.Image
    tiers = dj.U("image_sha256", "tier") & (
        shown & [{a: m[a] for a in ConditionTier.primary_key} for m in members]
    )
    if len(tiers) > len(dj.U("image_sha256") & tiers):
        raise ValueError(
            f"an image has different tiers in the recordings {[readout_key(m) for m in members]}: "
            "delete their rows of ConditionTier and choose split method 'random' or 'kfold'"
        )


def readout_key(scan: dict[str, Any]) -> str:
    """Return the name of a recording inside a model."""
    return f"{scan['animal_id']}-{scan['session']}-{scan['scan_idx']}"


def _selected_units(scan: dict[str, Any], params: DataParams) -> list[dict[str, Any]]:
    """Return the keys of the units of one recording that a data configuration keeps.

    Raises
    ------
    ValueError
        If an area or layer does not exist in the recording, or no unit is left.
    """
    recorded = units = Scan.Unit & {a: scan[a] for a in Scan.primary_key}
    areas, layers = recording.AreaMembership, recording.LayerMembership
    for table, attribute, wanted, unwanted in (
        (areas, "brain_area", params.brain_areas, params.exclude_areas),
        (layers, "layer", params.layers, params.exclude_layers),
    ):
        if wanted is None and not unwanted:
            continue
        # what lies in no area or layer has a name, too, and may well not occur
        asked = {*(wanted or ()), *unwanted} - {"unknown", "unset"}
        _refuse_unknown(attribute, asked, table & recorded, scan)
        members = table
        if wanted is not None:
            members = members & [{attribute: name} for name in wanted]
        units = units & (members - [{attribute: name} for name in unwanted])
    selected = units.keys(order_by="unit_id")
    if not selected:
        raise ValueError(f"no unit of recording {readout_key(scan)} is left by {params}")
    return selected


def _refuse_unknown(
    attribute: str, names: Iterable[str], table: dj.expression.QueryExpression, scan: dict[str, Any]
) -> None:
    """Raise ValueError if a name does not occur in a recording."""
    present = set(table.to_arrays(attribute).tolist())
    unknown = sorted(set(names) - present)
    if unknown or not present:
        raise ValueError(
            f"{attribute} {unknown} does not occur in recording {readout_key(scan)}, "
            f"which has {sorted(present)}"
        )
