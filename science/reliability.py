"""How reliably units respond to repeated images, and which of them are worth studying."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from science.metrics import cc_max, correlation, fev, reliable, signal_power
from science.params import Params


class OracleParams(Params):
    """How the oracle score is computed.

    Attributes
    ----------
    method : {'leave_one_out'}
        Each trial is predicted by the mean of the other trials of its image (microns_vei 6).
    min_repeats : int
        Images shown less often are left out.
    """

    method: Literal["leave_one_out"] = "leave_one_out"
    min_repeats: int = Field(4, ge=2)


class SelectionParams(Params):
    """Which units of a dataset MEIs are made for.

    Attributes
    ----------
    top_fraction : float
        Keep this fraction of the units, best oracle first.
    only_reliable : bool
        Keep only units whose responses depend on the image (F-test, `science.metrics`).
    max_units : int, optional
        Keep at most so many.
    block_size : int
        How many units are optimised in one batch.
    """

    top_fraction: float = Field(1.0, gt=0.0, le=1.0)
    only_reliable: bool = True
    max_units: int | None = Field(None, ge=1)
    block_size: int = Field(64, ge=1, le=4096)


def leave_one_out_oracle(
    responses: NDArray[np.floating], image_index: NDArray[np.integer], min_repeats: int = 4
) -> NDArray[np.float64]:
    """Correlate each trial with the mean of the other trials of the same image.

    Parameters
    ----------
    responses : float, (n_trials, n_units)
    image_index : int, (n_trials,)
        Which image each trial showed; repeats may be unequal.
    min_repeats : int
        Images with fewer trials are left out.

    Returns
    -------
    float64, (n_units,)
        Pearson correlation over trials and images; NaN where the unit or its leave-one-out means
        are constant, and for every unit when fewer than two images are repeated often enough.

    Notes
    -----
    microns_vei 6, with the (n-1)/n factor of its correlation corrected. With a single image the
    score is -1 by construction and says nothing, hence NaN.
    """
    _, image, counts = np.unique(image_index, return_inverse=True, return_counts=True)
    kept = counts[image] >= min_repeats
    if np.count_nonzero(counts >= min_repeats) < 2:
        return np.full(responses.shape[1], np.nan)
    y = responses[kept].astype(np.float64)
    _, image, counts = np.unique(image[kept], return_inverse=True, return_counts=True)
    totals = np.zeros((len(counts), y.shape[1]))
    np.add.at(totals, image, y)
    others = (totals[image] - y) / (counts[image] - 1)[:, None]
    return correlation(y, others)


def unit_reliability(
    responses: NDArray[np.floating], image_index: NDArray[np.integer], params: OracleParams
) -> dict[str, NDArray[np.generic]]:
    """Measure how reliable units are over repeated images.

    Parameters
    ----------
    responses : float, (n_trials, n_units)
    image_index : int, (n_trials,)

    Returns
    -------
    dict of str to array (n_units,)
        `oracle`, `signal_power`, `fev`, `cc_max` (NaN where unknown), `reliable` (bool); all
        unknown when fewer than two images are repeated.
    """
    if n_repeated_images(image_index) < 2:
        unknown = np.full(responses.shape[1], np.nan)
        names = ("oracle", "signal_power", "fev", "cc_max")
        return dict.fromkeys(names, unknown) | {"reliable": np.zeros(len(unknown), bool)}
    return {
        "oracle": leave_one_out_oracle(responses, image_index, params.min_repeats),
        "signal_power": signal_power(responses, image_index),
        "fev": fev(responses, image_index),
        "cc_max": cc_max(responses, image_index),
        "reliable": reliable(responses, image_index),
    }


def n_repeated_images(image_index: NDArray[np.integer]) -> int:
    """Return how many images occur more than once."""
    return int(np.count_nonzero(np.unique(image_index, return_counts=True)[1] > 1))


def rank_units(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return unit indices by descending score; NaN last, ties by index."""
    return np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")


def select_units(
    ranked: NDArray[np.integer], reliable: NDArray[np.bool_], params: SelectionParams
) -> NDArray[np.int64]:
    """Apply a selection rule to ranked units.

    Parameters
    ----------
    ranked : int, (n_units,)
        Unit indices, best first.
    reliable : bool, (n_units,)
        By unit index.

    Returns
    -------
    int64, (n_selected,)
        Unit indices, best first; possibly empty.
    """
    kept = ranked[: int(np.ceil(params.top_fraction * len(ranked)))]
    if params.only_reliable:
        kept = kept[reliable[kept]]
    return np.asarray(kept[: params.max_units], np.int64)
