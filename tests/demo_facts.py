"""Prints, as JSON, what a finished demo shows; run in the project whose database holds it."""

import json
import sys

import pandas as pd

from pipeline import truth
from pipeline.database import open_database
from pipeline.ingest.virtual import load_animal
from schemas import graph
from schemas.dataset import TargetDataset
from schemas.mei import MEI
from schemas.model import Ensemble, ModelGroup
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
        "jobs": {
            s.table.__name__: s.table().jobs.progress() | {"rows": len(s.table())}
            for s in graph.STEPS
        },
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(facts()))
