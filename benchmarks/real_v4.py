"""Macaque V4: CNN ensemble against ridge on pixels and an LN model with the same readout.

The recording goes through `ingest arrays` and the pipeline's own tables; five folds by image.
Needs ../shared/data/v4_cowley2023. Results stay in the project's database under the prefix `v4_`.

    .venv/bin/python benchmarks/real_v4.py [--folds 5] [--seeds 3] [--workers 2]
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("INCEPTIONLOOP_PREFIX", "v4_")

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from tqdm import tqdm

from pipeline.crew import supervise, threads_per_worker
from pipeline.database import open_database
from pipeline.ingest.arrays import ingest_arrays
from pipeline.study import Study, read_study, register
from pipeline.work import Shift
from schemas.dataset import TargetDataset
from schemas.loading import load_dataset
from schemas.mei import MEI, MEIMask
from schemas.model import Ensemble
from schemas.reliability import Oracle
from science.dataset import ImageDataset
from science.metrics import cc_norm

ROOT = Path(__file__).parents[1]
RECORDING = ROOT.parent / "shared" / "data" / "v4_cowley2023" / "v4_210325.npz"
STUDY = ROOT / "pipeline" / "studies" / "v4.toml"
SCAN = {"animal_id": 210325, "session": 1, "scan_idx": 1}
ALPHAS = np.logspace(1, 7, 13)


def trial_arrays(path: Path) -> dict[str, NDArray]:
    """Convert the published file (unit x image x repeat, -1 = no such repeat) to the arrays format.

    A repeat is one trial of all units; it exists for all of them or for none.
    """
    with np.load(path) as file:
        images, counts = file["images"], file["spike_counts"]
    exists = (counts >= 0).all(axis=0)
    image_index, _ = np.nonzero(exists)
    return {
        "images": images,
        "image_class": np.array("photograph"),
        "image_index": image_index,
        "responses": counts.transpose(1, 2, 0)[exists].astype(np.float32),
        "area": np.full(len(counts), "V4"),
        "presentation_time": np.array(0.1),
    }


def fold_study(study: Study, fold: int, n_seeds: int) -> Study:
    """Return the study of one fold; MEIs are made from the first fold's CNN only."""
    models = {
        name: model.model_copy(
            update={"seeds": model.seeds[:n_seeds], "meis": model.meis and fold == 0}
        )
        for name, model in study.models.items()
    }
    split = study.split.model_copy(update={"fold": fold})
    return study.model_copy(update={"split": split, "models": models})


def ridge_scores(dataset: ImageDataset) -> NDArray[np.float64]:
    """Noise-corrected test correlation of ridge regression on pixels, per unit.

    The penalty of each unit is chosen by leave-one-out on train and validation images.
    """
    (key,) = dataset.recordings
    tiers = [dataset.training_pairs(key, tier) for tier in ("train", "validation")]
    x, y = (np.concatenate(part) for part in zip(*tiers, strict=True))
    ridge = RidgeCV(ALPHAS, alpha_per_target=True).fit(x.reshape(len(x), -1), y)
    test = dataset.inputs(key, "test")
    recording = dataset.recordings[key]
    image_index = recording.image_index[recording.trials("test")]
    predicted = ridge.predict(test.reshape(len(test), -1))
    return cc_norm(dataset.targets(key, "test"), predicted, image_index)


def main() -> None:
    """Run the benchmark and print its result as JSON on the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    open_database(create=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / RECORDING.name
        np.savez(path, **trial_arrays(RECORDING))
        ingest_arrays(path, SCAN)
    study = read_study(STUDY)
    folds = [
        register(fold_study(study, fold, options.seeds), [SCAN]) for fold in range(options.folds)
    ]
    start = time.perf_counter()
    if supervise(options.workers, Shift(threads_per_worker(options.workers))):
        raise SystemExit("jobs failed: `INCEPTIONLOOP_PREFIX=v4_ inceptionloop errors`")
    seconds = time.perf_counter() - start
    scores = {"ridge": [], "cnn": [], "linear": []}
    for fold in tqdm(folds, desc="ridge"):
        digest = (TargetDataset & fold["training_set"]).fetch1("dataset_digest")
        scores["ridge"].append(ridge_scores(load_dataset(fold["training_set"], digest)))
        for name, plan in fold["plans"].items():
            units = Ensemble.UnitScore & plan
            scores[name].append(units.to_arrays("ensemble_test_cc_norm", order_by="unit_index"))
    print(json.dumps(summary(scores, folds, seconds) | vars(options)))


def summary(scores: dict[str, list], folds: list[dict], seconds: float) -> dict:
    """Return medians over units of the mean noise-corrected correlation over folds."""
    per_unit = {name: np.nanmean(np.asarray(s, np.float64), axis=0) for name, s in scores.items()}
    median = {name: round(float(np.nanmedian(s)), 4) for name, s in per_unit.items()}
    oracle = (Oracle.UnitScores & folds[0]["training_set"]).to_arrays("oracle")
    masks = (MEIMask.Unit & folds[0]["training_set"]).to_arrays("mask_status")
    return {
        "name": "real_v4",
        "ratio": round(median["cnn"] / max(median["ridge"], median["linear"]), 3),
        "reference": "the better of ridge on pixels and the LN model with the same readout",
        "equal": "same images, folds, units and noise correction (science.metrics.cc_norm)",
        "median_cc_norm": median,
        "winner": max(median, key=median.get),
        "cnn_beats_linear_units": int((per_unit["cnn"] > per_unit["linear"]).sum()),
        "cnn_beats_ridge_units": int((per_unit["cnn"] > per_unit["ridge"]).sum()),
        "units": len(per_unit["cnn"]),
        "median_oracle": round(float(np.median(oracle)), 4),
        "meis": len(MEI.Unit & folds[0]["training_set"] & "mei_status = 'ok'"),
        "masks_ok": int((masks == "ok").sum()),
        "seconds": round(seconds, 1),
    }


if __name__ == "__main__":
    main()
