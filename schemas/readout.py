"""What a trained image model says about its units: receptive fields and feature weights."""

from typing import Any

import datajoint as dj
import numpy as np
from numpy.typing import NDArray

from schemas.dataset import TargetDataset
from schemas.model import TrainedModel, load_model
from schemas.model_config import ModelConfig
from schemas.recording import Scan, Screen
from schemas.rows import unit_rows
from science.digest import array_digest
from science.model.readback import read_units
from science.visual_angle import visual_angle

schema = dj.Schema()


@schema
class UnitReadout(dj.Computed):
    definition = """
    # Where and what the units of an image model read while the eye is at its mean position
    -> TrainedModel
    ---
    features : <npy@>                   # float32 (n_units, n_levels, n_channels), by unit_index
    features_digest : char(64)
    """

    class Unit(dj.Part):
        """A unit and where it reads, on the core's map and in the image."""

        definition = """
        -> master
        -> TargetDataset.Unit
        ---
        map_x : float64                 # on the core's map, -1 to 1
        map_y : float64
        rf_x_px : float64               # centre of the receptive field; (0, 0): top left pixel
        rf_y_px : float64
        rf_x_deg = null : float64       # to the right of the middle of the screen
        rf_y_deg = null : float64       # below it
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Trained image models."""
        return TrainedModel & (ModelConfig & "model_family = 'image'").proj()

    def make(self, key: dict[str, Any]) -> None:
        model = load_model((TrainedModel & key).fetch1("weights_sha256"))
        positions, pixels, features = read_units(model)
        degrees = _degrees(key, pixels, model.image_shape)
        self.insert1(key | {"features": features, "features_digest": array_digest(features)})
        names = ("map_x", "map_y", "rf_x_px", "rf_y_px", "rf_x_deg", "rf_y_deg")
        columns = np.hstack([positions, pixels, degrees]).astype(float).T
        self.Unit.insert(unit_rows(key, dict(zip(names, columns, strict=True))))


def _degrees(
    key: dict[str, Any], pixels: NDArray[np.float32], image_shape: tuple[int, int]
) -> NDArray[np.float64]:
    """Visual angles (n_units, 2), NaN for units of recordings whose screen is not known."""
    units = (TargetDataset.Unit & key).proj(*Scan.primary_key).to_dicts(order_by="unit_index")
    scans = [tuple(unit[a] for a in Scan.primary_key) for unit in units]
    degrees = np.full(pixels.shape, np.nan)
    for scan in set(scans):
        screen = (Screen & dict(zip(Scan.primary_key, scan, strict=True))).to_dicts()
        if screen:
            own = np.array([other == scan for other in scans])
            size = screen[0]["screen_width_cm"], screen[0]["screen_distance_cm"]
            degrees[own] = visual_angle(pixels[own], image_shape, *size)
    return degrees
