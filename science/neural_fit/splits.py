"""Which bins of a rate map train a fit and which test it (mec 8.3)."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, isqrt

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Shape = tuple[int, int]


@dataclass(frozen=True)
class Split:
    """Bins by their position among those kept.

    Attributes
    ----------
    train : int64, (n_train,)
    test : int64, (n_test,)
    """

    train: Indices
    test: Indices


def make_splits(
    n_bins: int,
    train_frac: float | str = 0.2,
    n_splits: int = 10,
    start_seed: int = 0,
    shape: Shape | None = None,
) -> list[Split]:
    """Split bins at random, or along lines of the arena.

    Parameters
    ----------
    n_bins : int
        Bins that are kept.
    train_frac : float or str
        Fraction of the bins that train, between 0 and 1, drawn anew for each split; or which part
        of the arena is predicted from the rest. With the first axis as rows (x, in rate maps):
        'topbottom' the halves of the rows, 'leftright' of the columns, 'diag1' the triangle above
        the diagonal with it and the one below, 'diag2' the same of the map flipped left to right:
        each gives two splits, there and back. 'quad': four splits, each tests one quadrant.
    n_splits : int
        Of random splits.
    start_seed : int
        Split s is drawn from seed `start_seed + s`.
    shape : tuple of int, optional
        Rows and columns of the map, for the parts of the arena; else it must be a square.

    Returns
    -------
    list of Split

    Raises
    ------
    ValueError
        A fraction that leaves no training or no test bin, an unknown name, or bins that do not fill
        the map: one that is NaN anywhere cuts a hole into it.
    """
    if isinstance(train_frac, str):
        return _structured(train_frac, n_bins, shape)
    if not 0 <= train_frac <= 1:
        raise ValueError(f"train_frac={train_frac:g} is no fraction: give one between 0 and 1")
    if n_splits < 1:
        raise ValueError(f"there must be at least one split, not {n_splits}")
    n_train = ceil(train_frac * n_bins)
    if not 1 < n_train < n_bins - 1:
        raise ValueError(
            f"train_frac={train_frac:g} of {n_bins} bins leaves {n_train} to train and "
            f"{n_bins - n_train} to test: both need at least 2"
        )
    return [_random(n_bins, n_train, start_seed + s) for s in range(n_splits)]


def _random(n_bins: int, n_train: int, seed: int) -> Split:
    # the legacy generator of the original: the same seeds give the same bins
    order = np.random.RandomState(seed).permutation(n_bins)
    return Split(order[:n_train], order[n_train:])


def _structured(name: str, n_bins: int, shape: Shape | None) -> list[Split]:
    rows, columns = shape or (isqrt(n_bins),) * 2
    if rows * columns != n_bins:
        wanted = f"{shape[0]} x {shape[1]}" if shape else "square"
        raise ValueError(
            f"{n_bins} bins do not fill a {wanted} map, which train_frac={name!r} divides: give "
            "shape_2d, and maps without NaN"
        )
    splits = list(_parts(name, np.arange(n_bins).reshape(rows, columns)))
    if min(min(len(split.train), len(split.test)) for split in splits) < 2:
        raise ValueError(f"a map of {rows} x {columns} bins is too small for {name!r}")
    return splits


def _parts(name: str, bins: Indices) -> Iterator[Split]:
    row, column = np.indices(bins.shape)
    top, left = row < bins.shape[0] // 2, column < bins.shape[1] // 2
    if name == "quad":
        for test in (top & left, top & ~left, ~top & left, ~top & ~left):
            yield Split(bins[~test], bins[test])
        return
    flipped = bins[:, ::-1]
    above = column >= row
    halves = {
        "topbottom": (bins[top], bins[~top]),
        "leftright": (bins[left], bins[~left]),
        "diag1": (bins[above], bins[~above]),
        "diag2": (flipped[above], flipped[~above]),
    }
    if name not in halves:
        raise ValueError(f"there is no split {name!r}: use {', '.join(halves)}, quad or a fraction")
    first, second = halves[name]
    yield Split(first, second)
    yield Split(second, first)
