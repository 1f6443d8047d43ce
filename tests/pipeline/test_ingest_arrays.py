"""Recordings from files of named arrays: what goes in comes out, and nothing of a bad file."""

import errno
import resource
from contextlib import contextmanager
from functools import partial

import datajoint as dj
import numpy as np
import pytest
from ingest_checks import check_refusal
from miniature import arrays, images, recorded_activity, row_counts

from pipeline.ingest.arrays import ingest_arrays
from pipeline.ingest.rows import BadRecording
from schemas import recording
from schemas.recording import (
    Activity,
    Condition,
    Image,
    PupilTrack,
    Scan,
    TreadmillTrace,
    Trial,
)

N_IMAGES, N_UNITS = 12, 5


def content(seed, **changes):
    """Return a recording with everything that the format knows."""
    rng = np.random.default_rng(seed)
    base = arrays(seed, n_images=N_IMAGES, n_units=N_UNITS, repeated=4)
    n_trials = len(base["image_index"])
    full = base | {
        "image_class": np.array(["photo"] * 8 + ["noise"] * 4),
        "image_id": np.arange(N_IMAGES) + 1000 * seed,
        "unit_id": np.array([2, 3, 11, 12, 40]),
        "area": np.array(["V1", "V1", "LM", "V1", "LM"]),
        "layer": np.array(["L2/3", "L4", "L4", "L2/3", "L5"]),
        "x": rng.uniform(0, 100, N_UNITS),
        "y": rng.uniform(0, 100, N_UNITS),
        "z": rng.uniform(0, 100, N_UNITS),
        "stack_id": np.array(9),
        "presentation_time": np.array(0.25),
        "pupil_trials": rng.normal(size=(n_trials, 4)),
        "treadmill_trials": rng.normal(size=n_trials),
    }
    return {name: value for name, value in (full | changes).items() if value is not None}


@pytest.fixture
def write(tmp_path):
    """Write a file in the arrays format."""

    def to_file(named, name="recording.npz"):
        np.savez(tmp_path / name, **named)
        return tmp_path / name

    return to_file


# --- what goes in comes out


def test_every_array_comes_back(recordings, write):
    key, given = recordings.key(), content(1)
    assert ingest_arrays(write(given), key) is True
    units = (Scan.Unit & key).to_dicts(order_by="unit_id")
    assert [unit["unit_id"] for unit in units] == given["unit_id"].tolist()
    for axis in "xyz":
        assert [unit[f"um_{axis}"] for unit in units] == given[axis].tolist()
        stack = (recording.StackUnitCoord & key & {"stack_id": 9}).to_arrays(
            f"stack_{axis}", order_by="unit_id"
        )
        assert stack.tolist() == given[axis].tolist()
    for table, attribute, name in (
        (recording.AreaMembership, "brain_area", "area"),
        (recording.LayerMembership, "layer", "layer"),
    ):
        stored = (table & key).to_arrays(attribute, order_by="unit_id")
        assert stored.tolist() == given[name].tolist()
    assert (Activity & key).fetch1("activity_kind") == "trial_response"
    np.testing.assert_array_equal(recorded_activity(key), given["responses"])
    trials = (Trial * Condition * Image & key).to_dicts(order_by="trial_idx")
    assert len(trials) == len(given["image_index"])
    for trial, image in zip(trials, given["image_index"].tolist(), strict=True):
        np.testing.assert_array_equal(trial["image"], given["images"][image])
        assert trial["image_class"] == given["image_class"][image]
        assert trial["image_id"] == given["image_id"][image]
        assert trial["presentation_time"] == 0.25
        assert trial["stimulus_type"] == "static"
    for table, name in ((PupilTrack, "pupil"), (TreadmillTrace, "treadmill")):
        sampling, track = (table & key).fetch1(f"{name}_sampling", f"{name}_track")
        assert sampling == "trial"
        np.testing.assert_array_equal(np.asarray(track).squeeze(), given[f"{name}_trials"])


def test_the_recording_says_where_it_came_from(recordings, write):
    key = recordings.key()
    path = write(content(2), "Maus 7, Tag 1 (ä).npz")
    ingest_arrays(path, key)
    row = (Scan & key).fetch1()
    assert row["reader"] == "arrays"
    assert row["source_name"] == path.name
    assert row["source_size"] == path.stat().st_size
    assert len(row["source_sha256"]) == 64


def test_only_three_arrays_are_needed(recordings, write):
    key, given = recordings.key(), arrays(3, n_images=6, n_units=3, repeated=0)
    assert ingest_arrays(write(given), key)
    assert (Scan.Unit & key).to_arrays("unit_id", order_by="unit_id").tolist() == [1, 2, 3]
    assert set((Trial * Condition & key).to_arrays("image_class")) == {"image"}
    for table in (
        recording.AreaMembership,
        recording.LayerMembership,
        recording.PupilTrack,
        recording.TreadmillTrace,
        recording.StackRegistration,
    ):
        assert not table & key


def test_integer_responses_and_one_name_for_all_images(recordings, write):
    key = recordings.key()
    given = arrays(4, n_images=6, n_units=2, repeated=0)
    given["responses"] = given["responses"].astype(np.uint16)
    given["image_class"] = np.array("gabor")
    ingest_arrays(write(given), key)
    np.testing.assert_array_equal(recorded_activity(key), given["responses"])
    assert set((Trial * Condition & key).to_arrays("image_class")) == {"gabor"}


def test_a_second_time_changes_nothing(recordings, write):
    key, path = recordings.key(), write(content(5))
    assert ingest_arrays(path, key) is True
    before = row_counts()
    assert ingest_arrays(path, key) is False
    assert row_counts() == before


def test_other_content_under_the_same_key_is_refused(recordings, write):
    key, given = recordings.key(), content(6)
    ingest_arrays(write(given), key)
    before = row_counts()
    given["responses"][0, 0] += 1
    with pytest.raises(BadRecording, match=r"already there, from recording\.npz: give .* another"):
        ingest_arrays(write(given, "other.npz"), key)
    assert row_counts() == before
    assert recorded_activity(key)[0, 0] == given["responses"][0, 0] - 1


def test_recordings_that_show_the_same_image_share_it(recordings, write):
    common = images(4, seed=7)
    stored = []
    for seed, order in ((8, [0, 1, 2, 3]), (9, [3, 1, 0, 2])):
        given = arrays(seed, n_images=6, n_units=2, repeated=0)
        given["images"][1:5] = common[order]
        key = recordings.key()
        ingest_arrays(write(given), key)
        shown = (Trial * Condition * Image & key).to_dicts()
        stored.append({row["image"].tobytes(): row["image_id"] for row in shown})
    both = stored[0].keys() & stored[1].keys()
    assert both == {image.tobytes() for image in common}
    assert {image: stored[0][image] for image in both}.items() <= stored[1].items()
    # and the other images of the second did not take numbers of the first
    assert len({*stored[0].values(), *stored[1].values()}) == 8


def test_one_image_twice_in_a_file_is_one_image(recordings, write):
    key, given = recordings.key(), arrays(10, n_images=6, n_units=2, repeated=0)
    given["images"][5] = given["images"][2]
    ingest_arrays(write(given), key)
    assert len(Trial & key) == 6
    assert len(dj.U("image_class", "image_id") & (Trial * Condition & key)) == 5


# --- bad content: a clear message, and nothing stored


def with_value(name, index, value):
    def change(given):
        changed = given[name].astype(np.float64)
        changed[index] = value
        return {name: changed}

    return change


BAD_CONTENT = {
    "no responses": ({"responses": None}, "must hold one of .*, and holds"),
    "unknown array": ({"respones": np.ones(3)}, r"does not know: \['respones'\]; it knows"),
    "colour images": ({"images": np.zeros((12, 8, 10, 3), np.uint8)}, "images must be"),
    "one image": ({"images": np.zeros((8, 10), np.uint8)}, "images must be"),
    "a number as images": ({"images": np.array(3, np.uint8)}, "images must be"),
    "float images": ({"images": np.zeros((12, 8, 10))}, "uint8 grey values .* not float64"),
    "no images": ({"images": np.zeros((0, 8, 10), np.uint8)}, "images must be"),
    "names of images": (
        {"image_class": np.array(["a", "b"])},
        "image_class must have one entry per image",
    ),
    "long name of a class": ({"image_class": np.array("n" * 25)}, "at most 24 characters"),
    "too few image ids": ({"image_id": np.arange(3)}, "image_id must be one integer per image"),
    "fractions as image ids": ({"image_id": np.arange(12) / 2}, "image_id must be one integer"),
    "huge image ids": ({"image_id": np.arange(12) + 2**31}, "at most 2147483647"),
    "an image id twice": (
        {"image_id": np.zeros(12, int), "image_class": np.array("photo")},
        r"same class and image_id: \('photo', 0\)",
    ),
    "trials of a missing image": (
        with_value("image_index", 7, 12),
        "image_index must be integers|trial 7 shows image 12, but there are only 12",
    ),
    "fractions as image index": (with_value("image_index", 0, 0.5), "image_index must be integers"),
    "no trials": (
        {"image_index": np.zeros(0, int), "responses": np.zeros((0, N_UNITS))},
        "there are no trials",
    ),
    "missing trials": (
        {"responses": np.zeros((3, N_UNITS))},
        r"must have shape \(rows, n_units\) = \(20, 5\), not \(3, 5\)",
    ),
    "transposed responses": ({"responses": np.zeros((N_UNITS, 20))}, "rows, n_units"),
    "responses of one unit": ({"responses": np.zeros(20)}, r"\(rows, n_units\), not \(20,\)"),
    "words as responses": ({"responses": np.full((20, N_UNITS), "a")}, "must be real numbers"),
    "complex responses": (
        {"responses": np.ones((20, N_UNITS), complex)},
        "must be real numbers, not complex128",
    ),
    "no units": (
        {"responses": np.zeros((20, 0)), "unit_id": np.zeros(0, int)},
        "there are no units",
    ),
    "a response that is NaN": (
        with_value("responses", (13, 2), np.nan),
        "NaN or infinite values, first in trial 13, unit column 2",
    ),
    "an infinite response": (
        with_value("responses", (0, 4), -np.inf),
        "NaN or infinite values, first in trial 0, unit column 4",
    ),
    "a response that single precision cannot hold": (
        with_value("responses", (5, 1), 1e39),
        r"single precision \(infinite\), first in row 5, unit column 1",
    ),
    "a unit twice": ({"unit_id": np.array([1, 2, 2, 3, 4])}, "distinct integers in ascending"),
    "units in disorder": ({"unit_id": np.array([5, 4, 3, 2, 1])}, "distinct integers in ascending"),
    "unsigned units in disorder": (
        {"unit_id": np.array([5, 4, 3, 2, 1], np.uint8)},
        "distinct integers in ascending",
    ),
    "too few units": ({"unit_id": np.arange(4)}, r"area must have one entry per unit \(4\)"),
    "fractions as units": ({"unit_id": np.arange(5) / 2}, "unit_id must be integers"),
    "a table of units": ({"unit_id": np.arange(10).reshape(5, 2)}, "unit_id must be integers"),
    "huge unit ids": ({"unit_id": np.arange(5) + 2**40}, "unit_id must be integers .* at most"),
    "too few areas": ({"area": np.array(["V1"])}, r"area must have one entry per unit \(5\)"),
    "a long area": ({"area": np.array(["V" * 17] * 5)}, "name of area has at most 16 characters"),
    "a long layer": ({"layer": np.array(["L" * 17] * 5)}, "name of layer has at most 16"),
    "areas in another encoding": ({"area": np.array([b"V\xe9"] * 5)}, "area holds bytes that are"),
    "positions without z": ({"z": None}, "x, y, z must be given together"),
    "positions of other units": ({"z": np.zeros(3)}, "x, y, z must be given together"),
    "too few positions": (
        {axis: np.zeros(3) for axis in "xyz"},
        r"finite numbers, one per unit \(5\)",
    ),
    "a position that is NaN": (with_value("y", 1, np.nan), "x, y and z must be finite"),
    "words as positions": ({"x": np.array(list("abcde"))}, "x, y, z must be numbers"),
    "a stack without positions": ({"x": None, "y": None, "z": None}, "stack_id needs positions"),
    "two stacks": ({"stack_id": np.array([1, 2])}, "stack_id must be one number"),
    "half a stack": ({"stack_id": np.array(1.5)}, "stack_id must be an integer, not 1.5"),
    "no presentation": ({"presentation_time": np.array(0.0)}, "presentation_time must be a pos"),
    "an unknown presentation": ({"presentation_time": np.array(np.nan)}, "must be a positive"),
    "a word as presentation": ({"presentation_time": np.array("0.5")}, "must be a positive"),
    "a pupil of other trials": ({"pupil_trials": np.zeros((3, 4))}, r"must have shape \(20, 4\)"),
    "words as running": ({"treadmill_trials": np.full(20, "a")}, "treadmill must be real numbers"),
    "two pupils": ({"pupil": np.zeros((9, 4))}, "pupil and pupil_trials: give one"),
    "two kinds of activity": ({"traces": np.zeros((9, N_UNITS))}, r"one of .* holds \['resp"),
}


@pytest.mark.parametrize("name", BAD_CONTENT)
def test_bad_content_is_refused_and_nothing_is_stored(recordings, write, name):
    change, message = BAD_CONTENT[name]
    given = content(20)
    change = change(given) if callable(change) else change
    if name == "trials of a missing image":
        change = {"image_index": change["image_index"].astype(int)}
    refused(write(content(20, **change)), recordings.key(), message)


def test_a_number_of_an_image_with_other_pixels_leaves_nothing(recordings, write):
    ingest_arrays(write(content(21)), recordings.key())
    other = content(22, image_id=content(21)["image_id"])
    before = row_counts()
    message = "image 21000 of class 'photo' is already there with other pixels"
    with pytest.raises(BadRecording, match=message):
        ingest_arrays(write(other, "other.npz"), recordings.key())
    # found out after scan and units had been inserted
    assert row_counts() == before


# --- folders


def test_a_folder_of_arrays_is_read_like_a_file(recordings, tmp_path, write):
    keys = [recordings.key(), recordings.key()]
    given = content(30)
    for name, array in given.items():
        np.save(tmp_path / f"{name}.npy", array)
    assert ingest_arrays(tmp_path, keys[0]) is True
    assert ingest_arrays(tmp_path, keys[0]) is False
    np.testing.assert_array_equal(recorded_activity(keys[0]), given["responses"])
    assert (Scan & keys[0]).fetch1("source_size") == sum(
        f.stat().st_size for f in tmp_path.iterdir()
    )
    (tmp_path / "responses.npy").write_bytes(b"no array")
    refused(tmp_path, keys[1], r"responses\.npy cannot be read as an \.npy file")


def test_areas_come_from_drawn_masks_and_layers_from_the_depth_of_the_field(recordings, write):
    masks = np.zeros((2, 4, 6), int)
    masks[0, :, :3], masks[1] = 1, 2
    drawn = {
        "area": None,
        "layer": None,
        "field": np.array([7, 7, 9, 9, 7]),
        "px_x": np.array([0.0, 5.0, 1.0, 2.0, 2.4]),
        "px_y": np.array([1.0, 1.0, 3.0, 0.0, 0.0]),
        "field_id": np.array([7, 9]),
        "field_depth": np.array([200.0, 420.0]),
        "area_masks": masks,
        "area_names": np.array(["V1", "LM"]),
    }
    key = recordings.key()
    ingest_arrays(write(content(31, **drawn)), key)
    areas = (recording.AreaMembership & key).to_arrays("brain_area", order_by="unit_id")
    layers = (recording.LayerMembership & key).to_arrays("layer", order_by="unit_id")
    assert areas.tolist() == ["V1", "unknown", "LM", "LM", "V1"]
    assert layers.tolist() == ["L2/3", "L2/3", "L4", "L4", "L2/3"]
    assert (Scan.Field & key).to_arrays("field_depth", order_by="field").tolist() == [200.0, 420.0]


# --- bad files


refused = partial(check_refusal, ingest_arrays)


def test_a_missing_file(recordings, tmp_path):
    refused(tmp_path / "none.npz", recordings.key(), "there is no file .*none.npz")


def test_a_folder(recordings, tmp_path):
    refused(tmp_path, recordings.key(), "holds no .npy files")


@pytest.mark.parametrize("kept", [0, 10, 500, -1, -30])
def test_a_truncated_file(recordings, write, kept):
    path = write(content(23))
    whole = path.read_bytes()
    path.write_bytes(whole[: kept if kept >= 0 else len(whole) + kept])
    refused(path, recordings.key(), "cannot be read as an .npz file")


def test_a_damaged_file(recordings, write):
    path = write(content(24))
    data = bytearray(path.read_bytes())
    data[300] ^= 0xFF  # in the pixels
    path.write_bytes(data)
    refused(path, recordings.key(), "cannot be read as an .npz file .*CRC")


@pytest.mark.parametrize("data", [b"animal,unit\n1,2\n", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_a_file_of_another_type(recordings, tmp_path, data):
    path = tmp_path / "recording.npz"
    path.write_bytes(data)
    refused(path, recordings.key(), "cannot be read as an .npz file")


def test_a_single_array(recordings, tmp_path):
    np.save(tmp_path / "recording.npy", np.zeros(3))
    refused(tmp_path / "recording.npy", recordings.key(), "^[^:]*recording.npy is a single array")


class Trap:
    """Leaves a trace where it is unpickled."""

    sprung = False

    def __reduce__(self):
        return setattr, (Trap, "sprung", True)


def test_python_objects_are_never_loaded(recordings, tmp_path):
    objects = content(25) | {"area": np.array([Trap()] * N_UNITS, dtype=object)}
    np.savez(tmp_path / "recording.npz", allow_pickle=True, **objects)
    refused(tmp_path / "recording.npz", recordings.key(), "Python objects")
    assert Trap.sprung is False


# --- a store that cannot be written


@contextmanager
def small_files():
    """Let this process write files of 4 KB only: every store is full soon after it begins.

    Only for as long as it ingests: the log that pytest itself writes may be a longer file.
    """
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def big(seed):
    return arrays(seed, n_images=60, n_units=40, repeated=0)  # 9.6 KB of responses


def test_a_disk_that_fills_up_leaves_nothing(recordings, write):
    path, key = write(big(26)), recordings.key()
    before = row_counts()
    full = pytest.raises(BadRecording, match=r"nothing of .* was stored, since the object store")
    with full, small_files():
        ingest_arrays(path, key)
    assert row_counts() == before


def test_a_recording_goes_in_once_there_is_room_again(recordings, write, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    path, key = write(big(27)), recordings.key()
    with monkeypatch.context() as patch:
        patch.setattr("schemas.store.write_durably", full)
        with pytest.raises(BadRecording, match="No space left on device"):
            ingest_arrays(path, key)
    assert not Scan & key
    assert ingest_arrays(path, key) is True
    assert recorded_activity(key).shape == (60, 40)


def test_a_store_that_is_not_there_is_named(recordings, write, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    store = dj.config.stores[dj.config.stores["default"]]
    path, key = write(arrays(28)), recordings.key()
    before = row_counts()
    monkeypatch.setitem(store, "location", str(tmp_path / "file" / "store"))
    with pytest.raises(BadRecording, match=r"object store cannot be written: .*file"):
        ingest_arrays(path, key)
    assert row_counts() == before
