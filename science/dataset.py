"""Recordings as training data: tiers of images, normalisation, and the arrays a model sees."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import field_validator

from science.params import Params


class DataParams(Params):
    """Which units are modelled and how data are normalised (microns_vei 5).

    Attributes
    ----------
    brain_areas, layers : tuple of str, optional
        Keep units of these areas and layers; None keeps all.
    normalize_responses : bool
        Divide each unit's responses by their standard deviation over the train tier.
    average_repeats : bool
        Train and stop early on the mean response to each image instead of single trials: the
        same Poisson objective up to the weight of the images, in a fraction of the time where
        training images are repeated. Scores are always those of single trials.
    """

    brain_areas: tuple[str, ...] | None = None
    layers: tuple[str, ...] | None = None
    normalize_responses: bool = True
    average_repeats: bool = False

    @field_validator("brain_areas", "layers")
    @classmethod
    def _in_any_order(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if names is None else tuple(sorted(set(names)))


@dataclass(frozen=True)
class Recording:
    """One recording as arrays.

    Attributes
    ----------
    frames : float32, (n_images, h, w)
        Grey values, 0-255.
    tiers : str, (n_images,)
        Tier of each frame.
    image_index : int, (n_trials,)
        Row of `frames` that each trial showed.
    responses : float32, (n_trials, n_units)
        Raw responses (spikes, or deconvolved activity).
    """

    frames: NDArray[np.float32]
    tiers: NDArray[np.str_]
    image_index: NDArray[np.int64]
    responses: NDArray[np.float32]

    def trials(self, tier: str) -> NDArray[np.int64]:
        """Return the trials that showed images of one tier."""
        return np.flatnonzero(self.tiers[self.image_index] == tier)


@dataclass(frozen=True)
class Normalization:
    """Statistics of the train tier that inputs and responses are scaled by (microns_vei 5.2).

    Attributes
    ----------
    image_mean, image_std : float
        Pooled over pixels and images of all members, grey values.
    response_scale : dict of str to float32 (n_units,)
        What each unit's responses are divided by, per readout key.
    """

    image_mean: float
    image_std: float
    response_scale: Mapping[str, NDArray[np.float32]]

    @classmethod
    def of(
        cls, recordings: Mapping[str, Recording], normalize_responses: bool = True
    ) -> "Normalization":
        """Compute the statistics over the train tier of all recordings.

        A unit whose standard deviation is at most 1 % of the mean over units is left unscaled.

        Raises
        ------
        ValueError
            If the train images have no contrast.
        """
        frames = [r.frames[r.image_index[r.trials("train")]] for r in recordings.values()]
        n_pixels = sum(f.size for f in frames)
        mean = sum(f.sum(dtype=np.float64) for f in frames) / n_pixels
        variance = sum(np.square(f - mean, dtype=np.float64).sum() for f in frames) / (n_pixels - 1)
        if variance == 0:
            raise ValueError("all training images are one uniform grey: nothing can be learned")
        scale = {
            key: _response_scale(r.responses[r.trials("train")])
            if normalize_responses
            else np.ones(r.responses.shape[1], np.float32)
            for key, r in recordings.items()
        }
        return cls(float(mean), float(np.sqrt(variance)), scale)


def _response_scale(responses: NDArray[np.float32]) -> NDArray[np.float32]:
    std = responses.std(axis=0, ddof=1, dtype=np.float64)
    return np.where(std > 0.01 * std.mean(), std, 1.0).astype(np.float32)


@dataclass(frozen=True)
class ImageDataset:
    """Recordings that are modelled together, and how they are normalised.

    Attributes
    ----------
    recordings : dict of str to Recording
        By readout key.
    normalization : Normalization
    columns : list of (str, int)
        Readout key and column within it of every unit, in the order of `unit_index`.
    average_repeats : bool
        See `DataParams`.
    """

    recordings: Mapping[str, Recording]
    normalization: Normalization
    columns: Sequence[tuple[str, int]]
    average_repeats: bool = False

    @property
    def image_shape(self) -> tuple[int, int]:
        """Height and width of the frames in pixels."""
        height, width = next(iter(self.recordings.values())).frames.shape[1:]
        return height, width

    @property
    def n_units(self) -> dict[str, int]:
        """Number of units per readout key."""
        return {key: r.responses.shape[1] for key, r in self.recordings.items()}

    def training_pairs(
        self, readout_key: str, tier: str
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return inputs (n, 1, h, w) and targets (n, n_units) to train or stop early with."""
        inputs, targets = self.inputs(readout_key, tier), self.targets(readout_key, tier)
        if not self.average_repeats:
            return inputs, targets
        recording = self.recordings[readout_key]
        image_index = recording.image_index[recording.trials(tier)]
        _, first = np.unique(image_index, return_index=True)
        return inputs[first], repeat_average(targets, image_index).astype(np.float32)

    def inputs(self, readout_key: str, tier: str) -> NDArray[np.float32]:
        """Return the z-scored images of a tier's trials, (n_trials, 1, h, w)."""
        recording = self.recordings[readout_key]
        shown = recording.frames[recording.image_index[recording.trials(tier)]]
        return ((shown - self.normalization.image_mean) / self.normalization.image_std)[:, None]

    def targets(self, readout_key: str, tier: str) -> NDArray[np.float32]:
        """Return the scaled responses of a tier's trials, (n_trials, n_units)."""
        recording = self.recordings[readout_key]
        scale = self.normalization.response_scale[readout_key]
        return recording.responses[recording.trials(tier)] / scale


def repeat_average(
    values: NDArray[np.floating], image_index: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Average (n_trials, n_units) over the trials of each image, in the order of their index."""
    _, image, counts = np.unique(image_index, return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), values.shape[1]))
    np.add.at(sums, image, values)
    return sums / counts[:, None]
