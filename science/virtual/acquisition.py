"""A session of a virtual mouse as a laboratory stores it: in time, on two clocks, with gaps."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from science.virtual.behavior import missing_runs, pupil_track, running_velocity
from science.virtual.params import VOLUME_UM, AcquisitionParams

if TYPE_CHECKING:
    from science.virtual.session import Trials

_REFRESH = 1 / 60  # s, of the screen
_JITTER = 0.1  # of cameras and treadmills, of the interval


@dataclass(frozen=True, eq=False)
class Acquisition:
    """The files of one session (microns_vei 3), and the truth behind them; times in seconds.

    Attributes
    ----------
    flip_times : float64 (n_trials, 3)
        Stimulus clock: blank begins, image appears, image vanishes. A malformed trial has lost one
        of them: two remain in order, then NaN (microns_vei 4.1).
    frame_times : float64 (n_volumes * n_depths,)
        Stimulus clock: when the microscope began each plane, all planes interleaved, so that
        every n_depths-th entry begins a volume.
    behavior_frame_times : float64 (n_volumes * n_depths,)
        The same on the behaviour clock: ``clock_offset + (1 + clock_drift) * frame_times``.
    field_depth : float64 (n_depths,)
        Depth of each plane below the pia, micrometres.
    field : int16 (n_units,)
        Plane of each unit, from 1: the nearest.
    delay : float64 (n_units,)
        From the beginning of a volume until the laser visits the unit, 0 to 1 / frame_rate.
    traces : float32 (n_volumes, n_units)
        Deconvolved activity: the unit's spikes nearer to this visit of the laser than to any
        other, that is, within half a volume before or after it. NaN where a plane was lost.
    spike_times : float64 (n_spikes,)
        The same spikes on the stimulus clock, unit after unit, ascending within a unit.
    spike_counts : int64 (n_units,)
        How many of them are of each unit.
    pupil : float64 (n_video_frames, 4)
        Time on the behaviour clock, radius, x and y in video pixels; NaN in blinks.
    treadmill : float64 (n_readings, 2)
        Time on the behaviour clock, velocity in cm/s, negative backwards, NaN where missing.
    onset : float64 (n_trials,)
        Truth: when the image appeared, of malformed trials too.
    trials : Trials
        Truth: arousal, gain, gaze, expected and evoked spikes of every trial.
    """

    flip_times: np.ndarray
    frame_times: np.ndarray
    behavior_frame_times: np.ndarray
    field_depth: np.ndarray
    field: np.ndarray
    delay: np.ndarray
    traces: np.ndarray
    spike_times: np.ndarray
    spike_counts: np.ndarray
    pupil: np.ndarray
    treadmill: np.ndarray
    onset: np.ndarray
    trials: "Trials"


def acquire(
    trials: "Trials", positions: np.ndarray, params: AcquisitionParams, rng: np.random.Generator
) -> Acquisition:
    """See `Session.acquire`."""
    if len(trials.counts) < max(params.n_malformed, 1):
        raise ValueError(
            f"{len(trials.counts)} trials, {params.n_malformed} of them malformed: "
            "show more images or ask for fewer malformed trials"
        )
    timing_rng, malformed_rng, spike_rng, imaging_rng, pupil_rng, treadmill_rng = rng.spawn(6)

    flips = _flips(len(trials.counts), params, timing_rng)
    onset = flips[:, 1]
    end = flips[-1, 2] + params.lead
    times, unit = _spikes(trials.counts, onset, end, params, spike_rng)
    frames = np.arange(_n_volumes(end, params) * params.n_depths)
    frame_times = frames / (params.frame_rate * params.n_depths)
    field, delay = _scan_path(positions, params)
    traces = _traces(times, unit, delay, end, params)
    traces[_lost(len(traces), params, imaging_rng)[:, field]] = np.nan

    def arousal(t: np.ndarray) -> np.ndarray:
        middle = onset + params.latency + params.presentation_time / 2
        return np.interp(t, middle, trials.arousal)

    video = _sample_times(end, params.pupil_rate, pupil_rng)
    trial = np.searchsorted(flips[:, :2].mean(1), video) - 1
    pupil = pupil_track(arousal(video), trials.gaze[np.maximum(trial, 0)], params, pupil_rng)
    readings = _sample_times(end, params.treadmill_rate, treadmill_rng)
    velocity = running_velocity(arousal(readings), params, treadmill_rng)
    low, high = VOLUME_UM[2]
    return Acquisition(
        flip_times=_with_malformed(flips, params.n_malformed, malformed_rng),
        frame_times=frame_times,
        behavior_frame_times=_behavior_clock(frame_times, params),
        field_depth=low + (high - low) * (np.arange(params.n_depths) + 0.5) / params.n_depths,
        field=(field + 1).astype(np.int16),
        delay=delay,
        traces=traces,
        spike_times=times,
        spike_counts=np.bincount(unit, minlength=len(delay)),
        pupil=np.column_stack([_behavior_clock(video, params), pupil]),
        treadmill=np.column_stack([_behavior_clock(readings, params), velocity]),
        onset=onset,
        trials=trials,
    )


def _flips(n_trials: int, params: AcquisitionParams, rng: np.random.Generator) -> np.ndarray:
    """Blank, onset and end of every trial, (n_trials, 3); the next begins a refresh later."""
    blank = rng.uniform(params.blank_low, params.blank_high, n_trials)
    end = params.lead + np.cumsum(blank + params.presentation_time + _REFRESH) - _REFRESH
    onset = end - params.presentation_time
    return np.column_stack([onset - blank, onset, end])


def _with_malformed(flips: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Lose one flip of trial 0 and of n - 1 others."""
    malformed = np.append(0, 1 + rng.permutation(len(flips) - 1))[:n]
    recorded = flips.copy()
    recorded[malformed, rng.integers(3, size=n)] = np.nan
    return np.sort(recorded, axis=1)  # NaN goes last


def _spikes(
    counts: np.ndarray,
    onset: np.ndarray,
    end: float,
    params: AcquisitionParams,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Evoked and spontaneous spikes: times and units (n_spikes,), by unit, then time."""
    evoked_rng, spontaneous_rng = rng.spawn(2)
    n_trials, n_units = counts.shape
    window = onset + params.latency
    by_unit = counts.T.ravel()
    evoked = np.repeat(np.tile(window, n_units), by_unit)
    evoked += params.presentation_time * evoked_rng.random(len(evoked))

    begins = np.append(0.5 / params.frame_rate, window + params.presentation_time)
    elapsed = np.append(0, np.cumsum(np.append(window, end) - begins))
    n_spontaneous = spontaneous_rng.poisson(params.spontaneous_rate * elapsed[-1], n_units)
    quiet = spontaneous_rng.uniform(0, elapsed[-1], n_spontaneous.sum())
    gap = np.searchsorted(elapsed, quiet, side="right") - 1
    spontaneous = begins[gap] + quiet - elapsed[gap]

    times = np.concatenate([evoked, spontaneous])
    units = np.arange(n_units)
    unit = np.concatenate(
        [np.repeat(np.repeat(units, n_trials), by_unit), np.repeat(units, n_spontaneous)]
    )
    order = np.lexsort((times, unit))
    return times[order], unit[order]


def _scan_path(positions: np.ndarray, params: AcquisitionParams) -> tuple[np.ndarray, np.ndarray]:
    """Plane (from 0) and delay of every unit: planes from the surface down, lines along y."""
    low, high = VOLUME_UM[:, 0], VOLUME_UM[:, 1]
    _, line, depth = np.clip((positions - low) / (high - low), 0, 1).T
    field = np.minimum((depth * params.n_depths).astype(int), params.n_depths - 1)
    return field, (field + line) / (params.n_depths * params.frame_rate)


def _n_volumes(end: float, params: AcquisitionParams) -> int:
    """As many as make the visits of every unit cover half a volume to `end`."""
    return int(np.floor(end * params.frame_rate + 0.5)) + 1


def _traces(
    times: np.ndarray, unit: np.ndarray, delay: np.ndarray, end: float, params: AcquisitionParams
) -> np.ndarray:
    """Spikes per visit of the laser, float32 (n_volumes, n_units)."""
    shape = (_n_volumes(end, params), len(delay))
    volume = np.floor((times - delay[unit]) * params.frame_rate + 0.5).astype(int)
    cell = np.ravel_multi_index((volume, unit), shape)
    return np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float32)


def _lost(n_volumes: int, params: AcquisitionParams, rng: np.random.Generator) -> np.ndarray:
    """Frames that are lost, bool (n_volumes, n_depths): single ones, each plane its own."""
    return np.column_stack(
        [missing_runs(n_volumes, params.missing_frames, 1, r) for r in rng.spawn(params.n_depths)]
    )


def _sample_times(end: float, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Draw times from 0 to `end` at nearly regular intervals, ascending."""
    n = int(end * rate)
    return (np.arange(n) + 0.5 + rng.uniform(-_JITTER, _JITTER, n)) / rate


def _behavior_clock(t: np.ndarray, params: AcquisitionParams) -> np.ndarray:
    return params.clock_offset + (1 + params.clock_drift) * t
