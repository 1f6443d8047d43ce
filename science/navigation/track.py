"""What a session of a foraging animal yields: where it was, when which cell fired."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Track:
    """Tracked positions of one session.

    Attributes
    ----------
    t : float64, (n,)
        Times of the samples, s, strictly increasing; samples may be missing.
    positions : float64, (n, 2)
        x and y, metres; NaN where tracking was lost.
    heading : float64, (n,), or None
        Direction of the head, rad; NaN where unknown.

    Raises
    ------
    ValueError
        If the shapes do not fit or times do not increase.
    """

    t: Floats
    positions: Floats
    heading: Floats | None = None

    def __post_init__(self) -> None:
        for name in ("t", "positions", "heading"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, np.asarray(getattr(self, name), np.float64))
        n = self.t.size
        heading_shape = (n,) if self.heading is None else self.heading.shape
        if self.t.shape != (n,) or self.positions.shape != (n, 2) or heading_shape != (n,):
            raise ValueError(
                "a track is t (n,), positions (n, 2) and heading (n,), got "
                f"{self.t.shape}, {self.positions.shape} and {heading_shape}"
            )
        if n < 2 or not (np.diff(self.t) > 0).all():
            raise ValueError("the times of a track must be two or more, finite and increasing")

    @property
    def sample_s(self) -> float:
        """Seconds that a sample stands for: the median step."""
        return float(np.median(np.diff(self.t)))

    def nearest_sample(self, times: ArrayLike) -> NDArray[np.int64]:
        """Find the sample nearest to each time.

        Parameters
        ----------
        times : array_like
            float, (n,), s.

        Returns
        -------
        ndarray
            int64, (n,); -1 where the nearest one is farther than `sample_s`: in a gap of the
            tracking, before its start or after its end.
        """
        times = np.asarray(times, np.float64)
        after = np.clip(np.searchsorted(self.t, times), 1, len(self.t) - 1)
        nearest = after - (times - self.t[after - 1] < self.t[after] - times)
        return np.where(np.abs(self.t[nearest] - times) <= self.sample_s, nearest, -1)


@dataclass(frozen=True, eq=False)
class SpikeTrains:
    """Spikes of several cells in two flat arrays, so that all are counted at once.

    Attributes
    ----------
    times : float64, (n_spikes,)
        s, on the clock of the track.
    cells : int64, (n_spikes,)
        Which cell fired.
    n_cells : int
        Cells, silent ones included.
    """

    times: Floats
    cells: NDArray[np.int64]
    n_cells: int

    @classmethod
    def of(cls, trains: Sequence[ArrayLike]) -> Self:
        """Join the spike times of each cell.

        Raises
        ------
        ValueError
            If a train is not a vector of finite times.
        """
        arrays = [np.asarray(train, np.float64) for train in trains]
        for cell, train in enumerate(arrays):
            if train.ndim != 1 or not np.isfinite(train).all():
                raise ValueError(f"the spikes of cell {cell} are not a vector of finite times")
        counts = [len(train) for train in arrays]
        return cls(
            np.concatenate([*arrays, np.empty(0)]),
            np.repeat(np.arange(len(arrays)), counts),
            len(arrays),
        )


def binned_spikes(
    track: Track, spikes: SpikeTrains, sample_bins: ArrayLike, n_bins: int
) -> tuple[Floats, Floats]:
    """Count seconds and spikes in bins of whatever was sampled with the track.

    Parameters
    ----------
    track : Track
        When the samples were taken.
    spikes : SpikeTrains
        Every spike counts in the bin of the nearest sample.
    sample_bins : array_like
        int, (n_samples,), bin of each sample; -1 for none.
    n_bins : int
        Number of bins.

    Returns
    -------
    occupancy : ndarray
        float64, (n_bins,), s.
    counts : ndarray
        float64, (n_bins, n_cells), spikes.
    """
    sample_bins = np.asarray(sample_bins)
    occupancy = np.bincount(sample_bins[sample_bins >= 0], minlength=n_bins) * track.sample_s
    sample = track.nearest_sample(spikes.times)
    bin_of = np.where(sample < 0, -1, sample_bins[sample])
    counted = bin_of >= 0
    flat = bin_of[counted] * spikes.n_cells + spikes.cells[counted]
    counts = np.bincount(flat, minlength=n_bins * spikes.n_cells).astype(np.float64)
    return occupancy, counts.reshape(n_bins, spikes.n_cells)
