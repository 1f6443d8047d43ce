"""Correlation and noise-ceiling metrics of recorded and predicted responses.

Repeated presentations come as trials with an image index, so numbers of repeats may differ
between images. Images shown once carry no information about noise; the noise-ceiling metrics
ignore them. Nothing is clipped: what cannot be known is NaN.

References
----------
Schoppe O, Harper NS, Willmore BDB, King AJ, Schnupp JWH (2016). Measuring the performance of
neural models. Frontiers in Computational Neuroscience 10:10.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]


def correlation(a: ArrayLike, b: ArrayLike, axis: int = 0) -> Floats:
    """Pearson correlation along an axis.

    Corrects the ``(n - 1) / n`` of the original (microns_vei 2), where a constant signal gave 0.

    Parameters
    ----------
    a, b : array_like
        float, the same shape, at least two samples along `axis`.
    axis : int
        Axis of the samples.

    Returns
    -------
    ndarray
        float64, the shape of `a` without `axis`, in [-1, 1]; NaN where a signal is constant or
        not finite.

    Raises
    ------
    ValueError
        If the shapes differ or there are fewer than two samples.

    Examples
    --------
    >>> correlation([[1, 3], [2, 2], [3, 1]], [[2, 2], [4, 4], [6, 6]])
    array([ 1., -1.])
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape:
        raise ValueError(f"cannot correlate arrays of shapes {a.shape} and {b.shape}")
    if a.shape[axis] < 2:
        raise ValueError("a correlation needs at least two samples")
    # Exact test: the mean of a constant is rounded, its variance need not be 0.
    constant = (np.ptp(a, axis) == 0) | (np.ptp(b, axis) == 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        a = a - a.mean(axis, keepdims=True)
        b = b - b.mean(axis, keepdims=True)
        corr = (a * b).sum(axis) / np.sqrt((a * a).sum(axis) * (b * b).sum(axis))
    return np.where(constant, np.nan, np.clip(corr, -1, 1))


@dataclass(frozen=True)
class _Repeats:
    """Sums over the repeats of each image.

    Attributes
    ----------
    trials : ndarray
        float64, (n_trials, n_units), trials of repeated images, in order of image, less the
        first one: every metric here is blind to the shift, and constants become exactly 0.
    counts : ndarray
        int, (n_images, 1), repeats of each image, >= 2.
    means : ndarray
        float64, (n_images, n_units).
    noise : ndarray
        float64, (n_images, n_units), sum of squared deviations from the image's mean.
    """

    trials: Floats
    counts: NDArray[np.int64]
    means: Floats
    noise: Floats

    @classmethod
    def of(cls, responses: ArrayLike, image_index: ArrayLike) -> "_Repeats":
        responses, order, starts, counts = _grouped(responses, image_index)
        trials = responses[order] - responses[order[0]]
        counts = counts[:, None]
        means = np.add.reduceat(trials, starts) / counts
        residuals = trials - np.repeat(means, counts[:, 0], axis=0)
        return cls(trials, counts, means, np.add.reduceat(residuals**2, starts))

    @property
    def n_images(self) -> int:
        return len(self.counts)

    @property
    def noise_variance(self) -> Floats:
        """Variance within images, pooled by degrees of freedom, (n_units,)."""
        return self.noise.sum(0) / (self.counts - 1).sum()

    @property
    def signal_power(self) -> Floats:
        """Variance of the means less what noise adds to it image by image, (n_units,)."""
        error = self.noise / (self.counts - 1) / self.counts
        return self.means.var(0, ddof=1) - error.mean(0)

    @property
    def ceiling(self) -> Floats:
        """Correlation of the means with the noise-free response, (n_units,)."""
        return np.sqrt(_positive(self.signal_power) / _positive(self.means.var(0, ddof=1)))


def repeated_trials(
    image_index: ArrayLike, min_repeats: int = 2
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sort the trials of repeated images by image.

    Parameters
    ----------
    image_index : array_like
        int, (n_trials,), which image was shown.
    min_repeats : int
        Images shown less often are left out.

    Returns
    -------
    order : ndarray
        int64, (n_repeated_trials,), trials, image by image.
    counts : ndarray
        int64, (n_images,), trials of each image.
    """
    _, image, counts = np.unique(image_index, return_inverse=True, return_counts=True)
    order = np.argsort(image, kind="stable")
    return order[counts[image[order]] >= min_repeats], counts[counts >= min_repeats]


def _grouped(
    responses: ArrayLike, image_index: ArrayLike
) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Order of the trials by repeated image, first trial and number of trials of each."""
    responses, image_index = np.asarray(responses, np.float64), np.asarray(image_index)
    if responses.ndim != 2 or image_index.shape != responses.shape[:1]:
        raise ValueError(
            "responses must be (n_trials, n_units) and image_index (n_trials,), got "
            f"{responses.shape} and {image_index.shape}"
        )
    order, counts = repeated_trials(image_index)
    if len(counts) < 2:
        raise ValueError("noise-ceiling metrics need at least two images with repeats")
    return responses, order, np.cumsum(counts) - counts, counts


def signal_power(responses: ArrayLike, image_index: ArrayLike) -> Floats:
    """Variance over images of the noise-free response, estimated without bias.

    Parameters
    ----------
    responses : array_like
        float, (n_trials, n_units).
    image_index : array_like
        int, (n_trials,), which image was shown.

    Returns
    -------
    ndarray
        float64, (n_units,), squared units of `responses`; negative where noise hides the signal.

    Raises
    ------
    ValueError
        If the shapes do not fit or fewer than two images were repeated.

    Notes
    -----
    ``Var(mean response) - mean over images of (noise variance / repeats)``, with variances of
    n - 1. For equal numbers R of repeats it is the closed form of Schoppe et al.,
    ``(Var(sum) - sum Var) / (R (R - 1))``, averaged over all ways of calling one trial of an
    image the first, another the second and so on; noise may differ between images.

    Examples
    --------
    Two images, shown twice each, to which the unit always gives 1 spike and 3 spikes.

    >>> signal_power([[1], [1], [3], [3]], [0, 0, 1, 1])
    array([2.])
    """
    return _Repeats.of(responses, image_index).signal_power


def cc_max(responses: ArrayLike, image_index: ArrayLike) -> Floats:
    """Correlation of the mean response with the noise-free response: the ceiling of a model.

    Parameters
    ----------
    responses, image_index
        As in `signal_power`.

    Returns
    -------
    ndarray
        float64, (n_units,), ``sqrt(signal power / Var(mean response))``; NaN where the signal
        power is not positive.

    Examples
    --------
    >>> cc_max([[1], [1], [3], [3]], [0, 0, 1, 1])
    array([1.])
    """
    return _Repeats.of(responses, image_index).ceiling


def cc_norm(responses: ArrayLike, predictions: ArrayLike, image_index: ArrayLike) -> Floats:
    """Correlation of predictions with the mean response, divided by its ceiling.

    Parameters
    ----------
    responses : array_like
        float, (n_trials, n_units).
    predictions : array_like
        float, (n_trials, n_units), averaged over the trials of an image.
    image_index : array_like
        int, (n_trials,).

    Returns
    -------
    ndarray
        float64, (n_units,), ``Cov(mean, prediction) / sqrt(Var(prediction) signal power)``, may
        exceed 1; NaN where the unit is not `reliable`, the signal power is not positive or the
        prediction is constant.

    Examples
    --------
    Twice too large, and otherwise right:

    >>> cc_norm([[1], [1], [3], [3]], [[2], [2], [6], [6]], [0, 0, 1, 1])
    array([1.])
    """
    predictions = np.asarray(predictions, np.float64)
    if predictions.shape != np.shape(responses):
        raise ValueError(
            f"predictions have the shape {predictions.shape}, responses {np.shape(responses)}"
        )
    repeats = _Repeats.of(responses, image_index)
    predicted = _Repeats.of(predictions, image_index).means
    corr = correlation(repeats.means, predicted)
    return np.where(_p_value(repeats) < 0.001, corr / repeats.ceiling, np.nan)


def feve(responses: ArrayLike, predictions: ArrayLike, image_index: ArrayLike) -> Floats:
    """Fraction of the explainable variance that predictions explain.

    Parameters
    ----------
    responses, predictions : array_like
        float, (n_trials, n_units), in the same units: unlike a correlation it sees wrong scales.
    image_index : array_like
        int, (n_trials,).

    Returns
    -------
    ndarray
        float64, (n_units,), ``1 - (squared error - noise) / (total - noise)`` variance over single
        trials of repeated images; 1 for the true expectation but for chance, negative where the
        mean would do better; NaN where the unit is not `reliable`.

    References
    ----------
    Cadena SA et al. (2019). Deep convolutional models improve predictions of macaque V1 responses
    to natural images. PLoS Computational Biology 15:e1006897.
    """
    responses, predictions = np.asarray(responses, float), np.asarray(predictions, float)
    repeats = _Repeats.of(responses, image_index)
    if predictions.shape != responses.shape:
        raise ValueError(
            f"predictions have the shape {predictions.shape}, responses {responses.shape}"
        )
    order, _ = repeated_trials(image_index)
    error = np.square(responses[order] - predictions[order]).mean(0)
    noise = repeats.noise_variance
    explainable = _positive(repeats.trials.var(0, ddof=1) - noise)
    return np.where(_p_value(repeats) < 0.001, 1 - (error - noise) / explainable, np.nan)


def fev(responses: ArrayLike, image_index: ArrayLike) -> Floats:
    """Fraction of the single-trial variance that the image explains.

    Parameters
    ----------
    responses, image_index
        As in `signal_power`.

    Returns
    -------
    ndarray
        float64, (n_units,), ``(total - noise) / total`` variance, the noise pooled over images
        by degrees of freedom; unclipped, may be negative; NaN for constant responses.
    """
    repeats = _Repeats.of(responses, image_index)
    total = _positive(repeats.trials.var(0, ddof=1))
    return (total - repeats.noise_variance) / total


def reliable(
    responses: ArrayLike, image_index: ArrayLike, alpha: float = 0.001
) -> NDArray[np.bool_]:
    """Whether a unit's responses depend on the image: one-way ANOVA, image against repeats.

    Parameters
    ----------
    responses, image_index
        As in `signal_power`.
    alpha : float
        Level of the F-test, in (0, 1).

    Returns
    -------
    ndarray
        bool, (n_units,); False for constant responses.
    """
    return _p_value(_Repeats.of(responses, image_index)) < alpha


def _p_value(repeats: _Repeats) -> Floats:
    """P of the F-test that all images evoke the same mean, (n_units,)."""
    grand = repeats.trials.mean(0)
    between = (repeats.counts * (repeats.means - grand) ** 2).sum(0) / (repeats.n_images - 1)
    within = repeats.noise_variance
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = between / within
    return stats.f.sf(ratio, repeats.n_images - 1, (repeats.counts - 1).sum())


def _positive(values: Floats) -> Floats:
    """Values, NaN where they are not positive."""
    return np.where(values > 0, values, np.nan)
