"""Training of image networks: Poisson loss, early stopping, learning-rate stages.

Follows microns_vei 8.3 with its defects fixed: every training sample is used once per epoch, and
the same seed and thread count give the same bits on the CPU.
"""

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal

import torch
from torch import Tensor

from science.model.config import ImageModelConfig, TrainConfig
from science.model.network import ImageNetwork, predict


@dataclass(frozen=True)
class TrialData:
    """Trials of one recording in one tier.

    Attributes
    ----------
    images : Tensor
        float32, (n, 1, h, w), z-scored.
    responses : Tensor
        float32, (n, n_units), divided by each unit's training standard deviation.
    behavior : None
        Place of pupil radius, its derivative and speed, (n, 3), for a modulator.
    pupil_center : None
        Place of the z-scored eye position, (n, 2), for a shifter.
    """

    images: Tensor
    responses: Tensor
    behavior: None = None
    pupil_center: None = None

    def to(self, device: torch.device | str) -> "TrialData":
        """Trials as float32 on a device."""
        return TrialData(
            self.images.to(device, torch.float32), self.responses.to(device, torch.float32)
        )


@dataclass(frozen=True)
class EpochRecord:
    """What is known after an epoch; losses are means over its gradient steps.

    Attributes
    ----------
    epoch : int
        From 1, over all learning rates.
    learning_rate : float
        Of the stage.
    train_loss : float
        Poisson loss and regularisers.
    poisson : float
        Poisson loss alone.
    regularizers : dict of str to float
        Weighted terms by name.
    validation_corr : float
        Mean over all units of all recordings of the single-trial correlation.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    poisson: float
    regularizers: dict[str, float]
    validation_corr: float


@dataclass(frozen=True)
class TrainingResult:
    """A trained network.

    Attributes
    ----------
    network : ImageNetwork
        In its best state and in evaluation mode.
    status : {"ok", "nonfinite"}
        Whether loss or objective ceased to be finite, which ends the training.
    curve : list of EpochRecord
        One per epoch.
    best_epoch : int
        Epoch of the best state, 0 for the initial one.
    validation_corr : float
        Objective of the best state.
    """

    network: ImageNetwork
    status: Literal["ok", "nonfinite"]
    curve: list[EpochRecord]
    best_epoch: int
    validation_corr: float


def train(
    config: ImageModelConfig,
    train_config: TrainConfig,
    train: Mapping[str, TrialData],
    validation: Mapping[str, TrialData],
    seed: int,
    device: torch.device | str = "cpu",
    on_epoch: Callable[[EpochRecord], None] | None = None,
) -> TrainingResult:
    """Train a network on recordings that share its core.

    Each learning rate of the schedule starts from the best state so far with a fresh Adam and
    lasts until the validation correlation has not improved for `patience` epochs.

    Parameters
    ----------
    config : ImageModelConfig
        Architecture.
    train_config : TrainConfig
        Batch size, learning rates, early stopping.
    train, validation : mapping of str to TrialData
        Trials by readout key, the same keys in both.
    seed : int
        Seed of initial parameters and order of trials.
    device : torch.device or str
        Where to train; all data are moved there.
    on_epoch : callable, optional
        Called with each epoch's record.

    Returns
    -------
    TrainingResult
        Network on `device`, status and learning curve.

    Raises
    ------
    ValueError
        If the trials are empty, inconsistent or not finite.
    """
    _check_trials(train, validation)
    train = {key: trials.to(device) for key, trials in train.items()}
    validation = {key: trials.to(device) for key, trials in validation.items()}
    generator = torch.Generator().manual_seed(seed)
    network = _build(config, train, generator)
    best = _Best(network, validation_correlation(network, validation))
    curve: list[EpochRecord] = []
    finite = math.isfinite(best.corr)
    for learning_rate in train_config.schedule:
        optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
        stale = 0
        while finite and stale < train_config.patience and len(curve) < train_config.max_epoch:
            losses = run_epoch(network, optimizer, train, train_config.batch_size, generator)
            corr = validation_correlation(network, validation)
            loss, poisson = sum(losses.values()), losses.pop("poisson")
            curve.append(EpochRecord(len(curve) + 1, learning_rate, loss, poisson, losses, corr))
            if on_epoch is not None:
                on_epoch(curve[-1])
            finite = math.isfinite(loss) and math.isfinite(corr)
            improved = finite and corr > best.corr + train_config.tolerance
            stale = 0 if improved else stale + 1
            if improved:
                best = _Best(network, corr, len(curve))
        network.load_state_dict(best.state)
    status = "ok" if finite else "nonfinite"
    return TrainingResult(network.eval(), status, curve, best.epoch, best.corr)


class _Best:
    """Copy of a network's state with its objective and epoch."""

    def __init__(self, network: ImageNetwork, corr: float, epoch: int = 0) -> None:
        self.state = copy.deepcopy(network.state_dict())
        self.corr = corr
        self.epoch = epoch


def poisson_loss(prediction: Tensor, response: Tensor) -> Tensor:
    """Mean of ``prediction - response log(prediction)``, the Poisson loss less its constant.

    Parameters
    ----------
    prediction : Tensor
        float32, (b, n_units), >= 0.
    response : Tensor
        float32, (b, n_units), real-valued.

    Returns
    -------
    Tensor
        float32, scalar.
    """
    return (prediction - response * torch.log(prediction + 1e-12)).mean()


def run_epoch(
    network: ImageNetwork,
    optimizer: torch.optim.Optimizer,
    train: Mapping[str, TrialData],
    batch_size: int,
    generator: torch.Generator,
) -> dict[str, float]:
    """Use every training trial once, one gradient step per batch.

    Parameters
    ----------
    network : ImageNetwork
        Changed in place.
    optimizer : torch.optim.Optimizer
        Over the network's parameters.
    train : mapping of str to TrialData
        Trials on the device of the network.
    batch_size : int
        Images per step.
    generator : torch.Generator
        CPU source of the order of trials.

    Returns
    -------
    dict of str to float
        Mean over steps of the Poisson loss (``"poisson"``) and of every term of the regulariser.
    """
    network.train()
    steps = []
    n_trials = {key: len(trials.images) for key, trials in train.items()}
    for key, index in round_robin(n_trials, batch_size, generator):
        trials, index = train[key], index.to(train[key].images.device)
        prediction = network(trials.images[index], key)
        terms = {"poisson": poisson_loss(prediction, trials.responses[index])}
        terms |= network.regularizers(key)
        values = torch.stack(list(terms.values()))
        optimizer.zero_grad()
        values.sum().backward()
        optimizer.step()
        network.constrain()
        steps.append(values.detach())
    return dict(zip(terms, torch.stack(steps).mean(0).tolist(), strict=True))


def round_robin(
    n_trials: Mapping[str, int], batch_size: int, generator: torch.Generator
) -> Iterator[tuple[str, Tensor]]:
    """Shuffled batches of all recordings in turns, until every trial was used once.

    Parameters
    ----------
    n_trials : mapping of str to int
        Trials of every recording.
    batch_size : int
        Trials per batch; the last batch of a recording may be smaller.
    generator : torch.Generator
        Source of the order.

    Yields
    ------
    str, Tensor
        Readout key and int64 indices of trials, (<= batch_size,).
    """
    batches = [torch.randperm(n, generator=generator).split(batch_size) for n in n_trials.values()]
    for turn in zip_longest(*batches):
        for key, index in zip(n_trials, turn, strict=True):
            if index is not None:
                yield key, index


def validation_correlation(network: ImageNetwork, trials: Mapping[str, TrialData]) -> float:
    """Single-trial correlation, averaged over all units of all recordings.

    Parameters
    ----------
    network : ImageNetwork
        Evaluated in evaluation mode.
    trials : mapping of str to TrialData
        Trials on the device of the network.

    Returns
    -------
    float
        In [-1, 1]. A unit whose response or prediction is constant counts as 0, so that a dead
        unit lowers the objective; NaN if a prediction is not finite.
    """
    scores = []
    for key, data in trials.items():
        pair = torch.stack([predict(network, data.images, key), data.responses]).double()
        constant = (pair.amax(1) == pair.amin(1)).any(0)
        pair = pair - pair.mean(1, keepdim=True)
        corr = (pair[0] * pair[1]).sum(0) / pair.square().sum(1).prod(0).sqrt()
        scores.append(corr.masked_fill(constant, 0.0))
    return torch.cat(scores).mean().item()


def _build(
    config: ImageModelConfig, train: Mapping[str, TrialData], generator: torch.Generator
) -> ImageNetwork:
    """Network for the shapes of the trials, initialised on the CPU, on the trials' device."""
    first = next(iter(train.values())).images
    n_units = {key: trials.responses.shape[1] for key, trials in train.items()}
    network = ImageNetwork(config, tuple(first.shape[-2:]), n_units)
    means = {key: trials.responses.mean(0).cpu() for key, trials in train.items()}
    network.initialize(means, generator)
    return network.to(first.device)


def _check_trials(train: Mapping[str, TrialData], validation: Mapping[str, TrialData]) -> None:
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
            _check_recording(f"{tier} trials of {key!r}", trials)
        if train[key].responses.shape[1] != validation[key].responses.shape[1]:
            raise ValueError(f"{key!r} has different numbers of units in train and validation")


def _check_recording(name: str, trials: TrialData) -> None:
    images, responses = trials.images, trials.responses
    if images.ndim != 4 or images.shape[1] != 1 or responses.ndim != 2:
        raise ValueError(
            f"{name}: images must be (n, 1, h, w) and responses (n, units), got "
            f"{tuple(images.shape)} and {tuple(responses.shape)}"
        )
    if len(images) != len(responses) or len(images) == 0:
        raise ValueError(f"{name}: {len(images)} images and {len(responses)} responses")
    if not (images.isfinite().all() and responses.isfinite().all()):
        raise ValueError(f"{name} are not finite: drop or fill these trials first")
