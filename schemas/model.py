"""The model zoo: configurations, plans, trained networks, ensembles and which of them is best."""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import datajoint as dj
import numpy as np
import torch
from numpy.typing import NDArray

from schemas.code_version import code_version
from schemas.configuration import Configuration, configuration_hash
from schemas.dataset import TargetDataset, TrainingSet
from schemas.loading import load_dataset
from schemas.operations import CodeVersion
from schemas.rows import nullable, unit_rows
from science.model.config import CoreConfig as CoreParams
from science.model.config import ImageModelConfig
from science.model.config import ReadoutConfig as ReadoutParams
from science.model.config import TrainConfig as TrainParams
from science.model.fitting import fit, statistics, unit_scores
from science.model.training import TrainingResult
from science.model.weights import TrainedEnsemble, pack, unpack_ensemble

schema = dj.Schema()


@schema
class CoreConfig(Configuration, dj.Manual):
    definition = """
    # The part of an image model that all its units share
    core_hash : char(16)
    ---
    core_type : varchar(24)
    core_params : json
    """
    params_type = CoreParams
    params_column = "core_params"

    @classmethod
    def columns(cls, params: Any) -> dict[str, Any]:
        return {"core_type": params.type}


@schema
class ReadoutConfig(Configuration, dj.Manual):
    definition = """
    # How a unit reads the core
    readout_hash : char(16)
    ---
    readout_type : varchar(24)
    readout_params : json
    """
    params_type = ReadoutParams
    params_column = "readout_params"

    @classmethod
    def columns(cls, params: Any) -> dict[str, Any]:
        return {"readout_type": params.type}


@schema
class ShifterConfig(dj.Manual):
    definition = """
    # How eye position moves the readouts
    shifter_hash : char(16)
    ---
    shifter_type : varchar(24)
    shifter_params : json
    """


@schema
class ModulatorConfig(dj.Manual):
    definition = """
    # How behaviour changes the gain of the units
    modulator_hash : char(16)
    ---
    modulator_type : varchar(24)
    modulator_params : json
    """


@schema
class ModelConfig(dj.Manual):
    definition = """
    # The architecture of a network of any family; image models refer to their components
    model_hash : char(16)
    ---
    model_family : enum('image', 'navigation', 'coding', 'feedback')
    -> [nullable] CoreConfig
    -> [nullable] ReadoutConfig
    -> [nullable] ShifterConfig
    -> [nullable] ModulatorConfig
    model_params : json
    """

    @classmethod
    def register_image(cls, params: ImageModelConfig) -> dict[str, str]:
        """Insert an image model with its components and return its key."""
        checked = ImageModelConfig.model_validate(params)
        document = checked.model_dump(mode="json")
        key = {"model_hash": configuration_hash("ModelConfig.image", document)}
        components = CoreConfig.register(checked.core) | ReadoutConfig.register(checked.readout)
        cls.insert1(
            key
            | components
            | dict(
                model_family="image",
                shifter_hash=None,
                modulator_hash=None,
                model_params=document,
            ),
            skip_duplicates=True,
        )
        return key


@schema
class TrainConfig(Configuration, dj.Manual):
    definition = """
    # How a network is trained
    train_hash : char(16)
    ---
    train_params : json
    """
    params_type = TrainParams
    params_column = "train_params"


@schema
class Seed(dj.Lookup):
    definition = """
    # Seed of initial weights and of the order of trials
    seed : int32
    """


@schema
class SeedSet(dj.Manual):
    definition = """
    # Seeds whose networks form an ensemble
    seed_set_hash : char(16)
    ---
    n_seeds : int16
    """

    class Member(dj.Part):
        definition = """
        -> master
        -> Seed
        """

    @classmethod
    def register(cls, seeds: Sequence[int]) -> dict[str, str]:
        """Insert a set of distinct seeds and return its key.

        Raises
        ------
        ValueError
            If it is empty or a seed occurs twice.
        """
        members = sorted(int(s) for s in seeds)
        if not members or len(set(members)) < len(members):
            raise ValueError(f"an ensemble needs distinct seeds, at least one; got {list(seeds)}")
        key = {"seed_set_hash": configuration_hash("SeedSet", {"seeds": members})}
        Seed.insert(({"seed": s} for s in members), skip_duplicates=True)
        with cls.connection.transaction:
            cls.insert1(key | {"n_seeds": len(members)}, skip_duplicates=True)
            cls.Member.insert((key | {"seed": s} for s in members), skip_duplicates=True)
        return key


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
    validation_score = null : float64   # what early stopping maximised
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
        definition = """
        # Image family: correlation of prediction and response
        -> master
        -> TargetDataset.Unit
        ---
        validation_corr = null : float64  # single trials
        test_corr = null : float64        # single trials
        test_corr_avg = null : float64    # with the mean over repeats
        cc_norm = null : float64          # the same, noise-corrected; null for unreliable units
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Every seed of every plan whose training set is ready."""
        waiting = (TrainingSet & "training_family = 'image'") - TargetDataset
        return dj.U(*self.primary_key) & (TrainingPlan * SeedSet.Member - waiting.proj())

    def make_fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        family, params = (ModelConfig & key).fetch1("model_family", "model_params")
        if family != "image":
            raise ValueError(f"there is no trainer for the model family '{family}' yet")
        digest = (TargetDataset & key).fetch1("dataset_digest")
        return params, TrainConfig.params(key), digest

    def make_compute(
        self, key: dict[str, Any], params: dict[str, Any], train_params: TrainParams, digest: str
    ) -> tuple[Any, ...]:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        config = ImageModelConfig.model_validate(params)
        dataset = load_dataset(key, digest)
        result = fit(dataset, config, train_params, key["seed"], device)
        weights = pack(result.network, statistics(dataset))
        return result, weights, unit_scores(result.network, dataset), code_version(device)

    def make_insert(
        self,
        key: dict[str, Any],
        result: TrainingResult,
        weights: bytes,
        scores: dict[str, NDArray[np.float64]],
        code: dict[str, str],
    ) -> None:
        row = {
            "training_status": result.status,
            "best_epoch": result.best_epoch,
            "n_epochs": len(result.curve),
            "validation_score": result.validation_corr,
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
                    "epoch_score": e.validation_corr,
                    "loss_terms": nullable({"poisson": e.poisson} | e.regularizers),
                }
            )
            for e in result.curve
        )
        self.UnitScore.insert(unit_rows(key, scores))


@schema
class Ensemble(dj.Computed):
    definition = """
    # A frozen set of trained networks whose mean is the model; exists when all members are fine
    -> TrainingPlan
    ---
    n_members : int16
    """

    class Member(dj.Part):
        definition = """
        -> master
        -> TrainedModel
        """

    class UnitScore(dj.Part):
        definition = """
        # Image family: correlation of the ensemble's prediction and the response
        -> master
        -> TargetDataset.Unit
        ---
        ensemble_validation_corr = null : float64
        ensemble_test_corr = null : float64
        ensemble_test_corr_avg = null : float64
        ensemble_cc_norm = null : float64
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
            return members, {}
        network = _load_weights(tuple(weights)).network
        return members, unit_scores(network, load_dataset(key, digest))

    def make_insert(
        self,
        key: dict[str, Any],
        members: list[dict[str, Any]],
        scores: dict[str, NDArray[np.float64]],
    ) -> None:
        self.insert1(key | {"n_members": len(members)})
        self.Member.insert(key | m for m in members)
        self.UnitScore.insert(
            unit_rows(key, {f"ensemble_{name}": column for name, column in scores.items()})
        )


def ensemble_weights(key: dict[str, Any]) -> list[str]:
    """Return the checksums of the weights of an ensemble's members, by seed."""
    members = TrainedModel & (Ensemble.Member & key)
    return members.to_arrays("weights_sha256", order_by="seed").tolist()


def load_ensemble(key: dict[str, Any], weights_sha256: Sequence[str]) -> TrainedEnsemble:
    """Load an ensemble; the last few stay in memory.

    Parameters
    ----------
    key : dict
        Contains the key of an `Ensemble`.
    weights_sha256 : sequence of str
        What `ensemble_weights` returned when the work was planned.

    Raises
    ------
    ValueError
        If stored weights are not those: replaced, truncated or tampered with.
    """
    return _load_weights(tuple(weights_sha256))


@lru_cache(maxsize=2)
def _load_weights(weights_sha256: tuple[str, ...]) -> TrainedEnsemble:
    return unpack_ensemble([_stored_weights(sha) for sha in weights_sha256])


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
        definition = """
        -> master
        -> TrainingPlan
        ---
        candidate_role : enum('cnn', 'linear')
        """


@schema
class ModelGroup(dj.Computed):
    definition = """
    # The best candidate of each role, by mean validation score of its members
    -> ModelComparison
    """

    class Best(dj.Part):
        definition = """
        -> master
        best_role : enum('cnn', 'linear')
        ---
        -> Ensemble
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Comparisons all of whose candidates are trained."""
        return ModelComparison - (ModelComparison.Candidate - Ensemble.proj()).proj()

    def make(self, key: dict[str, Any]) -> None:
        candidates = (ModelComparison.Candidate & key).to_dicts(order_by="KEY")
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
