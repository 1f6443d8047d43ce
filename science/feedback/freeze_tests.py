"""The freeze experiment on a trained network, for many pairs of contexts (naumann22 4 and 5)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from science.feedback.config import FeedbackConfig
from science.feedback.context_space import context_distance, same_side
from science.feedback.context_tests import ContextTestParams
from science.feedback.contexts import contexts
from science.feedback.freezing import FreezeResult, FreezeTraces, freeze_experiment
from science.feedback.network import FeedbackNetwork
from science.feedback.networks import SpatialNet
from science.feedback.subspaces import (
    PrincipalComponents,
    image_plane_normal,
    plane_angle,
    principal_components,
)
from science.feedback.task import FeedbackTask
from science.feedback.testing import Conditions, ContextTraces, run_contexts
from science.feedback.unmixing import effective_weights

Floats = NDArray[np.float64]

LEGACY_FIRST_PAIR = 100
"""What is added to the seed for the first pair of the original; the next ones follow."""


class FreezeParams(Conditions):
    """Pairs of contexts between which feedback is frozen.

    Attributes
    ----------
    n_pairs : int
        Each runs on its own, from the start.
    n_contexts : int
        Of the run over which the first principal component is taken.
    late_fraction : float
        Of a phase, its end, in which modulation has settled: 0.6 in the published figures.
    legacy : bool
        Contexts are those of the original's tables: pairs from seeds of their own.
    """

    n_pairs: int = Field(60, ge=1)
    n_contexts: int = Field(20, ge=3)
    late_fraction: float = Field(0.6, gt=0, le=1)
    legacy: bool = False

    def pairs(self, task: FeedbackTask, rng: np.random.Generator) -> NDArray[np.float32]:
        """Draw the pairs, (n_pairs, 2, i, o)."""
        shape = (task.n_inputs, task.n_outputs)
        if not self.legacy:
            return contexts(2 * self.n_pairs, task.contexts, shape, rng).reshape(-1, 2, *shape)
        seeds = self.seed + LEGACY_FIRST_PAIR + np.arange(self.n_pairs)
        sources = map(np.random.RandomState, seeds)
        # each draws a context for training first
        return np.stack([contexts(3, task.contexts, shape, source)[1:] for source in sources])


@dataclass(frozen=True, eq=False)
class FreezeTest:
    """What is found in all pairs.

    Attributes
    ----------
    pairs : ndarray
        float32, (n_pairs, 2, 2, 2), contexts.
    whole, late : FreezeResult
        Of whole phases and of their ends.
    analytic_angle_frozen : ndarray, optional
        float64, (n_pairs,), degrees: of the plane in the original phase and the image of the inputs
        under frozen gains. None where a population is not linear.
    """

    pairs: NDArray[np.float32]
    whole: FreezeResult
    late: FreezeResult
    analytic_angle_frozen: Floats | None

    @property
    def distance(self) -> Floats:
        """Of the two contexts, (n_pairs,)."""
        return context_distance(self.pairs[:, 0], self.pairs[:, 1])

    @property
    def same_side(self) -> NDArray[np.bool_]:
        """Whether both determinants have one sign, (n_pairs,)."""
        return same_side(self.pairs[:, 0], self.pairs[:, 1])


def check_freezing(config: FeedbackConfig, task: FeedbackTask, params: FreezeParams) -> None:
    """Refuse what has no subspace to look at.

    Raises
    ------
    ValueError
        A network without a modulated population or with fewer than three units in it, other than
        two inputs and outputs, or contexts that cannot be halved into phases.
    """
    if config.type not in ("spatial", "dale"):
        raise ValueError(
            f"a network of the type {config.type!r} has no population whose subspace could turn: "
            "freeze feedback in networks of the types 'spatial' and 'dale'"
        )
    if config.n_units < 3:
        raise ValueError(f"a population of {config.n_units} units has no plane: use three or more")
    if (task.n_inputs, task.n_outputs) != (2, 2):
        raise ValueError(
            "planes are compared of networks with two inputs and two outputs, not "
            f"{task.n_inputs} and {task.n_outputs}"
        )
    n_steps = params.of(task).n_steps
    if n_steps % 2 or n_steps < 10:
        raise ValueError(
            f"{n_steps} steps of a context are no two equal phases of 5 or more: freeze with "
            "another n_steps"
        )


def freeze_test(
    network: FeedbackNetwork, task: FeedbackTask, params: FreezeParams | None = None
) -> FreezeTest:
    """Freeze feedback for the first half of a second context, in many pairs at once.

    Parameters
    ----------
    network : FeedbackNetwork
        "spatial" or "dale", on any device.
    task : FeedbackTask
        It was trained on.
    params : FreezeParams, optional

    Raises
    ------
    ValueError
        As of `check_freezing`.
    """
    params = params or FreezeParams()
    check_freezing(network.config, task, params)
    task, rng = params.of(task), np.random.default_rng(params.seed)
    reference = ContextTestParams(
        n_contexts=params.n_contexts, n_train_contexts=1, seed=params.seed, legacy=params.legacy
    )
    many = run_contexts(network, task, reference.contexts(task, rng)[None], rng)
    components = principal_components(_joined(many.activity["z"])[0])
    pairs, phase = params.pairs(task, rng), task.n_steps // 2
    found = run_contexts(network, task, pairs, rng, freeze_from=1, n_frozen=phase)
    outputs = _joined(found.outputs)
    sources = np.broadcast_to(found.targets.reshape(-1, 2), outputs.shape)
    traces = FreezeTraces(sources, outputs, _joined(found.activity["z"]))
    whole = freeze_experiment(traces, components, phase)
    n_late = max(3, round(params.late_fraction * phase))
    late = freeze_experiment(traces, components, phase, phase - n_late)
    return FreezeTest(pairs, whole, late, _analytic_angle(network, found, components, whole))


def _joined(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Contexts one after the other, (r, n t, k)."""
    return values.reshape(len(values), -1, values.shape[-1])


def _analytic_angle(
    network: FeedbackNetwork,
    traces: ContextTraces,
    components: PrincipalComponents,
    result: FreezeResult,
) -> Floats | None:
    if not isinstance(network, SpatialNet):
        return None
    readout, feedforward = (w.detach().cpu().numpy() for w in (network.Wro, network.w0))
    directions = np.concatenate([readout, components.whitening[:1]])
    gains = traces.activity["m"][:, 1, 0]
    frozen = image_plane_normal(effective_weights(directions, gains, feedforward))
    return plane_angle(result.normals[:, 0], frozen)
