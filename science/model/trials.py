"""Trials as tensors, and whether a network can be trained on them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from science.model.config import ImageModelConfig
from science.model.modulators import N_BEHAVIOR


@dataclass(frozen=True)
class TrialData:
    """Trials of one recording in one tier.

    Attributes
    ----------
    images : Tensor
        float32, (n, 1, h, w), z-scored.
    responses : Tensor
        float32, (n, n_units), divided by each unit's training standard deviation.
    behavior : Tensor, optional
        float32, (n, 3), scaled pupil radius, its derivative and speed, for a modulator.
    pupil_center : Tensor, optional
        float32, (n, 2), z-scored eye position, for a shifter.
    """

    images: Tensor
    responses: Tensor
    behavior: Tensor | None = None
    pupil_center: Tensor | None = None

    def to(self, device: torch.device | str) -> "TrialData":
        """Trials as float32 on a device."""
        return self._each(lambda values: values.to(device, torch.float32))

    def take(self, index: Tensor) -> "TrialData":
        """Return some of the trials."""
        return self._each(lambda values: values[index])

    def _each(self, change: Callable[[Tensor], Tensor]) -> "TrialData":
        fields = (self.images, self.responses, self.behavior, self.pupil_center)
        return TrialData(*(None if values is None else change(values) for values in fields))


def check_trials(
    train: Mapping[str, TrialData], validation: Mapping[str, TrialData], config: ImageModelConfig
) -> None:
    """Refuse trials that a network cannot be trained on.

    Raises
    ------
    ValueError
        If they are empty, inconsistent, not finite or lack what the network needs.
    """
    if not train or train.keys() != validation.keys():
        raise ValueError(
            f"train and validation need the same recordings, got {sorted(train)} "
            f"and {sorted(validation)}"
        )
    shapes = {trials.images.shape[1:] for tier in (train, validation) for trials in tier.values()}
    if len(shapes) > 1:
        raise ValueError(f"images differ in shape between recordings or tiers: {shapes}")
    for key in train:
        for tier, trials in (("train", train[key]), ("validation", validation[key])):
            _check_recording(f"{tier} trials of {key!r}", trials, config)
        if train[key].responses.shape[1] != validation[key].responses.shape[1]:
            raise ValueError(f"{key!r} has different numbers of units in train and validation")


def _check_recording(name: str, trials: TrialData, config: ImageModelConfig) -> None:
    images, responses = trials.images, trials.responses
    if images.ndim != 4 or images.shape[1] != 1 or responses.ndim != 2:
        raise ValueError(
            f"{name}: images must be (n, 1, h, w) and responses (n, units), got "
            f"{tuple(images.shape)} and {tuple(responses.shape)}"
        )
    if len(images) != len(responses) or len(images) == 0:
        raise ValueError(f"{name}: {len(images)} images and {len(responses)} responses")
    needed = [images, responses]
    for wanted, values, part, width in (
        (config.shifter, trials.pupil_center, "shifter needs pupil_center", 2),
        (config.modulator, trials.behavior, "modulator needs behavior", N_BEHAVIOR),
    ):
        if wanted is None:
            continue
        if values is None or values.shape != (len(images), width):
            shape = None if values is None else tuple(values.shape)
            raise ValueError(f"{name}: the {part} of ({len(images)}, {width}), got {shape}")
        needed.append(values)
    if not all(values.isfinite().all() for values in needed):
        raise ValueError(f"{name} are not finite: drop or fill these trials first")
