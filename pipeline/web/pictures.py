"""Pictures for pages: arrays as PNG, and answers that a browser need not ask for twice."""

import hashlib
from io import BytesIO

import numpy as np
from flask import Response, request
from numpy.typing import NDArray
from PIL import Image

KEPT_SECONDS = 86_400


def png(image: NDArray, low: float | None = None, high: float | None = None) -> bytes:
    """Return an image as PNG.

    Parameters
    ----------
    image : array
        (height, width) grey or (height, width, 3) colour. Of bytes it is taken as it is, other
        values are scaled.
    low, high : float, optional
        Values that become black and white; by default the smallest and largest of the image.

    Raises
    ------
    ValueError
        If the image is empty or has another shape.
    """
    image = np.asarray(image)
    if image.size == 0 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)):
        raise ValueError(f"an image has the shape (height, width) or (..., 3), not {image.shape}")
    if image.dtype != np.uint8 or low is not None or high is not None:
        image = _bytes(image, low, high)
    file = BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _bytes(image: NDArray, low: float | None, high: float | None) -> NDArray[np.uint8]:
    """Scale to 0...255; what is not finite is grey."""
    finite = np.isfinite(image)
    values = np.where(finite, image, 0.0).astype(np.float64)
    known = values[finite] if finite.any() else np.zeros(1)
    low = float(known.min()) if low is None else low
    high = float(known.max()) if high is None else high
    scaled = (values - low) / (high - low) if high > low else np.full(values.shape, 0.5)
    return np.rint(255 * np.where(finite, scaled, 0.5).clip(0, 1)).astype(np.uint8)


def picture(content: bytes, media_type: str = "image/png") -> Response:
    """Return a picture whose address determines it: a browser keeps it and does not ask again."""
    response = Response(content, mimetype=media_type)
    response.set_etag(hashlib.sha256(content).hexdigest()[:32])
    response.cache_control.private = True
    response.cache_control.max_age = KEPT_SECONDS
    response.cache_control.immutable = True
    return response.make_conditional(request)
