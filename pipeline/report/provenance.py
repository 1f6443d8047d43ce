"""Section 8: everything one MEI comes from."""

from typing import Any

import numpy as np

from pipeline.configurations import flat
from pipeline.report.album import Album
from pipeline.report.mei_figures import portrait
from pipeline.report.numbers import number
from pipeline.report.page import Provenance, Step
from schemas.configuration import Configuration
from schemas.dataset import (
    ConditionTier,
    DataConfig,
    SplitConfig,
    StaticMultiDataset,
    TargetDataset,
    TrainingSet,
    readout_key,
)
from schemas.mei import MEI, MaskMethod, MEIMask, MEIMethod, SelectionRule, UnitSelection
from schemas.model import Ensemble, TrainedModel
from schemas.model_config import ModelConfig, TrainConfig
from schemas.operations import CodeVersion
from schemas.recording import Scan
from schemas.reliability import Oracle, OracleMethod
from schemas.responses import Frame, InputResponse, Preprocessing

Row = dict[str, Any]


def provenance(training_set: dict[str, str], album: Album) -> Provenance | None:
    """Describe the ancestors of the MEI of the unit that is predicted best."""
    scored = MEI.Unit * Ensemble.UnitScore & training_set & "mei_status = 'ok'"
    best = scored.keys(order_by="ensemble_validation_corr DESC", limit=1)
    if not best:
        return None
    unit = {a: best[0][a] for a in MEI.Unit.primary_key}
    member = (TargetDataset.Unit * TargetDataset.Member.proj("split_hash") & unit).fetch1()
    members, code = _members(unit)
    return Provenance(
        unit=f"unit {unit['unit_index']} (recording {readout_key(member)}, "
        f"unit id {member['unit_id']})",
        picture=_portrait(unit, album),
        steps=[*_data(member), *_models(unit), *_synthesis(unit)],
        members=members,
        code=code,
    )


def _portrait(unit: Row, album: Album) -> Any:
    row = (MEI.Unit & unit).fetch1()
    masks = (MEIMask.Unit & unit).to_arrays("mei_mask", order_by="mask_hash", limit=1)
    figure = portrait(row["mei"], masks[0] if len(masks) else None, np.asarray(row["mei_curve"]))
    return album.add("portrait", figure, "The MEI, its mask, and the activation on the way to it")


def _data(member: Row) -> list[Step]:
    """Return the recording and how it became a training set."""
    scan = (Scan & member).fetch1()
    tiers = (ConditionTier & member).fetch1()
    dataset = (TargetDataset * TrainingSet & member).fetch1()
    together = len(StaticMultiDataset.Member & {"group_id": dataset["group_id"]})
    source = {
        "reader": f"{scan['reader']} {scan['reader_version']}",
        "source": scan["source_name"],
        "sha256": scan["source_sha256"] or "not recorded",
        "ingested": f"{scan['ingested_at']:%Y-%m-%d %H:%M:%S}",
    }
    blocks = {
        "frames sha256": (Frame & member).fetch1("frames_digest"),
        "responses sha256": ", ".join(
            (InputResponse.ResponseBlock & member).to_arrays(
                "responses_digest", order_by="response_block"
            )
        ),
    }
    counts = {t: f"{tiers[f'n_{t}']} images" for t in ("train", "validation", "test")}
    digest = {
        "dataset sha256": dataset["dataset_digest"],
        "units": str(dataset["n_units"]),
        "recordings": str(together),
    }
    data = {"data_hash": dataset["data_hash"]}
    return [
        Step("Recording", "Scan", readout_key(scan), source),
        _configured("Frames and responses", Preprocessing, member, blocks),
        _configured("Split", SplitConfig, member, counts),
        _configured("Units and normalisation", DataConfig, data),
        Step("Training set", "TargetDataset", dataset["training_set_hash"], digest),
    ]


def _models(unit: Row) -> list[Step]:
    """Return reliability, architecture, training and ensemble."""
    steps = []
    for oracle in (Oracle.UnitScores & unit).to_dicts(order_by="KEY"):
        facts = {"oracle": number(oracle["oracle"]), "FEV": number(oracle["fev"])}
        steps.append(_configured("Reliability", OracleMethod, oracle, facts))
    model = (ModelConfig & unit).fetch1()
    scores = (Ensemble.UnitScore & unit).fetch1()
    facts = {
        "members": str(len(Ensemble.Member & unit)),
        "validation correlation": number(scores["ensemble_validation_corr"], 3),
        "CC norm": number(scores["ensemble_test_cc_norm"], 3),
    }
    return [
        *steps,
        Step("Architecture", "ModelConfig", model["model_hash"], {}, flat(model["model_params"])),
        _configured("Training", TrainConfig, unit),
        Step("Ensemble", "Ensemble", unit["seed_set_hash"], facts),
    ]


def _synthesis(unit: Row) -> list[Step]:
    """Return selection, ascent and masks."""
    row = (MEI.Unit & unit).fetch1()
    rank = (UnitSelection.Unit & unit).fetch1("selection_rank")
    facts = {
        "activation": number(row["mei_activation"], 3),
        "seed of the start noise": str(row["mei_seed"]),
        "job": _job(MEI, unit),
        "code": (MEI & unit).fetch1("code_hash"),
    }
    steps = [
        _configured(
            "Selection of the unit",
            SelectionRule,
            unit,
            {"rank": str(rank), "block": str(unit["unit_block"])},
        ),
        _configured("MEI", MEIMethod, unit, facts),
    ]
    for mask in (MEIMask.Unit & unit).to_dicts(order_by="KEY"):
        facts = {
            "status": mask["mask_status"],
            "reduction ratio": number(mask["reduction_ratio"], 3),
            "job": _job(MEIMask, mask),
        }
        steps.append(_configured("Mask", MaskMethod, mask, facts))
    return steps


def _configured(
    title: str, table: type[Configuration], key: Row, facts: dict[str, str] | None = None
) -> Step:
    """Return a step with the parameters of a configuration row."""
    (attribute,) = table.primary_key
    params = table.params({attribute: key[attribute]}).model_dump(mode="json")
    return Step(title, table.__name__, key[attribute], facts or {}, flat(params))


def _members(unit: Row) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Return the networks of the ensemble, and the code versions of networks and MEI."""
    rows = (TrainedModel & (Ensemble.Member & unit)).proj(
        "validation_score", "best_epoch", "n_epochs", "weights_sha256", "code_hash"
    )
    members = [
        {
            "seed": str(row["seed"]),
            "validation score": number(row["validation_score"], 4),
            "best epoch": f"{row['best_epoch']} of {row['n_epochs']}",
            "job": _job(TrainedModel, row),
            "weights sha256": row["weights_sha256"],
            "code": row["code_hash"],
        }
        for row in rows.to_dicts(order_by="seed")
    ]
    used = {m["code"] for m in members} | {(MEI & unit).fetch1("code_hash")}
    versions = CodeVersion & [{"code_hash": h} for h in used]
    code = [_code(row) for row in versions.to_dicts(order_by="first_used, code_hash")]
    return members, code


def _code(row: Row) -> dict[str, str]:
    commit = row["git_commit"] or "not a checkout"
    return {
        "code": row["code_hash"],
        "inceptionloop": row["package_version"],
        "commit": commit[:12] + (" + uncommitted changes" if row["git_dirty"] else ""),
        "python": row["python_version"],
        "torch": row["torch_version"],
        "numpy": row["numpy_version"],
        "datajoint": row["datajoint_version"],
        "device": row["device"],
        "threads": str(row["n_threads"]),
    }


def _job(table: Any, key: Row) -> str:
    """Say when a row was computed, how long it took and where."""
    jobs = (table().jobs.completed & {a: key[a] for a in table.primary_key}).to_dicts()
    if not jobs or jobs[0]["duration"] is None:
        return "not recorded"
    job = jobs[0]
    return f"{job['completed_time']:%Y-%m-%d %H:%M:%S}, {job['duration']:.1f} s on {job['host']}"
