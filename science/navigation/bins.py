"""The square bins that an arena is divided into."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from science.navigation.rectangle import Rectangle

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Bins:
    """A rectangle divided into nx x ny bins; the flat index of a bin is ``ix * ny + iy``.

    A bin holds its lower edges, the last one of an axis its upper edge too (mec 7).

    Attributes
    ----------
    x_edges, y_edges : float64, (nx + 1,) and (ny + 1,)
        Metres, increasing, equally spaced.
    """

    x_edges: Floats
    y_edges: Floats

    @classmethod
    def of(cls, arena: Rectangle, bin_cm: float = 5.0, *, legacy: bool = False) -> Self:
        """Divide an arena into bins as near as possible to a size.

        Parameters
        ----------
        arena : Rectangle
            Metres.
        bin_cm : float
            Wanted side of a bin, centimetres.
        legacy : bool
            Truncate the number of bins as the original did, where 1.15 m gave 22 bins of 5 cm
            for a rounding error (mec 7), instead of rounding it.

        Raises
        ------
        ValueError
            If the arena is smaller than half a bin.
        """
        if not bin_cm > 0:
            raise ValueError(f"bin_cm must be positive, got {bin_cm}")
        low, high = arena.corners
        # In the order of the original, whose product is 114.99999999999999 for 1.15 m.
        wanted = (high - low) * 100 / bin_cm
        n_bins = (np.trunc(wanted) if legacy else np.round(wanted)).astype(int)
        if not n_bins.all():
            raise ValueError(f"an arena of {arena} has no bin of {bin_cm} cm: choose less")
        edges = (np.linspace(*ends, n + 1) for *ends, n in zip(low, high, n_bins, strict=True))
        return cls(*edges)

    @classmethod
    def around(cls, positions: ArrayLike, bin_cm: float = 5.0) -> Self:
        """Cover all known positions with bins of exactly a size, the middle of both the same.

        For arenas of unknown or round shape: what was never visited stays NaN in the rate maps.

        Parameters
        ----------
        positions : array_like
            float, (n, 2), metres; NaN where unknown.
        bin_cm : float
            Side of a bin, centimetres.

        Raises
        ------
        ValueError
            If no position is known.
        """
        positions = np.asarray(positions, np.float64)
        known = positions[np.isfinite(positions).all(-1)]
        if not len(known):
            raise ValueError("no position is known: there is nothing to put bins around")
        low, high = known.min(0), known.max(0)
        # A hair less, so that rounding does not add a bin to an extent of whole bins.
        n_bins = np.maximum(1, np.ceil((high - low) * 100 / bin_cm - 1e-6))
        middle, half = (low + high) / 2, np.maximum(n_bins * bin_cm / 100, high - low) / 2
        edges = (
            np.linspace(*ends, int(n) + 1)
            for *ends, n in zip(middle - half, middle + half, n_bins, strict=True)
        )
        return cls(*edges)

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of bins, (nx, ny)."""
        return len(self.x_edges) - 1, len(self.y_edges) - 1

    @property
    def size(self) -> int:
        """Number of bins, nx * ny."""
        return self.shape[0] * self.shape[1]

    @property
    def width(self) -> float:
        """Side of a bin, metres, averaged over both axes."""
        return float(
            np.mean([self.x_edges[1] - self.x_edges[0], self.y_edges[1] - self.y_edges[0]])
        )

    @property
    def centres(self) -> Floats:
        """Middles of the bins, (nx, ny, 2), metres."""
        middles = ((edges[1:] + edges[:-1]) / 2 for edges in (self.x_edges, self.y_edges))
        return np.stack(np.meshgrid(*middles, indexing="ij"), -1)

    def index(self, positions: ArrayLike) -> NDArray[np.int64]:
        """Find the bins of positions.

        Parameters
        ----------
        positions : array_like
            float, (n, 2), metres.

        Returns
        -------
        ndarray
            int64, (n,), flat index; -1 outside the rectangle and where a coordinate is NaN.
        """
        positions = np.asarray(positions, np.float64)
        ix, iy = _cell(self.x_edges, positions[:, 0]), _cell(self.y_edges, positions[:, 1])
        return np.where((ix < 0) | (iy < 0), -1, ix * self.shape[1] + iy)


def _cell(edges: Floats, values: Floats) -> NDArray[np.int64]:
    """Interval of each value, -1 outside; NaN is sorted behind everything."""
    cell = np.searchsorted(edges, values, side="right") - 1
    cell[values == edges[-1]] = len(edges) - 2
    cell[cell > len(edges) - 2] = -1
    return cell
