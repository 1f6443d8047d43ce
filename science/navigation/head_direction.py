"""Tuning to the direction of the head, and its score."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from science.navigation.track import SpikeTrains, Track, binned_spikes

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class HeadDirectionScores:
    """How strongly and to which direction n cells are tuned.

    Attributes
    ----------
    score : float64, (n,)
        Length of the mean vector, in [0, 1]; NaN for silent cells.
    preferred : float64, (n,)
        Its direction, rad, in [-pi, pi].
    """

    score: Floats
    preferred: Floats


def direction_tuning(track: Track, spikes: SpikeTrains, n_bins: int = 60) -> tuple[Floats, Floats]:
    """Rate of every cell in every bin of head direction.

    Parameters
    ----------
    track : Track
        With heading; samples where it is unknown and their spikes do not count.
    spikes : SpikeTrains
        All cells.
    n_bins : int
        Equal bins from -pi to pi.

    Returns
    -------
    rates : ndarray
        float64, (n_bins, n_cells), Hz; NaN where the head never pointed.
    occupancy : ndarray
        float64, (n_bins,), s.

    Raises
    ------
    ValueError
        If the track has no heading.
    """
    if track.heading is None or not np.isfinite(track.heading).any():
        raise ValueError("the track has no heading: head direction needs two LEDs or a compass")
    known = np.isfinite(track.heading)
    turns = np.where(known, track.heading, 0.0) / (2 * np.pi) + 0.5
    # The remainder of a tiny negative turn is rounded to 1.
    bins = np.minimum((turns % 1 * n_bins).astype(int), n_bins - 1)
    occupancy, counts = binned_spikes(track, spikes, np.where(known, bins, -1), n_bins)
    with np.errstate(invalid="ignore"):
        return counts / occupancy[:, None], occupancy


def head_direction_scores(rates: ArrayLike) -> HeadDirectionScores:
    """Mean vectors of tuning curves.

    Rates, not spikes, are averaged, so that directions the animal preferred do not count more.

    Parameters
    ----------
    rates : array_like
        float, (n_bins, n), not negative, over equal bins from -pi to pi; NaN where unknown, which
        is left out.
    """
    rates = np.asarray(rates, np.float64)
    if rates.ndim != 2:
        raise ValueError(f"rates must be (n_bins, n), got the shape {rates.shape}")
    n_bins = len(rates)
    directions = (np.arange(n_bins) + 0.5) / n_bins * 2 * np.pi - np.pi
    known = np.nan_to_num(rates)
    total = known.sum(0)
    vector = np.exp(1j * directions) @ known
    fired = total > 0
    return HeadDirectionScores(
        np.where(fired, np.abs(vector) / np.where(fired, total, 1.0), np.nan),
        np.where(fired, np.angle(vector), np.nan),
    )


def led_heading(front: ArrayLike, back: ArrayLike) -> Floats:
    """Direction from one LED to another, (n,), rad; NaN where one was lost or both coincide.

    Parameters
    ----------
    front, back : array_like
        float, (n, 2). Where the LEDs sit across the head, the direction is off by a constant,
        which leaves scores as they are.
    """
    x, y = (np.asarray(front, np.float64) - np.asarray(back, np.float64)).T
    return np.where((x == 0) & (y == 0), np.nan, np.arctan2(y, x))
