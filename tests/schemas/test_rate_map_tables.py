"""Rate maps as rows: of virtual rats, of finished maps, and of small trained networks."""

import numpy as np
import pytest

from pipeline.ingest.insert import insert_activity, insert_units
from pipeline.ingest.scan import SpikeTimes, Units
from schemas import recording
from schemas.dataset import TaskConfig, TrainingSet
from schemas.model import TrainedModel, TrainingPlan, load_path_integrator
from schemas.model_config import ModelConfig, SeedSet, TrainConfig
from schemas.navigation import (
    AnimalRateMap,
    ModelMapConfig,
    ModelMapPlan,
    ModelRateMap,
    RateMapConfig,
    RateMapPlan,
)
from schemas.open_field import Arena, FinishedRateMap, OpenField, Tracking
from science.digest import array_digest
from science.navigation import (
    RAT,
    NavigationTask,
    PathIntegratorConfig,
    PlaceCellParams,
    Rectangle,
    ShuffleParams,
    SpikeTrains,
    Track,
    VirtualRat,
    VirtualRatParams,
    walk,
)
from science.navigation.cell_scores import RateMapMethod, cell_scores, map_scores, segment_maps
from science.navigation.model_maps import ModelMapParams, model_rate_maps
from science.navigation.training import PathIntegratorTraining

BOX = Rectangle(width=1.0, height=0.8)
METHOD = RateMapMethod(shuffles=ShuffleParams(n_shuffles=19), n_segments=2, segment_block_s=10)
FIRST_UNIT = 5
ANIMALS = iter(range(7100, 7200))


def arena(name="maps 1 x 0.8", box=BOX):
    return Arena.register(name, box)


def scan(n_units, where):
    """Insert an open field recording of nothing yet, with units from 5 on; return its key."""
    key = {"animal_id": next(ANIMALS), "session": 1, "scan_idx": 1}
    source = {"reader": "test", "reader_version": "1", "source_name": "made in a test"}
    recording.Scan.insert1(key | source)
    insert_units(key, Units(np.arange(FIRST_UNIT, FIRST_UNIT + n_units)))
    OpenField.insert1(key | where | {"animal_name": "rat"})
    return key


def track_row(track):
    heading = np.full(len(track.t), np.nan) if track.heading is None else track.heading
    samples = np.column_stack([track.t, track.positions, heading])
    return {
        "has_heading": track.heading is not None,
        "tracking": samples,
        "tracking_digest": array_digest(samples),
    }


def record(track, trains):
    key = scan(len(trains), arena())
    Tracking.insert1(key | track_row(track))
    counts = np.array([len(train) for train in trains])
    insert_activity(key, SpikeTimes(np.concatenate(trains), counts), len(trains))
    return key


def finish(maps, where=None):
    key = scan(maps.shape[-1], where or arena())
    digest = array_digest(maps)
    FinishedRateMap.insert1(key | {"finished_maps": maps, "finished_maps_digest": digest})
    return key


def asked(key, method=METHOD):
    plan = key | RateMapConfig.register(method)
    RateMapPlan.insert1(plan)
    return plan


@pytest.fixture(scope="module")
def rat():
    """Track and spikes of 6 minutes; no cell fires before the 300th one."""
    path = walk(BOX, RAT, 1, 18_000, np.random.default_rng(1))
    steps = path.velocities[0]
    heading = np.arctan2(steps[:, 1], steps[:, 0])
    track = Track(2 + 0.02 * np.arange(len(steps)), path.positions[0, : len(steps)], heading)
    params = VirtualRatParams(arena=BOX, n_grid=2, n_border=1, n_place=1, n_untuned=1)
    trains = VirtualRat.of(params, 3).record(track, 4)
    return track, [*trains, np.empty(0)]


@pytest.fixture(scope="module")
def field(tables):
    """Deletes the recordings of this module with all that depends on them."""
    yield
    (recording.Scan & "animal_id BETWEEN 7100 AND 7199").delete(prompt=False)
    (Arena & "arena LIKE 'maps %'").delete_quick()


def column(table, key, name):
    return np.asarray((table & key).to_arrays(name, order_by="KEY"), float)


def test_rows_are_the_scores_of_the_track_and_the_spikes(field, rat):
    track, trains = rat
    plan = asked(record(track, trains))
    AnimalRateMap.populate(plan)
    row = (AnimalRateMap & plan).fetch1()
    found = cell_scores(track, SpikeTrains.of(trains), BOX, METHOD)
    maps, segments = np.asarray(row["rate_maps"]), np.asarray(row["segment_maps"])
    np.testing.assert_array_equal(maps, found.maps.rates)
    np.testing.assert_array_equal(row["occupancy"], found.maps.occupancy)
    expected = segment_maps(track, SpikeTrains.of(trains), BOX, METHOD)
    np.testing.assert_array_equal(segments, expected)
    assert row["rate_maps_digest"] == array_digest(maps)
    assert row["segment_maps_digest"] == array_digest(segments)
    assert (row["n_bins_x"], row["n_bins_y"]) == (20, 16) == maps.shape[:2]
    assert row["n_visited"] == np.isfinite(maps[..., 0]).sum()

    units = AnimalRateMap.Unit & plan
    ids = units.to_arrays("unit_id", order_by="unit_id")
    np.testing.assert_array_equal(ids, FIRST_UNIT + np.arange(len(trains)))
    columns = {
        "n_spikes": found.n_spikes,
        "mean_rate": found.mean_rate,
        "peak_rate": found.peak_rate,
        "grid_score": found.grid.observed,
        "grid_score_p": found.grid.p,
        "grid_score_p95": found.grid.percentile_95,
        "grid_spacing": found.spacing,
        "grid_orientation": found.orientation,
        "border_score": found.border.observed,
        "border_score_p": found.border.p,
        "border_score_p95": found.border.percentile_95,
        "spatial_information": found.information.observed,
        "spatial_information_p": found.information.p,
        "spatial_information_p95": found.information.percentile_95,
        "head_direction_score": found.head_direction.observed,
        "head_direction_score_p": found.head_direction.p,
        "head_direction_score_p95": found.head_direction.percentile_95,
        "preferred_direction": found.preferred_direction,
    }
    assert set(columns) == set(AnimalRateMap.Unit.heading.secondary_attributes)
    for name, values in columns.items():
        np.testing.assert_allclose(column(units, plan, name), values, rtol=1e-14, err_msg=name)
    silent = (units & {"unit_id": ids[-1]}).fetch1()
    assert (silent["n_spikes"], silent["peak_rate"]) == (0, 0)
    assert silent["grid_score"] is None and silent["head_direction_score_p"] is None


def test_without_heading_and_segments_there_is_nothing_of_them(field, rat):
    track, trains = rat
    key = record(Track(track.t, track.positions), trains)
    plan = asked(key, METHOD.model_copy(update={"n_segments": 1}))
    AnimalRateMap.populate(plan)
    row = (AnimalRateMap & plan).fetch1()
    assert row["segment_maps"] is None and row["segment_maps_digest"] is None
    units = AnimalRateMap.Unit & plan
    for name in ("head_direction_score", "head_direction_score_p", "preferred_direction"):
        assert np.isnan(column(units, plan, name)).all()
    assert np.isfinite(column(units, plan, "spatial_information_p")).any()


def test_spikes_in_several_blocks_keep_the_order_of_units(field, rat):
    """A recording of more units than a block of activity holds."""
    track, _ = rat
    rng = np.random.default_rng(2)
    counts = rng.integers(0, 9, 300)
    trains = [np.sort(rng.uniform(2, 362, n)) for n in counts]
    quick = RateMapMethod(shuffles=ShuffleParams(n_shuffles=1), maps={"bin_cm": 20})
    plan = asked(record(Track(track.t, track.positions), trains), quick)
    AnimalRateMap.populate(plan)
    inside = [BOX.contains(track.positions[track.nearest_sample(t)]).sum() for t in trains]
    assert len(recording.Activity.Block & plan) == 2
    np.testing.assert_array_equal(column(AnimalRateMap.Unit, plan, "n_spikes"), inside)


def test_finished_maps_are_scored_without_what_needs_spikes(field):
    maps = np.random.default_rng(3).gamma(2, 2, (20, 16, 4))
    maps[..., 3], maps[:2] = 1.5, np.nan
    plan = asked(finish(maps))
    AnimalRateMap.populate(plan)
    row, found = (AnimalRateMap & plan).fetch1(), map_scores(maps, 0.05)
    np.testing.assert_array_equal(np.asarray(row["rate_maps"]), maps)
    assert row["n_visited"] == 18 * 16
    for name in ("occupancy", "segment_maps", "segment_maps_digest"):
        assert row[name] is None
    units = AnimalRateMap.Unit & plan
    for name, values in {
        "mean_rate": found.mean_rate,
        "peak_rate": found.peak_rate,
        "grid_score": found.grid,
        "grid_spacing": found.spacing,
        "border_score": found.border,
        "spatial_information": found.information,
    }.items():
        np.testing.assert_allclose(column(units, plan, name), values, rtol=1e-14)
    assert (units & "grid_score IS NULL").to_arrays("unit_id").tolist() == [FIRST_UNIT + 3]
    assert np.isnan(column(units, plan, "n_spikes")).all()
    assert np.isnan(column(units, plan, "grid_score_p")).all()


@pytest.mark.parametrize(
    ("shape", "side", "fits"),
    [
        ((20, 16), 1.0, True),
        ((16, 20), 1.0, False),
        ((40, 32), 1.0, True),
        ((20, 40), 1.0, False),
        ((22, 16), 1.15, True),  # truncated, as the original has it
        ((23, 16), 1.15, True),
        ((23, 18), 1.15, False),
    ],
)
def test_finished_maps_must_have_square_bins_in_the_arena(field, shape, side, fits):
    where = arena(f"maps {side}", Rectangle(width=side, height=0.8))
    plan = asked(finish(np.ones((*shape, 1)), where))
    if fits:
        AnimalRateMap.populate(plan)
        assert (AnimalRateMap & plan).fetch1("n_bins_x", "n_bins_y") == shape
        return
    with pytest.raises(ValueError, match=f"maps of {shape[0]} x {shape[1]} bins do not fit"):
        AnimalRateMap.populate(plan)


def test_what_cannot_be_mapped_says_why(field, rat):
    track, trains = rat
    minute = Track(track.t[:3000], track.positions[:3000])
    far = Track(track.t, track.positions + 5)
    fast = Track(track.t / 1000, track.positions)
    for key, method, message in (
        (finish(np.full((20, 16, 2), np.nan)), METHOD, "no bin of the arena is known"),
        (record(far, trains), METHOD, "check the units"),
        (record(fast, trains), RateMapMethod(shuffles={"min_shift_s": 0}), "no bin of the arena"),
        (record(minute, trains), RateMapMethod(shuffles={"min_shift_s": 40}), "too short for"),
        (scan(2, arena()), METHOD, "neither a track nor finished rate maps"),
    ):
        with pytest.raises(ValueError, match=message):
            AnimalRateMap.populate(asked(key, method))
    key = scan(2, arena())
    Tracking.insert1(key | track_row(track))
    with pytest.raises(ValueError, match="no spike times"):
        AnimalRateMap.populate(asked(key))


def test_damaged_tracks_and_maps_are_found_out(field, rat):
    track, trains = rat
    for key, table, digest in (
        (record(track, trains), Tracking, "tracking_digest"),
        (finish(np.ones((20, 16, 2))), FinishedRateMap, "finished_maps_digest"),
    ):
        table.update1(key | {digest: "0" * 64})
        with pytest.raises(ValueError, match="damaged"):
            AnimalRateMap.populate(asked(key))


# --- networks

TASK = NavigationTask(
    arena=Rectangle(width=1.2, height=1.2), code=PlaceCellParams(n_cells=30), n_steps=6
)
MAPS = ModelMapParams(bin_cm=20, layers=("g", "dc"), n_batches=2, n_walks=50)


@pytest.fixture(scope="module")
def trained(field):
    """Two small path integrators, hardly trained."""
    training = PathIntegratorTraining(
        n_epochs=1, steps_per_epoch=2, n_walks=20, n_held_out=20, learning_rate=0.01
    )
    plan = (
        TrainingSet.register_task(TaskConfig.register(TASK))
        | ModelConfig.register_task_driven("navigation", PathIntegratorConfig(n_units=8))
        | TrainConfig.register(training)
        | SeedSet.register((1, 6))
    )
    TrainingPlan.insert1(plan)
    TrainedModel.populate({"training_set_hash": plan["training_set_hash"]})
    yield plan
    (TrainingSet & {"training_set_hash": plan["training_set_hash"]}).delete(prompt=False)


def test_networks_are_mapped_in_any_arena(trained):
    asked_for = [
        trained | where | ModelMapConfig.register(MAPS)
        for where in (arena(), arena("maps 1.2 x 1.2", TASK.arena))
    ]
    ModelMapPlan.insert(asked_for)
    ModelRateMap.populate({"training_set_hash": trained["training_set_hash"]})
    rows = (ModelRateMap & trained).to_dicts(order_by="KEY")
    assert len(rows) == 4
    for row in rows:
        key = {name: row[name] for name in ModelRateMap.primary_key}
        network, task = load_path_integrator((TrainedModel & key).fetch1("weights_sha256"))
        box = Arena.box(key)
        expected = model_rate_maps(network, task, box, MAPS)
        assert row["map_decoding_error"] == pytest.approx(expected.decoding_error)
        assert row["n_map_samples"] == 2 * 50 * 6
        layers = (ModelRateMap.Layer & key).to_dicts(order_by="layer_name")
        assert [layer["layer_name"] for layer in layers] == ["dc", "g"]
        for layer in layers:
            maps, name = np.asarray(layer["layer_maps"]), layer["layer_name"]
            np.testing.assert_allclose(maps, expected.layers[name], rtol=1e-5)
            assert layer["layer_maps_digest"] == array_digest(maps)
            assert layer["n_layer_units"] == maps.shape[-1] == {"g": 8, "dc": 30}[name]
            units = ModelRateMap.Unit & key & {"layer_name": name}
            found = map_scores(maps, 0.2)
            for attribute, values in {
                "model_unit": np.arange(maps.shape[-1]),
                "model_grid_score": found.grid,
                "model_grid_spacing": found.spacing,
                "model_grid_orientation": found.orientation,
                "model_border_score": found.border,
                "model_information": found.information,
            }.items():
                stored = np.asarray(units.to_arrays(attribute, order_by="model_unit"), float)
                np.testing.assert_allclose(stored, values, rtol=1e-14)


def test_only_networks_that_are_trained_and_fine_are_mapped(trained):
    """One of a plan that is not asked for and one that failed stay out, whatever is null."""
    key = (TrainedModel & trained).keys(order_by="seed")[0]
    plan = trained | arena("maps 2 x 2", Rectangle(width=2, height=2))
    ModelMapPlan.insert1(plan | ModelMapConfig.register(MAPS))
    waiting = ModelRateMap().key_source - ModelRateMap.proj()
    assert waiting.to_arrays("seed", order_by="seed").tolist() == [1, 6]
    TrainedModel.update1(key | {"validation_score": None})
    assert len(ModelRateMap().key_source - ModelRateMap.proj()) == 2
    TrainedModel.update1(key | {"training_status": "nonfinite"})
    waiting = ModelRateMap().key_source - ModelRateMap.proj()
    assert waiting.to_arrays("seed").tolist() == [6]
    TrainedModel.update1(key | {"training_status": "ok"})


def test_more_units_than_fit_into_a_statement(trained, monkeypatch):
    monkeypatch.setattr("schemas.navigation.UNITS_AT_ONCE", 7)
    params = MAPS.model_copy(update={"n_batches": 1})
    plan = trained | arena() | ModelMapConfig.register(params)
    ModelMapPlan.insert1(plan)
    ModelRateMap.populate(plan, max_calls=1)
    units = ModelRateMap.Unit & plan
    assert len(units & "layer_name = 'g'") == 8 and len(units & "layer_name = 'dc'") == 30
