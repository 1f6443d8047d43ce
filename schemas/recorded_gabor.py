"""The Gabors that excited a unit most in its recording, beside its MEI (allen_mei 6)."""

from typing import Any

import datajoint as dj
import numpy as np
import torch
from numpy.typing import NDArray

from schemas import recording
from schemas.configuration import Configuration
from schemas.dataset import TargetDataset
from schemas.loading import response_block
from schemas.mei import MEI, TargetModel, UnitSelection, load_block
from schemas.model import ensemble_weights
from schemas.responses import InputResponse
from schemas.rows import nullable
from science.grey_scale import MAX_GREY
from science.image_statistics import contrast, luminance, symmetry_indices
from science.preprocessing import resize_image
from science.recorded_gabors import RecordedGaborParams, recorded_gabors

schema = dj.Schema()

Floats = NDArray[np.floating]


@schema
class RecordedGaborMethod(Configuration, dj.Manual):
    definition = """
    # How the best recorded Gabors are averaged and drawn
    recorded_gabor_hash : char(16)
    ---
    n_best : int16                      # presentations
    recorded_gabor_params : json
    """
    params_type = RecordedGaborParams
    params_column = "recorded_gabor_params"

    @classmethod
    def columns(cls, params: RecordedGaborParams) -> dict[str, Any]:
        return {"n_best": params.n_best}


@schema
class RecordedGaborPlan(dj.Manual):
    definition = """
    # Comparisons with recorded Gabors that someone asked for
    -> TargetModel
    -> RecordedGaborMethod
    """


@schema
class RecordedGabor(dj.Computed):
    definition = """
    # The mean of the recorded Gabors that excited a unit most, and its MEI; discs of 12 pixels
    -> MEI
    -> RecordedGaborMethod
    """

    class Unit(dj.Part):
        """A unit and its recorded Gabor."""

        definition = """
        -> master
        -> MEI.Unit
        ---
        recorded_gabor : <blob>             # float32, (h, w), grey values 0-255
        recorded_gabor_activation : float64     # of the ensemble
        gabor_luminance = null : float64    # mean in the disc about its middle, 0-1
        mei_luminance = null : float64
        gabor_disc_contrast = null : float64    # pixel SD in the disc, 0-1
        mei_disc_contrast = null : float64
        gabor_symmetry_1 = null : float64   # 1: one orientation
        gabor_symmetry_2 = null : float64   # 1: one or two at a right angle
        mei_symmetry_1 = null : float64
        mei_symmetry_2 = null : float64
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """MEIs of which it was asked for."""
        return dj.U(*self.primary_key) & (MEI.proj() * RecordedGaborPlan)

    def make_fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        return RecordedGaborMethod.params(key), ensemble_weights(key)

    def make_compute(
        self, key: dict[str, Any], params: RecordedGaborParams, weights: list[str]
    ) -> tuple[Any, ...]:
        query = MEI.Unit.proj("mei", "mei_status") * UnitSelection.Unit * TargetDataset.Unit
        rows = (query & key & "mei_status = 'ok'").to_dicts(order_by="selection_rank")
        gabors = _recorded_gabors(key, rows, params)
        rows = [row for row in rows if np.isfinite(gabors[row["unit_index"]]).all()]
        if not rows:
            return ([],)
        columns = [(str(row["readout_key"]), int(row["readout_column"])) for row in rows]
        block = load_block(weights, columns)
        drawn = np.stack(
            [resize_image(gabors[row["unit_index"]], *block.model.image_shape) for row in rows]
        )
        grey = (MAX_GREY * drawn).astype(np.float32)
        activations = block.responses(torch.as_tensor(grey))
        statistics = _statistics("gabor", drawn)
        statistics |= _statistics("mei", np.stack([row["mei"] for row in rows]) / MAX_GREY)
        return (
            [
                {
                    "unit_index": row["unit_index"],
                    "recorded_gabor": grey[i],
                    "recorded_gabor_activation": float(activations[i]),
                    **{name: float(values[i]) for name, values in statistics.items()},
                }
                for i, row in enumerate(rows)
            ],
        )

    def make_insert(self, key: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        self.insert1(key)
        self.Unit.insert(nullable(key | row) for row in rows)


def _recorded_gabors(
    key: dict[str, Any], rows: list[dict[str, Any]], params: RecordedGaborParams
) -> dict[int, NDArray[np.float32]]:
    """Draw the best recorded Gabor (h, w) of each unit; NaN if none excited it more than others."""
    drawn = {}
    for member in (TargetDataset.Member & key).to_dicts(order_by="KEY"):
        scan = {name: member[name] for name in InputResponse.primary_key}
        shown = InputResponse.Input * recording.Condition & scan & "image_class = 'gabor'"
        trials = shown.to_dicts(order_by="row_id")
        if not trials:
            raise ValueError(f"recording {scan} shows no Gabors: leave recorded_gabors out")
        units = [row for row in rows if row["readout_key"] == member["readout_key"]]
        if not units:
            continue
        responses, column_of = response_block(scan)
        counts = responses[[t["row_id"] for t in trials]]
        counts = counts[:, [column_of[row["unit_id"]] for row in units]]
        orientations = np.array([t["stimulus_params"]["orientation"] for t in trials], float)
        images = recorded_gabors(counts, orientations, params)
        drawn |= {row["unit_index"]: image for row, image in zip(units, images, strict=True)}
    return drawn


def _statistics(prefix: str, images: Floats) -> dict[str, Floats]:
    """Return what is compared of images (m, h, w) from 0 to 1."""
    symmetry = symmetry_indices(images, (1, 2))
    return {
        f"{prefix}_luminance": luminance(images),
        f"{prefix}_disc_contrast": contrast(images),
        f"{prefix}_symmetry_1": symmetry[:, 0],
        f"{prefix}_symmetry_2": symmetry[:, 1],
    }
