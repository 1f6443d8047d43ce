"""How well cells are predicted by other animals, or by a model (mec 8)."""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from science.neural_fit.arena import Animals, Bins, Dataset
from science.neural_fit.maps import predictor
from science.neural_fit.means import nanmean
from science.neural_fit.params import MapParams, map_params_per_split
from science.neural_fit.responses import Floats, Source, SourceSplit, TargetSplit
from science.neural_fit.splits import Shape, Split, make_splits

MapKwargs = Mapping[str, Any] | Sequence[Mapping[str, Any]]
Predicted = tuple[Floats, list[Hashable]]  # a source, and the animals that it predicts


@dataclass(frozen=True)
class CellFits:
    """Scores of the cells of one animal in one arena.

    Attributes
    ----------
    cell_ids : (n_cells,)
    corr : float64, (n_cells,)
        Pearson correlation of predictions with the truth over test bins, in [-1, 1]: the mean over
        splits, and over source animals for 'pairwise'; NaN where no split gave one.
    corr_per_split : float64, (n_splits, n_cells)
        The same of each split; NaN where the cell or its prediction is constant.
    n_bins : int64, (n_cells,)
        Bins without NaN that the fit had; for 'pairwise' the fewest of any source animal.
    """

    cell_ids: NDArray[Any]
    corr: Floats
    corr_per_split: Floats
    n_bins: NDArray[np.int64]


Animalwise = dict[Hashable, CellFits]
Fits = dict[Hashable, Animalwise]


@dataclass(frozen=True)
class _Plan:
    """What is fitted, and along which splits."""

    map_type: str
    map_kwargs: MapKwargs
    train_frac: float | str
    n_splits: int
    start_seed: int
    shape: Shape | None

    def splits(self, n_bins: int) -> list[Split]:
        return make_splits(n_bins, self.train_frac, self.n_splits, self.start_seed, self.shape)

    def params(self, n_splits: int) -> list[MapParams]:
        return map_params_per_split(self.map_type, self.map_kwargs, n_splits)


def get_fits(
    dataset: Dataset,
    model_resp: ArrayLike | None = None,
    arena_sizes: Sequence[Hashable] | None = None,
    map_type: str = "sklinear",
    map_kwargs: MapKwargs | None = None,
    train_frac: float | str = 0.2,
    num_train_test_splits: int = 10,
    split_start_seed: int = 0,
    interanimal_mode: Literal["holdout", "pairwise"] = "holdout",
    shape_2d: Shape | None = None,
    map_kwargs_per_cell: Mapping[Hashable, Mapping[str, Any]] | None = None,
) -> Fits:
    """Fit target cells from other animals or from a model, and score them on bins left out.

    Bins where any source or target cell is NaN are left out of a fit before the others are split,
    so that one cell's NaN changes the splits of all that are fitted with it (mec 8.3). The results
    are those of the original, but for what it got wrong: per-cell parameters work for 'holdout',
    sources come in the order of the dataset, and what cannot be fitted is an error that says why.

    Parameters
    ----------
    dataset : mapping
        ``dataset[arena][animal] = {"resp": ..., "cell_ids": ...}`` with responses (nx, ny, n_cells)
        or (n_bins, n_cells), NaN where not visited, and `cell_ids` (n_cells,). All animals of an
        arena have the same bins.
    model_resp : array_like, optional
        Responses of a model (nx, ny, n_units) or (n_bins, n_units) that predict every animal of one
        arena. Without them animals predict each other.
    arena_sizes : sequence, optional
        Keys of the arenas to fit; all of them without.
    map_type : {'sklinear', 'pls', 'corr'}
    map_kwargs : mapping, or sequence of mappings, optional
        As of `LinearMapParams`, `PlsMapParams` or `OneToOneMapParams`; a list has one per split.
    train_frac, num_train_test_splits, split_start_seed, shape_2d
        As of `make_splits`.
    interanimal_mode : {'holdout', 'pairwise'}
        'holdout': an animal from all others together. 'pairwise': from each other one alone.
    map_kwargs_per_cell : mapping, optional
        For each target cell its own ``{"map_kwargs": ..., "train_frac": ...}``, the latter
        optional. Each cell is then fitted alone, and only its own NaN count.

    Returns
    -------
    dict of arena to dict of animal to CellFits

    Raises
    ------
    ValueError
        Unknown names; an arena that is missing, has one animal only, or an animal without data;
        maps of different bins or without any bin that is finite everywhere; a train fraction that
        leaves no bin; more PLS components than source cells; a model for several arenas, per-cell
        parameters for 'pairwise' or not for every cell.
    """
    map_kwargs = {} if map_kwargs is None else map_kwargs
    plan = _Plan(
        map_type, map_kwargs, train_frac, num_train_test_splits, split_start_seed, shape_2d
    )
    arenas = list(dataset) if arena_sizes is None else list(arena_sizes)
    if interanimal_mode not in ("holdout", "pairwise"):
        raise ValueError(f"interanimal_mode={interanimal_mode!r}: use 'holdout' or 'pairwise'")
    if model_resp is not None and len(arenas) != 1:
        raise ValueError(
            f"model_resp belongs to one arena, not to {arenas}: name it in arena_sizes"
        )
    pairwise = model_resp is None and interanimal_mode == "pairwise"
    if pairwise and map_kwargs_per_cell is not None:
        raise ValueError("map_kwargs_per_cell needs one source per cell: use 'holdout' or a model")
    fits: Fits = {}
    for arena in arenas:
        animals = Animals.of(dataset, arena)
        if pairwise:
            fits[arena] = _pairwise(plan, animals.needing_others())
            continue
        if model_resp is None:
            sources = animals.needing_others().others()
        else:
            sources = [animals.predicted_by(model_resp)]
        if map_kwargs_per_cell is None:
            fits[arena] = _by_animal(plan, animals, sources)
        else:
            fits[arena] = _by_cell(plan, animals, sources, map_kwargs_per_cell)
    return fits


def unit_concat(fits: Fits, arena: Hashable) -> CellFits:
    """Concatenate the animals of an arena along cells, in the order of the dataset (mec 8.8).

    The summary of an arena is the `nanmedian` of `corr`: one silent cell makes the median NaN.
    Where cells have different numbers of splits, the missing ones are NaN.

    Raises
    ------
    ValueError
        An arena that was not fitted.
    """
    if arena not in fits:
        raise ValueError(f"there are no fits of arena {arena!r}, but of {list(fits)}")
    animals = list(fits[arena].values())
    return CellFits(
        cell_ids=np.concatenate([animal.cell_ids for animal in animals]),
        corr=np.concatenate([animal.corr for animal in animals]),
        corr_per_split=_side_by_side([animal.corr_per_split for animal in animals]),
        n_bins=np.concatenate([animal.n_bins for animal in animals]),
    )


def _by_animal(plan: _Plan, animals: Animals, sources: Iterable[Predicted]) -> Animalwise:
    """Fit all cells of an animal at once."""
    prepared = _Targets(plan, animals)
    return {
        animal: _cell_fits(animals.cell_ids[animal], scores, np.full(scores.shape[1], n_bins))
        for source, targets in sources
        for animal, (scores, n_bins) in _from_source(plan, animals, source, targets, prepared)
    }


def _by_cell(
    plan: _Plan,
    animals: Animals,
    sources: Iterable[Predicted],
    per_cell: Mapping[Hashable, Mapping[str, Any]],
) -> Animalwise:
    """Fit each cell alone; cells of the same bins and train fraction share the splits."""
    fits = {}
    for source, targets in sources:
        for animal in targets:
            ids, responses = animals.cell_ids[animal], animals.responses[animal]
            missing = [cell for cell in ids.tolist() if cell not in per_cell]
            if missing:
                raise ValueError(f"map_kwargs_per_cell lacks {missing}: give all cells their own")
            kept = animals.kept_by_cell(source, animal)
            plans = [_plan_of_cell(plan, per_cell[cell]) for cell in ids.tolist()]
            alike: dict[tuple, list[int]] = {}
            for cell, own in enumerate(plans):
                alike.setdefault((kept[cell].tobytes(), own.train_frac), []).append(cell)
            scores = [np.empty(0)] * len(ids)
            for cells in alike.values():
                bins = kept[cells[0]]
                own = _alone(source[bins], responses[bins][:, cells], [plans[c] for c in cells])
                for cell, cell_scores in zip(cells, own, strict=True):
                    scores[cell] = cell_scores
            columns = _side_by_side([cell_scores[:, None] for cell_scores in scores])
            fits[animal] = _cell_fits(ids, columns, kept.sum(1))
    return fits


def _plan_of_cell(plan: _Plan, own: Mapping[str, Any]) -> _Plan:
    unknown = set(own) - {"map_kwargs", "train_frac"}
    if unknown or "map_kwargs" not in own:
        raise ValueError(
            f"a cell needs 'map_kwargs' and may have a 'train_frac' of its own, not {sorted(own)}"
        )
    return replace(plan, **own)


def _alone(source: Floats, responses: Floats, plans: Sequence[_Plan]) -> Floats:
    """Fit cells (n_bins, n_cells) by maps of their own; returns scores (n_cells, n_splits)."""
    splits = plans[0].splits(len(source))
    maps = [plan.params(len(splits)) for plan in plans]
    shared = Source(source)
    scores = np.empty((len(plans), len(splits)))
    for s, split in enumerate(splits):
        part, target = SourceSplit(shared, split), TargetSplit.of(responses, split)
        for cell in range(len(plans)):
            own = target.of_cells([cell])
            scores[cell, s] = own.correlation(predictor(maps[cell][s], part)(own))[0]
    return scores


def _cell_fits(cell_ids: NDArray[Any], scores: Floats, n_bins: NDArray[np.int64]) -> CellFits:
    return CellFits(cell_ids, nanmean(scores), scores, n_bins)


def _side_by_side(scores: Sequence[Floats]) -> Floats:
    """Concatenate (n_splits, n_cells) along cells; missing splits are NaN."""
    n_splits = max(map(len, scores))
    pads = [((0, n_splits - len(columns)), (0, 0)) for columns in scores]
    return np.concatenate(
        [np.pad(c, pad, constant_values=np.nan) for c, pad in zip(scores, pads, strict=True)],
        axis=1,
    )


def _pairwise(plan: _Plan, animals: Animals) -> Animalwise:
    """Fit each animal from each other one; what a source needs is prepared once for all targets."""
    prepared = _Targets(plan, animals)
    pairs = {animal: [] for animal in animals.responses}
    for source, responses in animals.responses.items():
        others = [animal for animal in animals.responses if animal != source]
        for animal, pair in _from_source(plan, animals, responses, others, prepared):
            pairs[animal].append(pair)
    return {
        animal: CellFits(
            cell_ids=animals.cell_ids[animal],
            corr=nanmean(np.stack([nanmean(scores) for scores, _ in found])),
            corr_per_split=nanmean(np.stack([scores for scores, _ in found])),
            n_bins=np.full(found[0][0].shape[1], min(n_bins for _, n_bins in found)),
        )
        for animal, found in pairs.items()
    }


class _Targets:
    """Splits and target responses by the bins that are kept, prepared once for all sources."""

    def __init__(self, plan: _Plan, animals: Animals) -> None:
        self.splits = cache(plan.splits)
        self._animals = animals
        self._of = cache(self._prepare)

    def of(self, animal: Hashable, kept: Bins) -> list[TargetSplit]:
        return self._of(animal, kept.tobytes())

    def _prepare(self, animal: Hashable, kept: bytes) -> list[TargetSplit]:
        bins = np.frombuffer(kept, bool)
        responses = self._animals.responses[animal][bins]
        return [TargetSplit.of(responses, split) for split in self.splits(int(bins.sum()))]


def _from_source(
    plan: _Plan, animals: Animals, source: Floats, targets: Sequence[Hashable], prepared: _Targets
) -> Iterator[tuple[Hashable, tuple[Floats, int]]]:
    """Fit animals from one source; yields each with its scores (n_splits, n_cells) and bins."""
    for kept, group in animals.kept(source, targets):
        n_bins = int(kept.sum())
        splits = prepared.splits(n_bins)
        shared = Source(source[kept])
        scores = {animal: [] for animal in group}
        for s, (split, params) in enumerate(zip(splits, plan.params(len(splits)), strict=True)):
            predict = predictor(params, SourceSplit(shared, split))
            for animal in group:
                target = prepared.of(animal, kept)[s]
                scores[animal].append(target.correlation(predict(target)))
        yield from ((animal, (np.stack(scores[animal]), n_bins)) for animal in group)
