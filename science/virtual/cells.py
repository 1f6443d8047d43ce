"""The kinds of cells: which filters each has, and how their responses make its drive.

An image in units of contrast, x, drives a cell by d. Filters w and their quadrature partners q have
zero mean and unit norm, n is the square root of the contrast in the pool (`VirtualAnimal`), and
``|f.x|`` is the amplitude ``sqrt((w.x)**2 + (q.x)**2)`` of a pair.

- simple: ``d = w.x / n``, w a Gabor
- complex: ``d = |f.x| / n``, f a Gabor pair (Adelson & Bergen 1985, J Opt Soc Am A 2:284)
- curved: ``d = w.x / n``, w a Gabor in the polar coordinates of a circle: its bars are arcs
  (Gallant, Braun & Van Essen 1993, Science 259:100)
- crossed: ``d = w.x / n``, w the sum of two Gabors at right angles at one place (cells for crosses:
  Shevelev et al. 1995, Neuroscience 69:51)
- suppressed: ``d = |f.x| / sqrt(n**2 + (4 |s.x|)**2)``, f a Gabor pair and s the same over a larger
  place, the centre included, in units of rms contrast (Cavanaugh, Bair & Movshon 2002,
  J Neurophysiol 88:2530). The best image opposes the centre around it, so that s.x vanishes
- two_subunits: ``d = ([v.x] + [w.x]) / n``, v and w Gabors side by side at 45 to 90 degrees, [] a
  half-wave rectification (Vintch, Movshon & Simoncelli 2015, J Neurosci 35:14829; pairs of
  orientations: Anzai, Peng & Van Essen 2007, Nat Neurosci 10:1313)
- undriven: ``d = 0``

A Gabor is close to the best image of simple and complex cells, and far from that of the others.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from science.virtual.receptive_fields import Gabors, gabor_filters

_ELONGATION = 1.5  # of the bars of curved and crossed cells
_RADIUS = 1.2  # of a curved cell's arc, unit: sd along the bars
_SURROUND = 2.5  # size of a suppressed cell's surround, unit: its centre
_SUPPRESSION = 4.0  # of a suppressed cell, weight of the surround's contrast in the divisor
_SEPARATION = 2.0  # of two subunits along the bars, unit: their sd
_SOFTNESS = 0.1  # of their rectification, unit: response

Size = tuple[int, int]
Filters = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class CellType:
    """One kind of cell.

    Attributes
    ----------
    roles
        What the filters that drive the cell are, in order.
    filters
        Of Gabors, image size and source of randomness: at least as many filters as roles, each
        (n, height, width).
    drive
        Of the divisor and the responses of the filters, in the order of the roles, each
        (n_images, n).
    """

    roles: tuple[str, ...]
    filters: Callable[[Gabors, Size, np.random.Generator], Filters]
    drive: Callable[..., Tensor]


def make_filters(
    cells: Mapping[str, np.ndarray], gabors: Gabors, size: Size, rng: np.random.Generator
) -> np.ndarray:
    """Make the filters of all cells.

    Parameters
    ----------
    cells
        Indices of the cells of each kind.
    gabors
        Of all n cells.
    size
        Height and width, pixels.
    rng
        Source of randomness: of what the Gabors leave open.

    Returns
    -------
    float32 (n_filters, n, height, width)
        As many as the kind with the most needs, at least 2; zero where a cell has fewer.
    """
    made = {
        kind: CELL_TYPES[kind].filters(gabors.take(index), size, rng)
        for kind, index in cells.items()
    }
    filters = np.zeros((max(2, *map(len, made.values())), len(gabors), *size), np.float32)
    for kind, index in cells.items():
        for slot, values in zip(filters, made[kind], strict=False):
            slot[index] = values
    return filters


# ---------------------------------------------------------------- filters


def _gabor_pair(gabors: Gabors, size: Size, _: np.random.Generator) -> Filters:
    return gabor_filters(gabors, *size)


def _bent_gabor(gabors: Gabors, size: Size, rng: np.random.Generator) -> Filters:
    long = _elongated(gabors)
    radius = _RADIUS * long.sigma_v * rng.choice([-1, 1], len(gabors))
    return gabor_filters(long, *size, radius)[:1]


def _cross(gabors: Gabors, size: Size, rng: np.random.Generator) -> Filters:
    bar = _elongated(gabors)
    other = replace(_turned(bar, np.pi / 2), phase=_phases(len(bar), rng))
    cross = gabor_filters(bar, *size)[0] + gabor_filters(other, *size)[0]
    return (cross / np.linalg.norm(cross, axis=(1, 2), keepdims=True),)


def _centre_and_surround(gabors: Gabors, size: Size, _: np.random.Generator) -> Filters:
    surround = replace(
        gabors, sigma_u=_SURROUND * gabors.sigma_u, sigma_v=_SURROUND * gabors.sigma_v
    )
    # of unit norm, it responds to a grating of rms contrast 1 by the root of four times this area
    area = np.pi * surround.sigma_u * surround.sigma_v
    as_contrast = gabor_filters(surround, *size) / np.sqrt(4 * area)[:, None, None]
    return *gabor_filters(gabors, *size), *as_contrast


def _two_gabors(gabors: Gabors, size: Size, rng: np.random.Generator) -> Filters:
    n = len(gabors)
    half = _SEPARATION / 2 * gabors.sigma_v
    dx, dy = -half * np.sin(gabors.direction), half * np.cos(gabors.direction)
    turn = rng.uniform(np.pi / 4, np.pi / 2, n) * rng.choice([-1, 1], n)
    first = replace(gabors, x=gabors.x - dx, y=gabors.y - dy)
    second = replace(_turned(gabors, turn), x=gabors.x + dx, y=gabors.y + dy, phase=_phases(n, rng))
    return gabor_filters(first, *size)[0], gabor_filters(second, *size)[0]


def _no_filters(_gabors: Gabors, _size: Size, _rng: np.random.Generator) -> Filters:
    return ()


def _elongated(gabors: Gabors) -> Gabors:
    return replace(gabors, sigma_v=_ELONGATION * gabors.sigma_v)


def _turned(gabors: Gabors, angle: np.ndarray | float) -> Gabors:
    return replace(gabors, direction=gabors.direction + angle)


def _phases(n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0, 2 * np.pi, n)


# ---------------------------------------------------------------- drives


def _linear(divisor: Tensor, response: Tensor) -> Tensor:
    return response / divisor


def _phase_invariant(divisor: Tensor, even: Tensor, odd: Tensor) -> Tensor:
    return _amplitude(even, odd) / divisor


def _suppressed(
    divisor: Tensor, even: Tensor, odd: Tensor, surround_even: Tensor, surround_odd: Tensor
) -> Tensor:
    surround = _amplitude(surround_even, surround_odd)
    return _amplitude(even, odd) / torch.hypot(divisor, _SUPPRESSION * surround)


def _two_subunits(divisor: Tensor, first: Tensor, second: Tensor) -> Tensor:
    return (_rectified(first) + _rectified(second)) / divisor


def _undriven(divisor: Tensor) -> Tensor:
    return 0 * divisor


def _amplitude(even: Tensor, odd: Tensor) -> Tensor:
    return torch.sqrt(even**2 + odd**2 + 1e-12)  # no infinite gradient on grey


def _rectified(response: Tensor) -> Tensor:
    """Half-wave, 0 on grey, with a gradient everywhere: an ascent can start from any image."""
    return (response + torch.sqrt(response**2 + _SOFTNESS**2) - _SOFTNESS) / 2


CELL_TYPES: Mapping[str, CellType] = {
    "simple": CellType(("filter",), _gabor_pair, _linear),
    "complex": CellType(("even", "odd"), _gabor_pair, _phase_invariant),
    "curved": CellType(("filter",), _bent_gabor, _linear),
    "crossed": CellType(("filter",), _cross, _linear),
    "suppressed": CellType(
        ("centre even", "centre odd", "surround even", "surround odd"),
        _centre_and_surround,
        _suppressed,
    ),
    "two_subunits": CellType(("first", "second"), _two_gabors, _two_subunits),
    "undriven": CellType((), _no_filters, _undriven),
}
