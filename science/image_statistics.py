"""What an image looks like as a stimulus: luminance, contrast, spectrum, symmetry (allen_mei 6)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from science.blocks import blocks

Floats = NDArray[np.float64]

RADIUS = 12.0
"""Of the circular mask, pixels."""

N_BINS = 16
"""Orientations that the spectrum is averaged in, pi / 16 apart. A spectrum of real numbers is the
same at opposite frequencies, so half the circle holds all of it."""


def centroids(images: NDArray[np.floating]) -> Floats:
    """Find where images differ from their mean: the centroid of the squared deviation.

    Parameters
    ----------
    images : float, (m, h, w)

    Returns
    -------
    float64, (m, 2)
        Row and column, pixels; the middle of the canvas for a flat image.

    Raises
    ------
    ValueError
        If the images are not (m, h, w), empty or not finite.

    Examples
    --------
    >>> image = np.zeros((1, 5, 7))
    >>> image[0, 2, [1, 5]] = 1
    >>> centroids(image)
    array([[2., 3.]])
    """
    images = _checked(images)
    weight = np.square(images - images.mean((1, 2), keepdims=True))
    weight[_flat(images)] = 1
    rows, columns = (np.arange(n) for n in images.shape[1:])
    total = weight.sum((1, 2))
    return np.stack([weight.sum(2) @ rows / total, weight.sum(1) @ columns / total], axis=1)


def circular_masks(
    centers: ArrayLike, image_shape: tuple[int, int], radius: float = RADIUS
) -> NDArray[np.bool_]:
    """Draw discs.

    Parameters
    ----------
    centers : float, (m, 2)
        Row and column, pixels.
    image_shape : tuple of int
        Height and width.
    radius : float
        Pixels, positive.

    Returns
    -------
    bool, (m, h, w)
        Pixels whose middle is not farther than the radius.

    Raises
    ------
    ValueError
        If the centres are not (m, 2) and finite, or there is no pixel in a disc.
    """
    centers = np.asarray(centers, np.float64)
    if centers.ndim != 2 or centers.shape[1] != 2 or not np.isfinite(centers).all():
        raise ValueError(f"centres must be finite, (m, 2), row and column, got {centers.shape}")
    rows, columns = (np.arange(n) - c[:, None] for n, c in zip(image_shape, centers.T, strict=True))
    masks = np.square(rows)[:, :, None] + np.square(columns)[:, None] <= radius**2
    empty = np.flatnonzero(~masks.any((1, 2)))
    if radius <= 0 or empty.size:
        raise ValueError(
            f"no pixel of {image_shape[0]} x {image_shape[1]} lies in a disc of radius {radius} "
            f"about {centers[empty[:1]].tolist()}: move it or enlarge it"
        )
    return masks


def luminance(
    images: NDArray[np.floating], centers: ArrayLike | None = None, radius: float = RADIUS
) -> Floats:
    """Sum of the pixels in a disc, divided by its area (allen_mei 6).

    Parameters
    ----------
    images : float, (m, h, w)
        From 0 to 1.
    centers : float, (m, 2), optional
        Row and column of the discs, pixels; by default the images' `centroids`.
    radius : float
        Pixels.

    Returns
    -------
    float64, (m,)
        The area is pi radius^2 even where the border cuts the disc: what is beyond is black.

    Raises
    ------
    ValueError
        If the images are not (m, h, w), empty or not from 0 to 1, or as in `circular_masks`.
    """
    images = _checked(images)
    if images.min() < 0 or images.max() > 1:
        raise ValueError(
            f"luminance wants images from 0 to 1, these are from {images.min():g} to "
            f"{images.max():g}: divide grey levels by 255"
        )
    masks = _discs(images, centers, radius)
    return images.sum((1, 2), where=masks) / (np.pi * radius**2)


def contrast(
    images: NDArray[np.floating], centers: ArrayLike | None = None, radius: float = RADIUS
) -> Floats:
    """Take the population standard deviation of the pixels in a disc (allen_mei 6).

    Parameters
    ----------
    images : float, (m, h, w)
        In any unit.
    centers, radius
        As in `luminance`.

    Returns
    -------
    float64, (m,)
        In the unit of the images.

    Raises
    ------
    ValueError
        If the images are not (m, h, w), empty or not finite, or as in `circular_masks`.
    """
    images = _checked(images)
    return images.std((1, 2), where=_discs(images, centers, radius))


def log_power_spectra(images: NDArray[np.floating]) -> Floats:
    """Natural logarithm of the power spectrum, frequency 0 in the middle, ``(h // 2, w // 2)``.

    Parameters
    ----------
    images : float, (m, h, w)

    Returns
    -------
    float64, (m, h, w)
        No power is taken for less than what rounding makes of the largest one.

    Raises
    ------
    ValueError
        If the images are not (m, h, w), empty or not finite.
    """
    power = np.square(np.abs(np.fft.fft2(_checked(images))))
    rounding = power.max((1, 2), keepdims=True) * np.finfo(np.float64).eps ** 2
    power = np.maximum(power, np.maximum(rounding, np.finfo(np.float64).tiny))
    return np.fft.fftshift(np.log(power), axes=(1, 2))


def symmetry_indices(images: NDArray[np.floating], folds: Sequence[int] = (1, 2)) -> Floats:
    """How much the power of an image is gathered in 1, 2, ... orientations (allen_mei 6).

    ``SI_n = |sum P(theta) exp(2 i n theta)| / sum P(theta)``, where P is the mean power over the
    frequencies of one of 16 orientations. A grating has SI_1 = SI_2 = 1, two gratings at a right
    angle SI_1 = 0 and SI_2 = 1, and an image without orientation 0.

    Parameters
    ----------
    images : float, (m, h, w)
        In any unit; all indices are blind to mean and contrast.
    folds : sequence of int
        The n.

    Returns
    -------
    float64, (m, n_folds)
        From 0 to 1; NaN for a flat image.

    Raises
    ------
    ValueError
        If the images are not (m, h, w), empty or not finite.

    Notes
    -----
    Orientations are those in the image: frequencies count in cycles per pixel, below the Nyquist
    frequency in all directions. The images, less their means, are embedded in a square of twice
    their longer side; without it a direction would have the more low frequencies, the longer the
    side along it, and an isotropic spot would have an orientation.
    """
    images = _checked(images)
    angle = np.arange(N_BINS) * np.pi / N_BINS
    waves = np.exp(2j * np.multiply.outer(angle, folds))
    side = 2 * max(images.shape[1:])
    chosen, averaging = _orientations(side)
    indices = np.empty((len(images), len(folds)))
    for block in blocks(len(images), 4 * side**2):
        deviation = images[block] - images[block].mean((1, 2), keepdims=True)
        spectrum = np.fft.rfft2(deviation, (side, side))
        power = np.square(np.abs(spectrum[:, chosen])) @ averaging
        total = np.where(_flat(images[block]), np.nan, power.sum(1))
        indices[block] = np.abs(power @ waves) / total[:, None]
    return indices


def _orientations(side: int) -> tuple[NDArray[np.bool_], Floats]:
    """Frequencies of half a plane, and the matrix that averages over those of one orientation."""
    y, x = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)
    chosen = ((x > 0) | (y > 0)) & (np.hypot(y, x) < 0.5)
    angle = np.arctan2(y, x)[chosen]
    orientation = np.rint(angle / (np.pi / N_BINS)).astype(int) % N_BINS
    member = orientation[:, None] == np.arange(N_BINS)
    return chosen, member / member.sum(0)


def _discs(images: Floats, centers: ArrayLike | None, radius: float) -> NDArray[np.bool_]:
    centers = centroids(images) if centers is None else np.asarray(centers, np.float64)
    if len(centers) != len(images):
        raise ValueError(f"{len(images)} images need as many centres, not {len(centers)}")
    return circular_masks(centers, images.shape[1:], radius)


def _flat(images: Floats) -> NDArray[np.bool_]:
    """Whether all pixels of an image are equal; its rounded deviation need not be 0."""
    return np.ptp(images, axis=(1, 2)) == 0


def _checked(images: NDArray[np.floating]) -> Floats:
    images = np.asarray(images, np.float64)
    if images.ndim != 3 or not images.size or not np.isfinite(images).all():
        raise ValueError(f"images must be finite, (m, h, w) and not empty, got {images.shape}")
    return images
