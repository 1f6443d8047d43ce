"""A study of feedback modulation: networks that recover sources, and what is asked of them."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from pydantic import Field, model_validator

from pipeline.study import StudyNetworks, StudyVariants
from pipeline.study_file import BadStudy
from schemas.dataset import TaskConfig, TrainingSet
from schemas.feedback import (
    ContextDecodingConfig,
    ContextDecodingPlan,
    ContextTestConfig,
    ContextTestPlan,
    FeedbackControlConfig,
    FeedbackControlPlan,
    FreezeConfig,
    FreezePlan,
    asked_network,
)
from schemas.model import TrainingPlan
from schemas.model_config import ModelConfig, SeedSet, TrainConfig
from science.feedback import (
    ContextGridParams,
    ContextTestParams,
    ControlParams,
    FeedbackConfig,
    FeedbackTask,
    FeedbackTraining,
    FreezeParams,
    SpatialParams,
    check_freezing,
    check_grid,
    check_test,
)
from science.params import Params

Key = dict[str, Any]


class StudyFeedback(StudyNetworks[FeedbackConfig]):
    """Feedback-modulated networks.

    Attributes
    ----------
    training : FeedbackTraining, optional
        Instead of the study's.
    untrained : bool
        Whether networks as they were drawn are tested, too.
    freeze, decode_context : bool
        Whether feedback is frozen in them, and contexts are decoded from them.
    """

    config: FeedbackConfig = SpatialParams()
    training: FeedbackTraining | None = None
    untrained: bool = False
    freeze: bool = False
    decode_context: bool = False


class StudyContextTests(StudyVariants[ContextTestParams]):
    """Tests in new contexts, as those of several noises."""

    config: ContextTestParams = ContextTestParams()


class StudyFeedbackControls(StudyVariants[ControlParams]):
    """Controls of the task, as those of several windows."""

    config: ControlParams = ControlParams()


class FeedbackStudy(Params):
    """Everything that is computed for feedback-modulated networks of one task.

    Attributes
    ----------
    task, training
        What the networks are trained on, and how.
    networks : dict of str to StudyFeedback
    tests : dict of str to StudyContextTests
        Of all networks.
    freezing : FreezeParams
        Of the networks that say `freeze`.
    context_decoding : ContextGridParams
        Of the networks that say `decode_context`.
    controls : StudyFeedbackControls, optional
        Without it there are none.
    """

    family: Literal["feedback"] = "feedback"
    task: FeedbackTask = FeedbackTask()
    training: FeedbackTraining = FeedbackTraining()
    networks: dict[str, StudyFeedback] = Field({"spatial": StudyFeedback()}, min_length=1)
    tests: dict[str, StudyContextTests] = {"contexts": StudyContextTests()}
    freezing: FreezeParams = FreezeParams()
    context_decoding: ContextGridParams = ContextGridParams()
    controls: StudyFeedbackControls | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "FeedbackStudy":
        for name, networks in self.networks.items():
            for config in networks.configs:
                try:
                    self.check(config, self.task, networks.freeze, networks.decode_context)
                except ValueError as error:
                    raise ValueError(f"networks.{name}: {error}") from error
        return self

    def check(
        self, config: FeedbackConfig, task: FeedbackTask, freeze: bool, decode_context: bool
    ) -> None:
        """Raise ValueError if something cannot be computed of a network."""
        for params in self.test_params:
            check_test(params.of(task))
        if freeze:
            check_freezing(config, task, self.freezing)
        if decode_context:
            check_grid(config, task, self.context_decoding)

    @property
    def test_params(self) -> list[ContextTestParams]:
        """Of all tests in new contexts."""
        return [params for tests in self.tests.values() for params in tests.configs]


def register_feedback(study: FeedbackStudy, scans: Sequence[dict[str, int]] = ()) -> Key:
    """Ask for a study of feedback-modulated networks; safe to repeat.

    Parameters
    ----------
    scans : sequence of dict
        Must be empty: these networks have no recording.

    Returns
    -------
    dict
        The training set, and under `plans` the keys of the `TrainingPlan` by name, "untrained"
        behind those that are not trained.

    Raises
    ------
    BadStudy
        If recordings are given.
    """
    if scans:
        raise BadStudy("a study of feedback modulation has no recordings: leave out --scan")
    training_set = TrainingSet.register_task(TaskConfig.register(study.task))
    plans = {}
    for group, networks in study.networks.items():
        training, seeds = networks.training or study.training, SeedSet.register(networks.seeds)
        trainings = {"": training}
        if networks.untrained:
            trainings[" untrained"] = training.model_copy(update={"n_epochs": 0})
        for name, config in networks.named(group).items():
            network = training_set | ModelConfig.register_task_driven("feedback", config) | seeds
            for suffix, params in trainings.items():
                plan = plans[name + suffix] = network | TrainConfig.register(params)
                TrainingPlan.insert1(plan, skip_duplicates=True)
                _ask_of_networks(study, plan, networks.freeze, networks.decode_context)
    _ask_of_task(study, training_set)
    return {"training_set": training_set, "plans": plans}


def ask_of_ingested(study: FeedbackStudy, plan: Key) -> None:
    """Ask for all that a study computes, of a network that was trained elsewhere.

    Of the study only tests, freezing, decoding and controls matter.

    Parameters
    ----------
    plan : dict
        Key of its `TrainingPlan`.

    Raises
    ------
    BadStudy
        If something cannot be computed of this network.
    """
    config, task = asked_network(plan)
    freeze, decode_context = config.type in ("spatial", "dale"), config.type != "direct"
    try:
        study.check(config, task, freeze, decode_context)
    except ValueError as error:
        raise BadStudy(str(error)) from error
    _ask_of_networks(study, plan, freeze, decode_context)
    _ask_of_task(study, plan)


def _ask_of_networks(study: FeedbackStudy, plan: Key, freeze: bool, decode_context: bool) -> None:
    for params in study.test_params:
        ContextTestPlan.register(plan, ContextTestConfig.register(params))
    if freeze:
        FreezePlan.register(plan, FreezeConfig.register(study.freezing))
    if decode_context:
        ContextDecodingPlan.register(plan, ContextDecodingConfig.register(study.context_decoding))


def _ask_of_task(study: FeedbackStudy, training_set: Key) -> None:
    controls: Iterable[ControlParams] = study.controls.configs if study.controls else ()
    for params in controls:
        FeedbackControlPlan.register(training_set, FeedbackControlConfig.register(params))
