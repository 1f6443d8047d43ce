"""How much a spike says about the place, and how small a part of the arena a cell fires in."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from science.navigation.autocorrelogram import as_maps

Floats = NDArray[np.float64]


def spatial_information(maps: ArrayLike, occupancy: ArrayLike) -> Floats:
    """Information of a spike about the place (Skaggs et al. 1993).

    Parameters
    ----------
    maps : array_like
        float, (nx, ny, n), rates, not negative; NaN where unknown.
    occupancy : array_like
        float, (nx, ny), time or samples in each bin; only ratios matter.

    Returns
    -------
    ndarray
        float64, (n,), ``sum p (r / R) log2(r / R)`` with ``p`` the occupancy over known bins and
        ``R = sum p r``, bits per spike; NaN for silent cells and where a rate is negative. Few
        spikes make it too large: compare it with shuffles.

    References
    ----------
    Skaggs WE, McNaughton BL, Gothard KM, Markus EJ (1993). An information-theoretic approach to
    deciphering the hippocampal code. NIPS 5:1030.

    Examples
    --------
    Spikes in one of four places tell log2(4) bits.

    >>> spatial_information([[[8.0], [0.0]], [[0.0], [0.0]]], np.ones((2, 2)))
    array([2.])
    """
    probability, relative = _relative_rates(maps, occupancy)
    logarithm = np.log2(np.where(relative > 0, relative, 1.0))
    return (probability * relative * logarithm).sum((0, 1))


def sparsity(maps: ArrayLike, occupancy: ArrayLike) -> Floats:
    """Fraction of the arena in which a cell fires (Skaggs et al. 1996).

    Parameters
    ----------
    maps, occupancy
        As of `spatial_information`.

    Returns
    -------
    ndarray
        float64, (n,), ``(sum p r)**2 / sum p r**2``, in (0, 1], 1 for an even rate; NaN as there.

    References
    ----------
    Skaggs WE, McNaughton BL, Wilson MA, Barnes CA (1996). Theta phase precession in hippocampal
    neuronal populations and the compression of temporal sequences. Hippocampus 6:149.
    """
    probability, relative = _relative_rates(maps, occupancy)
    return 1 / (probability * relative**2).sum((0, 1))


def _relative_rates(maps: ArrayLike, occupancy: ArrayLike) -> tuple[Floats, Floats]:
    """Probability of each known bin and rate over mean rate, (nx, ny, n) each."""
    maps, occupancy = as_maps(maps), np.asarray(occupancy, np.float64)
    if occupancy.shape != maps.shape[:2] or not (occupancy >= 0).all():
        raise ValueError(
            f"occupancy must be (nx, ny) like the maps, {maps.shape[:2]}, and not negative, got "
            f"the shape {occupancy.shape}"
        )
    known = np.isfinite(maps)
    probability = np.where(known, occupancy[..., None], 0.0)
    rates = np.where(known, maps, 0.0)
    total = probability.sum((0, 1))
    probability /= np.where(total > 0, total, np.nan)
    mean = (probability * rates).sum((0, 1))
    positive = (mean > 0) & (rates >= 0).all((0, 1))
    return probability, rates / np.where(positive, mean, np.nan)
