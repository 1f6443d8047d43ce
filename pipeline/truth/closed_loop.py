"""Matched cells and the responses of the closed loop, beside the truth of virtual recordings."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipeline.ingest.virtual import load_animal
from pipeline.truth.cells import SCAN, frame
from schemas.cell_match import (
    BestProximityCellMatch,
    CellMatchOracleCorrelation,
    ClosedLoopScan,
    LoopPool,
)
from schemas.closed_loop import ConfusionMatrix, DiagonalTest, PermutationTest
from schemas.dataset import TargetDataset
from schemas.recording import Scan, VirtualAnimal
from schemas.stimulus import StimulusSet

SIGNIFICANT_Q = 0.05
"""Benjamini-Hochberg q value below which a cell answers two kinds of images differently."""

UNIT = ("training_set_hash", "unit_index")
SOURCE = tuple(f"source_{name}" for name in SCAN)
PERMUTATION = ("permutation_statistic", "statistic_low", "statistic_high", "permutation_p")
MATCH_SUMMARY = ("n_stacks", "n_matched", "n_right", "n_present", "recall", "n_accepted")
MATCH_SUMMARY += ("n_accepted_right", "n_shared_images")
SHOWN = ("n_shown", "row_max_fraction", "n_right", "n_right_shown", "right_row_max_fraction")

Cell = tuple[Any, ...]  # animal, index


def match_truth(restriction: Any) -> pd.DataFrame:
    """Check the cell matches of closed-loop recordings.

    Parameters
    ----------
    restriction
        Of `BestProximityCellMatch.Unit`.

    Returns
    -------
    DataFrame
        One row per row of `BestProximityCellMatch.Unit`: its columns; `match_correlation` and
        `match_status` of `CellMatchOracleCorrelation.Unit`, missing where not computed; `source_*`
        (the recorded unit the model is of); and `right`, a nullable boolean: the same cell of the
        same animal; missing where one of the two recordings is not virtual.
    """
    source = TargetDataset.Unit.proj(**_sources(), source_unit_id="unit_id")
    found = BestProximityCellMatch.Unit * source & restriction
    matches = frame(found, list(found.heading.names))
    judged = (CellMatchOracleCorrelation.Unit & found.proj()).proj(
        "match_correlation", "match_status"
    )
    columns = list(judged.heading.names)
    matches = matches.merge(
        frame(judged, columns), "left", on=BestProximityCellMatch.Unit().primary_key
    )
    matches["match_correlation"] = matches.match_correlation.astype(float)
    here = _cells(matches, SCAN, "matched_unit_id")
    there = _cells(matches, SOURCE, "source_unit_id")
    matches["right"] = pd.array(
        [None if a is None or b is None else a == b for a, b in zip(here, there, strict=True)],
        dtype="boolean",
    )
    return matches


def match_results(restriction: Any) -> pd.DataFrame:
    """Summarise the cell matches of closed-loop recordings.

    Parameters
    ----------
    restriction
        Of `BestProximityCellMatch`.

    Returns
    -------
    DataFrame
        One row per row of `BestProximityCellMatch`: its key; `n_stacks`; `n_matched`, modelled
        units that were matched; `n_right`, of them rightly; `n_present`, modelled units whose cell
        is in the later recording; `recall`, the fraction of these that are rightly matched;
        `n_accepted`, matches that count; `n_accepted_right`, of them right ones;
        `n_shared_images`, by which they were compared. NaN where unknown.
    """
    rows = (BestProximityCellMatch & restriction).to_dicts(order_by="KEY")
    columns = [*BestProximityCellMatch.primary_key, *MATCH_SUMMARY]
    return pd.DataFrame([_match_results(row) for row in rows], columns=columns)


def _match_results(row: dict[str, Any]) -> dict[str, Any]:
    key = {name: row[name] for name in BestProximityCellMatch.primary_key}
    matches, n_present = match_truth(key), _n_present(key)
    known = not np.isnan(n_present)
    right = matches.right.fillna(False).astype(bool)
    compared = (CellMatchOracleCorrelation & key).to_dicts()
    accepted = matches.match_status == "accepted"
    return row | {
        "n_matched": len(matches),
        "n_right": int(right.sum()) if known else np.nan,
        "n_present": n_present,
        "recall": right.sum() / n_present if n_present else np.nan,
        "n_accepted": compared[0]["n_accepted"] if compared else np.nan,
        "n_accepted_right": int((right & accepted).sum()) if known and compared else np.nan,
        "n_shared_images": compared[0]["n_shared_images"] if compared else np.nan,
    }


def _n_present(key: dict[str, Any]) -> float:
    """Count the modelled units whose cell a later recording holds; NaN where one is not known."""
    training_set = (ClosedLoopScan * StimulusSet & key).proj("training_set_hash").fetch1()
    modelled = TargetDataset.Unit & {"training_set_hash": training_set["training_set_hash"]}
    modelled = modelled.proj(**_sources(), source_unit_id="unit_id")
    there = _cells(frame(modelled, list(modelled.heading.names)), SOURCE, "source_unit_id")
    later = (Scan.Unit & key).proj()
    here = _cells(frame(later, list(later.heading.names)), SCAN, "unit_id")
    if None in there or None in here:
        return np.nan
    present = set(here)
    return sum(cell in present for cell in there)


def _sources() -> dict[str, str]:
    return dict(zip(SOURCE, SCAN, strict=True))


def _cells(units: pd.DataFrame, scan_columns: Sequence[str], unit_column: str) -> list[Cell | None]:
    """Identify the cell (animal, index) behind each row; None where it is not known."""
    cells: list[Cell | None] = [None] * len(units)
    for key, positions in units.groupby(list(scan_columns)).indices.items():
        scan = dict(zip(SCAN, map(int, key), strict=True))
        if not VirtualAnimal & scan:
            continue
        animal, session = load_animal(scan)
        rows = np.searchsorted(session.unit_ids, units[unit_column].to_numpy()[positions])
        for position, cell in zip(positions, session.cells[rows].tolist(), strict=True):
            cells[position] = (animal.seed, animal.params, cell)
    return cells


def closed_loop_results(restriction: Any) -> pd.DataFrame:
    """Summarise the confusion matrices of pools of closed-loop recordings.

    Parameters
    ----------
    restriction
        Of `ConfusionMatrix`.

    Returns
    -------
    DataFrame
        One row per confusion matrix: its key; `n_recordings` and `days` (tuple of int) of the
        pool; `n_units`, the rows of the matrix; `n_shown`, of them those whose response to the own
        image is known; `row_max_fraction`, of these, those that no other image drives more;
        `n_right`, units rightly matched in every recording that they contribute to, and
        `n_right_shown` and `right_row_max_fraction` of these; `permutation_statistic`,
        `statistic_low`, `statistic_high` and `permutation_p` of `PermutationTest`. NaN where
        unknown.
    """
    matrices = (ConfusionMatrix & restriction).proj("n_matrix_units").to_dicts(order_by="KEY")
    rights = {
        pool: _rightly_matched(*pool)
        for pool in dict.fromkeys((row["pool_hash"], row["match_hash"]) for row in matrices)
    }
    rows = [_matrix_results(row, rights[row["pool_hash"], row["match_hash"]]) for row in matrices]
    columns = [*ConfusionMatrix.primary_key, "n_recordings", "days", "n_units"]
    return pd.DataFrame(rows, columns=[*columns, *SHOWN, *PERMUTATION])


def _matrix_results(row: dict[str, Any], right: pd.Series) -> dict[str, Any]:
    key = {name: row[name] for name in ConfusionMatrix.primary_key}
    members = LoopPool.Member * ClosedLoopScan & key
    days = members.to_arrays("day", order_by="day").tolist()
    units = frame((ConfusionMatrix.Diagonal & key).proj("diagonal_response", "row_max"), None)
    units = units.set_index("unit_index")
    shown = units[units.diagonal_response.notna()]
    known = bool(right.reindex(units.index).notna().all())
    right = right.reindex(units.index).fillna(False).astype(bool)
    right_shown = shown[right[shown.index]]
    tests = (PermutationTest & key).to_dicts()
    return {
        **key,
        "n_recordings": len(days),
        "days": tuple(days),
        "n_units": row["n_matrix_units"],
        "n_shown": len(shown),
        "row_max_fraction": _fraction(shown.row_max),
        "n_right": int(right.sum()) if known else np.nan,
        "n_right_shown": len(right_shown) if known else np.nan,
        "right_row_max_fraction": _fraction(right_shown.row_max) if known else np.nan,
        **{name: _number(tests[0][name]) if tests else np.nan for name in PERMUTATION},
    }


def _rightly_matched(pool_hash: str, match_hash: str) -> pd.Series:
    """Return whether each unit is rightly matched wherever it is matched, by its unit_index."""
    members = LoopPool.Member & {"pool_hash": pool_hash}
    matches = match_truth((members * BestProximityCellMatch & {"match_hash": match_hash}).proj())
    accepted = matches[matches.match_status == "accepted"]
    right = accepted.groupby("unit_index").right.agg(lambda right: right.all(skipna=False))
    return right.astype("boolean")


def kind_results(restriction: Any) -> pd.DataFrame:
    """Summarise the comparisons of two kinds of images.

    Parameters
    ----------
    restriction
        Of `DiagonalTest`.

    Returns
    -------
    DataFrame
        One row per row of `DiagonalTest`: its columns without the seed; `n_first_better` and
        `n_other_better`, units whose responses to their images of `stimulus_kind` and of
        `other_kind` are larger at q < `SIGNIFICANT_Q`.
    """
    columns = [name for name in DiagonalTest().heading.names if name != "bootstrap_seed"]
    tests = frame(DiagonalTest & restriction, columns)
    secondary = [name for name in columns if name not in DiagonalTest.primary_key]
    tests[secondary] = tests[secondary].astype(float)
    tests["n_compared"] = tests.n_compared.astype(int)
    significant = DiagonalTest.Unit & (DiagonalTest & restriction).proj()
    significant &= f"welch_q < {SIGNIFICANT_Q}"
    for name, direction in (
        ("n_first_better", "difference > 0"),
        ("n_other_better", "difference < 0"),
    ):
        counts = DiagonalTest.aggr(significant & direction, **{name: "count(*)"})
        tests = tests.merge(frame(counts, [*DiagonalTest.primary_key, name]), "left")
        tests[name] = tests[name].fillna(0).astype(int)
    return tests


def _fraction(flags: pd.Series) -> float:
    return float(flags.astype(float).mean())


def _number(value: float | None) -> float:
    return np.nan if value is None else value
