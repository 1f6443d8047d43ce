"""Stored images as PNG, by the key of their row."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from datajoint import blob
from flask import Blueprint, Response, abort, request, url_for
from numpy.typing import NDArray

from pipeline.report.gallery import full_contrast, outline
from pipeline.web.keys import ENSEMBLE, MASK, MEI, asked_key, key_of, matches
from pipeline.web.pictures import picture, png
from pipeline.web.reader import reader

OUTLINES_KEPT = 4_000
GREYS = ("full", "stored")
SIZES = """
SELECT training_set_hash, MIN(frame_width) AS frame_width, MIN(frame_height) AS frame_height
FROM [TargetDataset.Member] JOIN [Preprocessing] USING (preprocessing_hash)
GROUP BY training_set_hash
"""
"""SQL: how large the images of a training set are, px."""

blueprint = Blueprint("images", __name__)


@dataclass(frozen=True)
class Kind:
    """A column of images.

    Attributes
    ----------
    table, column : str
    key : tuple of str
        Primary key of the table.
    is_field : bool
        Whether it holds receptive fields, about zero, and not grey values from 0 to 255.
    """

    table: str
    column: str
    key: tuple[str, ...]
    is_field: bool = False


GABOR = (*ENSEMBLE, "selection_hash", "contrast_hash", "gabor_hash", "unit_block", "unit_index")
NATURAL = (*MASK, "contrast_hash")
COMPARED = (*MASK, "contrast_hash", "gabor_hash", "image_kind")
KINDS = {
    "mei": Kind("MEI.Unit", "mei", MEI),
    "diverse": Kind("DiverseMEI.Image", "diverse_mei", (*MASK, "diverse_hash", "diverse_index")),
    "surround": Kind("SurroundMEI.Unit", "surround_mei", (*MASK, "surround_hash")),
    "best_gabor": Kind("BestGabor.Unit", "best_gabor", GABOR),
    "optimal_gabor": Kind("OptimalGabor.Unit", "optimal_gabor", GABOR),
    "natural": Kind("BestNaturalImage.Unit", "natural_image", NATURAL),
    "masked_natural": Kind("BestNaturalImage.Unit", "masked_natural_image", NATURAL),
    "gradient": Kind("GradientField.Unit", "point_rf", MEI, is_field=True),
    "regression": Kind(
        "RegressionField.Unit",
        "regression_rf",
        ("training_set_hash", "field_hash", "unit_index"),
        is_field=True,
    ),
    "recorded_gabor": Kind("RecordedGabor.Unit", "recorded_gabor", (*MEI, "recorded_gabor_hash")),
    "compared": Kind("ImageComparison.Response", "compared_image", COMPARED),
}


def image_link(kind: str, row: Mapping[str, Any], grey: str = "full") -> str:
    """Return the address of an image of a row.

    Parameters
    ----------
    kind : str
        Of `KINDS`.
    row : mapping
        Holds the key.
    grey : str
        ``full``: middle grey is the mean (of a field: zero), the farthest value black or white;
        ``stored``: grey values as stored, rounded.
    """
    return url_for("images.image", kind=kind, grey=grey, **key_of(row, KINDS[kind].key))


blueprint.add_app_template_global(image_link)


@blueprint.get("/images/<kind>.png")
def image(kind: str) -> Response:
    """Answer with an image, one pixel of it a pixel of the PNG."""
    if kind not in KINDS:
        abort(404, f"There are no images '{kind}'; there are {', '.join(KINDS)}.")
    grey = request.args.get("grey", GREYS[0])
    if grey not in GREYS:
        abort(400, f"'grey' has to be one of {', '.join(GREYS)}.")
    column = KINDS[kind]
    row = reader().one(
        f"SELECT {column.column} AS image FROM [{column.table}] WHERE {matches(column.key)}",
        **asked_key(column.key),
    )
    if row is None or row["image"] is None:
        abort(404, f"{column.table} has no image under this key.")
    return picture(png(_greys(reader().array(row["image"]), column, grey)))


def _greys(image: NDArray[np.floating], column: Kind, grey: str) -> NDArray[np.uint8]:
    if grey == "stored" and not column.is_field:
        return np.rint(image).clip(0, 255).astype(np.uint8)
    return full_contrast(image, 0.0 if column.is_field else float(image.mean()))


def inline(image: bytes) -> str:
    """Return an MEI, as its column holds it, at full contrast as an address with the PNG in it."""
    grey = _greys(np.asarray(blob.unpack(image)), KINDS["mei"], "full")
    return f"data:image/png;base64,{b64encode(png(grey)).decode()}"


@lru_cache(OUTLINES_KEPT)
def mask_outline(mask: bytes) -> str:
    """Return the edge of a mask, as its column holds it, as the path of an SVG, unit: pixels."""
    return outline(np.asarray(blob.unpack(mask)))
