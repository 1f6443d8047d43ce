"""How reliably the units of recordings respond to repeated images."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from science import metrics
from science.blocks import blocks
from science.bootstrap import bootstrap_oracle
from science.oracle import (
    Bootstrap,
    LeaveOneOut,
    OracleParams,
    leave_one_out_oracle,
    leave_one_out_spearman,
    mean_ranks,
    repeat_draw_scores,
    unknown,
)

Trials = tuple[NDArray[np.floating], NDArray[np.integer]]
"""Responses (n_trials, n_units) of a recording, and which image each trial showed (n_trials,)."""


def unit_reliability(
    recordings: Sequence[Trials], params: OracleParams
) -> dict[str, NDArray[np.generic]]:
    """Measure how reliable the units of recordings are over repeated images.

    Parameters
    ----------
    recordings : sequence of (responses, image_index)
        float, (n_trials, n_units), finite, read one block of units at a time; int, (n_trials,).
    params : OracleParams
        The oracle method.

    Returns
    -------
    dict of str to array (n_units,)
        All units of the first recording, then those of the next; NaN where unknown. Of every
        method `oracle`, and of some `oracle_spearman` (leave one out), `oracle_p` (bootstrap) and
        `oracle_mean_rank` (repeat draw, over the units of all recordings). Of `science.metrics`
        `signal_power`, `fev` and `cc_max`; `fev_included` (bool), FEV above `params.min_fev`; and
        `reliable` (bool). In a recording with fewer than two repeated images nothing is known.
    """
    measured = [_measure(*recording, params) for recording in recordings]
    columns = {name: np.concatenate([m[name] for m in measured], -1) for name in measured[0]}
    draws = columns.pop("draws")
    return columns | {"oracle_mean_rank": mean_ranks(draws)}


def _measure(
    responses: NDArray[np.floating], image_index: NDArray[np.integer], params: OracleParams
) -> dict[str, NDArray[np.generic]]:
    """Measure one recording; `draws` (n_draws, n_units) are what mean ranks are made of."""
    n_trials, n_units = responses.shape
    measured = [
        _oracle(responses[:, units], image_index, params)
        | _ceiling(responses[:, units], image_index, params.min_fev)
        for units in blocks(n_units, n_trials)
    ]
    return {name: np.concatenate([m[name] for m in measured], -1) for name in measured[0]}


def _oracle(
    responses: NDArray[np.floating], image_index: NDArray[np.integer], params: OracleParams
) -> dict[str, NDArray[np.float64]]:
    nothing = unknown(responses)
    columns = {"oracle_spearman": nothing, "oracle_p": nothing, "draws": nothing[None]}
    if isinstance(params, LeaveOneOut):
        trials = responses, image_index, params.min_repeats
        columns["oracle_spearman"] = leave_one_out_spearman(*trials)
        return columns | {"oracle": leave_one_out_oracle(*trials)}
    if isinstance(params, Bootstrap):
        oracle, p = bootstrap_oracle(
            responses, image_index, params.min_repeats, params.n_draws, params.seed
        )
        return columns | {"oracle": oracle, "oracle_p": p}
    draws = repeat_draw_scores(responses, image_index, params.n_draws, params.seed)
    return columns | {"oracle": draws.mean(axis=0), "draws": draws}


def _ceiling(
    responses: NDArray[np.floating], image_index: NDArray[np.integer], min_fev: float
) -> dict[str, NDArray[np.generic]]:
    if n_repeated_images(image_index) < 2:
        nothing, no = unknown(responses), np.zeros(responses.shape[1], bool)
        names = ("signal_power", "fev", "cc_max")
        return dict.fromkeys(names, nothing) | {"fev_included": no, "reliable": no}
    fev = metrics.fev(responses, image_index)
    return {
        "signal_power": metrics.signal_power(responses, image_index),
        "fev": fev,
        "cc_max": metrics.cc_max(responses, image_index),
        "fev_included": fev > min_fev,
        "reliable": metrics.reliable(responses, image_index),
    }


def n_repeated_images(image_index: NDArray[np.integer]) -> int:
    """Return how many images occur more than once."""
    return int(np.count_nonzero(np.unique(image_index, return_counts=True)[1] > 1))


def rank_units(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return unit indices by descending score; NaN last, ties by index.

    Examples
    --------
    >>> rank_units(np.array([0.2, np.nan, 0.7]))
    array([2, 0, 1])
    """
    return np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")
