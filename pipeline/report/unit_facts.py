"""The numbers of one unit's page, in words."""

import numpy as np
import pandas as pd

from pipeline.report.numbers import number
from pipeline.report.unit_rows import Row, UnitRows
from schemas.dataset import readout_key
from science.image_statistics import symmetry_indices

Facts = dict[str, str]


def facts(unit: pd.Series, rows: UnitRows) -> dict[str, Facts]:
    """Return what is known of a unit under headings; those without anything are left out.

    Parameters
    ----------
    unit : Series
        Its row of `pipeline.truth.mei_truth`.
    rows : UnitRows
    """
    found = {
        "Unit": {
            "recording": readout_key(rows.target),
            "unit id": str(rows.target["unit_id"]),
            "validation correlation": number(unit.ensemble_validation_corr),
        },
        "MEI": _mei(rows.mei),
        "Contrast tuning": _tuning(rows.mei),
        "Mask": _mask(rows.mask),
        "Best Gabor of the grid": _gabor("best", rows.best_gabor),
        "Optimal Gabor": _gabor("optimal", rows.optimal_gabor),
        "Symmetry of the spectra": _symmetry(rows),
        "Regression field": _regression(rows.regression),
        "Diverse inputs": _diverse(rows.diverse),
        "Surround": _surround(rows.surrounds),
        "Recorded Gabors": _recorded(rows.recorded_gabors),
    }
    return {heading: said for heading, said in found.items() if said}


def _mei(row: Row) -> Facts:
    said = {
        "status": row["mei_status"],
        "stopped by": {"steps": "all steps made", "converged": "no more to gain"}[row["stopping"]],
        "steps": str(row["n_steps"]),
        "activation": number(row["mei_activation"], 3),
        "pixel SD": f"{number(row['mei_contrast'], 1)} grey levels",
        "seed of the start noise": str(row["mei_seed"]),
    }
    if row["start_agreement"] is not None:
        said["correlation of the starts' images"] = number(row["start_agreement"])
    return said


def _tuning(row: Row) -> Facts:
    grey = " grey levels"
    return {
        "activation grows with contrast": "yes" if row["monotonic"] else "no",
        "largest activation": number(row["max_activation"], 3),
        "at a pixel SD of": number(row["max_contrast"], 1) + grey,
        "first pixel is black or white at": number(row["sat_contrast"], 1) + grey,
        "mean": number(row["img_mean"], 1) + grey,
    }


def _mask(row: Row) -> Facts:
    if not row:
        return {}
    return {
        "type": row["mask_type"],
        "status": row["mask_status"],
        "size": f"{np.count_nonzero(row['mei_mask'] > 0.5)} px above one half",
        "reduction ratio": number(row["reduction_ratio"]),
        "erosions": str(row["n_erosions"]),
    }


def _gabor(prefix: str, row: Row) -> Facts:
    if not row:
        return {}
    if not row[f"{prefix}_alive"]:
        return {"none": "all Gabors drove the unit alike"}
    value = {name: row[f"{prefix}_{name}"] for name in _GABOR}
    return {
        "activation": number(value["activation"], 3),
        "wavelength": f"{number(value['wavelength'], 1)} px",
        "orientation": f"{number(value['orientation'], 0)}°",
        "phase": f"{number(value['phase'], 0)}°",
        "sigma": f"{number(value['sigma'], 1)} px",
        "from the middle": f"{number(100 * value['dx'], 0)} % of the width to the right, "
        f"{number(100 * value['dy'], 0)} % of the height down",
    }


_GABOR = ("activation", "wavelength", "orientation", "phase", "sigma", "dx", "dy")


def _symmetry(rows: UnitRows) -> Facts:
    images = {"MEI": rows.mei["mei"]}
    if rows.optimal_gabor:
        images["optimal Gabor"] = rows.optimal_gabor["optimal_gabor"]
    indices = symmetry_indices(np.stack(list(images.values())))
    return {
        name: f"SI1 {number(one)}, SI2 {number(two)}"
        for name, (one, two) in zip(images, indices.tolist(), strict=True)
    }


def _regression(row: Row) -> Facts:
    if not row or row["regression_rf"] is None:
        return {}
    return {
        "smoothness": f"{row['field_lambda']:g}",
        "validation correlation": number(row["field_validation_corr"]),
        "test correlation": number(row["field_test_corr"]),
    }


def _diverse(rows: list[Row]) -> Facts:
    return {
        f"method {row['diverse_hash'][:6]}": f"{row['n_kept']} excite the unit as asked for, mean "
        f"correlation of the images {number(row['diverse_correlation'])}, MEI in its mask "
        f"{number(row['masked_activation'], 3)}"
        for row in rows
    }


def _surround(rows: list[Row]) -> Facts:
    return {
        f"{row['surround_excites']} exciting": f"activation {number(row['surround_activation'], 3)}"
        f" with it, {number(row['centre_activation'], 3)} without"
        if row["surround_alive"]
        else "nothing outside the mask matters"
        for row in rows
    }


def _recorded(rows: list[Row]) -> Facts:
    """Compare MEI and recorded Gabors inside their discs, on a scale from 0 to 1 (allen_mei 6)."""
    return {
        f"{name}, MEI and Gabor": " and ".join(number(row[f"{of}_{what}"], 3) for of in _COMPARED)
        for row in rows
        for name, what in (
            ("luminance", "luminance"),
            ("contrast", "disc_contrast"),
            ("SI1", "symmetry_1"),
            ("SI2", "symmetry_2"),
        )
    }


_COMPARED = ("mei", "gabor")
