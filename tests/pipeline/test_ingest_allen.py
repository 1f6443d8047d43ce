"""Allen sessions: tables become arrays, and files what allensdk itself says about them."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline.allen.conversion import (
    BadSession,
    choose_units,
    pupil_track,
    read_presentations,
    spike_arrays,
    treadmill_track,
    unit_arrays,
    unrecorded_intervals,
)
from pipeline.allen.gabors import DEGREES_PER_PIXEL, GREY, SCENE_PIXELS, render_gabor
from pipeline.cli import app
from pipeline.ingest.allen import PYTHON, ingest_allen, locate_session
from pipeline.ingest.arrays import read_arrays
from pipeline.ingest.rows import BadRecording
from schemas import recording
from schemas.recording import AreaMembership, PupilTrack, Scan, TreadmillTrace, Trial
from schemas.responses import Frame, InputResponse, Preprocessing, StaticScan
from science.preprocessing import PreprocessingParams

SESSION = "data/allensdk_ecephys_session_SYNTHETIC/ecephys_session_999999999.nwb"
SCENES = "data/allen_natural_scenes_31px/allen_scenes_31x31.npz"
REFERENCE = Path(__file__).with_name("allen_reference.py")
ALWAYS = np.empty((0, 2))

needs_allensdk = [
    pytest.mark.slow,
    pytest.mark.shared,
    pytest.mark.skipif(not PYTHON.exists(), reason="no .venv-allen: run `make install-allen`"),
]

GABOR = {"spatial_frequency": 0.08, "temporal_frequency": 4.0, "contrast": 0.8, "size": 20.0}


def table(*rows):
    """Return columns as allensdk does: what does not apply is the text 'null'."""
    names = {name for row in rows for name in row}
    columns = {name: [row.get(name, "null") for row in rows] for name in names}
    columns["start_time"] = [row.get("start_time", 0.25 * n) for n, row in enumerate(rows)]
    columns["stop_time"] = [start + 0.25 for start in columns["start_time"]]
    times = ("start_time", "stop_time")
    return {n: np.array(c, float if n in times else object) for n, c in columns.items()}


def scene(frame, **more):
    return {"stimulus_name": "natural_scenes", "frame": frame} | more


def gabor(orientation, x, y, **more):
    place = {"orientation": orientation, "x_position": x, "y_position": y}
    texts = {"size": "[20.0, 20.0]", "spatial_frequency": "0.08", "phase": "[3644.93, 3644.93]"}
    return {"stimulus_name": "gabors"} | GABOR | texts | place | more


def test_scenes_blanks_and_gabors_are_found_among_other_stimuli():
    shown = read_presentations(
        table(
            {"stimulus_name": "spontaneous"},
            gabor(45.0, -40.0, 10.0),
            gabor(0.0, 0.0, 0.0),
            gabor(45.0, -40.0, 10.0),
            scene(7.0),
            scene("-1.0"),
            scene("7"),
            {"stimulus_name": "static_gratings", "orientation": 30.0},
            scene(np.float64(0)),
            {"stimulus_name": "invalid_presentation"},
        ),
        ALWAYS,
    )
    pictures = [shown.pictures[i] for i in shown.image_index]
    assert [p.image_class for p in pictures] == [
        *["gabor"] * 3, "natural_scenes", "blank", *["natural_scenes"] * 2
    ]  # fmt: skip
    assert [p.image_id for p in pictures[3:]] == [7, 0, 7, 0]
    assert pictures[0] == pictures[2] != pictures[1]
    assert pictures[0].params == GABOR | {"orientation": 45, "x_position": -40, "y_position": 10}
    np.testing.assert_array_equal(shown.onset, [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0])
    np.testing.assert_array_equal(shown.offset, shown.onset + 0.25)
    assert shown.left_out == {"spontaneous": 1, "static_gratings": 1, "invalid_presentation": 1}
    named = shown.arrays()
    assert named["presentation_time"] == 0.25
    assert json.loads(named["stimulus_params"][shown.image_index[0]]) == pictures[0].params


def test_presentations_are_put_in_order_of_time():
    rows = [scene(2, start_time=9.0), scene(1, start_time=3.0), scene(0, start_time=6.0)]
    shown = read_presentations(table(*rows), ALWAYS)
    assert [shown.pictures[i].image_id for i in shown.image_index] == [1, 0, 2]
    np.testing.assert_array_equal(shown.onset, [3, 6, 9])


def test_a_gabor_has_the_same_number_in_every_session():
    first = read_presentations(table(scene(0), gabor(0, 10, 0), gabor(0, 20, 0)), ALWAYS)
    other = read_presentations(table(gabor("90.0", 0, 0), gabor("0.0", 20.0, 0), scene(3)), ALWAYS)
    (common,) = set(map(repr, first.pictures)) & set(map(repr, other.pictures))
    assert "20.0" in common
    numbers = [p.image_id for p in first.pictures + other.pictures if p.image_class == "gabor"]
    assert len(set(numbers)) == 3
    assert max(numbers) < 2**31


def test_presentations_without_spikes_are_left_out():
    rows = table(*(scene(frame) for frame in range(8)))
    shown = read_presentations(rows, np.array([[0.3, 0.4], [1.0, 1.3]]))
    assert [shown.pictures[i].image_id for i in shown.image_index] == [0, 2, 3, 6, 7]
    assert shown.left_out == {"presentations without spikes": 3}


def test_booleans_are_numbers():
    # allensdk makes True and False of a column that holds nothing but 1 and 0
    shown = read_presentations(table(scene(True), scene(False)), ALWAYS)
    assert [shown.pictures[i].image_id for i in shown.image_index] == [1, 0]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"stimulus_name": "gabors"}], "shows no natural_scenes, but gabors"),
        ([scene("null")], "frame of natural_scenes must be one number, not 'null'"),
        ([scene(2.5)], "frames of natural_scenes must be"),
        ([scene(1), gabor(0, 0, "null")], "y_position of gabors must be one number"),
        ([scene(1), gabor(0, 0, 0, size="[20.0, 10.0]")], "size of gabors must be one number"),
        ([scene(1), {"stimulus_name": "gabors"}], "gabors have no column orientation"),
    ],
)
def test_unusable_presentations_are_refused(rows, message):
    with pytest.raises(BadSession, match=message):
        read_presentations(table(*rows), ALWAYS)


def test_only_intervals_of_the_own_probes_count():
    invalid = {
        "start_time": np.array([1.0, 2.0, 3.0, 4.0]),
        "stop_time": np.array([1.5, 2.5, 3.5, 4.5]),
        "tags": np.array([["EcephysProbe", "7", name] for name in
                          ("probeA", "probeB", "all_probes", "stimulus")]),
    }  # fmt: skip
    intervals = unrecorded_intervals(invalid, ["probeA", "probeC"])
    np.testing.assert_array_equal(intervals, [[1, 1.5], [3, 3.5]])
    assert unrecorded_intervals({}, ["probeA"]).shape == (0, 2)


def units(**changes):
    columns = {
        "unit_id": np.array([30, 10, 20, 40]),
        "ecephys_structure_acronym": np.array(["VISp", "VISam", None, "VISam"], object),
        "anterior_posterior_ccf_coordinate": np.array([8000.0, 8100, 8200, 8300]),
        "dorsal_ventral_ccf_coordinate": np.array([1000.0, 1100, 1200, 1300]),
        "left_right_ccf_coordinate": np.array([9000.0, 9100, 9200, 9300]),
    }
    return columns | changes


def test_units_are_chosen_by_area_in_the_order_of_their_numbers():
    everything = choose_units(units(), ())
    np.testing.assert_array_equal(everything["unit_id"], [10, 20, 30, 40])
    np.testing.assert_array_equal(everything["area"], ["VISam", "unknown", "VISp", "VISam"])
    chosen = unit_arrays(choose_units(units(), ["VISam"]))
    np.testing.assert_array_equal(chosen["unit_id"], [10, 40])
    np.testing.assert_array_equal(chosen["x"], [8100, 8300])
    np.testing.assert_array_equal(chosen["y"], [1100, 1300])
    np.testing.assert_array_equal(chosen["z"], [9100, 9300])
    bare = units()
    bare["structure_acronym"] = bare.pop("ecephys_structure_acronym")
    np.testing.assert_array_equal(choose_units(bare, ())["area"], everything["area"])


@pytest.mark.parametrize("unknown", [np.nan, -1.0])
def test_positions_that_are_not_all_known_are_left_out(unknown):
    assert "x" in unit_arrays(choose_units(units(), ()))
    changed = units(left_right_ccf_coordinate=np.array([9000.0, 9100, unknown, 9300]))
    assert not {"x", "y", "z"} & set(unit_arrays(choose_units(changed, ())))
    assert "z" in unit_arrays(choose_units(changed, ["VISam"]))


def test_an_area_that_is_not_there_is_refused_by_name():
    with pytest.raises(
        BadSession, match=r"no units in LGd: the session has VISam \(2\), VISp \(1\)"
    ):
        choose_units(
            units(ecephys_structure_acronym=np.array(["VISp", "VISam", "VISam"], object))
            | {"unit_id": np.arange(3)},
            ["VISp", "LGd"],
        )
    with pytest.raises(BadSession, match="quality filters"):
        choose_units({name: column[:0] for name, column in units().items()}, ())


def test_spikes_follow_unit_by_unit():
    trains = {30: np.array([0.5, 0.1]), 10: np.empty(0), 20: np.array([7.0])}
    arrays = spike_arrays(trains, np.array([10, 20, 30]))
    np.testing.assert_array_equal(arrays["spike_times"], [7.0, 0.1, 0.5])
    np.testing.assert_array_equal(arrays["spike_counts"], [0, 1, 2])


def test_running_and_pupil_become_tracks():
    speed = {"start_time": [0.0, 0.1], "end_time": [0.1, 0.3], "velocity": [3.0, -1.0]}
    track = treadmill_track({name: np.array(column) for name, column in speed.items()})
    np.testing.assert_allclose(track, [[0.05, 3.0], [0.2, -1.0]])
    ellipses = {
        "pupil_width": np.array([8.0, np.nan]),
        "pupil_height": np.array([2.0, np.nan]),
        "pupil_center_x": np.array([300.0, np.nan]),
        "pupil_center_y": np.array([200.0, np.nan]),
    }
    track = pupil_track(np.array([1.0, 2.0]), ellipses)  # a circle of area 4 pi: radius 2
    np.testing.assert_array_equal(track, [[1, 2, 300, 200], [2, np.nan, np.nan, np.nan]])


def drawn(orientation=0.0, x=0.0, y=0.0, shape=SCENE_PIXELS, **changes):
    parameters = GABOR | {"orientation": orientation, "x_position": x, "y_position": y} | changes
    return render_gabor(shape, **parameters)


def test_a_gabor_is_a_disc_of_20_degrees_where_it_was_shown():
    for x, y in ((0, 0), (-40, 30), (20, -10)):
        picture = drawn(x=x, y=y, spatial_frequency=0.0, contrast=1.0)  # a white disc
        assert set(np.unique(picture)) == {GREY, 255}
        rows, columns = np.nonzero(picture == 255)
        area = len(rows) * DEGREES_PER_PIXEL**2
        assert area == pytest.approx(np.pi * 10**2, rel=1e-3)
        middle = (np.array(SCENE_PIXELS) - 1) / 2
        up, right = (middle[0] - rows.mean(), columns.mean() - middle[1])
        np.testing.assert_allclose(np.array([right, up]) * DEGREES_PER_PIXEL, [x, y], atol=0.01)


def test_a_gabor_has_its_spatial_frequency_contrast_and_a_bright_middle():
    picture = drawn(size=90.0, contrast=0.8)
    middle = picture[SCENE_PIXELS[0] // 2].astype(float)
    inside = middle[middle.size // 2 - 300 : middle.size // 2 + 300] / 127.5 - 1
    x = (np.arange(600) - 299.5) * DEGREES_PER_PIXEL
    expected = 0.8 * np.cos(2 * np.pi * 0.08 * x)
    assert np.abs(inside - expected).max() < 0.02
    assert (picture[400:500, 587] == picture[450, 587]).all()  # bars stand upright


@pytest.mark.parametrize("orientation", [0.0, 45.0, 90.0])
def test_a_gabor_is_turned_clockwise(orientation):
    picture = drawn(orientation, size=90.0) / 127.5 - 1
    centre = np.array(SCENE_PIXELS) / 2 - 0.5
    away = np.arange(-40, 41) / np.sqrt(2)
    angle = np.radians(orientation)
    along = np.array([-np.cos(angle), np.sin(angle)])  # rows run downwards: the bar's own direction
    rows, columns = (centre[:, None] + along[:, None] * away).round().astype(int)
    assert picture[rows, columns].min() > 0.75
    rows, columns = (centre[:, None] + along[::-1, None] * [[1], [-1]] * away).round().astype(int)
    assert picture[rows, columns].min() < 0.5


def test_a_gabor_on_a_small_canvas_is_the_same_picture():
    small = drawn(45.0, 20.0, 10.0, shape=(SCENE_PIXELS[0] // 9, SCENE_PIXELS[1] // 2))
    large = drawn(45.0, 20.0, 10.0).astype(float)
    blocks = large.reshape(small.shape[0], 9, small.shape[1], 2).mean(axis=(1, 3))
    assert np.abs(blocks - small).mean() < 0.6


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BadRecording, match=r"there is no file .*nothing\.nwb"):
        locate_session(nwb=tmp_path / "nothing.nwb")
    with pytest.raises(BadRecording, match="--session"):
        locate_session()


def test_a_missing_environment_says_how_to_make_it(tmp_path, monkeypatch):
    monkeypatch.setenv("INCEPTIONLOOP_ALLEN_PYTHON", str(tmp_path / "python"))
    (tmp_path / "session.nwb").touch()
    with pytest.raises(BadRecording, match="make install-allen"):
        locate_session(nwb=tmp_path / "session.nwb")


class Files:
    """Files of a session and what allensdk says about them."""

    def __init__(self, folder, shared):
        self.folder = folder
        self.plain = shared / SESSION
        self.scenes = folder / "scenes.npy"
        np.save(self.scenes, np.load(shared / SCENES)["images"])
        self.rich, self.cache = folder / "rich.nwb", folder / "cache"
        self.run("enrich", self.plain, self.rich)
        self.run("cache", self.plain, self.scenes, self.cache)

    def run(self, *arguments):
        command = [str(PYTHON), "-E", "-W", "ignore", str(REFERENCE), *map(str, arguments)]
        subprocess.run(command, check=True)

    def reference(self, nwb):
        self.run("reference", nwb, self.folder / "reference.npz")
        return np.load(self.folder / "reference.npz")


@pytest.fixture(scope="module")
def files(shared, tmp_path_factory):
    return Files(tmp_path_factory.mktemp("allen"), shared)


@pytest.fixture
def ingested(recordings, files):
    """Ingest a session under a new key."""

    def ingest(nwb=None, number=None, areas=(), templates=None, key=None):
        session = locate_session(number, nwb, None if nwb else files.cache)
        key = key or recordings.key() | {"session": session.number}
        recordings.keys[-1] = key
        assert ingest_allen(session, key, areas, templates or (files.scenes if nwb else None))
        return key

    return ingest


class TestWithAllensdk:
    pytestmark = needs_allensdk

    @pytest.mark.parametrize("name", ["plain", "rich"])
    def test_responses_are_the_counts_of_allensdk(self, ingested, files, name):
        key = ingested(getattr(files, name))
        truth = files.reference(getattr(files, name))
        trials = (Trial * recording.Condition & key).to_dicts(order_by="trial_idx")
        onset = np.array([trial["trial_onset"] for trial in trials])
        kept = np.isin(truth["onset"], onset)
        assert len(onset) == kept.sum() == {"plain": 595, "rich": 595 - 4 + 36}[name]
        np.testing.assert_array_equal(truth["offset"][kept], [t["trial_offset"] for t in trials])

        params = PreprocessingParams(height=20, width=32, window="presentation")
        member = key | Preprocessing.register(params)
        StaticScan.insert1(member)
        Frame.populate(member, suppress_errors=False)
        InputResponse.populate(member, suppress_errors=False)
        keys = (InputResponse.ResponseKeys & member).to_dicts(order_by="response_block, col_id")
        assert [row["unit_id"] for row in keys] == truth["unit_id"].tolist()
        blocks = (InputResponse.ResponseBlock & member).to_arrays(
            "responses", order_by="response_block"
        )
        responses = np.concatenate([np.asarray(block) for block in blocks], axis=1)
        assert responses.sum() > 10_000
        np.testing.assert_array_equal(responses, truth["counts"][kept])
        np.testing.assert_array_equal(responses, truth["binned"][kept])

    def test_images_areas_and_running_are_those_of_the_file(self, ingested, files, shared):
        key = ingested(files.plain)
        truth = files.reference(files.plain)
        frames = truth["frame"].astype(int)
        shown = (Trial * recording.Condition & key).to_dicts(order_by="trial_idx")
        blank = frames == -1
        assert [row["image_class"] == "blank" for row in shown] == blank.tolist()
        assert [row["image_id"] for row in shown] == np.where(blank, 0, frames).tolist()
        assert np.bincount(frames + 1).tolist() == [5] * 119
        images = recording.Image & (recording.Condition & (Trial & key))
        scenes = (images & "image_class = 'natural_scenes'").to_arrays("image", order_by="image_id")
        np.testing.assert_array_equal(np.stack(scenes), np.load(shared / SCENES)["images"])
        (grey,) = (images & "image_class = 'blank'").to_arrays("image")
        assert (grey.shape, set(grey.ravel().tolist())) == ((31, 31), {GREY})
        areas = (AreaMembership & key).to_arrays("brain_area", order_by="unit_id")
        np.testing.assert_array_equal(areas, truth["area"])
        track = np.asarray((TreadmillTrace & key).fetch1("treadmill_track"))
        np.testing.assert_allclose(track[:, 0], (truth["speed_from"] + truth["speed_to"]) / 2)
        np.testing.assert_array_equal(track[:, 1], truth["speed"])
        assert not PupilTrack & key
        source = (Scan & key).fetch1()
        assert source["source_size"] == files.plain.stat().st_size
        assert "allensdk 2.16.2" in source["reader_version"]

    def test_gabors_pupil_and_invalid_intervals(self, ingested, files):
        key = ingested(files.rich)
        shown = recording.Trial * recording.Condition & key & "image_class = 'gabor'"
        rows = (shown * recording.Image).to_dicts(order_by="trial_idx")
        assert len({row["image_id"] for row in rows}) == 18
        assert rows[0]["stimulus_params"] == GABOR | {
            "orientation": 0.0, "x_position": -40.0, "y_position": -10.0
        }  # fmt: skip
        for row in rows:
            expected = render_gabor((31, 31), **row["stimulus_params"])
            np.testing.assert_array_equal(row["image"], expected)
        onset = (Trial & key).to_arrays("trial_onset", order_by="trial_idx")
        for start, stop, left_out in ((40.1, 40.2, 1), (50.1, 50.6, 1), (60.1, 61.0, 0)):
            assert ((onset < stop) & (onset + 0.25 > start)).any() != left_out
        pupil = np.asarray((PupilTrack & key).fetch1("pupil_track"))
        x, y, height, width, _ = files.reference(files.rich)["pupil"].T
        np.testing.assert_allclose(pupil[:, 1], np.sqrt(height * width) / 2)
        np.testing.assert_array_equal(pupil[:, 2:], np.stack([x, y], axis=1))
        assert np.isnan(pupil[100:120, 1:]).all()
        assert np.isfinite(pupil).sum() == pupil.size - 60

    def test_a_session_of_the_cache_has_the_areas_of_the_warehouse(self, ingested, files):
        key = ingested(number=999999999, areas=["VISam"])
        areas = (AreaMembership & key).to_arrays("brain_area")
        assert areas.tolist() == ["VISam"] * 4
        assert len(Trial & key) == 595
        assert (Scan & key).fetch1("source_name") == "session_999999999.nwb, VISam"

    def test_an_interrupted_ingest_goes_on_and_another_choice_is_refused(
        self, ingested, files, recordings, tmp_path, monkeypatch
    ):
        folder = tmp_path / "home"
        monkeypatch.setenv("INCEPTIONLOOP_HOME", str(folder))
        session = locate_session(nwb=files.plain)
        key = recordings.key() | {"session": session.number}
        recordings.keys[-1] = key
        with monkeypatch.context() as patch:
            patch.setattr("pipeline.ingest.allen.insert_scan", _interrupted)
            with pytest.raises(KeyboardInterrupt):
                ingest_allen(session, key, (), files.scenes)
        (converted,) = (folder / "allen").iterdir()
        assert len(read_arrays(converted).units.unit_id) == 12
        with monkeypatch.context() as patch:
            patch.setattr("pipeline.ingest.allen._run", _interrupted)  # it is not converted again
            assert ingest_allen(session, key, (), files.scenes)
            assert not ingest_allen(session, key, (), files.scenes)
            assert not list((folder / "allen").iterdir())
            with pytest.raises(BadRecording, match="another scan number"):
                ingest_allen(session, key, ["VISp"], files.scenes)

    def test_bad_sessions_give_one_clear_error(self, recordings, files, tmp_path):
        whole = files.plain.read_bytes()
        truncated, text = tmp_path / "truncated.nwb", tmp_path / "text.nwb"
        truncated.write_bytes(whole[: len(whole) // 2])
        text.write_text("spikes")
        for path in (truncated, text):
            with pytest.raises(BadRecording, match="cannot be read: truncated, or no NWB file"):
                locate_session(nwb=path)
        session = locate_session(nwb=files.plain)
        key = recordings.key() | {"session": session.number}
        few, colour = tmp_path / "few.npy", tmp_path / "colour.npy"
        np.save(few, np.zeros((5, 8, 8), np.uint8))
        np.save(colour, np.zeros((118, 8, 8, 3), np.uint8))
        for areas, templates, message in (
            (["VISam"], files.scenes, r"no units in VISam: the session has LGd \(4\), VISp \(8\)"),
            ((), None, "--cache FOLDER"),
            ((), few, "holds 5 natural scenes, but the session shows 117"),
            ((), colour, "must be uint8 grey values of one size"),
            ((), tmp_path, r"there is no .*natural_scene_0\.tiff"),
            ((), tmp_path / "none.npy", "there is no file or folder"),
        ):
            with pytest.raises(BadRecording, match=message):
                ingest_allen(session, key, areas, templates)
        assert not Scan & key

    def test_command_line(self, tables, recordings, files):
        key = {"animal_id": 1, "session": 999999999, "scan_idx": 9}
        recordings.keys.append(key)
        command = ["ingest", "allen", "--nwb", str(files.plain), "--templates", str(files.scenes)]
        for outcome in ("ingested", "was already there"):
            result = CliRunner().invoke(app, [*command, "--area", "VISp", "--scan", "9"])
            assert result.exit_code == 0, result.output
            assert f"recording 1-999999999-9 {outcome}" in result.output
        assert len(Scan.Unit & key) == 8


def _interrupted(*_arguments):
    raise KeyboardInterrupt
