"""Sweeps of target rates and seeds: rate against distortion, and how codes follow their prior."""

from collections.abc import Iterator, Sequence
from typing import Any

import datajoint as dj
import numpy as np

from schemas.code_version import code_version
from schemas.coding import CodeAnalysis, CodeAnalysisConfig, CodeAnalysisPlan
from schemas.configuration import configuration_hash
from schemas.dataset import TaskConfig, TrainingSet
from schemas.model import TrainingPlan
from schemas.model_config import ModelConfig, SeedSet, TrainConfig
from schemas.operations import CodeVersion
from schemas.rows import column_rows, nullable
from science.coding import CodingTask, CodingTraining
from science.coding.analysis import StimulusSample
from science.coding.analysis_params import CodeAnalysisParams
from science.coding.exponents import PowerLaw
from science.coding.rate_distortion import RateDistortionCurve, rate_distortion_curve
from science.coding.sweep_laws import RELATIONS, CodeProfiles, Relation, code_power_laws

schema = dj.Schema()


@schema
class CodingSweep(dj.Manual):
    definition = """
    # Plans of one architecture whose target rates and seeds form a sweep
    -> TrainingSet
    -> ModelConfig
    -> CodeAnalysisConfig
    sweep_hash : char(16)
    ---
    n_sweep_targets : int16
    n_sweep_codes : int32               # target rates times seeds
    """

    class Member(dj.Part):
        """A plan of the sweep."""

        definition = """
        -> master
        -> CodeAnalysisPlan
        """

    class Target(dj.Part):
        """A target rate of the sweep."""

        definition = """
        -> master
        target_index : int16            # in order of the rates, from 0
        ---
        sweep_target_rate : float64     # nats
        """

    @classmethod
    def register(cls, plans: Sequence[dict[str, str]], analysis: dict[str, str]) -> dict[str, str]:
        """Ask for the analysis of plans, insert them as one sweep, and return its key.

        Parameters
        ----------
        plans : sequence of dict
            Keys of `TrainingPlan`, of one training set and architecture, which are there.
        analysis : dict
            Key of `CodeAnalysisConfig`.

        Raises
        ------
        ValueError
            If there are none, they are of several training sets or architectures or none of codes,
            differ in more than target rates and seeds, or share a code.
        """
        members = sorted(
            ({name: plan[name] for name in TrainingPlan.primary_key} for plan in plans),
            key=lambda m: tuple(m.values()),
        )
        shared = {(m["training_set_hash"], m["model_hash"]) for m in members}
        if len(shared) != 1:
            raise ValueError(f"a sweep is of one training set and one architecture, not {shared}")
        trainings = [TrainConfig.params(member) for member in members]
        _check_trainings(trainings)
        codes = [
            (target, seed)
            for member, training in zip(members, trainings, strict=True)
            for seed in (SeedSet.Member & member).to_arrays("seed").tolist()
            for target in training.target_rates
        ]
        if len(set(codes)) < len(codes):
            raise ValueError("two plans of a sweep train the same seed to the same target rate")
        targets = sorted({target for target, _ in codes})
        own = {name: members[0][name] for name in ("training_set_hash", "model_hash")} | analysis
        key = own | {"sweep_hash": configuration_hash("CodingSweep", {"members": members})}
        CodeAnalysisPlan.insert((m | analysis for m in members), skip_duplicates=True)
        with cls.connection.transaction:
            row = {"n_sweep_targets": len(targets), "n_sweep_codes": len(codes)}
            cls.insert1(key | row, skip_duplicates=True)
            cls.Member.insert((key | m for m in members), skip_duplicates=True)
            cls.Target.insert(
                (
                    key | {"target_index": index, "sweep_target_rate": target}
                    for index, target in enumerate(targets)
                ),
                skip_duplicates=True,
            )
        return key

    @classmethod
    def code_targets(cls, key: dict[str, Any]) -> tuple[int, dict[tuple[str, int], int]]:
        """Return the number of targets, and which of them a code is of, by train_hash and index."""
        hashes = (dj.U("train_hash") & (cls.Member & key)).to_arrays("train_hash").tolist()
        rates = {h: TrainConfig.params({"train_hash": h}).target_rates for h in hashes}
        targets = sorted({rate for own in rates.values() for rate in own})
        return len(targets), {
            (h, index): targets.index(rate)
            for h, own in rates.items()
            for index, rate in enumerate(own)
        }

    @classmethod
    def codes(cls, key: dict[str, Any]) -> dj.expression.QueryExpression:
        """Return the analysed codes of a sweep."""
        return CodeAnalysis.Code & (cls.Member * SeedSet.Member & key).proj()


def _check_trainings(trainings: list[Any]) -> None:
    """Raise ValueError if trainings differ in more than their target rates."""
    if not all(isinstance(training, CodingTraining) for training in trainings):
        raise ValueError("a sweep is of efficient codes: register a plan with a CodingTraining")
    alike = {"target_rates": trainings[0].target_rates}
    if any(training.model_copy(update=alike) != trainings[0] for training in trainings):
        raise ValueError("plans of a sweep may differ in target rates and seeds only")


@schema
class RateDistortion(dj.Computed):
    definition = """
    # Rates and distortions that a sweep reached; nats
    -> CodingSweep
    ---
    n_swept_codes : int32
    n_lost_codes : int32                # that did not stay finite
    """

    class Target(dj.Part):
        definition = """
        # Over the seeds of a target rate; an sd needs two
        -> master
        -> CodingSweep.Target
        ---
        n_target_codes : int32
        rate_mean = null : float64
        rate_sd = null : float64
        distortion_mean = null : float64
        distortion_sd = null : float64
        excess_mean = null : float64    # of distortion and rate over the entropy of the sample
        excess_sd = null : float64
        """

    class Point(dj.Part):
        """A code of the sweep."""

        definition = """
        -> master
        -> CodeAnalysis.Code
        ---
        -> CodingSweep.Target
        on_front : bool                 # no code of the sweep is better in one and as good in both
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Sweeps all of whose networks are analysed."""
        missing = CodingSweep.Member * SeedSet.Member - CodeAnalysis.proj()
        return CodingSweep.proj() - missing.proj()

    def make(self, key: dict[str, Any]) -> None:
        n_targets, target_of = CodingSweep.code_targets(key)
        codes = CodingSweep.codes(key).proj("analysed_rate", "analysed_distortion")
        rows = codes.to_dicts(order_by="KEY")
        targets = [target_of[row["train_hash"], row["code_index"]] for row in rows]
        rate, distortion = (
            [row[name] for row in rows] for name in ("analysed_rate", "analysed_distortion")
        )
        members = CodeAnalysis & (CodingSweep.Member * SeedSet.Member & key).proj()
        entropy = members.to_arrays("sample_entropy", order_by="KEY")[0]  # the same of all
        curve = rate_distortion_curve(rate, distortion, targets, n_targets, float(entropy))
        n_asked = (CodingSweep & key).fetch1("n_sweep_codes")
        self.insert1(key | {"n_swept_codes": len(rows), "n_lost_codes": n_asked - len(rows)})
        self.Target.insert(_target_rows(key, curve))
        self.Point.insert(
            key
            | {name: row[name] for name in CodeAnalysis.Code.primary_key}
            | {"target_index": target, "on_front": on_front}
            for row, target, on_front in zip(rows, targets, curve.on_front.tolist(), strict=True)
        )


def _target_rows(key: dict[str, Any], curve: RateDistortionCurve) -> list[dict[str, Any]]:
    """Return one row per target rate."""
    columns = {
        "n_target_codes": curve.n_models,
        "rate_mean": curve.rate,
        "rate_sd": curve.rate_sd,
        "distortion_mean": curve.distortion,
        "distortion_sd": curve.distortion_sd,
        "excess_mean": curve.excess,
        "excess_sd": curve.excess_sd,
    }
    rows = column_rows(key, columns)
    return [row | {"target_index": index} for index, row in enumerate(rows)]


@schema
class CodingRelation(dj.Lookup):
    definition = """
    # error, width and density against the stimulus prior; over neurons, the first against the other
    coding_relation : varchar(16)
    """
    contents = [{"coding_relation": relation} for relation in RELATIONS]


@schema
class CodingExponents(dj.Computed):
    definition = """
    # How error, width and density of the codes of a sweep follow the stimulus prior
    -> RateDistortion
    ---
    -> CodeVersion
    """

    class PowerLaw(dj.Part):
        definition = """
        # log-log, over all seeds; 95 percent intervals, null with few seeds; no row: too few points
        -> master
        -> RateDistortion.Target
        -> CodingRelation
        ---
        exponent : float64                      # error and width: with what power they fall
        exponent_low = null : float64
        exponent_high = null : float64
        prefactor : float64
        log_correlation = null : float64
        log_correlation_low = null : float64
        log_correlation_high = null : float64
        n_law_points : int32
        """

    def make_fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        codes = (RateDistortion.Point & key).to_dicts(order_by="KEY")
        by_target: dict[int, list[dict[str, Any]]] = {}
        for code in codes:
            own = {name: code[name] for name in CodeAnalysis.Code.primary_key}
            by_target.setdefault(code["target_index"], []).append(own)
        return TaskConfig.params(TrainingSet & key), CodeAnalysisConfig.params(key), by_target

    def make_compute(
        self,
        key: dict[str, Any],
        task: CodingTask,
        params: CodeAnalysisParams,
        by_target: dict[int, list[dict[str, Any]]],
    ) -> tuple[Any, ...]:
        smoothed = StimulusSample.of(task.stimulus, params).smoothed
        laws = {
            target: code_power_laws(_profiles(codes, smoothed), task.stimulus, params.seed)
            for target, codes in by_target.items()
        }
        return laws, code_version()

    def make_insert(
        self,
        key: dict[str, Any],
        laws: dict[int, dict[Relation, PowerLaw]],
        code: dict[str, str],
    ) -> None:
        self.insert1(key | code)
        self.PowerLaw.insert(
            nullable(key | {"target_index": target, "coding_relation": name} | _law_row(law))
            for target, found in laws.items()
            for name, law in found.items()
        )


def _profiles(codes: list[dict[str, Any]], smoothed: np.ndarray) -> CodeProfiles:
    """Return codes of one target rate."""
    errors = (CodeAnalysis.Code & codes).to_arrays("smoothed_error", order_by="KEY")
    columns = (CodeAnalysis.Neuron & codes).to_arrays(
        "preferred_stimulus", "stimulus_width", "preferred_error", order_by="KEY"
    )
    neurons = (np.asarray(column, np.float64).reshape(len(codes), -1) for column in columns)
    return CodeProfiles(smoothed, np.stack(list(errors)), *neurons)


def _law_row(law: PowerLaw) -> dict[str, Any]:
    return {
        "exponent": law.exponent,
        "exponent_low": law.interval[0],
        "exponent_high": law.interval[1],
        "prefactor": law.prefactor,
        "log_correlation": law.correlation,
        "log_correlation_low": law.correlation_interval[0],
        "log_correlation_high": law.correlation_interval[1],
        "n_law_points": law.n_points,
    }
