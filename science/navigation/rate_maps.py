"""Rate maps: of recorded cells from spikes and positions, of models by streaming."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage
from torch import Tensor

from science.navigation.bins import Bins
from science.navigation.rectangle import Rectangle
from science.navigation.track import SpikeTrains, Track, binned_spikes
from science.params import NonNegative, Params

Floats = NDArray[np.float64]


class RateMapParams(Params):
    """How rate maps are made from spikes and positions."""

    bin_cm: float = Field(5.0, gt=0, le=100, description="side of a bin, cm")
    smoothing_bins: float = Field(1.0, ge=0, le=20, description="sd of the Gaussian, bins")
    min_occupancy_s: NonNegative = Field(
        0.1, description="bins visited for less are NaN; bins never visited always are"
    )
    legacy: bool = Field(
        False,
        description="smooth the rate, 0 Hz where not visited, as mec 9 did, instead of spikes and "
        "time apart: no NaN, but rates at walls and beside gaps are too low",
    )


@dataclass(frozen=True, eq=False)
class RateMaps:
    """Rate maps of recorded cells.

    Attributes
    ----------
    rates : float64, (nx, ny, n_cells)
        Hz, first axis x; NaN where the animal was too little.
    occupancy : float64, (nx, ny)
        Seconds in each bin, unsmoothed.
    bins : Bins
        Where the bins lie.
    """

    rates: Floats
    occupancy: Floats
    bins: Bins


def rate_maps(
    track: Track,
    spikes: SpikeTrains,
    arena: Rectangle | None = None,
    params: RateMapParams | None = None,
) -> RateMaps:
    """Rate of every cell in every bin (mec 9).

    Parameters
    ----------
    track : Track
        Positions; samples where tracking was lost and their spikes do not count.
    spikes : SpikeTrains
        All cells.
    arena : Rectangle, optional
        What is divided into bins; positions outside do not count. Recordings to be compared bin
        by bin need the same one. By default, what was visited: for arenas of any shape.
    params : RateMapParams, optional
        Bins, smoothing and least occupancy.

    Raises
    ------
    ValueError
        If no known position lies in the arena.

    Examples
    --------
    An animal that sits in one place for ten seconds, with a cell of 2 Hz.

    >>> track = Track(np.arange(0, 10, 0.1), np.full((100, 2), 0.52))
    >>> spikes = SpikeTrains(np.arange(0.25, 10, 0.5), np.zeros(20, int), n_cells=1)
    >>> params = RateMapParams(smoothing_bins=0)
    >>> maps = rate_maps(track, spikes, Rectangle(width=2, height=2), params)
    >>> maps.rates.shape, round(np.nanmax(maps.rates), 6).item()
    ((40, 40, 1), 2.0)
    """
    params = params or RateMapParams()
    if arena is None:
        bins = Bins.around(track.positions, params.bin_cm)
    else:
        bins = Bins.of(arena, params.bin_cm)
    occupancy, counts = binned_spikes(track, spikes, bins.index(track.positions), bins.size)
    if not occupancy.any():
        raise ValueError(
            f"no position of the track lies in the arena, {arena}: check the units (metres) and "
            "the origin"
        )
    occupancy, counts = occupancy.reshape(bins.shape), counts.reshape(*bins.shape, spikes.n_cells)
    sigma = params.smoothing_bins
    with np.errstate(invalid="ignore", divide="ignore"):
        if params.legacy:
            rates = _smooth(np.nan_to_num(counts / occupancy[..., None]), sigma)
        else:
            rates = _smooth(counts, sigma) / _smooth(occupancy[..., None], sigma)
            rates[(occupancy == 0) | (occupancy < params.min_occupancy_s)] = np.nan
    return RateMaps(rates, occupancy, bins)


def _smooth(maps: Floats, sigma: float) -> Floats:
    return ndimage.gaussian_filter(maps, (sigma, sigma, 0), mode="constant")


class ModelRateMaps:
    """Mean activation of model units in every bin, from samples that come in batches (mec 7).

    Only sums and counts are kept: memory is proportional to bins x units, however many samples.

    Parameters
    ----------
    bins : Bins
        Samples outside are dropped.
    n_units : int
        Units of the layer.
    device : torch.device or str
        Where sums are kept; batches may come from anywhere.
    dtype : torch.dtype
        Of the sums: float64, unless the device has none.

    Examples
    --------
    >>> sums = ModelRateMaps(Bins.of(Rectangle(width=1, height=1)), n_units=3)
    >>> sums.add(torch.zeros(7, 2), torch.ones(7, 3))
    >>> sums.maps().shape
    torch.Size([20, 20, 3])
    """

    def __init__(
        self,
        bins: Bins,
        n_units: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        self.bins = bins
        self._edges = [
            torch.as_tensor(edges, dtype=dtype, device=device)
            for edges in (bins.x_edges, bins.y_edges)
        ]
        # The last row takes what lies outside: cheaper than to pick what lies inside.
        self._sums = torch.zeros(bins.size + 1, n_units, dtype=dtype, device=device)
        self._counts = torch.zeros(bins.size + 1, dtype=torch.int64, device=device)

    @torch.no_grad()
    def add(self, positions: Tensor, activations: Tensor) -> None:
        """Count a batch.

        Parameters
        ----------
        positions : Tensor
            float, (..., 2), metres, where each sample was taken: in mec after the move.
        activations : Tensor
            float, (..., n_units).

        Raises
        ------
        ValueError
            If the shapes do not fit.
        """
        n_units = self._sums.shape[1]
        if positions.shape[-1] != 2 or activations.shape != (*positions.shape[:-1], n_units):
            raise ValueError(
                f"positions must be (..., 2) and activations (..., {n_units}), got "
                f"{tuple(positions.shape)} and {tuple(activations.shape)}"
            )
        index = self._index(positions.reshape(-1, 2).to(self._sums))
        self._sums.index_add_(0, index, activations.reshape(-1, n_units).to(self._sums))
        self._counts.index_add_(0, index, torch.ones_like(index))

    def _index(self, positions: Tensor) -> Tensor:
        """Flat bin of each position, (n,); the number of bins outside."""
        flat = torch.zeros(len(positions), dtype=torch.int64, device=positions.device)
        inside = torch.ones_like(flat, dtype=torch.bool)
        for edges, values in zip(self._edges, positions.T.contiguous(), strict=True):
            n_bins = len(edges) - 1
            flat *= n_bins
            flat += (torch.bucketize(values, edges, right=True) - 1).clamp(0, n_bins - 1)
            inside &= (values >= edges[0]) & (values <= edges[-1])
        return flat.where(inside, self.bins.size)

    @property
    def counts(self) -> Tensor:
        """Samples in each bin, int64, (nx, ny)."""
        return self._counts[:-1].reshape(self.bins.shape)

    def maps(self) -> Tensor:
        """Mean activations, (nx, ny, n_units), first axis x; NaN in bins without a sample."""
        means = self._sums[:-1] / self._counts[:-1, None]
        return means.reshape(*self.bins.shape, -1)
