"""The data of a training set: memory-mapped, made once per machine, loaded once per process.

They lie in a folder named after the dataset's digest, which is that of all their sources: what
changed has another name, so nothing stale is ever read.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas import recording
from schemas.cache import cached_folder
from schemas.dataset import ConditionTier, DataConfig, TargetDataset, TrainingSet
from schemas.responses import Eye, Frame, InputResponse, Treadmill
from schemas.store import intact
from science.dataset import DataParams, ImageDataset, Normalization, Recording


def load_dataset(training_set: dict[str, Any], digest: str) -> ImageDataset:
    """Load a training set.

    Parameters
    ----------
    training_set : dict
        Key of `TargetDataset`.
    digest : str
        Its `dataset_digest`: what was loaded under another digest is never returned.

    Raises
    ------
    LookupError
        If the dataset was deleted, or made anew with another digest.
    """
    return _load(training_set["training_set_hash"], digest)


def forget_datasets() -> None:
    """Let go of the data sets that are kept in memory."""
    _load.cache_clear()


@lru_cache(maxsize=2)
def _load(training_set_hash: str, digest: str) -> ImageDataset:
    key = {"training_set_hash": training_set_hash}
    members = (TargetDataset * TargetDataset.Member & key & {"dataset_digest": digest}).to_dicts(
        order_by="KEY"
    )
    if not members:
        raise LookupError(
            f"there is no dataset {key} with digest {digest}: it was deleted or changed since it "
            "was asked for"
        )
    params = DataConfig.params(TrainingSet & key)
    recordings = {m["readout_key"]: _load_member(m, params) for m in members}
    keys, columns = (TargetDataset.Unit & key).to_arrays(
        "readout_key", "readout_column", order_by="unit_index"
    )
    return ImageDataset(
        recordings,
        Normalization.of(recordings, params),
        [(str(k), int(c)) for k, c in zip(keys, columns, strict=True)],
        params.average_repeats,
    )


def _load_member(member: dict[str, Any], params: DataParams) -> Recording:
    def write(folder: Path) -> None:
        _write_member(folder, member, params)

    folder = cached_folder(f"{member['dataset_digest']}-{member['readout_key']}", write)
    arrays = {path.stem: np.load(path, mmap_mode="r") for path in folder.glob("*.npy")}
    return Recording(**arrays)


def _write_member(folder: Path, member: dict[str, Any], params: DataParams) -> None:
    """Write the arrays of a `Recording` as files, one block of units at a time."""
    scan = {a: member[a] for a in InputResponse.primary_key}
    split = {"split_hash": member["split_hash"]}
    frames = intact(*(Frame & scan).fetch1("frames", "frames_digest"), f"frames of {scan}")
    tiers = (Frame.Condition * ConditionTier.Condition & scan & split).to_arrays(
        "tier", order_by="frame_row"
    )
    rows = (InputResponse.Input * Frame.Condition * recording.Condition & scan).to_dicts(
        order_by="row_id"
    )
    classes = params.image_classes
    kept = np.array([classes is None or r["image_class"] in classes for r in rows])
    if params.behavior:
        kept &= _write_behavior(folder, scan, kept)
    image_index = np.array([r["frame_row"] for r in rows], np.int64)[kept]
    np.save(folder / "frames.npy", frames)
    np.save(folder / "tiers.npy", np.asarray(tiers, str))
    np.save(folder / "image_index.npy", image_index)
    units = TargetDataset.Unit.proj("unit_id", *InputResponse.primary_key[:3]) & member
    unit_ids = units.to_arrays("unit_id", order_by="unit_index").tolist()
    responses = np.lib.format.open_memmap(
        folder / "responses.npy", "w+", np.float32, (len(image_index), len(unit_ids))
    )
    column_of = {unit: column for column, unit in enumerate(unit_ids)}
    for block, block_units in _response_blocks(scan):
        chosen = [c for c, unit in enumerate(block_units) if unit in column_of]
        responses[:, [column_of[block_units[c]] for c in chosen]] = block[kept][:, chosen]
    responses.flush()


def _write_behavior(
    folder: Path, scan: dict[str, Any], kept: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Write behaviour and pupil centre of the trials in which both are valid; return which."""
    eye, running = (Eye & scan).fetch1(), (Treadmill & scan).fetch1()
    kept = kept & eye["eye_valid"] & running["treadmill_valid"]
    behavior = np.stack([eye["pupil"], eye["dpupil"], running["treadmill"]], axis=1)
    np.save(folder / "behavior.npy", behavior[kept].astype(np.float32))
    np.save(folder / "pupil_center.npy", eye["center"][kept].astype(np.float32))
    return kept


def response_block(scan: dict[str, Any]) -> tuple[NDArray[np.float32], dict[int, int]]:
    """Return raw responses (n_trials, n_units) of a recording and the column of each unit id."""
    blocks = list(_response_blocks(scan))
    units = [unit for _, block_units in blocks for unit in block_units]
    responses = np.concatenate([block for block, _ in blocks], axis=1)
    return responses, {unit: column for column, unit in enumerate(units)}


def _response_blocks(scan: dict[str, Any]) -> Iterator[tuple[NDArray[np.float32], list[int]]]:
    """Read the responses of a recording block by block, with the units of their columns."""
    for row in (InputResponse.ResponseBlock & scan).to_dicts(order_by="response_block"):
        number = {"response_block": row["response_block"]}
        units = (InputResponse.ResponseKeys & scan & number).to_arrays("unit_id", order_by="col_id")
        block = intact(row["responses"], row["responses_digest"], f"responses of {scan}")
        yield block, units.tolist()
