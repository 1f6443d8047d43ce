"""A study of navigation: networks that find their way, and the cells that they shall explain."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from pydantic import Field, model_validator

from pipeline.study import StudyNetworks
from pipeline.study_file import BadStudy
from schemas.dataset import TaskConfig, TrainingSet
from schemas.model import TrainingPlan
from schemas.model_config import ModelConfig, SeedSet, TrainConfig
from schemas.navigation import ModelMapConfig, ModelMapPlan, RateMapConfig, RateMapDataset
from schemas.neural_fit import ConsistencyPlan, NeuralFitPlan, NeuralMapConfig
from schemas.open_field import Arena, OpenField
from science.navigation import NavigationTask, PathIntegratorConfig, Rectangle
from science.navigation.cell_scores import RateMapMethod
from science.navigation.model_maps import ModelMapParams
from science.navigation.training import PathIntegratorTraining
from science.neural_fit.config import NeuralMapParams
from science.params import Params

Key = dict[str, Any]


class StudyPathIntegrators(StudyNetworks[PathIntegratorConfig]):
    """Path integrators.

    Attributes
    ----------
    untrained : bool
        Whether networks as they were drawn are mapped and fitted, too.
    """

    config: PathIntegratorConfig = PathIntegratorConfig()
    untrained: bool = False


class NavigationStudy(Params):
    """Everything that is computed for path integrators and recordings of foraging animals.

    Attributes
    ----------
    task, training
        What the networks are trained on, and how.
    networks : dict of str to StudyPathIntegrators
    rate_maps : RateMapMethod
        Of the recorded cells.
    model_maps : ModelMapParams
        Of the networks, in their own arena and in those of the animals.
    maps : dict of str to NeuralMapParams
        From other animals, and from the networks, to the cells.
    consistency : tuple of {"holdout", "pairwise"}
        How animals are compared, in every arena with two of them or more.
    """

    family: Literal["navigation"] = "navigation"
    task: NavigationTask = NavigationTask()
    training: PathIntegratorTraining = PathIntegratorTraining()
    networks: dict[str, StudyPathIntegrators] = Field(
        {"ugrnn": StudyPathIntegrators()}, min_length=1
    )
    rate_maps: RateMapMethod = RateMapMethod()
    model_maps: ModelMapParams = ModelMapParams()
    maps: dict[str, NeuralMapParams] = Field({"ridge": NeuralMapParams()}, min_length=1)
    consistency: tuple[Literal["holdout", "pairwise"], ...] = ("holdout",)

    @model_validator(mode="after")
    def _consistent(self) -> "NavigationStudy":
        layers = set(self.model_maps.layers)
        for name, networks in self.networks.items():
            if any(config.type == "rnn" for config in networks.configs) and "pre_g" in layers:
                raise ValueError(f"networks.{name}: the type 'rnn' has no layer 'pre_g'")
        return self


def register_navigation(study: NavigationStudy, scans: Sequence[dict[str, int]] = ()) -> Key:
    """Ask for a study of path integrators and of recordings; safe to repeat.

    Parameters
    ----------
    scans : sequence of dict
        Keys of `OpenField`; those in the same arena are compared.

    Returns
    -------
    dict
        The training set, under `plans` the keys of the `TrainingPlan` by name, "untrained" behind
        those that are not trained, and under `datasets` those of the `RateMapDataset` by arena.

    Raises
    ------
    BadStudy
        If a recording does not exist, or is none of a foraging animal.
    """
    datasets = _register_animals(study, scans)
    neural_maps = {name: NeuralMapConfig.register(params) for name, params in study.maps.items()}
    for dataset in datasets.values():
        if (RateMapDataset & dataset).fetch1("n_animals") > 1:
            for params, neural_map in zip(study.maps.values(), neural_maps.values(), strict=True):
                for mode in study.consistency:
                    if params.search is None or mode == "holdout":
                        ConsistencyPlan.register(dataset, neural_map, mode)
    training_set = TrainingSet.register_task(TaskConfig.register(study.task))
    plans = _register_networks(study, training_set)
    own = _arena_of(study.task.arena, datasets)
    map_config = ModelMapConfig.register(study.model_maps)
    for plan in plans.values():
        for arena in dict.fromkeys([own, *datasets]):
            walked = plan | {"arena": arena} | map_config
            ModelMapPlan.insert1(walked, skip_duplicates=True)
            if arena in datasets:
                for layer in study.model_maps.layers:
                    for neural_map in neural_maps.values():
                        NeuralFitPlan.register_rate_maps(walked, datasets[arena], layer, neural_map)
    return {"training_set": training_set, "plans": plans, "datasets": datasets}


def _arena_of(box: Rectangle, known: Iterable[str]) -> str:
    """Return the name of the arena that networks are trained in; that of animals if it is one."""
    for arena in known:
        if Arena.box({"arena": arena}) == box:
            return arena
    name = f"{box.width:g} x {box.height:g} m"
    if box.center.any():
        name += f" at {box.center[0]:g} {box.center[1]:g}"
    return Arena.register(name, box)["arena"]


def _register_animals(study: NavigationStudy, scans: Sequence[dict[str, int]]) -> dict[str, Key]:
    """Ask for the rate maps of recordings, one set of them per arena."""
    config = RateMapConfig.register(study.rate_maps)
    by_arena: dict[str, list[Key]] = {}
    for scan in scans:
        if not OpenField & scan:
            raise BadStudy(f"there is no recording of a foraging animal {scan}: ingest it first")
        by_arena.setdefault((OpenField & scan).fetch1("arena"), []).append(scan | config)
    return {arena: RateMapDataset.register(members) for arena, members in by_arena.items()}


def _register_networks(study: NavigationStudy, training_set: Key) -> dict[str, Key]:
    trained = TrainConfig.register(study.training)
    untrained = TrainConfig.register(study.training.model_copy(update={"n_epochs": 0}))
    plans = {}
    for group, networks in study.networks.items():
        seeds = SeedSet.register(networks.seeds)
        for name, config in networks.named(group).items():
            network = training_set | ModelConfig.register_task_driven("navigation", config) | seeds
            plans[name] = network | trained
            if networks.untrained:
                plans[f"{name} untrained"] = network | untrained
    TrainingPlan.insert(plans.values(), skip_duplicates=True)
    return plans
