"""The recorded Gabors that excited a unit most, as one picture (allen_mei 6)."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from science.blocks import blocks
from science.gabors import canvas_phase, gabor_patches
from science.params import Params, Positive


class RecordedGaborParams(Params):
    """How many presentations are averaged and how each is drawn; by default as in the study.

    Attributes
    ----------
    n_best : int
        Presentations with the highest spike counts.
    phase : float
        Degrees, at the top of the canvas of the original generator (microns_vei 9.8).
    wavelength, sigma : float
        Pixels.
    height, width : int
        Pixels.
    """

    n_best: int = Field(3, gt=0)
    phase: float = 3644.93
    wavelength: Positive = math.pi
    sigma: Positive = 5.0
    height: int = Field(60, gt=0)
    width: int = Field(96, gt=0)


def recorded_gabors(
    counts: NDArray[np.number],
    orientations: NDArray[np.floating],
    params: RecordedGaborParams | None = None,
) -> NDArray[np.float32]:
    """Average the Gabors that excited each unit most, wherever on the screen they stood.

    Parameters
    ----------
    counts : (n_presentations, n_units)
        Spikes of each unit during each presentation, in the order in which they were shown.
    orientations : float, (n_presentations,)
        Degrees as recorded: 0 for vertical bars, turning clockwise.
    params : RecordedGaborParams, optional

    Returns
    -------
    float32, (n_units, h, w)
        Each from 0 to 1; NaN for a unit that responded to all presentations alike.

    Raises
    ------
    ValueError
        If shapes do not fit, a number is not finite, or there are no units or fewer presentations
        than are to be averaged.
    """
    params = params or RecordedGaborParams()
    counts, orientations = np.asarray(counts), np.asarray(orientations, np.float64)
    if counts.ndim != 2 or orientations.shape != counts.shape[:1] or not counts.shape[1]:
        raise ValueError(
            "counts must be (n_presentations, n_units) and orientations (n_presentations,), got "
            f"{counts.shape} and {orientations.shape}"
        )
    if not np.isfinite(orientations).all():
        raise ValueError("orientations must be finite: leave other stimuli out")
    distinct, which = np.unique(orientations % 180, return_inverse=True)
    chosen = which[best_presentations(counts, params.n_best)]
    share = (chosen[:, :, None] == np.arange(len(distinct))).mean(axis=0)
    images = np.tensordot(share, _patches(distinct, params), axes=1)
    low, high = images.min((1, 2), keepdims=True), images.max((1, 2), keepdims=True)
    images = (images - low) / (high - low)
    images[np.ptp(counts, axis=0) == 0] = np.nan
    return images.astype(np.float32)


def best_presentations(counts: NDArray[np.number], n_best: int) -> NDArray[np.int64]:
    """Find the presentations with the highest counts; of equal ones those that came first.

    Parameters
    ----------
    counts : (n_presentations, n_units)
    n_best : int

    Returns
    -------
    int64, (n_best, n_units)
        The best first.

    Raises
    ------
    ValueError
        If counts are not finite, or there are fewer presentations than wanted.
    """
    n_presentations, n_units = counts.shape
    if n_best > n_presentations:
        raise ValueError(f"the best {n_best} of {n_presentations} presentations: there are too few")
    if not np.isfinite(counts).all():
        raise ValueError("counts must be finite: a presentation without a spike counts 0")
    best = np.empty((n_best, n_units), np.int64)
    for units in blocks(n_units, n_presentations):
        falling = np.argsort(-counts[:, units].astype(np.float64), axis=0, kind="stable")
        best[:, units] = falling[:n_best]
    return best


def _patches(orientations: NDArray[np.float64], params: RecordedGaborParams) -> NDArray[np.float64]:
    """Draw a centred Gabor for each recorded orientation, (n, h, w)."""
    shape = (params.height, params.width)
    drawn = torch.zeros(len(orientations), 6, dtype=torch.float64)
    drawn[:, 0], drawn[:, 1], drawn[:, 3] = params.phase, params.wavelength, params.sigma
    # `gabor_patches` counts from horizontal stripes counter-clockwise.
    drawn[:, 2] = torch.from_numpy(90 - orientations)
    return gabor_patches(canvas_phase(drawn, shape), shape).numpy()
