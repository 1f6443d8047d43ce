"""The closed loop: what was shown on a later day, to which cells, and what they answered."""

from collections.abc import Mapping
from typing import Any

from hdmf.common import DynamicTable
from pynwb import NWBFile, ProcessingModule
from pynwb.base import Images
from pynwb.epoch import TimeIntervals

from pipeline.export.nwb.containers import Rows, images, table
from schemas.cell_match import (
    BestProximityCellMatch,
    CellMatchOracleCorrelation,
    ClosedLoopScan,
    LoopPool,
)
from schemas.closed_loop import ConfusionMatrix
from schemas.dataset import TargetDataset
from schemas.recording import Condition, Image, Scan, Trial
from schemas.stimulus import StimulusSet

SHOWN, PRESENTATIONS = "closed_loop", "closed_loop_presentations"
"""As `inceptionloop ingest nwb` looks for images and when they were shown."""

RESPONSES = {
    "unit_id": "recorded unit",
    "source_unit": "the unit that images were made for: animal-session-scan-unit",
    "stimulus_kind": "which kind of image was made for it",
    "response_scaling": "raw; normalized: divided by the SD of the unit; zscored",
    "recordings": "whose trials are pooled: animal-session-scan",
    "mean": "response to its own image, mean over repeats; NaN: not shown",
    "sem": "standard error of the mean",
    "n": "repeats",
    "rank": "images made for others that drive it more; -1: not shown",
    "row_max": "whether no other image drives it more",
    "pool_hash": "the pooled recordings",
    "match_hash": "how cells were matched",
}
ITEMS = {
    "image_index": f"image in `{SHOWN}`, from 0",
    "stimulus_kind": "kind of image",
    "source_unit": "the unit that it was made for: animal-session-scan-unit",
    "x_shift": "to the right, pixels of the model's images",
    "y_shift": "down",
    "shown_mean": "in the unit of the display rule",
    "shown_contrast": "pixel SD, likewise",
    "shown_activation": "of the ensemble to the image as it is shown",
    "stimulus_set_hash": "the set",
}
MATCHES = {
    "unit_id": "unit of this recording",
    "source_unit": "the unit that it is: animal-session-scan-unit",
    "n_votes": "stacks that agree",
    "mean_distance": "over them, um",
    "match_correlation": "of responses to the same images; NaN: not known",
    "match_status": "accepted, or why it does not count",
    "match_hash": "how cells were matched",
}
TRIALS = {
    "trial_idx": "of the recording",
    "image_index": f"image in `{SHOWN}`, from 0",
    "image_class": "of the image",
    "image_id": "of the image in its class",
}
TIMES = {
    "start_time": "onset of the image, s on the clock of the stimulus",
    "stop_time": "its end, s",
}


def add_later_responses(
    module: ProcessingModule, scan: Mapping[str, Any], training_set: Mapping[str, str]
) -> None:
    """Add what the units of a recording answered on later days to the images made for them."""
    units = TargetDataset.Unit.proj(*Scan.Unit.primary_key) & dict(scan) & dict(training_set)
    _add_responses(module, (ConfusionMatrix.Diagonal * units).to_dicts(order_by="KEY"))


def was_shown(scan: Mapping[str, Any]) -> bool:
    """Whether a stimulus set was shown in a recording."""
    return bool(ClosedLoopScan & dict(scan))


def add_loop(file: NWBFile, module: ProcessingModule, scan: Mapping[str, Any]) -> None:
    """Add the images of a later day, when they were shown, to which cells, and the answers."""
    trials = trials_of(scan)
    file.add_stimulus_template(shown_images(scan, trials))
    intervals = presentations(trials)
    if isinstance(intervals, TimeIntervals):
        file.add_time_intervals(intervals)
    else:
        module.add(intervals)
    number = {(row["image_class"], row["image_id"]): row["image_index"] for row in trials}
    loop = ClosedLoopScan * StimulusSet & dict(scan)
    sources = _sources(loop.fetch1("training_set_hash"))
    items = [
        row | {"image_index": number[image], "source_unit": sources[row["unit_index"]]}
        for row in (StimulusSet.Item * ClosedLoopScan & dict(scan)).to_dicts(order_by="item")
        if (image := (row["image_class"], row["image_id"])) in number
    ]
    if items:
        module.add(
            table("closed_loop_items", "Images, and the units they were made for", items, ITEMS)
        )
    matches = _matches(scan)
    if matches:
        rows = [row | {"source_unit": sources[row["unit_index"]]} for row in matches]
        module.add(table("cell_matches", "Which cells are units of the models", rows, MATCHES))
    unit_ids = {(row["match_hash"], row["unit_index"]): row["unit_id"] for row in matches}
    pooled = ConfusionMatrix.Diagonal & (LoopPool.Member & dict(scan)).proj()
    answered = [
        row | {"unit_id": unit_ids[row["match_hash"], row["unit_index"]]}
        for row in pooled.to_dicts(order_by="KEY")
        if (row["match_hash"], row["unit_index"]) in unit_ids
    ]
    _add_responses(module, answered)


def shown_images(scan: Mapping[str, Any], trials: Rows) -> Images:
    """Return the images of trials, in the order of `image_index`."""
    order = {(row["image_class"], row["image_id"]): row["image_index"] for row in trials}
    rows = (Image & (Trial * Condition & dict(scan))).to_dicts()
    pixels = {order[row["image_class"], row["image_id"]]: row["image"] for row in rows}
    named = [(f"image_{index}", pixels[index]) for index in sorted(pixels)]
    return images(SHOWN, "Images as they were shown, grey values 0-255.", named)


def presentations(trials: Rows) -> DynamicTable:
    """Return when images were shown: intervals, or their order where no times are known."""
    about = "Which image each trial showed"
    if all(row["start_time"] is not None and row["stop_time"] is not None for row in trials):
        return table(PRESENTATIONS, about, trials, TIMES | TRIALS, TimeIntervals)
    return table(PRESENTATIONS, f"{about}; times were not recorded", trials, TRIALS)


def trials_of(scan: Mapping[str, Any]) -> Rows:
    """Return the trials of a recording, with the number of the image that each showed."""
    rows = (Trial * Condition & dict(scan)).to_dicts(order_by="trial_idx")
    number: dict[tuple[str, int], int] = {}
    for row in rows:
        image = row["image_class"], row["image_id"]
        row["image_index"] = number.setdefault(image, len(number))
        row["start_time"], row["stop_time"] = row["trial_onset"], _offset(row)
    return rows


def _offset(row: Mapping[str, Any]) -> float | None:
    known = row["trial_offset"] is None and row["presentation_time"] is not None
    if known and row["trial_onset"] is not None:
        return row["trial_onset"] + row["presentation_time"]
    return row["trial_offset"]


def _matches(scan: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = BestProximityCellMatch.Unit * CellMatchOracleCorrelation.Unit & dict(scan)
    rows = found.to_dicts(order_by="KEY")
    return [row | {"unit_id": row["matched_unit_id"]} for row in rows]


def _sources(training_set_hash: str) -> dict[int, str]:
    """Return the recorded units that the columns of a training set are."""
    rows = (TargetDataset.Unit & {"training_set_hash": training_set_hash}).to_dicts()
    return {row["unit_index"]: _named(row, *Scan.Unit.primary_key) for row in rows}


def _add_responses(module: ProcessingModule, diagonals: list[dict[str, Any]]) -> None:
    if not diagonals:
        return
    pools = {row["pool_hash"]: _pool(row["pool_hash"]) for row in diagonals}
    sources = {name: _sources(name) for name in {row["training_set_hash"] for row in diagonals}}
    rows = [
        row
        | {
            "source_unit": sources[row["training_set_hash"]][row["unit_index"]],
            "recordings": pools[row["pool_hash"]],
            "mean": row["diagonal_response"],
            "sem": row["diagonal_sem"],
            "n": row["diagonal_n"],
            "rank": row["diagonal_rank"],
            "row_max": bool(row["row_max"]),
        }
        for row in diagonals
    ]
    about = "Recorded responses of cells to the images that were made for them"
    module.add(table("closed_loop_responses", about, rows, RESPONSES))


def _pool(pool_hash: str) -> str:
    members = (LoopPool.Member & {"pool_hash": pool_hash}).to_dicts(order_by="KEY")
    return ", ".join(_named(member, *Scan.primary_key) for member in members)


def _named(row: Mapping[str, Any], *names: str) -> str:
    return "-".join(str(row[name]) for name in names)
