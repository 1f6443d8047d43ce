"""Brain area and cortical layer of recorded cells (microns_vei 3.1)."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

UNKNOWN_AREA = "unknown"
NO_LAYER = "unset"

# Depth below the surface, um: from (exclusive) and to (inclusive).
LAYERS: Mapping[str, tuple[float, float]] = {
    "L1": (0.0, 100.0),
    "L2/3": (100.0, 370.0),
    "L4": (370.0, 500.0),
}


def areas_from_masks(
    labels: NDArray[np.integer],
    names: Sequence[str],
    field: ArrayLike,
    px_y: ArrayLike,
    px_x: ArrayLike,
) -> NDArray[np.str_]:
    """Look up the brain area of each cell in painted masks.

    Parameters
    ----------
    labels : int, (n_fields, h, w)
        Area at each pixel of each imaging field: 0 for none, k for ``names[k - 1]``.
    names : sequence of str
        Areas.
    field : int, (n_units,)
        Field of each unit, row of `labels`.
    px_y, px_x : float, (n_units,)
        Position in the field, pixels from 0; halves round up.

    Returns
    -------
    str, (n_units,)
        'unknown' where there is no area.

    Raises
    ------
    ValueError
        If a unit lies outside its field or in a field without mask, or a label has no name.
    """
    labels = np.asarray(labels)
    if labels.ndim != 3 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"labels must be whole numbers (n_fields, h, w), not {labels.dtype} {labels.shape}"
        )
    if labels.min(initial=0) < 0 or labels.max(initial=0) > len(names):
        raise ValueError(f"labels must be 0 (none) to {len(names)}, one per name")
    position = np.stack(np.broadcast_arrays(field, px_y, px_x))
    pixel = np.floor(position + 0.5)
    inside = ((pixel >= 0) & (pixel < np.array(labels.shape)[:, None])).all(axis=0)
    if not inside.all():
        unit = inside.argmin()
        at, y, x = position[:, unit]
        raise ValueError(
            f"unit {unit} (from 0) is at y = {y}, x = {x} of field {at}, outside the "
            f"{labels.shape[0]} fields of {labels.shape[1]} x {labels.shape[2]} pixels"
        )
    return np.array([UNKNOWN_AREA, *names])[labels[tuple(pixel.astype(np.int64))]]


def layers_from_depth(
    depth: ArrayLike, borders: Mapping[str, tuple[float, float]] = LAYERS
) -> NDArray[np.str_]:
    """Name the layer at each depth.

    Parameters
    ----------
    depth : float, (n_units,)
        Depth below the surface of the unit's field, not of the unit, um: all units of a field
        share a layer.
    borders : mapping of str to (float, float)
        Layers with the depths (z_start, z_end] they span, um.

    Returns
    -------
    str, (n_units,)
        'unset' outside all layers and for NaN.
    """
    depth = np.asarray(depth, np.float64)
    within = [(start < depth) & (depth <= end) for start, end in borders.values()]
    return np.select(within, list(borders), default=NO_LAYER)
