"""The maps against scikit-learn and scipy, one split at a time."""

import warnings

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn import linear_model
from sklearn.cross_decomposition import PLSRegression
from sklearn.exceptions import ConvergenceWarning

from science.neural_fit import (
    elastic_net_search,
    get_fits,
    grid_scores,
    kwargs_per_cell,
    make_splits,
)
from science.neural_fit.elastic_net_newton import ElasticNetPaths
from science.neural_fit.params import ALPHA_RNG, L1_RATIO_RNG_SHORT
from science.neural_fit.responses import Source, SourceSplit


def responses(n_bins, n_cells, seed):
    """Correlated, skewed and not centred, as rates are."""
    rng = np.random.default_rng(seed)
    return np.exp(rng.normal(size=(n_bins, 5)) @ rng.normal(size=(5, n_cells)) / 3) + rng.random(
        (n_bins, n_cells)
    )


def fitted(model, source, target, n_splits=3):
    """Score every cell of every split by scikit-learn and scipy."""
    scores = []
    for seed in range(n_splits):
        order = np.random.RandomState(seed).permutation(len(source))
        train, test = np.split(order, [int(np.ceil(0.2 * len(source)))])
        predictions = model.fit(source[train], target[train]).predict(source[test])
        scores.append(
            [pearsonr(p, y).statistic for p, y in zip(predictions.T, target[test].T, strict=True)]
        )
    return np.array(scores)


MODELS = [
    (linear_model.Ridge(alpha=0.3), "Ridge", {"alpha": 0.3}),
    (linear_model.Ridge(fit_intercept=False), "Ridge", {"fit_intercept": False}),
    (linear_model.ElasticNet(alpha=0.02), "ElasticNet", {"alpha": 0.02}),
    (
        linear_model.ElasticNet(alpha=0.1, l1_ratio=0.9),
        "ElasticNet",
        {"alpha": 0.1, "l1_ratio": 0.9},
    ),
    (linear_model.Lasso(alpha=0.01), "Lasso", {"alpha": 0.01}),
    (linear_model.LinearRegression(), "LinearRegression", {}),
    (linear_model.MultiTaskLasso(alpha=0.05), "MultiTaskLasso", {"alpha": 0.05}),
]


@pytest.mark.parametrize("n_sources", [12, 150], ids=["few sources", "more sources than bins"])
@pytest.mark.parametrize(("model", "kind", "kwargs"), MODELS)
def test_regressions_are_those_of_scikit_learn(model, kind, kwargs, n_sources):
    both = responses(400, n_sources + 7, seed=n_sources)
    source, target = both[:, :n_sources], both[:, n_sources:]
    dataset = {1: {"a": {"resp": target, "cell_ids": range(7)}}}
    found = get_fits(
        dataset,
        source,
        num_train_test_splits=3,
        map_kwargs={"regression_type": kind, "regression_kwargs": kwargs},
    )[1]["a"]
    expected = fitted(model, source, target)
    np.testing.assert_allclose(found.corr_per_split, expected, rtol=0, atol=1e-11)
    np.testing.assert_allclose(found.corr, expected.mean(0), rtol=0, atol=1e-11)


@pytest.mark.parametrize("n_sources", [12, 150])
def test_kernels_are_the_products_of_centred_bins(n_sources):
    source, split = responses(400, n_sources, seed=9), make_splits(400)[0]
    means = source[split.train].mean(0)
    train, test = source[split.train] - means, source[split.test] - means
    kernel, across = SourceSplit(Source(source), split).kernels
    scale = np.square(train).sum()
    np.testing.assert_allclose(kernel, train @ train.T, rtol=0, atol=1e-14 * scale)
    np.testing.assert_allclose(across, test @ train.T, rtol=0, atol=1e-14 * scale)


@pytest.mark.parametrize("n_sources", [12, 150])
def test_ridge_survives_a_penalty_that_rounding_swallows(n_sources):
    both = 1e6 * responses(400, n_sources + 4, seed=8)
    source, target = both[:, :n_sources], both[:, n_sources:]
    source[:, 1] = source[:, 0]
    found = get_fits(
        {1: {"a": {"resp": target, "cell_ids": range(4)}}},
        source,
        num_train_test_splits=3,
        map_kwargs={"regression_kwargs": {"alpha": 1e-9}},
    )
    expected = fitted(linear_model.Ridge(alpha=1e-9, solver="svd"), source, target)
    np.testing.assert_allclose(found[1]["a"].corr_per_split, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("n_sources", [12, 150])
@pytest.mark.parametrize("n_cells", [1, 7, 120])
@pytest.mark.parametrize("scale", [False, True])
def test_pls_is_that_of_scikit_learn(n_sources, n_cells, scale):
    both = responses(400, n_sources + n_cells, seed=n_cells)
    source, target = both[:, :n_sources], both[:, n_sources:]
    dataset = {1: {"a": {"resp": target, "cell_ids": range(n_cells)}}}
    kwargs = {"n_components": 10, "scale": scale}
    found = get_fits(dataset, source, map_type="pls", map_kwargs=kwargs, num_train_test_splits=3)
    expected = fitted(PLSRegression(10, scale=scale), source, target.copy())
    np.testing.assert_allclose(found[1]["a"].corr_per_split, expected, rtol=0, atol=1e-9)


def test_pls_uses_no_more_components_than_the_sources_have():
    """Two patterns explain all: the third component would be rounding."""
    rng = np.random.default_rng(0)
    patterns = rng.normal(size=(400, 2))
    source, target = patterns @ rng.normal(size=(2, 9)), patterns @ rng.normal(size=(2, 3))
    dataset = {1: {"a": {"resp": target, "cell_ids": range(3)}}}
    found = get_fits(dataset, source, map_type="pls", map_kwargs={"n_components": 5})
    np.testing.assert_allclose(found[1]["a"].corr, 1, atol=1e-9)


def test_one_to_one_takes_the_best_source_cell_of_the_training_bins():
    both = responses(400, 25, seed=1)
    source, target = both[:, :20], both[:, 20:]
    dataset = {1: {"a": {"resp": target, "cell_ids": range(5)}}}
    found = get_fits(dataset, source, map_type="corr", num_train_test_splits=2)[1]["a"]
    for seed, scores in enumerate(found.corr_per_split):
        order = np.random.RandomState(seed).permutation(400)
        train, test = order[:80], order[80:]
        for cell, score in enumerate(scores):
            y = target[:, cell]
            best = np.argmax([pearsonr(x[train], y[train]).statistic for x in source.T])
            expected = pearsonr(source[test, best], y[test]).statistic
            assert score == pytest.approx(expected, abs=1e-12)


def objective(x, y, weights, alpha, ratio):
    penalty = ratio * np.abs(weights).sum() + (1 - ratio) / 2 * np.square(weights).sum()
    return np.square(y - x @ weights).sum() / 2 + len(y) * alpha * penalty


@pytest.mark.parametrize("n_sources", [15, 90], ids=["few sources", "more sources than bins"])
def test_newton_solves_elastic_net_to_its_duality_gap(n_sources):
    """Subgradients bound the distance to the optimum, without any other solver."""
    both = responses(40, n_sources + 1, seed=2)
    both -= both.mean(0)
    x, y = both[:, :-1], both[:, -1:]
    ratios, alphas = np.array([0.0, 1e-16, 0.05, 0.5, 0.99]), np.geomspace(10, 1e-5, 40)
    weights = np.zeros((n_sources, len(ratios)))
    for alpha, (some, moved) in zip(
        alphas, ElasticNetPaths(x, 1e-12).weights(np.repeat(y, 5, 1), alphas, ratios), strict=True
    ):
        weights[:, some] = moved
        for w, ratio in zip(weights.T, ratios, strict=True):
            pull = x.T @ (y[:, 0] - x @ w) - 40 * alpha * (1 - ratio) * w
            tau = 40 * alpha * ratio
            bound = 1e-5 * np.linalg.norm(y) * np.linalg.norm(x)
            np.testing.assert_allclose(pull[w != 0], (tau * np.sign(w))[w != 0], atol=bound)
            assert (np.abs(pull[w == 0]) <= tau + bound).all()


@pytest.mark.parametrize("n_sources", [15, 90])
@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.95, 1.0])
def test_grid_scores_are_those_of_converged_fits_one_at_a_time(n_sources, ratio):
    both = responses(80, n_sources + 3, seed=3)
    source, target = both[:, :n_sources], both[:, n_sources:]
    alphas = np.array([0.01, 10.0, 0.05, 0.2, 0.03])
    found = grid_scores(source, target, alphas, [ratio], tolerance=1e-11)[:, 0]
    expected = np.zeros_like(found)
    for fold in (slice(0, 40), slice(40, 80)):
        x, y = np.delete(source, fold, 0), np.delete(target, fold, 0)
        for a, alpha in enumerate(alphas):
            model = linear_model.ElasticNet(alpha=alpha, l1_ratio=ratio, tol=1e-11, max_iter=10**6)
            predictions = model.fit(x, y).predict(source[fold])
            for cell, (p, truth) in enumerate(zip(predictions.T, target[fold].T, strict=True)):
                constant = np.ptp(p) == 0
                expected[a, cell] += np.nan if constant else pearsonr(p, truth).statistic / 2
    assert np.isnan(expected).any()  # all weights are 0
    assert np.isfinite(expected).any()
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


def test_no_solution_of_the_grid_is_worse_than_coordinate_descent():
    """Of the whole range of alphas, where scikit-learn mostly does not converge."""
    both = responses(40, 121, seed=4)
    both -= both.mean(0)
    x, y = np.asfortranarray(both[:, :-1]), both[:, -1]
    ratios, alphas = np.append(L1_RATIO_RNG_SHORT[:-1], 0.9), ALPHA_RNG[::-1] / 40
    weights = np.zeros((120, len(ratios)))
    paths = ElasticNetPaths(x, 1e-9)
    for i, (some, moved) in enumerate(
        paths.weights(np.tile(y[:, None], len(ratios)), alphas, ratios)
    ):
        weights[:, some] = moved
        if i % 12 == 0:
            for w, ratio in zip(weights.T, ratios, strict=True):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ConvergenceWarning)
                    other = linear_model.ElasticNet(alpha=alphas[i], l1_ratio=ratio).fit(x, y)
                best = objective(x, y, other.coef_, alphas[i], ratio)
                assert objective(x, y, w, alphas[i], ratio) <= best + 1e-9 * (y @ y)


def test_equal_scores_are_decided_by_the_grid_and_not_by_rounding():
    """Of one source cell r does not depend on the penalty: the first of the grid is taken."""
    rng = np.random.default_rng(11)
    source = rng.normal(size=(100, 1))
    target = source * rng.uniform(0.5, 2, 8) + rng.normal(size=(100, 8))
    dataset = {
        "box": {
            "others": {"resp": source, "cell_ids": ["o"]},
            "own": {"resp": target, "cell_ids": [f"c{i}" for i in range(8)]},
        }
    }
    grid = {"alphas": [0.03, 0.01, 0.02], "l1_ratios": [0.7, 0.2, 1.0]}
    choices = elastic_net_search(dataset, "box", **grid)["own"]
    assert set(choices.l1_ratio.ravel().tolist()) == {0.7}
    assert len(set(choices.alpha.ravel().tolist())) == 1


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_search_finds_what_suits_each_cell():
    """One cell is a source cell, which few weights find; the other a mean of all of them."""
    rng = np.random.default_rng(6)
    source = rng.normal(size=(400, 60))
    target = np.stack([source[:, 5], source.mean(1) * 8], axis=1)
    target += 0.3 * rng.normal(size=target.shape)
    dataset = {
        "box": {
            "others": {"resp": source, "cell_ids": [f"o{i}" for i in range(60)]},
            "own": {"resp": target, "cell_ids": ["sparse", "dense"]},
        }
    }
    grid = {"alphas": np.geomspace(0.1, 100, 13), "l1_ratios": [1e-16, 0.25, 0.5, 0.75, 1.0]}
    choices = elastic_net_search(dataset, "box", **grid)
    sparse, dense = choices["own"].l1_ratio.T
    assert (sparse >= 0.25).all()
    assert np.median(dense) < 0.3
    per_cell = kwargs_per_cell(choices)
    chosen = get_fits(dataset, map_kwargs_per_cell=per_cell)["box"]["own"].corr
    ridge = get_fits(dataset)["box"]["own"].corr
    assert chosen[0] > ridge[0] + 0.05
    assert chosen[1] > ridge[1] - 0.02
    # alphas of the grid are those of Ridge, and over the training bins those of ElasticNet
    fits = [fit for cell in ("sparse", "dense") for fit in per_cell[cell]["map_kwargs"]]
    assert {fit["regression_type"] for fit in fits} == {"Ridge", "ElasticNet"}
    assert len(fits) == 20
    for fit in fits:
        n = 1 if fit["regression_type"] == "Ridge" else 80
        assert np.isclose(grid["alphas"] / n, fit["regression_kwargs"]["alpha"]).any()
