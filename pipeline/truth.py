"""What is right: results beside the truth of virtual recordings. For reports and tests only.

Every statistic of the report that a test asserts on is computed here, and only here. Restrict the
queries to one ensemble, one method and one mask method where an average over units is wanted:
a unit has a row for each of them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.ingest.virtual import load_animal
from schemas.closed_loop import BestProximityCellMatch, ConfusionMatrix, DiagonalTest
from schemas.dataset import ConditionTier, TargetDataset
from schemas.mei import MEI, TightMEIMask
from schemas.model import Ensemble
from schemas.recording import VirtualAnimal
from schemas.responses import Frame
from science.virtual import VirtualAnimal as VirtualMouse

WELL_PREDICTED = 0.3
"""Ensemble validation correlation (single trials) above which a unit counts as well predicted.

Fixed before the demo was tuned and not changed since. It lies more than three standard errors
(1/sqrt(n)) above chance from a hundred validation images on, and below it a model explains less
than a tenth of the single-trial variance, so that its MEI says little about the cell.
"""

TRAINING_QUANTILE = 0.995
MARGIN = 0.05
"""An MEI must exceed this quantile of the cell's true responses to the training images by this
fraction of their range."""

SCAN = ("animal_id", "session", "scan_idx")
_TRUE_LEVELS = {
    "true_min": 0.0,
    "true_p05": 0.05,
    "true_median": 0.5,
    "true_p95": 0.95,
    "true_p995": TRAINING_QUANTILE,
    "true_max": 1.0,
}
_TRUE_COLUMNS = ["kind", "true_mei", *_TRUE_LEVELS, "exceeds"]
_TRUE_COLUMNS += ["cosine", "plane_cosine", "nearest_field"]


@dataclass(frozen=True)
class MEISummary:
    """MEIs against the truth, over the units of `mei_truth`.

    Attributes
    ----------
    n_simple, n_complex : int
        Cells of known kind that have an MEI and a mask.
    median_cosine : float
        Of simple cells: signed cosine of MEI and filter under the mask; NaN without any.
    median_plane_cosine : float
        Of complex cells: cosine of the angle to the plane of the quadrature pair.
    n_well_predicted : int
        Units of known kind with an ensemble validation correlation above `WELL_PREDICTED`.
    fraction_exceeding : float
        Of them, those whose true response to their own MEI exceeds the training images'; a unit
        without an MEI does not. NaN without any.
    """

    n_simple: int
    median_cosine: float
    n_complex: int
    median_plane_cosine: float
    n_well_predicted: int
    fraction_exceeding: float


def signed_cosine(
    mei: NDArray[np.floating], receptive_field: NDArray[np.floating], mask: NDArray[np.floating]
) -> float:
    """Cosine of an MEI and a filter under a soft mask.

    Parameters
    ----------
    mei, receptive_field, mask : float, (h, w)
        Grey values; any unit; 0 to 1.

    Returns
    -------
    float
        Of ``mask * (mei - mean of mei)``, which is what remains of the MEI under its mask
        (microns_vei 9.5), and ``mask * receptive_field``; in [-1, 1], NaN where one is zero.
    """
    a, b = _masked(mei, mask), mask * receptive_field
    norm = np.linalg.norm(a) * np.linalg.norm(b)
    return float((a * b).sum() / norm) if norm > 0 else np.nan


def plane_cosine(
    mei: NDArray[np.floating], pair: NDArray[np.floating], mask: NDArray[np.floating]
) -> tuple[float, NDArray[np.float64]]:
    """Cosine of the angle between an MEI and the plane of a quadrature pair, under a soft mask.

    Parameters
    ----------
    mei, mask : float, (h, w)
        As in `signed_cosine`.
    pair : float, (2, h, w)
        Filter and quadrature partner. The energy model answers alike to all unit vectors of
        their plane.

    Returns
    -------
    cosine : float
        Norm of the projection of the masked MEI on the plane of the masked pair / norm of the
        masked MEI; in [0, 1], NaN where mask or MEI leaves nothing.
    nearest : float64, (h, w)
        The member of the pair's plane (without mask) whose masked form is the projection.
    """
    target, basis = _masked(mei, mask).ravel(), (mask * pair).reshape(2, -1).T
    weights = np.linalg.lstsq(basis, target, rcond=None)[0]
    norm = np.linalg.norm(target)
    cosine = float(np.linalg.norm(basis @ weights) / norm) if norm > 0 and basis.any() else np.nan
    return cosine, np.tensordot(weights, pair, 1)


def _masked(mei: NDArray[np.floating], mask: NDArray[np.floating]) -> NDArray[np.float64]:
    mei = np.asarray(mei, np.float64)
    return mask * (mei - mei.mean())


def exceeds(response: float, training: NDArray[np.floating]) -> bool:
    """Whether a response lies strictly above the training images' by the margin.

    Parameters
    ----------
    response : float
        True response to the cell's own MEI.
    training : float, (n_images,)
        True responses to the training images.

    Returns
    -------
    bool
        ``response > q`` and ``response - q >= MARGIN * (max - min)``, with q the
        `TRAINING_QUANTILE` (linear interpolation) and extremes of `training`.
    """
    q = np.quantile(training, TRAINING_QUANTILE)
    return bool(response > q and response - q >= MARGIN * np.ptp(training))


def mei_truth(restriction: Any) -> pd.DataFrame:
    """Compare MEIs with the true cells they were made for.

    Parameters
    ----------
    restriction
        Of `MEI.Unit` and `TightMEIMask.Unit`, for example the key of a training set.

    Returns
    -------
    DataFrame
        One row per row of `MEI.Unit` (and mask method), best validation correlation first. From
        the database: the key, `mei_status`, `mei`, `mei_activation`, `ensemble_validation_corr`,
        scan and `unit_id`, and `mask_hash`, `tight_mask`, `mask_status`, `reduction_ratio` where
        there is a mask. From the truth, missing where the recording is not virtual or the model
        sees another image size than the animal: `kind`; `true_mei`, the expected response (spikes
        a trial, gain 1) to the MEI, and `true_min` to `true_max`, quantiles of the responses to
        the images of the train tier; `exceeds`; `cosine` of simple cells and `plane_cosine` of
        complex ones; `nearest_field`, the filter, or for complex cells the member of the
        quadrature pair's plane nearest to the MEI.
    """
    units = _mei_units(restriction)
    truth: dict[Any, dict[str, Any]] = {}
    for key, rows in units.groupby(["training_set_hash", *SCAN]):
        truth |= _scan_truth(dict(zip(("training_set_hash", *SCAN), key, strict=True)), rows)
    known = pd.DataFrame(list(truth.values()), index=list(truth), columns=_TRUE_COLUMNS)
    return units.join(known).sort_values(
        "ensemble_validation_corr", ascending=False, kind="stable", ignore_index=True
    )


def summarise(units: pd.DataFrame) -> MEISummary:
    """Average the result of `mei_truth` over units."""
    known = units[units.kind.notna()]
    cosines, plane = known.cosine.dropna(), known.plane_cosine.dropna()
    well = known[known.ensemble_validation_corr > WELL_PREDICTED]
    return MEISummary(
        n_simple=len(cosines),
        median_cosine=float(cosines.astype(float).median()),
        n_complex=len(plane),
        median_plane_cosine=float(plane.astype(float).median()),
        n_well_predicted=len(well),
        fraction_exceeding=float(well.exceeds.astype(float).mean()),
    )


def _mei_units(restriction: Any) -> pd.DataFrame:
    columns = ("mei_status", "mei", "mei_activation", "ensemble_validation_corr", "unit_id")
    found = MEI.Unit * TargetDataset.Unit * Ensemble.UnitScore & restriction
    units = _frame(found.proj(*columns, *SCAN), [*MEI.Unit.primary_key, *columns, *SCAN])
    numbers = ["mei_activation", "ensemble_validation_corr"]
    units[numbers] = units[numbers].astype(float)
    names = ("tight_mask", "mask_status", "reduction_ratio")
    masks = (TightMEIMask.Unit & restriction).proj(*names)
    masks = _frame(masks, [*TightMEIMask.Unit.primary_key, *names])
    return units.merge(masks, "left", on=MEI.Unit.primary_key)


def _scan_truth(member: dict[str, Any], units: pd.DataFrame) -> dict[Any, dict[str, Any]]:
    """Truth of units of one recording in one training set, by index; empty if it is not known."""
    if not VirtualAnimal & member:
        return {}
    animal, session = load_animal({a: member[a] for a in SCAN})
    images = _training_images(member)
    if images.shape[1:] != animal.filters.shape[1:]:
        return {}
    rows = np.searchsorted(session.unit_ids, units.unit_id)
    cells, drift = session.cells[rows], session.drift[rows]
    training = (animal.rates(images)[:, cells] * drift).T
    levels = np.quantile(training, list(_TRUE_LEVELS.values()), axis=1).T
    truth = {}
    for i, (index, unit) in enumerate(units.iterrows()):
        truth[index] = {
            "kind": animal.kind[cells[i]],
            **dict(zip(_TRUE_LEVELS, levels[i], strict=True)),
            "exceeds": False,
            **_field_truth(animal, cells[i], unit),
        }
        if unit.mei_status == "ok":
            response = float(animal.rates(unit.mei[None])[0, cells[i]] * drift[i])
            truth[index] |= {"true_mei": response, "exceeds": exceeds(response, training[i])}
    return truth


def _field_truth(animal: VirtualMouse, cell: int, unit: pd.Series) -> dict[str, Any]:
    """Compare the MEI of one unit with the receptive field of its cell."""
    kind, field = animal.kind[cell], animal.filters[cell]
    if kind == "undriven":
        return {}
    if not isinstance(unit.tight_mask, np.ndarray):
        return {"nearest_field": field}
    if kind == "simple":
        return {"nearest_field": field, "cosine": signed_cosine(unit.mei, field, unit.tight_mask)}
    pair = np.stack([field, animal.quadrature[cell]])
    cosine, nearest = plane_cosine(unit.mei, pair, unit.tight_mask)
    return {"nearest_field": nearest, "plane_cosine": cosine}


def _training_images(member: dict[str, Any]) -> NDArray[np.float32]:
    """Frames (n, h, w) of the train tier of one recording of a training set."""
    source = (TargetDataset.Member & member).proj("split_hash").fetch1()
    shown = Frame.Condition * ConditionTier.Condition & source & "tier = 'train'"
    rows = np.sort(shown.to_arrays("frame_row"))
    return np.asarray((Frame & source).fetch1("frames"))[rows]


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
    matches = _frame(found, list(found.heading.names))
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
    rows = _frame(shown, [*unit, "row_max"]).merge(matches[[*unit, "right"]], on=unit)
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


def _frame(query: Any, columns: list[str]) -> pd.DataFrame:
    """Fetch rows in the order of their key, with all columns even when there are none."""
    return pd.DataFrame(query.to_dicts(order_by="KEY"), columns=columns)
