"""Grid score, spacing and orientation of many maps at once."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage, sparse

from science.blocks import blocks
from science.navigation.autocorrelogram import as_maps, autocorrelograms

Floats = NDArray[np.float64]

OUTER = (2.0, 2.2, 2.4, 2.6, 2.8, 3.0)
"""Outer radii of the rings, unit: the radius of the central peak."""

LEGACY_INNER = 0.2
LEGACY_OUTER = tuple(np.linspace(0.4, 1.0, 10))
"""Radii of the rings of the original, unit: bins along the shorter side of the map (mec 9)."""

ANGLES = (30, 60, 90, 120, 150)
_SMALLEST = 2.0  # bins, radius of a central peak: in smaller rings there is no shape to see
MIN_PIXELS = 10  # of half a ring, known at both angles
_VARIANCE = 1e-12  # of correlations in a ring: less is constant but for rounding


@dataclass(frozen=True, eq=False)
class GridScores:
    """How hexagonal n maps are.

    Attributes
    ----------
    score : float64, (n,)
        ``min(r60, r120) - max(r30, r90, r150)`` in the best ring, in [-2, 2]. Noise scores 0 on
        average, but 0.5 is not rare: compare it with shuffles. The paper called a unit a grid cell
        above a `legacy` score of 0.3 (mec 9). NaN where the map is constant or too small, or there
        is no ring because the autocorrelogram falls to its rim.
    ring : float64, (n,)
        Outer radius of the best ring, metres.
    spacing : float64, (n,)
        Median distance of the three nearest peaks from the centre, metres; NaN where there are
        fewer. It says something only of maps with a high score.
    orientation : float64, (n,)
        Direction of these peaks modulo 60 degrees, rad, in [0, pi / 3).
    """

    score: Floats
    ring: Floats
    spacing: Floats
    orientation: Floats


def grid_scores(
    maps: ArrayLike, bin_width: float = 0.05, min_overlap: int = 20, *, legacy: bool = False
) -> GridScores:
    """Score the sixfold symmetry of the autocorrelograms of maps (mec 9).

    The autocorrelogram is correlated with itself rotated by 30, ..., 150 degrees, in rings about
    its middle. Correlations are Pearson's, over the pixels of a ring that are known in both.

    Parameters
    ----------
    maps : array_like
        float, (nx, ny, n), square bins; NaN where unknown.
    bin_width : float
        Side of a bin, metres.
    min_overlap : int
        Of the autocorrelogram: known pairs of bins that a lag needs.
    legacy : bool
        Rings from 0.2 to 0.4, ..., 1 side of the map, as the original (mec 9; Banino et al. 2018).
        They cut into the nearest peaks where an arena holds many fields: of seven neighbouring
        cells of Hafting et al. 2005, with fields 0.42 m apart in an arena of 1.8 m, two exceed 95 %
        of their shuffles, and five by default. By default rings begin where the central peak of
        each cell ends and reach to 2, ..., 3 times that radius, which holds the six nearest peaks
        of a grid of any spacing (as Sargolini et al. 2006).

    References
    ----------
    Banino A et al. (2018). Vector-based navigation using grid-like representations in artificial
    agents. Nature 557:429.

    Sargolini F et al. (2006). Conjunctive representation of position, direction, and velocity in
    entorhinal cortex. Science 312:758.

    Examples
    --------
    Waves of 0.4 m in three directions, 60 degrees apart.

    >>> x, y = np.meshgrid(*2 * [np.arange(0, 2, 0.05)], indexing="ij")
    >>> angles = np.deg2rad([0, 60, 120])
    >>> wave = [np.cos(2 * np.pi / 0.4 * (x * np.cos(a) + y * np.sin(a))) for a in angles]
    >>> grid_scores(np.sum(wave, 0)[..., None]).score > 1
    array([ True])
    """
    maps = as_maps(maps)
    nx, ny, n_maps = maps.shape
    found = []
    for block in blocks(max(1, n_maps), 8 * nx * ny):
        correlograms = autocorrelograms(maps[..., block], min_overlap)
        central = _central_peak(correlograms)
        side = float(min(nx, ny))
        if legacy:
            inner = np.full(len(central), LEGACY_INNER * side)
            outer = np.multiply.outer(LEGACY_OUTER, np.full(len(central), side))
        else:
            inner = np.maximum(central, _SMALLEST)
            outer = np.minimum(np.multiply.outer(OUTER, inner), side)
        found.append((*_ring_scores(correlograms, inner, outer), *_lattice(correlograms, central)))
    score, ring, spacing, orientation = (np.concatenate(part) for part in zip(*found, strict=True))
    return GridScores(score, ring * bin_width, spacing * bin_width, orientation)


@lru_cache(maxsize=8)
def _rotations(
    shape: tuple[int, int],
) -> tuple[NDArray[np.int64], Floats, list[sparse.csr_array]]:
    """Pixels by their distance from the middle, and rotations as matrices.

    Half the pixels do: autocorrelograms are symmetric about their middle.

    Returns
    -------
    pixels : (p,), flat indices, the middle first
    distances : (p,), bins, increasing, up to the shorter side of the map
    rotations : of (p, n_pixels) each, from an image to its values at the rotated pixels
    """
    lags = _lags(shape)
    distance = np.hypot(*lags)
    chosen = (_half(lags) | (distance == 0)) & (distance <= (min(shape) + 1) // 2)
    pixels = np.flatnonzero(chosen)
    pixels = pixels[np.argsort(distance[pixels], kind="stable")]
    rotations = []
    for angle in np.deg2rad(ANGLES):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        rotations.append(_bilinear(turn @ lags[:, pixels], shape))
    return pixels, distance[pixels], rotations


def _lags(shape: tuple[int, int]) -> Floats:
    """Lag of every pixel of an autocorrelogram, (2, n_pixels), bins."""
    return np.indices(shape).reshape(2, -1) - np.array([[shape[0] // 2], [shape[1] // 2]])


def _half(lags: Floats) -> NDArray[np.bool_]:
    """One of each two opposite lags, without the middle."""
    return (lags[0] > 0) | ((lags[0] == 0) & (lags[1] > 0))


def _bilinear(lags: Floats, shape: tuple[int, int]) -> sparse.csr_array:
    """Matrix (p, n_pixels) that interpolates an image at lags (2, p).

    Weights of pixels outside the image are missing, so that a row may sum to less than 1.
    """
    # Rotating by 90 degrees hits pixels, but for rounding.
    at = np.round(lags + np.array([[shape[0] // 2], [shape[1] // 2]]), 9)
    corner = np.floor(at).astype(int)
    part = at - corner
    rows, columns, weights = [], [], []
    for step in np.ndindex(2, 2):
        pixel = corner + np.array(step)[:, None]
        weight = np.prod(np.where(np.array(step)[:, None], part, 1 - part), 0)
        used = ((pixel >= 0) & (pixel < np.array(shape)[:, None])).all(0) & (weight > 0)
        rows.append(np.flatnonzero(used))
        columns.append(np.ravel_multi_index(tuple(pixel[:, used]), shape))
        weights.append(weight[used])
    entries = (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns)))
    return sparse.csr_array(entries, shape=(lags.shape[1], shape[0] * shape[1]))


def _ring_scores(correlograms: Floats, inner: Floats, outer: Floats) -> tuple[Floats, Floats]:
    """Best score and the outer radius of its ring, (n,), in rings (n,) to (n_rings, n), bins."""
    shape = correlograms.shape[:2]
    pixels, distances, rotations = _rotations(shape)
    image = correlograms.reshape(shape[0] * shape[1], -1)
    known = np.isfinite(image).astype(np.float64)
    image = np.nan_to_num(image)
    # Last pixel within each radius; the middle is within all.
    start, end = (np.searchsorted(distances, radius, "right") - 1 for radius in (inner, outer))
    r30, r60, r90, r120, r150 = (
        _ring_correlation(
            image[pixels],
            rotation @ image,
            known[pixels] * (rotation @ known > 1 - 1e-9),
            start,
            end,
        )
        for rotation in rotations
    )
    scores = np.minimum(r60, r120) - np.maximum(np.maximum(r30, r90), r150)
    best = np.where(np.isnan(scores), -np.inf, scores).argmax(0)[None]
    score, ring = (np.take_along_axis(values, best, 0)[0] for values in (scores, outer))
    return score, np.where(np.isnan(score), np.nan, ring)


def _ring_correlation(
    a: Floats, b: Floats, both: Floats, start: NDArray[np.int64], end: NDArray[np.int64]
) -> Floats:
    """Pearson's r of pixels (p, n) after start (n,) up to end (n_rings, n), where both is 1."""

    def ring_sum(values: Floats) -> Floats:
        total = np.cumsum(values, 0)
        return np.take_along_axis(total, end, 0) - np.take_along_axis(total, start[None], 0)

    a, b = a * both, b * both
    n = ring_sum(both)
    n = np.where(n >= MIN_PIXELS, n, np.nan)
    mean_a, mean_b = ring_sum(a) / n, ring_sum(b) / n
    variance_a = ring_sum(a * a) / n - mean_a**2
    variance_b = ring_sum(b * b) / n - mean_b**2
    varies = (variance_a > _VARIANCE) & (variance_b > _VARIANCE)
    covariance = ring_sum(a * b) / n - mean_a * mean_b
    return covariance / np.sqrt(np.where(varies, variance_a * variance_b, np.nan))


def _central_peak(correlograms: Floats) -> Floats:
    """Radius in bins, (n,), where the mean over directions stops to fall; NaN if it never does."""
    shape = correlograms.shape[:2]
    shell = np.rint(np.hypot(*_lags(shape))).astype(int)
    members = sparse.csr_array((np.ones(len(shell)), (shell, np.arange(len(shell)))))
    flat = correlograms.reshape(len(shell), -1)
    known = np.isfinite(flat)
    n_known = members @ known.astype(np.float64)
    profile = members @ np.where(known, flat, 0.0) / np.where(n_known > 0, n_known, np.nan)
    rises = np.diff(profile, axis=0) >= 0
    return np.where(rises.any(0), rises.argmax(0), np.nan)


def _lattice(correlograms: Floats, central: Floats) -> tuple[Floats, Floats]:
    """Spacing in bins and orientation in rad of the peaks around the centre, (n,) each.

    Peaks exceed their eight neighbours and lie outside the central one and not at the rim; their
    places are those of parabolas.
    """
    shape = correlograms.shape[:2]
    filled = np.where(np.isfinite(correlograms), correlograms, -np.inf)
    peak = filled >= ndimage.maximum_filter(filled, (3, 3, 1), mode="constant", cval=np.inf)
    lags = _lags(shape)
    distance = np.hypot(*lags)
    peak = peak.reshape(len(distance), -1) & np.isfinite(filled).reshape(len(distance), -1)
    peak &= _half(lags)[:, None] & (distance[:, None] > central)
    ranked = np.where(peak, distance[:, None], np.inf)
    nearest = np.argpartition(ranked, 2, axis=0)[:3]
    exists = np.isfinite(np.take_along_axis(ranked, nearest, 0)).all(0)

    flat = correlograms.reshape(len(distance), -1)
    steps = (shape[1], 1)
    x, y = (
        lag[nearest] + _parabola_top(flat, nearest, step, exists)
        for lag, step in zip(lags, steps, strict=True)
    )
    spacing = np.median(np.hypot(x, y), 0)
    sixfold = np.exp(6j * np.arctan2(y, x)).sum(0)
    orientation = np.mod(np.angle(sixfold) / 6, np.pi / 3)
    return np.where(exists, spacing, np.nan), np.where(exists, orientation, np.nan)


def _parabola_top(
    flat: Floats, at: NDArray[np.int64], step: int, exists: NDArray[np.bool_]
) -> Floats:
    """Offset of the top from a pixel, in [-0.5, 0.5]; 0 where a neighbour is unknown."""
    at = np.where(exists, at, len(flat) // 2)
    before, top, after = (np.take_along_axis(flat, at + shift, 0) for shift in (-step, 0, step))
    bend = 2 * top - before - after
    offset = (after - before) / (2 * np.where(bend > 0, bend, np.nan))
    return np.clip(np.nan_to_num(offset), -0.5, 0.5)
