"""From activity to one response per trial and unit (microns_vei 4.6, allen_mei 1).

Traces are low-passed and sampled at one moment of each trial; spikes are counted in a window.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, dia_array

Floats = NDArray[np.float64]


def hamming_window(duration: float, dt: float) -> Floats:
    """Return the normalised Hamming window of a low-pass filter (microns_vei 4.6.3).

    Parameters
    ----------
    duration : float
        Half width of the window, s.
    dt : float
        Sampling interval, s.

    Returns
    -------
    float64, (2 * floor(duration / dt) + 1,)
        Sums to 1; a single 1 when `duration` is shorter than `dt`.

    Raises
    ------
    ValueError
        If one of them is not positive and finite.

    Examples
    --------
    >>> hamming_window(0.5, 0.2).shape
    (5,)
    """
    if not (0 < duration < np.inf and 0 < dt < np.inf):
        raise ValueError(
            f"a window needs a positive duration and interval, not {duration} s and {dt} s"
        )
    # 0.3 / 0.1 is 2.9999999999999996, and clocks jitter: a whole number of samples is whole.
    half = int(np.floor(np.round(duration / dt, 6)))
    window = np.hamming(2 * half + 1)
    return window / window.sum()


def increasing(times: ArrayLike, name: str) -> Floats:
    """Check that times are a usable clock.

    Parameters
    ----------
    times : float, (n,)
    name : str
        What they are, for the message.

    Returns
    -------
    float64, (n,)
        The times.

    Raises
    ------
    ValueError
        If they are not one row of at least two finite, strictly increasing numbers.
    """
    times = np.asarray(times, np.float64)
    if times.ndim != 1 or len(times) < 2:
        raise ValueError(f"{name} must be a row of at least two times, not {times.shape}")
    if not np.isfinite(times).all():
        raise ValueError(f"{name} must be finite; entry {np.isfinite(times).argmin()} is not")
    falls = np.diff(times) <= 0
    if falls.any():
        at = falls.argmax() + 1
        raise ValueError(
            f"{name} must increase strictly; entry {at} does not: {times[at]} s comes after "
            f"{times[at - 1]} s"
        )
    return times


def fill_gaps(traces: NDArray[np.floating]) -> NDArray[np.floating]:
    """Interpolate missing samples along time (microns_vei 4.6.2).

    Parameters
    ----------
    traces : float, (n_frames, n_units)
        NaN where missing.

    Returns
    -------
    float, (n_frames, n_units)
        Linear between the neighbours of a gap, the nearest sample at the ends, 0 for a unit
        without samples. The input itself when nothing is missing, else a copy.
    """
    gappy = np.flatnonzero(np.isnan(traces).any(axis=0))
    if not len(gappy):
        return traces
    filled = traces.copy()
    frames = np.arange(len(traces))
    for unit in gappy:  # each has gaps of its own
        missing = np.isnan(traces[:, unit])
        known = frames[~missing]
        filled[missing, unit] = (
            np.interp(frames[missing], known, traces[known, unit]) if len(known) else 0
        )
    return filled


def volume_times(frame_times: ArrayLike, n_depths: int, n_frames: int) -> Floats:
    """Return the time of each sample of a trace from the clock of all depths (microns_vei 4.6.1).

    Parameters
    ----------
    frame_times : float, (n,)
        Times of the imaging frames, s, the depths of a volume one after another.
    n_depths : int
        Frames in a volume, >= 1.
    n_frames : int
        Samples of a trace.

    Returns
    -------
    float64, (n_frames,) or one less
        Time of the first frame of each volume, s. A recording may stop within a volume, so the
        two lengths may differ by 1; the shorter counts, and the traces are to be cut to it.

    Raises
    ------
    ValueError
        If the lengths differ by more, or the times are not finite and strictly increasing.
    """
    if n_depths < 1:
        raise ValueError(f"a volume has at least one depth, not {n_depths}")
    times = increasing(frame_times, "frame times")[::n_depths]
    if abs(len(times) - n_frames) > 1:
        raise ValueError(
            f"the frame clock has {len(times)} volumes of {n_depths} depths, but the traces have "
            f"{n_frames} samples: they may differ by at most 1"
        )
    return times[:n_frames]


def covered_trials(
    first: ArrayLike, last: ArrayLike, frame_times: ArrayLike, delays: ArrayLike
) -> NDArray[np.bool_]:
    """Tell which trials lie inside the recording of all units (microns_vei 4.6.6).

    Parameters
    ----------
    first, last : float, (n_trials,)
        From when to when the recording is needed, s; NaN where unknown.
    frame_times : float, (n_frames,)
        Times of the samples, s.
    delays : float, (n_units,)
        Delay of each unit, s: its times are ``frame_times + delay``.

    Returns
    -------
    bool, (n_trials,)
        False where `first` or `last` is NaN.
    """
    frame_times, delays = np.asarray(frame_times, np.float64), np.asarray(delays, np.float64)
    begin = frame_times[0] + delays.max(initial=-np.inf)
    end = frame_times[-1] + delays.min(initial=np.inf)
    return (np.asarray(first) >= begin) & (np.asarray(last) <= end)


def trace_responses(
    traces: ArrayLike,
    frame_times: ArrayLike,
    delays: ArrayLike,
    sample_times: ArrayLike,
    duration: float,
) -> NDArray[np.float32]:
    """Low-pass traces and sample them once per trial (microns_vei 4.6.2 to 4.6.7).

    The trace is convolved with `hamming_window` (zero beyond its ends) and linearly interpolated.
    Only the frames beside a sample are convolved.

    Parameters
    ----------
    traces : float, (n_frames, n_units)
        Without gaps where they are sampled, see `fill_gaps`.
    frame_times : float, (n_frames,)
        Times of the samples, s, see `volume_times`.
    delays : float, (n_units,)
        Delay of each unit, s: its times are ``frame_times + delay``.
    sample_times : float, (n_trials,)
        Usually onset + offset + duration / 2, s, of trials that are covered, see
        `covered_trials`.
    duration : float
        Half width of the window, s.

    Returns
    -------
    float32, (n_trials, n_units)
        In the units of `traces`; finite.

    Raises
    ------
    ValueError
        If shapes do not fit, the clock does not increase, a sample lies outside the recording,
        or a trace is not finite where it is sampled.
    """
    traces = np.asarray(traces, np.float32)
    frame_times = increasing(frame_times, "frame times")
    delays, sample_times = np.asarray(delays, np.float64), np.asarray(sample_times, np.float64)
    if traces.shape != (len(frame_times), len(delays)):
        raise ValueError(
            f"traces must be (n_frames, n_units) = {(len(frame_times), len(delays))}, "
            f"not {traces.shape}"
        )
    outside = ~covered_trials(sample_times, sample_times, frame_times, delays)
    if outside.any():
        raise ValueError(
            f"{outside.sum()} trials are sampled outside the recording: leave them out first"
        )

    times = sample_times[:, None] - delays
    left = frame_times.searchsorted(times, side="right").clip(1, len(frame_times) - 1) - 1
    weight = (times - frame_times[left]) / (frame_times[left + 1] - frame_times[left])

    needed = np.zeros(len(frame_times), bool)
    needed[left] = needed[left + 1] = True
    window = hamming_window(duration, float(np.median(np.diff(frame_times))))
    smooth = _convolution(window, len(frame_times))[needed] @ traces
    row = np.cumsum(needed)[left] - 1
    before = np.take_along_axis(smooth, row, axis=0)
    after = np.take_along_axis(smooth, row + 1, axis=0)
    responses = before + weight.astype(np.float32) * (after - before)
    if not np.isfinite(responses).all():
        raise ValueError("traces hold NaN or infinite values where trials are sampled")
    return responses


def _convolution(window: Floats, n: int) -> csr_array:
    """Return the banded matrix of a "same" convolution with a symmetric window, (n, n)."""
    half = len(window) // 2
    bands = np.broadcast_to(window[:, None].astype(np.float32), (len(window), n))
    return dia_array((bands, np.arange(-half, half + 1)), shape=(n, n)).tocsr()


def count_spikes(
    spike_times: ArrayLike, spike_counts: ArrayLike, starts: ArrayLike, stops: ArrayLike
) -> NDArray[np.float32]:
    """Count the spikes of each unit in each trial's window, (start, stop].

    A spike at the start of a window does not count, one at its stop does. This is what
    ``EcephysSession.presentationwise_spike_times`` of allensdk 2.16.2 does: its
    ``searchsorted(edges, spike)`` of side left gives the number of edges before the spike.

    Parameters
    ----------
    spike_times : float, (n_spikes,)
        s, one unit after another, ascending within each.
    spike_counts : int, (n_units,)
        Spikes of each unit.
    starts, stops : float, (n_trials,)
        Windows, s, in any order; they may overlap, and then share spikes.

    Returns
    -------
    float32, (n_trials, n_units)
        Whole numbers.

    Raises
    ------
    ValueError
        If spikes are not finite or not sorted, the counts do not add up, or a window does not
        end after it starts.

    Examples
    --------
    The first unit has three spikes, the second one.

    >>> count_spikes([0.1, 0.2, 0.3, 0.2], [3, 1], starts=[0.0, 0.25], stops=[0.25, 0.5])
    array([[2., 1.],
           [1., 0.]], dtype=float32)
    """
    spikes, counts = np.asarray(spike_times, np.float64), np.asarray(spike_counts, np.int64)
    starts, stops = np.asarray(starts, np.float64), np.asarray(stops, np.float64)
    if spikes.ndim != 1 or (counts < 0).any() or counts.sum() != len(spikes):
        raise ValueError(
            f"there are {spikes.shape} spike times, but the counts of the {len(counts)} units add "
            f"up to {counts.sum()}"
        )
    if not np.isfinite(spikes).all():
        raise ValueError("spike times must be finite")
    if starts.shape != stops.shape or not (stops > starts).all():
        raise ValueError("each trial needs a start and a later stop")

    # Searching a train for sorted edges, shared ones once, stays in the cache.
    edges, index = np.unique(np.concatenate([starts, stops]), return_inverse=True)
    start, stop = index[: len(starts)], index[len(starts) :]
    responses = np.empty((len(starts), len(counts)), np.float32)
    last = np.cumsum(counts)
    for unit, (begin, end) in enumerate(zip(last - counts, last, strict=True)):  # ragged
        train = spikes[begin:end]
        if (train[1:] < train[:-1]).any():
            raise ValueError(f"the spike times of unit {unit} (from 0) are not in order")
        so_far = train.searchsorted(edges, side="right")
        responses[:, unit] = so_far[stop] - so_far[start]
    return responses
