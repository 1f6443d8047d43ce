"""How rats move, real or simulated: statistics of tracks, and the simulation that fits one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from science.navigation.motion import MotionParams
from science.navigation.rectangle import Rectangle

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TrackStatistics:
    """Statistics of positions sampled at equal intervals dt.

    Attributes
    ----------
    mean_speed, median_speed : float
        Metres per second, of straight lines between samples.
    turn_sd : float
        Root mean square turn from one step to the next, rad.
    coherence : float
        Mean cosine of those turns, weighted by the lengths of both steps, in [-1, 1]: 1 for
        straight lines, 0 where a step says nothing of the next. Jitter of a resting rat, whose
        turns mean nothing, hardly counts.
    """

    mean_speed: float
    median_speed: float
    turn_sd: float
    coherence: float


def track_statistics(positions: ArrayLike, dt: float) -> TrackStatistics:
    """Speeds and turns of one or more tracks.

    Parameters
    ----------
    positions : array_like
        float, (..., n_samples, 2), metres, at least three samples.
    dt : float
        Seconds between samples.

    Raises
    ------
    ValueError
        If there are fewer than three samples, any is not finite, or nothing moves.
    """
    positions = np.asarray(positions, np.float64)
    if positions.ndim < 2 or positions.shape[-1] != 2 or positions.shape[-2] < 3:
        raise ValueError(f"a track is (n_samples, 2), three samples or more, not {positions.shape}")
    if not np.isfinite(positions).all():
        raise ValueError("a track must be finite: cut it at the gaps, or interpolate")
    steps = np.diff(positions, axis=-2)
    lengths = np.hypot(steps[..., 0], steps[..., 1])
    before, after = steps[..., :-1, :], steps[..., 1:, :]
    weights = lengths[..., :-1] * lengths[..., 1:]
    if not weights.any():
        raise ValueError("the rat never moves in two steps one after the other: nothing to measure")
    along = (before * after).sum(-1)
    across = before[..., 0] * after[..., 1] - before[..., 1] * after[..., 0]
    return TrackStatistics(
        mean_speed=float(lengths.mean() / dt),
        median_speed=float(np.median(lengths) / dt),
        turn_sd=float(np.sqrt(np.square(np.arctan2(across, along)[weights > 0]).mean())),
        coherence=float(along.sum() / weights.sum()),
    )


def near_wall(positions: ArrayLike, arena: Rectangle, border: float) -> float:
    """Fraction of the samples closer to a wall than a border, or beyond the wall.

    Parameters
    ----------
    positions : array_like
        float, (..., 2), metres.
    arena : Rectangle
        The walls.
    border : float
        Metres; 0 counts what is outside.
    """
    positions = np.asarray(positions, np.float64)
    low, high = arena.corners
    return float((np.minimum(positions - low, high - positions).min(-1) < border).mean())


def motion_of_track(times: ArrayLike, positions: ArrayLike, dt: float = 0.1) -> MotionParams:
    """Parameters of a simulated rat that is as fast as a real one and turns as much.

    The mean speed gives the scale of the speeds; the coherence of successive steps gives the
    turning rate, as turns of standard deviation a have a mean cosine of ``exp(-a^2 / 2)``. What
    happens at walls is not fitted.

    Parameters
    ----------
    times : array_like
        float, (n_samples,), seconds, increasing; gaps are bridged by straight lines.
    positions : array_like
        float, (n_samples, 2), metres.
    dt : float
        Seconds per step of the simulation, at which the track is read. Shorter steps measure the
        jitter of the tracking: real tracks need about 0.1 s.

    Returns
    -------
    MotionParams
        Border and slow-down are the defaults.

    Raises
    ------
    ValueError
        If times and positions do not fit, the track is shorter than three steps or not finite,
        nothing moves, or the headings forget themselves within a step.
    """
    times, positions = np.asarray(times, np.float64), np.asarray(positions, np.float64)
    if times.ndim != 1 or positions.shape != (len(times), 2):
        raise ValueError(
            "times must be (n_samples,) and positions (n_samples, 2), got "
            f"{times.shape} and {positions.shape}"
        )
    if not (np.diff(times) > 0).all():
        raise ValueError("the times of a track must increase")
    grid = np.arange(times[0], times[-1], dt)
    read = np.stack([np.interp(grid, times, values) for values in positions.T], axis=-1)
    measured = track_statistics(read, dt)
    if measured.coherence <= 0:
        raise ValueError(
            f"the rat's heading does not outlast a step of {dt:g} s: take shorter steps"
        )
    return MotionParams(
        dt=dt,
        turn_sd=np.sqrt(-2 * np.log(min(measured.coherence, 1.0))) / dt,
        speed_scale=measured.mean_speed / np.sqrt(np.pi / 2),
    )
