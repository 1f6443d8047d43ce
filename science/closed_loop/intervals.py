"""Bootstrap intervals over neurons."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from science.blocks import blocks

Floats = NDArray[np.float64]


def percentile_interval(
    statistic: Callable[..., Floats], *samples: Floats, n_bootstrap: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Draw neurons with replacement; return the middle 95 % of a statistic of them.

    Parameters
    ----------
    statistic
        Of samples (n_draws, n) and `axis`; returns (n_draws,).
    *samples
        float64, (n,) each: the same neurons, which are drawn together.
    n_bootstrap
        Draws.
    rng
        Source of randomness.

    Returns
    -------
    low, high : float
        NaN if the statistic of a draw is.
    """
    n = len(samples[0])
    values = np.empty(n_bootstrap)
    for draws in blocks(n_bootstrap, n):
        drawn = rng.integers(n, size=(draws.stop - draws.start, n))
        values[draws] = statistic(*(sample[drawn] for sample in samples), axis=1)
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
