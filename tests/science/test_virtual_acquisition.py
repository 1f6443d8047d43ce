"""What the virtual rig stores, against the truth and the analysis of a laboratory."""

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.ndimage import label

from science.natural_images import natural_images
from science.trials import malformed_trials, presentation_times
from science.virtual import (
    AcquisitionParams,
    VirtualAnimal,
    VirtualAnimalParams,
    retinal_images,
    shared_gain,
)
from science.virtual.behavior import VIDEO_PX_PER_GAZE_PX, missing_runs

HEIGHT, WIDTH = 24, 40
RIG = AcquisitionParams()
COMPLETE = AcquisitionParams(missing_frames=0, n_malformed=0, blink_fraction=0)


@pytest.fixture(scope="module")
def images():
    return natural_images(300, HEIGHT, WIDTH, seed=0)


@pytest.fixture(scope="module")
def presentation():
    repeats = np.where(np.arange(300) < 200, 1, 8)
    return np.random.default_rng(0).permutation(np.repeat(np.arange(300), repeats))


@pytest.fixture(scope="module")
def animal():
    return VirtualAnimal(VirtualAnimalParams(eye_movement_px=1.5, gain_cv=0.3), seed=1)


@pytest.fixture(scope="module")
def session(animal):
    return animal.session(2)


@pytest.fixture(scope="module")
def recorded(session, images, presentation):
    return session.acquire(images, presentation, 4, RIG)


@pytest.fixture(scope="module")
def complete(session, images, presentation):
    return session.acquire(images, presentation, 4, COMPLETE)


def spikes_of(recorded):
    return np.split(recorded.spike_times, np.cumsum(recorded.spike_counts)[:-1])


def visits(recorded):
    """When the laser visits each unit: (n_volumes, n_units), s."""
    return recorded.frame_times[:: RIG.n_depths, None] + recorded.delay


def window_average(t, signal, at, duration=0.5):
    """Microns 4.6, done plainly for one signal."""
    dt = np.median(np.diff(t))
    window = np.hamming(2 * int(duration / dt) + 1)
    return np.interp(at, t, np.convolve(signal, window / window.sum(), mode="same"))


def filled(t, signal):
    seen = np.isfinite(signal)
    return np.interp(t, t[seen], signal[seen])


# ---------------------------------------------------------------- spikes


def test_counts_are_poisson_around_rates_times_gain(animal, session, images, presentation):
    trials = session.trials(images, presentation, seed=4)
    seen = retinal_images(images[presentation], trials.gaze)
    rates = animal.rates(seen)[:, session.cells] * session.drift
    np.testing.assert_allclose(trials.expected, rates * trials.gain[:, None], rtol=1e-12)
    excess = (trials.counts - trials.expected) ** 2 / trials.expected
    sd = np.sqrt((2 + 1 / trials.expected).sum(0)) / len(presentation)
    assert np.abs((excess.mean(0) - 1) / sd).max() < 4.5
    total = (trials.counts - trials.expected).sum(0) / np.sqrt(trials.expected.sum(0))
    assert np.abs(total).max() < 4.5


def test_record_keeps_its_random_numbers(images, presentation):
    """Gain, then counts, from [animal, day, seed]: what it was before eyes could move."""
    animal = VirtualAnimal(VirtualAnimalParams(), seed=1)
    session = animal.session(2)
    rng = np.random.default_rng([1, 2, 7])
    gain = shared_gain(len(presentation), 0.2, 0.5, rng)
    rates = animal.rates(images)[:, session.cells] * session.drift
    expected = rng.poisson(rates[presentation] * gain[:, None])
    assert np.array_equal(session.record(images, presentation, seed=7), expected)
    assert not session.trials(images, presentation, seed=7).gaze.any()


def test_spikes_in_the_window_are_the_counts_that_record_returns(
    session, images, presentation, recorded
):
    window = recorded.onset + RIG.latency + np.array([[0], [RIG.presentation_time]])
    edges = [np.searchsorted(spikes, window) for spikes in spikes_of(recorded)]
    counts = np.stack([end - begin for begin, end in edges], axis=1)
    assert np.array_equal(counts, session.record(images, presentation, seed=4))


def test_spikes_ascend_in_each_unit_and_are_even_in_the_window(recorded):
    assert recorded.spike_counts.sum() == len(recorded.spike_times)
    assert all(np.diff(spikes).min() > 0 for spikes in spikes_of(recorded))
    begin = recorded.onset + RIG.latency
    trial = np.searchsorted(begin, recorded.spike_times) - 1
    phase = recorded.spike_times - begin[trial]
    phase = phase[(trial >= 0) & (phase < 0.5)]
    histogram = np.histogram(phase, 10, (0, 0.5))[0]
    assert ((histogram - len(phase) / 10) ** 2 / (len(phase) / 10)).sum() < 33  # 9 d.f., p < 1e-4


@pytest.mark.parametrize("rate", [0.0, 0.2, 3.0])
def test_between_windows_units_fire_at_the_spontaneous_rate(session, images, presentation, rate):
    rig = AcquisitionParams(spontaneous_rate=rate)
    recorded = session.acquire(images, presentation, 0, rig)
    spontaneous = recorded.spike_counts - recorded.trials.counts.sum(0)
    end = recorded.onset[-1] + 0.5 + rig.lead
    expected = rate * (end - 0.5 / rig.frame_rate - 0.5 * len(presentation))
    assert np.abs(spontaneous - expected).max() <= 4.5 * np.sqrt(expected)


# ---------------------------------------------------------------- imaging


def test_traces_hold_the_spikes_nearest_to_each_visit(complete):
    assert complete.traces.dtype == np.float32
    assert np.array_equal(complete.traces.sum(0), complete.spike_counts)
    half = 0.5 / RIG.frame_rate
    for column, times, spikes in zip(
        complete.traces.T, visits(complete).T, spikes_of(complete), strict=True
    ):
        edges = np.append(times - half, times[-1] + half)
        assert np.array_equal(column, np.histogram(spikes, edges)[0])


def test_the_analysis_of_a_laboratory_is_unbiased(complete):
    """Responses of microns 4.6 equal those to the expected trace, the integrals of the rate."""
    begin, expected = complete.onset + 0.05, complete.trials.expected
    knots = np.column_stack([begin, begin + 0.5]).ravel()
    knots = np.concatenate([[0.5 / 8], knots, [complete.onset[-1] + 0.5 + RIG.lead]])
    quiet = 0.2 * np.diff(knots)[::2]
    products, errors = [], []
    for unit, times in enumerate(visits(complete).T):
        increments = np.insert(quiet, np.arange(1, len(quiet)), expected[:, unit])
        edges = np.append(times - 1 / 16, times[-1] + 1 / 16)
        mean_trace = np.diff(np.interp(edges, knots, np.append(0, np.cumsum(increments))))
        truth = window_average(times, mean_trace, complete.onset + 0.3)
        response = window_average(times, complete.traces[:, unit], complete.onset + 0.3)
        products.append((response @ truth, truth @ truth))
        errors.append((response - truth) * truth)
    slope = np.sum(products, axis=0)[0] / np.sum(products, axis=0)[1]
    # trials overlap by little, and units share nothing but the rates
    error = np.linalg.norm(errors) / np.sum(products, axis=0)[1]
    assert error < 0.01
    assert abs(slope - 1) < 4.5 * error


def test_the_analysis_of_a_laboratory_recovers_the_rates(animal, session, recorded, presentation):
    """With lost frames and a malformed trial, means over repeats are linear in the mean rates.

    A trial lasts 4 frames. Frames of 1 and interpolation between them blur time by the sum of three
    uniform numbers: of the weight 1 frame from the middle 47/48 stays within the trial, of that 2
    frames from it 1/2, and of that 3 frames from it 1/48.
    """
    inside = np.array([0, 1 / 48, 1 / 2, 47 / 48, 1, 47 / 48, 1 / 2, 1 / 48, 0])
    share = np.hamming(9) @ inside / np.hamming(9).sum() / 4
    well_formed = np.isfinite(recorded.flip_times).all(1)
    onset, shown = recorded.flip_times[well_formed, 1], presentation[well_formed]
    repeated = np.arange(200, 300)
    driven = animal.kind[session.cells] != "undriven"
    slopes, correlations = [], []
    for unit in np.flatnonzero(driven):
        times = visits(recorded)[:, unit]
        response = window_average(times, filled(times, recorded.traces[:, unit]), onset + 0.3)
        expected = recorded.trials.expected[well_formed, unit]
        measured, true = ([v[shown == i].mean() for i in repeated] for v in (response, expected))
        slopes.append(np.polyfit(true, measured, 1)[0])
        correlations.append(np.corrcoef(true, measured)[0, 1])
    assert np.mean(slopes) == pytest.approx(share, rel=0.01)
    assert np.median(correlations) > 0.95
    assert np.min(correlations) > 0.85


def test_units_lie_in_the_nearest_plane_and_are_scanned_in_order(session, recorded):
    distance = np.abs(session.positions[:, 2:] - recorded.field_depth)
    assert np.array_equal(recorded.field, distance.argmin(1) + 1)
    assert np.array_equal(np.unique(recorded.field), [1, 2, 3, 4])
    into_plane = recorded.delay - (recorded.field - 1) / 32
    assert into_plane.min() >= 0
    assert into_plane.max() <= 1 / 32
    assert np.corrcoef(into_plane, session.positions[:, 1])[0, 1] > 1 - 1e-9


def test_frames_of_all_planes_are_interleaved_on_two_clocks(recorded):
    assert len(recorded.frame_times) == len(recorded.behavior_frame_times)
    assert len(recorded.frame_times) == RIG.n_depths * len(recorded.traces)
    np.testing.assert_allclose(np.diff(recorded.frame_times), 1 / 32, rtol=1e-6)
    assert np.diff(recorded.behavior_frame_times).min() > 0
    drift, offset = np.polyfit(recorded.frame_times, recorded.behavior_frame_times, 1)
    assert offset == pytest.approx(RIG.clock_offset, abs=1e-6)
    assert drift - 1 == pytest.approx(RIG.clock_drift, rel=1e-3)
    assert recorded.frame_times[0] < recorded.onset[0] - 1
    assert recorded.frame_times[-1] > recorded.onset[-1] + 1


def test_lost_frames_hit_a_whole_plane(session, images, presentation):
    rig = AcquisitionParams(missing_frames=0.02)
    recorded = session.acquire(images, presentation, 4, rig)
    lost = np.isnan(recorded.traces)
    planes = [lost[:, recorded.field == field] for field in range(1, 5)]
    for plane in planes:
        assert np.array_equal(plane.any(1), plane.all(1))
        assert plane[:, 0].sum() == round(0.02 * len(lost))
    assert not np.array_equal(planes[0][:, 0], planes[1][:, 0])


# ---------------------------------------------------------------- flips


def test_flips_have_the_asked_durations(complete):
    start, onset, end = complete.flip_times.T
    assert np.array_equal(onset, complete.onset)
    np.testing.assert_allclose(end - onset, 0.5)
    blank = onset - start
    assert 0.3 <= blank.min() < 0.31
    assert 0.49 < blank.max() <= 0.5
    np.testing.assert_allclose(start[1:] - end[:-1], 1 / 60)


def test_malformed_trials_lost_one_flip(complete, session, images, presentation):
    for n in (1, 20):
        rig = COMPLETE.model_copy(update={"n_malformed": n})
        recorded = session.acquire(images, presentation, 4, rig)
        found = np.isfinite(recorded.flip_times)
        assert (found.sum(1) == 2).sum() == n
        assert (found.sum(1) == 3).sum() == len(presentation) - n
        assert found[0].sum() == 2
        assert found[:, :2].all()
        kept = (recorded.flip_times[..., None] == complete.flip_times[:, None]).any(-1)
        assert np.array_equal(kept, found)
        n_flips = presentation_times(recorded.flip_times)[2]
        assert np.array_equal(malformed_trials(n_flips), n_flips == 2)
        assert np.array_equal(recorded.onset, complete.onset)
        assert np.array_equal(recorded.spike_times, complete.spike_times)


# ---------------------------------------------------------------- behaviour


def at_responses(recorded, track, column):
    """A track averaged as microns 4.7: frames on the stimulus clock, NaN filled."""
    t = np.interp(track[:, 0], recorded.behavior_frame_times, recorded.frame_times)
    return window_average(t, filled(t, track[:, column]), recorded.onset + 0.3)


def test_pupil_and_running_follow_the_gain(recorded):
    gain = recorded.trials.gain
    radius = at_responses(recorded, recorded.pupil, 1)
    speed = np.abs(at_responses(recorded, recorded.treadmill, 1))
    assert radius.min() > 10
    assert np.corrcoef(radius, gain)[0, 1] > 0.8
    assert np.corrcoef(speed, gain)[0, 1] > 0.7
    running = speed > 2
    assert 0.15 < running.mean() < 0.5
    assert gain[running].mean() > 1.2 * gain[~running].mean()
    assert np.nanmin(recorded.treadmill[:, 1]) < 0


def test_the_pupil_tells_the_gaze(recorded):
    """A linear map from pupil to gaze undoes the eye movement, as a shifter network must."""
    centre = np.column_stack([at_responses(recorded, recorded.pupil, i) for i in (2, 3)])
    design = np.column_stack([centre, np.ones(len(centre))])
    fitted, *_ = np.linalg.lstsq(design, recorded.trials.gaze, rcond=None)
    residual = recorded.trials.gaze - design @ fitted
    assert residual.std() < 0.25 * recorded.trials.gaze.std()
    np.testing.assert_allclose(np.linalg.inv(fitted[:2].T), VIDEO_PX_PER_GAZE_PX, atol=0.1)


def test_tracks_have_their_rates_on_the_behaviour_clock(recorded):
    for track, rate in ((recorded.pupil, 20), (recorded.treadmill, 50)):
        interval = np.diff(track[:, 0])
        assert interval.min() > 0.5 / rate
        assert interval.mean() == pytest.approx(1 / rate, rel=1e-3)
        assert track[0, 0] == pytest.approx(RIG.clock_offset, abs=0.1)
        assert track[-1, 0] > np.interp(
            recorded.onset[-1] + 0.6, recorded.frame_times, recorded.behavior_frame_times
        )


def test_blinks_and_gaps_take_the_asked_fraction(recorded):
    blinks = np.isnan(recorded.pupil[:, 1:])
    assert np.array_equal(blinks.any(1), blinks.all(1))
    assert blinks[:, 0].sum() == round(0.03 * len(blinks))
    assert np.isnan(recorded.treadmill[:, 1]).sum() == round(0.002 * len(recorded.treadmill))
    assert np.isfinite(recorded.pupil[:, 0]).all()
    assert np.isfinite(recorded.treadmill[:, 0]).all()
    runs = np.bincount(label(blinks[:, 0])[0])[1:]
    assert runs.min() <= 2  # a laboratory fills those
    assert runs.max() >= 6


def test_missing_runs_are_every_cut_equally_often():
    """Of 7 samples 3 are lost in 2 runs: 2 cuts of the lost, 10 of the kept ones."""
    rng = np.random.default_rng(0)
    lost = np.stack([missing_runs(7, 3 / 7, 2, rng) for _ in range(4000)])
    assert np.all(lost.sum(1) == 3)
    assert {label(row)[1] for row in lost} == {2}
    patterns, numbers = np.unique(lost, axis=0, return_counts=True)
    assert len(patterns) == 20
    assert ((numbers - 200) ** 2 / 200).sum() < 50  # 19 d.f., p < 2e-4


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.3, 0.5])
@pytest.mark.parametrize("mean_length", [1, 4])
def test_missing_runs_are_exact_and_anywhere(fraction, mean_length):
    rng = np.random.default_rng(0)
    lost = np.stack([missing_runs(100, fraction, mean_length, rng) for _ in range(2000)])
    assert np.all(lost.sum(1) == round(100 * fraction))
    assert {label(row)[1] for row in lost} == {int(np.ceil(100 * fraction / mean_length))}
    assert np.array_equal(lost.any(0), np.full(100, fraction > 0))
    assert not lost.all(0).any()


# ---------------------------------------------------------------- gaze


@pytest.mark.parametrize("gaze", [(0, 0), (3, 0), (0, -2), (-4, 5)])
def test_integer_gaze_shifts_the_image(animal, images, gaze):
    x, y = gaze
    padded = np.pad(images[:20].astype(float), ((0, 0), (6, 6), (6, 6)), constant_values=127.5)
    shifted = padded[:, 6 + y : 6 + y + HEIGHT, 6 + x : 6 + x + WIDTH]
    gazes = np.tile(np.array(gaze, float), (20, 1))
    assert np.array_equal(retinal_images(images[:20], gazes), shifted)
    np.testing.assert_allclose(animal.rates(images[:20], gazes), animal.rates(shifted), rtol=1e-12)


def test_fractional_gaze_interpolates_between_pixels(images):
    columns, rows = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    ramp = 100 + 2.0 * columns - 3.0 * rows
    seen = retinal_images(np.stack([ramp, ramp]), np.array([[0.25, -0.5], [-1.75, 0.4]]))
    inside = np.s_[2:-2, 2:-2]
    np.testing.assert_allclose(seen[0][inside], (ramp + 0.5 + 1.5)[inside])
    np.testing.assert_allclose(seen[1][inside], (ramp - 3.5 - 1.2)[inside])


def test_a_cell_follows_the_gaze_with_its_receptive_field(animal, images):
    """Looking elsewhere equals moving the receptive field: a simple cell's drive is its filter."""
    cell = np.flatnonzero(animal.kind == "simple")[0]
    spot = 127.5 + 400 * animal.filters[cell]
    at_field = animal.rates(spot[None])[0, cell]
    moved = 127.5 + np.roll(spot - 127.5, (2, 3), (0, 1))
    away, back = animal.rates(np.stack([moved, moved]), np.array([[0, 0], [3, 2]]))[:, cell]
    assert back == pytest.approx(at_field, rel=0.02)
    assert away < 0.7 * at_field


def test_gaze_has_the_asked_sd_and_batches_do_not_matter(animal, session, images, monkeypatch):
    order = np.arange(3000) % 10
    trials = session.trials(images, order, seed=0)
    assert trials.gaze.std(0) == pytest.approx([1.5, 1.5], rel=0.06)
    assert np.array_equal(trials.counts, session.record(images, order, seed=0))
    monkeypatch.setattr("science.virtual.animal._PIXELS_PER_BATCH", 7 * HEIGHT * WIDTH)
    expected = animal.rates(images[order[:100]], trials.gaze[:100])[:, session.cells]
    np.testing.assert_allclose(
        expected * session.drift * trials.gain[:100, None], trials.expected[:100], rtol=1e-10
    )


def test_wrong_gaze_raises(animal, images):
    with pytest.raises(ValueError, match="gaze"):
        animal.rates(images[:3], np.zeros((2, 2)))


# ---------------------------------------------------------------- seeds and errors


def test_noise_is_a_matter_of_the_seed(session, images, presentation, recorded):
    again = session.acquire(images, presentation, 4, RIG)
    other = session.acquire(images, presentation, 5, RIG)
    for name in ("flip_times", "traces", "spike_times", "pupil", "treadmill"):
        np.testing.assert_array_equal(getattr(again, name), getattr(recorded, name))
        assert not np.array_equal(getattr(other, name), getattr(recorded, name), equal_nan=True)


def test_one_trial_is_enough(session, images):
    recorded = session.acquire(images, np.array([3]), 0, RIG)
    assert recorded.flip_times.shape == (1, 3)
    assert recorded.traces.shape[1] == len(session.cells)


@pytest.mark.parametrize(("n_trials", "n_malformed"), [(0, 0), (3, 4)])
def test_too_few_trials_raise(session, images, n_trials, n_malformed):
    rig = AcquisitionParams(n_malformed=n_malformed)
    with pytest.raises(ValueError, match="show more images"):
        session.acquire(images, np.arange(n_trials), 0, rig)


@pytest.mark.parametrize(
    "wrong", [{"blank_low": 0.6}, {"frame_rate": 0}, {"blink_fraction": 1}, {"clock_drift": 1}]
)
def test_bad_parameters_raise(wrong):
    with pytest.raises(ValidationError):
        AcquisitionParams(**wrong)
