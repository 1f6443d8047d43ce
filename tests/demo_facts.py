"""Prints, as JSON, what a finished demo shows; run in the project whose database holds it."""

import json
import sys

import numpy as np
import pandas as pd

from pipeline import truth
from pipeline.database import open_database
from pipeline.ingest.virtual import load_animal
from pipeline.truth.rats import true_rat
from schemas import graph
from schemas.coding_sweep import RateDistortion
from schemas.dataset import TargetDataset
from schemas.feedback import ContextTest, FreezeExperiment
from schemas.mei import MEI
from schemas.model import Ensemble, ModelGroup, TrainedModel
from schemas.navigation import AnimalRateMap
from schemas.neural_fit import InterAnimalConsistency, NeuralFit, NeuralFitPlan
from schemas.open_field import OpenField
from schemas.reliability import Oracle


def facts() -> dict:
    """Gather the numbers that the issue sets bars for."""
    open_database()
    cnn = (ModelGroup.Best & {"best_role": "cnn"}).proj(*Ensemble.primary_key).fetch1()
    cnn = {name: cnn[name] for name in Ensemble.primary_key}
    units = truth.mei_truth(cnn)
    loops = truth.closed_loop_results({"response_scaling": "normalized", "stimulus_kind": "mei"})
    pooled = loops[loops.n_recordings == 2].iloc[0]
    matches = truth.match_truth({})
    scored = Ensemble.UnitScore * Oracle.UnitScores * TargetDataset.Unit & cnn
    scores = pd.DataFrame(scored.to_dicts())
    animal, session = load_animal({"animal_id": 1, "session": 1, "scan_idx": 1})
    scores["kind"] = animal.kind[session.cells[scores.unit_index]]
    blind = scores[scores.kind == "undriven"]
    driven = scores[scores.kind != "undriven"]
    summary = truth.summarise(units)
    return {
        "n_driven": len(driven),
        "n_well_predicted": summary.n_well_predicted,
        "median_cosine": summary.median_cosine,
        "fraction_exceeding": summary.fraction_exceeding,
        "median_cc_norm": float(driven.ensemble_test_cc_norm.astype(float).median()),
        "row_max_fraction": float(pooled.right_row_max_fraction),
        "matched_right": float(matches.right.mean()),
        "p": float(pooled.permutation_p),
        "blind_well_predicted": int((blind.ensemble_validation_corr > truth.WELL_PREDICTED).sum()),
        "blind_reliable": int(blind.reliable.sum()),
        "blind_with_cc_norm": int(blind.ensemble_test_cc_norm.notna().sum()),
        "n_blind": len(blind),
        "meis": len(MEI.Unit & cnn),
        **navigation(),
        **coding(),
        **feedback(),
        "jobs": {
            s.table.__name__: s.table().jobs.progress() | {"rows": len(s.table())}
            for s in graph.STEPS
        },
    }


def navigation() -> dict:
    """Gather what the virtual rats and the path integrators show."""
    trained = TrainedModel * TrainedModel.DecodingError
    errors = pd.DataFrame((trained & "best_epoch > 0").to_dicts())
    cells = pd.DataFrame(AnimalRateMap.Unit.to_dicts(order_by="KEY"))
    rats = [true_rat(key) for key in OpenField.keys(order_by="KEY")]
    cells["kind"] = np.concatenate([rat.kinds for rat in rats])
    grid = cells[cells.kind == "grid"]
    untuned = cells[cells.kind == "untuned"]
    fits = pd.DataFrame((NeuralFit * NeuralFitPlan * TrainedModel.proj("best_epoch")).to_dicts())
    return {
        "decoding_over_standing": float((errors.decoding_error / errors.standing_error).max()),
        "grid_cells_found": float((grid.grid_score_p.astype(float) < 0.05).mean()),
        "untuned_called_grid": float((untuned.grid_score_p.astype(float) < 0.05).mean()),
        "median_fit": float(fits[fits.best_epoch > 0].median_fit.min()),
        "median_consistency": float(min(InterAnimalConsistency.to_arrays("median_consistency"))),
    }


def coding() -> dict:
    """Gather what efficient codes reached."""
    codes = pd.DataFrame((TrainedModel.Code & "code_status = 'ok'").to_dicts())
    targets = codes.groupby("target_rate")
    return {
        "n_lost_codes": int(sum(RateDistortion.to_arrays("n_lost_codes"))),
        "rate_off_target": float((codes.train_rate - codes.target_rate).abs().median()),
        "distortion_falls": bool(targets.train_distortion.mean().is_monotonic_decreasing),
    }


def feedback() -> dict:
    """Gather what feedback does in networks that were trained, in the quietest test."""
    trained = TrainedModel * TrainedModel.SourceLoss & "best_epoch > 0"
    tests = ContextTest.proj("test_noise") * ContextTest.Population * trained
    rows = pd.DataFrame(tests.to_dicts())
    rows = rows[rows.test_noise == rows.test_noise.min()]
    clarity = rows.groupby("population").clarity_mean.max()
    frozen = pd.DataFrame((FreezeExperiment * trained.proj()).to_dicts())
    return {
        "loss_over_silent": float((rows.source_loss / rows.silent_loss).min()),
        "input_clarity": float(clarity["inputs"]),
        "output_clarity": float(clarity["outputs"]),
        "angle_frozen": float(frozen.mean_angle_frozen.min()),
        "angle_unfrozen": float(frozen.mean_angle_unfrozen.max()),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(facts()))
