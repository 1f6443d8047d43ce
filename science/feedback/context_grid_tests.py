"""Where the context is represented: decoded from modulation and populations (naumann22 5 and 7)."""

from itertools import product
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from science.feedback.config import FeedbackConfig
from science.feedback.context_decoding import (
    ContextDecoding,
    ContextDecodingParams,
    decode_context,
    mean_activity,
)
from science.feedback.context_space import context_grid
from science.feedback.context_tests import POPULATIONS
from science.feedback.network import FeedbackNetwork
from science.feedback.networks import DaleRateNet, SpatialNet
from science.feedback.task import FeedbackTask
from science.feedback.testing import Conditions, run_contexts
from science.params import NonNegative


class ContextGridParams(Conditions):
    """A grid of contexts, and how they are decoded."""

    n_grid: int = Field(20, ge=2, description="points along each side of the space of contexts")
    min_determinant: NonNegative = Field(0.2, lt=1)
    n_folds: int = Field(5, ge=2)
    n_runs: int = Field(16, ge=1, description="side by side, among which contexts are dealt")

    def contexts(self) -> NDArray[np.float64]:
        """Return the contexts of the grid, (n, 2, 2)."""
        return context_grid(self.n_grid, self.min_determinant)


class Decoder(NamedTuple):
    """What is decoded from what.

    Attributes
    ----------
    layer : {"modulation", "population", "lower"}
    target : {"context", "inverse"}
    features : {"linear", "quadratic"}
    """

    layer: str
    target: Literal["context", "inverse"]
    features: Literal["linear", "quadratic"]


def check_grid(config: FeedbackConfig, task: FeedbackTask, params: ContextGridParams) -> None:
    """Refuse a network without modulation, and contexts that are no points of a square.

    Raises
    ------
    ValueError
        Type "direct", other than two inputs and outputs in rows that sum to 1, or fewer contexts
        than two for each fold.
    """
    if config.type == "direct":
        raise ValueError(
            "a network of the type 'direct' has no modulation to decode the context from"
        )
    square = (task.n_inputs, task.n_outputs) == (2, 2)
    if not square or task.contexts.type != "random_norm":
        raise ValueError(
            "contexts are decoded on a grid of two inputs, two outputs and the type 'random_norm', "
            f"not {task.n_inputs}, {task.n_outputs} and {task.contexts.type!r}"
        )
    if (n_contexts := len(params.contexts())) < 2 * params.n_folds:
        raise ValueError(
            f"{n_contexts} contexts are fewer than two for each of {params.n_folds} folds: use a "
            "larger n_grid"
        )


def context_grid_test(
    network: FeedbackNetwork, task: FeedbackTask, params: ContextGridParams | None = None
) -> dict[Decoder, ContextDecoding]:
    """Decode contexts of a grid, which a network is shown one after the other in a random order.

    Sources go on meanwhile: contexts must be told apart from whatever part of them is heard.
    Modulation is that of the feedback signals: gains of a linear population are taken back to
    them. Populations are decoded where they are rectified, those of "dale": the mean activity of a
    linear one is the mean of the sources, which is 0 but for the phase that a context ends in.

    Parameters
    ----------
    network : FeedbackNetwork
        With modulation, on any device.
    task : FeedbackTask
        It was trained on.
    params : ContextGridParams, optional

    Returns
    -------
    dict of Decoder to ContextDecoding
        From the mean activity in the second half of a context.

    Raises
    ------
    ValueError
        As of `check_grid`.
    """
    params = params or ContextGridParams()
    check_grid(network.config, task, params)
    task, rng = params.of(task), np.random.default_rng(params.seed)
    grid = params.contexts()
    grid = grid[rng.permutation(len(grid))]
    shape = (params.n_runs, -(-len(grid) // params.n_runs))
    shown = np.resize(np.arange(len(grid)), shape)  # the last run ends with the first contexts
    activity = run_contexts(network, task, grid[shown].astype(np.float32), rng).activity
    layers = {
        name: values.reshape(shown.size, -1)[: len(grid)]
        for name, values in _settled(network, activity, max(1, task.n_steps // 2)).items()
    }
    return {
        Decoder(layer, target, features): decode_context(
            values,
            grid,
            ContextDecodingParams(
                target=target, features=features, n_folds=params.n_folds, seed=params.seed
            ),
        )
        for (layer, values), target, features in product(
            layers.items(), ("context", "inverse"), ("linear", "quadratic")
        )
    }


def _settled(
    network: FeedbackNetwork, activity: dict[str, NDArray[np.float32]], n_last: int
) -> dict[str, NDArray[np.float64]]:
    """Mean activity at the end of every context, (r, n, width)."""
    modulation = mean_activity(activity.get("m", activity.get("w")), n_last)
    if isinstance(network, SpatialNet):
        kernel = network.Wm.double().cpu().numpy()
        modulation = modulation @ np.linalg.pinv(kernel).T
    layers = {"modulation": modulation}
    if isinstance(network, DaleRateNet):
        for name, layer in POPULATIONS.items():
            layers[layer] = mean_activity(activity[name], n_last)
    return layers
