"""Pupil and treadmill against plain loops and known tracks (microns_vei 4.7, 4.8)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from science.behavior import (
    fill_short_gaps,
    finished_eye,
    finished_speed,
    sample_eye,
    sample_treadmill,
    to_other_clock,
)

nan = np.nan
FPS = 20


def filled_plainly(values, longest):
    """Fill runs of missing samples one by one."""
    filled, i = list(values), 0
    while i < len(values):
        if not np.isnan(values[i]):
            i += 1
            continue
        end = i
        while end < len(values) and np.isnan(values[end]):
            end += 1
        if i > 0 and end < len(values) and end - i <= longest:
            for at in range(i, end):
                share = (at - i + 1) / (end - i + 1)
                filled[at] = (1 - share) * values[i - 1] + share * values[end]
        i = end
    return filled


@given(
    values=st.lists(st.floats(-5, 5) | st.just(nan), min_size=1, max_size=30),
    longest=st.integers(0, 4),
)
def test_gaps_are_filled_as_one_by_one(values, longest):
    expected = filled_plainly(values, longest)
    np.testing.assert_allclose(fill_short_gaps(values, longest), expected, atol=1e-12)
    np.testing.assert_allclose(
        fill_short_gaps(np.stack([values, values[::-1]], axis=1), longest)[:, 0],
        expected,
        atol=1e-12,
    )


def test_runs_of_one_and_two_are_filled_and_runs_of_three_stay():
    values = [1, nan, 3, nan, nan, 6, nan, nan, nan, 10]
    expected = [1, 2, 3, 4, 5, 6, nan, nan, nan, 10]
    np.testing.assert_allclose(fill_short_gaps(values), expected)


def test_times_move_to_the_other_clock():
    stimulus = np.array([0.0, 1.0, 2.0, 4.0])
    behavior = 100 + 1.01 * stimulus**1.5
    middle = (behavior[2] + behavior[3]) / 2
    times = [-5, 0, 1, 3, 4, 9, nan]
    expected = [behavior[0], behavior[0], behavior[1], middle, behavior[3], behavior[3], nan]
    np.testing.assert_allclose(to_other_clock(times, stimulus, behavior), expected)
    back = to_other_clock(to_other_clock([0.3, 3.7], stimulus, behavior), behavior, stimulus)
    np.testing.assert_allclose(back, [0.3, 3.7])


def test_a_clock_may_have_one_frame_more_but_not_two():
    clock = np.arange(10.0)
    assert to_other_clock(9.0, clock, clock[:9] + 5) == 13
    assert to_other_clock(9.0, clock[:9], clock + 5) == 13
    with pytest.raises(ValueError, match="have 10 and 8 frames"):
        to_other_clock(1.0, clock, clock[:8])
    with pytest.raises(ValueError, match="to_clock must increase strictly; entry 1"):
        to_other_clock(1.0, clock, clock[::-1])


# --- pupil


def eye_track(n=400, seed=0):
    t = 50 + np.arange(n) / FPS
    rng = np.random.default_rng(seed)
    return np.column_stack([t, np.array([10, 80, 60]) + rng.normal(size=(n, 3))])


def plain_filtered(values, duration, derivative=False):
    """Weighted sums of the neighbours, sample by sample; NaN beyond the ends."""
    half = round(duration * FPS)
    k = np.arange(-half, half + 1)
    weights = 0.54 + 0.46 * np.cos(np.pi * k / half)
    weights /= weights.sum()
    if derivative:
        weights = np.sin(np.pi * k / half)
        weights /= (weights * k / FPS).sum()
    out = np.full(len(values), nan)
    for i in range(half, len(values) - half):
        out[i] = (weights * values[i - half : i + half + 1]).sum()
    return out


def test_samples_are_those_of_a_loop_over_frames():
    track = eye_track()
    at = np.random.default_rng(1).uniform(51, 69, 30)
    eye = sample_eye(track, at, 0.5)
    assert eye.valid.all()
    t, radius = track[:, 0], track[:, 1]
    np.testing.assert_allclose(eye.radius, np.interp(at, t, plain_filtered(radius, 0.5)))
    change = np.interp(at, t, plain_filtered(radius, 0.5, derivative=True))
    np.testing.assert_allclose(eye.radius_change, change, atol=1e-10)
    for axis in range(2):
        center = np.interp(at, t, plain_filtered(track[:, 2 + axis], 0.5))
        np.testing.assert_allclose(eye.center[:, axis], center)


@pytest.mark.parametrize("duration", [0.01, 0.05, 0.1, 0.5, 2.0])
def test_a_ramp_changes_by_its_slope_per_second(duration):
    track = eye_track()
    track[:, 1] = 7 - 1.7 * track[:, 0]
    at = np.linspace(53, 67, 20)
    eye = sample_eye(track, at, duration)
    np.testing.assert_allclose(eye.radius_change, -1.7)
    np.testing.assert_allclose(eye.radius, 7 - 1.7 * at)


def test_a_slow_oscillation_has_its_derivative():
    track = eye_track()
    omega = 2 * np.pi / 8
    track[:, 1] = 10 + np.sin(omega * track[:, 0])
    at = np.linspace(51, 69, 50)
    eye = sample_eye(track, at, 0.25)
    np.testing.assert_allclose(eye.radius_change, omega * np.cos(omega * at), atol=0.02 * omega)


def test_a_constant_pupil_does_not_change():
    track = eye_track()
    track[:, 1:] = [12.0, 80.0, 60.0]
    eye = sample_eye(track, [60.0], 0.5)
    np.testing.assert_allclose([eye.radius[0], *eye.center[0]], [12, 80, 60])
    assert eye.radius_change[0] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("column", [1, 2, 3])
def test_a_long_gap_in_any_column_invalidates_all_values_around_it(column):
    track = eye_track()
    track[200:203, column] = nan  # from 60.0 to 60.1 s; the window reaches 0.5 s
    at = np.array([59.44, 59.51, 60.05, 60.59, 60.66])
    eye = sample_eye(track, at, 0.5)
    assert eye.valid.tolist() == [True, False, False, False, True]
    for values in (eye.radius, eye.radius_change, *eye.center.T):
        assert (values[~eye.valid] == -1).all()
        assert np.isfinite(values).all()
    whole = sample_eye(eye_track(), at, 0.5)
    np.testing.assert_array_equal(eye.center[eye.valid], whole.center[eye.valid])


def test_a_blink_of_two_frames_is_bridged():
    track = eye_track()
    track[:, 1] = track[:, 0]
    gappy = track.copy()
    gappy[200:202, 1:] = nan
    eye = sample_eye(gappy, [60.0], 0.5)
    assert eye.valid.all()
    assert eye.radius[0] == pytest.approx(60)


def test_outside_the_track_nothing_is_valid():
    eye = sample_eye(eye_track(), [10.0, 49.9, 50.2, 50.6, 69.4, 69.8, 100.0, nan], 0.5)
    assert eye.valid.tolist() == [False, False, False, True, True, False, False, False]
    assert (eye.radius[~eye.valid] == -1).all()


def test_a_pupil_never_detected_is_never_valid():
    track = eye_track()
    track[:, 1:] = nan
    eye = sample_eye(track, [60.0, 61.0], 0.5)
    assert not eye.valid.any()
    assert eye.center.tolist() == [[-1, -1], [-1, -1]]


def with_values(track, row, column, value):
    track = track.copy()
    track[row, column] = value
    return track


@pytest.mark.parametrize(
    ("track", "message"),
    [
        (np.zeros((5, 3)), r"pupil track must be \(n, 4\) with the columns t, radius, x, y"),
        (np.zeros(4), r"pupil track must be \(n, 4\)"),
        (with_values(eye_track(), 9, 0, 0), "column t of the pupil track must increase.* entry 9"),
        (
            with_values(eye_track(), 9, 0, nan),
            "column t of the pupil track must be finite; entry 9",
        ),
        (with_values(eye_track(), 9, 2, np.inf), "column x of the pupil track holds infinite"),
    ],
)
def test_a_bad_pupil_track_is_refused_by_column(track, message):
    with pytest.raises(ValueError, match=message):
        sample_eye(track, [60.0], 0.5)


# --- treadmill


def test_speed_is_the_absolute_value_of_the_smoothed_velocity():
    t = np.arange(600) / FPS
    velocity = np.random.default_rng(2).normal(size=600) - 0.3
    at = np.linspace(1, 28, 40)
    running = sample_treadmill(np.column_stack([t, velocity]), at, 0.5)
    expected = np.interp(at, t, plain_filtered(velocity, 0.5))
    assert (expected < 0).any() and (expected > 0).any()
    # abs of the interpolated smooth velocity; smoothing the speed instead would double it
    np.testing.assert_allclose(running.speed, np.abs(expected))
    assert running.valid.all()


def test_trembling_in_place_is_not_running():
    t = np.arange(600) / FPS
    running = sample_treadmill(np.column_stack([t, 10.0 * (-1) ** np.arange(600)]), [15.0], 0.5)
    assert running.speed[0] < 0.5


def test_missing_velocity_is_not_valid():
    track = np.column_stack([np.arange(600) / FPS, np.full(600, -4.0)])
    track[300, 1] = nan  # 15 s
    running = sample_treadmill(track, [0.1, 14.4, 14.6, 15.4, 15.6, 40.0, nan], 0.5)
    assert running.valid.tolist() == [False, True, False, False, True, False, False]
    np.testing.assert_allclose(running.speed, [-1, 4, -1, -1, 4, -1, -1])
    unsmoothed = sample_treadmill(track, [-0.1, 0.0, 29.95, 30.0], 0.01)
    assert unsmoothed.valid.tolist() == [False, True, True, False]


@pytest.mark.parametrize(
    ("track", "message"),
    [
        (np.zeros((5, 3)), r"treadmill track must be \(n, 2\) with the columns t, velocity"),
        (np.zeros((5, 2)), "column t of the treadmill track must increase"),
        ([[0, 1], [1, np.inf]], "column velocity of the treadmill track holds infinite"),
    ],
)
def test_a_bad_treadmill_track_is_refused_by_column(track, message):
    with pytest.raises(ValueError, match=message):
        sample_treadmill(track, [0.5], 0.5)


# --- finished numbers


def test_finished_numbers_pass_and_incomplete_trials_are_not_valid():
    given = np.array([[10, -0.5, 80, 60], [11, nan, 81, 61], [12, 0.5, 82, -np.inf]])
    before = given.copy()
    eye = finished_eye(given)
    assert eye.valid.tolist() == [True, False, False]
    assert eye.radius.tolist() == [10, -1, -1]
    assert eye.radius_change.tolist() == [-0.5, -1, -1]
    assert eye.center.tolist() == [[80, 60], [-1, -1], [-1, -1]]
    np.testing.assert_array_equal(given, before)

    running = finished_speed([-3.0, nan, 0.0])
    assert running.valid.tolist() == [True, False, True]
    assert running.speed.tolist() == [3, -1, 0]


@pytest.mark.parametrize(
    ("samples", "shape"), [(np.zeros((5, 3)), r"\(5, 3\)"), (np.zeros(3), r"\(3,\)")]
)
def test_a_finished_pupil_has_four_columns(samples, shape):
    with pytest.raises(ValueError, match=rf"\(n, 4\), not {shape}"):
        finished_eye(samples)
