"""Averages over stimuli that are drawn from their prior, or that carry its mass."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def stimulus_weights(n_stimuli: int, weights: ArrayLike | None = None) -> Floats:
    """Weights of stimuli in an average, which sum to 1.

    Parameters
    ----------
    n_stimuli : int
        At least 1.
    weights : array_like, optional
        float, (n_stimuli,), for instance the probabilities of a discretised prior; None for
        stimuli that were drawn from the prior and count alike.

    Returns
    -------
    ndarray
        float64, (n_stimuli,).

    Raises
    ------
    ValueError
        If there are no stimuli, or the weights are not one per stimulus, negative, not finite or
        all 0.
    """
    if n_stimuli < 1:
        raise ValueError("an average over stimuli needs at least one")
    weights = np.ones(n_stimuli) if weights is None else np.asarray(weights, np.float64)
    if weights.shape != (n_stimuli,):
        raise ValueError(f"{n_stimuli} stimuli need as many weights, got shape {weights.shape}")
    total = weights.sum()
    if not (np.isfinite(total) and total > 0 and (weights >= 0).all()):
        raise ValueError("weights of stimuli must be finite, not negative and not all 0")
    return weights / total
