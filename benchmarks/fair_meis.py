"""MEIs against the truth: what they show of known cells, and whether anything beats them.

A virtual mouse of simple and complex cells, and of cells whose best image is no Gabor, is recorded,
modelled and shown its MEIs, Gabors, natural images and receptive fields at one mean and contrast,
through the pipeline's own tables. Results stay in the project's database under the prefix `fair_`.

    .venv/bin/python benchmarks/fair_meis.py [--workers 2]
"""

import argparse
import json
import os
import time
from typing import Any

os.environ.setdefault("INCEPTIONLOOP_PREFIX", "fair_")

import numpy as np
import pandas as pd
import torch

from pipeline.crew import supervise, threads_per_worker
from pipeline.database import open_database
from pipeline.demo import STUDIES
from pipeline.ingest.virtual import ingest_first_day, load_animal
from pipeline.study import Study, read_study, register
from pipeline.truth import WELL_PREDICTED, comparison_summary, comparison_truth, mei_truth
from pipeline.work import Shift
from schemas.controls import ContrastRule, GaborMethod
from schemas.dataset import TargetDataset
from schemas.mei import MEI, MEIMethod
from schemas.mei_variants import DiverseMEI
from schemas.model import Ensemble
from science.contrast import ContrastTarget
from science.gabor_ascent import optimal_gabors
from science.gabor_search import best_gabors
from science.gabors import GaborRange
from science.virtual import SessionDesign, VirtualAnimalParams

ANIMAL = VirtualAnimalParams(
    n_simple=24,
    n_complex=24,
    n_curved=10,
    n_crossed=10,
    n_suppressed=10,
    n_two_subunits=10,
    n_undriven=2,
)
DESIGN = SessionDesign(n_train=4000, n_validation=0, n_test=100, repeats=10)
SCAN = {"animal_id": 1, "session": 1, "scan_idx": 1}
SEED = 1
SEEDS = (1009, 1215)
CONTRAST = {"mean": 127.5, "std": 16.0}  # grey levels
IMAGE_SD = 45.0  # about that of the images: contrasts of a method are in units of it
METHODS: dict[str, dict[str, Any]] = {
    "inception_loop": {"method": "inception_loop"},
    "fixed_contrast": {
        "method": "fixed_contrast",
        "contrast": CONTRAST["std"] / IMAGE_SD,
        "mean": None,
        "iter_n": 300,
        "step": 10.0,
    },
    "allen": {"method": "allen", "iter_n": 300, "sigma": 5.0, "starts": ["noise", "black"]},
}
ORIENTATION_DEG, WAVELENGTH, PLACE_PX = 15.0, 0.25, 2.0


def fair_study(method: str) -> Study:
    """Return the study of the virtual mouse with one method; controls once, for fixed contrast."""
    study = read_study(STUDIES / "virtual.toml").model_dump()
    study["models"]["cnn"]["seeds"] = SEEDS
    study["selection"] |= {"block_size": 45, "only_reliable": True}
    study["mei"] = METHODS[method]
    study["controls"] |= {"contrast": CONTRAST, "gabors": {}}  # the published range of Gabors
    if method == "allen":
        study |= {"controls": None, "diverse": None, "surround": None}
        study["models"]["linear"]["meis"] = False
    return Study.model_validate(study)


def nearest_gabors(meis: np.ndarray) -> np.ndarray:
    """Return the parameters (n, 6) of the Gabors that resemble MEIs (n, h, w) most."""
    images = torch.as_tensor(meis - meis.mean((1, 2), keepdims=True)).float()
    shape = tuple(images.shape[1:])
    contrast = ContrastTarget(**CONTRAST)
    statistics = CONTRAST["mean"], CONTRAST["std"]
    grid = GaborRange(wavelengths=(5, 7, 10), sigmas=(2, 3.5))
    start = best_gabors(
        lambda shown: shown[:, 0].flatten(1) @ images.flatten(1).T,
        grid,
        shape,
        *statistics,
        contrast,
    )
    return optimal_gabors(
        lambda shown: (shown[:, 0] * images).sum((1, 2)),
        start.parameters,
        shape,
        *statistics,
        contrast,
    ).parameters


def complex_cells(units: pd.DataFrame) -> dict[str, float]:
    """Compare the Gabors nearest to the MEIs of complex cells with those that the cells are of."""
    animal, session = load_animal(SCAN)
    cells = session.cells[np.searchsorted(session.unit_ids, units.unit_id)]
    meis = np.stack(units.mei.to_list())
    _, wavelength, orientation, _, dy, dx = nearest_gabors(meis).T
    gabors, (height, width) = animal.gabors, meis.shape[1:]
    # The animal turns the carrier from the column axis towards the rows, a patch the stripes.
    turned = 90 - orientation - np.degrees(gabors.direction[cells])
    turned = np.abs((turned + 90) % 180 - 90)
    stretched = np.abs(wavelength / gabors.wavelength[cells] - 1)
    x, y = (width - 1) / 2 + dx * width, (height - 1) / 2 + dy * height
    distance = np.hypot(x - gabors.x[cells], y - gabors.y[cells])
    within = {
        "orientation": turned <= ORIENTATION_DEG,
        "wavelength": stretched <= WAVELENGTH,
        "place": distance <= PLACE_PX,
    }
    shares = {name: round(float(right.mean()), 3) for name, right in within.items()}
    together = np.all(list(within.values()), axis=0)
    return {"n": len(units), "right": round(float(together.mean()), 3), **shares}


def seen(method: str, plan: dict[str, str]) -> dict[str, Any]:
    """Return what the MEIs of one method show of the cells, and how they compare in truth."""
    of_method = plan | (MEIMethod & {"mei_hash": _hash(method)}).proj().fetch1()
    units = mei_truth(of_method)
    well = units[(units.ensemble_validation_corr.astype(float) > WELL_PREDICTED)]
    well = well[well.mei_status == "ok"]
    result = {
        "well_predicted": len(well),
        "cosine": {
            kind: round(float(well.cosine[well.kind == kind].median()), 3)
            for kind in ("simple", "curved", "crossed")
        },
        "complex_plane_cosine": round(float(well.plane_cosine.median()), 3),
        "complex": complex_cells(well[well.kind == "complex"]),
    }
    diverse = (DiverseMEI.Unit & of_method).to_dicts()
    if diverse:
        kind = dict(zip(well.unit_index, well.kind, strict=True))
        rows = pd.DataFrame(diverse)
        rows["kind"] = rows.unit_index.map(kind)
        result["diverse_correlation"] = rows.groupby("kind").diverse_correlation.median().to_dict()
    agreement = (MEI.Unit & of_method & "start_agreement IS NOT NULL").to_dicts()
    if agreement:
        rows = pd.DataFrame(agreement).merge(well[["unit_index", "kind"]], on="unit_index")
        alike = rows.start_agreement.astype(float)
        result["start_agreement"] = {
            "median": float(alike.median()),
            "at_least_0.9": (alike >= 0.9).groupby(rows.kind).mean().round(3).to_dict(),
        }
    controls = fair_study(method).controls
    if controls:
        rules = GaborMethod.register(controls.gabors) | ContrastRule.register(controls.contrast)
        summary = comparison_summary(comparison_truth(of_method | rules))
        result["comparison"] = [
            {k: float(f"{v:.3g}") if isinstance(v, float) else v for k, v in row.items()}
            for row in summary.to_dict("records")
        ]
    return result


def _hash(method: str) -> str:
    return MEIMethod.register(fair_study(method).mei)["mei_hash"]


def main() -> None:
    """Run the benchmark and print its result as JSON on the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    open_database(create=True)
    ingest_first_day(SCAN, ANIMAL, DESIGN, SEED)
    plans = {method: register(fair_study(method), [SCAN])["plans"]["cnn"] for method in METHODS}
    start = time.perf_counter()
    if supervise(options.workers, Shift(threads_per_worker(options.workers))):
        raise SystemExit("jobs failed: `INCEPTIONLOOP_PREFIX=fair_ inceptionloop errors`")
    seconds = time.perf_counter() - start
    plan = plans["fixed_contrast"]
    scores = (Ensemble.UnitScore & plan).to_arrays("ensemble_test_cc_norm").astype(float)
    print(
        json.dumps(
            {
                "name": "fair_meis",
                "units": len(TargetDataset.Unit & plan),
                "median_cc_norm": round(float(np.nanmedian(scores)), 3),
                "methods": {method: seen(method, plans[method]) for method in METHODS},
                "seconds": round(seconds, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
