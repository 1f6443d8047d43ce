"""Cells of recordings, as fits take them: means over trials, and the trials."""

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from science.dataset import Recording, repeat_average
from science.neural_fit.responses import Floats


@dataclass(frozen=True)
class RecordedCells:
    """Responses of the cells of one recording.

    Attributes
    ----------
    animal : hashable
        Its cells never predict each other, in whichever recording they are.
    responses : float64, (nx, ny, n_cells) or (n_images, n_cells)
        Over all trials; NaN where not visited.
    trials : float64, (n_trials, nx, ny, n_cells) or (n_trials, n_images, n_cells), optional
        Of parts of the recording, or of single presentations.
    """

    animal: Hashable
    responses: Floats
    trials: Floats | None = None


def image_cells(
    recording: Recording, name: Hashable, tier: str
) -> tuple[NDArray[np.float32], RecordedCells]:
    """Return the images of a tier, each once, and how the units of a recording responded to them.

    Parameters
    ----------
    recording : Recording
    name : hashable
    tier : {'all', 'train', 'validation', 'test'}

    Returns
    -------
    images : float32, (n_images, h, w)
        Grey values, 0-255.
    cells : RecordedCells
        Means over repeats. Where every image has two and more: the repeats as trials, of each
        image as many as the least shown one has, the first ones.

    Raises
    ------
    ValueError
        If the tier has no images.
    """
    shown = np.arange(len(recording.image_index)) if tier == "all" else recording.trials(tier)
    if not shown.size:
        raise ValueError(f"recording {name!r} has no images of tier {tier!r}")
    image_index, responses = recording.image_index[shown], recording.responses[shown]
    images, counts = np.unique(image_index, return_counts=True)
    means = repeat_average(responses, image_index)
    if counts.min() < 2:
        return recording.frames[images], RecordedCells(name, means)
    by_image = np.argsort(image_index, kind="stable")
    starts = np.cumsum(counts) - counts
    repeats = by_image[starts + np.arange(counts.min())[:, None]]
    trials = responses[repeats].astype(np.float64)
    return recording.frames[images], RecordedCells(name, means, trials)
