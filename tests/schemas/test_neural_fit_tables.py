"""Consistency of animals and fits of networks as rows, against the original and the truth."""

import hashlib
import json
import re
from itertools import count

import numpy as np
import pytest
import torch
from miniature import images, insert_arrays, study

from pipeline.deletion import delete_rows
from pipeline.study import register
from schemas.code_version import code_version
from schemas.dataset import ConditionTier, TargetDataset, TaskConfig, TrainingSet
from schemas.model import TrainedModel, TrainingPlan
from schemas.model_config import ModelConfig, SeedSet, TrainConfig
from schemas.navigation import (
    AnimalRateMap,
    ModelMapConfig,
    ModelMapPlan,
    ModelRateMap,
    RateMapConfig,
    RateMapDataset,
    RateMapPlan,
)
from schemas.neural_fit import (
    ConsistencyPlan,
    FeatureConfig,
    InterAnimalConsistency,
    NeuralFit,
    NeuralFitPlan,
    NeuralMapConfig,
)
from schemas.open_field import Arena, FinishedRateMap, OpenField
from schemas.recording import Scan
from schemas.responses import Frame, InputResponse
from science.digest import array_digest
from science.model import ImageModelConfig, ImageNetwork
from science.model.features import ImageFeatureParams, image_features
from science.model.weights import pack
from science.navigation import NavigationTask, PathIntegratorConfig, PlaceCellParams, Rectangle
from science.navigation.cell_scores import RateMapMethod
from science.navigation.model_maps import ModelMapParams
from science.navigation.training import PathIntegratorTraining
from science.neural_fit import get_fits, noise_corrected_fits
from science.neural_fit.config import ElasticNetGrid, NeuralMapParams

ANIMALS = {"m1": 7200, "m2": 7201, "m3": 7202, "m4": 7203}
ARENAS = {"1.0": 1, "1.5": 2}  # their sessions
BOX = Rectangle(width=1.0, height=1.0)
GRID = ElasticNetGrid(alphas=(0.1, 10.0), l1_ratios=(0.0, 0.5), n_folds=2)
PLS = {"map_type": "pls", "n_components": 5}
TASK = NavigationTask(arena=BOX, code=PlaceCellParams(n_cells=30), n_steps=7)
ENET = {"regression_type": "ElasticNet", "regression_kwargs": {"alpha": 0.05, "l1_ratio": 0.5}}


@pytest.fixture(scope="module", autouse=True)
def _database(tables):
    yield
    delete_rows(Scan & "animal_id between 7200 and 7299")
    # by hand: DataJoint needs seconds to find what depends on what
    own = (TrainingSet & TaskConfig.register(TASK)).keys()  # MySQL deletes by no subquery of itself
    for table in (
        *(ModelRateMap.Unit, ModelRateMap.Layer, ModelRateMap, ModelMapPlan),
        *(TrainedModel.DecodingError, TrainedModel.Epoch, TrainedModel, TrainingPlan, TrainingSet),
    ):
        (table & own).delete_quick()


def forage(animal, maps, arena="box", session=1, segments=None, names=None):
    """Insert a recording with finished rate maps; returns the key of its `RateMapPlan`."""
    box = BOX if arena != "1.5" else Rectangle(width=1.5, height=1.5)
    key = {"animal_id": animal, "session": session, "scan_idx": 1}
    n_cells = maps.shape[-1]
    Scan.insert1(key | {"reader": "test", "reader_version": "1", "source_name": "made in a test"})
    Scan.Unit.insert(key | {"unit_id": unit + 1} for unit in range(n_cells))
    OpenField.insert1(key | Arena.register(arena, box) | {"animal_name": f"{animal}"})
    names = range(n_cells) if names is None else names
    OpenField.Cell.insert(
        key | {"unit_id": i + 1, "cell_name": str(n)} for i, n in enumerate(names)
    )
    digest = array_digest(maps)
    FinishedRateMap.insert1(key | {"finished_maps": maps, "finished_maps_digest": digest})
    key |= RateMapConfig.register(RateMapMethod())
    RateMapPlan.insert1(key)
    visited = int(np.isfinite(maps).any(-1).sum())
    row = {"n_bins_x": maps.shape[0], "n_bins_y": maps.shape[1], "n_visited": visited}
    row |= {"rate_maps": maps, "rate_maps_digest": digest}
    if segments is not None:
        row |= {"segment_maps": segments, "segment_maps_digest": array_digest(segments)}
    AnimalRateMap.insert1(key | row, allow_direct_insert=True)
    AnimalRateMap.Unit.insert(
        [key | {"unit_id": unit + 1} for unit in range(n_cells)], allow_direct_insert=True
    )
    return key


def asked(dataset, mode="holdout", **params):
    """Plan a comparison of animals and return its key."""
    return ConsistencyPlan.register(
        dataset, NeuralMapConfig.register(NeuralMapParams(**params)), mode
    )


def scores(table, key, name, split=None):
    """Return a column of the cells, by key, (n_cells,) or (n_splits, n_cells); NaN: null."""
    order = (*([split] if split else []), *Scan.Unit.primary_key)
    column = np.asarray((table & key).to_arrays(name, order_by=order), float)
    return column.reshape(len(set((table & key).to_arrays(split))), -1) if split else column


# --- the animals of the original


@pytest.fixture(scope="module")
def golden(shared, tables):
    """The keys of the data sets of both arenas, the dictionary, and the numbers of the original."""
    folder = shared / "golden" / "mec"
    with np.load(folder / "synthetic_dataset.npz") as arrays:
        dictionary = {
            float(arena): {
                animal: {
                    "resp": arrays[f"resp|{arena}|{animal}"],
                    "cell_ids": arrays[f"cell_ids|{animal}"],
                }
                for animal in ANIMALS
            }
            for arena in ARENAS
        }
    sets = {}
    for arena, session in ARENAS.items():
        members = [
            forage(ANIMALS[animal], own["resp"], arena, session, names=own["cell_ids"])
            for animal, own in dictionary[float(arena)].items()
        ]
        sets[arena] = RateMapDataset.register(members)
    runs = json.loads((folder / "get_fits_golden.json").read_text())["runs"]
    return sets, dictionary, runs


GOLDEN_RUNS = {
    "ridge1_holdout": {},
    "ridge1_pairwise": {"mode": "pairwise"},
    "pls5_holdout": {"map": PLS},
    "corr_holdout": {"map": {"map_type": "corr"}},
    "ridge1_holdout_leftright": {"train_frac": "leftright"},
}


@pytest.mark.shared
@pytest.mark.parametrize("name", GOLDEN_RUNS)
def test_cells_have_the_scores_of_the_original(golden, name):
    sets, dictionary, runs = golden
    for arena, expected in runs[name]["results"].items():
        key = asked(sets[arena], **GOLDEN_RUNS[name])
        InterAnimalConsistency.populate(key)
        cells = InterAnimalConsistency.Cell & key
        for animal, animal_id in ANIMALS.items():
            own = (cells * OpenField.Cell & {"animal_id": animal_id}).to_dicts(order_by="unit_id")
            assert [row["cell_name"] for row in own] == expected[animal]["cell_ids"]
            found = np.array([row["consistency"] for row in own], float)
            np.testing.assert_allclose(
                found, np.array(expected[animal]["corr"], float), rtol=0, atol=1e-9
            )
        row = (InterAnimalConsistency & key).fetch1()
        assert row["n_consistency_cells"] == 44
        assert row["median_consistency"] == pytest.approx(expected["_nanmedian"], abs=1e-9)
        # one cell is silent in the larger arena
        assert len(cells & "consistency is null") == (arena == "1.5")
        kwargs = {key: value for key, value in runs[name]["kwargs"].items() if key != "arena_sizes"}
        fits = get_fits(dictionary, arena_sizes=[float(arena)], **kwargs)[float(arena)]
        splits = np.concatenate([fits[animal].corr_per_split for animal in ANIMALS], axis=1)
        found = scores(
            InterAnimalConsistency.CellSplit, key, "split_consistency", "consistency_split"
        )
        np.testing.assert_allclose(found, splits, rtol=0, atol=1e-9)
        bins = np.concatenate([fits[animal].n_bins for animal in ANIMALS])
        found = scores(InterAnimalConsistency.Cell, key, "n_consistency_bins")
        np.testing.assert_array_equal(found, bins)


# mec 13: medians of both arenas, six digits
MEDIANS = {
    "corr_pairwise": ({"map": {"map_type": "corr"}, "mode": "pairwise"}, 0.419901, 0.548248),
    "enet_holdout": ({"map": {"map_type": "sklinear", **ENET}}, 0.655608, 0.915773),
    "seed 100": ({"start_seed": 100}, 0.636986, 0.902280),
}


@pytest.mark.shared
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", MEDIANS)
def test_medians_are_those_of_the_specification(golden, name):
    params, *medians = MEDIANS[name]
    for dataset, median in zip(golden[0].values(), medians, strict=True):
        key = asked(dataset, **params)
        InterAnimalConsistency.populate(key)
        row = (InterAnimalConsistency & key).fetch1()
        assert row["median_consistency"] == pytest.approx(median, abs=5.1e-7)


# --- penalties, trials and networks


def lattice(rng, n_cells, shape=(12, 12), n_shared=4):
    """Maps of cells that are mixtures of the same few smooth maps."""
    x, y = np.meshgrid(*(np.linspace(0, 1, n) for n in shape), indexing="ij")
    waves = [np.cos(2 * np.pi * (i * x + j * y)) for i in (1, 2) for j in (0, 1)][:n_shared]
    return 3 + np.stack(waves, axis=-1) @ rng.normal(size=(n_shared, n_cells))


@pytest.fixture(scope="module")
def noisy(tables):
    """Two animals, one of them in two recordings, with four noisy segments each."""
    rng, members, segments = np.random.default_rng(3), [], []
    for animal, session, n_cells in ((7210, 1, 3), (7210, 2, 2), (7211, 1, 4)):
        trials = lattice(rng, n_cells) + rng.normal(size=(4, 12, 12, n_cells))
        segments.append(trials)
        members.append(forage(animal, trials.mean(0), "box", session, trials))
    return RateMapDataset.register(members), segments


@pytest.fixture(scope="module")
def path_integrator(tables):
    """A plan of rate maps of a network that was trained for a moment."""
    training = PathIntegratorTraining(n_epochs=1, steps_per_epoch=2, n_walks=20, n_held_out=20)
    config = PathIntegratorConfig(type="rnn", n_units=6)
    plan = (
        TrainingSet.register_task(TaskConfig.register(TASK))
        | ModelConfig.register_task_driven("navigation", config)
        | TrainConfig.register(training)
        | SeedSet.register([3])
    )
    TrainingPlan.insert1(plan)
    TrainedModel.populate({"training_set_hash": plan["training_set_hash"]})
    return mapped(plan, ModelMapParams(bin_cm=100 / 12, n_batches=5, n_walks=100))


def mapped(plan, params):
    """Plan and make rate maps in the box; returns the key of the `ModelMapPlan`."""
    Arena.register("box", BOX)
    key = plan | {"arena": "box"} | ModelMapConfig.register(params)
    ModelMapPlan.insert1(key)
    return key


def constructed(plan, maps, seed):
    """Give a network maps that it never made; returns the key of the `ModelMapPlan`."""
    key = mapped(
        {name: plan[name] for name in TrainingPlan.primary_key},
        ModelMapParams(bin_cm=100 / 12, seed=seed),
    )
    made = {name: key[name] for name in ModelRateMap.primary_key if name != "seed"} | {"seed": 3}
    row = {"map_decoding_error": 0.1, "n_map_samples": 1}
    ModelRateMap.insert1(made | row, allow_direct_insert=True)
    maps = maps.astype(np.float32)
    layer = {"layer_name": "g", "n_layer_units": maps.shape[-1], "layer_maps": maps}
    layer["layer_maps_digest"] = array_digest(maps)
    ModelRateMap.Layer.insert1(made | layer, allow_direct_insert=True)
    return key


def test_noise_is_corrected_by_the_segments_of_all_recordings(noisy):
    dataset, segments = noisy
    key = asked(dataset, train_frac=0.4, n_splits=3, n_halvings=5)
    InterAnimalConsistency.populate(key)
    found = scores(InterAnimalConsistency.Cell, key, "consistency_corrected")
    first = np.concatenate([s.reshape(4, 144, -1) for s in segments[:2]], axis=-1)
    second = segments[2].reshape(4, 144, -1)
    split = {"train_frac": 0.4, "num_train_test_splits": 3, "n_halvings": 5}
    expected = [
        noise_corrected_fits(*both, **split).corr for both in ((second, first), (first, second))
    ]
    np.testing.assert_allclose(found, np.concatenate(expected), rtol=0, atol=1e-9)
    assert np.median(found) > (InterAnimalConsistency & key).fetch1("median_consistency")


def test_penalties_of_animals_are_those_of_networks(noisy, path_integrator):
    dataset, segments = noisy
    ModelRateMap.populate(path_integrator)
    params = NeuralMapParams(search=GRID, train_frac=0.4, n_splits=2)
    neural_map = NeuralMapConfig.register(params)
    plan = NeuralFitPlan.register_rate_maps(path_integrator, dataset, "g", neural_map)
    consistency = dataset | neural_map | {"consistency_mode": "holdout"}
    assert ConsistencyPlan & consistency
    assert not NeuralFit().key_source & plan
    InterAnimalConsistency.populate(consistency)
    NeuralFit.populate(plan)
    maps = np.asarray((ModelRateMap.Layer & path_integrator).fetch1("layer_maps"))
    splits = (InterAnimalConsistency.CellSplit & consistency).to_dicts(order_by="consistency_split")
    per_cell = {}
    for row in splits:
        ridge, n_train = row["chosen_l1_ratio"] == 0, row["n_chosen_on"]
        assert n_train == 58
        grid = row["chosen_alpha"] * n_train
        assert np.isclose(grid, GRID.alphas).any() and row["chosen_l1_ratio"] in GRID.l1_ratios
        penalty = {"alpha": grid} if ridge else {"alpha": row["chosen_alpha"], "l1_ratio": 0.5}
        kind = {"regression_type": "Ridge" if ridge else "ElasticNet"}
        cell = tuple(row[name] for name in Scan.Unit.primary_key)
        per_cell.setdefault(cell, []).append(kind | {"regression_kwargs": penalty})
    order = sorted(per_cell)
    responses = np.concatenate([s.mean(0) for s in segments], axis=-1)
    fits = get_fits(
        {"box": {"all": {"resp": responses, "cell_ids": np.arange(9)}}},
        maps,
        train_frac=0.4,
        num_train_test_splits=2,
        map_kwargs_per_cell={i: {"map_kwargs": per_cell[cell]} for i, cell in enumerate(order)},
    )["box"]["all"]
    found = scores(NeuralFit.CellSplit, plan, "split_fit", "fit_split")
    np.testing.assert_allclose(found, fits.corr_per_split, rtol=0, atol=1e-9)


def test_the_layer_of_a_trained_network_is_fitted_as_by_get_fits(noisy, path_integrator):
    dataset, segments = noisy
    ModelRateMap.populate(path_integrator)
    neural_map = NeuralMapConfig.register(NeuralMapParams(train_frac=0.4, n_halvings=4))
    plan = NeuralFitPlan.register_rate_maps(path_integrator, dataset, "g", neural_map)
    NeuralFit.populate(plan)
    maps = np.asarray((ModelRateMap.Layer & path_integrator).fetch1("layer_maps"))
    responses = np.concatenate([s.mean(0) for s in segments], axis=-1)
    animals = {
        7210: {"resp": responses[..., :5], "cell_ids": range(5)},
        7211: {"resp": responses[..., 5:], "cell_ids": range(4)},
    }
    fits = get_fits({"box": animals}, maps, train_frac=0.4)["box"]
    expected = np.concatenate([fits[animal].corr for animal in animals])
    np.testing.assert_allclose(scores(NeuralFit.Cell, plan, "fit"), expected, rtol=0, atol=1e-9)
    row = (NeuralFit & plan).fetch1()
    assert (row["n_fit_cells"], row["seed"]) == (9, 3)
    assert row["median_fit"] == pytest.approx(np.median(expected))
    trials = np.concatenate([s.reshape(4, 144, -1) for s in segments], axis=-1)
    expected = noise_corrected_fits(maps.reshape(144, -1), trials, train_frac=0.4, n_halvings=4)
    found = scores(NeuralFit.Cell, plan, "fit_corrected")
    np.testing.assert_allclose(found, expected.corr, rtol=0, atol=1e-9)


def test_a_network_with_the_maps_of_an_animal_explains_it_and_noise_explains_nothing(
    noisy, path_integrator
):
    dataset, segments = noisy
    rng = np.random.default_rng(4)
    own, noise = segments[2].mean(0), rng.normal(size=(12, 12, 4))
    neural_map = NeuralMapConfig.register(NeuralMapParams(train_frac=0.5))
    for seed, maps in enumerate((own, noise), start=1):
        key = constructed(path_integrator, maps, seed)
        plan = NeuralFitPlan.register_rate_maps(key, dataset, "g", neural_map)
        NeuralFit.populate(plan)
        fits = scores(NeuralFit.Cell, plan, "fit")
        if maps is own:
            assert (fits[5:] > 0.995).all() and (fits[:5] < 0.99).all()
        else:
            assert (np.abs(fits) < 0.25).all()


def test_plans_that_cannot_be_are_refused(noisy, path_integrator):
    dataset, _ = noisy
    neural_map = NeuralMapConfig.register(NeuralMapParams())
    searching = NeuralMapConfig.register(NeuralMapParams(search=GRID))
    with pytest.raises(ValueError, match="use 'holdout', or no search"):
        ConsistencyPlan.register(dataset, searching, "pairwise")
    with pytest.raises(ValueError, match=r"layer 'dc' is not mapped, but \['g'\]"):
        NeuralFitPlan.register_rate_maps(path_integrator, dataset, "dc", neural_map)
    elsewhere = Arena.register("1.5", Rectangle(width=1.5, height=1.5))
    other = path_integrator | elsewhere
    with pytest.raises(ValueError, match=r"in the arena 'box', the networks are mapped in '1.5'"):
        NeuralFitPlan.register_rate_maps(other, dataset, "g", neural_map)
    feature = FeatureConfig.register(ImageFeatureParams())
    explained = {"training_set_hash": path_integrator["training_set_hash"]}
    with pytest.raises(ValueError, match="'navigation', here one of the family 'image'"):
        NeuralFitPlan.register_images(path_integrator, explained, feature, neural_map)
    assert not NeuralFitPlan & dataset & neural_map


# --- image networks

SIZE = (24, 40)
MEAN, STD = 120.0, 60.0


@pytest.fixture(scope="module")
def image_network(tables):
    """A network, and recordings of units that are driven by its features.

    In the first one: 3 by features and noise, one by features of other images, a constant one. In
    the second: the last one comes first.
    """
    plans = register(study(), [record_images(None, 7240)])
    network, statistics = untrained({"7240-1-1": 5})
    scans = [record_images(network, animal) for animal in (7241, 7242)]
    explained = register(study(), scans)["training_set"]
    for table in (Frame, InputResponse, ConditionTier):
        table.populate(scans)
    TargetDataset.populate(explained)
    weights = pack(network, statistics)
    key = {n: plans["plans"]["cnn"][n] for n in TrainedModel.primary_key if n != "seed"}
    row = {
        "training_status": "ok",
        "best_epoch": 1,
        "n_epochs": 1,
        "n_resumptions": 0,
        "weights": (".safetensors", weights),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }
    TrainedModel.insert1(key | {"seed": 3} | row | code_version(), allow_direct_insert=True)
    return plans["plans"]["cnn"], explained


def untrained(n_units):
    core = study().models["cnn"].config.core
    network = ImageNetwork(ImageModelConfig(core=core), SIZE, n_units).eval()
    columns = [[key, column] for key, n in n_units.items() for column in range(n)]
    scale = {key: [1.0] * n for key, n in n_units.items()}
    statistics = {"image_mean": MEAN, "image_std": STD, "columns": columns, "response_scale": scale}
    return network, statistics


def record_images(network, animal):
    """Insert a recording of 60 images that are shown three or four times, and 30 shown once."""
    rng = np.random.default_rng(animal)
    pixels = images(90, animal, SIZE)
    index = rng.permutation(
        np.concatenate([np.tile(np.arange(60), 3), np.arange(20), np.arange(60, 90)])
    )
    drive = np.zeros((90, 5))
    if network is not None:
        inputs = torch.from_numpy((pixels - MEAN) / STD).float()[:, None]
        features = image_features(network, inputs, ImageFeatureParams(grid=1))
        driven = features @ rng.normal(size=(features.shape[1], 4))
        drive[:, :4] = 3 * (driven - driven.mean(0)) / driven.std(0)
        drive[:, 3] = np.roll(drive[:, 3], 7)
    responses = 20 + drive[index]
    responses[:, :3] += rng.normal(size=(len(index), 3))
    responses = np.roll(responses, animal == 7242, axis=1)
    key = {"animal_id": animal, "session": 1, "scan_idx": 1}
    content = {"images": pixels, "image_index": index, "responses": responses.astype(np.float32)}
    insert_arrays(key, content)
    return key


def test_a_network_explains_the_units_that_its_features_drive(image_network):
    plan, explained = image_network
    params = NeuralMapParams(
        map={"regression_kwargs": {"alpha": 1e-4}, "map_type": "sklinear"},
        train_frac=0.5,
        n_halvings=20,
        reliability_of="halves",
    )
    feature = FeatureConfig.register(ImageFeatureParams(grid=1))
    asked_for = (plan, explained, feature, NeuralMapConfig.register(params))
    key = NeuralFitPlan.register_images(*asked_for)
    assert NeuralFitPlan.register_images(*asked_for) == key
    assert len(NeuralFit().key_source & key) == 1  # the other seed is not trained
    NeuralFit.populate(key)
    cells = (NeuralFit.Cell & key).to_dicts(order_by=Scan.Unit.primary_key)
    assert [c["animal_id"] for c in cells] == [7241] * 5 + [7242] * 5
    assert {c["n_fit_conditions"] for c in cells} == {60}
    for own in (cells[:5], [*cells[6:], cells[5]]):
        assert min(c["fit"] for c in own[:3]) > 0.9
        assert [c["fit_corrected"] for c in own[:3]] == pytest.approx([1, 1, 1], abs=0.06)
        assert own[3]["fit"] < 0.4 and own[4]["fit"] is None
    assert (NeuralFit & key).fetch1("n_fit_cells") == 10
    assert len(NeuralFit.CellSplit & key) == 100


def test_fits_wait_for_their_own_responses_only(image_network, path_integrator):
    members = [forage(animal, maps_of(2, (12, 12))) for animal in (7243, 7244)]
    dataset = RateMapDataset.register(members)
    neural_map = NeuralMapConfig.register(NeuralMapParams(n_splits=2))
    ConsistencyPlan.register(dataset, neural_map)
    feature = FeatureConfig.register(ImageFeatureParams(grid=1))
    rats = NeuralFitPlan.register_rate_maps(path_integrator, dataset, "g", neural_map)
    mice = NeuralFitPlan.register_images(*image_network, feature, neural_map)
    ModelRateMap.populate(path_integrator)
    fits, comparisons = NeuralFit().key_source, InterAnimalConsistency().key_source
    assert len(fits & rats) == len(fits & mice) == len(comparisons & dataset) == 1
    (AnimalRateMap.Unit & members[1]).delete_quick()
    (AnimalRateMap & members[1]).delete_quick()
    assert not fits & rats and not comparisons & dataset
    assert len(fits & mice) == 1


def test_image_plans_that_cannot_be_are_refused(image_network, noisy, path_integrator):
    plan, explained = image_network
    feature = FeatureConfig.register(ImageFeatureParams())
    for params in (NeuralMapParams(search=GRID), NeuralMapParams(train_frac="quad")):
        with pytest.raises(ValueError, match="images are no places in an arena"):
            NeuralFitPlan.register_images(
                plan, explained, feature, NeuralMapConfig.register(params)
            )
    neural_map = NeuralMapConfig.register(NeuralMapParams())
    deeper = FeatureConfig.register(ImageFeatureParams(layer="core.1"))
    with pytest.raises(ValueError, match=r"no layer 'core.1': use one of"):
        NeuralFitPlan.register_images(plan, explained, deeper, neural_map)
    of_images = plan | {"arena": "box", "model_map_hash": path_integrator["model_map_hash"]}
    with pytest.raises(ValueError, match="'image', here one of the family 'navigation'"):
        NeuralFitPlan.register_rate_maps(of_images, noisy[0], "g", neural_map)


# --- what cannot be fitted

ANIMAL = count(7250)


def maps_of(n_cells, shape=(5, 5), value=None):
    rng = np.random.default_rng(n_cells)
    return (
        rng.normal(size=(*shape, n_cells)) if value is None else np.full((*shape, n_cells), value)
    )


def dataset_of(*maps):
    return RateMapDataset.register([forage(next(ANIMAL), m) for m in maps])


BAD = {
    "no data of an animal": ((3, 0), {}, r"animal 72\d\d in arena 'box' has no data"),
    "fewer source cells than components": (
        (3, 4),
        {"map": {"map_type": "pls", "n_components": 4}},
        "4 PLS components cannot be had of 3 source cells",
    ),
    "no bin is known": ((3, maps_of(2, value=np.nan)), {}, "no bin of arena 'box' is finite"),
    "no test bin": ((3, 2), {"train_frac": 0.97}, "leaves 25 to train and 0 to test"),
    "unequal bins": (
        (3, maps_of(2, (5, 6))),
        {},
        r"have maps of \(5, 5\) bins, but 72\d\d of \(5, 6\)",
    ),
    "one animal": ((3,), {}, "arena 'box' has one animal only"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_compared_is_an_error_row_that_says_why(tables, name):
    members, params, message = BAD[name]
    dataset = dataset_of(*(maps_of(m) if isinstance(m, int) else m for m in members))
    key = dataset | NeuralMapConfig.register(NeuralMapParams(**params))
    key |= {"consistency_mode": "holdout"}
    if name == "one animal":
        with pytest.raises(ValueError, match="one animal only in the arena 'box'"):
            ConsistencyPlan.register(dataset, key)
    ConsistencyPlan.insert1(key)
    InterAnimalConsistency.populate(key, reserve_jobs=True, suppress_errors=True)
    error = (InterAnimalConsistency().jobs.errors & key).fetch1("error_message")
    assert re.search(message, error)
    assert not InterAnimalConsistency & key and not InterAnimalConsistency.Cell & key


def test_a_network_with_other_bins_is_an_error_row_with_both_shapes(noisy, path_integrator):
    shape = (9, 16)  # as many as 12 x 12
    key = constructed(path_integrator, maps_of(3, shape), seed=100)
    neural_map = NeuralMapConfig.register(NeuralMapParams())
    plan = NeuralFitPlan.register_rate_maps(key, noisy[0], "g", neural_map)
    NeuralFit.populate(plan, reserve_jobs=True, suppress_errors=True)
    error = (NeuralFit().jobs.errors & plan).fetch1("error_message")
    assert (
        f"the model has maps of {shape} bins, but the animals of arena 'box' of (12, 12)" in error
    )
    assert not NeuralFit & plan and not NeuralFit.Cell & plan
