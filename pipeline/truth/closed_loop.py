"""Matched cells and the responses of the closed loop, beside the truth of virtual recordings."""

from typing import Any

import numpy as np
import pandas as pd

from pipeline.ingest.virtual import load_animal
from pipeline.truth.cells import SCAN, frame
from schemas.closed_loop import BestProximityCellMatch, ConfusionMatrix, DiagonalTest
from schemas.dataset import TargetDataset
from schemas.recording import VirtualAnimal


def match_truth(restriction: Any) -> pd.DataFrame:
    """Check the cell matches of closed-loop recordings.

    Parameters
    ----------
    restriction
        Of `BestProximityCellMatch.Unit`.

    Returns
    -------
    DataFrame
        One row per row of `BestProximityCellMatch.Unit`: its columns, `source_*` (the recorded
        unit the model is of), and `right`, a nullable boolean: the same cell of the same animal;
        missing where one of the two recordings is not virtual.
    """
    source = TargetDataset.Unit.proj(
        **{f"source_{name}": name for name in SCAN}, source_unit_id="unit_id"
    )
    found = BestProximityCellMatch.Unit * source & restriction
    matches = frame(found, list(found.heading.names))
    here = _cells(matches, SCAN, "matched_unit_id")
    there = _cells(matches, tuple(f"source_{name}" for name in SCAN), "source_unit_id")
    matches["right"] = pd.array(
        [None if a is None or b is None else a == b for a, b in zip(here, there, strict=True)],
        dtype="boolean",
    )
    return matches


def _cells(
    matches: pd.DataFrame, scan_columns: tuple[str, ...], unit_column: str
) -> list[tuple[Any, ...] | None]:
    """Identify the cell (animal, index) behind each row; None where it is not known."""
    cells: list[tuple[Any, ...] | None] = [None] * len(matches)
    for key, positions in matches.groupby(list(scan_columns)).indices.items():
        scan = dict(zip(SCAN, map(int, key), strict=True))
        if not VirtualAnimal & scan:
            continue
        animal, session = load_animal(scan)
        units = np.searchsorted(session.unit_ids, matches[unit_column].to_numpy()[positions])
        for position, cell in zip(positions, session.cells[units].tolist(), strict=True):
            cells[position] = (animal.seed, animal.params, cell)
    return cells


def closed_loop_results(restriction: Any) -> pd.DataFrame:
    """Summarise the confusion matrices of closed-loop recordings.

    Parameters
    ----------
    restriction
        Of `ConfusionMatrix`.

    Returns
    -------
    DataFrame
        One row per confusion matrix: its key; `n_matched`, modelled units that were matched;
        `n_right`, of them rightly; `n_shown`, matched units whose own image was shown, the rows
        of the matrix; `row_max_fraction`, of these, those that no other image drives more;
        `n_right_shown` and `right_row_max_fraction`, the same among the rightly matched; and
        `permutation_statistic`, `permutation_p` of `DiagonalTest`. NaN where unknown.
    """
    keys = (ConfusionMatrix & restriction).keys(order_by="KEY")
    columns = [*ConfusionMatrix.primary_key, "n_matched", "n_right", "n_shown", "row_max_fraction"]
    columns += ["n_right_shown", "right_row_max_fraction"]
    columns += ["permutation_statistic", "permutation_p"]
    return pd.DataFrame([_matrix_results(key) for key in keys], columns=columns)


def _matrix_results(key: dict[str, Any]) -> dict[str, Any]:
    matches = match_truth(key)
    shown = (ConfusionMatrix.Diagonal & key & "diagonal_response IS NOT NULL").proj("row_max")
    unit = ["training_set_hash", "unit_index"]
    rows = frame(shown, [*unit, "row_max"]).merge(matches[[*unit, "right"]], on=unit)
    known = bool(matches.right.notna().all())
    right = rows[rows.right.fillna(False).astype(bool)]
    test = (DiagonalTest & key).to_dicts()
    statistics = {
        name: np.nan if not test or test[0][name] is None else test[0][name]
        for name in ("permutation_statistic", "permutation_p")
    }
    return {
        **key,
        "n_matched": len(matches),
        "n_right": int(matches.right.sum()) if known else np.nan,
        "n_shown": len(rows),
        "row_max_fraction": float(rows.row_max.astype(float).mean()),
        "n_right_shown": len(right) if known else np.nan,
        "right_row_max_fraction": float(right.row_max.astype(float).mean()) if known else np.nan,
        **statistics,
    }
