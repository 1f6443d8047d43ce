"""Training of any family of networks: stages of learning rates, early stopping, checkpoints.

The same seed and thread count give the same bits on the CPU, and a run that was killed goes on from
its last checkpoint to the same result.
"""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, Self

import torch
from pydantic import Field
from torch import nn

from science.params import Params
from science.tensor_bytes import pack_tensors, unpack_tensors


class TrainedElsewhere(Params):
    """Weights that come from a file, instead of a training.

    Attributes
    ----------
    source : str
        Who trained them, or where they are published.
    sha256 : str
        Of the file.
    """

    source: str = Field(min_length=1)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


@dataclass(frozen=True)
class Schedule:
    """How long a network is trained.

    Attributes
    ----------
    learning_rates : tuple of float
        One stage each, which starts from the best state so far with a fresh optimiser.
    max_epoch : int
        Cap on the epochs of all stages together.
    patience : int
        Epochs without improvement that end a stage.
    tolerance : float
        Least increase of the score that counts as improvement.
    score_every : int, optional
        If given, the last state is the result, not the best one, and only every so many epochs and
        the last are scored.
    """

    learning_rates: tuple[float, ...]
    max_epoch: int
    patience: int
    tolerance: float
    score_every: int | None = None

    @classmethod
    def of_epochs(cls, learning_rate: float, n_epochs: int, score_every: int | None = None) -> Self:
        """Return one stage that only its number of epochs ends: for losses that rest for long."""
        return cls((learning_rate,), n_epochs, n_epochs + 1, 0.0, score_every)

    def scores(self, epoch: int) -> bool:
        """Whether the state after an epoch is scored."""
        every = self.score_every
        return every is None or epoch % every == 0 or epoch == self.max_epoch


def identity(**parts: Params) -> dict[str, Any]:
    """Return parameter sets by name as the JSON values that tell a run from others."""
    return {name: part.model_dump(mode="json") for name, part in parts.items()}


class Trainee(Protocol):
    """What a family provides, so that its networks can be trained.

    Attributes
    ----------
    identity : dict
        JSON values that tell this run from others, but for its seed.
    schedule : Schedule
    """

    identity: dict[str, Any]
    schedule: Schedule

    def build(self, generator: torch.Generator) -> nn.Module:
        """Return the initial network, on the device it is trained on."""
        ...

    def optimizer(self, network: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
        """Return a fresh optimiser of all its parameters."""
        ...

    def run_epoch(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, generator: torch.Generator
    ) -> dict[str, float]:
        """Train for an epoch; return the mean over its steps of every term of the loss."""
        ...

    def score(self, network: nn.Module) -> float:
        """Return how good the network is on what it is not trained on; larger is better."""
        ...


@dataclass(frozen=True)
class EpochRecord:
    """What is known after an epoch.

    Attributes
    ----------
    epoch : int
        From 1, over all learning rates.
    learning_rate : float
        Of the stage.
    losses : dict of str to float
        Mean over its gradient steps of every term of the loss, weighted, by name.
    score : float, optional
        After the epoch; None where the schedule says that it is not scored.
    """

    epoch: int
    learning_rate: float
    losses: dict[str, float]
    score: float | None

    @property
    def train_loss(self) -> float:
        """Sum of all terms."""
        return sum(self.losses.values())


@dataclass(frozen=True)
class TrainingResult:
    """A trained network.

    Attributes
    ----------
    network : nn.Module
        In its best state, or the last one if the schedule says so, and in evaluation mode.
    status : {"ok", "nonfinite"}
        Whether loss or score ceased to be finite, which ends the training.
    curve : list of EpochRecord
        One per epoch.
    best_epoch : int
        Epoch of that state, 0 for the initial one.
    score : float
        Of that state.
    n_resumptions : int
        How often the run went on from a checkpoint.
    """

    network: nn.Module
    status: Literal["ok", "nonfinite"]
    curve: list[EpochRecord]
    best_epoch: int
    score: float
    n_resumptions: int = 0


class Training:
    """A training run, epoch by epoch.

    Parameters
    ----------
    trainee : Trainee
        What is trained, on what, and for how long.
    seed : int
        Of all that is drawn: initial parameters, order of trials, ...

    Attributes
    ----------
    curve : list of EpochRecord
        So far.
    """

    def __init__(self, trainee: Trainee, seed: int) -> None:
        self._trainee = trainee
        self._identity = {**trainee.identity, "seed": seed}
        self._generator = torch.Generator().manual_seed(seed)
        self._network = trainee.build(self._generator)
        self._best_state = copy.deepcopy(self._network.state_dict())
        self._best_score = trainee.score(self._network)
        self._best_epoch = 0
        self._finite = math.isfinite(self._best_score)
        self._stage = 0
        self._n_resumptions = 0
        self.curve: list[EpochRecord] = []
        self._start_stage()

    @property
    def finished(self) -> bool:
        """Whether there is no epoch to come."""
        schedule = self._trainee.schedule
        return (
            not self._finite
            or self._stage == len(schedule.learning_rates)
            or len(self.curve) >= schedule.max_epoch
        )

    def run_epoch(self) -> EpochRecord:
        """Train for an epoch, score, and start the next stage if this one has ended."""
        return self.finish_epoch(self._trainee.run_epoch(*self.parts))

    @property
    def parts(self) -> tuple[nn.Module, torch.optim.Optimizer, torch.Generator]:
        """Network, optimiser of the stage, and source of all that is drawn."""
        return self._network, self._optimizer, self._generator

    def finish_epoch(self, losses: dict[str, float]) -> EpochRecord:
        """Score if it is time to, and start the next stage if this one has ended.

        Parameters
        ----------
        losses : dict of str to float
            Of the epoch for which the network was trained, as `Trainee.run_epoch` returns them.
        """
        schedule, epoch = self._trainee.schedule, len(self.curve) + 1
        score = self._trainee.score(self._network) if schedule.scores(epoch) else None
        record = EpochRecord(epoch, schedule.learning_rates[self._stage], losses, score)
        self.curve.append(record)
        self._finite = all(map(math.isfinite, (record.train_loss, score or 0.0)))
        if self._finite and score is not None and self._is_kept(score):
            self._best_state = copy.deepcopy(self._network.state_dict())
            self._best_score, self._best_epoch, self._stale = score, epoch, 0
        else:
            self._stale += 1
        if self._stale >= schedule.patience:
            self._stage += 1
            if not self.finished:
                self._start_stage()
        return record

    def _is_kept(self, score: float) -> bool:
        schedule = self._trainee.schedule
        return schedule.score_every is not None or score > self._best_score + schedule.tolerance

    def result(self) -> TrainingResult:
        """Return the network in its best or last state, and the curve."""
        self._network.load_state_dict(self._best_state)
        return TrainingResult(
            self._network.eval(),
            "ok" if self._finite else "nonfinite",
            self.curve,
            self._best_epoch,
            self._best_score,
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
            "counters": [self._best_score, self._best_epoch, self._stage, self._stale],
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
        self._best_score, self._best_epoch, self._stage, stale = header["counters"]
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
        rate = self._trainee.schedule.learning_rates[self._stage]
        self._optimizer = self._trainee.optimizer(self._network, rate)
        self._stale = 0


def train(
    trainee: Trainee,
    seed: int,
    checkpoint: bytes | None = None,
    after_epoch: Callable[[Training], None] | None = None,
) -> TrainingResult:
    """Train a network from beginning to end.

    Parameters
    ----------
    trainee, seed
        As of `Training`.
    checkpoint : bytes, optional
        Of the same run, to go on from.
    after_epoch : callable, optional
        Called with the run after every epoch but the last.
    """
    training = Training(trainee, seed)
    if checkpoint is not None:
        training.resume(checkpoint)
    while not training.finished:
        training.run_epoch()
        if after_epoch is not None and not training.finished:
            after_epoch(training)
    return training.result()


def save_every(seconds: float, save: Callable[[bytes], None]) -> Callable[[Training], None]:
    """Return an `after_epoch` of `train` that saves a checkpoint when the last one is so old."""
    last = time.monotonic()

    def after_epoch(training: Training) -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            save(training.checkpoint())
            last = time.monotonic()

    return after_epoch
