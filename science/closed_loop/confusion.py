"""Confusion matrices: what each neuron answers to the image of every other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

Scaling = Literal["raw", "normalized", "zscored"]


@dataclass(frozen=True)
class Confusion:
    """Responses of u neurons to the images made for them, rows neurons, columns images.

    Attributes
    ----------
    mean : float64, (u, u)
        Mean over repeats; NaN where there is none.
    variance : float64, (u, u)
        Population variance over repeats (ddof 0); NaN as above.
    n : int64, (u, u)
        Number of repeats with a known response.
    """

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    n: NDArray[np.int64]


@dataclass(frozen=True)
class Diagonal:
    """Responses of u neurons to their own images.

    Attributes
    ----------
    response : float64, (u,)
        Mean over repeats; NaN where the image was not shown.
    sem : float64, (u,)
        Standard error with the sample variance; NaN for fewer than two repeats.
    rank : int64, (u,)
        How many other images drive the neuron more than its own, of those shown; -1 where its own
        was not shown.
    """

    response: NDArray[np.float64]
    sem: NDArray[np.float64]
    rank: NDArray[np.int64]

    @property
    def row_max(self) -> NDArray[np.bool_]:
        """No other image drives the neuron more than its own, bool (u,)."""
        return self.rank == 0


def scale_responses(responses: ArrayLike, scaling: Scaling) -> NDArray[np.float64]:
    """Scale each unit's responses over all trials of the scan (microns_vei 10.4 step 3).

    Parameters
    ----------
    responses : float, (trials, units)
        Single-trial responses.
    scaling : {"raw", "normalized", "zscored"}
        As they are; divided by the sample standard deviation (ddof 1); or z-scored with it.

    Returns
    -------
    float64, (trials, units)
        A unit whose response never varies has no scale: its column is NaN unless raw.

    Raises
    ------
    ValueError
        Unknown scaling, not (trials, units), fewer than two trials to scale, or not finite.

    Examples
    --------
    >>> scale_responses([[1], [2], [3]], "zscored")
    array([[-1.],
           [ 0.],
           [ 1.]])
    """
    responses = _responses(responses)
    if scaling not in ("raw", "normalized", "zscored"):
        raise ValueError(f"scaling must be 'raw', 'normalized' or 'zscored', got {scaling!r}")
    if scaling == "raw":
        return responses.copy()
    if len(responses) < 2:
        raise ValueError(f"scaling needs at least 2 trials, got {len(responses)}")
    std = responses.std(axis=0, ddof=1)
    std[np.ptp(responses, axis=0) == 0] = np.nan  # the std of a constant may round to above 0
    centre = responses.mean(axis=0) if scaling == "zscored" else 0.0
    return (responses - centre) / std


def confusion(responses: ArrayLike, image_unit: ArrayLike) -> Confusion:
    """Average repeated responses into a confusion matrix (microns_vei 10.4 step 6).

    Parameters
    ----------
    responses : float, (trials, units)
        Responses of the matched neurons, scaled over the trials of their scan; NaN where a
        neuron's response is not known, which counts as no repeat.
    image_unit : int, (trials,)
        Column of `responses` for whose neuron the image was made, -1 for any other image. For an
        image made for k neurons pass its trials k times, once with each neuron; repeat them after
        `scale_responses`, where every trial counts once.

    Returns
    -------
    Confusion
        Rows neurons, columns images.

    Raises
    ------
    ValueError
        Shapes that do not fit, an infinite response, or an index outside -1..units-1.

    Examples
    --------
    The image of the first neuron was shown twice, that of the second once.

    >>> confusion([[4, 1], [6, 1], [1, 3]], [0, 0, 1]).mean
    array([[5., 1.],
           [1., 3.]])
    """
    responses, image_unit = np.asarray(responses, dtype=np.float64), np.asarray(image_unit)
    if responses.ndim != 2 or image_unit.shape != responses.shape[:1]:
        raise ValueError(
            "need responses (trials, units) and one image_unit per trial, got shapes "
            f"{responses.shape} and {image_unit.shape}"
        )
    if np.isinf(responses).any():
        raise ValueError("responses must not be infinite: NaN says that one is not known")
    units = responses.shape[1]
    if not np.issubdtype(image_unit.dtype, np.integer) or np.any(
        (image_unit < -1) | (image_unit >= units)
    ):
        raise ValueError(f"image_unit must hold integers from -1 to {units - 1}")
    shown = image_unit >= 0
    responses, image_unit = responses[shown], image_unit[shown]
    trials = np.arange(len(image_unit))
    sums = csr_array((np.ones(len(trials)), (image_unit, trials)), shape=(units, len(trials)))
    known = ~np.isnan(responses)
    count = sums @ known.astype(np.float64)
    repeats = np.where(count > 0, count, np.nan)
    mean = (sums @ np.where(known, responses, 0)) / repeats
    deviation = np.where(known, responses - mean[image_unit], 0)
    variance = (sums @ deviation**2) / repeats
    return Confusion(mean.T.copy(), variance.T.copy(), count.T.astype(np.int64))


def pool(confusions: Sequence[Confusion]) -> Confusion:
    """Pool the confusion matrices of several scans as if their trials were one (microns_vei 10.5).

    Parameters
    ----------
    confusions : sequence of Confusion, each (u, u)
        The same neurons in the same order; entries without repeats do not contribute, such as
        those of a neuron or an image that a scan lacks.

    Returns
    -------
    Confusion
        Equal to the matrix of the concatenated trials, each scaled within its scan.

    Raises
    ------
    ValueError
        Nothing to pool, or matrices of different size.
    """
    if len({c.mean.shape for c in confusions}) != 1:
        raise ValueError("pooling needs at least one confusion matrix, all of one size")
    n = np.stack([c.n for c in confusions])
    total = n.sum(0)
    repeats = np.where(total > 0, total, np.nan)
    means = np.stack([np.where(c.n > 0, c.mean, 0) for c in confusions])
    variances = np.stack([np.where(c.n > 0, c.variance, 0) for c in confusions])
    mean = (n * means).sum(0) / repeats
    variance = (n * (variances + (means - mean) ** 2)).sum(0) / repeats
    return Confusion(mean, variance, total)


def diagonal(matrix: Confusion) -> Diagonal:
    """Read off each neuron's response to its own image (microns_vei 10.6).

    Parameters
    ----------
    matrix : Confusion, (u, u)
        Rows neurons, columns images.

    Returns
    -------
    Diagonal
    """
    response, variance, n = (np.diag(a).copy() for a in (matrix.mean, matrix.variance, matrix.n))
    stronger = np.count_nonzero(matrix.mean > response[:, None], axis=1)
    return Diagonal(
        response=response,
        sem=np.sqrt(variance / np.where(n > 1, n - 1, np.nan)),
        rank=np.where(np.isnan(response), -1, stronger),
    )


def _responses(responses: ArrayLike) -> NDArray[np.float64]:
    responses = np.asarray(responses, dtype=np.float64)
    if responses.ndim != 2:
        raise ValueError(f"responses must be (trials, units), got shape {responses.shape}")
    bad = np.flatnonzero(~np.isfinite(responses).all(axis=0))
    if bad.size:
        raise ValueError(f"responses of units {bad.tolist()} are not finite: drop those trials")
    return responses
