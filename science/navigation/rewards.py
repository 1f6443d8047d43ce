"""The reward zone: some rats run straight to it and stay there (mec 3)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from science.navigation.motion import MotionParams, Walk, walk
from science.navigation.random_source import RandomSource, choose
from science.navigation.rectangle import Rectangle
from science.params import NonNegative, Params

Floats = NDArray[np.float64]


class RewardParams(Params):
    """A zone with reward; the defaults are those of the published run.

    Attributes
    ----------
    zone : Rectangle
        Where the reward is.
    margin_x, margin_y : float
        Metres that the zone must keep from the walls.
    probability : float
        Fraction of the walks that are rewarded, in [0, 1], rounded up to a whole walk.
    n_approach : int
        Steps of the straight run to the middle of the zone.
    signalled : bool
        Whether networks are told when they are rewarded; the published ones are not.
    """

    zone: Rectangle = Rectangle(min_x=0.65, max_x=0.85, min_y=0.65, max_y=0.85)
    margin_x: NonNegative = 0.15
    margin_y: NonNegative = 0.15
    probability: float = Field(0.625, ge=0, le=1)
    n_approach: int = Field(7, ge=1)
    signalled: bool = False


class RewardedWalk(NamedTuple):
    """Walks, and when they are rewarded.

    Attributes
    ----------
    walk : Walk
        As `science.navigation.walk` returns.
    rewards : ndarray
        float64, (n_walks, n_steps), 1 where a rewarded rat is in the zone *before* a move, else 0.
    """

    walk: Walk
    rewards: Floats


def seek_reward(
    wandering: Walk, reward: RewardParams, motion: MotionParams, rng: RandomSource
) -> RewardedWalk:
    """Send some of the rats to the reward zone.

    They run to its middle in `n_approach` equal steps and then walk inside it.

    Parameters
    ----------
    wandering : Walk
        Walks of all rats; those of the others stay as they are.
    reward : RewardParams
        The zone, and how many go there.
    motion : MotionParams
        How they walk in the zone.
    rng : numpy.random.Generator or numpy.random.RandomState
        Chooses the rats and lets them walk.

    Returns
    -------
    RewardedWalk
        New arrays, of the shapes of `wandering`.

    Raises
    ------
    ValueError
        If the walks end before the zone is reached.
    """
    positions, velocities = (values.copy() for values in wandering)
    n_walks, n_steps = velocities.shape[:2]
    approach = reward.n_approach
    if n_steps <= approach:
        raise ValueError(
            f"walks of {n_steps} steps are too short for a run of {approach} steps to the reward "
            "zone: take more steps, or a shorter run"
        )
    seeks = choose(n_walks, reward.probability, rng)
    goal = reward.zone.center
    # Also of rats that do not go there: the original draws for all.
    inside = walk(reward.zone, motion, n_walks, n_steps - approach, rng, start=goal)
    run = (goal - positions[seeks, 0]) / approach
    run = np.repeat(run[:, None], approach, axis=1)
    path = np.concatenate([positions[seeks, :1], run], axis=1).cumsum(1)
    positions[seeks] = np.concatenate([path, inside.positions[seeks, 1:]], axis=1)
    velocities[seeks] = np.concatenate([run, inside.velocities[seeks]], axis=1)
    rewards = reward.zone.contains(positions[:, :-1]) & seeks[:, None]
    return RewardedWalk(Walk(positions, velocities), rewards.astype(np.float64))
