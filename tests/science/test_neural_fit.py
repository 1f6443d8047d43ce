"""Neural fits against the numbers of the original code, the specification and what must hold."""

import json

import numpy as np
import pytest

from science.neural_fit import get_fits, make_splits, noise_corrected_fits, unit_concat
from science.neural_fit.params import (
    ALPHA_RNG,
    ALPHA_RNG_SHORT,
    L1_RATIO_RNG,
    L1_RATIO_RNG_SHORT,
)

ANIMALS = ("m1", "m2", "m3", "m4")


@pytest.fixture(scope="module")
def golden(shared):
    folder = shared / "golden" / "mec"
    with np.load(folder / "synthetic_dataset.npz") as arrays:
        arrays = dict(arrays)
    dataset = {
        arena: {
            animal: {
                "resp": arrays[f"resp|{arena}|{animal}"],
                "cell_ids": arrays[f"cell_ids|{animal}"],
            }
            for animal in ANIMALS
        }
        for arena in (1.0, 1.5)
    }
    return folder, dataset, {name: arrays[name] for name in ("model_resp", "model_resp_nan")}


GOLDEN_RUNS = (
    "ridge1_holdout",
    "ridge1_pairwise",
    "pls5_holdout",
    "corr_holdout",
    "ridge1_holdout_leftright",
    "model_ridge1",
    "modelnan_ridge1",
)


@pytest.mark.shared
@pytest.mark.parametrize("name", GOLDEN_RUNS)
def test_fits_are_those_of_the_original_cell_by_cell(golden, name):
    folder, dataset, models = golden
    run = json.loads((folder / "get_fits_golden.json").read_text())["runs"][name]
    kwargs = run["kwargs"]
    if "model_resp" in kwargs:
        kwargs["model_resp"] = models[kwargs["model_resp"]]
    fits = get_fits(dataset, **kwargs)
    sizes = iter(run["n_states_and_split_sizes"])
    for arena, expected in run["results"].items():
        for animal in ANIMALS:
            found = fits[float(arena)][animal]
            assert found.cell_ids.tolist() == expected[animal]["cell_ids"]
            corr = np.array(expected[animal]["corr"], float)
            np.testing.assert_allclose(found.corr, corr, rtol=0, atol=1e-14)
            if kwargs.get("interanimal_mode") != "pairwise":
                n_bins, _, n_splits = next(sizes)
                assert set(found.n_bins.tolist()) == {n_bins}
                assert found.corr_per_split.shape == (n_splits, len(corr))


def linear(kind, **kwargs):
    return {"map_kwargs": {"regression_type": kind, "regression_kwargs": kwargs}}


def pls(n_components, **kwargs):
    return {"map_type": "pls", "map_kwargs": {"n_components": n_components, **kwargs}}


def corr(**kwargs):
    return {"map_type": "corr", "map_kwargs": kwargs}


PAIRWISE = {"interanimal_mode": "pairwise"}
MODEL = {"model_resp": "model_resp"}
ENET = linear("ElasticNet", alpha=0.05, l1_ratio=0.5)
# mec 13: medians of arena 1.0 and nanmedians of arena 1.5, six digits
MEDIANS = {
    "enet": (ENET, 0.655608, 0.915773),
    "enet pairwise": (ENET | PAIRWISE, 0.579882, 0.738540),
    "enet per cell, holdout": ({"map_kwargs_per_cell": True}, 0.685869, 0.900494),
    "pls5 pairwise": (pls(5) | PAIRWISE, 0.542246, 0.613528),
    "corr pairwise": (corr() | PAIRWISE, 0.419901, 0.548248),
    "pls2": (pls(2), 0.477958, 0.496755),
    "pls5 scaled": (pls(5, scale=True), 0.671524, 0.783723),
    "pls25": (pls(25), 0.665881, 0.905247),
    "lasso": (linear("Lasso", alpha=0.05), 0.662850, 0.914975),
    "ols": (linear("LinearRegression"), 0.644943, 0.901776),
    "ridge 10": (linear("Ridge", alpha=10), 0.655431, 0.907982),
    "corr 75": (corr(percentile=75, identity=False), 0.659508, 0.840531),
    "corr 0": (corr(percentile=0, identity=False), 0.646128, 0.907379),
    "train .1": ({"train_frac": 0.1}, 0.434670, 0.841384),
    "train .5": ({"train_frac": 0.5}, 0.740345, 0.932160),
    "train .8": ({"train_frac": 0.8}, 0.755726, 0.935232),
    "seed 100": ({"split_start_seed": 100}, 0.636986, 0.902280),
    "3 splits": ({"num_train_test_splits": 3}, 0.653216, 0.906345),
    "topbottom": ({"train_frac": "topbottom"}, 0.323200, None),
    "diag1": ({"train_frac": "diag1"}, 0.418171, None),
    "diag2": ({"train_frac": "diag2"}, 0.368248, None),
    "quad": ({"train_frac": "quad"}, 0.361144, None),
    "model pls5": (pls(5) | MODEL, 0.672949, None),
    "model pls25": (pls(25) | MODEL, 0.783029, None),
    "model corr": (corr() | MODEL, 0.654249, None),
    "model enet": (ENET | MODEL, 0.774784, None),
    "model enet per cell": (MODEL | {"map_kwargs_per_cell": True}, 0.746655, None),
    "model NaN corr": (corr() | {"model_resp": "model_resp_nan"}, 0.655213, None),
    "model leftright": (MODEL | {"train_frac": "leftright"}, 0.339361, None),
}


@pytest.mark.shared
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", MEDIANS)
def test_medians_are_those_of_the_specification(golden, name):
    folder, dataset, models = golden
    kwargs, *medians = MEDIANS[name]
    if "model_resp" in kwargs:
        kwargs = kwargs | {"model_resp": models[kwargs["model_resp"]]}
    if "map_kwargs_per_cell" in kwargs:
        per_cell = json.loads((folder / "per_cell_kwargs.json").read_text())["per_cell_kwargs"]
        kwargs = kwargs | {"map_kwargs_per_cell": per_cell}
    arenas = [arena for arena, median in zip((1.0, 1.5), medians, strict=True) if median]
    fits = get_fits(dataset, arena_sizes=arenas, **kwargs)
    for arena, median in zip(arenas, medians, strict=False):
        together = unit_concat(fits, arena)
        assert len(together.corr) == len(together.cell_ids) == 44
        assert np.nanmedian(together.corr) == pytest.approx(median, abs=5.1e-7)


@pytest.mark.shared
def test_per_cell_holdout_has_the_medians_of_each_animal(golden):
    folder, dataset, _ = golden
    per_cell = json.loads((folder / "per_cell_kwargs.json").read_text())["per_cell_kwargs"]
    fits = get_fits(dataset, arena_sizes=[1.0], map_kwargs_per_cell=per_cell)[1.0]
    medians = [np.median(fits[animal].corr) for animal in ANIMALS]
    np.testing.assert_allclose(medians, [0.6520, 0.7422, 0.6645, 0.7514], atol=5.1e-5)
    # a cell may have a train fraction of its own, which leaves the number of splits
    assert per_cell["m2_cell4"]["train_frac"] == 0.5
    assert fits["m2"].corr_per_split.shape == (10, 9)


@pytest.mark.shared
def test_a_list_has_the_map_of_each_split(golden):
    _, dataset, _ = golden
    alphas = np.geomspace(0.1, 100, 10)
    listed = get_fits(
        dataset,
        arena_sizes=[1.0],
        map_kwargs=[linear("Ridge", alpha=float(a))["map_kwargs"] for a in alphas],
    )
    for split in (0, 9):
        alone = get_fits(dataset, arena_sizes=[1.0], **linear("Ridge", alpha=float(alphas[split])))
        np.testing.assert_array_equal(
            listed[1.0]["m1"].corr_per_split[split], alone[1.0]["m1"].corr_per_split[split]
        )


@pytest.mark.shared
def test_splits_are_those_of_the_original(golden):
    with np.load(golden[0] / "splits.npz") as stored:
        stored = dict(stored)
    checked = 0
    for name, train in stored.items():
        if not name.endswith("train"):
            continue
        kind, size, *rest, _ = name.split("|")
        test = stored[name.removesuffix("train") + "test"]
        if kind == "rand":
            frac, seed = float(rest[0][2:]), int(rest[1][4:])
            (split,) = make_splits(int(size[1:]), frac, 1, seed)
        elif size.startswith("shape"):
            shape = tuple(int(n) for n in size[5:].split("x"))
            split = make_splits(shape[0] * shape[1], kind, shape=shape)[int(rest[0])]
        else:
            split = make_splits(int(size[1:]), kind)[int(rest[0])]
        np.testing.assert_array_equal(split.train, train)
        np.testing.assert_array_equal(split.test, test)
        checked += 1
    assert checked == len(stored) // 2


@pytest.mark.shared
def test_ranges_are_those_of_the_original(golden):
    constants = json.loads((golden[0] / "constants.json").read_text())
    for name, values in (
        ("ALPHA_RNG", ALPHA_RNG),
        ("L1_RATIO_RNG", L1_RATIO_RNG),
        ("ALPHA_RNG_SHORT", ALPHA_RNG_SHORT),
        ("L1_RATIO_RNG_SHORT", L1_RATIO_RNG_SHORT),
    ):
        np.testing.assert_allclose(values, constants[name], rtol=1e-13)


@pytest.mark.shared
@pytest.mark.parametrize(("name", "map_type"), [("ridge", "sklinear"), ("corr", "corr")])
def test_the_noise_ceiling_is_that_of_the_original(golden, name, map_type):
    with np.load(golden[0] / "noise_ceiling_1d.npz") as stored:
        stored = dict(stored)
    found = noise_corrected_fits(
        stored["source"], stored["target"], map_type, num_train_test_splits=3
    )
    expected = np.stack([stored[f"{name}|split{s}"] for s in range(3)])
    # a negative reliability hides in a root: where it is all but 0, so do digits
    np.testing.assert_allclose(found.corr_per_halving, expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(found.reliability, stored["self_reliability_sb"], atol=3e-15)
    np.testing.assert_allclose(found.corr, np.nanmean(expected, 1).mean(0), rtol=1e-12)


# --- what must hold


def virtual_animals(n_cells, noise, seed=0, n_animals=3):
    """Mixtures of the same eight smooth patterns, plus independent noise in each bin."""
    rng = np.random.default_rng(seed)
    axis = np.linspace(0, 1, 20)
    phases = rng.uniform(1, 3, (8, 2, 1, 1)) * np.pi
    patterns = np.sin(phases[:, 0] * axis[:, None] + phases[:, 1] * axis).transpose(1, 2, 0)
    patterns = (patterns - patterns.mean((0, 1))) / patterns.std((0, 1))

    def animal(name):
        resp = patterns @ rng.normal(size=(8, n_cells)) / np.sqrt(8)
        resp += noise * rng.normal(size=resp.shape)
        return {"resp": resp, "cell_ids": [f"{name}{i}" for i in range(n_cells)]}

    return {"box": {name: animal(name) for name in "abc"[:n_animals]}}


def median(dataset, **kwargs):
    return np.nanmedian(unit_concat(get_fits(dataset, **kwargs), "box").corr)


@pytest.mark.parametrize(
    ("kwargs", "least"),
    [(linear("Ridge", alpha=1e-6), 1 - 1e-9), (pls(12), 1 - 1e-6), (corr(), 1 - 1e-12)],
)
def test_an_animal_is_predicted_from_itself(kwargs, least):
    dataset = virtual_animals(12, noise=1.0)
    animal = dataset["box"]["b"]
    fits = get_fits({"box": {"b": animal}}, model_resp=animal["resp"], **kwargs)
    assert fits["box"]["b"].corr.min() > least


def test_copies_with_noise_reach_the_ceiling_that_the_noise_leaves():
    """Cells of variance 1 with noise of variance s have sqrt(1 / (1 + s)) as their best score."""
    for noise in (0.3, 1.0):
        dataset = virtual_animals(40, noise, seed=1, n_animals=1)
        clean = virtual_animals(40, 0, seed=1, n_animals=1)["box"]["a"]["resp"]
        model = clean + 1e-3 * np.random.default_rng(0).normal(size=clean.shape)
        found = median(dataset, model_resp=model, train_frac=0.8, **linear("Ridge", alpha=1.0))
        signal = clean.reshape(-1, 40).var(0)
        assert found == pytest.approx(np.median(np.sqrt(signal / (signal + noise**2))), abs=0.04)


@pytest.mark.parametrize("kwargs", [{}, pls(5), corr(), ENET])
def test_random_features_predict_nothing(kwargs):
    dataset = virtual_animals(30, 0.5)
    model = np.random.default_rng(3).normal(size=(20, 20, 50))
    together = unit_concat(get_fits(dataset, model_resp=model, **kwargs), "box")
    # 320 test bins, but bins of a map are alike
    assert abs(np.nanmean(together.corr)) < 0.03
    assert np.nanmax(np.abs(together.corr)) < 0.2


@pytest.mark.parametrize("mode", ["holdout", "pairwise"])
def test_consistency_rises_with_cells_and_falls_with_noise(mode):
    by_cells = [median(virtual_animals(n, 0.5), interanimal_mode=mode) for n in (2, 6, 18)]
    by_noise = [median(virtual_animals(18, s), interanimal_mode=mode) for s in (0.2, 0.5, 1, 3)]
    assert (np.diff(by_cells) > 0.03).all()
    assert (np.diff(by_noise) < -0.03).all()


@pytest.mark.parametrize(("reliability_of", "expected"), [("all", 0.75), ("halves", 1.0)])
def test_noise_correction_of_a_perfect_prediction_is_analytic(reliability_of, expected):
    """Source cells are the target cells but for noise: halves correlate by r = 1/2 everywhere."""
    rng = np.random.default_rng(4)
    clean = rng.normal(size=(1600, 40))
    trials = [clean + np.sqrt(10) * rng.normal(size=(20, *clean.shape)) for _ in range(2)]
    found = noise_corrected_fits(
        *trials,
        "corr",
        train_frac=0.5,
        num_train_test_splits=1,
        n_halvings=3,
        reliability_of=reliability_of,
    )
    assert np.mean(found.corr) == pytest.approx(expected, abs=0.01)
    # of all 20 trials: 1 / (1 + 10 / 20)
    assert found.reliability.mean() == pytest.approx(2 / 3, abs=0.01)


def test_a_model_has_no_noise_of_its_own():
    rng = np.random.default_rng(5)
    clean = rng.normal(size=(1600, 20))
    trials = clean + np.sqrt(10) * rng.normal(size=(20, *clean.shape))
    kwargs = {"train_frac": 0.5, "num_train_test_splits": 1, "n_halvings": 3}
    found = noise_corrected_fits(clean, trials, "corr", reliability_of="halves", **kwargs)
    assert np.mean(found.corr) == pytest.approx(1, abs=0.01)
