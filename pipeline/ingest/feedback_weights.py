"""The way of published feedback-modulated networks into the database: as trained elsewhere."""

import hashlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from pipeline.ingest.npy import read_npz
from pipeline.ingest.rows import BadRecording
from pipeline.ingest.source import source_of
from pipeline.study_file import described
from schemas.code_version import code_version
from schemas.dataset import TaskConfig, TrainingSet
from schemas.families import source_loss_row
from schemas.model import TrainedModel, TrainingPlan
from schemas.model_config import ModelConfig, SeedSet, TrainConfig
from science.feedback import (
    ChordParams,
    FeedbackNetwork,
    FeedbackTask,
    FeedbackTrainee,
    FeedbackTraining,
    SineParams,
    from_published,
    pack,
)
from science.training import TrainedElsewhere

READER_VERSION = "1"
MAX_BYTES = 2**30
"""Of all weights together: published networks have less than a thousandth of it."""

SourceKind = Literal["chords", "sines"]
SOURCES = {"chords": ChordParams(), "sines": SineParams()}

SEED = 0
"""Of a network whose own seed nobody knows."""


def ingest_feedback_weights(
    path: Path, name: str, sources: SourceKind
) -> tuple[dict[str, str], bool]:
    """Ingest a published network as one that was trained elsewhere.

    Parameters
    ----------
    path : Path
        Weights by their names in the original, ``.npz``; see `science.feedback.from_published`.
    name : str
        Of the network, or of where it is published.
    sources : {"chords", "sines"}
        It was trained on.

    Returns
    -------
    plan : dict
        Key of its `TrainingPlan`.
    new : bool
        False when this very network is already there.

    Raises
    ------
    BadRecording
        If the file cannot be read, or arrays are missing, not finite or do not fit each other;
        nothing is stored.
    """
    arrays, source = _read(path), source_of(path, "feedback_weights", READER_VERSION)
    try:
        network = from_published(arrays)
        noise = float(arrays["mix_noise"]) if "mix_noise" in arrays else FeedbackTask().noise
        task = FeedbackTask(
            sources=SOURCES[sources],
            n_inputs=network.n_inputs,
            n_outputs=network.n_outputs,
            noise=noise,
        )
        elsewhere = TrainedElsewhere(source=name, sha256=source.source_sha256)
    except ValidationError as error:
        raise BadRecording(f"{path}: {described(error)}") from error
    except (ValueError, TypeError, IndexError) as error:
        raise BadRecording(f"{path}: {' '.join(str(error).split())}") from error
    plan = (
        TrainingSet.register_task(TaskConfig.register(task))
        | ModelConfig.register_task_driven("feedback", network.config)
        | TrainConfig.register(elsewhere)
        | SeedSet.register([SEED])
    )
    key = {n: plan[n] for n in TrainingPlan.primary_key if n != "seed_set_hash"} | {"seed": SEED}
    if TrainedModel & key:
        TrainingPlan.insert1(plan, skip_duplicates=True)
        return plan, False
    _insert(plan, key, network, task)
    return plan, True


def _insert(
    plan: dict[str, str], key: dict[str, Any], network: FeedbackNetwork, task: FeedbackTask
) -> None:
    """Insert plan and network with its loss in the contexts that ours are scored on, or nothing."""
    loss = source_loss_row(FeedbackTrainee(network.config, FeedbackTraining(), task), network)
    weights = pack(network, task)
    row = {
        "training_status": "ok",
        "best_epoch": 0,
        "n_epochs": 0,
        "n_resumptions": 0,
        "validation_score": -loss["source_loss"],
        "weights": (".safetensors", weights),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }
    row |= code_version()
    with TrainedModel.connection.transaction:
        TrainingPlan.insert1(plan, skip_duplicates=True)
        TrainedModel.insert1(key | row, allow_direct_insert=True)
        TrainedModel.SourceLoss.insert1(key | loss, allow_direct_insert=True)


def _read(path: Path) -> dict[str, NDArray[np.generic]]:
    """Read all arrays of a file, which must hold finite numbers."""
    arrays = read_npz(path, MAX_BYTES)
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub" or not np.isfinite(array).all():
            raise BadRecording(f"{path}: '{name}' holds something else than finite numbers")
    return arrays
