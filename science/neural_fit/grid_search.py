"""Which ElasticNet suits each cell: every penalty of a grid, validated within the training bins."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from science.neural_fit.arena import Animals, Dataset
from science.neural_fit.elastic_net_newton import ElasticNetPaths
from science.neural_fit.params import ALPHA_RNG, L1_RATIO_RNG
from science.neural_fit.responses import Floats, Source, SourceSplit, TargetSplit, normalised
from science.neural_fit.splits import Shape, Split, make_splits

CHUNK = 256  # problems solved together: what they need stays in the cache
RIDGE = 1e-12  # an l1 ratio below has no effect
EQUAL = 1e-9  # of correlations: where one cell is left, they differ by rounding only


@dataclass(frozen=True)
class ElasticNetChoice:
    """Penalties of the cells of one animal, for each split.

    Attributes
    ----------
    cell_ids : (n_cells,)
    alpha, l1_ratio : float64, (n_splits, n_cells)
        As ElasticNet takes them: `alpha` is the value of the grid over the number of training bins.
    validation : float64, (n_splits, n_cells)
        Correlation with the folds left out, their mean; NaN where no penalty gave one.
    n_train : int64, (n_splits, n_cells)
        Training bins.
    """

    cell_ids: NDArray[Any]
    alpha: Floats
    l1_ratio: Floats
    validation: Floats
    n_train: NDArray[np.int64]


def elastic_net_search(
    dataset: Dataset,
    arena: Hashable,
    train_frac: float | str = 0.2,
    num_train_test_splits: int = 10,
    split_start_seed: int = 0,
    shape_2d: Shape | None = None,
    alphas: ArrayLike = ALPHA_RNG,
    l1_ratios: ArrayLike = L1_RATIO_RNG,
    n_folds: int = 2,
    tolerance: float = 1e-6,
) -> dict[Hashable, ElasticNetChoice]:
    """Choose penalties for each cell and split on fits of all other animals (mec 9).

    Test bins are not seen: the training bins of a split are cut into folds in their order, and each
    fold is predicted from the others. Reuse the choice for models: see `kwargs_per_cell`.

    Parameters
    ----------
    dataset, train_frac, num_train_test_splits, split_start_seed, shape_2d
        As of `get_fits`, so that the splits are the same.
    arena : hashable
    alphas : float, (n_alphas,)
        Penalties; divided by the number of training bins, which makes them those of Ridge.
    l1_ratios : float, (n_l1_ratios,)
        In 0..1.
    n_folds : int
    tolerance : float
        Largest duality gap of a solution, in units of the variance to be explained. scikit-learn
        stops at 1e-4, which can be a solution of other penalties.

    Returns
    -------
    dict of animal to ElasticNetChoice

    Raises
    ------
    ValueError
        Grids out of range or folds that cannot be had; as `get_fits` for the rest.
    """
    alphas, l1_ratios = _checked(alphas, l1_ratios)
    animals = Animals.of(dataset, arena).needing_others()
    choices = {}
    for source, (animal,) in animals.others():
        responses, kept = animals.responses[animal], animals.kept_by_cell(source, animal)
        # cells of the same bins share the splits
        alike: dict[bytes, list[int]] = {}
        for cell, bins in enumerate(kept):
            alike.setdefault(bins.tobytes(), []).append(cell)
        best = []
        for cells in alike.values():
            bins = np.flatnonzero(kept[cells[0]])
            splits = make_splits(
                len(bins), train_frac, num_train_test_splits, split_start_seed, shape_2d
            )
            trains = [bins[split.train] for split in splits]
            scores = (
                grid_scores(
                    source[train],
                    responses[np.ix_(train, cells)],
                    alphas / len(train),
                    l1_ratios,
                    n_folds,
                    tolerance,
                )
                for train in trains
            )
            found = [_best(of_split, alphas, l1_ratios) for of_split in scores]
            n_train = np.broadcast_to([[len(t)] for t in trains], (len(trains), len(cells)))
            best.append(np.concatenate([np.stack(found, axis=1), n_train[None]]))
        order = np.argsort(np.concatenate([*alike.values()]))
        alpha, ratio, score, n_train = np.concatenate(best, axis=2)[:, :, order]
        choices[animal] = ElasticNetChoice(
            animals.cell_ids[animal], alpha / n_train, ratio, score, n_train.astype(np.int64)
        )
    return choices


def kwargs_per_cell(
    choices: Mapping[Hashable, ElasticNetChoice],
) -> dict[Hashable, dict[str, Any]]:
    """Return the `map_kwargs_per_cell` of `get_fits` that fit each cell by what was chosen for it.

    An l1 ratio that is 0 but for the name becomes the Ridge that it is, where coordinate descent
    would stop long before.

    Raises
    ------
    ValueError
        If cells of two animals share an identifier.
    """
    kwargs: dict[Hashable, dict[str, Any]] = {}
    for animal, choice in choices.items():
        for i, cell in enumerate(choice.cell_ids.tolist()):
            if cell in kwargs:
                raise ValueError(f"cell {cell!r} of {animal!r} is not the only one of that name")
            chosen = (choice.alpha[:, i], choice.l1_ratio[:, i], choice.n_train[:, i])
            splits = zip(*(values.tolist() for values in chosen), strict=True)
            kwargs[cell] = {"map_kwargs": [_map_kwargs(*split) for split in splits]}
    return kwargs


def _map_kwargs(alpha: float, l1_ratio: float, n_train: int) -> dict[str, Any]:
    if l1_ratio < RIDGE:
        return {"regression_type": "Ridge", "regression_kwargs": {"alpha": alpha * n_train}}
    kwargs = {"alpha": alpha, "l1_ratio": l1_ratio}
    return {"regression_type": "ElasticNet", "regression_kwargs": kwargs}


def grid_scores(
    source: Floats,
    target: Floats,
    alphas: ArrayLike,
    l1_ratios: ArrayLike,
    n_folds: int = 2,
    tolerance: float = 1e-6,
) -> Floats:
    """Validate every penalty for every cell.

    Parameters
    ----------
    source : float64, (n_bins, n_sources)
    target : float64, (n_bins, n_cells)
    alphas, l1_ratios : float, (n_alphas,) and (n_l1_ratios,)
        As ElasticNet takes them, alphas > 0.
    n_folds, tolerance
        As of `elastic_net_search`.

    Returns
    -------
    float64, (n_alphas, n_l1_ratios, n_cells)
        Correlation of predictions with the fold left out, mean over folds; NaN where a fold has
        none, as without any weight.
    """
    alphas, l1_ratios = _checked(alphas, l1_ratios)
    if not 2 <= n_folds <= len(source) // 2:
        raise ValueError(
            f"{len(source)} training bins cannot be cut into {n_folds} folds of two bins and more"
        )
    falling = np.argsort(alphas)[::-1]
    scores = np.empty((n_folds, len(alphas), len(l1_ratios), target.shape[1]))
    whole = Source(source)
    for f, fold in enumerate(np.array_split(np.arange(len(source)), n_folds)):
        split = Split(np.setdiff1d(np.arange(len(source)), fold), fold)
        part, truth = SourceSplit(whole, split), TargetSplit.of(target, split)
        scores[f, falling] = _path_scores(part, truth, alphas[falling], l1_ratios, tolerance)
    return scores.mean(0)


def _path_scores(
    part: SourceSplit, truth: TargetSplit, alphas: Floats, l1_ratios: Floats, tolerance: float
) -> Floats:
    """Score (n_alphas, n_l1_ratios, n_cells) along falling alphas."""
    paths = ElasticNetPaths(part.train, tolerance)
    shape = (len(l1_ratios), truth.n_cells)
    ratio, cell = (index.ravel() for index in np.indices(shape))
    lasso = l1_ratios[ratio] == 1
    scores = np.empty((len(alphas), len(ratio)))
    for chunk in (*_chunks(np.flatnonzero(~lasso)), *_chunks(np.flatnonzero(lasso))):
        y, test = truth.train[:, cell[chunk]], truth.test[:, cell[chunk]]
        if lasso[chunk[0]]:
            solutions = paths.lasso_weights(y, alphas)
        else:
            solutions = paths.weights(y, alphas, l1_ratios[ratio[chunk]])
        current = np.full(len(chunk), np.nan)
        for a, (some, weights) in enumerate(solutions):
            current[some] = (normalised(part.test @ weights) * test[:, some]).sum(0)
            scores[a, chunk] = current
    return scores.reshape(len(alphas), *shape)


def _chunks(problems: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    return [problems[begin : begin + CHUNK] for begin in range(0, len(problems), CHUNK)]


def _best(scores: Floats, alphas: Floats, l1_ratios: Floats) -> Floats:
    """Return alpha, l1 ratio and score (3, n_cells) of the best penalty, the first of equals."""
    flat = scores.reshape(-1, scores.shape[2])
    known = np.where(np.isnan(flat), -np.inf, flat)
    best = (known >= known.max(0) - EQUAL).argmax(0)
    alpha, ratio = np.unravel_index(best, scores.shape[:2])
    return np.stack([alphas[alpha], l1_ratios[ratio], flat[best, np.arange(len(best))]])


def _checked(alphas: ArrayLike, l1_ratios: ArrayLike) -> tuple[Floats, Floats]:
    alphas, l1_ratios = np.asarray(alphas, np.float64), np.asarray(l1_ratios, np.float64)
    if alphas.ndim != 1 or not alphas.size or not (alphas > 0).all():
        raise ValueError("alphas must be a list of positive numbers")
    if l1_ratios.ndim != 1 or not l1_ratios.size or not ((l1_ratios >= 0) & (l1_ratios <= 1)).all():
        raise ValueError("l1_ratios must be a list of numbers in 0..1")
    return alphas, l1_ratios
