"""A study: what shall be computed for a recording, as one file of validated parameters."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

from pydantic import Field, ValidationError, model_validator

from pipeline.study_file import BadStudy, described, read_toml, validated
from schemas.controls import LINEAR_PLAN, ContrastRule, ControlPlan, FieldMethod, GaborMethod
from schemas.dataset import DataConfig, StaticMultiDataset, TrainingSet
from schemas.mei import MaskMethod, MaskPlan, MEIMethod, SelectionPlan, SelectionRule, TargetModel
from schemas.mei_variants import DiverseMethod, DiversePlan, SurroundMethod, SurroundPlan
from schemas.model import ModelComparison, TrainingPlan
from schemas.model_config import ModelConfig, SeedSet, TrainConfig
from schemas.neural_fit import FeatureConfig, NeuralFitPlan, NeuralMapConfig
from schemas.recorded_gabor import RecordedGaborMethod, RecordedGaborPlan
from schemas.recording import Scan
from schemas.reliability import OracleMethod, OraclePlan
from schemas.responses import Preprocessing, StaticScan
from science.contrast import ContrastTarget
from science.dataset import DataParams
from science.gabor_ascent import GaborParams
from science.masks import MaskParams, TightMaskParams
from science.mei import InceptionLoop, MEIParams
from science.mei.diverse import DiverseParams
from science.mei.surround import SurroundParams
from science.model.config import ImageModelConfig
from science.model.config import TrainConfig as TrainParams
from science.model.features import ImageFeatureParams
from science.neural_fit.config import NeuralMapParams
from science.oracle import LeaveOneOut, OracleParams
from science.params import Params, grid
from science.preprocessing import PreprocessingParams
from science.recorded_gabors import RecordedGaborParams
from science.regression_field import RegressionFieldParams
from science.selection import SelectionParams
from science.split import SplitParams

C = TypeVar("C", bound=Params)


class StudyVariants(Params, Generic[C]):
    """A parameter set, or a grid of them.

    Attributes
    ----------
    config : Params
        The parameter set.
    grid : dict of str to tuple
        Values of its parameters by name, as ``core.gamma_hidden``: all their combinations.
    """

    config: C
    grid: dict[str, tuple[Any, ...]] = {}

    @model_validator(mode="after")
    def _can_be_made(self) -> "StudyVariants":
        try:
            n_configs = len(self.configs)
        except ValidationError as error:
            raise ValueError(f"grid: {described(error)}") from error
        if n_configs == 0:
            raise ValueError("a parameter of the grid has no value")
        return self

    @property
    def configs(self) -> list[C]:
        """All parameter sets."""
        return grid(self.config, self.grid)


class StudyNetworks(StudyVariants[C], Generic[C]):
    """An architecture or a grid of them, and the seeds.

    Attributes
    ----------
    seeds : tuple of int
        One network each; together they are an ensemble.
    """

    seeds: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] = Field(
        (1009, 1215, 2606, 99999), min_length=1
    )

    @model_validator(mode="after")
    def _distinct(self) -> "StudyNetworks":
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"a seed occurs twice in {list(self.seeds)}")
        return self

    def named(self, name: str) -> dict[str, C]:
        """Return all architectures by name, those of a grid as "name.0"."""
        return {f"{name}.{i}" if self.grid else name: c for i, c in enumerate(self.configs)}


class StudyModel(StudyNetworks[ImageModelConfig]):
    """Image networks, and whether MEIs are made from their ensembles."""

    config: ImageModelConfig = ImageModelConfig()
    meis: bool = True


class StudyControls(Params):
    """What MEIs are compared with, at which mean and contrast.

    Attributes
    ----------
    contrast : ContrastTarget
        Grey levels over the frame.
    gabors : GaborParams
        Grid and continuous search.
    field : RegressionFieldParams
        Receptive fields by regression.
    """

    contrast: ContrastTarget = ContrastTarget()
    gabors: GaborParams = GaborParams()
    field: RegressionFieldParams = RegressionFieldParams()


class StudyFit(Params):
    """How networks explain recorded units by what their core does with the images.

    Attributes
    ----------
    features : ImageFeatureParams
        Layer, and which images.
    map : NeuralMapParams
        From the features to the units.
    training_sets : tuple of str
        Hashes of those whose units are explained, as `register` says them; by default their own.
    """

    features: ImageFeatureParams = ImageFeatureParams()
    map: NeuralMapParams = NeuralMapParams(train_frac=0.5)
    training_sets: tuple[str, ...] = ()


class Study(Params):
    """Everything that is computed for a group of recordings; each part has defaults.

    MEIs are compared and varied only where `controls`, `diverse`, `surround` or `recorded_gabors`
    say so; those of linear models only if there are no others.
    """

    preprocessing: PreprocessingParams = PreprocessingParams()
    split: SplitParams = SplitParams()
    data: DataParams = DataParams()
    oracle: OracleParams = LeaveOneOut()
    training: TrainParams = TrainParams()
    models: dict[str, StudyModel] = Field({"cnn": StudyModel()}, min_length=1)
    selection: SelectionParams = SelectionParams()
    mei: MEIParams = InceptionLoop()
    mask: MaskParams = TightMaskParams()
    controls: StudyControls | None = None
    diverse: DiverseParams | None = None
    surround: SurroundParams | None = None
    recorded_gabors: RecordedGaborParams | None = None
    fits: dict[str, StudyFit] = {}

    @model_validator(mode="after")
    def _consistent(self) -> "Study":
        configs = [config for model in self.models.values() for config in model.configs]
        if len({c.model_dump_json() for c in configs}) < len(configs):
            raise ValueError("two models of the study have the same architecture")
        if any(c.needs_behavior for c in configs) and not self.data.behavior:
            raise ValueError("a shifter or modulator needs behaviour: set data.behavior = true")
        return self


def read_study(path: Path) -> Study:
    """Read a study from a TOML file.

    Raises
    ------
    BadStudy
        If the file is missing, not TOML, or a parameter is unknown or out of range.
    """
    return validated(path, read_toml(path), Study)


def register(study: Study, scans: Sequence[dict[str, int]]) -> dict[str, Any]:
    """Ask for a study of a group of recordings; safe to repeat.

    Parameters
    ----------
    scans : sequence of dict
        Keys of `Scan`; modelled together.

    Returns
    -------
    dict
        The training set, and under `plans` the keys of the `TrainingPlan`: of a model by its name,
        of a grid by name and number, as "zoo.0".

    Raises
    ------
    BadStudy
        If a recording does not exist.
    """
    if not scans:
        raise BadStudy("a study of images needs a recording: name it by --scan")
    for scan in scans:
        if not Scan & scan:
            raise BadStudy(f"there is no recording {scan}: ingest it first")
    training_set = _register_training_set(study, scans)
    oracle = OracleMethod.register(study.oracle)
    OraclePlan.insert1(training_set | oracle, skip_duplicates=True)
    plans = _register_models(study, training_set)
    selection = training_set | SelectionRule.register(study.selection)
    SelectionPlan.insert1(selection | oracle | {"comparison_hash": None}, skip_duplicates=True)
    targets = {
        name: plan | selection | MEIMethod.register(study.mei)
        for name, plan in plans.items()
        if study.models[name.split(".")[0]].meis
    }
    TargetModel.insert(targets.values(), skip_duplicates=True)
    masks = {name: key | MaskMethod.register(study.mask) for name, key in targets.items()}
    MaskPlan.insert(masks.values(), skip_duplicates=True)
    linear = [mask for name, mask in masks.items() if _config(study, name).linear]
    others = [mask for mask in masks.values() if mask not in linear]
    _register_variants(study, others or linear)
    _register_controls(study, others or linear, linear[0] if others and len(linear) == 1 else None)
    if study.recorded_gabors is not None:
        drawn = RecordedGaborMethod.register(study.recorded_gabors)
        RecordedGaborPlan.insert((t | drawn for t in targets.values()), skip_duplicates=True)
    for chosen in study.fits.values():
        _register_fit(chosen, training_set, plans.values())
    return {"training_set": training_set, "plans": plans}


def _config(study: Study, name: str) -> ImageModelConfig:
    """Return the architecture of a plan by its name, as "cnn" or "zoo.0"."""
    model, _, number = name.partition(".")
    return study.models[model].configs[int(number or 0)]


def _register_variants(study: Study, masks: list[dict[str, str]]) -> None:
    for plan, method, params in (
        (DiversePlan, DiverseMethod, study.diverse),
        (SurroundPlan, SurroundMethod, study.surround),
    ):
        if params is not None:
            key = method.register(params)
            plan.insert((mask | key for mask in masks), skip_duplicates=True)


def _register_fit(
    fit: StudyFit, training_set: dict[str, str], plans: Iterable[dict[str, str]]
) -> None:
    features, neural_map = FeatureConfig.register(fit.features), NeuralMapConfig.register(fit.map)
    for explained in fit.training_sets or [training_set["training_set_hash"]]:
        key = {"training_set_hash": explained}
        if not TrainingSet & key & "training_family = 'image'":
            raise BadStudy(f"there is no training set of images {explained}: register it first")
        for plan in plans:
            NeuralFitPlan.register_images(plan, key, features, neural_map)


def _register_controls(
    study: Study, masks: list[dict[str, str]], linear: dict[str, str] | None
) -> None:
    """Ask for a comparison of MEIs with their controls and those of the linear model, if given."""
    if study.controls is None:
        return
    methods = (
        ContrastRule.register(study.controls.contrast)
        | GaborMethod.register(study.controls.gabors)
        | FieldMethod.register(study.controls.field)
    )
    names = {new: linear and linear[old] for new, old in LINEAR_PLAN.items()}
    ControlPlan.insert((mask | methods | names for mask in masks), skip_duplicates=True)


def admit(study: Study, scan: dict[str, int]) -> dict[str, Any]:
    """Admit a recording to the analysis under the study's preprocessing; return its key."""
    key = scan | Preprocessing.register(study.preprocessing)
    StaticScan.insert1(key, skip_duplicates=True)
    return key


def _register_training_set(study: Study, scans: Sequence[dict[str, int]]) -> dict[str, str]:
    group = StaticMultiDataset.register([admit(study, scan) for scan in scans])
    return TrainingSet.register_images(group, DataConfig.register(study.data, study.split))


def _register_models(study: Study, training_set: dict[str, str]) -> dict[str, dict[str, str]]:
    training = TrainConfig.register(study.training)
    plans, candidates = {}, []
    for name, model in study.models.items():
        seeds = SeedSet.register(model.seeds)
        for plan_name, config in model.named(name).items():
            architecture = ModelConfig.register_image(config)
            plan = plans[plan_name] = training_set | architecture | training | seeds
            candidates.append(plan | {"candidate_role": "linear" if config.linear else "cnn"})
    TrainingPlan.insert(plans.values(), skip_duplicates=True)
    ModelComparison.register(training_set, candidates)
    return plans
