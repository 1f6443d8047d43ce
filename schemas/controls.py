"""What MEIs shall be compared with: contrast, Gabors, receptive fields, and the plan."""

from typing import Any

import datajoint as dj

from schemas.configuration import Configuration
from schemas.mei import MaskPlan
from schemas.model import TrainingPlan
from science.contrast import ContrastTarget
from science.gabor_ascent import GaborParams
from science.regression_field import RegressionFieldParams

schema = dj.Schema()

LINEAR_PLAN = {f"linear_{name}": name for name in ("model_hash", "train_hash", "seed_set_hash")}
"""What a `TrainingPlan` is called whose models are the linear control."""

_RENAMED = ", ".join(f"{new}='{old}'" for new, old in LINEAR_PLAN.items())


@schema
class ContrastRule(Configuration, dj.Manual):
    definition = """
    # At which mean and contrast images are compared
    contrast_hash : char(16)
    ---
    contrast_mean : float64             # grey value
    contrast_sd : float64               # pixel SD, grey values
    contrast_params : json
    """
    params_type = ContrastTarget
    params_column = "contrast_params"

    @classmethod
    def columns(cls, params: ContrastTarget) -> dict[str, Any]:
        return {"contrast_mean": params.mean, "contrast_sd": params.std}


@schema
class GaborMethod(Configuration, dj.Manual):
    definition = """
    # Which Gabors are searched, on a grid and then continuously
    gabor_hash : char(16)
    ---
    n_gabors : int32                    # of the grid
    gabor_params : json
    """
    params_type = GaborParams
    params_column = "gabor_params"

    @classmethod
    def columns(cls, params: GaborParams) -> dict[str, Any]:
        return {"n_gabors": len(params.grid)}


@schema
class FieldMethod(Configuration, dj.Manual):
    definition = """
    # How receptive fields are found by regression
    field_hash : char(16)
    ---
    field_params : json
    """
    params_type = RegressionFieldParams
    params_column = "field_params"


@schema
class ControlPlan(dj.Manual):
    definition = f"""
    # A comparison of MEIs with their controls that someone asked for; with the linear MEIs too
    -> MaskPlan
    -> ContrastRule
    -> GaborMethod
    ---
    -> FieldMethod
    -> [nullable] TrainingPlan.proj({_RENAMED})
    """
