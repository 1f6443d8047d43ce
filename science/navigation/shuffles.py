"""Shuffle control of a cell's tuning: its spikes shifted in time against the track."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from science.blocks import blocks
from science.navigation.track import SpikeTrains, Track
from science.params import Params

Floats = NDArray[np.float64]

Score = Callable[[SpikeTrains], Floats]
"""Maps the spikes of any number of cells to scores (..., n_cells)."""

_VALUES_PER_TRAIN = 2048  # a map and its autocorrelogram


class ShuffleParams(Params):
    """How spikes are shuffled."""

    n_shuffles: int = Field(100, ge=1, le=100_000, description="of each cell")
    min_shift_s: float = Field(20.0, ge=0, description="least shift, either way round, s")
    seed: int = Field(0, ge=0)


@dataclass(frozen=True, eq=False)
class ShuffleTest:
    """Scores of cells beside those of their shuffled spikes.

    Attributes
    ----------
    observed : float64, (..., n_cells)
        Scores of the spikes as recorded.
    p : float64, (..., n_cells)
        ``(1 + #{shuffled >= observed}) / (1 + n)`` over the shuffles that have a score, n; NaN
        where the observed score is.
    percentile_95 : float64, (..., n_cells)
        Of the shuffled scores: what the observed one has to exceed; NaN where none has a score.
    shuffled : float64, (n_shuffles, ..., n_cells)
        NaN where a shuffle has no score.
    """

    observed: Floats
    p: Floats
    percentile_95: Floats
    shuffled: Floats


def shift_spikes(
    spikes: SpikeTrains, track: Track, n_shuffles: int, min_shift_s: float, rng: np.random.Generator
) -> SpikeTrains:
    """Shift each cell's spikes round the session by random times.

    What a cell's spikes have among themselves stays, only their relation to the track is lost
    (Langston et al. 2010).

    Parameters
    ----------
    spikes : SpikeTrains
        Those outside the track are left out.
    track : Track
        Says when the session starts and ends.
    n_shuffles : int
        Shifts of each cell.
    min_shift_s : float
        Shifts are uniform from here to the duration of the session less this.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    SpikeTrains
        Of ``n_shuffles * n_cells`` cells: shuffle s of cell c is number ``s * n_cells + c``.

    Raises
    ------
    ValueError
        If the session is not longer than twice `min_shift_s`.
    """
    start = track.t[0]
    duration = track.t[-1] + track.sample_s - start
    if duration <= 2 * min_shift_s:
        raise ValueError(
            f"a session of {duration:g} s is too short for shifts of at least {min_shift_s:g} s "
            "either way: lower min_shift_s"
        )
    shifts = rng.uniform(min_shift_s, duration - min_shift_s, (n_shuffles, spikes.n_cells))
    since = spikes.times - start
    inside = (since >= 0) & (since < duration)
    since, cells = since[inside], spikes.cells[inside]
    times = start + (since + shifts[:, cells]) % duration
    numbers = np.arange(n_shuffles)[:, None] * spikes.n_cells + cells
    return SpikeTrains(times.ravel(), numbers.ravel(), n_shuffles * spikes.n_cells)


def shuffle_test(
    score: Score, track: Track, spikes: SpikeTrains, params: ShuffleParams | None = None
) -> ShuffleTest:
    """Compare scores with those of spikes shifted in time.

    Parameters
    ----------
    score : callable
        Maps spikes of n cells to scores (..., n), for instance
        ``lambda s: grid_scores(rate_maps(track, s, arena).rates).score``. It is called with many
        shuffles of all cells at once.
    track : Track
        The session.
    spikes : SpikeTrains
        All cells.
    params : ShuffleParams, optional
        Number, least shift, seed.

    Raises
    ------
    ValueError
        If the session is too short.
    """
    params = params or ShuffleParams()
    rng = np.random.default_rng(params.seed)
    observed = np.asarray(score(spikes), np.float64)
    values = max(len(spikes.times), _VALUES_PER_TRAIN * spikes.n_cells)
    parts = []
    for block in blocks(params.n_shuffles, values):
        n = block.stop - block.start
        scores = score(shift_spikes(spikes, track, n, params.min_shift_s, rng))
        parts.append(np.moveaxis(scores.reshape(*observed.shape[:-1], n, -1), -2, 0))
    shuffled = np.concatenate(parts)
    return ShuffleTest(observed, _p_values(observed, shuffled), _percentile_95(shuffled), shuffled)


def _p_values(observed: Floats, shuffled: Floats) -> Floats:
    n = np.isfinite(shuffled).sum(0)
    p = (1 + (shuffled >= observed).sum(0)) / (1 + n)
    return np.where(np.isnan(observed), np.nan, p)


def _percentile_95(shuffled: Floats) -> Floats:
    """As numpy.nanpercentile, NaN without a warning where nothing is known."""
    nothing = np.isnan(shuffled).all(0)
    return np.where(nothing, np.nan, np.nanpercentile(np.where(nothing, 0, shuffled), 95, axis=0))
