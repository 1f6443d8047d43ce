"""Border score of many maps at once."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from science.navigation.autocorrelogram import as_maps

Floats = NDArray[np.float64]


def border_scores(
    maps: ArrayLike,
    bin_width: float = 0.05,
    threshold: float = 0.3,
    min_area_cm2: float = 200.0,
) -> Floats:
    """How much a cell fires along a wall rather than away from it (Solstad et al. 2008).

    A field is a set of bins with common edges above `threshold` times the peak. ``c`` is the
    largest fraction of a wall along which one field lies, ``d`` the distance of the fields' bins
    from their nearest wall, weighted by the rate, relative to half of the shorter side. The score
    is ``(c - d) / (c + d)``.

    Parameters
    ----------
    maps : array_like
        float, (nx, ny, n), of a rectangular arena with square bins; NaN where unknown.
    bin_width : float
        Side of a bin, metres.
    threshold : float
        Of a field, relative to the peak, in (0, 1).
    min_area_cm2 : float
        Smaller fields do not count.

    Returns
    -------
    ndarray
        float64, (n,), in [-1, 1]: 1 for an infinitely thin field along a whole wall, less for bins
        of finite width, whose distance is that of their middle; -1 for a field that touches no
        wall; near 0.5 for an even rate, whose one field lies along all walls: by itself the score
        does not make a border cell. NaN without a field.

    Notes
    -----
    A bin is at a wall if no known one lies between them, so that a rim that the tracked head never
    reached does no harm.

    References
    ----------
    Solstad T, Boccara CN, Kropff E, Moser M-B, Moser EI (2008). Representation of geometric
    borders in the entorhinal cortex. Science 322:1865.
    """
    maps = as_maps(maps)
    nx, ny, n_maps = maps.shape
    known = np.isfinite(maps)
    rates = np.where(known, maps, -np.inf)
    peak = rates.max((0, 1))
    neighbours = np.zeros((3, 3, 3), bool)
    neighbours[1, :, 1] = neighbours[:, 1, 1] = True
    fields, n_fields = ndimage.label((rates > threshold * peak) & (peak > 0), neighbours)
    area = np.bincount(fields.ravel(), minlength=n_fields + 1) * (100 * bin_width) ** 2
    large = area >= min_area_cm2 - 1e-6
    large[0] = False
    fields = np.where(large[fields], fields, 0)

    coverage = np.zeros(n_maps)
    for axis in (0, 1):
        coverage = np.maximum(coverage, _coverage(fields, known, axis, n_fields))
        opposite = np.flip(fields, axis), np.flip(known, axis)
        coverage = np.maximum(coverage, _coverage(*opposite, axis, n_fields))

    x, y = np.arange(nx)[:, None] + 0.5, np.arange(ny) + 0.5
    distance = np.minimum(np.minimum(x, nx - x), np.minimum(y, ny - y))[..., None]
    weights = np.where(fields > 0, rates, 0.0)
    total = weights.sum((0, 1))
    total = np.where(total > 0, total, np.nan)
    distance = (weights * distance).sum((0, 1)) / total / (min(nx, ny) / 2)
    return (coverage - distance) / (coverage + distance)


def _coverage(
    fields: NDArray[np.int64], known: NDArray[np.bool_], axis: int, n_fields: int
) -> Floats:
    """Largest fraction of the wall before the first bin of an axis along one field, (n_maps,)."""
    first = np.expand_dims(known.argmax(axis), axis)
    at_wall = np.take_along_axis(fields, first, axis).squeeze(axis)
    length = known.any(axis).sum(0)
    touched = np.bincount(at_wall.ravel(), minlength=n_fields + 1)
    touched[0] = 0
    # A field belongs to one map: the most touched one among those at the wall is the largest.
    return touched[at_wall].max(0) / np.maximum(length, 1)
