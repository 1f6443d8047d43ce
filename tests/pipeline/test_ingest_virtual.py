"""Virtual recordings: what is in the database is what the regenerated animal answers."""

import numpy as np
import pytest
from miniature import ANIMAL, DAY_1, DAY_2, DESIGN, REPEATS, SEED, arrays, insert_arrays, row_counts

from pipeline.ingest.rows import BadRecording
from pipeline.ingest.virtual import _animal, ingest_first_day, ingest_stimulus_day, load_animal
from schemas.recording import (
    Activity,
    Condition,
    Image,
    Scan,
    StackRegistration,
    Trial,
    UnitArea,
    UnitLayer,
    VirtualAnimal,
)
from science.virtual import VirtualAnimal as Animal
from science.virtual import VirtualAnimalParams, first_day


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
        np.asarray((Activity & DAY_1).fetch1("activity")),
        session.record(images, presentation, seed=SEED),
    )
    check_units(DAY_1, session)


def check_units(scan, session):
    ids = (Scan.Unit & scan).to_arrays("unit_id", order_by="unit_id")
    np.testing.assert_array_equal(ids, session.unit_ids)
    for table, names in (
        (Scan.Unit, ("um_x", "um_y", "um_z")),
        (StackRegistration.Unit, ("stack_x", "stack_y", "stack_z")),
    ):
        xyz = (table & scan).to_arrays(*names, order_by="unit_id")
        np.testing.assert_array_equal(np.column_stack(xyz), session.positions)
    area = (UnitArea & scan).to_arrays("brain_area", order_by="unit_id")
    np.testing.assert_array_equal(area, session.brain_area)
    layer = (UnitLayer & scan).to_arrays("layer", order_by="unit_id")
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


def test_the_second_day_shows_every_image_of_the_stimulus_set_as_often_as_asked(forgotten):
    """And the animal answers to them: with its noise of that day, to the digit."""
    animal, session = load_animal(DAY_2)
    shown = shown_images(DAY_2)
    rows = (Trial * Condition & DAY_2).to_dicts(order_by="trial_idx")
    names = [(row["image_class"], row["image_id"]) for row in rows]
    distinct = sorted(set(names))
    assert all(names.count(name) == REPEATS for name in distinct)
    images = np.stack([shown[names.index(name)] for name in distinct])
    presentation = np.array([distinct.index(name) for name in names])
    recorded = np.asarray((Activity & DAY_2).fetch1("activity"))
    np.testing.assert_array_equal(recorded, session.record(images, presentation, animal.seed))
    assert {name for name, _ in names} == {"mei"}


def test_a_second_time_changes_nothing(populated):
    before = row_counts()
    assert ingest_first_day(DAY_1, ANIMAL, DESIGN, SEED) is False
    assert ingest_stimulus_day(DAY_2, DAY_1, populated.stimulus, REPEATS, day=2) is False
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
        with pytest.raises(BadRecording, match="not of a virtual animal"):
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
