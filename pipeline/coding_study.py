"""A study of efficient coding: sweeps of target rates and seeds, and what is asked of them."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import Field, model_validator

from pipeline.study import StudyNetworks
from pipeline.study_file import BadStudy
from schemas.coding import CodeAnalysisConfig
from schemas.coding_sweep import CodingSweep
from schemas.dataset import TaskConfig, TrainingSet
from schemas.limens import LimenComparisonPlan, LimenStudy
from schemas.model import TrainingPlan
from schemas.model_config import ModelConfig, SeedSet, TrainConfig
from science.coding import CodingConfig, CodingTask, CodingTraining
from science.coding.analysis_params import CodeAnalysisParams
from science.coding.training import check_target_rate
from science.coding.words import check_enumerable
from science.params import Params

Key = dict[str, Any]


class StudyCodes(StudyNetworks[CodingConfig]):
    """Efficient codes; each seed is a code per target rate."""

    config: CodingConfig = CodingConfig()


class CodingStudy(Params):
    """Everything that is computed for efficient codes of one stimulus.

    Attributes
    ----------
    task, training
        What the codes are trained on, and how: to all target rates of the sweeps.
    networks : dict of str to StudyCodes
        A sweep each.
    targets_per_job : int, optional
        Target rates that a worker trains together; by default all.
    analysis : CodeAnalysisParams
        Of every code.
    limens : tuple of str
        Names of the studies of frequency limens, of `inceptionloop ingest limens`, that the codes
        are compared with.
    """

    family: Literal["coding"] = "coding"
    task: CodingTask = CodingTask()
    training: CodingTraining = CodingTraining()
    networks: dict[str, StudyCodes] = Field({"ising": StudyCodes()}, min_length=1)
    targets_per_job: int | None = Field(None, ge=1)
    analysis: CodeAnalysisParams = CodeAnalysisParams()
    limens: tuple[str, ...] = ()

    @property
    def trainings(self) -> list[CodingTraining]:
        """The training, in blocks of target rates."""
        targets = self.training.target_rates
        size = self.targets_per_job or len(targets)
        return [
            self.training.model_copy(update={"target_rates": targets[start : start + size]})
            for start in range(0, len(targets), size)
        ]

    @model_validator(mode="after")
    def _can_be_trained(self) -> "CodingStudy":
        stimulus = self.task.stimulus
        if self.limens and stimulus.type != "frequency":
            raise ValueError(f"limens: they are of frequency, the stimulus is '{stimulus.type}'")
        for name, networks in self.networks.items():
            for config in networks.configs:
                try:
                    self._check(config)
                except ValueError as error:
                    raise ValueError(f"networks.{name}: {error}") from error
        return self

    def _check(self, config: CodingConfig) -> None:
        """Refuse what would fail in training or analysis."""
        if config.categorical:
            raise ValueError(
                "one neuron active at a time has no bell-shaped tuning to analyse: take another "
                "encoder"
            )
        if config.positive_only and self.task.stimulus.type in ("gaussian", "mixture"):
            raise ValueError(
                f"the encoder or the law takes logarithms, but '{self.task.stimulus.type}' stimuli "
                "may be below 0"
            )
        for target in self.training.target_rates:
            check_target_rate(config, target)
        itemsize = getattr(torch, self.training.dtype).itemsize
        n_models = max(len(training.target_rates) for training in self.trainings)
        check_enumerable(config.n_neurons, config.n_hidden_units, n_models, itemsize)


def register_coding(study: CodingStudy, scans: Sequence[dict[str, int]] = ()) -> Key:
    """Ask for a study of efficient codes; safe to repeat.

    Parameters
    ----------
    scans : sequence of dict
        None: codes have no recordings.

    Returns
    -------
    dict
        The training set; under `plans` the keys of the `TrainingPlan`, a list by name, and under
        `sweeps` the keys of the `CodingSweep` by name.

    Raises
    ------
    BadStudy
        If recordings are given, or the codes cannot be compared with the limens.
    """
    if scans:
        raise BadStudy("a study of efficient coding has no recordings: leave out --scan")
    for name in study.limens:
        try:
            LimenStudy.check_heard(name, study.task.stimulus)
        except ValueError as error:
            raise BadStudy(str(error)) from error
    training_set = TrainingSet.register_task(TaskConfig.register(study.task))
    trainings = [TrainConfig.register(training) for training in study.trainings]
    analysis = CodeAnalysisConfig.register(study.analysis)
    plans, sweeps = {}, {}
    for group, networks in study.networks.items():
        seeds = SeedSet.register(networks.seeds)
        for name, config in networks.named(group).items():
            network = training_set | ModelConfig.register_task_driven("coding", config) | seeds
            plans[name] = [network | training for training in trainings]
            TrainingPlan.insert(plans[name], skip_duplicates=True)
            sweeps[name] = CodingSweep.register(plans[name], analysis)
    for sweep in sweeps.values():
        for name in study.limens:
            LimenComparisonPlan.register(sweep, name)
    return {"training_set": training_set, "plans": plans, "sweeps": sweeps}
