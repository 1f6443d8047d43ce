"""What maps without feedback make of a task: its controls (naumann22 5)."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator

from science.feedback.contexts import contexts
from science.feedback.controls import (
    FeedforwardControl,
    FeedforwardParams,
    Mixtures,
    feedforward_control,
    linear_control,
)
from science.feedback.task import FeedbackTask, mix
from science.feedback.testing import Conditions

Floats = NDArray[np.float64]


class ControlParams(Conditions):
    """Contexts that the controls are fitted to, and tested in.

    Attributes
    ----------
    n_steps : int
        In a context; unlike networks, controls need not be shown those of the task.
    n_fit : int
        First ones of a context, to which its linear map is fitted; the others test.
    n_contexts : int
        In which each linear map, and the feed-forward network, is tested.
    n_train_contexts : int
        That the feed-forward network is trained on.
    feedforward : FeedforwardParams
        Its layers, window and training.
    """

    n_steps: int = Field(2048, ge=10)
    n_fit: int = Field(1024, ge=3)
    n_contexts: int = Field(20, ge=2)
    n_train_contexts: int = Field(256, ge=1)
    feedforward: FeedforwardParams = FeedforwardParams()

    @model_validator(mode="after")
    def _long_enough(self) -> "ControlParams":
        if self.n_steps < self.n_fit + 2 or self.n_steps <= self.feedforward.window:
            raise ValueError(
                f"contexts of {self.n_steps} steps are too short to fit {self.n_fit} of them and "
                f"test two, or for a window of {self.feedforward.window}: use a larger n_steps"
            )
        return self


@dataclass(frozen=True, eq=False)
class ControlTest:
    """How far maps without feedback come.

    Attributes
    ----------
    linear_r2 : ndarray
        float64, (n_contexts, n_contexts), mean over sources, of the linear map of the first axis in
        the context of the second.
    feedforward : FeedforwardControl
        The trained network.
    """

    linear_r2: Floats
    feedforward: FeedforwardControl

    @property
    def own_r2(self) -> Floats:
        """Of linear maps in their own context, (n_contexts,)."""
        return np.diagonal(self.linear_r2)

    @property
    def other_r2(self) -> Floats:
        """Of linear maps in the other contexts, (n_contexts * (n_contexts - 1),)."""
        return self.linear_r2[~np.eye(len(self.linear_r2), dtype=bool)]

    @property
    def feedforward_r2(self) -> Floats:
        """Of the network, mean over sources, (n_contexts,)."""
        return self.feedforward.r2.mean(-1)


def control_test(
    task: FeedbackTask,
    params: ControlParams | None = None,
    device: torch.device | str = "cpu",
) -> ControlTest:
    """Fit the controls to a task and test them.

    Parameters
    ----------
    task : FeedbackTask
        Its sources, contexts and noise.
    params : ControlParams, optional
    device : torch.device or str
        Where the feed-forward network is trained.
    """
    params = params or ControlParams()
    task, rng = params.of(task), np.random.default_rng(params.seed)
    test = _mixtures(task, params.n_contexts, rng)
    train = _mixtures(task, params.n_train_contexts, rng)
    return ControlTest(
        linear_control(test.inputs, test.sources, params.n_fit).mean(-1),
        feedforward_control(train, test, params.feedforward, device),
    )


def _mixtures(task: FeedbackTask, n_contexts: int, rng: np.random.Generator) -> Mixtures:
    """Draw contexts, in each of which every source starts where it will."""
    shape, record = (task.n_inputs, task.n_outputs), task.record[:, : task.n_outputs]
    mixing = contexts(n_contexts, task.contexts, shape, rng)
    starts = rng.integers(len(record), size=(n_contexts, 1, task.n_outputs))
    times = (np.arange(task.n_steps)[:, None] + starts) % len(record)
    sources = record[times, np.arange(task.n_outputs)]
    return Mixtures(mix(sources, mixing, task.noise, rng).numpy(), sources)
