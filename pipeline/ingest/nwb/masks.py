"""Where segmented masks lie in their field."""

import numpy as np
from hdmf.common import VectorIndex
from numpy.typing import NDArray
from pynwb.ophys import PlaneSegmentation
from tqdm import tqdm

from pipeline.ingest.rows import BadRecording

MASKS_AT_ONCE = 64
"""A mask of a mesoscope's field is 0.4 MB."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def mask_centers(table: PlaneSegmentation, rows: Ints) -> Floats | None:
    """Return the centre of mass of some masks, x and y from the centre of the first pixel.

    Returns
    -------
    float64, (len(rows), 2), px
        None when the table has no masks.

    Raises
    ------
    BadRecording
        If a mask is empty.
    """
    if "image_mask" in table.colnames:
        centers = _of_images(table, rows)
    else:
        name = next((n for n in ("pixel_mask", "voxel_mask") if n in table.colnames), None)
        if name is None:
            return None
        centers = _of_pixels(table[name], rows)
    empty = ~np.isfinite(centers).all(axis=1)
    if empty.any():
        raise BadRecording(f"row {rows[empty.argmax()]} of {table.name} has an empty mask")
    return centers


def field_size(table: PlaneSegmentation) -> tuple[int, int] | None:
    """Return height and width of a field, px, where its masks tell."""
    if "image_mask" not in table.colnames:
        return None
    width, height = table["image_mask"].data.shape[1:3]
    return height, width


def _of_images(table: PlaneSegmentation, rows: Ints) -> Floats:
    masks = table["image_mask"].data
    sides = masks.shape[1:]
    centers = np.empty((len(rows), 2))
    starts = range(0, len(rows), MASKS_AT_ONCE)
    few = len(starts) < 4
    for start in tqdm(starts, desc=f"masks of {table.name}", leave=False, disable=few):
        at = slice(start, start + MASKS_AT_ONCE)
        low = rows[at].min()
        block = np.asarray(masks[low : rows[at].max() + 1], np.float64)[rows[at] - low]
        # of a volume, seen from above
        block = block.reshape(*block.shape[:3], -1).sum(axis=-1)
        with np.errstate(invalid="ignore"):  # an empty mask is 0 / 0
            centers[at] = (
                np.stack(
                    [
                        block.sum(axis=2) @ np.arange(sides[0]),
                        block.sum(axis=1) @ np.arange(sides[1]),
                    ],
                    axis=1,
                )
                / block.sum(axis=(1, 2))[:, None]
            )
    return centers


def _of_pixels(index: VectorIndex, rows: Ints) -> Floats:
    pixels = index.target.data[:]
    ends = np.asarray(index.data[:], np.int64)
    starts = np.append(0, ends[:-1])
    x, y, weight = (np.asarray(pixels[name], np.float64) for name in ("x", "y", "weight"))
    sums = np.cumsum(np.pad([weight, weight * x, weight * y], ((0, 0), (1, 0))), axis=1)
    mass, mass_x, mass_y = sums[:, ends[rows]] - sums[:, starts[rows]]
    with np.errstate(invalid="ignore"):
        return np.stack([mass_x, mass_y], axis=1) / mass[:, None]
