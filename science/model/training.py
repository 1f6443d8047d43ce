"""Training of image networks: Poisson loss, early stopping, learning-rate stages.

Follows microns_vei 8.3 with its defects fixed: every training sample is used once per epoch, the
same seed and thread count give the same bits on the CPU, and a run that was killed goes on from its
last checkpoint to the same result.
"""

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any, Literal

import torch
from torch import Tensor

from science.model.config import ImageModelConfig, TrainConfig
from science.model.locate import locate
from science.model.network import ImageNetwork, predict
from science.model.tensor_bytes import pack_tensors, unpack_tensors
from science.model.trials import TrialData, check_trials


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
    n_resumptions : int
        How often the run went on from a checkpoint.
    """

    network: ImageNetwork
    status: Literal["ok", "nonfinite"]
    curve: list[EpochRecord]
    best_epoch: int
    validation_corr: float
    n_resumptions: int = 0


class Training:
    """A training run, epoch by epoch, of a network on recordings that share its core.

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

    Attributes
    ----------
    curve : list of EpochRecord
        So far.

    Raises
    ------
    ValueError
        If the trials are empty, inconsistent, not finite or lack what the network needs.
    """

    def __init__(
        self,
        config: ImageModelConfig,
        train_config: TrainConfig,
        train: Mapping[str, TrialData],
        validation: Mapping[str, TrialData],
        seed: int,
        device: torch.device | str = "cpu",
    ) -> None:
        check_trials(train, validation, config)
        self._train_config = train_config
        self._identity = {
            "config": config.model_dump(mode="json"),
            "train_config": train_config.model_dump(mode="json"),
            "seed": seed,
        }
        self._train = {key: trials.to(device) for key, trials in train.items()}
        self._validation = {key: trials.to(device) for key, trials in validation.items()}
        self._generator = torch.Generator().manual_seed(seed)
        self._network = _build(config, self._train, self._generator)
        self._best_state = copy.deepcopy(self._network.state_dict())
        self._best_corr = validation_correlation(self._network, self._validation)
        self._best_epoch = 0
        self._finite = math.isfinite(self._best_corr)
        self._stage = 0
        self._n_resumptions = 0
        self.curve: list[EpochRecord] = []
        self._start_stage()

    @property
    def finished(self) -> bool:
        """Whether there is no epoch to come."""
        return (
            not self._finite
            or self._stage == len(self._train_config.schedule)
            or len(self.curve) >= self._train_config.max_epoch
        )

    def run_epoch(self) -> EpochRecord:
        """Train for an epoch, validate, and start the next stage if this one has ended."""
        network, optimizer, generator = self.parts
        batch_size = self._train_config.batch_size
        return self.finish_epoch(run_epoch(network, optimizer, self._train, batch_size, generator))

    @property
    def parts(self) -> tuple[ImageNetwork, torch.optim.Adam, torch.Generator]:
        """Network, optimiser of the stage, and source of the order of trials."""
        return self._network, self._optimizer, self._generator

    def finish_epoch(self, losses: dict[str, float]) -> EpochRecord:
        """Validate, and start the next stage if this one has ended.

        Parameters
        ----------
        losses : dict of str to float
            Of the epoch for which the network was trained, as `run_epoch` returns them.
        """
        config = self._train_config
        corr = validation_correlation(self._network, self._validation)
        loss, poisson = sum(losses.values()), losses.pop("poisson")
        rate = config.schedule[self._stage]
        self.curve.append(EpochRecord(len(self.curve) + 1, rate, loss, poisson, losses, corr))
        self._finite = math.isfinite(loss) and math.isfinite(corr)
        if self._finite and corr > self._best_corr + config.tolerance:
            self._best_state = copy.deepcopy(self._network.state_dict())
            self._best_corr, self._best_epoch, self._stale = corr, len(self.curve), 0
        else:
            self._stale += 1
        if self._stale >= config.patience:
            self._stage += 1
            if not self.finished:
                self._start_stage()
        return self.curve[-1]

    def result(self) -> TrainingResult:
        """Return the network in its best state, and the curve."""
        self._network.load_state_dict(self._best_state)
        return TrainingResult(
            self._network.eval(),
            "ok" if self._finite else "nonfinite",
            self.curve,
            self._best_epoch,
            self._best_corr,
            self._n_resumptions,
        )

    def checkpoint(self) -> bytes:
        """Return all that a run with the same arguments needs to go on from here."""
        groups = {"network": self._network.state_dict(), "best": self._best_state}
        for index, state in self._optimizer.state_dict()["state"].items():
            groups[f"optimizer.{index}"] = state
        tensors = {f"{g}/{n}": value for g, state in groups.items() for n, value in state.items()}
        header = {
            "identity": self._identity,
            "curve": [asdict(record) for record in self.curve],
            "counters": [self._best_corr, self._best_epoch, self._stage, self._stale],
            "n_resumptions": self._n_resumptions,
        }
        return pack_tensors(tensors | {"generator": self._generator.get_state()}, header)

    def resume(self, checkpoint: bytes) -> None:
        """Go on from a checkpoint of a run with the same arguments.

        Raises
        ------
        ValueError
            If the checkpoint is damaged or of another run.
        """
        tensors, header = unpack_tensors(checkpoint)
        if header.get("identity") != self._identity:
            raise ValueError("the checkpoint is of a run with another configuration or seed")
        groups: dict[str, dict[str, Any]] = {}
        for name, value in tensors.items():
            group, _, member = name.partition("/")
            groups.setdefault(group, {})[member] = value
        self._generator.set_state(tensors["generator"])
        self.curve = [EpochRecord(**record) for record in header["curve"]]
        self._best_corr, self._best_epoch, self._stage, stale = header["counters"]
        self._best_state = groups["best"]
        self._start_stage()
        self._stale = stale
        self._network.load_state_dict(groups["network"])
        optimizer = self._optimizer.state_dict()
        optimizer["state"] = {
            int(group.removeprefix("optimizer.")): state
            for group, state in groups.items()
            if group.startswith("optimizer.")
        }
        self._optimizer.load_state_dict(optimizer)
        self._n_resumptions = header["n_resumptions"] + 1

    def _start_stage(self) -> None:
        self._network.load_state_dict(self._best_state)
        rate = self._train_config.schedule[self._stage]
        self._optimizer = torch.optim.Adam(self._network.parameters(), lr=rate)
        self._stale = 0


def train(
    config: ImageModelConfig,
    train_config: TrainConfig,
    train: Mapping[str, TrialData],
    validation: Mapping[str, TrialData],
    seed: int,
    device: torch.device | str = "cpu",
) -> TrainingResult:
    """Train a network from beginning to end; parameters and errors as of `Training`."""
    training = Training(config, train_config, train, validation, seed, device)
    while not training.finished:
        training.run_epoch()
    return training.result()


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
        CPU source of the order of trials, and of what a readout draws.

    Returns
    -------
    dict of str to float
        Mean over steps of the Poisson loss (``"poisson"``) and of every term of the regulariser.
    """
    network.train()
    steps = []
    n_trials = {key: len(trials.images) for key, trials in train.items()}
    for key, index in round_robin(n_trials, batch_size, generator):
        trials = train[key].take(index.to(train[key].images.device))
        prediction = network(trials.images, key, trials.behavior, trials.pupil_center, generator)
        terms = {"poisson": poisson_loss(prediction, trials.responses)}
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
        predicted = predict(network, data.images, key, data.behavior, data.pupil_center)
        pair = torch.stack([predicted, data.responses]).double()
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
    if getattr(config.readout, "start", None) == "located":
        for key, trials in train.items():
            network.place(key, locate(trials.images, trials.responses))
    return network.to(first.device)
