"""Foraging recordings: what goes in comes out, whole or not at all."""

import csv
import re
import resource
from contextlib import contextmanager

import numpy as np
import pytest
from foragers import BOX, Foragers, mapped, source, tracked
from miniature import recorded_activity, row_counts
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.ingest.open_field import insert_open_field
from pipeline.ingest.open_field_arrays import problems
from pipeline.ingest.rows import BadRecording
from pipeline.ingest.spikes_positions import ingest_spikes_positions, read_spikes_positions
from pipeline.ingest.virtual_rat import ingest_virtual_rat
from pipeline.truth.rats import true_rat
from schemas.open_field import Arena, FinishedRateMap, OpenField, Tracking
from schemas.recording import Activity, Scan, VirtualAnimal
from science.digest import array_digest
from science.navigation import (
    RAT,
    RateMapParams,
    Rectangle,
    SpikeTrains,
    Track,
    VirtualRat,
    VirtualRatParams,
    rate_maps,
)


@pytest.fixture(scope="module")
def foragers(tables):
    made = Foragers()
    yield made
    made.delete()


def stored_track(key):
    return np.asarray((Tracking & key).fetch1("tracking"))


def stored_spikes(key):
    counts = (Activity.Block & key).to_arrays("spike_counts", order_by="activity_block")
    return np.split(recorded_activity(key), np.cumsum(np.concatenate(counts))[:-1])


# --- what goes in comes out


def test_a_tracked_session_comes_back(foragers):
    key, given = foragers.key(), tracked(1)
    assert insert_open_field(key, given, source(given)) is True
    cells = (OpenField.Cell & key).to_dicts(order_by="unit_id")
    assert {c["unit_id"]: c["cell_name"] for c in cells} == {2: "t1c1", 5: "t1c2", 9: "t3c1"}
    assert (Scan.Unit & key).to_arrays("unit_id", order_by="unit_id").tolist() == [2, 5, 9]
    assert (OpenField & key).fetch1("arena", "animal_name") == ("forager box", "rat 1")
    assert Arena.box({"arena": "forager box"}) == BOX
    track = stored_track(key)
    np.testing.assert_array_equal(track[:, 0], given.track.t)
    np.testing.assert_array_equal(track[:, 1:3], given.track.positions)
    np.testing.assert_array_equal(track[:, 3], given.track.heading)
    row = (Tracking & key).fetch1()
    assert row["has_heading"]
    assert row["tracking_digest"] == array_digest(track)
    assert (Activity & key).fetch1("activity_kind") == "spike_times"
    for train, expected in zip(stored_spikes(key), given.spikes, strict=True):
        np.testing.assert_array_equal(train, expected)
    assert not FinishedRateMap & key


def test_finished_maps_come_back(foragers):
    key, given = foragers.key(), mapped(2)
    assert insert_open_field(key, given, source(given)) is True
    row = (FinishedRateMap & key).fetch1()
    np.testing.assert_array_equal(np.asarray(row["finished_maps"]), given.maps)
    assert row["finished_maps_digest"] == array_digest(given.maps)
    assert not Tracking & key
    assert not Activity & key


def test_a_second_time_changes_nothing_and_anything_else_is_refused(foragers):
    key, given = foragers.key(), tracked(3)
    insert_open_field(key, given, source(given))
    before = row_counts()
    assert insert_open_field(key, given, source(given)) is False
    other = tracked(4)
    with pytest.raises(BadRecording, match="already there, from made in a test"):
        insert_open_field(key, other, source(other))
    for change in (
        {"arena": "forager ring"},
        {"animal_name": "mouse"},
        {"box": Rectangle(width=1.3, height=0.8)},
    ):
        with pytest.raises(BadRecording, match="already there, as rat 3 in 'forager box' "):
            insert_open_field(key, tracked(3, **change), source(given))
    assert row_counts() == before


# --- bad content: one clear message


def track_with(index, value, name="positions"):
    track = tracked(20).track
    parts = {"t": track.t, "positions": track.positions.copy(), "heading": track.heading.copy()}
    parts[name][index] = value
    return {"track": Track(**parts)}


def spikes_with(index, value):
    spikes = [train.copy() for train in tracked(20).spikes]
    spikes[2][index] = value
    return {"spikes": spikes}


def maps_with(index, value):
    maps = mapped(20).maps.copy()
    maps[index] = value
    return {"maps": maps}


NONE = {"cell_names": [], "unit_id": np.array([], int)}
BAD_SESSIONS = {
    "no cells": (NONE | {"spikes": []}, "there are no cells"),
    "a name too many": ({"cell_names": list("abcd")}, "3 cells, but 4 names"),
    "names twice": ({"cell_names": ["a", "b", "a"]}, "more than one cell is called a: "),
    "an empty name": ({"cell_names": ["a", "", "b"]}, "a name of cell has 1 to 64 characters"),
    "units in disorder": ({"unit_id": np.array([3, 2, 1])}, "distinct integers in ascending"),
    "a long arena": ({"arena": "a" * 25}, "a name of arena has 1 to 24 characters"),
    "an arena in cm": ({"box": Rectangle(width=120, height=80)}, "120 x 80 m is not one"),
    "neither": ({"track": None, "spikes": None}, "either a track and spikes, or finished maps"),
    "no spikes": ({"spikes": None}, "either a track and spikes, or finished maps"),
    "both": ({"maps": np.ones((2, 2, 3))}, "either a track and spikes, or finished maps"),
    "no position": (track_with(slice(None), np.nan), "no position is known"),
    "infinite position": (track_with(7, np.inf), "positions hold infinite"),
    "infinite time": (track_with(-1, np.inf, "t"), "times of the track hold infinite"),
    "from the corner": (
        {"track": Track(tracked(20).track.t, tracked(20).track.positions + BOX.corners[1])},
        r"(6|7|8)\d% of the positions lie outside .* check their unit and their origin",
    ),
    "degrees": (track_with(3, 359.0, "heading"), "the heading reaches 359: give it in radians"),
    "spikes of two cells": ({"spikes": tracked(20).spikes[:2]}, "spikes of 2 cells, but 3 names"),
    "a spike at NaN": (spikes_with(1, np.nan), "the spikes of t3c1 hold NaN or infinite times"),
    "a spike at infinity": (spikes_with(-1, np.inf), "spikes of t3c1 hold NaN or infinite times"),
    "spikes in disorder": (spikes_with(0, 12.99), "the spikes of t3c1 are not in order"),
    "a table of spikes": ({"spikes": [np.ones((2, 2))] * 3}, r"t1c1 must be numbers \(n,\)"),
    "spikes in ms": (
        {"spikes": [1000 * train for train in tracked(20).spikes]},
        "all 37 spikes lie outside the time of the track, 2.99 to 12.99 s",
    ),
}
BAD_MAPS = {
    "flat maps": ({"maps": np.ones((24, 3))}, r"maps must be numbers \(nx, ny, n_cells\)"),
    "words": ({"maps": np.full((4, 6, 3), "a")}, "maps must be numbers"),
    "maps of two cells": ({"maps": np.ones((4, 6, 2))}, "maps of 2 cells, but 3 names"),
    "infinite rate": (maps_with((1, 1, 2), np.inf), "the maps of t3c1 hold infinite rates"),
    "negative rate": (maps_with((1, 1, 0), -1e-9), "the maps of t1c1 hold negative rates"),
    "all NaN": (maps_with((..., [0, 2]), np.nan), "the maps of t1c1, t3c1 hold nothing but NaN"),
}


@pytest.mark.parametrize("name", BAD_SESSIONS | BAD_MAPS)
def test_bad_content_has_one_clear_message(name):
    make = mapped if name in BAD_MAPS else tracked
    change, message = (BAD_SESSIONS | BAD_MAPS)[name]
    assert list(problems(make(20))) == []
    assert re.search(message, next(problems(make(20, **change))))


def test_a_silent_session_and_spikes_before_the_track_are_no_errors():
    assert list(problems(tracked(21, spikes=[np.empty(0)] * 3))) == []
    early = [np.array([-100.0, 0.0, 2.0, 5.0]), np.array([1.0]), np.empty(0)]
    assert list(problems(tracked(21, spikes=early))) == []


# --- nothing of a bad recording is stored


@contextmanager
def small_files():
    """Let this process write files of 4 KB only: the store is full soon after it begins."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_what_is_found_out_late_leaves_nothing(foragers):
    key = foragers.key()
    for given in (tracked(5), mapped(6)):
        insert_open_field(foragers.key(), given, source(given))
    before = row_counts()
    narrow = tracked(7, box=Rectangle(width=1.0, height=0.8))
    with pytest.raises(BadRecording, match="'forager box' is there with other walls"):
        insert_open_field(key, narrow, source(narrow))
    coarse = mapped(8, maps=np.ones((2, 3, 3)))
    with pytest.raises(BadRecording, match=r"2 x 3 bins, but others .* 'forager box' have 4 x 6"):
        insert_open_field(key, coarse, source(coarse))
    full = tracked(9)
    with small_files(), pytest.raises(BadRecording, match="object store cannot be written"):
        insert_open_field(key, full, source(full))
    assert row_counts() == before
    assert insert_open_field(key, full, source(full)) is True


# --- the reader of spikes and positions

N = 200


def session(**changes):
    rng = np.random.default_rng(0)
    x, y = rng.uniform((-48.0, -31.0), (48.0, 31.0), (N, 2)).astype(np.float32).T
    x[:2], y[:2] = (-48, 47), (-31, 30.2)
    spikes = {"spikes_b": np.array([0.1, 0.5]), "spikes_a": np.array([1.0])}
    given = {"t": 0.02 * np.arange(N), "x": x, "y": y} | spikes | changes
    return {name: array for name, array in given.items() if array is not None}


@pytest.fixture
def write(tmp_path):
    def to_file(**changes):
        np.savez(tmp_path / "rat 7.npz", **session(**changes))
        return tmp_path / "rat 7.npz"

    return to_file


def test_positions_become_metres_in_an_arena_of_whole_bins(write):
    given, read = session(), read_spikes_positions(write(), "box", "cm")
    assert (read.arena, read.animal_name, read.cell_names) == ("box", "rat 7", ["b", "a"])
    assert read.unit_id.tolist() == [1, 2]
    np.testing.assert_allclose(read.track.positions, np.stack([given["x"], given["y"]], 1) / 100)
    assert read.track.heading is None
    # 2 x 48 cm and 2 x 31 cm, in steps of 5 cm
    np.testing.assert_allclose(read.box.corners, [[-0.5, -0.325], [0.5, 0.325]], atol=1e-12)
    for train, cell in zip(read.spikes, "ba", strict=True):
        np.testing.assert_array_equal(train, given[f"spikes_{cell}"])
    whole = read_spikes_positions(write(x=np.linspace(-50, 50, N)), "box", "cm", animal_name="Ada")
    assert (whole.box.width, whole.animal_name) == (1.0, "Ada")
    metres = session()["x"] / 100, session()["y"] / 100
    sized = read_spikes_positions(write(x=metres[0], y=metres[1]), "box", "m", (2.0, 1.5))
    np.testing.assert_allclose(sized.track.positions, read.track.positions, rtol=1e-6)
    assert (sized.box.width, sized.box.height) == (2.0, 1.5)


def test_positions_from_the_corner_are_centred_when_asked(write):
    away = {"x": session()["x"] + 60, "y": session()["y"] - 200}
    with pytest.raises(BadRecording, match=r"do not lie around the origin: .*--centre"):
        read_spikes_positions(write(**away), "box", "cm")
    read = read_spikes_positions(write(**away), "box", "cm", centre=True)
    low, high = read.track.positions.min(0), read.track.positions.max(0)
    np.testing.assert_allclose(low, -high, atol=1e-12)
    np.testing.assert_allclose(high - low, [0.95, 0.61], atol=0.02)
    assert (round(read.box.width, 6), round(read.box.height, 6)) == (1.0, 0.65)


def test_the_heading_is_read_or_that_of_two_leds(write):
    angle = np.linspace(-3, 3, N)
    read = read_spikes_positions(write(heading=angle), "box", "cm")
    np.testing.assert_array_equal(read.track.heading, angle)
    given = session()
    x2, y2 = given["x"] - 3 * np.cos(angle), given["y"] - 3 * np.sin(angle)
    x2[9] = np.nan
    leds = read_spikes_positions(write(x2=x2, y2=y2), "box", "cm").track.heading
    assert np.isnan(leds[9])
    np.testing.assert_allclose(np.delete(leds, 9), np.delete(angle, 9), atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": None}, r"lacks \['y'\]"),
        ({"spike_c": np.ones(2)}, r"does not know: \['spike_c'\].*spikes_<cell>"),
        ({"x2": np.ones(N)}, "x2 and y2 of a second LED, or the heading, or none"),
        ({"x2": np.ones(N), "y2": np.ones(N), "heading": np.ones(N)}, "or none of them"),
        ({"x": np.ones(N + 1)}, rf"x must be one number per time \({N},\)"),
        ({"x": np.full(N, "a")}, "x must be one number per time"),
        ({"t": np.zeros(N)}, "times of a track must be two or more, finite and increasing"),
        ({"x": np.full(N, np.nan)}, "no position is known"),
    ],
)
def test_a_file_that_is_not_so(write, changes, message):
    with pytest.raises(BadRecording, match=message):
        read_spikes_positions(write(**changes), "box", "cm")


@pytest.mark.shared
def test_real_grid_cells(foragers, shared):
    """Spike numbers as those who made the files counted them, and roughly their peak rates."""
    folder = shared / "data/mec_grid_cells_moser"
    with (folder / "cells.csv").open() as file:
        rows = list(csv.DictReader(file))
    n_read = 0
    for path in sorted(folder.glob("*.npz")):
        key, counted = foragers.key(), [row for row in rows if row["session"] == path.stem]
        assert ingest_spikes_positions(path, key, f"forager {path.stem[:12]}", "cm")
        assert (OpenField.Cell & key).to_arrays("cell_name", order_by="unit_id").tolist() == [
            row["cell"] for row in counted
        ]
        spikes, samples = stored_spikes(key), stored_track(key)
        assert [len(train) for train in spikes] == [int(row["n_spikes"]) for row in counted]
        track = Track(samples[:, 0], samples[:, 1:3])
        box = Arena.box((OpenField & key).proj("arena").fetch1())
        assert box.contains(track.positions[np.isfinite(track.positions).all(1)]).all()
        assert (Tracking & key).fetch1("has_heading") == ("11084" in path.stem)
        assert np.isclose(np.ptp(track.t), float(counted[0]["duration_s"]), atol=0.1)
        params = RateMapParams(bin_cm=100 * box.height / 40, smoothing_bins=1.5)
        peaks = np.nanmax(rate_maps(track, SpikeTrains.of(spikes), box, params).rates, (0, 1))
        checked = [float(row["peak_rate_hz_check"]) for row in counted]
        assert np.abs(np.log(peaks / checked)).max() < np.log(1.5)
        n_read += len(counted)
    assert n_read == 9


# --- virtual rats

CELLS = VirtualRatParams(arena=Rectangle(width=1.3, height=0.9), n_grid=4, n_conjunctive=2)


@pytest.fixture(scope="module")
def rat(foragers):
    key = foragers.key()
    assert ingest_virtual_rat(key, 11, 4.0, CELLS, 0.05) is True
    return key


def test_a_virtual_rat_fires_as_its_truth_says(rat):
    truth = true_rat(rat | {"unit_id": 3})
    expected = VirtualRat.of(CELLS, 11)
    np.testing.assert_array_equal(truth.kinds, expected.kinds)
    np.testing.assert_array_equal(truth.centres, expected.centres)
    samples = stored_track(rat)
    track = Track(samples[:, 0], samples[:, 1:3], samples[:, 3])
    assert len(track.t) == 4 * 60 / RAT.dt
    seen = np.isfinite(track.positions).all(1)
    np.testing.assert_array_equal(seen, np.isfinite(track.heading))
    assert 0.03 < 1 - seen.mean() < 0.07
    assert CELLS.arena.contains(track.positions[seen]).all()
    inside = (np.abs(track.positions) < CELLS.arena.corners[1]).all(1)  # not held back by a wall
    known = inside[:-1] & inside[1:]
    dx, dy = np.diff(track.positions, axis=0)[known].T
    np.testing.assert_allclose(np.arctan2(dy, dx), track.heading[:-1][known], atol=1e-6)
    rates = truth.rates(track.positions[seen], track.heading[seen]) * RAT.dt
    spikes = SpikeTrains.of(stored_spikes(rat))
    assert spikes.n_cells == len(OpenField.Cell & rat) == len(truth.kinds)
    counts = np.zeros((len(seen), spikes.n_cells))
    np.add.at(counts, (np.rint(spikes.times / RAT.dt).astype(int), spikes.cells), 1)
    # Poisson: of the counts weighted by the rates, too, so that place and direction matter
    for weights in (np.ones_like(rates), rates):
        z = ((counts[seen] - rates) * weights).sum(0) / np.sqrt((rates * weights**2).sum(0))
        assert np.abs(z).max() < 4.5


def test_a_virtual_rat_is_its_seed(foragers, rat):
    other, again = foragers.key(), foragers.key()
    ingest_virtual_rat(again, 11, 4.0, CELLS, 0.05)
    ingest_virtual_rat(other, 12, 4.0, CELLS, 0.05)
    np.testing.assert_array_equal(stored_track(again), stored_track(rat))
    np.testing.assert_array_equal(recorded_activity(again), recorded_activity(rat))
    assert not np.array_equal(stored_track(other), stored_track(rat))
    assert dict((VirtualAnimal & rat).fetch1("virtual_params"))["minutes"] == 4.0
    assert ingest_virtual_rat(rat, 11, 4.0, CELLS, 0.05) is False
    with pytest.raises(BadRecording, match="already there, from virtual rat"):
        ingest_virtual_rat(rat, 12, 4.0, CELLS, 0.05)


def test_the_truth_is_only_of_virtual_rats(foragers):
    key, given = foragers.key(), tracked(30)
    insert_open_field(key, given, source(given))
    with pytest.raises(BadRecording, match="is not of a virtual rat"):
        true_rat(key)
    small = VirtualRatParams(arena=Rectangle(width=0.05, height=1.0))
    with pytest.raises(BadRecording, match="there is no such virtual rat"):
        ingest_virtual_rat(foragers.key(), 1, 1.0, small)


# --- commands


def call(*words):
    return CliRunner().invoke(app, ["ingest", *map(str, words)])


def test_the_commands_say_what_they_stored(foragers, write):
    first, second = foragers.key()["animal_id"], foragers.key()["animal_id"]
    words = ["open-field", write(), "--animal", first, "--arena", "forager 2", "--unit", "cm"]
    done = call(*words, "--width", 1, "--height", 0.7)
    assert done.exit_code == 0, done.output
    assert (
        f"recording {first}-1-1 ingested: {N} positions and 2 cells in 'forager 2'" in done.output
    )
    again = call(*words, "--width", 1, "--height", 0.7)
    assert f"was already there: {N} positions" in again.output
    half = call(*words, "--width", 1)
    assert half.exit_code == 1
    assert "give both --width and --height" in half.output
    assert call(*words[:-1], "inch").exit_code == 2
    done = call("virtual-rat", "--animal", second, "--seed", 3, "--minutes", 0.5)
    assert done.exit_code == 0, done.output
    assert "ingested: 300 positions and 32 cells in 'virtual 1 x 1'" in done.output
