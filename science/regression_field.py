"""Receptive fields of many units by smooth ridge regression of responses on images.

The regularised pseudo-inverse of microns_vei 13 without its leak: how smooth a unit's field is gets
chosen on validation images, never on test images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.fft import dstn

from science.blocks import blocks
from science.metrics import correlation
from science.params import Params, Positive

Floats = NDArray[np.float64]


class RegressionFieldParams(Params):
    """How smooth fields may be.

    Attributes
    ----------
    lambdas : tuple of float
        Weights of the Laplacian to choose from; by default the published ones (microns_vei 13).
    """

    lambdas: tuple[Positive, ...] = Field(tuple(np.logspace(1, 4, 20).tolist()), min_length=1)


class ImageResponses(NamedTuple):
    """Images and the responses to them.

    Attributes
    ----------
    images : float, (n, h, w)
        z-scored with the statistics of the training images.
    responses : float, (n, n_units)
        z-scored, or in other units: the fields have the same. Single trials or means of repeats.
    """

    images: NDArray[np.floating]
    responses: NDArray[np.floating]


@dataclass(frozen=True)
class RegressionFields:
    """Linear receptive fields; NaN where the responses of a unit are constant or not finite.

    Attributes
    ----------
    fields : float32, (n_units, h, w)
        The sum of field times image is the response, less a constant.
    lambdas : float64, (n_units,)
        Weight of the Laplacian with the highest correlation on validation images.
    validation_correlation : float64, (n_units,)
        That correlation; the highest of several, so a little too high.
    test_correlation : float64, (n_units,) or None
        On images that nothing was fitted to or chosen on, if there were any.
    """

    fields: NDArray[np.float32]
    lambdas: Floats
    validation_correlation: Floats
    test_correlation: Floats | None


def regression_fields(
    train: ImageResponses,
    validation: ImageResponses,
    params: RegressionFieldParams | None = None,
    test: ImageResponses | None = None,
) -> RegressionFields:
    """Fit linear receptive fields (RegPseudoInverseRF, microns_vei 13).

    The field w of a unit with responses y minimises ``|X w + c - y|^2 + lambda^2 |L w|^2`` over w
    and the constant c. The rows of X are the images; L takes four times a pixel less its four
    neighbours, of which those beyond the border are 0. One decomposition serves all units and
    lambdas.

    Parameters
    ----------
    train : ImageResponses
        What the fields are fitted to.
    validation : ImageResponses
        What lambda is chosen on, unit by unit.
    params : RegressionFieldParams, optional
        Lambdas to choose from.
    test : ImageResponses, optional
        Repeat-averaged; has no influence on the fields.

    Returns
    -------
    RegressionFields

    Raises
    ------
    ValueError
        If shapes do not fit, a tier has fewer than two images, its images are not finite or all
        the same, or there are no units.
    """
    params = params or RegressionFieldParams()
    for tier, shown in {"train": train, "validation": validation, "test": test}.items():
        if shown is not None:
            _check(tier, shown, train)
    lambdas = np.array(params.lambdas)
    regression = _Regression.of(train.images)
    projected = _rows(validation.images) @ regression.directions.T

    n_units = train.responses.shape[1]
    fields = np.full((n_units, regression.directions.shape[1]), np.nan, np.float32)
    chosen, validated = np.full((2, n_units), np.nan)
    usable = np.flatnonzero(_varying(train.responses) & _varying(validation.responses))
    for block in blocks(len(usable), len(train.responses)):
        units = usable[block]
        drive = regression.drive(train.responses[:, units])
        responses = validation.responses[:, units]
        scores = np.stack(
            [correlation(projected @ regression.shrink(drive, x), responses) for x in lambdas]
        )
        best = scores.argmax(axis=0)
        chosen[units] = lambdas[best]
        validated[units] = scores.max(axis=0)
        fields[units] = regression.shrink(drive, lambdas[best]).T @ regression.directions
    return RegressionFields(
        fields.reshape(n_units, *train.images.shape[1:]),
        chosen,
        validated,
        None if test is None else correlation(_rows(test.images) @ fields.T, test.responses),
    )


@dataclass(frozen=True)
class _Regression:
    """The regression on given images, up to responses and lambda.

    In the coordinates ``v = L w`` it is plain ridge regression on ``Z = X L^-1``, whose singular
    vectors solve it for any lambda. They are taken from the smaller of the two products of Z with
    itself.

    Attributes
    ----------
    directions : float64, (r, n_pixels)
        Fields are sums of these.
    loadings : float64, (r, n)
        From responses to how much of each direction they want.
    power : float64, (r,)
        Squared singular values: how well the images show each direction.
    """

    directions: Floats
    loadings: Floats
    power: Floats

    @classmethod
    def of(cls, images: NDArray[np.floating]) -> "_Regression":
        n, *shape = images.shape
        centred = _rows(images) - _rows(images).mean(axis=0)
        smooth = _inverse_laplacian(centred, shape)
        if n < centred.shape[1]:
            power, vectors = np.linalg.eigh(smooth @ smooth.T)
            directions, loadings = _inverse_laplacian(vectors.T @ smooth, shape), vectors.T
        else:
            power, vectors = np.linalg.eigh(smooth.T @ smooth)
            directions = _inverse_laplacian(vectors.T, shape)
            loadings = directions @ centred.T
        return cls(directions, loadings, np.maximum(power, 0))

    def drive(self, responses: NDArray[np.floating]) -> Floats:
        """How much of each direction the responses (n, n_units) want, (r, n_units)."""
        return self.loadings @ responses.astype(np.float64)

    def shrink(self, drive: Floats, lambdas: Floats) -> Floats:
        """How much of it they get, (r, n_units), with one lambda or one per unit."""
        return drive / (self.power[:, None] + np.square(lambdas))


def _inverse_laplacian(images: Floats, shape: Sequence[int]) -> Floats:
    """Solve ``L x = image`` for each row; the sine transform makes L diagonal."""
    vertical, horizontal = (2 - 2 * np.cos(np.pi * np.arange(1, n + 1) / (n + 1)) for n in shape)
    waves = _sine_transform(images.reshape(-1, *shape)) / (vertical[:, None] + horizontal)
    return _sine_transform(waves).reshape(images.shape)


def _sine_transform(images: Floats) -> Floats:
    return dstn(images, type=1, axes=(1, 2), norm="ortho")


def _rows(images: NDArray[np.floating]) -> Floats:
    return images.reshape(len(images), -1).astype(np.float64)


def _varying(responses: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which units (n_units,) have finite responses that are not all the same."""
    return np.isfinite(responses).all(axis=0) & (np.ptp(responses, axis=0) > 0)


def _check(tier: str, shown: ImageResponses, train: ImageResponses) -> None:
    images, responses = shown
    if images.ndim != 3 or responses.ndim != 2 or len(images) != len(responses):
        raise ValueError(
            f"{tier} images must be (n, h, w) and responses (n, n_units), got {images.shape} and "
            f"{responses.shape}"
        )
    if len(images) < 2 or not images.size or not responses.size:
        raise ValueError(
            f"{tier} images {images.shape} and responses {responses.shape}: a field needs at least "
            "two images, a pixel and a unit"
        )
    like = train.images.shape[1:], train.responses.shape[1]
    if (images.shape[1:], responses.shape[1]) != like:
        raise ValueError(
            f"{tier} images {images.shape} and responses {responses.shape} must have the pixels "
            f"and units of training, {train.images.shape} and {train.responses.shape}"
        )
    if not np.isfinite(images).all() or np.ptp(images, axis=0).max() == 0:
        raise ValueError(f"{tier} images must be finite and differ from each other")
