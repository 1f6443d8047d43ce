"""Filters of gradients and images: Fourier gains and the Gaussian blur."""

import torch
from torch import Tensor

BLUR_TRUNCATION = 4.0  # kernel half-width in standard deviations


def power_law_gain(image_shape: tuple[int, int], precond: float) -> Tensor:
    """Low-pass gain over the spatial frequencies of a real FFT, of mean 1 (microns_vei 9.4d).

    The gain is t / mean(t) with t = 1 / max(1, (kx^2 + ky^2)^precond), k the integer frequency
    bin min(j, size - j), and the mean over the full (two-sided) spectrum.

    Parameters
    ----------
    image_shape : (h, w)
        Pixels.
    precond : float
        Exponent, >= 0; 0 gives all ones.

    Returns
    -------
    float32 tensor, (h, w // 2 + 1)
    """
    ky, kx = (_mirrored(size) for size in image_shape)
    gain = 1 / (ky[:, None] ** 2 + kx**2).pow(precond).clamp(min=1)
    return (gain / gain.mean())[:, : image_shape[1] // 2 + 1].float()


def radius_gain(image_shape: tuple[int, int], exponent: float, legacy: bool = False) -> Tensor:
    """Gain 1 / radius^exponent over the frequencies of a real FFT, of mean 1 (allen_mei 5.2).

    Parameters
    ----------
    image_shape : (h, w)
        Pixels.
    exponent : float
        >= 0; 0 gives all ones.
    legacy : bool
        As the notebook: ky runs 0..h - 1 unmirrored, the radius of the constant is 1e-8, and the
        mean is over the half spectrum. Otherwise ky is mirrored, the constant has radius 1, and
        the mean is over the full spectrum.

    Returns
    -------
    float32 tensor, (h, w // 2 + 1)
    """
    height, width = image_shape
    kx = _mirrored(width)
    if legacy:
        ky = torch.arange(height, dtype=torch.float64)
        half = 1 / ((ky[:, None] ** 2 + kx[: width // 2 + 1] ** 2).sqrt() + 1e-8).pow(exponent)
        return (half / half.mean()).float()
    radius = (_mirrored(height)[:, None] ** 2 + kx**2).sqrt().clamp(min=1)
    gain = radius.pow(-exponent)
    return (gain / gain.mean())[:, : width // 2 + 1].float()


def fourier_filter(images: Tensor, gain: Tensor) -> Tensor:
    """Multiply the real FFT of images (..., h, w) by a gain (h, w // 2 + 1)."""
    return torch.fft.irfft2(torch.fft.rfft2(images) * gain, s=images.shape[-2:])


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Blur images (m, h, w) with a Gaussian of `sigma` pixels; a one-tap kernel does nothing."""
    if int(BLUR_TRUNCATION * sigma + 0.5) == 0:
        return images
    height, width = (blur_matrix(size, sigma).to(images) for size in images.shape[-2:])
    return height @ images @ width.T


def blur_matrix(size: int, sigma: float) -> Tensor:
    """Gaussian blur of one axis as a matrix, borders reflected (d c b a | a b c d | d c b a).

    The kernel is truncated at 4 sigma and sums to 1, as in `scipy.ndimage.gaussian_filter1d`.
    On images of this size two small matrix products are cheaper than padding and convolving.

    Parameters
    ----------
    size : int
        Length of the axis, pixels.
    sigma : float
        Standard deviation, pixels, > 0.

    Returns
    -------
    float32 tensor, (size, size)
        Rows sum to 1; `matrix @ x` is the blurred x.
    """
    radius = int(BLUR_TRUNCATION * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1)
    taps = torch.exp(-0.5 * (offsets.double() / sigma) ** 2)
    source = (torch.arange(size)[:, None] + offsets) % (2 * size)
    source = torch.minimum(source, 2 * size - 1 - source)
    weights = (taps / taps.sum()).expand(size, -1)
    return torch.zeros(size, size, dtype=torch.float64).scatter_add_(1, source, weights).float()


def _mirrored(size: int) -> Tensor:
    """Integer frequencies min(j, size - j), float64."""
    bins = torch.arange(size, dtype=torch.float64)
    return torch.minimum(bins, size - bins)
