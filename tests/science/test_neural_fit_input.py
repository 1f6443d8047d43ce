"""What cannot be fitted says so; what is NaN stays so; and results keep to their cells."""

import numpy as np
import pytest

from science.neural_fit import (
    elastic_net_search,
    get_fits,
    grid_scores,
    kwargs_per_cell,
    make_splits,
    map_params,
    noise_corrected_fits,
    unit_concat,
)


def animal(n_cells=3, shape=(6, 6), seed=0):
    resp = np.random.default_rng(seed).normal(size=(*shape, n_cells))
    return {"resp": resp, "cell_ids": [f"{seed}-{i}" for i in range(n_cells)]}


def dataset(**animals):
    return {1.0: animals or {"a": animal(seed=1), "b": animal(seed=2)}}


PER_CELL = {f"{a}-{i}": {"map_kwargs": {}} for a in (1, 2) for i in range(3)}
MAPLESS = animal() | {"resp": np.full((6, 6, 3), np.nan)}
HOLED = np.random.default_rng(0).normal(size=(6, 6, 3))
HOLED[0, 0] = np.nan

BAD = {
    "no such arena": ({"arena_sizes": [2.0]}, "no arena 2.0"),
    "one animal": ({"dataset": dataset(a=animal())}, "one animal only"),
    "no animal": ({"dataset": {1.0: {}}}, "no animals"),
    "nothing recorded": ({"dataset": dataset(a=animal(), b={})}, "'b' in arena 1.0 has no data"),
    "None recorded": ({"dataset": dataset(a=animal(), b=None)}, "'b' in arena 1.0 has no data"),
    "no cells": (
        {"dataset": dataset(a=animal(), b=animal(0))},
        "'b' .* has no data, but .6, 6, 0.",
    ),
    "too few ids": (
        {"dataset": dataset(a=animal(), b=animal() | {"cell_ids": [1]})},
        "3 cells, but cell_ids are .1,.",
    ),
    "one dimension": ({"dataset": dataset(a=animal() | {"resp": np.ones(36)})}, "not .36,."),
    "other bins": (
        {"dataset": dataset(a=animal(), b=animal(shape=(5, 6)))},
        ".6, 6. bins, but 'b' of .5, 6.",
    ),
    "all NaN": ({"dataset": dataset(a=animal(), b=MAPLESS)}, "no bin of arena 1.0 is finite"),
    "other bins of the model": (
        {"model_resp": np.ones((5, 6, 4))},
        "30 bins .5, 6, 4., but .* 36 .6, 6.",
    ),
    "model of two arenas": (
        {"dataset": dataset() | {2.0: {}}, "model_resp": np.ones((36, 4))},
        "one arena, not to .1.0, 2.0.",
    ),
    "unknown mode": ({"interanimal_mode": "all"}, "use 'holdout' or 'pairwise'"),
    "unknown map": ({"map_type": "identity"}, "no map_type 'identity': use one of"),
    "nothing to train": ({"train_frac": 0.0}, "leaves 0 to train and 36 to test"),
    "nothing to test": ({"train_frac": 1.0}, "leaves 36 to train and 0 to test"),
    "more than all": ({"train_frac": 1.5}, "between 0 and 1"),
    "NaN": ({"train_frac": float("nan")}, "between 0 and 1"),
    "no splits": ({"num_train_test_splits": 0}, "at least one split"),
    "unknown part": ({"train_frac": "bottom"}, "no split 'bottom': use topbottom"),
    "holes in a part": (
        {"train_frac": "quad", "model_resp": HOLED},
        "35 bins do not fill a square map",
    ),
    "holes in a shape": (
        {"train_frac": "quad", "model_resp": HOLED, "shape_2d": (6, 6)},
        "35 bins do not fill a 6 x 6 map",
    ),
    "pls without components": ({"map_type": "pls"}, "n_components"),
    "more components than cells": (
        {"map_type": "pls", "map_kwargs": {"n_components": 4}},
        "4 PLS components cannot be had of 3 source cells",
    ),
    "several cells as one": (
        {"map_type": "corr", "map_kwargs": {"percentile": 75}},
        "set identity=False",
    ),
    "unknown regression": ({"map_kwargs": {"regression_type": "Rigde"}}, "no regressor 'Rigde'"),
    "a function": ({"map_kwargs": {"regression_type": "enet_path"}}, "no regressor"),
    "unknown argument": (
        {"map_kwargs": {"regression_kwargs": {"beta": 1}}},
        "do not fit Ridge",
    ),
    "negative alpha": ({"map_kwargs": {"regression_kwargs": {"alpha": -1.0}}}, "alpha"),
    "endless alpha": ({"map_kwargs": {"regression_kwargs": {"alpha": np.inf}}}, "."),
    "too few maps": ({"map_kwargs": [{}] * 3}, "list of 3, but there are 10 splits"),
    "pairwise per cell": (
        {"interanimal_mode": "pairwise", "map_kwargs_per_cell": PER_CELL},
        "one source per cell",
    ),
    "a cell without": ({"map_kwargs_per_cell": {"1-0": {"map_kwargs": {}}}}, "lacks .'1-1', '1-2'"),
    "a cell with more": (
        {"map_kwargs_per_cell": PER_CELL | {"1-0": {"alpha": 1}}},
        "a cell needs 'map_kwargs'",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_fitted_says_why(name):
    kwargs, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        get_fits(**({"dataset": dataset()} | kwargs))


def test_other_programs_refuse_what_they_cannot_do():
    maps = np.random.default_rng(0).normal(size=(4, 36, 3))
    with pytest.raises(ValueError, match="fits of arena 3"):
        unit_concat(get_fits(dataset()), 3)
    with pytest.raises(ValueError, match="positive"):
        elastic_net_search(dataset(), 1.0, alphas=[0.0])
    with pytest.raises(ValueError, match="one animal only"):
        elastic_net_search(dataset(a=animal()), 1.0)
    with pytest.raises(ValueError, match=r"0\.\.1"):
        grid_scores(maps[0], maps[1], [1.0], [1.5])
    with pytest.raises(ValueError, match="cannot be cut into 20 folds"):
        grid_scores(maps[0], maps[1], [1.0], [0.5], n_folds=20)
    with pytest.raises(ValueError, match="same bins"):
        noise_corrected_fits(maps[:, :30], maps)
    with pytest.raises(ValueError, match="two trials"):
        noise_corrected_fits(maps, maps[:1])
    with pytest.raises(ValueError, match="at least one halving"):
        noise_corrected_fits(maps, maps, n_halvings=0)
    with pytest.raises(ValueError, match="use 'all' or 'halves'"):
        noise_corrected_fits(maps, maps, reliability_of="none")
    with pytest.raises(ValueError, match="too small"):
        make_splits(2, "leftright", shape=(1, 2))
    twins = dataset(a=animal(seed=1), b=animal(seed=1))
    with pytest.raises(ValueError, match="not the only one"):
        kwargs_per_cell(elastic_net_search(twins, 1.0, 0.5, 1, alphas=[1.0], l1_ratios=[0.5]))


def test_parameters_are_told_apart_by_the_type_of_the_map():
    assert map_params("sklinear", {}).regression_type == "Ridge"
    assert map_params("pls", {"n_components": 2}).scale is False
    assert map_params("corr", {}).identity
    with pytest.raises(ValueError, match="n_components"):
        map_params("corr", {"n_components": 2})


def test_one_nan_of_one_cell_leaves_its_bin_out_for_all_that_are_fitted_with_it():
    holed, whole = animal(seed=1), animal(seed=2)
    holed["resp"][2, 3, 0] = np.nan
    kept = np.arange(36) != 2 * 6 + 3
    cut = {
        name: {"resp": a["resp"].reshape(36, 3)[kept], "cell_ids": a["cell_ids"]}
        for name, a in (("a", holed), ("b", whole))
    }
    third = animal(seed=3)
    found = get_fits(dataset(a=holed, b=whole))[1.0]
    expected = get_fits({1.0: cut})[1.0]
    for name in "ab":
        np.testing.assert_allclose(found[name].corr, expected[name].corr, atol=1e-13)
        assert (found[name].n_bins == 35).all()
    # pairwise only the pairs with the cell lose the bin
    pairs = get_fits(dataset(a=holed, b=whole, c=third), interanimal_mode="pairwise")[1.0]
    alone = [
        get_fits(dataset(b=whole), model_resp=other["resp"])[1.0]["b"].corr
        for other in (holed, third)
    ]
    np.testing.assert_allclose(pairs["b"].corr, np.mean(alone, axis=0), atol=1e-13)
    # alone, the other cells keep it
    per_cell = get_fits(dataset(a=holed, b=whole), map_kwargs_per_cell=PER_CELL)[1.0]
    assert per_cell["a"].n_bins.tolist() == [35, 36, 36]
    assert per_cell["b"].n_bins.tolist() == [35, 35, 35]


def test_a_constant_cell_has_no_score_and_the_others_keep_theirs():
    whole, silent = animal(4, seed=1), animal(4, seed=1)
    silent["resp"][..., 2] = 0.1
    for kwargs in (
        {},
        {"map_type": "corr"},
        {"map_kwargs": {"regression_type": "LinearRegression"}},
        {"map_kwargs": {"regression_type": "Lasso", "regression_kwargs": {"alpha": 0.01}}},
    ):
        source = animal(3, seed=2)["resp"]
        found = get_fits(dataset(a=silent), source, **kwargs)[1.0]["a"].corr
        expected = get_fits(dataset(a=whole), source, **kwargs)[1.0]["a"].corr
        assert np.isnan(found).tolist() == [False, False, True, False]
        others = [0, 1, 3]
        np.testing.assert_allclose(found[others], expected[others], atol=1e-13)
    dead = np.full((6, 6, 3), 0.1)
    for n_units in (3, 50):
        model = np.repeat(dead, n_units, axis=2)
        assert np.isnan(get_fits(dataset(), model_resp=model)[1.0]["a"].corr).all()


def test_cells_come_with_their_own_numbers_of_splits():
    per_cell = PER_CELL | {"1-1": {"map_kwargs": {}, "train_frac": "quad"}}
    found = get_fits(dataset(), map_kwargs_per_cell=per_cell, num_train_test_splits=2)[1.0]["a"]
    assert found.corr_per_split.shape == (4, 3)
    assert np.isnan(found.corr_per_split).sum(0).tolist() == [2, 0, 2]
    np.testing.assert_allclose(found.corr[1], found.corr_per_split[:, 1].mean())
    together = unit_concat(
        get_fits(dataset(), map_kwargs_per_cell=per_cell, num_train_test_splits=2), 1.0
    )
    assert together.cell_ids.tolist() == ["1-0", "1-1", "1-2", "2-0", "2-1", "2-2"]
    assert together.corr_per_split.shape == (4, 6)


def test_cells_fitted_alone_by_equal_parameters_are_fitted_as_together():
    found = get_fits(dataset(), map_kwargs_per_cell=PER_CELL)[1.0]
    together = get_fits(dataset())[1.0]
    for name in "ab":
        np.testing.assert_allclose(
            found[name].corr_per_split, together[name].corr_per_split, atol=1e-13
        )
