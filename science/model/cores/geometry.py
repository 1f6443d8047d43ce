"""Where in the image a place of the feature map lies, and the other way round."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class MapGeometry:
    """The grid of a core's map in the image; (0, 0) is the centre of the top left pixel.

    Attributes
    ----------
    height, width : int
        Of the map.
    first : float
        Row and column of the centre of what the map's first element sees, pixels.
    stride : int
        Pixels from one element to the next.
    """

    height: int
    width: int
    first: float
    stride: int = 1

    def to_pixels(self, positions: Tensor) -> Tensor:
        """Image coordinates of places of the map.

        Parameters
        ----------
        positions : Tensor
            float, (n, 2), x = width and y = height, in [-1, 1] from the first to the last element.

        Returns
        -------
        Tensor
            float, (n, 2), x and y, pixels.
        """
        return self.first + self.stride * (positions + 1) / 2 * self._last(positions)

    def to_map(self, pixels: Tensor) -> Tensor:
        """Places of the map, float, (n, 2): the inverse of `to_pixels`; 0 along an axis of 1."""
        element = (pixels - self.first) / self.stride
        last = self._last(pixels)
        return (2 * element / last.clamp(min=1) - 1) * (last > 0)

    def _last(self, like: Tensor) -> Tensor:
        return like.new_tensor([self.width - 1, self.height - 1])
