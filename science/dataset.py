"""Recordings as training data: tiers of images, normalisation, and the arrays a model sees."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import field_validator, model_validator
from scipy.sparse import csr_array

from science.blocks import blocks
from science.params import Params


class DataParams(Params):
    """Which units and trials are modelled and how data are normalised (microns_vei 5).

    Attributes
    ----------
    brain_areas, layers : tuple of str, optional
        Keep units of these areas and layers; None keeps all.
    exclude_areas, exclude_layers : tuple of str
        Leave out units of these: ``("unknown",)`` keeps all areas but unknown.
    image_classes : tuple of str, optional
        Keep trials that showed images of these classes; None keeps all.
    normalize_images : bool
        z-score images by mean and standard deviation over the train tier.
    normalize_responses : bool
        Divide each unit's responses by their standard deviation over the train tier.
    behavior : bool
        Load pupil and running, and leave out the trials in which either is not valid.
    average_repeats : bool
        Train and stop early on the mean response to each image instead of single trials: the
        same Poisson objective up to the weight of the images, in a fraction of the time where
        training images are repeated. Scores are always those of single trials. Not with
        behaviour, which differs between the trials of an image.
    """

    brain_areas: tuple[str, ...] | None = None
    layers: tuple[str, ...] | None = None
    exclude_areas: tuple[str, ...] = ()
    exclude_layers: tuple[str, ...] = ()
    image_classes: tuple[str, ...] | None = None
    normalize_images: bool = True
    normalize_responses: bool = True
    behavior: bool = False
    average_repeats: bool = False

    @model_validator(mode="after")
    def _trials_with_behavior_stay_single(self) -> "DataParams":
        if self.behavior and self.average_repeats:
            raise ValueError("average_repeats and behavior exclude each other: set one to false")
        return self

    @field_validator("brain_areas", "layers", "exclude_areas", "exclude_layers", "image_classes")
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
    behavior : float32, (n_trials, 3), optional
        Pupil radius, its change, running speed.
    pupil_center : float32, (n_trials, 2), optional
        x, y.
    """

    frames: NDArray[np.float32]
    tiers: NDArray[np.str_]
    image_index: NDArray[np.int64]
    responses: NDArray[np.float32]
    behavior: NDArray[np.float32] | None = None
    pupil_center: NDArray[np.float32] | None = None

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
    behavior_scale : dict of str to float32 (3,)
        What pupil radius, its change and running speed are divided by, per readout key.
    behavior_mean : dict of str to float32 (3,)
        Their means, unscaled, per readout key.
    pupil_mean, pupil_std : dict of str to float32 (2,)
        By which the pupil's centre is z-scored, per readout key.
    """

    image_mean: float
    image_std: float
    response_scale: Mapping[str, NDArray[np.float32]]
    behavior_scale: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    behavior_mean: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    pupil_mean: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    pupil_std: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, recordings: Mapping[str, Recording], params: DataParams | None = None
    ) -> "Normalization":
        """Compute the statistics over the train tier of all recordings.

        A unit whose standard deviation is at most 1 % of the mean over units is left unscaled;
        of behaviour, whose columns have different units, only a constant column is.

        Raises
        ------
        ValueError
            If a recording has fewer than two train trials, or the train images have no contrast.
        """
        params = params or DataParams()
        for key, r in recordings.items():
            if len(r.trials("train")) < 2:
                raise ValueError(f"recording {key} has fewer than two trials of the train tier")
        frames = [r.frames[r.image_index[r.trials("train")]] for r in recordings.values()]
        n_pixels = sum(f.size for f in frames)
        mean = sum(f.sum(dtype=np.float64) for f in frames) / n_pixels
        variance = sum(np.square(f - mean, dtype=np.float64).sum() for f in frames) / (n_pixels - 1)
        if variance == 0:
            raise ValueError("all training images are one uniform grey: nothing can be learned")
        scale = {
            key: _response_scale(r.responses[r.trials("train")])
            if params.normalize_responses
            else np.ones(r.responses.shape[1], np.float32)
            for key, r in recordings.items()
        }
        pixels = (float(mean), float(np.sqrt(variance))) if params.normalize_images else (0.0, 1.0)
        tracked = {k: r.trials("train") for k, r in recordings.items() if r.behavior is not None}
        return cls(
            *pixels,
            scale,
            {k: _column_std(recordings[k].behavior[train]) for k, train in tracked.items()},
            {k: recordings[k].behavior[train].mean(0) for k, train in tracked.items()},
            {k: recordings[k].pupil_center[train].mean(0) for k, train in tracked.items()},
            {k: _column_std(recordings[k].pupil_center[train]) for k, train in tracked.items()},
        )


def _response_scale(responses: NDArray[np.float32]) -> NDArray[np.float32]:
    std = responses.std(axis=0, ddof=1, dtype=np.float64)
    return np.where(std > 0.01 * std.mean(), std, 1.0).astype(np.float32)


def _column_std(values: NDArray[np.float32]) -> NDArray[np.float32]:
    std = values.std(axis=0, ddof=1, dtype=np.float64)
    return np.where(std > 0, std, 1.0).astype(np.float32)


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
        if not self.average_repeats:
            return self.inputs(readout_key, tier), self.targets(readout_key, tier)
        inputs, means = self.image_means(readout_key, tier)
        return inputs, means.astype(np.float32)

    def image_means(
        self, readout_key: str, tier: str
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Return each image of a tier once, (n, 1, h, w), and mean responses, (n, n_units)."""
        recording = self.recordings[readout_key]
        image_index = recording.image_index[recording.trials(tier)]
        _, first = np.unique(image_index, return_index=True)
        means = repeat_average(self.targets(readout_key, tier), image_index)
        return self.inputs(readout_key, tier)[first], means

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

    def behavior(
        self, readout_key: str, tier: str
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return scaled behaviour (n_trials, 3) and z-scored pupil centres (n_trials, 2) of a tier.

        Raises
        ------
        ValueError
            If the dataset was made without behaviour.
        """
        recording, scale = self.recordings[readout_key], self.normalization
        if recording.behavior is None:
            raise ValueError("the dataset has no behaviour: set behavior = true in its DataConfig")
        trials = recording.trials(tier)
        center = recording.pupil_center[trials] - scale.pupil_mean[readout_key]
        return (
            recording.behavior[trials] / scale.behavior_scale[readout_key],
            center / scale.pupil_std[readout_key],
        )


def repeat_average(
    values: NDArray[np.floating], image_index: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Average over the trials of each image.

    Parameters
    ----------
    values : float, (n_trials, n_units)
        May be a memory map, read one block of units at a time.
    image_index : int, (n_trials,)
        Which image each trial showed; repeats may be unequal.

    Returns
    -------
    float64, (n_images, n_units)
        In the order of their index.
    """
    _, image, counts = np.unique(image_index, return_inverse=True, return_counts=True)
    n_trials, n_units = values.shape
    shows = csr_array((np.ones(n_trials), (image, np.arange(n_trials))), (len(counts), n_trials))
    means = np.empty((len(counts), n_units))
    for units in blocks(n_units, n_trials):
        means[:, units] = (shows @ values[:, units].astype(np.float64)) / counts[:, None]
    return means
