"""What the database holds of the units of a run, fetched for many units at once."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.truth.cells import SCAN, true_cells
from schemas.comparison import ImageComparison
from schemas.dataset import TargetDataset
from schemas.field import GradientField, RegressionField
from schemas.gabor import BestGabor, OptimalGabor
from schemas.mei import MEI, MaskMethod, MEIMask, MEIMethod
from schemas.mei_variants import DiverseMEI, SurroundMEI, SurroundMethod
from schemas.recorded_gabor import RecordedGabor

Row = dict[str, Any]


@dataclass(frozen=True)
class UnitRows:
    """Rows of one unit; empty where there is nothing of the kind."""

    mei: Row
    iter_n: int
    target: Row
    mask: Row = field(default_factory=dict)
    best_gabor: Row = field(default_factory=dict)
    optimal_gabor: Row = field(default_factory=dict)
    gradient: Row = field(default_factory=dict)
    regression: Row = field(default_factory=dict)
    compared: list[Row] = field(default_factory=list)
    diverse: list[Row] = field(default_factory=list)
    diverse_images: list[Row] = field(default_factory=list)
    surrounds: list[Row] = field(default_factory=list)
    recorded_gabors: list[Row] = field(default_factory=list)
    filters: dict[str, NDArray[np.floating]] = field(default_factory=dict)


def unit_rows(run: Row, plan: Row | None, units: Sequence[int]) -> dict[int, UnitRows]:
    """Fetch everything about some units, by their index.

    Parameters
    ----------
    run : dict
        Key of a `TargetModel`, with a mask method if there are masks.
    plan : dict, optional
        Key of the `ControlPlan` whose controls are shown, with its ``field_hash``.
    units : sequence of int
        Indices in the training set.
    """
    chosen = [{"unit_index": int(unit)} for unit in units]

    def many(query: Any, order_by: str = "KEY") -> dict[int, list[Row]]:
        found = defaultdict(list)
        for row in (query & chosen).to_dicts(order_by=order_by):
            found[row["unit_index"]].append(row)
        return found

    def one(query: Any) -> dict[int, Row]:
        return {unit: rows[0] for unit, rows in many(query).items()}

    def controls(table: Any) -> Any:
        return table & (plan if plan is not None else "FALSE")

    targets = one(TargetDataset.Unit & run)
    meis = one(MEI.Unit & run)
    found = {
        "target": targets,
        "mei": meis,
        "mask": one(MEIMask.Unit * MaskMethod.proj("mask_type") & run)
        if "mask_hash" in run
        else {},
        "best_gabor": one(controls(BestGabor.Unit)),
        "optimal_gabor": one(controls(OptimalGabor.Unit)),
        "gradient": one(controls(GradientField.Unit)),
        "regression": one(controls(RegressionField.Unit)),
        "compared": many(controls(ImageComparison.Response)),
        "diverse": many(DiverseMEI.Unit & run),
        "diverse_images": many(DiverseMEI.Image & run, "diverse_hash, diverse_index"),
        "surrounds": many(SurroundMEI.Unit * SurroundMethod.proj("surround_excites") & run),
        "recorded_gabors": many(RecordedGabor.Unit & run),
        "filters": _true_filters(targets, meis),
    }
    iter_n = int((MEIMethod & run).fetch1("iter_n"))
    return {
        unit: UnitRows(
            iter_n=iter_n, **{name: rows[unit] for name, rows in found.items() if unit in rows}
        )
        for unit in meis
    }


def _true_filters(
    targets: dict[int, Row], meis: dict[int, Row]
) -> dict[int, dict[str, NDArray[np.floating]]]:
    """Return what drives the cells of virtual recordings, by the roles of the filters."""
    shapes = {np.shape(row["mei"]) for row in meis.values() if row["mei"] is not None}
    if len(shapes) != 1:
        return {}
    (shape,) = shapes
    found = {}
    table = pd.DataFrame(targets.values(), columns=["unit_index", "unit_id", *SCAN])
    for scan, rows in table.groupby(list(SCAN)):
        known = true_cells(dict(zip(SCAN, map(int, scan), strict=True)), rows.unit_id, shape)
        if known is not None:
            for unit, cell in zip(rows.unit_index.tolist(), known.cells.tolist(), strict=True):
                found[unit] = known.animal.subunits(cell)
    return found
