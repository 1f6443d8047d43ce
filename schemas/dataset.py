"""From recordings to training sets: frames, responses, splits, groups of recordings."""

import hashlib
import json
from collections import Counter
from typing import Any

import datajoint as dj
import numpy as np

from schemas import recording
from schemas.configuration import Configuration, configuration_hash
from schemas.recording import Condition, Scan
from science.dataset import DataParams
from science.digest import array_digest
from science.preprocessing import PreprocessingParams, resize_image
from science.split import SplitParams, assign_tiers

schema = dj.Schema()


@schema
class Preprocessing(Configuration, dj.Manual):
    definition = """
    # How images become frames and activity becomes responses
    preprocessing_hash : char(16)
    ---
    frame_height : int16                # px
    frame_width : int16                 # px
    preprocessing_params : json
    """
    params_type = PreprocessingParams
    params_column = "preprocessing_params"

    @classmethod
    def columns(cls, params: PreprocessingParams) -> dict[str, Any]:
        return {"frame_height": params.height, "frame_width": params.width}


@schema
class StaticScan(dj.Manual):
    definition = """
    # A recording admitted to the analysis, under one preprocessing
    -> Scan
    -> Preprocessing
    """


@schema
class Frame(dj.Computed):
    definition = """
    # The images of a recording at working resolution
    -> StaticScan
    ---
    n_frames : int32
    frames : <npy@>                     # float32, (n_frames, height, width), grey values 0-255
    frames_digest : char(64)
    """

    class Condition(dj.Part):
        definition = """
        # Which frame shows which condition
        -> master
        -> Condition
        ---
        frame_row : int32
        """

    def make(self, key: dict[str, Any]) -> None:
        params = Preprocessing.params(key)
        shown = recording.Image * Condition & (recording.Trial & key)
        conditions, images = shown.to_arrays("condition_hash", "image", order_by="condition_hash")
        if len(conditions) == 0:
            raise ValueError(f"recording {key} has no trials that show an image")
        frames = np.stack([resize_image(i, params.height, params.width) for i in images])
        self.insert1(
            key | dict(n_frames=len(frames), frames=frames, frames_digest=array_digest(frames))
        )
        self.Condition.insert(
            key | {"condition_hash": c, "frame_row": row} for row, c in enumerate(conditions)
        )


@schema
class InputResponse(dj.Computed):
    definition = """
    # The inputs of a recording and the responses to them, trial by trial
    -> Frame
    ---
    n_trials : int32
    n_recorded_units : int32
    """

    class Input(dj.Part):
        definition = """
        # What a row of the response block showed
        -> master
        -> recording.Trial
        ---
        row_id : int32
        -> Frame.Condition
        """

    class ResponseBlock(dj.Part):
        definition = """
        -> master
        ---
        responses : <npy@>              # float32, (n_trials, n_recorded_units)
        responses_digest : char(64)
        """

    class ResponseKeys(dj.Part):
        definition = """
        # Which unit a column of the response block is
        -> master
        -> Scan.Unit
        ---
        col_id : int32
        """

    def make(self, key: dict[str, Any]) -> None:
        kind, activity = (recording.Activity & key).fetch1("activity_kind", "activity")
        if kind != "trial_response":
            raise ValueError(f"responses cannot be taken from activity of kind '{kind}' yet")
        responses = np.asarray(activity, np.float32)
        trials = (recording.Trial & key).to_dicts(order_by="trial_idx")
        units = (Scan.Unit & key).keys(order_by="unit_id")
        if responses.shape != (len(trials), len(units)):
            raise ValueError(
                f"activity of {key} has shape {responses.shape}, but the recording has "
                f"{len(trials)} trials and {len(units)} units"
            )
        self.insert1(key | dict(n_trials=len(trials), n_recorded_units=len(units)))
        self.Input.insert(key | trial | {"row_id": row} for row, trial in enumerate(trials))
        self.ResponseBlock.insert1(
            key | dict(responses=responses, responses_digest=array_digest(responses))
        )
        self.ResponseKeys.insert(key | unit | {"col_id": col} for col, unit in enumerate(units))


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
        cls.insert1(key | split_key | {"data_params": document}, skip_duplicates=True)
        return key


@schema
class TaskConfig(dj.Manual):
    definition = """
    # What a task-driven network is trained on
    task_hash : char(16)
    ---
    task_family : enum('navigation', 'coding', 'feedback')
    task_params : json
    """


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
        return (
            (TrainingSet & "training_family = 'image'").proj()
            - (members - InputResponse).proj()
            - (members - ConditionTier).proj()
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
            contents.append(
                [
                    (Frame & scan).fetch1("frames_digest"),
                    (InputResponse.ResponseBlock & scan).fetch1("responses_digest"),
                    (ConditionTier.Condition & scan & split).to_dicts(order_by="condition_hash"),
                    selected,
                ]
            )
        digest = hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()
        self.insert1(key | {"n_units": len(units), "dataset_digest": digest})
        self.Member.insert(member_rows)
        self.Unit.insert(key | {"unit_index": i} | unit for i, unit in enumerate(units))


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
    wanted = (
        (recording.UnitArea, "brain_area", params.brain_areas),
        (recording.UnitLayer, "layer", params.layers),
    )
    for table, attribute, names in wanted:
        if names is None:
            continue
        present = set((table & recorded).to_arrays(attribute).tolist())
        unknown = sorted(set(names) - present)
        if unknown:
            raise ValueError(
                f"{attribute} {unknown} does not occur in recording {readout_key(scan)}, "
                f"which has {sorted(present)}"
            )
        units = units & (table & [{attribute: name} for name in names])
    selected = units.keys(order_by="unit_id")
    if not selected:
        raise ValueError(f"no unit of recording {readout_key(scan)} is left by {params}")
    return selected
