"""Virtual mice at full size: the noise ceiling, and what shifter, modulator and depth are worth.

Two mice of the same cells see the same images, recorded as spikes with eye and treadmill. One looks
around and its gain follows its arousal; the other does neither. Models with and without shifter and
modulator, and the LN control, are trained through the pipeline's own tables. Results stay in the
project's database under the prefix `mice_`.

    .venv/bin/python benchmarks/virtual_mouse.py [--workers 2]
"""

import argparse
import json
import os
import time

os.environ.setdefault("INCEPTIONLOOP_PREFIX", "mice_")

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

from pipeline.crew import supervise, threads_per_worker
from pipeline.database import open_database
from pipeline.demo import STUDIES
from pipeline.ingest.virtual import ingest_first_day, load_animal
from pipeline.study import Study, StudyModel, read_study, register
from pipeline.work import Shift
from schemas.dataset import TargetDataset
from schemas.model import Ensemble, TrainedModel
from schemas.reliability import Oracle
from science.virtual import SessionDesign, VirtualAnimalParams

CELLS = {"height": 36, "width": 64, "n_simple": 75, "n_complex": 75, "n_undriven": 10}
MICE = {
    "moving": VirtualAnimalParams(**CELLS, eye_movement_px=1.5, gain_cv=0.4),
    "still": VirtualAnimalParams(**CELLS, eye_movement_px=0.0, gain_cv=0.0),
}
DESIGN = SessionDesign(n_train=1600, n_validation=180, n_test=60, repeats=10)
SEED = 1
SEEDS = {"moving": (1009, 1215), "still": (1009,)}
"""Of the compared models; the whole model of the moving mouse has four."""
GOAL = 0.85


def mouse_study(name: str) -> Study:
    """Return the study of one mouse: the whole model, and models that lack a part of it."""
    study = read_study(STUDIES / "behaving.toml")
    whole = study.models["cnn"]

    def without(part: str) -> StudyModel:
        config = whole.config.model_copy(update={part: None})
        return whole.model_copy(update={"config": config, "seeds": SEEDS[name]})

    models = {
        "cnn": whole,
        "no_shifter": without("shifter"),
        "no_modulator": without("modulator"),
        "linear": study.models["linear"],
    }
    if name == "still":
        del models["linear"]
        models = {n: m.model_copy(update={"seeds": SEEDS[name]}) for n, m in models.items()}
    return study.model_copy(update={"models": models})


def unit_table(
    scan: dict[str, int], plans: dict[str, dict[str, str]], seeds: tuple[int, ...]
) -> pd.DataFrame:
    """Return the kind of every unit and its scores under every model, by `unit_index`.

    `{model}` is the single-trial test correlation, the mean over the compared seeds;
    `{model}_cc_norm` is that of the ensemble. To CC_norm what eye and gain do is noise, so that a
    model that knows them can exceed 1; `cnn_mean_input` does not know them.
    """
    animal, session = load_animal(scan)
    units = TargetDataset.Unit & plans["cnn"]
    cell_of = dict(zip(session.unit_ids.tolist(), session.cells.tolist(), strict=True))
    table = {
        "kind": [animal.kind[cell_of[u]] for u in units.to_arrays("unit_id", order_by="unit_index")]
    }
    for name, plan in plans.items():
        networks = TrainedModel.UnitScore & plan & [{"seed": s} for s in seeds]
        corr = networks.to_arrays("test_corr", order_by="seed, unit_index").astype(float)
        table[name] = np.nan_to_num(corr).reshape(len(seeds), -1).mean(0)
        ensemble = Ensemble.UnitScore & plan
        table[f"{name}_cc_norm"] = ensemble.to_arrays(
            "ensemble_test_cc_norm", order_by="unit_index"
        ).astype(float)
    blind = Ensemble.MeanInputScore & plans["cnn"]
    table["cnn_mean_input"] = blind.to_arrays(
        "ensemble_mean_input_test_cc_norm", order_by="unit_index"
    ).astype(float)
    return pd.DataFrame(table)


def worth(units: pd.DataFrame, lacking: str) -> dict[str, float]:
    """Compare the whole model with the one that lacks a part, over driven units, paired."""
    driven = units[units.kind != "undriven"]
    gain = driven.cnn - driven[lacking]
    return {
        "with": round(float(driven.cnn.median()), 4),
        "without": round(float(driven[lacking].median()), 4),
        "median_gain": round(float(gain.median()), 4),
        "better_units": round(float((gain > 0).mean()), 3),
        "p_greater": float(f"{wilcoxon(gain, alternative='greater').pvalue:.2g}"),
    }


def main() -> None:
    """Run the benchmark and print its result as JSON on the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    open_database(create=True)
    plans, scans = {}, {}
    for number, (name, params) in enumerate(MICE.items(), start=1):
        scans[name] = {"animal_id": number, "session": 1, "scan_idx": 1}
        ingest_first_day(scans[name], params, DESIGN, SEED, activity="spike_times")
        plans[name] = register(mouse_study(name), [scans[name]])["plans"]
    start = time.perf_counter()
    if supervise(options.workers, Shift(threads_per_worker(options.workers))):
        raise SystemExit("jobs failed: `INCEPTIONLOOP_PREFIX=mice_ inceptionloop errors`")
    seconds = time.perf_counter() - start
    units = {name: unit_table(scans[name], plans[name], SEEDS[name]) for name in MICE}
    print(json.dumps(summary(units, plans, seconds) | vars(options)))


def summary(
    units: dict[str, pd.DataFrame], plans: dict[str, dict[str, dict[str, str]]], seconds: float
) -> dict:
    """Return what the benchmark shows."""
    moving = units["moving"]
    ceiling = moving.groupby("kind")[["cnn_cc_norm", "linear_cc_norm"]].median().round(3)
    driven = moving[moving.kind != "undriven"]
    median = round(float(driven.cnn_cc_norm.median()), 4)
    oracle = (Oracle.UnitScores & plans["moving"]["cnn"]).to_arrays("oracle")
    return {
        "name": "virtual_mouse",
        "ratio": round(median / GOAL, 3),
        "reference": f"median CC_norm {GOAL} of the CNN ensemble on driven units",
        "median_cc_norm": median,
        "median_cc_norm_of_mean_inputs": round(float(driven.cnn_mean_input.median()), 4),
        "known_units": int(driven.cnn_cc_norm.notna().sum()),
        "units": len(moving),
        "train_images": DESIGN.n_train,
        "median_oracle": round(float(np.median(oracle)), 3),
        "cc_norm_by_kind": ceiling.loc[["simple", "complex"]].to_dict("index"),
        "shifter": {name: worth(table, "no_shifter") for name, table in units.items()},
        "modulator": {name: worth(table, "no_modulator") for name, table in units.items()},
        "seconds": round(seconds, 1),
    }


if __name__ == "__main__":
    main()
