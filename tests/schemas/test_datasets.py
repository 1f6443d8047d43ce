"""From recordings to training sets in the database: frames, responses, tiers, units."""

import numpy as np
import pytest
from miniature import arrays, images, insert_arrays, row_counts

from pipeline.study import Study as StudyParams
from pipeline.study import admit
from schemas.dataset import (
    ConditionTier,
    DataConfig,
    SplitConfig,
    StaticMultiDataset,
    TargetDataset,
    TrainingSet,
)
from schemas.loading import load_dataset
from schemas.recording import Condition, Image, Trial
from schemas.responses import Frame, InputResponse, Preprocessing
from science.dataset import DataParams
from science.preprocessing import resize_image
from science.split import SplitParams

RANDOM = SplitParams(method="random", validation_fraction=0.3, test_fraction=0.3, seed=4)
HEIGHT, WIDTH = 6, 9
STUDY = StudyParams.model_validate({"preprocessing": {"height": HEIGHT, "width": WIDTH}})


def training_set(scans, split=RANDOM, **data):
    group = StaticMultiDataset.register([admit(STUDY, scan) for scan in scans])
    return TrainingSet.register_images(group, DataConfig.register(DataParams(**data), split))


def compute(scans, *computed, plan=None):
    """Populate tables for some recordings and, where given, one training set only."""
    for table in computed or (Frame, InputResponse, ConditionTier):
        table.populate(scans)
    if plan is not None:
        TargetDataset.populate(plan)


def image_tiers(scan):
    """Return the tier of every image of a recording, by checksum."""
    rows = ConditionTier.Condition * Condition * Image & scan
    return {r["image_sha256"]: r["tier"] for r in rows.proj("image_sha256", "tier").to_dicts()}


# --- frames and responses


def test_frames_and_responses_are_those_of_the_trials(recordings):
    key, content = recordings.key(), arrays(10)
    insert_arrays(key, content)
    training_set([key])
    compute(key)
    frames = np.asarray((Frame & key).fetch1("frames"))
    assert frames.shape == (40, HEIGHT, WIDTH)
    responses = np.asarray((InputResponse.ResponseBlock & key).fetch1("responses"))
    shown = (InputResponse.Input * Frame.Condition & key).to_dicts(order_by="row_id")
    assert [row["trial_idx"] for row in shown] == list(range(len(responses)))
    np.testing.assert_array_equal(responses, content["responses"])
    for trial in (0, 17, 51):
        image = content["images"][content["image_index"][trial]]
        expected = resize_image(image, HEIGHT, WIDTH)
        np.testing.assert_array_equal(frames[shown[trial]["frame_row"]], expected)


# --- tiers


@pytest.mark.parametrize("method", ["random", "kfold"])
def test_an_image_has_the_same_tier_in_all_recordings(recordings, method):
    common = images(30, seed=20)
    keys = []
    for seed, extra in ((21, 5), (22, 20)):
        content = arrays(seed, n_images=30 + extra)
        # the common images come first here and last there
        parts = [common, images(extra, seed)]
        content["images"] = np.concatenate(parts if seed == 21 else parts[::-1])
        keys.append(recordings.key())
        insert_arrays(keys[-1], content)
    training_set(keys, SplitParams(method=method, n_folds=3, test_fraction=0.3))
    compute(keys, ConditionTier)
    a, b = (image_tiers(key) for key in keys)
    assert len(a.keys() & b.keys()) == 30
    assert {image: a[image] for image in a.keys() & b.keys()}.items() <= b.items()
    assert set(a.values()) == {"train", "validation", "test"}
    # shown in both recordings, stored once
    assert len(Image & {"image_sha256": next(iter(a.keys() & b.keys()))}) == 1


def test_every_condition_of_an_image_has_its_tier(recordings):
    # the same pixels under two classes, once each: shown twice, hence tested
    content = arrays(23, n_images=40, repeated=0)
    content["images"][39] = content["images"][0]
    key = recordings.key()
    names = np.where(np.arange(40) == 39, "copy", "image")
    insert_arrays(key, content, image_class=names)
    training_set([key], SplitParams(method="repeated", validation_fraction=0.3))
    compute(key, ConditionTier)
    rows = (ConditionTier.Condition * Condition & key).to_dicts()
    tested = {row["image_class"] for row in rows if row["tier"] == "test"}
    assert tested == {"image", "copy"}
    assert sum(row["tier"] == "test" for row in rows) == 2
    counts = (ConditionTier & key).fetch1("n_train", "n_validation", "n_test")
    assert sum(counts) == len(rows) == 40
    assert counts[2] == 2


def test_a_recording_that_breaks_an_images_tier_is_refused(recordings):
    content = arrays(24)
    first, second = recordings.key(), recordings.key()
    insert_arrays(first, content)
    again = arrays(25, n_images=41)
    again["images"][40] = content["images"][0]  # repeated in the first, shown once here
    insert_arrays(second, again)
    plan = training_set([first, second], SplitParams())
    ConditionTier.populate(first)
    before = row_counts()
    with pytest.raises(ValueError, match=r"in tier 'test' in recording .* Use 'random' or 'kfold'"):
        ConditionTier.populate(second)
    assert row_counts() == before
    assert not TargetDataset().key_source & plan


def test_tiers_made_at_the_same_time_are_compared_once_more(recordings):
    # two workers whose transactions do not see each other: here one row is turned round by hand
    common = images(40, seed=26)
    keys = [recordings.key(), recordings.key()]
    for seed, key in zip((27, 28), keys, strict=True):
        insert_arrays(key, arrays(seed) | {"images": common})
    plan = training_set(keys)
    compute(keys)
    row = (ConditionTier.Condition & keys[1] & "tier = 'train'").to_dicts()[0]
    ConditionTier.Condition.update1(row | {"tier": "test"})
    before = row_counts()
    with pytest.raises(ValueError, match="an image has different tiers in the recordings"):
        compute(keys, plan=plan)
    assert row_counts() == before
    ConditionTier.Condition.update1(row)
    compute(keys, plan=plan)
    assert TargetDataset & plan


def test_an_empty_tier_leaves_no_row(recordings):
    key = recordings.key()
    insert_arrays(key, arrays(29, repeated=40))
    training_set([key], SplitParams())
    before = row_counts()
    with pytest.raises(ValueError, match="no image is left for the train tier"):
        compute(key, ConditionTier)
    assert row_counts() == before


def test_the_folds_of_a_recording_are_disjoint_and_cover_it(recordings):
    key = recordings.insert(30)
    for fold in range(3):
        training_set([key], SplitParams(method="kfold", n_folds=3, fold=fold))
    compute(key, ConditionTier)
    tested = (ConditionTier.Condition * SplitConfig & key & "tier = 'test'").to_dicts()
    assert len(tested) == len({row["condition_hash"] for row in tested}) == 40
    assert {row["fold"] for row in tested} == {0, 1, 2}


# --- training sets


def areas(n_units):
    return np.where(np.arange(n_units) % 3 == 0, "LM", "V1")


@pytest.fixture(scope="module")
def two_recordings(recordings):
    """Two recordings of different size with areas, layers, and unit ids with gaps."""
    keys, contents = [], []
    for seed, n_units in ((31, 5), (32, 7)):
        content = arrays(seed, n_units=n_units)
        content["unit_id"] = np.arange(1, n_units + 1)
        layers = np.where(np.arange(n_units) < 4, "L2/3", "L4")
        keys.append(recordings.key())
        contents.append(content)
        insert_arrays(keys[-1], content, units={"area": areas(n_units), "layer": layers})
    return keys, contents


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        ({}, ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5, 6])),
        ({"brain_areas": ("V1",)}, ([1, 2, 4], [1, 2, 4, 5])),
        ({"brain_areas": ("V1", "LM"), "layers": ("L4",)}, ([4], [4, 5, 6])),
    ],
)
def test_a_training_set_holds_the_units_that_were_asked_for(two_recordings, data, kept):
    keys, contents = two_recordings
    key = training_set(keys, **data)
    compute(keys, plan=key)
    units = (TargetDataset.Unit & key).to_dicts(order_by="unit_index")
    assert [unit["unit_index"] for unit in units] == list(range(len(units)))
    expected = [
        (scan["animal_id"], int(content["unit_id"][unit]), column)
        for scan, content, columns in zip(keys, contents, kept, strict=True)
        for column, unit in enumerate(columns)
    ]
    found = [(u["animal_id"], u["unit_id"], u["readout_column"]) for u in units]
    assert found == expected
    assert (TargetDataset & key).fetch1("n_units") == len(expected)


def test_a_loaded_dataset_is_what_was_recorded(two_recordings):
    keys, contents = two_recordings
    key = training_set(keys, brain_areas=("V1",))
    compute(keys, plan=key)
    data = load_dataset(key, (TargetDataset & key).fetch1("dataset_digest"))
    assert list(data.recordings) == [f"{k['animal_id']}-1-1" for k in keys]
    for scan, content, loaded in zip(keys, contents, data.recordings.values(), strict=True):
        chosen = areas(content["responses"].shape[1]) == "V1"
        np.testing.assert_array_equal(loaded.responses, content["responses"][:, chosen])
        tiers = image_tiers(scan)
        for trial, image in enumerate(content["image_index"]):
            frame = loaded.image_index[trial]
            expected = resize_image(content["images"][image], HEIGHT, WIDTH)
            np.testing.assert_array_equal(loaded.frames[frame], expected)
            sha = (Trial * Condition * Image & scan & {"trial_idx": trial}).fetch1("image_sha256")
            assert loaded.tiers[frame] == tiers[sha]
            if trial == 12:
                break
    columns = [(name, i) for name, n in data.n_units.items() for i in range(n)]
    assert data.columns == columns


def test_a_dataset_that_changed_is_not_loaded_under_its_old_digest(two_recordings):
    keys, _ = two_recordings
    key = training_set(keys)
    compute(keys, plan=key)
    with pytest.raises(LookupError, match="deleted or changed"):
        load_dataset(key, "0" * 64)


def test_the_digest_is_of_the_content(recordings):
    key, content = recordings.key(), arrays(33)
    insert_arrays(key, content)
    plan = training_set([key])
    compute(key, plan=plan)
    digest = (TargetDataset & plan).fetch1("dataset_digest")
    (TargetDataset & plan).delete(prompt=False, part_integrity="cascade")
    compute(key, plan=plan)
    assert (TargetDataset & plan).fetch1("dataset_digest") == digest
    recordings.delete()
    content["responses"][7, 2] += 1
    insert_arrays(key, content)
    assert training_set([key]) == plan
    compute(key, plan=plan)
    assert (TargetDataset & plan).fetch1("dataset_digest") != digest


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"brain_areas": ("V1", "V7")}, r"brain_area \['V7'\] does not occur .* \['LM', 'V1'\]"),
        ({"brain_areas": ("v1",)}, r"brain_area \['v1'\] does not occur"),
        ({"layers": ("L6",)}, r"layer \['L6'\] does not occur"),
        ({"brain_areas": ("LM",), "layers": ("L4",)}, "no unit of recording .* is left"),
    ],
)
def test_units_that_do_not_exist_are_an_error_without_a_row(recordings, data, message):
    key, content = recordings.key(), arrays(34, n_units=6)
    layers = np.array(["L2/3", "L4", "L4", "L2/3", "L4", "L4"])  # LM are the units of L2/3
    insert_arrays(key, content, units={"area": areas(6), "layer": layers})
    plan = training_set([key], **data)
    compute(key)
    before = row_counts()
    with pytest.raises(ValueError, match=message):
        compute(key, plan=plan)
    assert row_counts() == before


def test_the_order_of_the_recordings_in_a_group_does_not_matter(recordings):
    keys = [recordings.insert(35), recordings.insert(36)]
    preprocessing = Preprocessing.register({"height": 6, "width": 9})
    members = [key | preprocessing for key in keys]
    for member in members:
        admit(STUDY, {a: member[a] for a in ("animal_id", "session", "scan_idx")})
    group = StaticMultiDataset.register(members)
    assert StaticMultiDataset.register(members[::-1]) == group
    assert StaticMultiDataset.register(members[:1]) != group
    assert len(StaticMultiDataset.Member & group) == 2
