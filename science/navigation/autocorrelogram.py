"""Autocorrelograms of many maps at once."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft

from science.blocks import blocks

Floats = NDArray[np.float64]

CONSTANT = 1e-10  # of a map's variance: an overlap that varies less is constant but for rounding


def as_maps(maps: ArrayLike) -> Floats:
    """Return maps as float64 (nx, ny, n_maps).

    Raises
    ------
    ValueError
        If there are not three axes.
    """
    maps = np.asarray(maps, np.float64)
    if maps.ndim != 3:
        raise ValueError(f"maps must be (nx, ny, n_maps), got the shape {maps.shape}")
    return maps


def autocorrelograms(maps: ArrayLike, min_overlap: int = 20) -> Floats:
    """Pearson correlation of each map with itself shifted by every lag (Sargolini et al. 2006).

    Parameters
    ----------
    maps : array_like
        float, (nx, ny, n_maps); NaN where unknown, which takes the bin out of every overlap.
    min_overlap : int
        Known pairs of bins that a lag needs.

    Returns
    -------
    ndarray
        float64, (2 nx - 1, 2 ny - 1, n_maps), lag 0 in the middle; NaN where too few bins overlap
        and where either part of the overlap is constant.
    """
    maps = as_maps(maps)
    nx, ny, n_maps = maps.shape
    result = np.empty((2 * nx - 1, 2 * ny - 1, n_maps))
    for block in blocks(n_maps, 4 * nx * ny):
        result[..., block] = np.moveaxis(
            _autocorrelate(np.moveaxis(maps[..., block], 2, 0), min_overlap), 0, 2
        )
    return result


def _autocorrelate(maps: Floats, min_overlap: int) -> Floats:
    """As `autocorrelograms`, maps on the first axis."""
    nx, ny = maps.shape[1:]
    size = [fft.next_fast_len(2 * n - 1, real=True) for n in (nx, ny)]
    lags = np.ix_(*(np.arange(1 - n, n) for n in (nx, ny)))

    def spectrum(values: Floats) -> NDArray[np.complex128]:
        return fft.rfft2(values, size)

    def products(a: NDArray[np.complex128], b: NDArray[np.complex128]) -> Floats:
        """Sum over bins of a(bin) b(bin + lag)."""
        return fft.irfft2(a.conj() * b, size)[:, *lags]

    known = np.isfinite(maps)
    values = _standardised(maps, known)
    of_known, of_values = spectrum(known.astype(np.float64)), spectrum(values)
    overlap = np.rint(products(of_known, of_known))
    total = products(of_values, of_known)
    spread = overlap * products(spectrum(values**2), of_known) - total**2
    # The shifted part of the overlap at one lag is the resting part at the opposite lag.
    covariance = overlap * products(of_values, of_values) - total * total[:, ::-1, ::-1]
    varies = spread > CONSTANT * overlap**2
    good = (overlap >= max(min_overlap, 2)) & varies & varies[:, ::-1, ::-1]
    scale = np.sqrt(np.where(good, spread * spread[:, ::-1, ::-1], np.nan))
    return np.clip(covariance / scale, -1, 1)


def _standardised(maps: Floats, known: NDArray[np.bool_]) -> Floats:
    """Return maps of mean 0 and variance 1, 0 where unknown or constant."""
    n_known = np.maximum(known.sum((1, 2), keepdims=True), 1)
    values = np.where(known, maps, 0.0)
    first = np.where(known, maps, np.inf).min((1, 2), keepdims=True)
    # Differences from one of the values are exactly 0 in a constant map.
    values = np.where(known, values - np.where(np.isfinite(first), first, 0), 0.0)
    values -= values.sum((1, 2), keepdims=True) / n_known
    values[~known] = 0.0
    deviation = np.sqrt((values**2).sum((1, 2), keepdims=True) / n_known)
    return values / np.where(deviation > 0, deviation, 1.0)
