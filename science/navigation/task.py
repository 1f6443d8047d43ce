"""The navigation task: from a seed to what a network is trained on (mec 2 to 4).

A network gets the code of the rat's first position and then only its velocities; it is to report
the code of the position after each step.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator
from torch import Tensor

from science.navigation.cues import CueParams, cue_inputs
from science.navigation.motion import MotionParams, walk
from science.navigation.place_cells import (
    PlaceCellParams,
    PlaceCells,
    Position,
    PositionParams,
    place_cell_centers,
)
from science.navigation.random_source import RandomSource
from science.navigation.rectangle import Rectangle
from science.navigation.rewards import RewardParams, seek_reward
from science.params import Params

Floats = NDArray[np.float64]


class NavigationTask(Params):
    """A rat in a box and what is asked of it.

    Attributes
    ----------
    arena : Rectangle
        Box that the rat walks in.
    tiled : Rectangle or None
        Box that the place cells tile; None: the arena.
    motion : MotionParams
        How the rat moves.
    code : PlaceCellParams or PositionParams
        What a network reports.
    n_steps : int
        Steps of a walk that the network sees.
    cues : CueParams or None
        Landmarks in the arena, or none. They exclude a reward.
    reward : RewardParams or None
        Reward zone in the arena, or none.
    legacy : bool
        Cues and, in `elsewhere`, place cells as the original has them. With a ``RandomState``
        (`random_source`) the walks are the original's too.
    """

    arena: Rectangle = Rectangle(width=2.2, height=2.2)
    tiled: Rectangle | None = None
    motion: MotionParams = MotionParams()
    code: PlaceCellParams | PositionParams = Field(PlaceCellParams(), discriminator="type")
    n_steps: int = Field(20, ge=1)
    cues: CueParams | None = None
    reward: RewardParams | None = None
    legacy: bool = False

    @model_validator(mode="after")
    def _fits(self) -> "NavigationTask":
        if self.cues is not None and self.reward is not None:
            raise ValueError("a task has cues or a reward zone, not both: leave one out")
        for i, place in enumerate(self.cues.places if self.cues else ()):
            if not self.arena.holds(place):
                raise ValueError(f"cue {i} ({place}) is not inside the arena ({self.arena})")
        if self.reward is None:
            return self
        margins = self.reward.margin_x, self.reward.margin_y
        if not self.arena.holds(self.reward.zone, *margins):
            raise ValueError(
                f"the reward zone ({self.reward.zone}) does not keep {margins[0]:g} m in x and "
                f"{margins[1]:g} m in y from the walls of the arena ({self.arena})"
            )
        if self.n_steps <= self.reward.n_approach:
            raise ValueError(
                f"{self.n_steps} steps are too few for a run of {self.reward.n_approach} steps "
                "to the reward zone: take more steps, or a shorter run"
            )
        return self

    @property
    def n_signals(self) -> int:
        """Cues or rewards that a network is told of at every step."""
        if self.cues is not None:
            return len(self.cues.places)
        return int(self.reward is not None and self.reward.signalled)

    def elsewhere(self, arena: Rectangle) -> "NavigationTask":
        """Return the task in another box, as for a test of generalisation.

        The place cells stay those of the box that the network was trained in: their code of a
        position is the one it knows. The original instead stretches the place cells over the other
        box (`legacy`), which asks a network for a code that it has never seen (mec 16.4).

        Raises
        ------
        pydantic.ValidationError
            If cues or the reward zone do not fit into the other box.
        """
        tiled = None if self.legacy else self.tiled or self.arena
        return self.model_validate({**dict(self), "arena": arena, "tiled": tiled})

    def place_code(
        self,
        uniforms: ArrayLike | None = None,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
    ) -> PlaceCells | Position:
        """Return what turns positions into codes and back.

        Parameters
        ----------
        uniforms : array_like, optional
            As of `place_cell_centers`.
        dtype, device
            Of the codes; float64 for parity.
        """
        if isinstance(self.code, PositionParams):
            return Position(dtype, device)
        centers = place_cell_centers(self.code, self.tiled or self.arena, uniforms)
        return PlaceCells(torch.as_tensor(centers, dtype=dtype, device=device), self.code)


class Trajectories(NamedTuple):
    """Walks as a network sees them: B walks of S steps.

    Attributes
    ----------
    start : ndarray
        float64, (B, 2), metres.
    velocities : ndarray
        float64, (B, S, 2), metres per step.
    positions : ndarray
        float64, (B, S, 2), metres, after each step: the start plus the velocities so far.
    cues : ndarray or None
        float64, (B, S, n_cues), before each step, as `cue_inputs` returns.
    rewards : ndarray or None
        float64, (B, S), 1 where the rat is rewarded before a step, else 0.
    """

    start: Floats
    velocities: Floats
    positions: Floats
    cues: Floats | None
    rewards: Floats | None

    def signals(self, n_signals: int) -> Floats | None:
        """Return what a network that takes so many signals is told at every step.

        Parameters
        ----------
        n_signals : int
            As of the task that the network was trained on. Zeros stand for what is not here.

        Returns
        -------
        ndarray or None
            float64, (B, S, n_signals); None for a network that is told nothing.
        """
        if n_signals == 0:
            return None
        if self.cues is not None:
            return self.cues
        if self.rewards is not None:
            return self.rewards[..., None]
        return np.zeros((*self.velocities.shape[:2], n_signals))


def trajectories(task: NavigationTask, n_walks: int, rng: RandomSource) -> Trajectories:
    """Draw walks.

    Parameters
    ----------
    task : NavigationTask
        The box, the motion, cues and rewards.
    n_walks : int
        At least 1.
    rng : numpy.random.Generator or numpy.random.RandomState
        See `random_source`.

    Raises
    ------
    ValueError
        If there is nothing to walk, or no room in the box or the zone.
    """
    # The original walks one step more and starts after it.
    first = walk(task.arena, task.motion, n_walks, task.n_steps + 1, rng)
    seen = first._replace(positions=first.positions[:, 1:], velocities=first.velocities[:, 1:])
    cues = rewards = None
    if task.reward is not None:
        seen, rewards = seek_reward(seen, task.reward, task.motion, rng)
    if task.cues is not None:
        cues = cue_inputs(seen.positions[:, :-1], task.cues, rng, task.legacy)
    return Trajectories(seen.positions[:, 0], seen.velocities, seen.positions[:, 1:], cues, rewards)


@dataclass(frozen=True, eq=False)
class Batch:
    """What a network is trained on: B walks of S steps, all on one device.

    Attributes
    ----------
    velocities : Tensor, (B, S, 2)
        Metres per step.
    initial_code : Tensor, (B, n_outputs)
        Code of the start.
    targets : Tensor, (B, S, n_outputs)
        Codes of the positions.
    positions : Tensor, (B, S, 2)
        After each step, metres.
    cues : Tensor, (B, S, n_cues), or None
        Before each step, as `cue_inputs` returns.
    rewards : Tensor, (B, S), or None
        1 where the rat is rewarded before a step, else 0.
    signals : Tensor, (B, S, n_signals), or None
        What a network is told besides its velocities.
    """

    velocities: Tensor
    initial_code: Tensor
    targets: Tensor
    positions: Tensor
    cues: Tensor | None
    rewards: Tensor | None
    signals: Tensor | None


def draw_batch(
    task: NavigationTask, code: PlaceCells | Position, n_walks: int, rng: RandomSource
) -> Batch:
    """Draw walks and encode them.

    Parameters
    ----------
    task, n_walks, rng
        As of `trajectories`.
    code : PlaceCells or Position
        Of `NavigationTask.place_code`; its dtype and device are those of all tensors.
    """
    drawn = trajectories(task, n_walks, rng)
    start, velocities, positions, cues, rewards, signals = (
        None if values is None else torch.as_tensor(values, dtype=code.dtype, device=code.device)
        for values in (*drawn, drawn.signals(task.n_signals))
    )
    return Batch(
        velocities, code.encode(start), code.encode(positions), positions, cues, rewards, signals
    )
