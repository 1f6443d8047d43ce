"""Rate-distortion curve of a sweep of target rates (neural_vae 0 and 7)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RateDistortionCurve:
    """Rates and distortions that a sweep reached, over the models of each target rate, nats.

    Attributes
    ----------
    n_models : ndarray
        int64, (n_targets,).
    rate, rate_sd, distortion, distortion_sd : ndarray
        float64, (n_targets,), mean, NaN without models, and standard deviation, NaN for one.
    excess, excess_sd : ndarray
        float64, (n_targets,), of D + R - H: how far a model is above the ideal line D = H - R.
    on_front : ndarray
        bool, (n,), models that no other model of any target beats.
    """

    n_models: NDArray[np.int64]
    rate: Floats
    rate_sd: Floats
    distortion: Floats
    distortion_sd: Floats
    excess: Floats
    excess_sd: Floats
    on_front: NDArray[np.bool_]


def excess_over_ideal(rate: ArrayLike, distortion: ArrayLike, entropy: float) -> Floats:
    """How far models are above the ideal line D = H - R.

    Parameters
    ----------
    rate, distortion : array_like
        float, of one shape, nats.
    entropy : float
        Differential entropy of the stimulus prior, nats.

    Returns
    -------
    ndarray
        float64, of that shape, D + R - H in nats: the KL divergence of the generated law from the
        prior, plus that of the encoder from the posterior over words, on average over stimuli. It
        is negative where training fits the few stimuli it saw better than their prior allows.

    Examples
    --------
    >>> excess_over_ideal(rate=[1.0, 1.0], distortion=[1.0, 1.5], entropy=2.0)
    array([0. , 0.5])
    """
    return np.asarray(distortion, np.float64) + np.asarray(rate, np.float64) - entropy


def non_dominated(rate: ArrayLike, distortion: ArrayLike) -> NDArray[np.bool_]:
    """Find the models that no other one beats: no lower rate at as low a distortion, or reverse.

    Parameters
    ----------
    rate, distortion : array_like
        float, (n,), nats, finite.

    Returns
    -------
    ndarray
        bool, (n,). Of equal models all are on the front, or none.

    Raises
    ------
    ValueError
        If the shapes differ or a value is not finite.

    Examples
    --------
    >>> non_dominated(rate=[1, 2, 2], distortion=[3, 1, 2])
    array([ True,  True, False])
    """
    rate, distortion = np.asarray(rate, np.float64), np.asarray(distortion, np.float64)
    if rate.ndim != 1 or rate.shape != distortion.shape:
        raise ValueError(f"rate and distortion must be (n,), got {rate.shape}, {distortion.shape}")
    if not (np.isfinite(rate).all() and np.isfinite(distortion).all()):
        raise ValueError("rates and distortions must be finite: leave out models that diverged")
    order = np.lexsort((distortion, rate))
    by_rate = distortion[order]
    before = np.minimum.accumulate(np.append(np.inf, by_rate[:-1]))
    first = by_rate < before
    # A model that equals the last one of the front is as good as that one.
    last = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
    equal = (by_rate == by_rate[last]) & (rate[order] == rate[order][last])
    front = np.empty(len(order), bool)
    front[order] = first | equal
    return front


def rate_distortion_curve(
    rate: ArrayLike, distortion: ArrayLike, target: ArrayLike, n_targets: int, entropy: float
) -> RateDistortionCurve:
    """Summarise the models of every target rate.

    Parameters
    ----------
    rate, distortion : array_like
        float, (n,), nats, of trained models.
    target : array_like
        int, (n,), which target rate a model was trained to, from 0; not all have as many.
    n_targets : int
        Number of target rates.
    entropy : float
        Differential entropy of the stimulus prior, nats.

    Returns
    -------
    RateDistortionCurve

    Raises
    ------
    ValueError
        If the shapes differ, a value is not finite, or a target is not below `n_targets`.
    """
    rate, distortion = np.asarray(rate, np.float64), np.asarray(distortion, np.float64)
    target = np.asarray(target, np.int64)
    on_front = non_dominated(rate, distortion)
    if target.shape != rate.shape or ((target < 0) | (target >= n_targets)).any():
        raise ValueError(f"each of {len(rate)} models needs its target, one of {n_targets}")
    excess = excess_over_ideal(rate, distortion, entropy)
    n_models = np.bincount(target, minlength=n_targets)
    moments = [
        m for values in (rate, distortion, excess) for m in _mean_and_sd(values, target, n_models)
    ]
    return RateDistortionCurve(n_models, *moments, on_front=on_front)


def _mean_and_sd(
    values: Floats, target: NDArray[np.int64], n_models: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.bincount(target, values, len(n_models)) / n_models
        squares = np.bincount(target, (values - mean[target]) ** 2, len(n_models))
        return mean, np.sqrt(squares / np.maximum(n_models - 1, 0))
