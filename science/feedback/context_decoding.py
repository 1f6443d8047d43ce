"""Linear decoding of the context from the mean activity in it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from science.feedback.linear_map import fit_linear_map, r_squared
from science.params import Params

Floats = NDArray[np.float64]


class ContextDecodingParams(Params):
    """What of a context is decoded, from what, and how the decoder is tested."""

    target: Literal["context", "inverse"] = Field(
        "context", description="(a11, a21), or the four entries of the inverse matrix"
    )
    features: Literal["linear", "quadratic"] = Field(
        "linear", description="mean activity, or with all its products and squares"
    )
    n_folds: int = Field(5, ge=2)
    seed: int = Field(0, ge=0, description="of the order in which contexts are dealt into folds")


@dataclass(frozen=True, eq=False)
class ContextDecoding:
    """How well contexts are decoded that the decoder was not fitted to.

    Attributes
    ----------
    r2 : ndarray
        float64, (..., n_folds, n_targets), in the contexts of each fold.
    decoded : ndarray
        float64, (..., n_contexts, n_targets), of every context by the decoder of the other folds.
    """

    r2: Floats
    decoded: Floats

    @property
    def score(self) -> Floats:
        """Mean over folds and targets, (...)."""
        return self.r2.mean((-2, -1))


def mean_activity(activity: ArrayLike, n_last: int = 500) -> Floats:
    """Mean of the last samples of each context, when feedback has settled (naumann22 5).

    Parameters
    ----------
    activity : array_like
        float, (..., n_samples, n_units), of a population or of modulation units.
    n_last : int
        Samples, from 1 to all.

    Returns
    -------
    ndarray
        float64, (..., n_units).

    Raises
    ------
    ValueError
        If there are not so many samples.
    """
    activity = np.asarray(activity)
    if activity.ndim < 2 or not 0 < n_last <= activity.shape[-2]:
        raise ValueError(f"there are no last {n_last} samples in activity {activity.shape}")
    return activity[..., -n_last:, :].mean(-2, dtype=np.float64)


def decode_context(
    activity: ArrayLike, contexts: ArrayLike, params: ContextDecodingParams | None = None
) -> ContextDecoding:
    """Decode contexts by least squares, with cross-validation (naumann22 5).

    Parameters
    ----------
    activity : array_like
        float, (..., n_contexts, n_units), from `mean_activity`; leading axes are models.
    contexts : array_like
        float, (n_contexts, 2, 2), rows sum to 1, for instance of `context_grid`.
    params : ContextDecodingParams, optional

    Returns
    -------
    ContextDecoding

    Raises
    ------
    ValueError
        If shapes do not fit, activity is not finite, or a fold would have fewer than two contexts.
    """
    params = params or ContextDecodingParams()
    activity, contexts = np.asarray(activity, np.float64), np.asarray(contexts, np.float64)
    if contexts.ndim != 3 or contexts.shape[-2:] != (2, 2):
        raise ValueError(f"contexts must be (n_contexts, 2, 2), got {contexts.shape}")
    n_contexts = len(contexts)
    if activity.ndim < 2 or activity.shape[-2] != n_contexts:
        raise ValueError(f"activity {activity.shape} is not that of {n_contexts} contexts")
    if n_contexts < 2 * params.n_folds:
        raise ValueError(f"{n_contexts} contexts are fewer than two for each of {params.n_folds}")
    features = _with_products(activity) if params.features == "quadratic" else activity
    wanted = np.linalg.inv(contexts) if params.target == "inverse" else contexts[:, :, 0]
    wanted = wanted.reshape(n_contexts, -1)
    targets = np.broadcast_to(wanted, (*activity.shape[:-1], wanted.shape[-1]))
    # The grid is in order: neighbouring contexts in one fold would have to be extrapolated.
    order = np.random.default_rng(params.seed).permutation(n_contexts)
    decoded, scores = np.empty_like(targets), []
    for test in np.array_split(order, params.n_folds):
        train = np.setdiff1d(order, test)
        decoder = fit_linear_map(features[..., train, :], targets[..., train, :])
        decoded[..., test, :] = decoder(features[..., test, :])
        scores.append(r_squared(targets[..., test, :], decoded[..., test, :]))
    return ContextDecoding(np.stack(scores, axis=-2), decoded)


def _with_products(activity: Floats) -> Floats:
    """Activity and the products of all pairs of units, squares among them."""
    first, second = np.triu_indices(activity.shape[-1])
    return np.concatenate([activity, activity[..., first] * activity[..., second]], axis=-1)
