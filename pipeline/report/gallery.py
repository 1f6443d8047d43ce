"""The gallery: MEIs side by side, which a reader can sort."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from skimage.measure import find_contours

from pipeline.report.album import Album
from pipeline.report.numbers import number
from pipeline.report.page import Gallery, Tile
from pipeline.report.scores import SCORES

GAP = 4  # px between the images of the sheet
WHITE = 255


def gallery(
    units: pd.DataFrame, scored: pd.DataFrame, pages: Mapping[int, str], album: Album
) -> Gallery:
    """Put MEIs on one sheet, with the true receptive fields to the right where some are known.

    Parameters
    ----------
    units : DataFrame
        Of `pipeline.truth.mei_truth`, with an MEI each, in the order to show them; at least one.
    scored : DataFrame
        Their `scores`.
    pages : mapping of int to str
        The pages of units, by index.
    """
    fields = [f if isinstance(f, np.ndarray) else None for f in units.nearest_field]
    meis = list(units.mei)
    pixels, corners = sheet(meis, fields if any(f is not None for f in fields) else None)
    height, width = meis[0].shape
    known = [name for name in SCORES if scored[name].notna().any()]
    tiles = [
        Tile(
            **_words(unit),
            x=x,
            y=y,
            outline=outline(unit.mei_mask) if isinstance(unit.mei_mask, np.ndarray) else "",
            scores={n: float(f"{v:.4g}") for n in known if math.isfinite(v := row[n])},
            page=pages.get(unit.unit_index),
        )
        for (x, y), unit, (_, row) in zip(
            corners, units.itertuples(), scored.iterrows(), strict=True
        )
    ]
    return Gallery(
        sheet=album.add_pixels("meis", pixels, "All MEIs of the gallery"),
        width=pixels.shape[1],
        height=pixels.shape[0],
        tile_width=width if all(f is None for f in fields) else 2 * width + GAP,
        tile_height=height,
        tiles=tiles,
        scores={name: SCORES[name] for name in known},
        n_pages=sum(tile.page is not None for tile in tiles),
    )


def sheet(
    meis: list[NDArray[np.floating]], fields: list[NDArray[np.floating] | None] | None = None
) -> tuple[NDArray[np.uint8], list[tuple[int, int]]]:
    """Put images on one sheet, as near to a square as it gets.

    Parameters
    ----------
    meis : list of float (h, w)
        Each is shown at full contrast, middle grey being its mean.
    fields : list of float (h, w) or None, optional
        To the right of the MEIs, at full contrast, middle grey being zero.

    Returns
    -------
    pixels : uint8, (height, width)
    corners : list of tuple of int
        Left and top of each MEI, px.
    """
    h, w = meis[0].shape
    step_x, step_y = (w + GAP) * (1 if fields is None else 2), h + GAP
    columns = max(1, round(math.sqrt(len(meis) * step_y / step_x)))
    rows = -(-len(meis) // columns)
    pixels = np.full((rows * step_y, columns * step_x), WHITE, np.uint8)
    corners = []
    for i, mei in enumerate(meis):
        y, x = (i // columns) * step_y, (i % columns) * step_x
        pixels[y : y + h, x : x + w] = full_contrast(mei, float(mei.mean()))
        if fields is not None and fields[i] is not None:
            pixels[y : y + h, x + w + GAP : x + 2 * w + GAP] = full_contrast(fields[i], 0)
        corners.append((x, y))
    return pixels, corners


def full_contrast(image: NDArray[np.floating], centre: float) -> NDArray[np.uint8]:
    """Stretch an image about a value, which becomes middle grey, to black or white."""
    deviation = np.asarray(image, np.float64) - centre
    largest = np.abs(deviation).max() or 1.0
    return np.rint(127.5 * (1 + deviation / largest)).astype(np.uint8)


def outline(mask: NDArray[np.floating]) -> str:
    """Trace the edge of a mask (h, w) at one half as the path of an SVG, unit: pixels."""
    return "".join(
        "M" + "L".join(f"{x - 0.5:.1f} {y - 0.5:.1f}" for y, x in line)
        for line in find_contours(np.pad(mask, 1), 0.5)
    )


def _words(unit: Any) -> dict[str, str]:
    kind = f" · {unit.kind.replace('_', ' ')}" if isinstance(unit.kind, str) else ""
    parts = [f"r {number(unit.ensemble_validation_corr)}", f"act {number(unit.mei_activation)}"]
    if np.isfinite(unit.cosine):
        parts.append(f"cos {number(unit.cosine)}")
    elif np.isfinite(unit.plane_cosine):
        parts.append(f"plane {number(unit.plane_cosine)}")
    return {"title": f"unit {unit.unit_index}{kind}", "subtitle": "  ".join(parts)}
