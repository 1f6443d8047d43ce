"""Section 3: where the best ensemble sees the receptive fields of the units."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.report import model_figures
from pipeline.report.album import Album
from pipeline.report.page import Picture
from schemas.dataset import TargetDataset
from schemas.model import Ensemble, TrainedModel
from schemas.readout import UnitReadout
from schemas.recording import AreaMembership, Scan, Screen
from schemas.responses import Preprocessing
from science.visual_angle import visual_angle

Key = dict[str, str]


def receptive_fields(name: str, ensemble: Key, album: Album) -> Picture | None:
    """Draw the centres of the receptive fields in an ensemble; None before they are read back."""
    members = (TrainedModel & (Ensemble.Member & ensemble)).keys()
    read = (UnitReadout.Unit & members).proj("rf_x_px", "rf_y_px")
    rows = (read * TargetDataset.Unit.proj(*Scan.Unit.primary_key)).to_dicts(order_by="KEY")
    if not rows:
        return None
    units = pd.DataFrame(rows)
    centres = units.groupby("unit_index")[["rf_x_px", "rf_y_px"]].mean()
    cells = units.groupby("unit_index")[list(Scan.Unit.primary_key)].first()
    shape = _image_shape(ensemble)
    figure = model_figures.receptive_fields(
        centres.to_numpy(), _areas(cells), shape, _degrees(ensemble, shape)
    )
    n_members = units.seed.nunique()
    caption = (
        f"Centres of the receptive fields on the image while the eye is at its mean position; "
        f"{name} ensemble, mean over {n_members} member{'s' if n_members > 1 else ''}."
    )
    return album.add("receptive-fields", figure, "Centres of the receptive fields", caption)


def _areas(cells: pd.DataFrame) -> list[str]:
    """Return the brain area of every cell, by the keys of `Scan.Unit`."""
    scans = cells[list(Scan.primary_key)].drop_duplicates().to_dict("records")
    rows = (AreaMembership & scans).to_dicts()
    area = {tuple(row[a] for a in Scan.Unit.primary_key): row["brain_area"] for row in rows}
    return [area.get(cell, "no area") for cell in cells.itertuples(index=False, name=None)]


def _image_shape(training_set: Key) -> tuple[int, int]:
    """Return the height and width of the images that the models see."""
    shapes = Preprocessing & (TargetDataset.Member & training_set)
    height, width = shapes.to_arrays("frame_height", "frame_width", order_by="KEY")
    return int(height[0]), int(width[0])


def _degrees(
    training_set: Key, image_shape: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Visual angles of the edges of columns and rows; None unless all screens are known and alike.

    Edges of row and column `i` are at ``i - 0.5`` and ``i + 0.5`` pixels.
    """
    scans = (TargetDataset.Member & training_set).proj()
    rows = (Screen & scans).to_dicts()
    screens = {(row["screen_width_cm"], row["screen_distance_cm"]) for row in rows}
    if len(rows) < len(scans) or len(screens) != 1:
        return None
    (screen,) = screens
    height, width = image_shape
    columns, lines = (np.arange(size + 1)[:, None] - 0.5 for size in (width, height))
    return (
        visual_angle(np.hstack([columns, columns]), image_shape, *screen)[:, 0],
        visual_angle(np.hstack([lines, lines]), image_shape, *screen)[:, 1],
    )
