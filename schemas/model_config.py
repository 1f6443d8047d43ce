"""Configurations of networks and of their training, each under its hash."""

from collections.abc import Sequence
from typing import Any

import datajoint as dj
from pydantic import TypeAdapter

from schemas.configuration import Configuration, configuration_hash
from science.coding import CodingConfig, CodingTraining
from science.feedback import FeedbackConfig, FeedbackTraining
from science.model.config import ImageModelConfig
from science.model.config import TrainConfig as TrainParams
from science.model.registry import CoreConfig as CoreParams
from science.model.registry import ModulatorConfig as ModulatorParams
from science.model.registry import ReadoutConfig as ReadoutParams
from science.model.registry import ShifterConfig as ShifterParams
from science.navigation import PathIntegratorConfig
from science.navigation.training import PathIntegratorTraining
from science.params import Params
from science.training import TrainedElsewhere

schema = dj.Schema()

TASK_DRIVEN: dict[str, Any] = {
    "navigation": PathIntegratorConfig,
    "coding": CodingConfig,
    "feedback": FeedbackConfig,
}
"""Parameters of networks that a task trains, by family."""


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
class ShifterConfig(Configuration, dj.Manual):
    definition = """
    # How eye position moves the readouts
    shifter_hash : char(16)
    ---
    shifter_type : varchar(24)
    shifter_params : json
    """
    params_type = ShifterParams
    params_column = "shifter_params"

    @classmethod
    def columns(cls, params: Any) -> dict[str, Any]:
        return {"shifter_type": params.type}


@schema
class ModulatorConfig(Configuration, dj.Manual):
    definition = """
    # How behaviour changes the gain of the units
    modulator_hash : char(16)
    ---
    modulator_type : varchar(24)
    modulator_params : json
    """
    params_type = ModulatorParams
    params_column = "modulator_params"

    @classmethod
    def columns(cls, params: Any) -> dict[str, Any]:
        return {"modulator_type": params.type}


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
        row = {"model_family": "image", "shifter_hash": None, "modulator_hash": None}
        row |= CoreConfig.register(checked.core) | ReadoutConfig.register(checked.readout)
        if checked.shifter is not None:
            row |= ShifterConfig.register(checked.shifter)
        if checked.modulator is not None:
            row |= ModulatorConfig.register(checked.modulator)
        cls.insert1(key | row | {"model_params": document}, skip_duplicates=True)
        return key

    @classmethod
    def register_task_driven(cls, family: str, params: Params) -> dict[str, str]:
        """Insert a network of one of the families of `TASK_DRIVEN`, and return its key."""
        document = TypeAdapter(TASK_DRIVEN[family]).validate_python(params).model_dump(mode="json")
        key = {"model_hash": configuration_hash(f"ModelConfig.{family}", document)}
        components = dict.fromkeys(("core_hash", "readout_hash", "shifter_hash", "modulator_hash"))
        row = {"model_family": family, "model_params": document} | components
        cls.insert1(key | row, skip_duplicates=True)
        return key


@schema
class TrainConfig(Configuration, dj.Manual):
    definition = """
    # How a network is trained; the parameters are those of its family
    train_hash : char(16)
    ---
    train_params : json
    """
    params_type = (
        TrainParams | PathIntegratorTraining | CodingTraining | FeedbackTraining | TrainedElsewhere
    )
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
        """A seed of the set."""

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
