"""A study: what shall be computed for a recording, as one file of validated parameters."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from pipeline.errors import UserError
from schemas.configuration import configuration_hash
from schemas.dataset import DataConfig, StaticMultiDataset, TrainingSet
from schemas.mei import MaskMethod, MaskPlan, MEIMethod, SelectionPlan, SelectionRule, TargetModel
from schemas.model import ModelComparison, ModelConfig, SeedSet, TrainConfig, TrainingPlan
from schemas.recording import Scan
from schemas.reliability import OracleMethod, OraclePlan
from schemas.responses import Preprocessing, StaticScan
from science.dataset import DataParams
from science.masks import TightMaskParams
from science.mei import MEIParams
from science.model.config import ImageModelConfig
from science.model.config import TrainConfig as TrainParams
from science.oracle import LeaveOneOut, OracleParams
from science.params import Params
from science.preprocessing import PreprocessingParams
from science.selection import SelectionParams
from science.split import SplitParams


class StudyModel(Params):
    """An architecture, its seeds, and whether MEIs are made from its ensemble."""

    role: Literal["cnn", "linear"] = "cnn"
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] = Field(
        (1009, 1215, 2606, 99999), min_length=1
    )
    config: ImageModelConfig = ImageModelConfig()
    meis: bool = True

    @model_validator(mode="after")
    def _distinct_seeds(self) -> "StudyModel":
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"a seed occurs twice in {list(self.seeds)}")
        return self


class Study(Params):
    """Everything that is computed for a group of recordings; each part has defaults."""

    preprocessing: PreprocessingParams = PreprocessingParams()
    split: SplitParams = SplitParams()
    data: DataParams = DataParams()
    oracle: OracleParams = LeaveOneOut()
    training: TrainParams = TrainParams()
    models: dict[str, StudyModel] = Field({"cnn": StudyModel()}, min_length=1)
    selection: SelectionParams = SelectionParams()
    mei: MEIParams = MEIParams()
    mask: TightMaskParams = TightMaskParams()

    @model_validator(mode="after")
    def _distinct_models(self) -> "Study":
        configs = [m.config for m in self.models.values()]
        if len({c.model_dump_json() for c in configs}) < len(configs):
            raise ValueError("two models of the study have the same architecture")
        return self


class BadStudy(UserError):
    """A study file that cannot be used; the message says what is wrong in it."""


def read_study(path: Path) -> Study:
    """Read a study from a TOML file.

    Raises
    ------
    BadStudy
        If the file is missing, not TOML, or a parameter is unknown or out of range.
    """
    try:
        return Study.model_validate(tomllib.loads(path.read_text()))
    except FileNotFoundError as error:
        raise BadStudy(f"there is no study file {path}") from error
    except OSError as error:
        raise BadStudy(f"the study file {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadStudy(f"{path} is not a TOML file: {error}") from error
    except ValidationError as error:
        raise BadStudy(f"{path}: {described(error)}") from error


def described(error: ValidationError) -> str:
    """Return in one line which parameters are wrong, and how."""
    return "; ".join(
        ": ".join([*filter(None, [".".join(str(p) for p in e["loc"])]), e["msg"]])
        for e in error.errors()
    )


def register(study: Study, scans: Sequence[dict[str, int]]) -> dict[str, Any]:
    """Ask for a study of a group of recordings; safe to repeat.

    Parameters
    ----------
    scans : sequence of dict
        Keys of `Scan`; modelled together.

    Returns
    -------
    dict
        The training set, and the key of each model's `TrainingPlan` under `plans`.

    Raises
    ------
    BadStudy
        If a recording does not exist.
    """
    for scan in scans:
        if not Scan & scan:
            raise BadStudy(f"there is no recording {scan}: ingest it first")
    training_set = _register_training_set(study, scans)
    oracle = OracleMethod.register(study.oracle)
    OraclePlan.insert1(training_set | oracle, skip_duplicates=True)
    plans = _register_models(study, training_set)
    selection = training_set | SelectionRule.register(study.selection)
    SelectionPlan.insert1(selection | oracle | {"comparison_hash": None}, skip_duplicates=True)
    method, mask = MEIMethod.register(study.mei), MaskMethod.register(study.mask)
    for name, plan in plans.items():
        if study.models[name].meis:
            TargetModel.insert1(plan | selection | method, skip_duplicates=True)
            MaskPlan.insert1(plan | selection | method | mask, skip_duplicates=True)
    return {"training_set": training_set, "plans": plans}


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
    plans = {
        name: training_set
        | ModelConfig.register_image(model.config)
        | training
        | SeedSet.register(model.seeds)
        for name, model in study.models.items()
    }
    TrainingPlan.insert(plans.values(), skip_duplicates=True)
    candidates = sorted((study.models[name].role, *plan.values()) for name, plan in plans.items())
    comparison = training_set | {
        "comparison_hash": configuration_hash("ModelComparison", {"candidates": candidates})
    }
    with ModelComparison.connection.transaction:
        ModelComparison.insert1(comparison, skip_duplicates=True)
        ModelComparison.Candidate.insert(
            (
                comparison | plan | {"candidate_role": study.models[n].role}
                for n, plan in plans.items()
            ),
            skip_duplicates=True,
        )
    return plans
