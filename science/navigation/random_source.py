"""Where walks get their randomness: numpy's generators, new or in the order of the original."""

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

RandomSource: TypeAlias = np.random.Generator | np.random.RandomState


def random_source(seed: int | Sequence[int], legacy: bool = False) -> RandomSource:
    """Return a seeded source of random numbers.

    Parameters
    ----------
    seed : int or sequence of int
        Not negative; ``[seed, batch]`` makes every batch reproducible by itself.
    legacy : bool
        A ``RandomState``, whose numbers all functions of this package take in the order of the
        original (mec 3), for parity. A ``Generator`` is faster, and draws only what is used.
    """
    return np.random.RandomState(seed) if legacy else np.random.default_rng(seed)


def choose(n: int, probability: float, rng: RandomSource) -> NDArray[np.bool_]:
    """Choose ``ceil(probability n)`` of n walks at random; bool, (n,)."""
    chosen = np.zeros(n, bool)
    chosen[rng.permutation(n)[: math.ceil(probability * n)]] = True
    return chosen
