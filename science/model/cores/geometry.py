"""Where in the image a place of the feature map lies."""

from torch import Tensor


def map_to_pixels(
    positions: Tensor, map_shape: tuple[int, int, int], first: float, stride: int = 1
) -> Tensor:
    """Centre, in the image, of what a place of the map sees.

    Parameters
    ----------
    positions : Tensor
        float, (n, 2), x = width and y = height, in [-1, 1] from the first to the last element.
    map_shape : tuple of int
        (channels, height, width) of the map.
    first : float
        Image coordinate of the first element before pooling, pixels.
    stride : int
        Pixels pooled into one element.

    Returns
    -------
    Tensor
        float, (n, 2), x and y in pixels; the centre of the top left pixel is (0, 0).
    """
    last = positions.new_tensor([map_shape[2] - 1, map_shape[1] - 1])
    element = (positions + 1) / 2 * last
    return first + (stride - 1) / 2 + stride * element
