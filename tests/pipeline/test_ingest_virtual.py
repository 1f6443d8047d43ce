"""Virtual recordings: what is in the database is what the regenerated animal answers."""

import numpy as np
import pytest
from miniature import (
    ANIMAL,
    DAY_1,
    DAY_2,
    DESIGN,
    NATURAL_REPEATS,
    REPEATS,
    SEED,
    STIMULUS,
    arrays,
    insert_arrays,
    recorded_activity,
    row_counts,
)
from scipy.ndimage import label
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.ingest.rows import BadRecording
from pipeline.ingest.virtual import _animal, ingest_first_day, ingest_stimulus_day, load_animal
from schemas.recording import (
    Activity,
    AreaMembership,
    Condition,
    ExcludedTrial,
    FrameClock,
    Image,
    LayerMembership,
    PupilTrack,
    Scan,
    StackUnitCoord,
    TreadmillTrace,
    Trial,
    VirtualAnimal,
)
from schemas.responses import Eye, Frame, InputResponse, Preprocessing, StaticScan, Treadmill
from schemas.stimulus import StimulusSet
from science.preprocessing import PreprocessingParams
from science.virtual import AcquisitionParams, SessionDesign, VirtualAnimalParams, first_day
from science.virtual import VirtualAnimal as Animal


@pytest.fixture
def forgotten(populated):
    """Nothing of the animal is left in memory, as in another process."""
    _animal.cache_clear()


def shown_images(scan):
    rows = Trial * Condition * Image & scan
    return np.stack(rows.to_arrays("image", order_by="trial_idx"))


def test_the_first_day_is_that_of_the_animal_and_its_seed(forgotten):
    animal = Animal(ANIMAL, SEED)
    session = animal.session(1)
    images, presentation = first_day(DESIGN, ANIMAL.height, ANIMAL.width, SEED)
    np.testing.assert_array_equal(shown_images(DAY_1), images[presentation])
    np.testing.assert_array_equal(
        recorded_activity(DAY_1),
        session.record(images, presentation, seed=SEED),
    )
    check_units(DAY_1, session)


def check_units(scan, session):
    ids = (Scan.Unit & scan).to_arrays("unit_id", order_by="unit_id")
    np.testing.assert_array_equal(ids, session.unit_ids)
    xyz = (Scan.Unit & scan).to_arrays("um_x", "um_y", "um_z", order_by="unit_id")
    np.testing.assert_array_equal(np.column_stack(xyz), session.positions)
    stacks = sorted(set((StackUnitCoord & scan).to_arrays("stack_id").tolist()))
    assert len(stacks) == ANIMAL.n_stacks
    for number, stack in enumerate(stacks, 1):
        xyz = (StackUnitCoord & scan & {"stack_id": stack}).to_arrays(
            "stack_x", "stack_y", "stack_z", order_by="unit_id"
        )
        np.testing.assert_array_equal(np.column_stack(xyz), session.stack_positions(number))
    area = (AreaMembership & scan).to_arrays("brain_area", order_by="unit_id")
    np.testing.assert_array_equal(area, session.brain_area)
    layer = (LayerMembership & scan).to_arrays("layer", order_by="unit_id")
    np.testing.assert_array_equal(layer, session.layer)


@pytest.mark.parametrize("scan", [DAY_1, DAY_2], ids=["day 1", "day 2"])
def test_the_truth_is_regenerated_from_the_row(forgotten, scan):
    animal, session = load_animal(scan)
    expected = Animal(ANIMAL, SEED)
    assert animal.params == ANIMAL
    assert session.day == scan["session"]
    np.testing.assert_array_equal(animal.filters, expected.filters)
    np.testing.assert_array_equal(animal.kind, expected.kind)
    np.testing.assert_array_equal(session.cells, expected.session(session.day).cells)
    check_units(scan, session)


def test_the_second_day_shows_every_image_of_the_set_as_often_as_asked(forgotten, populated):
    """And the animal answers to them: with its noise of that day, to the digit."""
    animal, session = load_animal(DAY_2)
    shown = shown_images(DAY_2)
    rows = (Trial * Condition & DAY_2).to_dicts(order_by="trial_idx")
    names = [(row["image_class"], row["image_id"]) for row in rows]
    # the set first, then the images of day 1 by which matched cells are compared
    items = (StimulusSet.Item & populated.stimulus).to_dicts()
    of_set = sorted({(item["image_class"], item["image_id"]) for item in items})
    distinct = of_set + sorted(set(names) - set(of_set))
    assert all(names.count(name) == REPEATS for name in of_set)
    assert all(names.count(name) == NATURAL_REPEATS for name in distinct[len(of_set) :])
    assert len(distinct) == len(of_set) + DESIGN.n_test
    images = np.stack([shown[names.index(name)] for name in distinct])
    presentation = np.array([distinct.index(name) for name in names])
    recorded = recorded_activity(DAY_2)
    np.testing.assert_array_equal(recorded, session.record(images, presentation, animal.seed))
    assert {name for name, _ in of_set} == set(STIMULUS.kinds)


def test_a_second_time_changes_nothing(populated):
    before = row_counts()
    assert ingest_first_day(DAY_1, ANIMAL, DESIGN, SEED) is False
    assert (
        ingest_stimulus_day(DAY_2, DAY_1, populated.stimulus, REPEATS, 2, NATURAL_REPEATS) is False
    )
    assert row_counts() == before


@pytest.mark.parametrize(
    ("params", "design", "seed"),
    [
        (ANIMAL, DESIGN, SEED + 1),
        (ANIMAL.model_copy(update={"gain_cv": 0.3}), DESIGN, SEED),
        (ANIMAL, DESIGN.model_copy(update={"repeats": 4}), SEED),
    ],
    ids=["seed", "animal", "design"],
)
def test_another_recording_under_the_same_key_is_refused(populated, params, design, seed):
    before = row_counts()
    with pytest.raises(BadRecording, match="already there, from virtual animal"):
        ingest_first_day(DAY_1, params, design, seed)
    assert row_counts() == before


def test_the_truth_is_only_of_virtual_recordings(recordings, populated):
    key = recordings.key()
    insert_arrays(key, arrays(50))
    assert not VirtualAnimal & key
    for scan in (key, {"animal_id": 77, "session": 1, "scan_idx": 1}):
        with pytest.raises(BadRecording, match="not of a virtual mouse"):
            load_animal(scan)


def test_an_animal_that_cannot_exist_leaves_nothing(tables):
    before = row_counts()
    crowded = VirtualAnimalParams(n_simple=1900, n_complex=0, n_undriven=0, max_overlap=0.1)
    with pytest.raises(BadRecording, match="there is no such virtual animal"):
        ingest_first_day({"animal_id": 78, "session": 1, "scan_idx": 1}, crowded, DESIGN, 0)
    assert row_counts() == before


def test_an_empty_stimulus_set_is_an_error(populated):
    with pytest.raises(BadRecording, match="has no images"):
        ingest_stimulus_day(
            DAY_2 | {"session": 3}, DAY_1, {"stimulus_set_hash": "0" * 16}, REPEATS, day=3
        )


# ---------------------------------------------------------------- recorded by a rig

MOVING = ANIMAL.model_copy(update={"eye_movement_px": 1.0, "gain_cv": 0.3})
SHOWN = SessionDesign(n_train=100, n_validation=0, n_test=20, repeats=10)
RIG = AcquisitionParams(n_malformed=2, missing_frames=0.01)
BEHIND = 0.05 + 0.25  # s from the onset to the middle of the window


@pytest.fixture(scope="module")
def preprocessing(tables):
    return Preprocessing.register(PreprocessingParams(height=24, width=40))


@pytest.fixture(scope="module", params=["trace", "spike_times"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def acquired(recordings, preprocessing, kind):
    """Key of a recording with its responses and behaviour computed."""
    key = recordings.key()
    assert ingest_first_day(key, MOVING, SHOWN, SEED, kind, RIG)
    StaticScan.insert1(key | preprocessing)
    for table in (Frame, InputResponse, Eye, Treadmill):
        table.populate(key)
    return key


@pytest.fixture(scope="module")
def session():
    return Animal(MOVING, SEED).session(1)


@pytest.fixture(scope="module")
def truth(session, kind):
    clock = {} if kind == "trace" else {"clock_offset": 0.0, "clock_drift": 0.0}
    shown = first_day(SHOWN, ANIMAL.height, ANIMAL.width, SEED)
    return session.acquire(*shown, SEED, RIG.model_copy(update=clock))


@pytest.fixture(scope="module")
def kept(truth):
    """Trials that lost no flip."""
    return np.flatnonzero(np.isfinite(truth.flip_times).all(1))


def responses_of(key):
    blocks = (InputResponse.ResponseBlock & key).to_arrays("responses", order_by="response_block")
    return np.concatenate([np.asarray(block) for block in blocks], axis=1)


def window_average(t, signal, at):
    """Microns 4.6, done plainly for one signal, its gaps filled."""
    seen = np.isfinite(signal)
    window = np.hamming(2 * int(0.5 / np.median(np.diff(t))) + 1)
    smooth = np.convolve(np.interp(t, t[seen], signal[seen]), window / window.sum(), "same")
    return np.interp(at, t, smooth)


def test_the_units_are_those_of_the_rig(acquired, session, truth, kind):
    check_units(acquired, session)
    field, delay = (Scan.Unit & acquired).to_arrays("field", "delay", order_by="unit_id")
    depth = (Scan.Field & acquired).to_arrays("field_depth", order_by="field")
    if kind == "trace":
        np.testing.assert_array_equal(field.astype(int), truth.field)
        np.testing.assert_array_equal(delay, truth.delay)
        np.testing.assert_array_equal(depth, truth.field_depth)
    else:
        assert not delay.any()
        assert len(depth) == 0


def test_malformed_trials_are_excluded_and_all_others_used(acquired, kept):
    excluded = (ExcludedTrial & acquired).to_arrays("trial_idx", order_by="trial_idx")
    np.testing.assert_array_equal(excluded, np.setdiff1d(np.arange(SHOWN.n_trials), kept))
    assert len(excluded) == 2
    assert excluded[0] == 0
    inputs = (InputResponse.Input & acquired).to_arrays("trial_idx", order_by="row_id")
    np.testing.assert_array_equal(inputs, kept)
    assert (InputResponse & acquired).fetch1("n_left_out") == 2


def test_responses_are_the_analysis_of_what_was_recorded(acquired, truth, kept, kind):
    if kind == "spike_times":
        np.testing.assert_array_equal(responses_of(acquired), truth.trials.counts[kept])
        return
    visits = truth.frame_times[:: RIG.n_depths, None] + truth.delay
    at = truth.onset[kept] + BEHIND
    expected = [
        window_average(t, trace, at) for t, trace in zip(visits.T, truth.traces.T, strict=True)
    ]
    np.testing.assert_allclose(responses_of(acquired), np.transpose(expected), atol=1e-5)


def test_mean_responses_are_the_known_rates(acquired, session, truth, kept, kind):
    """Of traces in spikes a frame: the share is derived in tests/science of the acquisition."""
    inside = np.array([0, 1 / 48, 1 / 2, 47 / 48, 1, 47 / 48, 1 / 2, 1 / 48, 0])
    share = 1 if kind == "spike_times" else np.hamming(9) @ inside / np.hamming(9).sum() / 4
    shown = first_day(SHOWN, ANIMAL.height, ANIMAL.width, SEED)[1][kept]
    rates, responses = truth.trials.expected[kept], responses_of(acquired)
    repeated = range(SHOWN.n_train, SHOWN.n_images)
    measured, true = (
        np.array([v[shown == i].mean(0) for i in repeated]) for v in (responses, rates)
    )
    measured, true = measured - measured.mean(0), true - true.mean(0)
    driven = session.animal.kind != "undriven"
    slope = (measured * true)[:, driven].sum() / (true**2)[:, driven].sum()
    noise = np.sqrt((true**2 * truth.trials.expected.mean(0) / SHOWN.repeats)[:, driven].sum())
    assert abs(slope / share - 1) < 4.5 * noise / (true**2)[:, driven].sum()
    assert np.corrcoef(measured[:, driven].ravel(), true[:, driven].ravel())[0, 1] > 0.9


def undisturbed(track, at, longest):
    """Whether no gap longer than `longest` reaches the window around each time."""
    runs, _ = label(np.isnan(track[:, 1]))
    gap = (np.bincount(runs)[runs] > longest) & (runs > 0)
    half = int(0.5 / np.median(np.diff(track[:, 0])))
    left = np.searchsorted(track[:, 0], at, side="right") - 1
    return np.array([not gap[i - half : i + half + 2].any() for i in left])


def test_behaviour_is_valid_and_true_where_the_rig_saw_it(acquired, truth, kept):
    at = np.interp(truth.onset[kept] + BEHIND, truth.frame_times, truth.behavior_frame_times)
    eye, running = (Eye & acquired).fetch1(), (Treadmill & acquired).fetch1()
    np.testing.assert_array_equal(eye["eye_valid"], undisturbed(truth.pupil, at, 2))
    np.testing.assert_array_equal(running["treadmill_valid"], undisturbed(truth.treadmill, at, 0))
    for valid in (eye["eye_valid"], running["treadmill_valid"]):
        assert 0.5 < valid.mean() < 1

    seen = eye["eye_valid"]
    for i, column in ((1, eye["pupil"]), (2, eye["center"][:, 0]), (3, eye["center"][:, 1])):
        expected = window_average(truth.pupil[:, 0], truth.pupil[:, i], at)
        # frames jitter, and gaps of one or two are filled in order of frames, not of time
        np.testing.assert_allclose(column[seen], expected[seen], rtol=5e-4)
        assert np.all(column[~seen] == -1)
    gaze, gain = truth.trials.gaze[kept], truth.trials.gain[kept]
    assert np.corrcoef(eye["center"][seen, 0], gaze[seen, 0])[0, 1] > 0.9
    assert np.corrcoef(eye["pupil"][seen], gain[seen])[0, 1] > 0.8
    read = running["treadmill_valid"]
    assert np.corrcoef(running["treadmill"][read], gain[read])[0, 1] > 0.6


def test_the_same_rig_again_changes_nothing_and_another_is_refused(acquired, kind):
    assert ingest_first_day(acquired, MOVING, SHOWN, SEED, kind, RIG) is False
    other = RIG.model_copy(update={"blink_fraction": 0.2})
    with pytest.raises(BadRecording, match="already there"):
        ingest_first_day(acquired, MOVING, SHOWN, SEED, kind, other)


def test_a_rig_that_spoils_too_many_trials_leaves_nothing(tables):
    before = row_counts()
    key = {"animal_id": 79, "session": 1, "scan_idx": 1}
    for n_malformed, message in ((SHOWN.n_trials + 1, "no such virtual recording"), (40, "flips")):
        with pytest.raises(BadRecording, match=message):
            rig = AcquisitionParams(n_malformed=n_malformed)
            ingest_first_day(key, MOVING, SHOWN, SEED, "trace", rig)
    with pytest.raises(BadRecording, match="activity is one of"):
        ingest_first_day(key, MOVING, SHOWN, SEED, "fluorescence")
    assert row_counts() == before


def test_the_command_records_with_a_rig(recordings):
    key = recordings.key()
    words = ["--activity", "trace", "--eye-movement", "1.5", "--n-simple", "2", "--n-complex", "1"]
    words += ["--n-train", "20", "--n-test", "3", "--repeats", "2"]
    animal = str(key["animal_id"])
    result = CliRunner().invoke(app, ["ingest", "virtual", "--animal", animal, *words])
    assert result.exit_code == 0, result.output
    assert (Activity & key).fetch1("activity_kind") == "trace"
    assert (FrameClock & key).fetch1("n_depths") == AcquisitionParams().n_depths
    assert len(PupilTrack & key) == len(TreadmillTrace & key) == 1
    assert load_animal(key)[0].params.eye_movement_px == 1.5
