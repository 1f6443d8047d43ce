"""What a network is to report of its position: place cells, or the position itself (mec 4)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from torch import Tensor

from science.navigation.rectangle import Rectangle
from science.params import Params, Positive


class PlaceCellParams(Params):
    """Place cells scattered over a box; the defaults are those of the original (mec 4).

    Attributes
    ----------
    n_cells : int
        At least three: so many are needed to read the position back.
    field_width : float
        Standard deviation s of the Gaussian field, metres.
    surround : bool
        Whether a wider field is subtracted.
    surround_scale : float
        Variance of the wider field over that of the narrow one, above 1.
    seed : int
        Of the centres.
    """

    type: Literal["place_cells"] = "place_cells"
    n_cells: int = Field(512, ge=3)
    field_width: Positive = 0.12
    surround: bool = True
    surround_scale: float = Field(2.0, gt=1)
    seed: int = Field(0, ge=0)


class PositionParams(Params):
    """No place cells: the network reports x and y."""

    type: Literal["position"] = "position"


def place_cell_centers(
    params: PlaceCellParams, arena: Rectangle, uniforms: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Scatter the centres of the place cells over a box.

    The same uniform numbers serve every box, so that another box rescales the centres: that is
    what the original does wherever it evaluates a network (mec 4, mec 16.4).

    Parameters
    ----------
    params : PlaceCellParams
        How many cells, and the seed.
    arena : Rectangle
        Box to scatter them over.
    uniforms : array_like, optional
        float, (n_cells, 2), in [0, 1], x and y, in place of the seeded ones: the original's come
        from TensorFlow.

    Returns
    -------
    ndarray
        float64, (n_cells, 2), metres.

    Raises
    ------
    ValueError
        If `uniforms` are not (n_cells, 2) or not in [0, 1].
    """
    if uniforms is None:
        uniforms = np.random.default_rng(params.seed).random((params.n_cells, 2))
    uniforms = np.asarray(uniforms, np.float64)
    if uniforms.shape != (params.n_cells, 2) or not ((uniforms >= 0) & (uniforms <= 1)).all():
        raise ValueError(
            f"the uniforms of {params.n_cells} place cells must be ({params.n_cells}, 2) in "
            f"[0, 1], got {uniforms.shape}"
        )
    low, high = arena.corners
    return low + (high - low) * uniforms


@dataclass(frozen=True, eq=False)
class PlaceCells:
    """Place cells: from positions to their activity, and back.

    Attributes
    ----------
    centers : Tensor, (n_cells, 2)
        Metres; their dtype (float64 for parity, float32 for training) and device are those of all
        results.
    params : PlaceCellParams
        Shape of the fields.
    """

    centers: Tensor
    params: PlaceCellParams

    @property
    def n_outputs(self) -> int:
        """Length of the code."""
        return len(self.centers)

    @property
    def dtype(self) -> torch.dtype:
        """Of all results."""
        return self.centers.dtype

    @property
    def device(self) -> torch.device:
        """Of all results."""
        return self.centers.device

    def encode(self, positions: Tensor) -> Tensor:
        """Activity of the place cells.

        With a surround it is the difference of two softmaxes, not of two Gaussians, lifted to 0
        and normalised (mec 4): close to uniform, so that the cross entropy of a perfect
        network is only 0.09 nats below that of one that knows nothing. Far outside the box of the
        place cells it is uniform: there they tell nothing.

        Parameters
        ----------
        positions : Tensor, (..., 2)
            Metres.

        Returns
        -------
        Tensor, (..., n_cells)
            Not negative, of sum 1.
        """
        positions = positions.to(self.centers)
        squared = (positions[..., :1] - self.centers[:, 0]).square_()
        squared += (positions[..., 1:] - self.centers[:, 1]).square_()
        squared *= -0.5 / self.params.field_width**2
        code = torch.softmax(squared, -1)
        if self.params.surround:
            squared /= self.params.surround_scale
            code -= torch.softmax(squared, -1)
            lowest = code.amin(-1, keepdim=True)
            code -= torch.where(lowest < 0, lowest, -1.0)  # uniform where nothing differs
            code /= code.sum(-1, keepdim=True)
        return code

    def decode(self, activity: Tensor) -> Tensor:
        """Position read from the activity of the place cells, or from a network's logits.

        Parameters
        ----------
        activity : Tensor, (..., n_cells)
            Any monotonic function of the activity.

        Returns
        -------
        Tensor, (..., 2)
            Mean of the centres of the three most active cells, metres.

        Notes
        -----
        Where only one or two cells are near, as in thin corners of the box, the surround presses
        the next ones below silent cells far away: with the default 512 cells, about 0.4 % of the
        positions are read wrongly by up to 0.8 m even from the exact code.
        """
        return self.centers[activity.topk(3, -1).indices].mean(-2)


@dataclass(frozen=True)
class Position:
    """The position itself as the code.

    Attributes
    ----------
    dtype, device
        Of all results.
    """

    dtype: torch.dtype
    device: str | torch.device

    @property
    def n_outputs(self) -> int:
        """Length of the code."""
        return 2

    def encode(self, positions: Tensor) -> Tensor:
        """Return the positions (..., 2), metres."""
        return positions.to(self.device, self.dtype)

    def decode(self, activity: Tensor) -> Tensor:
        """Return the activity (..., 2), metres."""
        return activity
