"""Pages of trained networks: the list, and each with its learning curve, scores and origin."""

import json
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, abort, render_template, request

from pipeline.web.curve import Curve
from pipeline.web.paging import window
from pipeline.web.reader import Reader, reader
from science.model.scores import SCORES, TIERS

FAMILIES = ("image", "navigation", "coding", "feedback")
STATES = {"ok": "ok", "nonfinite": "not finite"}
KEY = ("training_set_hash", "model_hash", "train_hash", "seed")
THIS = " AND ".join(f"{name} = :{name}" for name in KEY)
SCORE_NAMES = {
    "corr": "correlation, single trials",
    "corr_avg": "correlation, averages",
    "cc_norm": "CC norm",
    "feve": "FEVE",
    "oracle_fraction": "fraction of the oracle",
}
MAX_EPOCHS_DRAWN = 400
MAX_ROWS = 100

blueprint = Blueprint("models", __name__, url_prefix="/models")


@blueprint.get("")
def index() -> str:
    """Answer with a page of trained networks, the newest first."""
    ask, asked = reader(), window()
    cores = [row["core_type"] for row in ask.rows("SELECT DISTINCT core_type FROM [CoreConfig]")]
    choices = {
        "model_family": [("", "all"), *((name, name) for name in FAMILIES)],
        "core_type": [("", "all"), *((name, name) for name in sorted(cores))],
        "training_status": [("", "all"), *STATES.items()],
    }
    wanted = {name: _choice(name, [v for v, _ in values]) for name, values in choices.items()}
    given = {name: value for name, value in wanted.items() if value}
    condition = " AND ".join(["TRUE", *(f"{name} = :{name}" for name in given)])
    count = ask.one(f"SELECT COUNT(*) AS n FROM models WHERE {condition}", **given)
    rows = ask.rows(
        "SELECT training_set_hash, model_hash, train_hash, seed, model_family, core_type, "
        "readout_type, shifter_type, modulator_type, training_status, best_epoch, n_epochs, "
        "validation_score, decoding_error, source_loss, computed_at, compute_seconds "
        f"FROM models WHERE {condition} ORDER BY computed_at IS NULL, computed_at DESC, "
        f"{', '.join(KEY)} LIMIT :limit OFFSET :offset",
        **asked.sql,
        **given,
    )
    return render_template(
        "models.html.j2", page=asked.page(rows, count["n"]), choices=choices, wanted=wanted
    )


@blueprint.get("/<training_set_hash>/<model_hash>/<train_hash>/<int(signed=True):seed>")
def model(**key: Any) -> str:
    """Answer with the page of a trained network."""
    ask = reader()
    row = ask.one(f"SELECT * FROM models WHERE {THIS}", **key)
    if row is None:
        abort(404, "There is no such trained network.")
    return render_template(
        "model.html.j2",
        key=key,
        model=row,
        curve=_curve(ask, key, row),
        scores=_unit_scores(ask, key) if row["model_family"] == "image" else {},
        score_names=SCORE_NAMES,
        tiers=TIERS,
        codes=_rows(ask, "TrainedModel.Code", key, "code_index"),
        errors=_rows(ask, "TrainedModel.DecodingError", key, "seed"),
        losses=_rows(ask, "TrainedModel.SourceLoss", key, "seed"),
        ensembles=_rows(ask, "Ensemble.Member", key, "seed_set_hash"),
        job=ask.one(f"SELECT * FROM [jobs of TrainedModel] WHERE {THIS}", **key),
        code=ask.one("SELECT * FROM code_versions WHERE code_hash = :hash", hash=row["code_hash"]),
        parameters={
            "Architecture": dict(flat(json.loads(row["model_params"]))),
            "Training": dict(flat(json.loads(row["train_params"]))),
        },
    )


def flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the parameters of a document with dotted names, lists on one line."""
    if isinstance(value, dict) and value:
        for part, inner in value.items():
            yield from flat(inner, f"{name}.{part}" if name else part)
    else:
        yield name, json.dumps(value) if not isinstance(value, str) else value


def _curve(ask: Reader, key: dict[str, Any], row: dict[str, Any]) -> Curve:
    """Read the learning curve, of long trainings every so many epochs."""
    step = max(1, -(-row["n_epochs"] // MAX_EPOCHS_DRAWN))
    epochs = ask.rows(
        f"SELECT epoch, train_loss, epoch_score FROM learning_curves WHERE {THIS} "
        "AND (MOD(epoch, :step) = 0 OR epoch IN (1, :best_epoch, :n_epochs)) "
        "ORDER BY epoch LIMIT :most",
        **key,
        step=step,
        best_epoch=row["best_epoch"],
        n_epochs=row["n_epochs"],
        most=2 * MAX_EPOCHS_DRAWN,
    )
    return Curve(epochs, row["best_epoch"])


def _unit_scores(ask: Reader, key: dict[str, Any]) -> dict[str, Any]:
    """Return the number of units, and the means over them of all scores."""
    columns = ", ".join(f"AVG({t}_{s}) AS {t}_{s}" for t in TIERS for s in SCORES)
    query = f"SELECT COUNT(*) AS n, {columns} FROM [TrainedModel.UnitScore] WHERE {THIS}"
    return ask.one(query, **key) or {}


def _rows(ask: Reader, table: str, key: dict[str, Any], order: str) -> list[dict[str, Any]]:
    return ask.rows(
        f"SELECT * FROM [{table}] WHERE {THIS} ORDER BY {order} LIMIT {MAX_ROWS}", **key
    )


def _choice(name: str, values: list[str]) -> str:
    value = request.args.get(name, "")
    if value not in values:
        abort(400, f"'{name}' has to be one of {', '.join(filter(None, values))}.")
    return value
