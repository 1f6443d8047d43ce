"""Rate maps of path integrators: networks that walk through an arena (mec 7)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, ValidationError, field_validator

from science.navigation.bins import Bins
from science.navigation.losses import decoding_error
from science.navigation.path_integrator import PathIntegrator
from science.navigation.random_source import random_source
from science.navigation.rate_maps import ModelRateMaps
from science.navigation.rectangle import Rectangle
from science.navigation.task import NavigationTask, trajectories
from science.params import Params

Layer = Literal["pre_g", "g", "dc"]


class ModelMapParams(Params):
    """How a network is walked through an arena, and which of its layers are mapped and scored."""

    bin_cm: float = Field(5.0, gt=0, le=100, description="side of a bin, cm")
    layers: tuple[Layer, ...] = Field(("g",), min_length=1)
    n_batches: int = Field(100, ge=1)
    n_walks: int = Field(200, ge=1, description="of a batch")
    seed: int = Field(0, ge=0)
    legacy: bool = Field(
        False,
        description="place cells stretched over the arena, a truncated number of bins and walks in "
        "the random order of the original (mec 7), for parity: networks do not know that code",
    )
    empty_elsewhere: bool = Field(
        True,
        description="arenas other than that of the training hold neither its cues nor its reward "
        "zone, and networks are told of none; otherwise these must fit in, as in the original",
    )
    legacy_grid_score: bool = Field(
        False, description="rings of the original's radii, instead of those of each unit's peak"
    )

    @field_validator("layers")
    @classmethod
    def _once(cls, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
        if len(set(layers)) != len(layers):
            raise ValueError(f"a layer is mapped once, not as in {list(layers)}")
        return layers


@dataclass(frozen=True, eq=False)
class ModelMaps:
    """Rate maps of a network.

    Attributes
    ----------
    layers : dict of str to float32, (nx, ny, n_units)
        Mean activation where the network was, first axis x; NaN where it never was.
    decoding_error : float
        Mean distance of the decoded from the true position, metres.
    n_samples : int
        Positions, those outside the arena included.
    bins : Bins
        Where the bins lie.
    """

    layers: dict[str, NDArray[np.float32]]
    decoding_error: float
    n_samples: int
    bins: Bins


@torch.no_grad()
def model_rate_maps(
    network: PathIntegrator,
    task: NavigationTask,
    arena: Rectangle,
    params: ModelMapParams | None = None,
    device: torch.device | str = "cpu",
) -> ModelMaps:
    """Let a network walk through an arena, and average its activity in every bin.

    Activations count where the rat is after the step. Batches are drawn, summed and forgotten, so
    that memory does not depend on their number.

    Parameters
    ----------
    network : PathIntegrator
        Is moved to `device`.
    task : NavigationTask
        What it was trained on.
    arena : Rectangle
        Where it walks now. If that is not the box it was trained in, `NavigationTask.elsewhere`
        says what its place cells do there.
    params : ModelMapParams, optional
        Bins, layers, and how much it walks.
    device : torch.device or str
        Where the network runs.

    Raises
    ------
    ValueError
        If the network has no such layer or does not fit the task, or cues or the reward zone are
        to be in the arena and do not fit in.
    """
    params = params or ModelMapParams()
    here = _moved(task, arena, params)
    bins = Bins.of(arena, params.bin_cm, legacy=params.legacy)
    # Positions stay in double precision up to their bin.
    code = here.place_code(dtype=torch.float64, device=device)
    network = network.to(device)
    sums: dict[str, ModelRateMaps] = {}
    distance = 0.0
    for batch in range(params.n_batches):
        seed = params.seed + batch if params.legacy else [params.seed, batch]
        drawn = trajectories(here, params.n_walks, random_source(seed, params.legacy))
        start, velocities, positions, signals = (
            None if values is None else torch.as_tensor(values, device=device)
            for values in (
                drawn.start,
                drawn.velocities,
                drawn.positions,
                drawn.signals(task.n_signals),
            )
        )
        activity = network.layers(
            code.encode(start).float(),
            velocities.float(),
            None if signals is None else signals.float(),
            {*params.layers, "dc"},
        )
        distance += decoding_error(code.decode(activity["dc"]), positions).item()
        for name in params.layers:
            values = activity[name]
            sums.setdefault(name, ModelRateMaps(bins, values.shape[-1], device)).add(
                positions, values
            )
    return ModelMaps(
        {name: layer.maps().float().cpu().numpy() for name, layer in sums.items()},
        distance / params.n_batches,
        params.n_batches * params.n_walks * task.n_steps,
        bins,
    )


def _moved(task: NavigationTask, arena: Rectangle, params: ModelMapParams) -> NavigationTask:
    """Task in another arena."""
    if arena == task.arena:
        return task
    # Whether place cells are stretched is a matter of the maps, how cues are seen one of the task.
    changes = {"legacy": params.legacy}
    if params.empty_elsewhere:
        changes |= {"cues": None, "reward": None}
    try:
        moved = task.model_copy(update=changes).elsewhere(arena)
    except ValidationError as error:
        (problem,) = error.errors()
        raise ValueError(
            f"the task does not fit into another arena: {problem['ctx']['error']}; leave "
            "empty_elsewhere on"
        ) from error
    return moved.model_copy(update={"legacy": task.legacy})
