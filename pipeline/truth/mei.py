"""MEIs beside the true receptive fields and responses of virtual recordings."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.truth.cells import SCAN, WELL_PREDICTED, frame, true_cells
from schemas.dataset import ConditionTier, TargetDataset
from schemas.mei import MEI, MEIMask
from schemas.model import Ensemble
from schemas.recording import VirtualAnimal
from schemas.responses import Frame
from science.virtual import CELL_TYPES
from science.virtual import VirtualAnimal as VirtualMouse

TRAINING_QUANTILE = 0.995
MARGIN = 0.05
"""An MEI must exceed this quantile of the cell's true responses to the training images by this
fraction of their range."""

ONE_FILTER = tuple(kind for kind, cell_type in CELL_TYPES.items() if len(cell_type.roles) == 1)
"""Kinds of cells that one filter drives: their best image resembles it."""

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
        Of `MEI.Unit` and `MEIMask.Unit`, for example the key of a training set.

    Returns
    -------
    DataFrame
        One row per row of `MEI.Unit` (and mask method), best validation correlation first. From
        the database: the key, `mei_status`, `mei`, `mei_activation`, `ensemble_validation_corr`,
        scan and `unit_id`, and `mask_hash`, `mei_mask`, `mask_status`, `reduction_ratio` where
        there is a mask. From the truth, missing where the recording is not virtual or the model
        sees another image size than the animal: `kind`; `true_mei`, the expected response (spikes
        a trial, gain 1) to the MEI, and `true_min` to `true_max`, quantiles of the responses to
        the images of the train tier; `exceeds`; `cosine` of cells of `ONE_FILTER` and
        `plane_cosine` of complex ones; `nearest_field`, the first filter, or for complex cells the
        member of the quadrature pair's plane nearest to the MEI.
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
    cosines, plane = known.cosine[known.kind == "simple"].dropna(), known.plane_cosine.dropna()
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
    units = frame(found.proj(*columns, *SCAN), [*MEI.Unit.primary_key, *columns, *SCAN])
    numbers = ["mei_activation", "ensemble_validation_corr"]
    units[numbers] = units[numbers].astype(float)
    names = ("mei_mask", "mask_status", "reduction_ratio")
    masks = (MEIMask.Unit & restriction).proj(*names)
    masks = frame(masks, [*MEIMask.Unit.primary_key, *names])
    return units.merge(masks, "left", on=MEI.Unit.primary_key)


def _scan_truth(member: dict[str, Any], units: pd.DataFrame) -> dict[Any, dict[str, Any]]:
    """Truth of units of one recording in one training set, by index; empty if it is not known."""
    if not VirtualAnimal & member:
        return {}
    images = _training_images(member)
    known = true_cells(member, units.unit_id, images.shape[1:])
    if known is None:
        return {}
    animal, cells, drift = known.animal, known.cells, known.drift
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
    if not isinstance(unit.mei_mask, np.ndarray):
        return {"nearest_field": field}
    if kind in ONE_FILTER:
        return {"nearest_field": field, "cosine": signed_cosine(unit.mei, field, unit.mei_mask)}
    if kind != "complex":
        return {"nearest_field": field}
    pair = np.stack([field, animal.quadrature[cell]])
    cosine, nearest = plane_cosine(unit.mei, pair, unit.mei_mask)
    return {"nearest_field": nearest, "plane_cosine": cosine}


def _training_images(member: dict[str, Any]) -> NDArray[np.float32]:
    """Frames (n, h, w) of the train tier of one recording of a training set."""
    source = (TargetDataset.Member & member).proj("split_hash").fetch1()
    shown = Frame.Condition * ConditionTier.Condition & source & "tier = 'train'"
    rows = np.sort(shown.to_arrays("frame_row"))
    return np.asarray((Frame & source).fetch1("frames"))[rows]
