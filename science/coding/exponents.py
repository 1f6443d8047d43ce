"""Power laws fitted in log-log, with bootstrapped intervals."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from science.blocks import blocks

Floats = NDArray[np.float64]
Interval = tuple[float, float]

MIN_GROUPS = 6
"""Fewer than that give draws of only one or two different groups too often for an interval."""

ROUNDING = 1e-12
"""Least standard error of an exponent, so that exact power laws get an interval too."""


UNKNOWN: Interval = (np.nan, np.nan)


class Undetermined(ValueError):
    """Values that are fine, but too few or too much alike to say anything."""


@dataclass(frozen=True)
class PowerLaw:
    """value = prefactor * predictor ** exponent.

    Attributes
    ----------
    exponent, prefactor : float
        Least squares of the logarithms.
    interval : tuple of float
        95 % of the exponent, NaN with fewer than `MIN_GROUPS` groups.
    exponent_variance : float
        Of classical least squares, which takes points for independent: too small where they are
        not. NaN with two points.
    correlation : float
        Of the logarithms, in [-1, 1]; its square is R^2. NaN where all values are equal.
    correlation_interval : tuple of float
        95 %, NaN as the other one.
    n_points : int
        In the fit.
    """

    exponent: float
    prefactor: float
    interval: Interval
    exponent_variance: float
    correlation: float
    correlation_interval: Interval
    n_points: int


def fit_power_law(
    predictor: ArrayLike,
    value: ArrayLike,
    group: ArrayLike | None = None,
    n_draws: int = 2000,
    seed: int = 0,
) -> PowerLaw:
    """Fit a power law; groups of points that belong together are drawn together.

    Parameters
    ----------
    predictor, value : array_like
        float, (n,), positive.
    group : array_like, optional
        (n,), which model, or what else makes errors of points alike, each point belongs to; None
        where points are independent.
    n_draws : int
        Bootstrap draws of groups, with replacement.
    seed : int
        Of the draws.

    Returns
    -------
    PowerLaw

    Raises
    ------
    ValueError
        If shapes differ, or a value is not positive and finite; `Undetermined` if there are fewer
        than two points, or all predictors are equal.

    Notes
    -----
    The interval of the exponent is the studentised bootstrap (Efron and Tibshirani 1993, ch. 12.5)
    with the cluster-robust standard error: of simulated sweeps of 6, 8 and 16 models it covers the
    true exponent in 92 to 93 %, where percentiles cover it in 83 to 90 %. That of the correlation
    is the percentile interval. Both need only sums over the points of each group. Draws in which
    all predictors are equal are left out.

    Examples
    --------
    >>> round(fit_power_law([1, 2, 4, 8], [3, 12, 48, 192]).exponent, 6)
    2.0
    """
    log_predictor, log_value = _logarithms(predictor, value)
    if np.ptp(log_predictor) == 0:
        raise Undetermined("a power law needs predictors that differ")
    group = np.arange(len(log_value)) if group is None else np.asarray(group)
    if group.shape != log_value.shape:
        raise ValueError(f"{len(log_value)} points need as many groups, got shape {group.shape}")
    mean_x, mean_y = log_predictor.mean(), log_value.mean()
    x, y = log_predictor - mean_x, log_value - mean_y
    _, group = np.unique(group, return_inverse=True)
    terms = (np.ones_like(x), x, y, x * x, x * y, y * y)
    sums = np.stack([np.bincount(group, term) for term in terms], axis=1)
    fit = _Lines.of(np.ones((1, len(sums))), sums)
    slope, r = fit.slope[0], fit.correlation[0]
    residual = np.square(y - slope * x).sum()
    variance = residual / (len(x) - 2) / (x @ x) if len(x) > 2 else np.nan
    interval, correlation_interval = _intervals(fit, sums, n_draws, seed)
    return PowerLaw(
        exponent=float(slope),
        prefactor=float(np.exp(mean_y - slope * mean_x)),
        interval=interval,
        exponent_variance=float(variance),
        correlation=float(r),
        correlation_interval=correlation_interval,
        n_points=len(x),
    )


def middle_95(values: Floats) -> Interval:
    """Middle 95 % of bootstrapped values.

    Parameters
    ----------
    values : ndarray
        float, (n_draws,), NaN in draws that tell nothing.

    Returns
    -------
    low, high : float
        NaN if all draws are.
    """
    known = values[~np.isnan(values)]
    if not len(known):
        return UNKNOWN
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)


@dataclass(frozen=True)
class _Lines:
    """Lines fitted to draws of groups, (n_draws,) each."""

    slope: Floats
    error: Floats
    correlation: Floats

    @classmethod
    def of(cls, counts: Floats, sums: Floats) -> "_Lines":
        """Fit one line per row of counts (n_draws, n_groups), from sums (n_groups, 6)."""
        n, x, y, xx, xy, yy = (counts @ sums).T
        mean_x, mean_y = x / n, y / n
        sxx, sxy, syy = xx - x * mean_x, xy - x * mean_y, yy - y * mean_y
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = np.where(sxx > 1e-12 * xx, sxy / sxx, np.nan)
            correlation = np.where(syy > 1e-12 * yy, sxy / np.sqrt(sxx * syy), np.nan)
            intercept = mean_y - slope * mean_x
            # Of each group: the sum of (x - mean x) (y - intercept - slope x).
            weights = [
                mean_x * intercept,
                mean_x * slope - intercept,
                -mean_x,
                -slope,
                np.ones_like(slope),
            ]
            scores = np.stack(weights, axis=1) @ sums[:, :5].T
            error = np.sqrt((counts * scores**2).sum(1)) / sxx
        return cls(slope, np.maximum(error, ROUNDING), np.clip(correlation, -1, 1))


def _intervals(fit: _Lines, sums: Floats, n_draws: int, seed: int) -> tuple[Interval, Interval]:
    """Of the exponent and of the correlation."""
    if len(sums) < MIN_GROUPS:
        return UNKNOWN, UNKNOWN
    rng = np.random.default_rng(seed)
    chances = np.full(len(sums), 1 / len(sums))
    t, r = np.empty(n_draws), np.empty(n_draws)
    for draws in blocks(n_draws, 2 * len(sums)):
        counts = rng.multinomial(len(sums), chances, draws.stop - draws.start).astype(np.float64)
        lines = _Lines.of(counts, sums)
        t[draws], r[draws] = (lines.slope - fit.slope) / lines.error, lines.correlation
    low, high = middle_95(t)
    slope, error = float(fit.slope[0]), float(fit.error[0])
    return (slope - high * error, slope - low * error), middle_95(r)


def _logarithms(predictor: ArrayLike, value: ArrayLike) -> tuple[Floats, Floats]:
    predictor, value = np.asarray(predictor, np.float64), np.asarray(value, np.float64)
    if predictor.ndim != 1 or predictor.shape != value.shape:
        raise ValueError(
            f"a power law needs predictors and values (n,), got shapes {predictor.shape} and "
            f"{value.shape}"
        )
    if len(value) < 2:
        raise Undetermined(f"a power law needs points, two at least, got {len(value)}")
    for numbers in (predictor, value):
        if not (np.isfinite(numbers).all() and (numbers > 0).all()):
            raise ValueError("a power law needs positive, finite numbers: leave out the others")
    return np.log(predictor), np.log(value)
