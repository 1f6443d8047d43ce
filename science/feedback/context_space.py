"""The space of contexts: row-normalised 2 x 2 mixing matrices are points (a11, a21) of a square."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def context_grid(n: int = 20, det_threshold: float = 0.2) -> Floats:
    """Contexts on a regular grid of (a11, a21) in the unit square (naumann22 5).

    Parameters
    ----------
    n : int
        Points along each side, at least 2; the corners are among them.
    det_threshold : float
        Matrices with ``|det| = |a11 - a21|`` up to this are left out, >= 0.

    Returns
    -------
    ndarray
        float64, (n_contexts, 2, 2), rows sum to 1; a21 varies fastest. 272 by default.

    Raises
    ------
    ValueError
        If no matrix is left.
    """
    side = np.linspace(0, 1, n)
    first, second = (axis.ravel() for axis in np.meshgrid(side, side, indexing="ij"))
    kept = np.abs(first - second) > det_threshold
    if not kept.any():
        raise ValueError(
            f"no context of a {n} x {n} grid has |det| > {det_threshold:g}: use a finer grid or a "
            "lower threshold"
        )
    column = np.stack([first[kept], second[kept]], axis=-1)
    return np.stack([column, 1 - column], axis=-1)


def context_distance(context: ArrayLike, other: ArrayLike) -> Floats:
    """Frobenius norm of the difference of two mixing matrices (naumann22 5).

    Parameters
    ----------
    context, other : array_like
        float, (..., n_inputs, n_sources).

    Returns
    -------
    ndarray
        float64, (...), >= 0.
    """
    difference = np.asarray(context, np.float64) - np.asarray(other, np.float64)
    return np.linalg.norm(difference, axis=(-2, -1))


def same_side(context: ArrayLike, other: ArrayLike) -> NDArray[np.bool_]:
    """Whether two contexts lie on the same side of those that cannot be undone.

    Parameters
    ----------
    context, other : array_like
        float, (..., 2, 2), with rows that sum to 1.

    Returns
    -------
    ndarray
        bool, (...): equal signs of ``a11 - a21``, the determinant.
    """
    return np.sign(_determinant(context)) == np.sign(_determinant(other))


def _determinant(context: ArrayLike) -> Floats:
    context = np.asarray(context, np.float64)
    if context.shape[-2:] != (2, 2):
        raise ValueError(f"only contexts of two rows and columns have sides, got {context.shape}")
    return context[..., 0, 0] - context[..., 1, 0]
