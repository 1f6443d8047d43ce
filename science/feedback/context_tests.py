"""A trained network in contexts it never saw: clarity, decoding, errors (naumann22 5)."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator

from science.feedback.clarity import SignalClarity, signal_clarity
from science.feedback.contexts import contexts
from science.feedback.decoding import SourceDecoding, decode_sources
from science.feedback.network import FeedbackNetwork
from science.feedback.networks import LinearNetwork
from science.feedback.subspaces import PrincipalComponents, principal_components
from science.feedback.task import FeedbackTask
from science.feedback.testing import Conditions, ContextTraces, run_contexts
from science.feedback.unmixing import deviation, inverse_distance

Floats = NDArray[np.float64]

LEGACY_TRAINING = 32
"""Contexts that the original draws for a batch of training before those of its test."""

POPULATIONS = {"z": "population", "zL": "lower"}
"""Names of populations in the original and here."""


class ContextTestParams(Conditions):
    """What a network is tested in.

    Attributes
    ----------
    n_contexts : int
        One after the other, without a reset.
    n_train_contexts : int
        The first ones, which linear decoders of the sources are fitted to; the others test them.
    legacy : bool
        Contexts are those that the original's demos draw from the seed, after a batch for training.
    """

    n_contexts: int = Field(20, ge=3)
    n_train_contexts: int = Field(10, ge=1)
    legacy: bool = False

    @model_validator(mode="after")
    def _some_are_left(self) -> "ContextTestParams":
        if self.n_train_contexts >= self.n_contexts:
            raise ValueError(
                f"decoders that are fitted to {self.n_train_contexts} of {self.n_contexts} "
                "contexts leave none to test them: use a smaller n_train_contexts"
            )
        return self

    def contexts(self, task: FeedbackTask, rng: np.random.Generator) -> NDArray[np.float32]:
        """Draw the contexts, (n_contexts, i, o)."""
        shape = (task.n_inputs, task.n_outputs)
        if not self.legacy:
            return contexts(self.n_contexts, task.contexts, shape, rng)
        n, legacy = LEGACY_TRAINING + self.n_contexts, np.random.RandomState(self.seed)
        return contexts(n, task.contexts, shape, legacy)[LEGACY_TRAINING:]


class Means(NamedTuple):
    """Means over all contexts but the first, in which a network starts from nothing.

    Attributes
    ----------
    start : float
        Over the first tenth of the steps of a context.
    all : float
        Over all of them.
    end : float
        Over the second half.
    """

    start: float
    all: float
    end: float


@dataclass(frozen=True, eq=False)
class PopulationTest:
    """What is found of one population.

    Attributes
    ----------
    clarity : SignalClarity
        Of every unit in every context.
    decoding : SourceDecoding
        Of the sources.
    components : PrincipalComponents
        Over all contexts, three at most.
    """

    clarity: SignalClarity
    decoding: SourceDecoding
    components: PrincipalComponents


@dataclass(frozen=True, eq=False)
class ContextTest:
    """What is found of a network.

    Attributes
    ----------
    task : FeedbackTask
        As it was tested.
    traces : ContextTraces
        Of a single run.
    deviation : ndarray
        float64, (n_contexts, n_steps), distance of outputs and sources.
    inverse_distance : ndarray, optional
        float64, (n_contexts, n_steps), of the effective weights from the inverse of the mixing;
        None where outputs are not linear in the inputs.
    populations : dict of str to PopulationTest
        "inputs", "outputs", and as far as the network has them "population", which the outputs are
        read from, and "lower", the one below it.
    """

    task: FeedbackTask
    traces: ContextTraces
    deviation: Floats
    inverse_distance: Floats | None
    populations: dict[str, PopulationTest]


def context_test(
    network: FeedbackNetwork, task: FeedbackTask, params: ContextTestParams | None = None
) -> ContextTest:
    """Test a network in new contexts.

    Parameters
    ----------
    network : FeedbackNetwork
        On any device.
    task : FeedbackTask
        It was trained on.
    params : ContextTestParams, optional

    Raises
    ------
    ValueError
        If there are fewer than two outputs, or fewer than ten steps in a context.
    """
    params = params or ContextTestParams()
    task = params.of(task)
    check_test(task)
    rng = np.random.default_rng(params.seed)
    mixing = params.contexts(task, rng)
    traces = run_contexts(network, task, mixing[None], rng)
    named = {POPULATIONS[n]: v for n, v in traces.activity.items() if n in POPULATIONS}
    activities = {"inputs": traces.inputs, "outputs": traces.outputs} | named
    return ContextTest(
        task,
        traces,
        deviation(traces.targets, traces.outputs[0]),
        _inverse_distance(network, traces),
        {
            name: _population_test(traces.targets, activity[0], params.n_train_contexts)
            for name, activity in activities.items()
        },
    )


def check_test(task: FeedbackTask) -> None:
    """Refuse a task without sources to tell apart, or without steps to settle in.

    Raises
    ------
    ValueError
        Fewer than two outputs, or fewer than ten steps.
    """
    if task.n_outputs < 2:
        raise ValueError("clarity compares sources: test a network with two outputs or more")
    if task.n_steps < 10:
        raise ValueError(
            f"contexts of {task.n_steps} steps leave none to settle in: test with n_steps of 10 "
            "or more"
        )


def means(values: Floats) -> Means:
    """Summarise a course, (n_contexts, n_steps)."""
    later, n_steps = values[1:], values.shape[1]
    parts = later[:, : n_steps // 10], later, later[:, -(n_steps // 2) :]
    return Means(*(float(part.mean()) for part in parts))


def _inverse_distance(network: FeedbackNetwork, traces: ContextTraces) -> Floats | None:
    if not isinstance(network, LinearNetwork):
        return None
    modulation = traces.activity.get("m", traces.activity.get("w"))[0]
    with torch.no_grad():
        seen = torch.from_numpy(modulation).to(network.readout.weight)
        weights = network.effective_weights(seen).cpu().numpy()
    shape = (*weights.shape[:-1], network.n_outputs, network.n_inputs)
    return inverse_distance(weights.reshape(shape), traces.mixing[0][:, None])


def _population_test(
    targets: NDArray[np.float32], activity: NDArray[np.float32], n_train: int
) -> PopulationTest:
    n_units = activity.shape[-1]
    return PopulationTest(
        signal_clarity(targets, activity),
        decode_sources(activity, targets, n_train),
        principal_components(activity.reshape(-1, n_units), min(3, n_units)),
    )
