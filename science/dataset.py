"""Recordings as training data: tiers of images, normalisation, and the arrays a model sees."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator
from skimage.transform import resize

from science.params import Params

TIERS = ("train", "validation", "test")


class PreprocessingParams(Params):
    """How shown images become frames and activity becomes one response per trial.

    Attributes
    ----------
    height, width : int
        Frame size in pixels.
    offset, duration : float
        Response window in seconds after stimulus onset (traces and spikes; microns_vei 4.4).
        Finished trial responses pass through unchanged.
    """

    height: int = Field(36, ge=4, le=512)
    width: int = Field(64, ge=4, le=512)
    offset: float = Field(0.05, ge=0.0, le=5.0)
    duration: float = Field(0.5, gt=0.0, le=10.0)


class SplitParams(Params):
    """Which images train, validate and test a model.

    Every image gets its tier from its own checksum and the seed, so the same image has the same
    tier in every recording, whatever else was shown (microns_vei 4.3, seeded).

    Attributes
    ----------
    method : {'repeated', 'random', 'kfold'}
        `repeated`: images shown more than once are the test tier. `random`: a fraction of the
        images is. `kfold`: images are dealt into `n_folds` and one fold is the test tier.
    validation_fraction : float
        Fraction of the images outside the test tier that validate.
    test_fraction : float
        For `random` only.
    n_folds, fold : int
        For `kfold` only; `fold` counts from 0.
    """

    method: Literal["repeated", "random", "kfold"] = "repeated"
    seed: int = Field(0, ge=0)
    validation_fraction: float = Field(0.1, gt=0.0, lt=1.0)
    test_fraction: float = Field(0.1, gt=0.0, lt=1.0)
    n_folds: int = Field(5, ge=2)
    fold: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _fold_exists(self) -> "SplitParams":
        if self.fold >= self.n_folds:
            raise ValueError(f"fold={self.fold} does not exist: folds are 0 to {self.n_folds - 1}")
        return self


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


def _uniform(label: str, image_sha256: str) -> float:
    """Return a number in [0, 1) that depends on the label and the image only."""
    digest = hashlib.sha256(f"{label}:{image_sha256}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def assign_tiers(
    image_sha256: Sequence[str], n_presentations: Sequence[int], params: SplitParams
) -> list[str]:
    """Assign each image to a tier.

    Parameters
    ----------
    image_sha256 : sequence of str, (n_images,)
        Checksum of each image's pixels.
    n_presentations : sequence of int, (n_images,)
        How often each image was shown.
    params : SplitParams

    Returns
    -------
    list of str, (n_images,)
        'train', 'validation' or 'test'.

    Raises
    ------
    ValueError
        If a tier that training needs (train, validation) stays empty.
    """
    sample = f"{params.method}:{params.seed}"

    def is_test(sha: str, n: int) -> bool:
        if params.method == "repeated":
            return n > 1
        u = _uniform(f"test:{sample}", sha)
        if params.method == "random":
            return u < params.test_fraction
        return int(u * params.n_folds) == params.fold

    tiers = [
        "test"
        if is_test(sha, n)
        else "validation"
        if _uniform(f"validation:{sample}", sha) < params.validation_fraction
        else "train"
        for sha, n in zip(image_sha256, n_presentations, strict=True)
    ]
    for tier in ("train", "validation"):
        if tier not in tiers:
            raise ValueError(
                f"no image is left for the {tier} tier: {len(tiers)} images, of which "
                f"{tiers.count('test')} are the test tier under method '{params.method}'. "
                "Choose another split: for recordings in which every image is repeated, "
                "'kfold' or 'random'."
            )
    return tiers


def resize_image(image: NDArray[np.generic], height: int, width: int) -> NDArray[np.float32]:
    """Resize one grey image (h, w) to (height, width), antialiased, values kept (0-255)."""
    if image.shape == (height, width):
        return image.astype(np.float32)
    return resize(
        image.astype(np.float32), (height, width), order=1, anti_aliasing=True, preserve_range=True
    ).astype(np.float32)


def pixel_digest(*arrays: NDArray[np.generic]) -> str:
    """Return the SHA-256 of the arrays' types, shapes and bytes."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


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
