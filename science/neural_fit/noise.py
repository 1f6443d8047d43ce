"""Fits corrected for the noise of trials, by halves of the trials (mec 9)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from science.metrics import correlation
from science.neural_fit.maps import predictor
from science.neural_fit.means import nanmean
from science.neural_fit.params import map_params_per_split
from science.neural_fit.responses import Floats, Source, SourceSplit, TargetSplit
from science.neural_fit.splits import Shape, make_splits

Halves = tuple[Floats, Floats]


@dataclass(frozen=True)
class NoiseCorrectedFits:
    """Scores that a noise-free prediction of the noise-free response would have.

    Attributes
    ----------
    corr : float64, (n_cells,)
        Mean over halvings that are not NaN, then over splits. Values above 1 are possible.
    corr_per_split : float64, (n_splits, n_cells)
    corr_per_halving : float64, (n_splits, n_halvings, n_cells)
        NaN where the reliabilities have different signs, by noise.
    reliability : float64, (n_halvings, n_cells)
        Of the target cells over all bins: the correlation of half and half, for all trials.
    """

    corr: Floats
    corr_per_split: Floats
    corr_per_halving: Floats
    reliability: Floats


def spearman_brown(r: ArrayLike) -> Floats:
    """Reliability of all trials from the correlation of two halves of them, ``2 r / (1 + r)``.

    Examples
    --------
    >>> spearman_brown([0, 0.6, 1])
    array([0.  , 0.75, 1.  ])
    """
    r = np.asarray(r, np.float64)
    with np.errstate(divide="ignore"):
        return 2 * r / (1 + r)


def noise_corrected_fits(
    source: ArrayLike,
    target: ArrayLike,
    map_type: str = "sklinear",
    map_kwargs: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    train_frac: float | str = 0.2,
    num_train_test_splits: int = 10,
    split_start_seed: int = 0,
    shape_2d: Shape | None = None,
    n_halvings: int = 30,
    reliability_of: Literal["all", "halves"] = "all",
) -> NoiseCorrectedFits:
    """Fit halves of the trials apart, and divide their score by the reliability of both sides.

    Per halving and split, with predictions P1 and P2 of test bins from source halves fitted to the
    target halves T1 and T2: ``r(P1, T2) / sqrt(SB(r(P1, P2)) SB(r(T1, T2)))``.

    Parameters
    ----------
    source : float, (n_trials, n_bins, n_sources) or (n_bins, n_sources)
        Trials of other cells, as many as they may be; without trials: a model, which has no noise.
    target : float, (n_trials, n_bins, n_cells)
    map_type, map_kwargs, train_frac, num_train_test_splits, split_start_seed, shape_2d
        As of `get_fits`.
    n_halvings : int
        Halving i is drawn from seed i: the trials of the target, then those of the source.
    reliability_of : {'all', 'halves'}
        'all': divide by the reliability of all trials, as above and as published. The score above
        it is one of halves, so that this corrects too little: a perfect prediction of halves that
        correlate by r gets ``(1 + r) / 2``. 'halves': divide by ``sqrt(r(P1, P2) r(T1, T2))``,
        which gives a perfect prediction 1.

    Returns
    -------
    NoiseCorrectedFits

    Raises
    ------
    ValueError
        Shapes that do not fit, fewer than two trials, no halving; as `get_fits` for the rest.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    _check(source, target, n_halvings)
    if reliability_of not in ("all", "halves"):
        raise ValueError(f"reliability_of={reliability_of!r}: use 'all' or 'halves'")
    kept = np.isfinite(source).all((0, 2) if source.ndim == 3 else 1) & np.isfinite(target).all(
        (0, 2)
    )
    source, target = source[..., kept, :], target[:, kept]
    splits = make_splits(
        target.shape[1], train_frac, num_train_test_splits, split_start_seed, shape_2d
    )
    map_kwargs = {} if map_kwargs is None else map_kwargs
    maps = map_params_per_split(map_type, map_kwargs, len(splits))
    corrected = np.empty((len(splits), n_halvings, target.shape[2]))
    reliability = np.empty((n_halvings, target.shape[2]))
    for i in range(n_halvings):
        rng = np.random.RandomState(i)
        halves = _halves(target, rng)
        sources = [Source(half) for half in _halves(source, rng)]
        reliability[i] = spearman_brown(correlation(*halves))
        for s, (split, params) in enumerate(zip(splits, maps, strict=True)):
            predictions = [
                predictor(params, SourceSplit(of, split))(TargetSplit.of(half, split))
                for of, half in zip(sources, halves, strict=True)
            ]
            corrected[s, i] = _corrected(
                predictions, [half[split.test] for half in halves], reliability_of
            )
    per_split = nanmean(corrected.swapaxes(0, 1))
    return NoiseCorrectedFits(per_split.mean(0), per_split, corrected, reliability)


def _corrected(
    predictions: Sequence[Floats], truths: Sequence[Floats], reliability_of: str
) -> Floats:
    predicted, recorded = correlation(*predictions), correlation(*truths)
    if reliability_of == "all":
        predicted, recorded = spearman_brown(predicted), spearman_brown(recorded)
    with np.errstate(invalid="ignore", divide="ignore"):
        return correlation(predictions[0], truths[1]) / np.sqrt(predicted * recorded)


def _halves(trials: Floats, rng: np.random.RandomState) -> Halves:
    """Average a random half of the trials, and the others; a model is both halves itself."""
    if trials.ndim == 2:
        return trials, trials
    order = rng.permutation(len(trials))
    first = len(trials) // 2
    return trials[order[:first]].mean(0), trials[order[first:]].mean(0)


def _check(source: Floats, target: Floats, n_halvings: int) -> None:
    if target.ndim != 3 or source.ndim not in (2, 3) or source.shape[-2] != target.shape[1]:
        raise ValueError(
            "source must be (n_trials, n_bins, n_sources) or (n_bins, n_sources) and target "
            f"(n_trials, n_bins, n_cells) of the same bins, got {source.shape} and {target.shape}"
        )
    if len(target) < 2 or (source.ndim == 3 and len(source) < 2):
        raise ValueError(f"halves need two trials, got {source.shape} and {target.shape}")
    if n_halvings < 1:
        raise ValueError(f"there must be at least one halving, not {n_halvings}")
