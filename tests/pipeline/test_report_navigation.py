"""Navigation in the report: figures of small arrays, views of a small study, the page."""

import re
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
from foragers import mapped, source
from matplotlib.colors import to_hex
from sketchbook import Sketchbook, watched
from test_report import Reader, empty_page, full_page, written

import pipeline.report as report
from pipeline.ingest.open_field import insert_open_field
from pipeline.ingest.virtual_rat import ingest_virtual_rat
from pipeline.navigation_study import NavigationStudy, register_navigation
from pipeline.report import fit_figures, navigation_figures, path_integrators
from pipeline.report.error_curves import ErrorCurve, error_curves
from pipeline.report.fit_figures import Explained, against_animals, strips
from pipeline.report.fits import image_fits, map_words, rate_map_fits
from pipeline.report.navigation import navigation
from pipeline.report.navigation_figures import (
    MappedUnit,
    grid_score_distributions,
    mapped_units,
    walks,
)
from pipeline.report.navigation_page import (
    CellsView,
    FitsView,
    IntegratorsView,
    IntegratorView,
    NavigationView,
    NetworkMapsView,
)
from pipeline.report.path_integrators import distinct
from pipeline.report.picture import Picture
from pipeline.report.render import render
from pipeline.report.style import MAIN, SECOND
from pipeline.truth.rats import true_rat
from schemas.code_version import code_version
from schemas.dataset import TrainingSet
from schemas.model import TrainedModel, TrainingPlan
from schemas.model_config import ModelConfig
from schemas.navigation import (
    AnimalRateMap,
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
from schemas.open_field import Arena, FinishedRateMap, OpenField, Tracking
from schemas.recording import Activity, Scan, VirtualAnimal
from science.model.features import ImageFeatureParams
from science.navigation import Rectangle, VirtualRatParams, random_source, trajectories
from science.neural_fit.config import NeuralMapParams

NAN = np.nan
BOX = Rectangle(width=1.2, height=0.8)
PICTURE = Picture("figures/x-0123456789.png", "a figure", 400)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def texts(axis):
    return [text.get_text() for text in axis]


# ---------------------------------------------------------------- figures


def curve(name, errors, best_epoch=1, standing=20.0, centre=80.0):
    epochs = np.arange(1, len(errors) + 1)
    levels = {"standing still": standing, "chance": centre}
    return ErrorCurve(name, epochs, np.array(errors), best_epoch, levels)


def test_seeds_share_a_colour_and_levels_are_dashed():
    curves = [curve("a", [70.0, 9, 8], 3), curve("a", [60.0, 7], 2), curve("b", [75.0, NAN], 0)]
    (ax,) = written(error_curves({"task": curves}, "cm")).axes
    assert ax.get_yscale() == "log"
    lines = [line for line in ax.lines if line.get_linestyle() == "-" and len(line.get_xdata()) > 1]
    assert [line.get_color() for line in lines] == [MAIN, MAIN, SECOND]
    np.testing.assert_array_equal(lines[0].get_ydata(), [70, 9, 8])
    dots = [line.get_xydata().tolist() for line in ax.lines if line.get_marker() == "o"]
    assert dots == [[[3, 8]], [[2, 7]], []]
    dashed = [line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == "--"]
    assert dashed == [20, 80]
    assert texts(ax.get_legend().get_texts()) == ["a", "b"]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_every_task_has_a_panel(n):
    figure = written(error_curves({str(i): [curve("a", [9.0, 8])] for i in range(n)}, "cm"))
    assert sum(ax.axison for ax in figure.axes) == n


def test_walks_are_drawn_with_their_mean_error_after_the_start(rng):
    true = rng.uniform(-0.3, 0.3, (8, 5, 2))
    decoded = true + rng.normal(0, 0.05, true.shape)
    axes = written(walks(true, decoded, BOX)).axes
    assert len(axes) == 8
    for ax, path, read in zip(axes, true, decoded, strict=True):
        np.testing.assert_array_equal(ax.lines[0].get_xydata(), path)
        np.testing.assert_array_equal(ax.lines[1].get_xydata(), read)
        np.testing.assert_array_equal(ax.lines[2].get_xydata(), path[:1])
        error = np.mean([np.hypot(*(a - b)) for a, b in zip(path, read, strict=True)][1:])
        assert ax.get_title(loc="left") == f"{100 * error:.1f} cm"


def test_a_map_stands_with_x_to_the_right_and_y_upwards(rng):
    rates = rng.gamma(1, 2, (12, 8))
    rates[3, 5] = NAN
    unit = MappedUnit("a\nb", rates, rng.uniform(-0.4, 0.4, (9, 2)), np.array([[0.1, 0.2]]), "5 Hz")
    axes = written(mapped_units([unit] * 7, BOX)).axes
    shown = [ax for ax in axes if ax.axison]
    assert len(shown) == 21  # paths, maps and autocorrelograms of seven
    path, image, correlogram = shown[0], shown[6], shown[12]
    assert path.get_title(loc="left") == "a\nb" and image.get_xlabel() == "5 Hz"
    assert path.lines[1].get_xydata().tolist() == [[0.1, 0.2]]
    (drawn,) = image.images
    assert drawn.origin == "lower"
    assert drawn.get_extent() == pytest.approx([-0.6, 0.6, -0.4, 0.4])
    np.testing.assert_array_equal(drawn.get_array().filled(NAN), rates.T)
    lags = correlogram.images[0].get_array()
    assert lags.shape == (15, 23) and lags[7, 11] == pytest.approx(1)
    assert correlogram.images[0].get_clim() == (-1, 1)


def test_units_of_networks_have_no_paths_and_untracked_cells_say_so(rng):
    unit = MappedUnit("a", rng.gamma(1, 2, (6, 4)))
    assert sum(ax.axison for ax in written(mapped_units([unit] * 2, BOX)).axes) == 4
    tracked = replace(unit, path=rng.uniform(0, 0.3, (4, 2)), spikes=np.empty((0, 2)))
    axes = written(mapped_units([tracked, unit], BOX)).axes
    assert ["not tracked" in texts(ax.texts) for ax in axes if ax.axison][:2] == [False, True]


def test_grid_scores_are_fractions_of_the_units_that_have_one():
    scores = {"a": np.array([0.1, 0.5, NAN, 0.7]), "b": np.array([-0.2, 0.4])}
    (ax,) = written(grid_score_distributions(scores, 0.3)).axes
    assert [patch.get_data().values.sum() for patch in ax.patches] == pytest.approx([1, 1])
    assert texts(ax.get_legend().get_texts()) == ["a (3 units)", "b (2 units)"]
    assert ax.lines[0].get_xdata() == [0.3, 0.3]


def test_strips_have_a_row_each_with_median_and_number():
    rows = [
        Explained("animals", np.array([0.2, NAN, 0.4, 0.9]), 0.6, True),
        Explained("network", np.array([0.1, 0.3])),
        Explained("nothing", np.full(2, NAN)),
    ]
    figure = written(strips(rows))
    ax = figure.axes[0]
    assert texts(ax.get_yticklabels()) == ["animals", "network", "nothing"]
    (right,) = ax.child_axes
    found = ["0.40  n = 3", "0.20  n = 2", "none  n = 0"]
    assert texts(right.get_yticklabels()) == found
    dots = [c.get_offsets()[:, 0].tolist() for c in ax.collections]
    assert dots == [[0.2, 0.4, 0.9], [0.1, 0.3], []]
    colours = [to_hex(c.get_facecolor()[0]) for c in ax.collections[:2]]
    assert colours == [SECOND, MAIN]
    diamonds = [line.get_xydata().tolist() for line in ax.lines if line.get_marker() == "D"]
    assert diamonds == [[[0.6, 0]]]


@pytest.mark.parametrize("n", [1, 4])
def test_networks_are_drawn_against_animals_with_equal_axes(n):
    animals = np.array([0.2, NAN, 0.4])
    figure = written(
        against_animals({str(i): np.array([0.5, 0.1, NAN]) for i in range(n)}, animals)
    )
    shown = [ax for ax in figure.axes if ax.axison]
    assert len(shown) == n
    for ax in shown:
        assert ax.get_xlim() == ax.get_ylim()
        np.testing.assert_array_equal(
            ax.collections[0].get_offsets().filled(NAN)[0], [animals[0], 0.5]
        )


# ---------------------------------------------------------------- words


def test_equal_names_get_the_hashes_in_which_they_differ():
    keys = [
        {"model_hash": model * 8, "train_hash": train * 8}
        for model, train in ("ax", "ay", "bx", "cx")
    ]
    names = distinct(["u", "u", "u", "v"], keys, ["model_hash", "train_hash"])
    assert names == ["u aaaaaa xxxxxx", "u aaaaaa yyyyyy", "u bbbbbb", "v"]
    assert distinct(["u", "v"], keys[:2], ["train_hash"]) == ["u", "v"]


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, "Ridge; trained on 20 % of the bins, 10 random splits"),
        (
            {"map": {"map_type": "pls", "n_components": 25}, "n_splits": 1},
            "PLS of 25 components; trained on 20 % of the bins, 1 random split",
        ),
        (
            {"map": {"map_type": "corr"}, "train_frac": "leftright"},
            "the one most alike cell or unit; parts of the arena (leftright) predicted from the "
            "others",
        ),
        (
            {"map": {"map_type": "corr", "percentile": 90, "identity": False}, "train_frac": 0.5},
            "regression on the cells or units above the 90th percentile; trained on 50 % of the "
            "bins, 10 random splits",
        ),
        (
            {"search": {}},
            "elastic net whose penalties each cell has chosen on other animals; trained on 20 % of "
            "the bins, 10 random splits",
        ),
    ],
)
def test_maps_are_told_in_words(params, words):
    assert map_words(NeuralMapParams.model_validate(params), "bins") == words


# ---------------------------------------------------------------- views of a small study

FIRST = 7300
RATS = [{"animal_id": FIRST + i, "session": 1, "scan_idx": 1} for i in range(2)]
FINISHED = {"animal_id": FIRST + 9, "session": 1, "scan_idx": 1}
RAT = VirtualRatParams(
    arena=Rectangle(width=0.9, height=0.6),
    n_grid=9, n_border=2, n_place=2, n_head_direction=1, n_conjunctive=1, n_untuned=1,
    module_spacings=(0.3,),
)  # fmt: skip
STUDY = NavigationStudy.model_validate(
    {
        "task": {"arena": RAT.arena, "code": {"type": "place_cells", "n_cells": 25}, "n_steps": 6},
        "training": {
            "learning_rate": 0.01,
            "n_epochs": 3,
            "steps_per_epoch": 10,
            "n_walks": 20,
            "n_held_out": 40,
        },
        "networks": {
            "rnn": {"seeds": (3, 8), "untrained": True, "config": {"type": "rnn", "n_units": 13}}
        },
        "rate_maps": {"shuffles": {"n_shuffles": 19}},
        "model_maps": {"n_batches": 2, "n_walks": 200},
        "maps": {"ridge": {"n_splits": 2, "train_frac": 0.5}},
        "consistency": ("holdout", "pairwise"),
    }
)
ARENA = "virtual 0.9 x 0.6"


@pytest.fixture(scope="module")
def study(tables):
    """Two virtual rats, two networks with two seeds, and what they explain; finished maps."""
    for i, key in enumerate(RATS):
        ingest_virtual_rat(key, 40 + i, 2.0, RAT)
    arrays = mapped(3, arena="finished box", maps=smooth_maps((24, 16), 3))
    insert_open_field(FINISHED, arrays, source(arrays))
    registered = register_navigation(STUDY, RATS)
    RateMapPlan.insert1(FINISHED | RateMapConfig.register(STUDY.rate_maps))
    task = registered["training_set"]
    animals = f"animal_id BETWEEN {FIRST} AND {FIRST + 99}"
    TrainedModel.populate(task)
    AnimalRateMap.populate(animals)
    ModelRateMap.populate(task)
    InterAnimalConsistency.populate(registered["datasets"][ARENA])
    NeuralFit.populate((NeuralFitPlan & task).proj())
    yield registered
    forget(task, registered["datasets"][ARENA], animals)


def forget(task, dataset, animals):
    """Delete what was made, and nothing of which anything else depends on: so quickly."""
    fits, arenas = (NeuralFitPlan & task).proj(), ("finished box", ARENA)
    for rows, tables in (
        (fits, (NeuralFit.CellSplit, NeuralFit.Cell, NeuralFit)),
        (task, (NeuralFitPlan, ModelRateMap.Unit, ModelRateMap.Layer, ModelRateMap, ModelMapPlan)),
        (task, (TrainedModel.Epoch, TrainedModel.DecodingError, TrainedModel)),
        (task, (TrainingPlan, TrainingSet)),
        (dataset, (InterAnimalConsistency.CellSplit, InterAnimalConsistency.Cell)),
        (dataset, (InterAnimalConsistency, ConsistencyPlan)),
        (dataset, (RateMapDataset.Member, RateMapDataset)),
        (animals, (AnimalRateMap.Unit, AnimalRateMap, RateMapPlan, Tracking, FinishedRateMap)),
        (animals, (OpenField.Cell, OpenField, VirtualAnimal, Activity.Block, Activity)),
        (animals, (Scan.Unit, Scan)),
        ([{"arena": arena} for arena in arenas], (Arena,)),
    ):
        for table in tables:
            (table & rows).delete_quick()


def smooth_maps(shape, n):
    x, y = np.meshgrid(*(np.arange(k) for k in shape), indexing="ij")
    return np.stack([np.cos(x / (2 + i)) + np.cos(y / 2) + 2 for i in range(n)], -1)


@pytest.fixture(scope="module")
def drawn():
    """Collects what figures are made of, by name."""
    functions = {
        path_integrators: ("error_curves",),
        navigation_figures: ("walks", "mapped_units", "grid_score_distributions"),
        fit_figures: ("strips", "against_animals"),
    }
    with watched(functions) as calls:
        yield calls


@pytest.fixture(scope="module")
def view(study, drawn):
    """Everything that the report says of the study, and of nothing else."""
    return navigation(Sketchbook())


def in_arena(views, arena=ARENA):
    (view,) = [view for view in views if view.arena == arena]
    return view


def errors_of(plan):
    networks = TrainedModel * TrainedModel.DecodingError & plan
    return [100 * e for e in networks.to_arrays("decoding_error", order_by="seed")]


def test_plans_are_described_from_the_best_to_the_worst(study, view, drawn):
    own = [p for p in view.integrators.plans if p.n_units == 13]
    assert [p.label for p in own] == ["RNN relu 13", "RNN relu 13, untrained"]
    for plan, name in zip(own, ("rnn", "rnn untrained"), strict=True):
        errors = errors_of(study["plans"][name])
        assert (plan.error, plan.lowest, plan.highest) == pytest.approx(
            (np.mean(errors), min(errors), max(errors))
        )
        assert (plan.seeds, plan.n_planned, plan.n_nonfinite) == ([3, 8], 2, 0)
        assert plan.task == "0.9 \u00d7 0.6 m, 25 place cells, 6 steps"
        assert plan.standing < plan.centre
    assert [p.n_epochs for p in own] == [3, 0]
    assert view.integrators.plans == sorted(view.integrators.plans, key=lambda p: p.error)
    tasks, _ = drawn["error_curves"][0]
    curves = tasks[own[0].task]
    assert {c.name for c in curves} == {"RNN relu 13"}
    epochs = (TrainedModel.Epoch & study["plans"]["rnn"]).to_arrays(
        "epoch_score", order_by=("seed", "epoch")
    )
    np.testing.assert_allclose(np.concatenate([c.error for c in curves]), -100 * epochs)


def test_walks_of_the_best_network_are_as_wrong_as_scored(study, view, drawn):
    ((true, decoded, box),) = drawn["walks"]
    assert true.shape == decoded.shape == (8, 7, 2)
    assert box == RAT.arena and box.contains(true).all()
    steps = np.linalg.norm(np.diff(true, axis=1), axis=-1)
    assert 0 < steps.mean() < 0.05
    walked = trajectories(STUDY.task, 8, random_source(2**32))
    np.testing.assert_allclose(true[:, 0], walked.start, atol=1e-6)
    np.testing.assert_allclose(true[:, 1:], walked.positions, atol=1e-6)
    error = 100 * np.linalg.norm(true - decoded, axis=-1)[:, 1:].mean()
    best = min(errors_of(study["training_set"]))
    assert error == pytest.approx(best, rel=0.5)  # eight walks instead of forty


def test_the_units_with_the_highest_grid_scores_are_drawn(study, view, drawn):
    view = in_arena(view.maps)
    assert view.bin_cm == 5 and len(view.pictures) == 2
    pictures = [made for made in drawn["mapped_units"] if made[0][0].path is None]
    assert [n["label"] for n in view.networks] == ["RNN relu 13", "RNN relu 13, untrained"]
    for name, row, (units, box) in zip(
        ("rnn", "rnn untrained"), view.networks, pictures, strict=False
    ):
        plan = study["plans"][name]
        best = (3, 8)[int(np.argmin(errors_of(plan)))]
        assert (row["seed"], row["layer"], box) == (best, "g", RAT.arena)
        key = {"seed": best, "layer_name": "g", "train_hash": plan["train_hash"]}
        rows = (ModelRateMap.Unit & study["training_set"] & key).to_dicts(order_by="model_unit")
        scores = {
            r["model_unit"]: r["model_grid_score"]
            for r in rows
            if r["model_grid_score"] is not None
        }
        assert (row["n_units"], row["n_scored"]) == (13, len(scores))
        assert row["n_above"] == sum(score > 0.3 for score in scores.values())
        assert row["best"] == max(scores.values())
        order = sorted(scores, key=scores.get, reverse=True)
        maps = (ModelRateMap.Layer & study["training_set"] & key).fetch1("layer_maps")
        assert len(units) == 12
        for unit, i in zip(units, order, strict=False):
            assert unit.title == f"unit {i}\ngrid {scores[i]:.2f}".replace("-", "\u2212")
            np.testing.assert_array_equal(unit.rates, np.asarray(maps)[..., i])


def of_rats(drawn):
    own = [units for units, box in drawn["mapped_units"] if box == Rectangle(width=0.9, height=0.6)]
    (units,) = [units for units in own if units[0].path is not None]
    return units


def test_cells_are_ranked_by_what_their_shuffles_do_not_explain(study, view, drawn):
    view = in_arena(view.cells)
    assert (view.n_cells, view.n_animals, view.n_recordings, view.n_tracked) == (32, 2, 2, 2)
    keys = [{"animal_id": key["animal_id"]} for key in RATS]
    rows = (AnimalRateMap.Unit & keys).to_dicts(order_by="KEY")
    known = [r for r in rows if r["grid_score"] is not None and r["grid_score_p95"] is not None]
    best = sorted(known, key=lambda r: r["grid_score_p95"] - r["grid_score"])[:12]
    units = of_rats(drawn)
    titles = [unit.title.split("\n")[0] for unit in units]
    assert titles == [f"{r['animal_id']}-1-1 cell {r['unit_id']}" for r in best]
    for name, score in zip(view.scores, ("grid_score", "border_score"), strict=False):
        both = [r for r in rows if r[score] is not None and r[f"{score}_p95"] is not None]
        assert name["n"] == len(both)
        assert name["n_above"] == sum(r[score] > r[f"{score}_p95"] for r in both)


def test_grid_cells_of_virtual_rats_are_found_as_such(view):
    view = in_arena(view.cells)
    kinds = ["grid", "border", "place", "head direction", "conjunctive", "untuned"]
    assert view.kinds == kinds
    grid = view.scores[0]["by_kind"]
    assert sum(n for _, n in grid.values()) == view.scores[0]["n"]
    assert sum(n for n, _ in grid.values()) == view.scores[0]["n_above"]
    assert grid["grid"][1] == 18 and grid["grid"][0] > 9
    directed = view.scores[3]["by_kind"]
    assert directed["head direction"] == (2, 2)


def test_spikes_lie_where_the_animal_was(study, view, drawn):
    units = of_rats(drawn)
    key = {"animal_id": FIRST, "session": 1, "scan_idx": 1}
    i, unit = next(
        (int(u.title.split()[2]), u) for u in units if u.title.startswith(f"{FIRST}-1-1")
    )
    samples = np.asarray((Tracking & key).fetch1("tracking"))
    times, counts = (Activity.Block & key).fetch1("activity", "spike_counts")
    start = sum(counts[: i - 1])
    own = np.asarray(times)[start : start + counts[i - 1]]
    nearest = [np.argmin(np.abs(samples[:, 0] - t)) for t in own]
    np.testing.assert_array_equal(unit.spikes, samples[nearest, 1:3])
    np.testing.assert_array_equal(unit.path, samples[:, 1:3])
    assert unit.below.endswith(f" Hz, {true_rat(key).kinds[i - 1]}")


def test_finished_maps_have_neither_paths_nor_shuffles(study, view, drawn):
    view = in_arena(view.cells, "finished box")
    assert (view.n_cells, view.n_tracked, view.kinds) == (3, 0, [])
    assert [score["n"] for score in view.scores] == [0, 0, 0, 0]
    (units,) = [u for u, box in drawn["mapped_units"] if "-1-1 t" in u[0].title]
    assert all(unit.path is None and "(p" not in unit.title for unit in units)
    rows = (AnimalRateMap.Unit & FINISHED).to_dicts(order_by="grid_score DESC")
    names = {2: "t1c1", 5: "t1c2", 9: "t3c1"}
    titles = [f"{FIRST + 9}-1-1 {names[row['unit_id']]}" for row in rows]
    assert [unit.title.split("\n")[0] for unit in units] == titles
    html = text_of(NavigationView(cells=[view]))
    assert "their maps were made elsewhere" in html and "above 95 %" not in html


def test_fits_stand_beside_what_animals_explain(study, view, drawn):
    (view,) = [fits for fits in view.fits if ARENA in fits.where]
    assert view.where == f"Arena {ARENA}, 2 animals"
    assert view.map == "Ridge; trained on 50 % of the bins, 2 random splits"
    names = [row["name"] for row in view.rows]
    assert names[:2] == ["all other animals together", "each other animal alone"]
    assert set(names[2:]) == {"RNN relu 13, layer g", "RNN relu 13, untrained, layer g"}
    for mode, row in zip(("holdout", "pairwise"), view.rows, strict=False):
        key = study["datasets"][ARENA] | {"consistency_mode": mode}
        master = (InterAnimalConsistency & key).fetch1()
        assert row["median"] == pytest.approx(master["median_consistency"])
        assert (row["n_cells"], row["seeds"]) == (32, None)
    assert view.rows[2]["median"] >= view.rows[3]["median"] and view.best_network is view.rows[2]
    for row in view.rows[2:]:
        plan = study["plans"]["rnn untrained" if "untrained" in row["name"] else "rnn"]
        fits = NeuralFit & (NeuralFitPlan & plan).proj()
        medians = fits.to_arrays("median_fit", order_by="seed")
        assert (row["lowest"], row["highest"]) == pytest.approx((min(medians), max(medians)))
        cells = (NeuralFit.Cell & fits.proj()).to_dicts()
        by_cell = {}
        for cell in cells:
            values = by_cell.setdefault((cell["animal_id"], cell["unit_id"]), [])
            values += [] if cell["fit"] is None else [cell["fit"]]
        means = [np.mean(values) for values in by_cell.values() if values]
        assert row["median"] == pytest.approx(np.median(means))
        assert (row["n_cells"], row["n_scored"], row["seeds"]) == (32, len(means), 2)
    assert not view.with_correction and view.with_seeds
    networks, animals = drawn["against_animals"][-1]
    assert list(networks) == names[2:] and len(animals) == 32


def test_image_networks_that_explain_units_have_a_section(study):
    """Rows as of an image network; how they are made is judged elsewhere."""
    plan = dict(study["plans"]["rnn"])
    plan |= ModelConfig.register_image({"core": {"type": "stacked"}})
    TrainingPlan.insert1(plan, skip_duplicates=True)
    row = plan | FeatureConfig.register(ImageFeatureParams(layer="core.1"))
    row |= NeuralMapConfig.register(NeuralMapParams(n_splits=3))
    row |= {"neural_fit_hash": "f" * 16, "explained_set_hash": plan["training_set_hash"]}
    NeuralFitPlan.insert1(dict.fromkeys(NeuralFitPlan.heading.secondary_attributes) | row)
    for seed, scores in ((3, (0.2, None, 0.6)), (8, (0.4, None, 0.7))):
        key = {"neural_fit_hash": "f" * 16, "seed": seed}
        master = {"n_fit_cells": 3, "median_fit": 0.4}
        NeuralFit.insert1(key | master | code_version(), allow_direct_insert=True)
        NeuralFit.Cell.insert(
            (
                key | RATS[0] | {"unit_id": i, "fit": fit, "n_fit_conditions": 9}
                for i, fit in enumerate(scores, 1)
            ),
            allow_direct_insert=True,
        )
    (view,) = [v for v in image_fits(Sketchbook()) if plan["training_set_hash"] in v.where]
    assert view.map == "Ridge; trained on 20 % of the images, 3 random splits"
    (row,) = view.rows
    assert row["name"] == "CNN, core.1"
    assert (row["n_cells"], row["n_scored"], row["seeds"]) == (3, 2, 2)
    assert row["median"] == pytest.approx((0.3 + 0.65) / 2)
    assert (row["lowest"], row["highest"]) == pytest.approx((0.4, 0.55))
    html = render(replace(empty_page(), image_fits=[view]))
    Reader(html)
    assert "Image networks explain other units" in html and "CNN, core.1" in html
    assert all(plan["training_set_hash"] not in v.where for v in rate_map_fits(Sketchbook()))


def test_where_nobody_navigates_there_is_no_view(tables, monkeypatch):
    module = import_module("pipeline.report.navigation")  # the package has a function of that name
    monkeypatch.setattr(module, "OpenField", lambda: OpenField & False)
    monkeypatch.setattr(module, "TrainingSet", TrainingSet & False)
    assert navigation(Sketchbook()) is None


def test_path_integrators_are_no_block_of_images(study, monkeypatch):
    for name in ("recorded", "navigation", "image_fits", "diagram"):
        monkeypatch.setattr(report, name, lambda album: None)
    monkeypatch.setattr(report, "_block", lambda key, album, say: key)
    assert TrainingSet & study["training_set"]
    assert study["training_set"] not in report._page(Sketchbook()).blocks


# ---------------------------------------------------------------- page


def full_view(text):
    """Return a view of everything that says `text`."""
    plan = IntegratorView(
        text, text, text, 64, text, [1, 2], 3, 1, 12, 7.0, 6.5, 7.5, 5.0, 18.0, 40.0
    )
    network = {"label": text, "seed": 1, "layer": "g", "error": 7.0, "n_units": 64}
    network |= {"n_scored": 60, "n_above": 25, "best": 1.4}
    score = {"name": text, "n": 94, "n_above": 54, "by_kind": {text: (36, 40)}}
    fits = {"seeds": None, "n_cells": 96, "n_scored": 95, "median": 0.61, "lowest": 0.6}
    fits |= {"name": text, "highest": 0.7, "corrected": 0.8}
    return NavigationView(
        IntegratorsView([plan], PICTURE, PICTURE),
        [NetworkMapsView(text, 5.0, 0.3, [network], PICTURE, [PICTURE])],
        [CellsView(text, 5.0, 3, 2, 96, 3, [text], [score], PICTURE)],
        [FitsView(text, text, [fits, fits | {"seeds": 2}], PICTURE, PICTURE)],
    )


def text_of(view):
    html = render(replace(empty_page(), navigation=view))
    Reader(html)
    words = re.sub(r"<[^>]+>|&nbsp;|\s", " ", html)
    return re.sub(r" +(?=[ ,;.:)])", "", words)


def test_the_numbers_are_on_the_page():
    text = text_of(full_view("said"))
    for words in (
        "said is wrong by 7.0 cm on average",
        "wrong by 18.0 cm, one that always guesses the middle of the arena by 40.0 cm",
        "2 of 3 1 not finite 12 7.0 (6.5 to 7.5) 5.0 18.0 40.0",
        "said 1 g 7.0 64 60 25 1.40",
        "96 cells of 2 animals, 3 recordings.",
        "said 94 54 57 % 36 of 40",
        "said \u2013 96 95 0.61 \u2013 0.80",
        "said 2 96 95 0.61 0.60 to 0.70 0.80",
    ):
        assert words in re.sub(" +", " ", text)


def test_whatever_comes_from_the_database_is_escaped():
    html = render(replace(empty_page(), navigation=full_view("<i>&")))
    Reader(html)
    assert "<i>" not in html and "&lt;i&gt;&amp;" in html


def test_sections_without_rows_say_so_and_those_of_images_are_left_out():
    text = text_of(NavigationView())
    for missing in (
        "No path integrator is trained yet.",
        "No rate maps of networks are computed yet.",
        "No rate maps of recorded cells are computed yet.",
        "No cell is explained by other animals or by networks yet.",
    ):
        assert missing in text
    assert "No training set has been registered yet" not in text
    titles = ("Path integrators", "Rate maps of the networks", "Recorded cells")
    titles += ("How well networks explain cells", "Reading on")
    for n, title in enumerate(titles, 2):
        assert f"{n} {title}" in re.sub(r" +|(?<=\d)(?=[A-Z])", " ", text)


def test_a_page_with_images_and_navigation_numbers_on():
    view = full_view("x")
    page = replace(full_page("plain"), navigation=view, image_fits=view.fits)
    html = render(page)
    elements = Reader(html).elements
    numbers = re.findall(r'<span class="n">(\d+)</span>([\w ]+)', html)
    assert [int(n) for n, _ in numbers][-6:] == [9, 10, 11, 12, 13, 14]
    assert numbers[-1][1] == "Reading on"
    anchors = {a["id"] for _, a in elements if "id" in a}
    targets = {a["href"][1:] for tag, a in elements if tag == "a" and a["href"].startswith("#")}
    assert targets <= anchors


def test_a_page_without_navigation_says_nothing_of_it():
    html = render(full_page("plain"))
    assert "Path integrators" not in html and "explain other units" not in html
    assert '<span class="n">9</span>Reading on' in html
