"""Responses from traces, spikes and finished numbers; eye and running (microns_vei 4.6 to 4.8)."""

import numpy as np
import pytest
from miniature import images, row_counts

from pipeline.ingest.insert import insert_scan
from pipeline.ingest.scan import (
    Images,
    ScanArrays,
    Source,
    SpikeTimes,
    Traces,
    Track,
    TrialResponses,
    Trials,
    Units,
)
from pipeline.study import Study, admit
from schemas.dataset import (
    ConditionTier,
    DataConfig,
    StaticMultiDataset,
    TargetDataset,
    TrainingSet,
)
from schemas.loading import load_dataset, response_block
from schemas.recording import Activity, ExcludedTrial, FrameClock, Trial
from schemas.responses import Eye, Frame, InputResponse, Treadmill
from science.digest import array_digest

N_IMAGES, N_TRIALS = 12, 30
FRAME = 0.125  # s
ONSETS = 2.0 + 1.1 * np.arange(N_TRIALS)
N_FRAMES = 300
CLOCK = FRAME * np.arange(N_FRAMES)


def scan(seed, activity, n_units, trials=None, **more):
    """Return a recording of 12 images, 30 trials."""
    shown = np.random.default_rng(seed).integers(0, N_IMAGES, N_TRIALS)
    return ScanArrays(
        images=Images(images(N_IMAGES, seed), np.full(N_IMAGES, "natural")),
        trials=trials or Trials(shown, ONSETS, ONSETS + 0.5),
        activity=activity,
        units=Units(np.arange(1, n_units + 1), delay=more.pop("delay", None)),
        **more,
    )


def insert(key, recorded):
    source = Source("test", "1", "made in a test", None, array_digest(recorded.images.pixels))
    insert_scan(key, recorded, source)


def compute(key, **preprocessing):
    """Compute frames, responses and behaviour of one recording."""
    study = Study.model_validate({"preprocessing": {"height": 8, "width": 10} | preprocessing})
    admit(study, key)
    for table in (Frame, InputResponse, Eye, Treadmill):
        table.populate(key)


def traces(seed, n_units):
    return np.random.default_rng(seed).gamma(1.0, 2.0, (N_FRAMES, n_units)).astype(np.float32)


def plain_trace_responses(recorded, clock, delays, times):
    """Microns_vei 4.6, unit by unit."""
    window = np.hamming(2 * 4 + 1)
    smooth = [np.convolve(t, window / window.sum(), "same") for t in recorded.T.astype(float)]
    return np.stack(
        [np.interp(times, clock + d, s) for d, s in zip(delays, smooth, strict=True)], axis=1
    )


def test_responses_from_traces_are_low_passed_and_sampled_half_a_window_after_onset(recordings):
    key, n_units = recordings.key(), 300  # two blocks
    recorded, delays = traces(1, n_units), np.linspace(0, 0.1, n_units)
    depths = np.repeat(CLOCK, 3) + np.tile([0, 0.03, 0.06], N_FRAMES)
    insert(key, scan(1, Traces(recorded, depths, n_depths=3), n_units, delay=delays))
    assert len(Activity.Block & key) == 2
    compute(key)
    block, columns = response_block((InputResponse & key).fetch1("KEY"))
    assert columns == {unit: unit - 1 for unit in range(1, n_units + 1)}
    inside = CLOCK[-1] >= ONSETS + 0.5
    expected = plain_trace_responses(recorded, CLOCK, delays, ONSETS[inside] + 0.3)
    np.testing.assert_allclose(block, expected, rtol=1e-4)
    trials = (InputResponse.Input & key).to_arrays("trial_idx", order_by="row_id")
    np.testing.assert_array_equal(trials, np.flatnonzero(inside))
    assert (InputResponse & key).fetch1("n_left_out") == (~inside).sum()


def test_missing_samples_are_interpolated_and_a_lost_unit_is_silent(recordings):
    key, recorded = recordings.key(), traces(2, 3)
    gappy = recorded.copy()
    gappy[40:43, 0] = np.nan
    gappy[:, 2] = np.nan
    insert(key, scan(2, Traces(gappy, CLOCK), 3))
    compute(key)
    recorded[40:43, 0] = recorded[39, 0] + np.arange(1, 4) / 4 * (recorded[43, 0] - recorded[39, 0])
    recorded[:, 2] = 0
    block, _ = response_block((InputResponse & key).fetch1("KEY"))
    times = ONSETS[: len(block)] + 0.3
    np.testing.assert_allclose(
        block, plain_trace_responses(recorded, CLOCK, np.zeros(3), times), rtol=1e-4
    )


@pytest.mark.parametrize("window", ["fixed", "presentation"])
def test_responses_from_spikes_are_counts(recordings, window):
    key, rng = recordings.key(), np.random.default_rng(3)
    trains = [np.sort(rng.uniform(0, 40, n)) for n in (400, 0, 90)]
    counts = np.array([len(t) for t in trains])
    insert(key, scan(3, SpikeTimes(np.concatenate(trains), counts), 3))
    compute(key, window=window, offset=0.1, duration=0.2)
    start, stop = (ONSETS + 0.1, ONSETS + 0.3) if window == "fixed" else (ONSETS, ONSETS + 0.5)
    expected = [
        [((t > a) & (t <= b)).sum() for t in trains] for a, b in zip(start, stop, strict=True)
    ]
    block, _ = response_block((InputResponse & key).fetch1("KEY"))
    np.testing.assert_array_equal(block, expected)


def test_malformed_trials_are_excluded_and_left_out(recordings):
    key, n_flips, onsets = recordings.key(), np.full(N_TRIALS, 3), ONSETS.copy()
    n_flips[0], onsets[7] = 2, np.nan
    trials = Trials(np.arange(N_TRIALS) % N_IMAGES, onsets, n_flips=n_flips)
    finished = np.random.default_rng(4).poisson(3, (N_TRIALS, 2)).astype(np.float32)
    insert(key, scan(4, TrialResponses(finished), 2, trials))
    comments = (ExcludedTrial & key).to_arrays("trial_idx", "exclusion_comment", order_by="KEY")
    assert comments[0].tolist() == [0, 7]
    assert comments[1].tolist() == ["malformed: 2 flips", "its onset is not known"]
    compute(key)
    kept = np.setdiff1d(np.arange(N_TRIALS), [0, 7])
    trials = (InputResponse.Input & key).to_arrays("trial_idx", order_by="row_id")
    np.testing.assert_array_equal(trials, kept)
    np.testing.assert_array_equal(
        response_block((InputResponse & key).fetch1("KEY"))[0], finished[kept]
    )
    assert (Trial & key & "trial_idx = 7").fetch1("trial_onset") is None


def test_unequal_numbers_of_flips_that_nobody_excluded_are_an_error(recordings):
    key, n_flips = recordings.key(), np.full(N_TRIALS, 3)
    n_flips[0] = 2
    trials = Trials(np.arange(N_TRIALS) % N_IMAGES, ONSETS, n_flips=n_flips)
    insert(key, scan(5, TrialResponses(np.ones((N_TRIALS, 2))), 2, trials))
    (ExcludedTrial & key).delete(prompt=False)
    with pytest.raises(ValueError, match=r"unequal numbers of flips \(\[2, 3\]\)"):
        compute(key)
    assert not InputResponse & key


def test_images_that_outlast_the_window_are_an_error(recordings):
    key = recordings.key()
    insert(key, scan(6, Traces(traces(6, 2), CLOCK), 2))
    with pytest.raises(ValueError, match=r"on the screen for 0\.5 s, longer than the window"):
        compute(key, duration=0.4)
    assert not InputResponse & key


# --- eye and running


def tracks(rate=20.0, offset=100.0):
    """Return a pupil and a treadmill track that are linear in time, on another clock."""
    t = np.arange(-1, 42, 1 / rate)
    pupil = np.column_stack([t + offset, 20 + 0.5 * t, 100 + t, 50 - t])
    return pupil, np.column_stack([t + offset, -3 - 0.1 * t])


def test_behavior_is_sampled_on_its_own_clock_and_gaps_are_invalid(recordings):
    key, (pupil, treadmill) = recordings.key(), tracks()
    blink = slice(*np.searchsorted(pupil[:, 0], [ONSETS[4] + 100.2, ONSETS[4] + 100.4]))
    pupil[blink, 1:] = np.nan
    activity = Traces(traces(7, 2), CLOCK, CLOCK + 100)
    insert(key, scan(7, activity, 2, pupil=Track(pupil), treadmill=Track(treadmill)))
    assert (FrameClock & key).fetch1("frame_times").shape == (N_FRAMES, 2)
    compute(key)
    n = (InputResponse & key).fetch1("n_trials")
    times, valid = ONSETS[:n] + 0.3, np.arange(n) != 4
    eye = (Eye & key).fetch1()
    np.testing.assert_array_equal(eye["eye_valid"], valid)
    assert eye["n_eye_valid"] == n - 1
    np.testing.assert_allclose(eye["pupil"][valid], 20 + 0.5 * times[valid], rtol=1e-5)
    np.testing.assert_allclose(eye["dpupil"][valid], 0.5, rtol=1e-4)
    np.testing.assert_allclose(
        eye["center"][valid], np.column_stack([100 + times, 50 - times])[valid], rtol=1e-5
    )
    assert eye["pupil"][4] == -1
    running = (Treadmill & key).fetch1()
    np.testing.assert_allclose(running["treadmill"], 3 + 0.1 * times, rtol=1e-5)
    assert running["treadmill_valid"].all()


def training_set(key, **data):
    study = Study.model_validate(
        {
            "preprocessing": {"height": 8, "width": 10},
            "split": {"method": "random", "validation_fraction": 0.3},
            "data": data,
        }
    )
    group = StaticMultiDataset.register([admit(study, key)])
    plan = TrainingSet.register_images(group, DataConfig.register(study.data, study.split))
    ConditionTier.populate(key)
    TargetDataset.populate(plan)
    return plan


def load(plan):
    (data,) = load_dataset(
        plan, (TargetDataset & plan).fetch1("dataset_digest")
    ).recordings.values()
    return data


def test_a_dataset_with_behavior_holds_the_trials_in_which_it_is_valid(recordings):
    key, rng = recordings.key(), np.random.default_rng(8)
    finished = rng.poisson(3, (N_TRIALS, 2)).astype(np.float32)
    pupil, speed = rng.normal(size=(N_TRIALS, 4)), rng.gamma(1, 1, (N_TRIALS, 1))
    pupil[3, 2] = speed[9] = np.nan
    behaving = {"pupil": Track(pupil, True), "treadmill": Track(speed, True)}
    insert(key, scan(8, TrialResponses(finished), 2, **behaving))
    compute(key)
    valid = np.setdiff1d(np.arange(N_TRIALS), [3, 9])
    data = load(training_set(key, behavior=True))
    np.testing.assert_array_equal(data.responses, finished[valid])
    expected = np.column_stack([pupil[:, :2], speed])[valid].astype(np.float32)
    np.testing.assert_array_equal(data.behavior, expected)
    np.testing.assert_array_equal(data.pupil_center, pupil[valid, 2:].astype(np.float32))
    assert len(load(training_set(key)).responses) == N_TRIALS


def test_behavior_that_was_not_recorded_cannot_be_asked_for(recordings):
    key = recordings.key()
    insert(key, scan(9, TrialResponses(np.ones((N_TRIALS, 2))), 2))
    compute(key)
    assert not Eye & key
    with pytest.raises(ValueError, match="has no eye tracking: set behavior = false"):
        training_set(key, behavior=True)


# --- classes of images, areas


def test_a_dataset_can_hold_the_images_of_some_classes_only(recordings):
    key = recordings.key()
    recorded = scan(10, TrialResponses(np.arange(2.0 * N_TRIALS).reshape(N_TRIALS, 2)), 2)
    recorded.images.image_class[:3] = "gabor"
    insert(key, recorded)
    compute(key)
    data = load(training_set(key, image_classes=("natural",)))
    natural = recorded.trials.image_index >= 3
    np.testing.assert_array_equal(data.responses, recorded.activity.responses[natural])
    with pytest.raises(ValueError, match=r"image_class \['movie'\] does not occur .*'natural'"):
        training_set(key, image_classes=("movie",))


def test_all_areas_but_unknown(recordings):
    key = recordings.key()
    recorded = scan(11, TrialResponses(np.ones((N_TRIALS, 4)) * [1, 2, 3, 4]), 4)
    units = Units(recorded.units.unit_id, area=np.array(["V1", "unknown", "LM", "V1"]))
    insert(key, ScanArrays(**vars(recorded) | {"units": units}))
    compute(key)
    data = load(training_set(key, exclude_areas=("unknown",)))
    assert data.responses[0].tolist() == [1, 3, 4]
    with pytest.raises(ValueError, match=r"brain_area \['V7'\] does not occur"):
        training_set(key, exclude_areas=("V7",))


# --- the cache


def test_datasets_are_mapped_from_files_and_made_once(recordings, tmp_path, monkeypatch):
    monkeypatch.setattr("schemas.cache._folder", tmp_path)
    key = recordings.key()
    insert(key, scan(12, TrialResponses(np.ones((N_TRIALS, 2))), 2))
    compute(key)
    data = load(training_set(key))
    assert isinstance(data.responses, np.memmap)
    assert len(list(tmp_path.iterdir())) == 1


def test_what_is_wrong_in_time_is_refused(recordings):
    key, before = recordings.key(), row_counts()
    activity, late = Traces(traces(13, 2), CLOCK), ONSETS[::-1].copy()
    falling = CLOCK.copy()
    falling[7] = 0
    for message, recorded in {
        "onset must increase": scan(13, activity, 2, Trials(np.zeros(N_TRIALS, int), late)),
        "frame_times.*increase": scan(13, Traces(traces(13, 2), falling), 2),
        "frame_times.*may differ by at most 1": scan(13, Traces(traces(13, 2), CLOCK[:-9]), 2),
        "clocks differ in length": scan(13, Traces(traces(13, 2), CLOCK, CLOCK[:-2]), 2),
        "need the onsets": scan(13, activity, 2, Trials(np.zeros(N_TRIALS, int))),
        "times of pupil must increase": scan(13, activity, 2, pupil=Track(np.zeros((9, 4)))),
        "columns t, velocity": scan(13, activity, 2, treadmill=Track(np.zeros((9, 3)))),
        "unequal numbers of flips": scan(
            13,
            activity,
            2,
            Trials(np.zeros(N_TRIALS, int), ONSETS, n_flips=2 + np.arange(N_TRIALS) % 2),
        ),
        "traces hold infinite": scan(13, Traces(np.full((N_FRAMES, 2), np.inf), CLOCK), 2),
        "ascend within a unit": scan(13, SpikeTimes(np.array([2.0, 1.0]), np.array([2, 0])), 2),
    }.items():
        with pytest.raises(Exception, match=message) as caught:
            insert(key, recorded)
        assert type(caught.value).__name__ == "BadRecording"
    assert row_counts() == before
