"""Fits of whole recordings under one set of parameters: all cells scored, corrected for noise."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from science.neural_fit.arena import Dataset
from science.neural_fit.config import NeuralMapParams
from science.neural_fit.fits import get_fits, unit_concat
from science.neural_fit.grid_search import ElasticNetChoice, elastic_net_search, kwargs_per_cell
from science.neural_fit.noise import noise_corrected_fits
from science.neural_fit.recorded_cells import RecordedCells
from science.neural_fit.responses import Floats

PerCell = Mapping[Hashable, Mapping[str, Any]]


@dataclass(frozen=True)
class Penalties:
    """What a search chose for each split and cell, all (n_splits, n_cells).

    Attributes
    ----------
    alpha, l1_ratio : float64
        As ElasticNet takes them.
    n_train : int64
        Bins that they were chosen on.
    """

    alpha: Floats
    l1_ratio: Floats
    n_train: NDArray[np.int64]

    @cached_property
    def per_cell(self) -> PerCell:
        """The `map_kwargs_per_cell` of `get_fits`, by the index of the cell."""
        cells = np.arange(self.alpha.shape[1])
        validation = np.full(self.alpha.shape, np.nan)
        choice = ElasticNetChoice(cells, self.alpha, self.l1_ratio, validation, self.n_train)
        return kwargs_per_cell({"all": choice})


@dataclass(frozen=True)
class FittedCells:
    """Scores of the cells, in the order of the recordings.

    Attributes
    ----------
    corr : float64, (n_cells,)
        Correlation of predictions with the truth over test conditions, mean over splits (and over
        source animals, for pairs); NaN where either is constant.
    corrected : float64, (n_cells,)
        For the noise of trials; NaN where it was not asked for, or there are no trials.
    corr_per_split : float64, (n_splits, n_cells)
    n_conditions : int64, (n_cells,)
        Bins, or images, that were fitted.
    penalties : Penalties, optional
        Of a search.
    """

    corr: Floats
    corrected: Floats
    corr_per_split: Floats
    n_conditions: NDArray[np.int64]
    penalties: Penalties | None = None

    @classmethod
    def together(cls, fits: Sequence["FittedCells"]) -> "FittedCells":
        """Put cells that were fitted apart, without a search, one after the other."""
        return cls(
            np.concatenate([fit.corr for fit in fits]),
            np.concatenate([fit.corrected for fit in fits]),
            np.concatenate([fit.corr_per_split for fit in fits], axis=1),
            np.concatenate([fit.n_conditions for fit in fits]),
        )

    @property
    def median(self) -> float:
        """Median of `corr` over the cells that have one; NaN without any."""
        known = self.corr[np.isfinite(self.corr)]
        return float(np.median(known)) if known.size else float("nan")


def consistency(
    arena: Hashable,
    recordings: Sequence[RecordedCells],
    params: NeuralMapParams,
    mode: Literal["holdout", "pairwise"] = "holdout",
) -> FittedCells:
    """Predict the cells of each animal from other animals in the arena (mec 8.4, 9).

    Parameters
    ----------
    arena : hashable
        What messages call it.
    recordings : sequence of RecordedCells
    params : NeuralMapParams
    mode : {'holdout', 'pairwise'}
        Only 'holdout' chooses penalties, and corrects for noise.

    Raises
    ------
    ValueError
        Unequal bins, a search for pairs, no bin with data in every trial; else as `get_fits`.
    """
    animals = _Animals.of(arena, recordings, params)
    penalties = None
    if params.search is not None:
        if mode == "pairwise":
            raise ValueError(
                "penalties are chosen for one source per cell: use 'holdout', or no search"
            )
        penalties = animals.search()
    return animals.fitted(None, mode, penalties)


def model_fits(
    arena: Hashable,
    recordings: Sequence[RecordedCells],
    responses: ArrayLike,
    params: NeuralMapParams,
    penalties: Penalties | None = None,
) -> FittedCells:
    """Predict the cells of each animal from a model (mec 8.5).

    Parameters
    ----------
    arena, recordings, params
        As of `consistency`.
    responses : (nx, ny, n_units) or (n_images, n_units)
        Of the model, which has no noise.
    penalties : Penalties, optional
        That `consistency` has chosen for these cells; needed with a search.

    Raises
    ------
    ValueError
        A model of other bins; a search without penalties; else as `consistency`.
    """
    animals = _Animals.of(arena, recordings, params)
    responses = np.asarray(responses, np.float64)
    if responses.shape[:-1] != animals.shape:
        raise ValueError(
            f"the model has maps of {responses.shape[:-1]} bins, but the animals of arena "
            f"{arena!r} of {animals.shape}: bin them alike"
        )
    if (params.search is None) != (penalties is None):
        raise ValueError("with a search, give the penalties chosen on other animals, else none")
    units = responses.shape[-1]
    return animals.fitted(responses.reshape(-1, units), "holdout", penalties)


@dataclass(frozen=True)
class _Animals:
    """Recordings in one arena, put together; cells go by their index.

    Attributes
    ----------
    arena, params
        As given.
    responses : float64, (nx, ny, n_cells) or (n_images, n_cells)
    trials : float64, (n_trials, n_conditions, n_cells), optional
        Where all recordings have some.
    cells : dict of animal to (n,)
    """

    arena: Hashable
    params: NeuralMapParams
    responses: Floats
    trials: Floats | None
    cells: dict[Hashable, NDArray[np.int64]]

    @classmethod
    def of(
        cls, arena: Hashable, recordings: Sequence[RecordedCells], params: NeuralMapParams
    ) -> "_Animals":
        shape = recordings[0].responses.shape[:-1]
        own: dict[Hashable, list[NDArray[np.int64]]] = {}
        first = 0
        for recording in recordings:
            *other, n_cells = recording.responses.shape
            if tuple(other) != shape:
                raise ValueError(
                    f"animals of arena {arena!r} have maps of {shape} bins, but "
                    f"{recording.animal!r} of {tuple(other)}: bin them alike"
                )
            own.setdefault(recording.animal, []).append(np.arange(first, first + n_cells))
            first += n_cells
        trials = [recording.trials for recording in recordings]
        together = None
        if all(t is not None for t in trials):
            together = np.concatenate(trials, axis=-1)
            together = together.reshape(len(together), -1, first)
        return cls(
            arena,
            params,
            np.concatenate([recording.responses for recording in recordings], axis=-1),
            together,
            {animal: np.concatenate(cells) for animal, cells in own.items()},
        )

    @property
    def shape(self) -> tuple[int, ...]:
        return self.responses.shape[:-1]

    @property
    def dataset(self) -> Dataset:
        """The animals as `get_fits` takes them."""
        own = {a: {"resp": self.responses[..., c], "cell_ids": c} for a, c in self.cells.items()}
        return {self.arena: own}

    def search(self) -> Penalties:
        """Choose penalties for every cell."""
        grid = self.params.search
        choices = elastic_net_search(
            self.dataset,
            self.arena,
            **self.params.split_arguments(self.shape),
            alphas=grid.alpha_values,
            l1_ratios=grid.l1_ratio_values,
            n_folds=grid.n_folds,
        ).values()
        order = np.argsort(np.concatenate([choice.cell_ids for choice in choices]))
        return Penalties(
            *(
                np.concatenate([getattr(choice, name) for choice in choices], axis=1)[:, order]
                for name in ("alpha", "l1_ratio", "n_train")
            )
        )

    def fitted(
        self,
        model: Floats | None,
        mode: Literal["holdout", "pairwise"],
        penalties: Penalties | None,
    ) -> FittedCells:
        """Fit all cells, from a model (n_conditions, n_units) or else from other animals."""
        fits = get_fits(
            self.dataset,
            model,
            interanimal_mode=mode,
            map_kwargs_per_cell=None if penalties is None else penalties.per_cell,
            **self.params.map_arguments,
            **self.params.split_arguments(self.shape),
        )
        cells = unit_concat(fits, self.arena)
        corrected = np.full(len(cells.corr), np.nan)
        if self.params.n_halvings and self.trials is not None and mode == "holdout":
            for animal in self.cells:
                self._correct(animal, model, penalties, corrected)
        order = np.argsort(cells.cell_ids)
        return FittedCells(
            cells.corr[order],
            corrected,
            cells.corr_per_split[:, order],
            cells.n_bins[order],
            penalties,
        )

    def _correct(
        self,
        animal: Hashable,
        model: Floats | None,
        penalties: Penalties | None,
        corrected: Floats,
    ) -> None:
        """Fill in the scores of one animal, corrected for noise."""
        own = self.cells[animal]
        source = np.delete(self.trials, own, axis=-1) if model is None else model
        for cells, map_ in self._maps(own, penalties):
            target = self.trials[..., cells]
            finite = np.isfinite(source).all((0, -1) if source.ndim == 3 else -1)
            if not (finite & np.isfinite(target).all((0, -1))).any():
                raise ValueError(
                    f"no bin of arena {self.arena!r} has data in every trial: use fewer segments, "
                    "or n_halvings=0 to leave out the correction for noise"
                )
            corrected[cells] = noise_corrected_fits(
                source,
                target,
                **map_,
                **self.params.split_arguments(self.shape),
                n_halvings=self.params.n_halvings,
                reliability_of=self.params.reliability_of,
            ).corr

    def _maps(
        self, cells: NDArray[np.int64], penalties: Penalties | None
    ) -> list[tuple[NDArray[np.int64], dict[str, Any]]]:
        """Return which cells are fitted together, and by which map."""
        if penalties is None:
            return [(cells, self.params.map_arguments)]
        return [
            (cells[[i]], {"map_type": "sklinear", **penalties.per_cell[cell]})
            for i, cell in enumerate(cells.tolist())
        ]
