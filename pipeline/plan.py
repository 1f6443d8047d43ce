"""What the registered plans will compute, and about how long and how large it will be."""

from dataclasses import dataclass
from typing import Any

import datajoint as dj

from pipeline.status import TableStatus, status
from schemas.dataset import StaticMultiDataset, TrainingSet
from schemas.mei import MEI, SelectionRule, TargetModel
from schemas.recording import Scan, Trial
from schemas.responses import Frame, InputResponse, Preprocessing, StaticScan

ASSUMED_SECONDS = {
    "TrainedModel": 180.0,
    "MEI": 60.0,
    "MEIMask": 5.0,
    "DiverseMEI": 40.0,
    "SurroundMEI": 12.0,
    "BestGabor": 30.0,
    "OptimalGabor": 11.0,
    "BestNaturalImage": 8.0,
    "ModelRateMap": 10.0,
}
"""For tables without any finished job; from virtual mice of 24 x 40 pixels on two cores."""

ASSUMED_OTHER_SECONDS = 1.0
FLOAT = 4
BYTES_PER_MODEL = 500_000  # of the demo; grows with channels, kernels and units


@dataclass(frozen=True)
class Estimate:
    """Work to come in one table.

    Attributes
    ----------
    jobs : int
        Pending, and blocked ones as far as they are known.
    minutes : float
        Of one worker.
    megabytes : float
        Of arrays and weights.
    basis : str
        What the minutes are taken from.
    """

    table: str
    jobs: int
    minutes: float
    megabytes: float
    basis: str


def estimate() -> list[Estimate]:
    """Estimate what the plans will still compute, per table with work to come."""
    return [_estimate(row) for row in status() if row.pending + row.blocked]


def _estimate(row: TableStatus) -> Estimate:
    jobs = row.pending + row.blocked
    assumed = ASSUMED_SECONDS.get(row.table, ASSUMED_OTHER_SECONDS)
    seconds = row.mean_seconds if row.mean_seconds is not None else assumed
    basis = f"{row.done} jobs done" if row.mean_seconds is not None else "assumption"
    return Estimate(row.table, jobs, jobs * seconds / 60, _bytes(row.table, jobs) / 1e6, basis)


def _bytes(table: str, jobs: int) -> float:
    if table == "Frame":
        return sum(_frame_bytes(scan) for scan in (StaticScan - Frame).to_dicts())
    if table == "InputResponse":
        waiting = (StaticScan - InputResponse).to_dicts()
        return sum(len(Trial & s) * len(Scan.Unit & s) * FLOAT for s in waiting)
    if table == "TrainedModel":
        return jobs * BYTES_PER_MODEL
    if table in ("MEI", "MEIMask"):
        return sum(_mei_bytes(target) for target in (TargetModel - MEI).to_dicts())
    return 0.0


def _pixels(scan: dict[str, Any]) -> int:
    height, width = (Preprocessing & scan).fetch1("frame_height", "frame_width")
    return int(height) * int(width)


def _frame_bytes(scan: dict[str, Any]) -> float:
    n_conditions = len(dj.U("condition_hash") & (Trial & scan))
    return n_conditions * _pixels(scan) * FLOAT


def _mei_bytes(target: dict[str, Any]) -> float:
    """Return the bytes of the images of all units that a selection may keep."""
    members = (TrainingSet * StaticMultiDataset.Member & target).to_dicts()
    n_units = sum(len(Scan.Unit & {a: m[a] for a in Scan.primary_key}) for m in members)
    kept = SelectionRule.params(target).max_units or n_units
    return min(n_units, kept) * _pixels(members[0]) * FLOAT
