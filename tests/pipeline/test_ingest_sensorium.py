"""Sensorium folders, written here as published: what goes in comes out, of a bad one nothing."""

import logging
import shutil
import time
from functools import partial

import numpy as np
import pytest
from ingest_checks import check_interruption, check_refusal
from miniature import recorded_activity, row_counts
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.ingest.rows import BadRecording
from pipeline.ingest.sensorium import ingest_sensorium, published_key, read_sensorium
from schemas import recording
from schemas.recording import Activity, Condition, Image, PupilTrack, Scan, TreadmillTrace, Trial

N_IMAGES, N_UNITS, SIZE = 12, 5, (6, 10)
FOLDER = "static21067-10-18-GrayImageNet-94c6ff995dac583098847cfecd43e7b6"


def content(seed, **changes):
    """Return what a folder holds: images 0-2 are shown three times, in the files' random order."""
    rng = np.random.default_rng(seed)
    shown = rng.permutation(np.repeat(np.arange(N_IMAGES), np.where(np.arange(N_IMAGES) < 3, 3, 1)))
    n = len(shown)
    pixels = rng.integers(0, 256, (N_IMAGES, 1, *SIZE)).astype(np.float32)
    trials = {
        "tiers": np.where(shown < 3, "test", np.where(shown < 5, "validation", "train")),
        "frame_image_id": shown + 1000 * seed,
        "frame_image_class": np.full(n, "imagenet"),
        "frame_presentation_time": np.full(n, 0.5),
        "frame_pre_blank_period": np.full(n, 0.3),
        "trial_idx": 7 + 2 * rng.permutation(n),
        "condition_hash": np.array([f"hash{image}" for image in shown]),
    }
    neurons = {
        "unit_ids": np.array([3, 40, 7, 11, 12]),
        "animal_ids": np.full(N_UNITS, 21067),
        "sessions": np.full(N_UNITS, 10),
        "scan_idx": np.full(N_UNITS, 18),
        "area": np.array(["V1", "V1", "LM", "V1", "V1"]),
        "layer": np.full(N_UNITS, "L2/3"),
        "cell_motor_coordinates": rng.integers(-500, 500, (N_UNITS, 3)),
    }
    data = {
        "images": pixels[shown],
        "responses": rng.gamma(1.0, size=(n, N_UNITS)),
        "behavior": rng.normal(size=(n, 3)),
        "pupil_center": rng.normal(size=(n, 2)),
    }
    parts = {"data": data, "trials": trials, "neurons": neurons}
    for name, value in changes.items():
        part = next((p for p in parts.values() if name in p), None)
        part[name] = value
    return parts


@pytest.fixture
def write(tmp_path):
    def to_folder(parts, name=FOLDER):
        folder = tmp_path / name
        for data_key, values in parts["data"].items():
            if values is None:
                continue
            (folder / "data" / data_key).mkdir(parents=True)
            for i, value in enumerate(values):
                np.save(folder / "data" / data_key / f"{i}.npy", value)
        for group in ("trials", "neurons"):
            (folder / "meta" / group).mkdir(parents=True)
            for meta_key, values in parts[group].items():
                if values is not None:
                    np.save(folder / "meta" / group / f"{meta_key}.npy", values)
        statistics = folder / "meta" / "statistics" / "responses" / "all"
        statistics.mkdir(parents=True)
        np.save(statistics / "std.npy", np.ones(N_UNITS))
        return folder

    return to_folder


def trial_rows(key):
    return (Trial * Condition * Image & key).to_dicts(order_by="trial_idx")


# --- what goes in comes out


def test_everything_comes_back_in_the_order_of_presentation(recordings, write):
    key, given = recordings.key(), content(1)
    data, trials, neurons = given["data"], given["trials"], given["neurons"]
    assert ingest_sensorium(write(given), key) is True
    time_order, unit_order = np.argsort(trials["trial_idx"]), [0, 2, 3, 4, 1]

    units = (Scan.Unit & key).to_dicts(order_by="unit_id")
    assert [u["unit_id"] for u in units] == [3, 7, 11, 12, 40]
    position = [[u["um_x"], u["um_y"], u["um_z"]] for u in units]
    assert position == neurons["cell_motor_coordinates"][unit_order].tolist()
    for table, attribute, name in (
        (recording.AreaMembership, "brain_area", "area"),
        (recording.LayerMembership, "layer", "layer"),
    ):
        stored = (table & key).to_arrays(attribute, order_by="unit_id")
        assert stored.tolist() == neurons[name][unit_order].tolist()

    assert (Activity & key).fetch1("activity_kind") == "trial_response"
    expected = data["responses"][time_order][:, unit_order].astype(np.float32)
    np.testing.assert_array_equal(recorded_activity(key), expected)

    rows = trial_rows(key)
    assert len(rows) == len(time_order)
    for row, i in zip(rows, time_order, strict=True):
        np.testing.assert_array_equal(row["image"], data["images"][i, 0])
        assert row["image"].dtype == np.uint8
        assert (row["image_class"], row["image_id"]) == ("imagenet", trials["frame_image_id"][i])
        assert (row["presentation_time"], row["pre_blank_period"]) == (0.5, 0.3)
    assert len({row["image_id"] for row in rows}) == N_IMAGES

    sampling, pupil = (PupilTrack & key).fetch1("pupil_sampling", "pupil_track")
    expected = np.hstack([data["behavior"][:, :2], data["pupil_center"]])[time_order]
    assert sampling == "trial"
    np.testing.assert_array_equal(np.asarray(pupil), expected)
    sampling, speed = (TreadmillTrace & key).fetch1("treadmill_sampling", "treadmill_track")
    assert sampling == "trial"
    np.testing.assert_array_equal(np.asarray(speed), data["behavior"][time_order, 2:])


def test_the_recording_says_where_it_came_from(recordings, write):
    key = recordings.key()
    folder = write(content(2))
    ingest_sensorium(folder, key)
    row = (Scan & key).fetch1()
    assert (row["reader"], row["source_name"]) == ("sensorium", FOLDER)
    assert row["source_size"] == sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    assert published_key(folder) == {"animal_id": 21067, "session": 10, "scan_idx": 18}


def test_a_second_time_changes_nothing_and_other_content_is_refused(recordings, write):
    key, folder = recordings.key(), write(content(3))
    assert ingest_sensorium(folder, key) is True
    before = row_counts()
    assert ingest_sensorium(folder, key) is False
    np.save(folder / "data" / "responses" / "4.npy", np.ones(N_UNITS))
    with pytest.raises(BadRecording, match=f"already there, from {FOLDER}"):
        ingest_sensorium(folder, key)
    assert row_counts() == before


def test_the_command_takes_the_folders_numbers_unless_others_are_given(recordings, write):
    key, folder = recordings.key(), write(content(28))
    key |= {"session": 10, "scan_idx": 18}
    words = ["ingest", "sensorium", str(folder), "--animal", str(key["animal_id"])]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert f"recording {key['animal_id']}-10-18 ingested" in result.stdout
    assert len(Trial & key) == 18
    assert "was already there" in CliRunner().invoke(app, words).stdout


def test_an_interrupted_one_leaves_nothing_and_goes_in_later(recordings, write, monkeypatch):
    key, given = recordings.key(), content(4)
    folder = write(given)
    check_interruption(ingest_sensorium, folder, key, monkeypatch)
    assert recorded_activity(key).shape == given["data"]["responses"].shape


def test_two_mice_that_saw_the_same_images_share_them(recordings, write):
    keys = [recordings.key(), recordings.key()]
    first, second = content(5), content(6)
    for part, name in (("data", "images"), ("trials", "frame_image_id"), ("trials", "tiers")):
        second[part][name] = first[part][name]
    before = len(Image())
    for key, given, name in zip(keys, (first, second), ("a", "b"), strict=True):
        ingest_sensorium(write(given, name), key)
    assert len(Image()) - before == N_IMAGES


# --- what published sets have


def test_withheld_responses_are_left_out(recordings, write, caplog):
    key, given = recordings.key(), content(7)
    tiers = given["trials"]["tiers"] = given["trials"]["tiers"].astype("U10")
    final = np.flatnonzero(tiers == "train")[:3]
    tiers[final] = "final_test"
    withheld = np.isin(tiers, ["test", "final_test"])
    given["data"]["responses"][withheld] = 0
    given["data"]["responses"][final[0]] = np.nan
    with caplog.at_level(logging.WARNING):
        ingest_sensorium(write(given), key)
    assert "left out 12 of 18 trials, of the tiers final_test, test" in caplog.text
    kept = np.argsort(given["trials"]["trial_idx"])
    kept = kept[~withheld[kept]]
    assert [row["image_id"] for row in trial_rows(key)] == given["trials"]["frame_image_id"][
        kept
    ].tolist()
    np.testing.assert_array_equal(
        recorded_activity(key),
        given["data"]["responses"][kept][:, [0, 2, 3, 4, 1]].astype(np.float32),
    )
    pupil = np.asarray((PupilTrack & key).fetch1("pupil_track"))
    np.testing.assert_array_equal(pupil[:, :2], given["data"]["behavior"][kept, :2])


def test_published_test_responses_stay(write, caplog):
    given = content(8)
    silent = np.flatnonzero(given["trials"]["tiers"] == "train")[0]
    given["data"]["responses"][silent] = 0  # a silent trial that was not withheld
    scan = read_sensorium(write(given))
    assert len(scan.trials.image_index) == 18
    assert not caplog.text


def test_hashed_trial_numbers_keep_the_order_of_the_files(write):
    given = content(9, trial_idx=np.array([f"{i * 7919 % 101:x}" for i in range(18)]))
    scan = read_sensorium(write(given))
    np.testing.assert_array_equal(
        scan.images.image_id[scan.trials.image_index], given["trials"]["frame_image_id"]
    )


@pytest.mark.parametrize(
    ("changes", "has_pupil", "has_treadmill"),
    [
        ({"behavior": np.zeros((18, 3)), "pupil_center": np.zeros((18, 2))}, False, False),
        ({"behavior": None, "pupil_center": None}, False, False),
        ({"pupil_center": None}, False, True),
        ({}, True, True),
    ],
)
def test_behavior_may_be_absent(write, changes, has_pupil, has_treadmill):
    scan = read_sensorium(write(content(10, **changes)))
    assert (scan.pupil is not None, scan.treadmill is not None) == (has_pupil, has_treadmill)


def test_what_is_optional_may_be_absent(recordings, write):
    key = recordings.key()
    names = ("area", "layer", "cell_motor_coordinates", "trial_idx", "frame_presentation_time")
    assert ingest_sensorium(write(content(11, **dict.fromkeys(names))), key)
    for table in (recording.AreaMembership, recording.LayerMembership):
        assert not table & key
    assert set((Trial * Condition & key).to_arrays("presentation_time")) == {None}


def test_fractions_of_resized_images_are_rounded(write):
    given = content(12)
    exact = np.linspace(-0.4, 255.4, 18 * 60).reshape(18, 1, *SIZE)
    given["data"]["images"] = exact.astype(np.float32)
    given["trials"]["frame_image_id"] = np.arange(18)
    scan = read_sensorium(write(given))
    stored = scan.images.pixels[scan.trials.image_index]
    assert stored.dtype == np.uint8
    in_time = exact[np.argsort(given["trials"]["trial_idx"]), 0]
    assert np.abs(stored - in_time).max() <= 0.5 + 1e-5
    assert (stored.min(), stored.max()) == (0, 255)


def test_six_thousand_trials_are_read_in_seconds(write):
    """Of few units and small images: it is the number of files that takes the time."""
    n, rng = 6000, np.random.default_rng(0)
    given = content(13)
    given["data"] = {
        "images": rng.integers(0, 256, (n, 1, 36, 64)).astype(np.float32),
        "responses": rng.random((n, 50)),
        "behavior": rng.random((n, 3)),
        "pupil_center": rng.random((n, 2)),
    }
    given["trials"] = {
        "tiers": np.full(n, "train"),
        "frame_image_id": np.arange(n),
        "frame_image_class": np.full(n, "imagenet"),
    }
    given["neurons"] = {"unit_ids": np.arange(50)}
    folder = write(given)
    start = time.perf_counter()
    scan = read_sensorium(folder)
    assert time.perf_counter() - start < 20
    np.testing.assert_array_equal(scan.images.pixels, given["data"]["images"][:, 0])


# --- bad content and bad files: a clear message, and nothing stored


def with_nan(tier):
    def change(given):
        trial = np.argmax(given["trials"]["tiers"] == tier)
        given["data"]["responses"][trial, 2] = np.nan

    return change


def replaced(name, value):
    def change(given):
        next(part for part in given.values() if name in part)[name] = value

    return change


BAD_CONTENT = {
    "a response that is NaN": (
        with_nan("train"),
        r"data/responses/\d+\.npy holds NaN or infinite values, and its tier is train",
    ),
    "some NaN in a test trial": (
        with_nan("test"),
        "holds NaN or infinite values, and its tier is test",
    ),
    "no published responses": (
        lambda given: (
            replaced("responses", np.zeros((18, N_UNITS)))(given),
            replaced("tiers", np.full(18, "final_test"))(given),
        ),
        "no trial has published responses",
    ),
    "responses of other units": (
        replaced("responses", np.ones((18, 4))),
        r"data/responses/\d+\.npy must be 5 numbers, not float64 \(4,\)",
    ),
    "words as responses": (replaced("responses", np.full((18, 5), "a")), "must be 5 numbers"),
    "two numbers of behavior": (
        replaced("behavior", np.ones((18, 2))),
        r"data/behavior/\d+\.npy must be 3 numbers",
    ),
    "colour images": (
        replaced("images", np.zeros((18, 2, *SIZE), np.uint8)),
        r"images/\d+\.npy must be one grey image \(1, h, w\), not \(2, 6, 10\)",
    ),
    "flat images": (replaced("images", np.zeros((18, *SIZE), np.uint8)), r"not \(6, 10\)"),
    "images of different size": (
        lambda given: replaced(
            "images", [*given["data"]["images"][:-1], np.zeros((1, 6, 11), np.uint8)]
        )(given),
        r"is \(6, 1[01]\), but the images before it are",
    ),
    "normalised images": (
        lambda given: replaced("images", given["data"]["images"] / 60 - 2)(given),
        "must be grey values 0-255, but they go from -",
    ),
    "images from 0 to 1": (
        lambda given: replaced("images", given["data"]["images"] / 255)(given),
        "look scaled to 0-1",
    ),
    "pixels that are NaN": (
        replaced("images", np.full((18, 1, *SIZE), np.nan)),
        "must be grey values 0-255",
    ),
    "words as images": (replaced("images", np.full((18, 1, *SIZE), "a")), "0-255, not <U1"),
    "fewer trials in the lists": (
        replaced("frame_image_id", np.arange(17)),
        r"frame_image_id\.npy must have one entry for each of the trials \(18\), not \(17,\)",
    ),
    "fewer tiers than files": (
        replaced("tiers", np.full(17, "train")),
        "data/behavior has 18 files, but meta/trials/tiers.npy 17 trials",
    ),
    "fractions as image ids": (
        replaced("frame_image_id", np.arange(18) / 2),
        "image_id must be one integer per image",
    ),
    "too few areas": (
        replaced("area", np.array(["V1"])),
        r"area\.npy must have one entry for each of the neurons \(5\)",
    ),
    "flat positions": (
        replaced("cell_motor_coordinates", np.zeros((5, 2))),
        "x, y and z must be finite numbers",
    ),
    "a unit twice": (replaced("unit_ids", np.array([1, 2, 2, 3, 4])), "distinct integers"),
    "no unit ids": (replaced("unit_ids", None), r"there is no file .*unit_ids\.npy"),
    "no tiers": (replaced("tiers", None), r"there is no file .*tiers\.npy"),
}


@pytest.mark.parametrize("name", BAD_CONTENT)
def test_bad_content_is_refused_and_nothing_is_stored(recordings, write, name):
    change, message = BAD_CONTENT[name]
    given = content(20)
    change(given)
    refused(write(given), recordings.key(), message)


refused = partial(check_refusal, ingest_sensorium)


def test_two_images_under_one_id(recordings, write):
    given = content(21)
    twice = np.flatnonzero(given["trials"]["frame_image_id"] == 21000)
    image = given["data"]["images"][twice[1], 0]
    image[3, 3] = 255 - image[3, 3]  # never the same
    refused(write(given), recordings.key(), "differs from .* though both are image 21000 of class")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("data/responses/3.npy", "data/responses has 17 files, but .* 18 trials"),
        ("data/images/0.npy", "data/images has 17 files"),
        ("data/pupil_center/9.npy", "data/pupil_center has 17 files"),
        ("meta/neurons/unit_ids.npy", "there is no file .*unit_ids"),
        ("meta/trials/frame_image_class.npy", "there is no file .*frame_image_class"),
    ],
)
def test_a_missing_file(recordings, write, path, message):
    folder = write(content(22))
    (folder / path).unlink()
    refused(folder, recordings.key(), message)


def test_a_missing_folder(recordings, write, tmp_path):
    folder = write(content(23))
    shutil.rmtree(folder / "data" / "responses")
    refused(folder, recordings.key(), r"lacks \['data/responses'\]; it holds \['data', 'meta'\]")
    refused(tmp_path / "none", recordings.key(), "there is no folder .*none")
    refused(tmp_path / "set.zip", recordings.key(), "is a zip file: unzip it")


@pytest.mark.parametrize("kept", [0, 10, 100, -1])
@pytest.mark.parametrize("path", ["data/images/5.npy", "meta/trials/tiers.npy"])
def test_a_truncated_file(recordings, write, path, kept):
    file = write(content(24)) / path
    whole = file.read_bytes()
    file.write_bytes(whole[: kept if kept >= 0 else len(whole) + kept])
    refused(file.parents[2], recordings.key(), rf"{path} cannot be read as an \.npy file")


def test_a_file_of_another_type(recordings, write):
    folder = write(content(25))
    (folder / "data" / "behavior" / "2.npy").write_text("0.1, 0.2, 0.3")
    refused(folder, recordings.key(), r"data/behavior/2\.npy cannot be read as an \.npy file")


def test_python_objects_are_never_loaded(recordings, write):
    folder = write(content(26))
    np.save(folder / "meta" / "neurons" / "area.npy", np.array(["V1"] * 5, object))
    refused(folder, recordings.key(), "Python objects")


def test_a_folder_of_several_animals_has_no_key(write):
    given = content(27, animal_ids=np.array([1, 1, 1, 1, 2]))
    with pytest.raises(BadRecording, match=r"animal_ids\.npy must be the same integer for all"):
        published_key(write(given))
