"""Pupil and running at the moment a trial's response is sampled (microns_vei 4.7, 4.8)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from science.responses import hamming_window, increasing

Floats = NDArray[np.float64]

INVALID = -1.0


@dataclass(frozen=True)
class EyeSamples:
    """The pupil in n trials; every value is -1 where a trial is not valid.

    Attributes
    ----------
    radius : float64, (n,)
        px.
    radius_change : float64, (n,)
        px / s.
    center : float64, (n, 2)
        x, y of the pupil's centre, px.
    valid : bool, (n,)
        The pupil was detected all around the sample.
    """

    radius: Floats
    radius_change: Floats
    center: Floats
    valid: NDArray[np.bool_]


@dataclass(frozen=True)
class TreadmillSamples:
    """Running in n trials.

    Attributes
    ----------
    speed : float64, (n,)
        Absolute velocity, in the track's units (cm / s); -1 where not valid.
    valid : bool, (n,)
        The treadmill was read all around the sample.
    """

    speed: Floats
    valid: NDArray[np.bool_]


def fill_short_gaps(values: ArrayLike, longest: int = 2) -> Floats:
    """Interpolate short runs of missing samples and leave long ones (microns_vei 4.7).

    Parameters
    ----------
    values : float, (n,) or (n, k)
        NaN where missing; each column on its own.
    longest : int
        Longest run that is filled, samples.

    Returns
    -------
    float64, the shape of `values`
        Longer runs, and runs at either end, are NaN from start to end.
    """
    values = np.asarray(values, np.float64)
    known = ~np.isnan(values)
    sample = np.arange(len(values)).reshape(-1, *[1] * (values.ndim - 1))
    before = np.maximum.accumulate(np.where(known, sample, -1))
    after = np.minimum.accumulate(np.where(known, sample, len(values))[::-1])[::-1]
    short = ~known & (before >= 0) & (after < len(values)) & (after - before <= longest + 1)
    left, right = (
        np.take_along_axis(values, at.clip(0, len(values) - 1), axis=0) for at in (before, after)
    )
    step = (sample - before) / np.where(short, after - before, 1)
    return np.where(short, left + step * (right - left), values)


def to_other_clock(times: ArrayLike, from_clock: ArrayLike, to_clock: ArrayLike) -> Floats:
    """Translate times by the frames that two clocks have both seen (microns_vei 4.7).

    Parameters
    ----------
    times : float, any shape
        On the first clock, s.
    from_clock, to_clock : float, (n_frames,)
        Times of the same frames on both clocks, s; one may have a last frame more.

    Returns
    -------
    float64, the shape of `times`
        On the second clock, s; linear between frames, constant before the first and after the
        last, NaN for NaN.

    Raises
    ------
    ValueError
        If the numbers of frames differ by more than 1, or a clock does not increase.
    """
    from_clock, to_clock = increasing(from_clock, "from_clock"), increasing(to_clock, "to_clock")
    n = min(len(from_clock), len(to_clock))
    if max(len(from_clock), len(to_clock)) > n + 1:
        raise ValueError(
            f"the clocks have {len(from_clock)} and {len(to_clock)} frames: they may differ by at "
            "most 1"
        )
    return np.interp(times, from_clock[:n], to_clock[:n])


def sample_eye(track: ArrayLike, sample_times: ArrayLike, duration: float) -> EyeSamples:
    """Sample the smoothed pupil once per trial (microns_vei 4.7).

    Gaps of one or two frames are filled. A longer one, or an end of the track, makes every sample
    invalid whose window reaches it. The derivative is that of the Hamming-smoothed trace, whose
    scale the original left out: a ramp of slope s gives s.

    Parameters
    ----------
    track : float, (n, 4)
        Columns t (s, evenly sampled), radius, x, y (px); NaN where the pupil was not detected.
    sample_times : float, (n_trials,)
        On the clock of the track, s.
    duration : float
        Half width of the smoothing window, s.

    Returns
    -------
    EyeSamples

    Raises
    ------
    ValueError
        If the track has another shape, its time does not increase, or it holds infinite values.
    """
    track = _checked(track, "pupil", ("t", "radius", "x", "y"))
    t, (radius, x, y) = track[:, 0], fill_short_gaps(track[:, 1:]).T
    dt = float(np.median(np.diff(t)))
    smooth = hamming_window(duration, dt)
    slope = _derivative(len(smooth) // 2, dt)
    filters = ((radius, smooth), (radius, slope), (x, smooth), (y, smooth))
    samples = [_sample(t, values, kernel, sample_times) for values, kernel in filters]
    return finished_eye(np.stack(samples, axis=1))


def sample_treadmill(
    track: ArrayLike, sample_times: ArrayLike, duration: float
) -> TreadmillSamples:
    """Sample the running speed once per trial (microns_vei 4.8).

    The absolute value is taken after smoothing. A gap, or an end of the track, makes every sample
    invalid whose window reaches it.

    Parameters
    ----------
    track : float, (n, 2)
        Columns t (s, evenly sampled), velocity; NaN where missing.
    sample_times, duration : float, (n_trials,) and float
        As in `sample_eye`.

    Returns
    -------
    TreadmillSamples

    Raises
    ------
    ValueError
        As in `sample_eye`.
    """
    t, velocity = _checked(track, "treadmill", ("t", "velocity")).T
    smooth = hamming_window(duration, float(np.median(np.diff(t))))
    return finished_speed(_sample(t, velocity, smooth, sample_times))


def finished_eye(samples: ArrayLike) -> EyeSamples:
    """Take over the pupil as others have sampled it.

    Parameters
    ----------
    samples : float, (n, 4)
        Columns radius, its change, x, y of each trial; not finite where not valid.

    Returns
    -------
    EyeSamples

    Raises
    ------
    ValueError
        If there are other than four columns.
    """
    samples = np.array(samples, np.float64)
    if samples.ndim != 2 or samples.shape[1] != 4:
        raise ValueError(f"the pupil of trials must be (n, 4), not {samples.shape}")
    valid = np.isfinite(samples).all(axis=1)
    samples[~valid] = INVALID
    return EyeSamples(samples[:, 0], samples[:, 1], samples[:, 2:], valid)


def finished_speed(speed: ArrayLike) -> TreadmillSamples:
    """Take over running as others have sampled it.

    Parameters
    ----------
    speed : float, (n,)
        Velocity or speed of each trial; not finite where not valid.

    Returns
    -------
    TreadmillSamples
    """
    speed = np.asarray(speed, np.float64)
    valid = np.isfinite(speed)
    return TreadmillSamples(np.where(valid, np.abs(speed), INVALID), valid)


def _checked(track: ArrayLike, name: str, columns: tuple[str, ...]) -> Floats:
    """Return the track if it has these columns, the first of them an increasing time."""
    track = np.asarray(track, np.float64)
    if track.ndim != 2 or track.shape[1] != len(columns):
        raise ValueError(
            f"a {name} track must be (n, {len(columns)}) with the columns {', '.join(columns)}, "
            f"not {track.shape}"
        )
    increasing(track[:, 0], f"column t of the {name} track")
    for column, values in zip(columns, track.T, strict=True):
        if np.isinf(values).any():
            raise ValueError(f"column {column} of the {name} track holds infinite values")
    return track


def _derivative(half: int, dt: float) -> Floats:
    """Kernel of the slope per second: the derivative of a Hamming window of this half width."""
    if half < 2:  # there the sine is 0 at every sample: central difference
        return np.array([1, 0, -1]) / (2 * dt)
    k = np.arange(-half, half + 1)
    sine = np.sin(np.pi * k / half)
    return -sine / (dt * (sine @ k))


def _sample(t: Floats, values: Floats, kernel: Floats, sample_times: ArrayLike) -> Floats:
    """Filter and linearly interpolate; NaN where the kernel meets a NaN or an end."""
    padded = np.pad(values, len(kernel) // 2, constant_values=np.nan)
    filtered = np.convolve(padded, kernel, mode="valid")
    return np.interp(sample_times, t, filtered, left=np.nan, right=np.nan)
