"""The model zoo: plans, trained networks, ensembles, and which of them is best."""

import hashlib
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

import datajoint as dj
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter

from schemas.code_version import code_version
from schemas.configuration import configuration_hash
from schemas.dataset import TargetDataset, TrainingSet
from schemas.families import FAMILIES, Scores, image_scores, prefixed
from schemas.loading import load_dataset
from schemas.model_config import ModelConfig, Seed, SeedSet, TrainConfig
from schemas.operations import CodeVersion
from schemas.rows import nullable, unit_rows
from science.coding import CodingModels, CodingTask
from science.coding.weights import unpack as unpack_codes
from science.feedback import FeedbackNetwork, FeedbackTask
from science.feedback import unpack as unpack_feedback_network
from science.model.scores import SCORES, TIERS
from science.model.weights import TrainedEnsemble, unpack_ensemble
from science.navigation import NavigationTask, PathIntegrator
from science.navigation.weights import unpack as unpack_path_integrator
from science.params import Params
from science.training import TrainedElsewhere, TrainingResult, save_every, train

schema = dj.Schema()

CHECKPOINT_SECONDS = 30.0
PIECE_BYTES = 2**22
"""Of a checkpoint per statement: a server takes 16 MB in one by default."""


@schema
class TrainingPlan(dj.Manual):
    definition = """
    # An ensemble that someone asked for
    -> TrainingSet
    -> ModelConfig
    -> TrainConfig
    -> SeedSet
    """


@schema
class TrainingCheckpoint(dj.Manual):
    definition = """
    # State of a training that is under way, in pieces; gone when the network is there
    -> TrainingSet
    -> ModelConfig
    -> TrainConfig
    -> Seed
    piece : int16
    ---
    piece_bytes : bytes
    saved_at = CURRENT_TIMESTAMP : datetime
    -> CodeVersion
    """

    @classmethod
    def save(cls, key: dict[str, Any], state: bytes, code: dict[str, str]) -> None:
        """Replace what is stored of a training; a process killed meanwhile leaves the old state."""
        starts = range(0, len(state), PIECE_BYTES)
        with cls.connection.transaction:
            cls.forget(key)
            for piece, start in enumerate(starts):
                content = {"piece": piece, "piece_bytes": state[start : start + PIECE_BYTES]}
                cls.insert1(key | code | content)

    @classmethod
    def load(cls, key: dict[str, Any], code: dict[str, str]) -> bytes | None:
        """Return the state of a training by the same code, on whatever device; None without one."""
        pieces = cls & key
        if not pieces or not _same_software(code, (CodeVersion & pieces).fetch1()):
            return None
        # not as an array: numpy drops zeros at the end of bytes
        return b"".join(row["piece_bytes"] for row in pieces.to_dicts(order_by="piece"))

    @classmethod
    def forget(cls, key: dict[str, Any]) -> None:
        """Delete the state of a training, if there is one."""
        (cls & key).delete_quick()


def _same_software(code: dict[str, str], other: dict[str, Any]) -> bool:
    here = (CodeVersion & code).fetch1()
    machine = ("code_hash", "device", "n_threads")
    return all(value == other[name] for name, value in here.items() if name not in machine)


def _score_columns(prefix: str) -> str:
    """Return the lines of a definition that hold the scores of `unit_scores`."""
    return "\n".join(
        f"        {prefix}{tier}_{score} = null : float64" for tier in TIERS for score in SCORES
    )


@schema
class TrainedModel(dj.Computed):
    definition = """
    # One trained network of any family
    -> TrainingSet
    -> ModelConfig
    -> TrainConfig
    -> Seed
    ---
    training_status : enum('ok', 'nonfinite')
    best_epoch : int32
    n_epochs : int32
    n_resumptions : int16               # how often it went on from a checkpoint after being killed
    validation_score = null : float64   # of the best state: mean correlation of the units, or
                                        # of path integrators - mean decoding error, m
    weights : <object@>                 # safetensors, with all that inference needs
    weights_sha256 : char(64)
    -> CodeVersion
    """

    class Epoch(dj.Part):
        definition = """
        # Learning curve
        -> master
        epoch : int32
        ---
        learning_rate : float64
        train_loss = null : float64     # mean over batches, all terms
        epoch_score = null : float64    # validation score after the epoch
        loss_terms : json               # mean of every term by name
        """

    class UnitScore(dj.Part):
        definition = f"""
        # Image family: predictions of a unit, with eye and behaviour as recorded
        -> master
        -> TargetDataset.Unit
        ---
{_score_columns("")}
        """

    class MeanInputScore(dj.Part):
        definition = f"""
        # The same with the mean eye position and behaviour, for models that make use of them
        -> master
        -> TargetDataset.Unit
        ---
{_score_columns("mean_input_")}
        """

    class DecodingError(dj.Part):
        definition = """
        # Navigation family: decoded from true positions on held-out walks, m
        -> master
        ---
        decoding_error : float64        # mean over walks and steps
        median_decoding_error : float64
        standing_error : float64        # mean, if every position were the start
        centre_error : float64          # mean, if every position were the middle: chance
        """

    class Code(dj.Part):
        definition = """
        # Coding family: one efficient code, nats
        -> master
        code_index : int16
        ---
        target_rate : float64
        code_status : enum('ok', 'nonfinite')
        train_distortion = null : float64   # of the last epoch, mean over batches before each step
        train_rate = null : float64
        rate_multiplier = null : float64    # beta, after the last epoch
        test_distortion = null : float64    # of the stimuli that all codes are scored on
        test_rate = null : float64
        code_curves : <blob>            # float64, (3, n_epochs), distortion, rate, beta of an epoch
        """

    class SourceLoss(dj.Part):
        definition = """
        # Feedback family: of contexts that no network is trained on, sum over steps, mean of them
        -> master
        ---
        source_loss : float64
        silent_loss : float64           # if all outputs were 0
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Every seed of every plan whose training set is ready."""
        waiting = (TrainingSet & "training_family = 'image'") - TargetDataset
        return dj.U(*self.primary_key) & (TrainingPlan * SeedSet.Member - waiting.proj())

    def make_fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        family, params = (ModelConfig & key).fetch1("model_family", "model_params")
        if family not in FAMILIES or family != (TrainingSet & key).fetch1("training_family"):
            raise ValueError(
                f"a network of the family '{family}' cannot be trained on this training set: "
                f"register a plan of one family, of {sorted(FAMILIES)}"
            )
        return family, params, TrainConfig.params(key), FAMILIES[family].source(key)

    def make_compute(
        self,
        key: dict[str, Any],
        family: str,
        params: dict[str, Any],
        training: Params,
        source: Any,
    ) -> tuple[Any, ...]:
        kind = FAMILIES[family]
        if isinstance(training, TrainedElsewhere):
            raise ValueError(
                f"the weights of '{training.source}' are not trained here: ingest them again, from "
                f"the file with the sha256 {training.sha256}"
            )
        if not isinstance(training, kind.training):
            raise ValueError(
                f"{type(training).__name__} does not say how a network of the family '{family}' is "
                f"trained: register a plan with a {kind.training.__name__}"
            )
        device = "cuda" if torch.cuda.is_available() else "cpu"
        config = TypeAdapter(kind.architecture).validate_python(params)
        run = kind(key, config, training, source, device)
        code = code_version(device)
        result = train(
            run.trainee,
            key["seed"],
            TrainingCheckpoint.load(key, code),
            save_every(CHECKPOINT_SECONDS, partial(TrainingCheckpoint.save, key, code=code)),
        )
        return result, run.pack(result.network), run.scores(result.network), code

    def make_insert(
        self,
        key: dict[str, Any],
        result: TrainingResult,
        weights: bytes,
        scores: dict[str, list[dict[str, Any]]],
        code: dict[str, str],
    ) -> None:
        row = {
            "training_status": result.status,
            "best_epoch": result.best_epoch,
            "n_epochs": len(result.curve),
            "n_resumptions": result.n_resumptions,
            "validation_score": result.score,
            "weights": (".safetensors", weights),
            "weights_sha256": hashlib.sha256(weights).hexdigest(),
        }
        self.insert1(nullable(key | code | row))
        self.Epoch.insert(
            nullable(
                key
                | {
                    "epoch": e.epoch,
                    "learning_rate": e.learning_rate,
                    "train_loss": e.train_loss,
                    "epoch_score": e.score,
                    "loss_terms": nullable(e.losses),
                }
            )
            for e in result.curve
        )
        for part, rows in scores.items():
            getattr(self, part).insert(nullable(key | row) for row in rows)
        TrainingCheckpoint.forget(key)


@schema
class Ensemble(dj.Computed):
    definition = """
    # A frozen set of trained networks whose mean is the model; exists when all members are fine
    -> TrainingPlan
    ---
    n_members : int16
    """

    class Member(dj.Part):
        """A network of the ensemble."""

        definition = """
        -> master
        -> TrainedModel
        """

    class UnitScore(dj.Part):
        definition = f"""
        # Image family: predictions of a unit, with eye and behaviour as recorded
        -> master
        -> TargetDataset.Unit
        ---
{_score_columns("ensemble_")}
        """

    class MeanInputScore(dj.Part):
        definition = f"""
        # The same with the mean eye position and behaviour, for models that make use of them
        -> master
        -> TargetDataset.Unit
        ---
{_score_columns("ensemble_mean_input_")}
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Plans all of whose seeds are trained and fine."""
        wanted = TrainingPlan * SeedSet.Member
        missing = wanted - (TrainedModel & "training_status = 'ok'").proj()
        return TrainingPlan - missing.proj()

    def make_fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        trained = TrainedModel & (TrainingPlan * SeedSet.Member & key).proj()
        members = trained.keys(order_by="seed")
        weights = trained.to_arrays("weights_sha256", order_by="seed").tolist()
        family = (ModelConfig & key).fetch1("model_family")
        digest = (TargetDataset & key).fetch1("dataset_digest") if family == "image" else None
        return members, weights, digest

    def make_compute(
        self,
        key: dict[str, Any],
        members: list[dict[str, Any]],
        weights: list[str],
        digest: str | None,
    ) -> tuple[Any, ...]:
        if digest is None:
            return members, {}, {}
        network = load_model(*weights).network
        config = network.networks[0].config
        return members, *image_scores(network, load_dataset(key, digest), config)

    def make_insert(
        self,
        key: dict[str, Any],
        members: list[dict[str, Any]],
        scores: Scores,
        mean_input_scores: Scores,
    ) -> None:
        self.insert1(key | {"n_members": len(members)})
        self.Member.insert(key | m for m in members)
        self.UnitScore.insert(unit_rows(key, prefixed("ensemble_", scores)))
        named = prefixed("ensemble_mean_input_", mean_input_scores)
        self.MeanInputScore.insert(unit_rows(key, named))


def ensemble_weights(key: dict[str, Any]) -> list[str]:
    """Return the checksums of the weights of an ensemble's members, by seed."""
    members = TrainedModel & (Ensemble.Member & key)
    return members.to_arrays("weights_sha256", order_by="seed").tolist()


@lru_cache(maxsize=4)
def load_model(*weights_sha256: str) -> TrainedEnsemble:
    """Load trained networks as one model; the last few stay in memory.

    Parameters
    ----------
    weights_sha256 : str
        Of one `TrainedModel`, or of the members of an `Ensemble` as `ensemble_weights` returned
        them when the work was planned.

    Raises
    ------
    ValueError
        If stored weights are not those: replaced, truncated or tampered with.
    """
    return unpack_ensemble([_stored_weights(sha) for sha in weights_sha256])


def load_path_integrator(weights_sha256: str) -> tuple[PathIntegrator, NavigationTask]:
    """Load a path integrator and the task it was trained on; errors as of `load_model`."""
    return unpack_path_integrator(_stored_weights(weights_sha256))


def load_codes(weights_sha256: str) -> tuple[CodingModels, CodingTask]:
    """Load efficient codes and the task they were trained on; errors as of `load_model`."""
    return unpack_codes(_stored_weights(weights_sha256))


def load_feedback_network(weights_sha256: str) -> tuple[FeedbackNetwork, FeedbackTask]:
    """Load a network and the task it was trained on; errors as of `load_model`."""
    return unpack_feedback_network(_stored_weights(weights_sha256))


def _stored_weights(sha256: str) -> bytes:
    """Return the weights with a checksum, from the first row that has them."""
    trained = TrainedModel & {"weights_sha256": sha256}
    data = trained.to_arrays("weights", order_by="KEY")[0].read()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError(f"the stored weights of {trained.keys()[0]} are not those of its row")
    return data


@schema
class ModelComparison(dj.Manual):
    definition = """
    # Named candidates among which the best is sought
    -> TrainingSet
    comparison_hash : char(16)
    """

    class Candidate(dj.Part):
        """An ensemble that competes, and for which role."""

        definition = """
        -> master
        -> TrainingPlan
        ---
        candidate_role : enum('cnn', 'linear')
        """

    @classmethod
    def register(
        cls, training_set: dict[str, str], candidates: Sequence[dict[str, str]]
    ) -> dict[str, str]:
        """Insert candidates of one training set, plans with their role, and return their key."""
        names = ("candidate_role", *TrainingPlan.primary_key)
        members = sorted([candidate[name] for name in names] for candidate in candidates)
        key = training_set | {
            "comparison_hash": configuration_hash("ModelComparison", {"candidates": members})
        }
        with cls.connection.transaction:
            cls.insert1(key, skip_duplicates=True)
            cls.Candidate.insert((key | c for c in candidates), skip_duplicates=True)
        return key


@schema
class ModelGroup(dj.Computed):
    definition = """
    # The best candidate of each role, by mean validation score of its members
    -> ModelComparison
    """

    class Best(dj.Part):
        """The best ensemble of a role."""

        definition = """
        -> master
        best_role : enum('cnn', 'linear')
        ---
        -> Ensemble
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Comparisons all of whose candidates are trained; one that failed is out of the race."""
        failed = TrainingPlan * SeedSet.Member & (TrainedModel & "training_status != 'ok'").proj()
        racing = ModelComparison.Candidate - failed.proj()
        return ModelComparison - (racing - Ensemble.proj()).proj()

    def make(self, key: dict[str, Any]) -> None:
        racing = ModelComparison.Candidate & Ensemble.proj() & key
        candidates = racing.to_dicts(order_by="KEY")  # of equal ones the first wins
        best: dict[str, tuple[float, dict[str, Any]]] = {}
        for candidate in candidates:
            ensemble = {a: candidate[a] for a in Ensemble.primary_key}
            scores = (TrainedModel & (Ensemble.Member & ensemble)).to_arrays("validation_score")
            score = float(np.mean(scores))
            role = candidate["candidate_role"]
            if role not in best or score > best[role][0]:
                best[role] = (score, ensemble)
        self.insert1(key)
        self.Best.insert(
            key | {"best_role": role} | ensemble for role, (_, ensemble) in best.items()
        )
