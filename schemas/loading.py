"""The data of a training set as arrays, loaded once per process."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from schemas.dataset import (
    ConditionTier,
    DataConfig,
    Frame,
    InputResponse,
    TargetDataset,
    TrainingSet,
)
from science.dataset import ImageDataset, Normalization, Recording
from science.digest import array_digest


def load_dataset(training_set: dict[str, Any], digest: str) -> ImageDataset:
    """Load a training set.

    Parameters
    ----------
    training_set : dict
        Key of `TargetDataset`.
    digest : str
        Its `dataset_digest`: what was loaded under another digest is never returned.
    """
    return _load(training_set["training_set_hash"], digest)


@lru_cache(maxsize=2)
def _load(training_set_hash: str, digest: str) -> ImageDataset:
    key = {"training_set_hash": training_set_hash, "dataset_digest": digest}
    members = (TargetDataset * TargetDataset.Member & key).to_dicts(order_by="KEY")
    if not members:
        raise LookupError(f"no dataset {key}: it was deleted or changed since it was asked for")
    recordings = {m["readout_key"]: _load_member(m) for m in members}
    params = DataConfig.params(TrainingSet & {"training_set_hash": training_set_hash})
    keys, columns = (TargetDataset.Unit & {"training_set_hash": training_set_hash}).to_arrays(
        "readout_key", "readout_column", order_by="unit_index"
    )
    return ImageDataset(
        recordings,
        Normalization.of(recordings, params.normalize_responses),
        [(str(k), int(c)) for k, c in zip(keys, columns, strict=True)],
        params.average_repeats,
    )


def _load_member(member: dict[str, Any]) -> Recording:
    scan = {a: member[a] for a in InputResponse.primary_key}
    split = {"split_hash": member["split_hash"]}
    frames = _intact(*(Frame & scan).fetch1("frames", "frames_digest"), f"frames of {scan}")
    tiers = (Frame.Condition * ConditionTier.Condition & scan & split).to_arrays(
        "tier", order_by="frame_row"
    )
    image_index = (InputResponse.Input * Frame.Condition & scan).to_arrays(
        "frame_row", order_by="row_id"
    )
    unit_ids = TargetDataset.Unit.proj("unit_id", *InputResponse.primary_key[:3]) & member
    block, columns = response_block(scan)
    selected = [columns[u] for u in unit_ids.to_arrays("unit_id", order_by="unit_index").tolist()]
    return Recording(
        frames=frames,
        tiers=np.asarray(tiers, str),
        image_index=np.asarray(image_index, np.int64),
        responses=block[:, selected],
    )


def response_block(scan: dict[str, Any]) -> tuple[NDArray[np.float32], dict[int, int]]:
    """Return raw responses (n_trials, n_units) of a recording and the column of each unit id."""
    stored = (InputResponse.ResponseBlock & scan).fetch1("responses", "responses_digest")
    block = _intact(*stored, f"responses of {scan}")
    ids, columns = (InputResponse.ResponseKeys & scan).to_arrays("unit_id", "col_id")
    return block, dict(zip(ids.tolist(), columns.tolist(), strict=True))


def _intact(stored: ArrayLike, digest: str, what: str) -> NDArray[np.float32]:
    """Load an array from the store; raise ValueError if it is not what was stored."""
    array = np.asarray(stored)
    if array_digest(array) != digest:
        raise ValueError(f"the {what} in the store are damaged: delete their row and compute again")
    return array
