"""How far outputs are from the sources, and effective weights from the inverse of the mixing."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def deviation(sources: ArrayLike, outputs: ArrayLike) -> Floats:
    """Euclidean distance of sources and outputs at every step (naumann22 5).

    Parameters
    ----------
    sources, outputs : array_like
        float, (..., n_samples, n_sources).

    Returns
    -------
    ndarray
        float64, (..., n_samples), >= 0.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    sources, outputs = np.asarray(sources, np.float64), np.asarray(outputs, np.float64)
    if sources.shape != outputs.shape:
        raise ValueError(f"outputs have the shape {outputs.shape}, sources {sources.shape}")
    return np.linalg.norm(sources - outputs, axis=-1)


def effective_weights(readout: ArrayLike, modulation: ArrayLike, feedforward: ArrayLike) -> Floats:
    """Map from inputs to outputs through a modulated linear population (naumann22 5).

    Parameters
    ----------
    readout : array_like
        float, (n_outputs, n_units), `Wro`; other directions of the population may be further rows.
    modulation : array_like
        float, (..., n_units), gains `m`, at any steps and in any contexts.
    feedforward : array_like
        float, (n_units, n_inputs), `W0`.

    Returns
    -------
    ndarray
        float64, (..., n_outputs, n_inputs), ``Wro diag(m) W0``.

    Raises
    ------
    ValueError
        If the numbers of units differ.
    """
    readout, modulation, feedforward = (
        np.asarray(values, np.float64) for values in (readout, modulation, feedforward)
    )
    if not readout.shape[-1] == modulation.shape[-1] == feedforward.shape[-2]:
        raise ValueError(
            f"readout {readout.shape}, modulation {modulation.shape} and feedforward weights "
            f"{feedforward.shape} disagree about the number of units"
        )
    return (readout * modulation[..., None, :]) @ feedforward


def inverse_distance(weights: ArrayLike, contexts: ArrayLike) -> Floats:
    """Distance of weights from those that undo the mixing.

    Parameters
    ----------
    weights : array_like
        float, (..., n_sources, n_inputs), of a `ModulationNet`, or `effective_weights`.
    contexts : array_like
        float, (..., n_inputs, n_sources), mixing matrices A; leading axes broadcast with those of
        `weights`: give an axis of 1 where a context lasts for many steps.

    Returns
    -------
    ndarray
        float64, (...), Frobenius norm of ``W - A^-1``, the pseudo-inverse if A is not square.

    Raises
    ------
    ValueError
        If the matrices do not fit.
    """
    weights, contexts = np.asarray(weights, np.float64), np.asarray(contexts, np.float64)
    if weights.shape[-2:] != contexts.shape[:-3:-1]:
        raise ValueError(
            f"weights {weights.shape} cannot be the inverse of contexts {contexts.shape}"
        )
    return np.linalg.norm(weights - np.linalg.pinv(contexts), axis=(-2, -1))
