"""The MEIs of the units of a recording, their masks, and how well the units are predicted."""

from collections.abc import Mapping, Sequence
from typing import Any

import datajoint as dj
from pynwb import ProcessingModule

from pipeline.export.draft import CannotExport
from pipeline.export.nwb.containers import Rows, images, table
from pipeline.export.nwb.units import Scores
from pipeline.selection import conditions
from schemas.dataset import TargetDataset
from schemas.mei import MEI, MaskMethod, MEIMask, MEIMethod, UnitSelection
from schemas.model import Ensemble
from schemas.recording import Scan
from schemas.reliability import Oracle

Key = dict[str, Any]

MEIS = {
    "unit_id": "recorded unit",
    "image_index": "image in `meis`, from 0",
    "selection_rank": "of the unit among those selected, 0 = best",
    "mei_method": "how the image was synthesised",
    "excite": "most, or least",
    "mei_activation": "of the ensemble, in scaled responses",
    "mei_contrast": "pixel SD, grey values",
    "start_agreement": "mean correlation of the images of all starts",
    "stopping": "steps: all were made; converged: no more to gain",
    "max_activation": "over contrasts",
    "sat_contrast": "largest pixel SD within grey values 0-255",
    "training_set_hash": "what the ensemble was trained on",
    "model_hash": "architecture",
    "train_hash": "how it was trained",
    "seed_set_hash": "seeds of its members",
    "mei_hash": "parameters of the synthesis",
    "code_hash": "software",
}
MASKS = {
    "unit_id": "recorded unit",
    "image_index": "image in `mei_masks`, from 0",
    "mask_type": "tight, threshold or gaussian",
    "mask_status": "ok, or what is wrong with it",
    "reduction_ratio": "masked activation / before erosion, or without mask",
    "mask_hash": "parameters",
}


def plan_of(scan: Mapping[str, Any], where: Sequence[str]) -> Key | None:
    """Return the ensemble, selection and method whose MEIs a recording's units have.

    Parameters
    ----------
    scan : mapping
        Key.
    where : sequence of str
        Conditions `attribute=value` on MEI.Unit, where there are several.

    Returns
    -------
    dict or None
        None if its units have no MEIs.

    Raises
    ------
    CannotExport
        If there are several.
    """
    asked = conditions(MEI.Unit, where)
    found = MEI.Unit.proj("mei_status") * _units(scan) & asked & "mei_status = 'ok'"
    names = [name for name in MEI.primary_key if name != "unit_block"]
    plans = (dj.U(*names) & found).to_dicts(order_by=names)
    if len(plans) > 1:
        varied = [name for name in names if len({plan[name] for plan in plans}) > 1]
        first = " ".join(f"--where {name}={plans[0][name]}" for name in varied)
        raise CannotExport(
            f"there are MEIs of {len(plans)} ensembles or methods: say which by "
            f"{', '.join(varied)}; the first: {first}"
        )
    return plans[0] if plans else None


def scores_of(scan: Mapping[str, Any], plan: Key) -> Scores:
    """Return how reliable units are, and how well predicted, by unit_id."""
    oracle = (UnitSelection & plan).proj("oracle_hash").fetch1()
    reliability = Oracle.UnitScores.proj("oracle", "reliable") & oracle
    prediction = Ensemble.UnitScore.proj(
        validation_corr="ensemble_validation_corr",
        test_corr_avg="ensemble_test_corr_avg",
        test_cc_norm="ensemble_test_cc_norm",
    )
    rows = (_units(scan) * reliability * prediction & plan).to_dicts()
    wanted = ("oracle", "validation_corr", "test_corr_avg", "test_cc_norm")
    return {
        row["unit_id"]: {name: _number(row[name]) for name in wanted}
        | {"reliable": bool(row["reliable"])}
        for row in rows
    }


def add_meis(module: ProcessingModule, scan: Mapping[str, Any], plan: Key) -> None:
    """Add the MEIs of a recording's units, and their masks."""
    made = MEI.Unit * UnitSelection.Unit * MEIMethod * MEI.proj("code_hash") * _units(scan)
    meis = (made & plan & "mei_status = 'ok'").to_dicts(order_by="unit_id")
    pictures = [(f"unit_{row['unit_id']}", row["mei"]) for row in meis]
    module.add(images("meis", "Most exciting inputs, grey values 0-255.", pictures))
    about = "The most exciting input of a unit, as an ensemble of networks predicts it"
    module.add(table("mei_units", about, _numbered(meis), MEIS))
    masks = (MEIMask.Unit * MaskMethod * _units(scan) & plan).to_dicts(
        order_by=("mask_hash", "unit_id")
    )
    if masks:
        pictures = [
            (f"unit_{row['unit_id']}_{row['mask_type']}_{row['mask_hash']}", row["mei_mask"])
            for row in masks
        ]
        module.add(images("mei_masks", "Where in its MEI a unit is excited, 0-1.", pictures))
        module.add(table("mei_mask_units", "The masks of MEIs", _numbered(masks), MASKS))


def _units(scan: Mapping[str, Any]) -> dj.expression.QueryExpression:
    """Return the units of models that a recording has."""
    return TargetDataset.Unit.proj(*Scan.Unit.primary_key) & dict(scan)


def _numbered(rows: Rows) -> Rows:
    return [{**row, "image_index": i} for i, row in enumerate(rows)]


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
