"""Contexts: matrices that mix sources (naumann22 1)."""

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from science.params import NonNegative, Params

RandomSource: TypeAlias = np.random.Generator | np.random.RandomState

MAX_DRAWS = 10_000
"""Per context; beyond it a threshold is taken to be out of reach."""


class ContextParams(Params):
    """How contexts are drawn.

    Attributes
    ----------
    type : str
        "random_norm": uniform in 0 to 1, every row divided by its sum. "random": not divided. Only
        two sources and two inputs have the others. "scale", "scale_both": diagonal, of 0.3 to 3 and
        1, or 1 to 2. "interpolate", "interpolate_both": rows (a, 1 - a) and (1 - b, b), a of 0.2 to
        1, b 1 or of 0.2 to 1. "constant": always the same.
    min_determinant : float
        Square matrices whose absolute determinant is not larger are drawn again.
    """

    type: Literal[
        "random_norm",
        "random",
        "scale",
        "scale_both",
        "interpolate",
        "interpolate_both",
        "constant",
    ] = "random_norm"
    min_determinant: NonNegative = Field(0.2, lt=1)


def contexts(
    n: int, params: ContextParams, shape: tuple[int, int], rng: RandomSource
) -> NDArray[np.float32]:
    """Draw contexts.

    Parameters
    ----------
    n : int
        How many.
    params : ContextParams
        Of which kind.
    shape : tuple of int
        Inputs and sources.
    rng : Generator or RandomState
        From a ``RandomState`` the numbers are taken in the order of the original, for parity; as
        many as the original would take, if it were to draw these contexts in one call.

    Returns
    -------
    float32, (n, inputs, sources)

    Raises
    ------
    ValueError
        If the kind has no contexts of this shape, or none of such a determinant.
    """
    general = params.type in ("random", "random_norm")
    if not general and shape != (2, 2):
        raise ValueError(
            f"contexts of the type {params.type!r} mix two sources into two inputs, not {shape[1]} "
            f"into {shape[0]}: use 'random_norm' or 'random'"
        )
    kept = np.empty((0, *shape), np.float32)
    for _ in range(MAX_DRAWS):
        # as many as are missing: never more than one call per context would draw
        drawn = _draw(n - len(kept), params.type, shape, rng).astype(np.float32)
        if shape[0] == shape[1]:
            determinant = np.linalg.det(drawn.astype(np.float64))
            drawn = drawn[np.abs(determinant) > params.min_determinant]
        kept = np.concatenate([kept, drawn])
        if len(kept) == n:
            return kept
    raise ValueError(
        f"contexts of the type {params.type!r} hardly ever have a determinant above "
        f"{params.min_determinant:g}: lower min_determinant"
    )


def inverses(mixing: NDArray[np.floating]) -> NDArray[np.float64]:
    """Pseudoinverses, (..., sources, inputs), of contexts, (..., inputs, sources)."""
    return np.linalg.pinv(np.asarray(mixing, np.float64))


def _draw(n: int, kind: str, shape: tuple[int, int], rng: RandomSource) -> NDArray[np.float64]:
    if kind in ("random", "random_norm"):
        matrices = rng.uniform(size=(n, *shape))
        return matrices / matrices.sum(2, keepdims=True) if kind == "random_norm" else matrices
    if kind == "constant":
        return np.tile([[0.8, 0.2], [0.5, 0.5]], (n, 1, 1))
    low, high = ((0.3, 1), (3, 2)) if kind.startswith("scale") else ((0.2, 0.2), (1, 1))
    both = kind.endswith("both")
    drawn = rng.uniform(low[: 1 + both], high[: 1 + both], (n, 1 + both))
    first, second = drawn.T if both else (drawn[:, 0], np.ones(n))
    if kind.startswith("scale"):
        entries = [first, 0 * first, 0 * first, second]
    else:
        entries = [first, 1 - first, 1 - second, second]
    return np.stack(entries, 1).reshape(n, 2, 2)
