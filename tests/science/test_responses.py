"""Trace sampling and spike counting against plain loops and exact truth (microns_vei 4.6, 15)."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from science.responses import (
    count_spikes,
    covered_trials,
    fill_gaps,
    hamming_window,
    trace_responses,
    volume_times,
)

nan = np.nan


# --- window


@pytest.mark.parametrize(
    ("duration", "dt"),
    [
        ("0.5", "0.1"),
        ("0.3", "0.1"),
        ("0.7", "0.1"),
        ("0.5", "0.16"),
        ("0.6", "0.2"),
        ("2", "0.05"),
    ],
)
def test_the_window_has_as_many_samples_as_exact_arithmetic_says(duration, dt):
    half = int(Decimal(duration) // Decimal(dt))
    window = hamming_window(float(duration), float(dt))
    k = np.arange(-half, half + 1)
    expected = 0.54 + 0.46 * np.cos(np.pi * k / half)
    np.testing.assert_allclose(window, expected / expected.sum(), atol=1e-15)


def test_a_clock_that_jitters_does_not_shorten_the_window():
    clock = np.arange(5000) / 10 + np.random.default_rng(0).normal(size=5000) * 1e-9
    assert len(hamming_window(0.5, np.median(np.diff(clock)))) == 11
    assert len(hamming_window(0.3, 0.1 + 1e-8)) == 7
    assert len(hamming_window(0.5, 0.10001)) == 9


def test_a_window_shorter_than_a_sample_changes_nothing():
    assert hamming_window(0.1, 0.11).tolist() == [1.0]


@pytest.mark.parametrize("wrong", [(0, 1), (1, 0), (-1, 1), (1, nan), (np.inf, 1)])
def test_a_window_needs_a_duration_and_an_interval(wrong):
    with pytest.raises(ValueError, match="positive duration and interval"):
        hamming_window(*wrong)


# --- gaps


def test_gaps_are_interpolated_the_ends_take_the_nearest_and_nothing_becomes_0():
    traces = np.array(
        [[nan, 1, nan], [2, 1, nan], [nan, 1, nan], [nan, 1, nan], [8, 1, nan], [nan, 1, nan]],
        np.float32,
    )
    before = traces.copy()
    filled = fill_gaps(traces)
    np.testing.assert_allclose(filled[:, 0], [2, 2, 4, 6, 8, 8], rtol=1e-6)
    assert (filled[:, 1] == 1).all() and (filled[:, 2] == 0).all()
    assert filled.dtype == np.float32
    np.testing.assert_array_equal(traces, before)


def test_a_straight_line_survives_any_gaps():
    rng = np.random.default_rng(0)
    line = np.arange(200.0)[:, None] * rng.normal(size=8) + rng.normal(size=8)
    gappy = np.where(rng.random(line.shape) < 0.6, nan, line)
    gappy[[0, -1]] = line[[0, -1]]
    np.testing.assert_allclose(fill_gaps(gappy), line, atol=1e-10)


def test_traces_without_gaps_are_not_copied():
    traces = np.ones((5, 2), np.float32)
    assert fill_gaps(traces) is traces


# --- clock


@pytest.mark.parametrize(("n_frames", "expected"), [(3, 3), (4, 4), (5, 4)])
def test_a_volume_has_the_time_of_its_first_depth(n_frames, expected):
    times = volume_times(np.arange(10.0), 3, n_frames)  # volumes at 0, 3, 6, 9
    assert times.tolist() == [0.0, 3.0, 6.0, 9.0][:expected]


@pytest.mark.parametrize(
    ("times", "n_depths", "n_frames", "message"),
    [
        (np.arange(10.0), 3, 6, "has 4 volumes of 3 depths.* have 6 samples"),
        (np.arange(10.0), 3, 2, "has 4 volumes of 3 depths.* have 2 samples"),
        ([0.0, 1.0, 1.0], 1, 3, "increase strictly; entry 2"),
        ([0.0, 2.0, 1.0, 3.0], 2, 2, "increase strictly; entry 2"),
        ([0.0, nan, 2.0], 1, 3, "finite; entry 1"),
        ([[0.0, 1.0]], 1, 2, "a row of at least two times"),
        ([0.0], 1, 1, "a row of at least two times"),
        ([0.0, 1.0], 0, 2, "at least one depth"),
    ],
)
def test_a_bad_frame_clock_is_refused(times, n_depths, n_frames, message):
    with pytest.raises(ValueError, match=message):
        volume_times(times, n_depths, n_frames)


# --- traces


def plain_responses(traces, frame_times, delays, sample_times, duration):
    """Microns_vei 4.6, unit by unit: filter the whole trace, then interpolate it."""
    half = int(duration // np.median(np.diff(frame_times)))
    window = np.hamming(2 * half + 1) / np.hamming(2 * half + 1).sum()
    columns = []
    for trace, delay in zip(traces.T.astype(float), delays, strict=True):
        smooth = np.convolve(trace, window, mode="same")
        columns.append(np.interp(sample_times, frame_times + delay, smooth))
    return np.stack(columns, axis=1)


@pytest.mark.parametrize(("fps", "duration"), [(6.3, 0.5), (30, 0.5), (10, 0.05), (8, 3.1)])
def test_responses_are_those_of_a_loop_over_units(fps, duration):
    rng = np.random.default_rng(0)
    n_frames, n_units = 900, 7
    frame_times = 100 + np.arange(n_frames) / fps + rng.normal(size=n_frames) * 0.005
    traces = rng.gamma(1, 1, (n_frames, n_units)).astype(np.float32)
    delays = rng.uniform(0, 0.4, n_units)
    first, last = frame_times[0] + delays.max(), frame_times[-1] + delays.min()
    # both ends, and the very frames of a unit
    samples = np.concatenate([[first, last], rng.uniform(first, last, 80)])
    samples = np.concatenate([samples, frame_times[5:9] + delays[2]])
    ours = trace_responses(traces, frame_times, delays, samples, duration)
    expected = plain_responses(traces, frame_times, delays, samples, duration)
    np.testing.assert_allclose(ours, expected, rtol=2e-5, atol=1e-6)
    assert ours.dtype == np.float32


def test_a_step_yields_the_hamming_weighted_fraction():
    """Microns_vei 15: sampled at onset + 0.30 s, the trace steps from 0 to 1 at onset."""
    dt, onset = 0.1, 50.0
    frame_times = np.arange(1000) * dt
    step = (frame_times > onset - dt / 2).astype(float)[:, None]
    window = 0.54 + 0.46 * np.cos(np.pi * np.arange(-5, 6) / 5)
    # of the frames from onset - 0.2 s to onset + 0.8 s, the first two come before the step
    expected = window[2:].sum() / window.sum()
    sampled = trace_responses(step, frame_times, [0.0], [onset + 0.05 + 0.5 / 2], 0.5)
    assert sampled[0, 0] == pytest.approx(expected, abs=1e-6)


def test_a_constant_yields_the_constant():
    frame_times = np.arange(1000) / 6.3
    samples = np.linspace(2, 150, 50)
    sampled = trace_responses(np.full((1000, 3), 2.5), frame_times, [0, 0.05, 0.1], samples, 0.5)
    np.testing.assert_allclose(sampled, 2.5, rtol=1e-6)


def test_a_delay_shifts_a_unit_in_time():
    frame_times = np.arange(1000) / 10
    delays = np.array([0.0, 0.02, 0.35])
    ramp = np.repeat(3 * frame_times[:, None], 3, axis=1)
    samples = np.linspace(5, 90, 40)
    sampled = trace_responses(ramp, frame_times, delays, samples, 0.5)
    np.testing.assert_allclose(sampled, 3 * (samples[:, None] - delays), rtol=1e-5)


def test_beyond_its_ends_a_trace_counts_as_zero():
    frame_times = np.arange(100) / 10
    sampled = trace_responses(np.ones((100, 1)), frame_times, [0.0], [0.0, 9.9], 0.5)
    window = hamming_window(0.5, 0.1)
    np.testing.assert_allclose(sampled[:, 0], window[:6].sum(), rtol=1e-6)


def test_a_window_may_be_longer_than_the_recording():
    traces = np.array([[1.0], [3.0]])
    sampled = trace_responses(traces, [0.0, 0.1], [0.0], [0.05], 0.5)
    window = hamming_window(0.5, 0.1)
    first, second = window[5] + 3 * window[4], window[4] + 3 * window[5]
    assert sampled[0, 0] == pytest.approx((first + second) / 2)


def test_no_trials_and_no_units_give_empty_responses():
    frame_times = np.arange(10.0)
    assert trace_responses(np.ones((10, 2)), frame_times, [0, 0], [], 2).shape == (0, 2)
    assert trace_responses(np.ones((10, 0)), frame_times, [], [4.0], 2).shape == (1, 0)


def test_a_gap_far_from_all_samples_does_no_harm_and_one_beside_a_sample_is_named():
    frame_times = np.arange(100) / 10
    traces = np.ones((100, 2))
    traces[20, 1] = nan
    assert trace_responses(traces, frame_times, [0, 0], [6.0], 0.5) == pytest.approx(1)
    with pytest.raises(ValueError, match="NaN or infinite values where trials are sampled"):
        trace_responses(traces, frame_times, [0, 0], [2.3], 0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"traces": np.ones((9, 2))}, r"\(10, 2\), not \(9, 2\)"),
        ({"traces": np.ones(10)}, r"\(10, 2\), not \(10,\)"),
        ({"delays": [0.0]}, r"\(10, 1\), not \(10, 2\)"),
        ({"frame_times": np.arange(10.0)[::-1]}, "increase strictly"),
        ({"sample_times": [4.0, 9.05]}, "1 trials are sampled outside"),
        ({"sample_times": [nan]}, "1 trials are sampled outside"),
        ({"duration": 0}, "positive duration"),
    ],
)
def test_traces_that_cannot_be_sampled_are_refused(change, message):
    good = {
        "traces": np.ones((10, 2)),
        "frame_times": np.arange(10.0),
        "delays": [0.0, 0.1],
        "sample_times": [4.0],
        "duration": 2.0,
    }
    trace_responses(**good)
    with pytest.raises(ValueError, match=message):
        trace_responses(**good | change)


def test_a_trial_is_covered_when_all_units_were_recorded_throughout():
    frame_times, delays = np.arange(11.0), np.array([0.0, 0.5])
    first = np.array([0.0, 0.4, 0.5, 3.0, 9.5, 9.5, nan, 5.0])
    last = np.array([1.0, 1.4, 1.5, 4.0, 10.0, 10.1, 6.0, nan])
    covered = covered_trials(first, last, frame_times, delays)
    assert covered.tolist() == [False, False, True, True, True, False, False, False]


@given(st.integers(0, 10_000))
def test_covered_samples_can_be_taken_to_the_last_bit(seed):
    rng = np.random.default_rng(seed)
    frame_times = 1e4 + np.cumsum(rng.uniform(0.05, 0.2, 20))
    delays = rng.uniform(-0.1, 0.3, 4)
    ends = np.array([(frame_times[0] + delays).max(), (frame_times[-1] + delays).min()])
    assert covered_trials(ends, ends, frame_times, delays).all()
    sampled = trace_responses(np.ones((20, 4)), frame_times, delays, ends, 0.01)
    np.testing.assert_allclose(sampled, 1, rtol=1e-6)


# --- spikes


def brute_force_counts(trains, starts, stops):
    return [
        [sum(start < spike <= stop for spike in train) for train in trains]
        for start, stop in zip(starts, stops, strict=True)
    ]


tick = st.integers(0, 40).map(lambda n: n / 8)  # exact, so that spikes fall on borders


@given(
    trains=st.lists(st.lists(tick, max_size=30).map(sorted), max_size=4),
    windows=st.lists(st.tuples(tick, tick).filter(lambda w: w[0] < w[1]), max_size=12),
)
def test_counts_are_those_of_brute_force_also_on_borders_and_in_overlaps(trains, windows):
    starts, stops = np.array(windows).reshape(-1, 2).T
    spikes = np.concatenate([[], *trains])
    counts = count_spikes(spikes, [len(train) for train in trains], starts, stops)
    assert counts.dtype == np.float32
    assert counts.shape == (len(windows), len(trains))
    assert counts.tolist() == brute_force_counts(trains, starts, stops)


def allensdk_counts(train, starts, stops):
    """How allensdk assigns spikes to presentations: the last edge before each spike."""
    edges = np.stack([starts, stops], axis=1).ravel()
    last_edge = np.searchsorted(edges, train) - 1
    shown = last_edge[last_edge % 2 == 0] // 2
    return np.bincount(shown, minlength=len(starts))


@given(seed=st.integers(0, 1000), touching=st.booleans())
def test_windows_that_do_not_overlap_are_counted_as_allensdk_does(seed, touching):
    rng = np.random.default_rng(seed)
    edges = np.unique(rng.integers(0, 64, 20)) / 8
    starts, stops = (edges[:-1], edges[1:]) if touching else (edges[:-1:2], edges[1::2])
    train = np.sort(rng.integers(0, 64, 50)) / 8
    ours = count_spikes(train, [50], starts[: len(stops)], stops)
    assert ours[:, 0].tolist() == allensdk_counts(train, starts[: len(stops)], stops).tolist()


def test_a_spike_on_a_border_belongs_to_the_window_that_it_ends():
    counts = count_spikes([1.0, 2.0, 3.0], [3], [1.0, 2.0], [2.0, 3.0])
    assert counts[:, 0].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([2.0, 1.0], [2], [0.0], [3.0]), r"unit 0 \(from 0\) are not in order"),
        (([1.0, 3.0, 2.0], [1, 2], [0.0], [3.0]), r"unit 1 \(from 0\) are not in order"),
        (([1.0, 2.0], [1, 2], [0.0], [3.0]), "counts of the 2 units add up to 3"),
        (([1.0, 2.0], [3, -1], [0.0], [3.0]), "counts of the 2 units"),
        (([1.0, nan], [2], [0.0], [3.0]), "spike times must be finite"),
        (([1.0], [1], [0.0], [0.0]), "a start and a later stop"),
        (([1.0], [1], [nan], [1.0]), "a start and a later stop"),
        (([1.0], [1], [0.0, 1.0], [1.0]), "a start and a later stop"),
    ],
)
def test_spikes_that_cannot_be_counted_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        count_spikes(*arguments)


def test_the_next_unit_may_begin_before_the_last_one_ends():
    assert count_spikes([5.0, 6.0, 1.0], [2, 1], [0.0], [7.0]).tolist() == [[2, 1]]
