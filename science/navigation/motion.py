"""The simulated rat: a random walk in a box that turns away from walls (mec 3)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from science.navigation.random_source import RandomSource
from science.navigation.rectangle import Rectangle
from science.params import NonNegative, Params, Positive

Floats = NDArray[np.float64]


class MotionParams(Params):
    """How the rat moves; the defaults are those of the original (mec 3).

    They are not a rat's: 1 m/s on average is eight times too fast. `RAT` is as fast as a real one
    and turns as much.

    Attributes
    ----------
    dt : float
        Seconds per step.
    turn_sd : float
        Standard deviation of the turning rate, rad/s, drawn anew in every step.
    speed_scale : float
        Scale b of the Rayleigh distribution of the speed, m/s, drawn anew in every step; the mean
        speed is ``b sqrt(pi / 2)``.
    border : float
        Metres; a rat closer to a wall that heads for it slows down and turns along the wall.
    slowdown : float
        What its speed is multiplied by then, in (0, 1].
    """

    dt: Positive = 0.02
    turn_sd: NonNegative = 11.52
    speed_scale: Positive = 0.13 * 2 * np.pi
    border: NonNegative = 0.03
    slowdown: float = Field(0.25, gt=0, le=1)


# `motion_of_track` of the rat of Sargolini et al. (2006) that RatInABox ships. It covers as much
# ground as that rat, but draws speeds anew in each step, never rests, and hugs the walls more.
RAT = MotionParams(dt=0.1, turn_sd=4.37, speed_scale=0.0939)


class Walk(NamedTuple):
    """Walks of n_walks rats.

    Attributes
    ----------
    positions : ndarray
        float64, (n_walks, n_steps + 1, 2), metres, from the start on.
    velocities : ndarray
        float64, (n_walks, n_steps, 2), metres per *step*: the differences of the positions.
    """

    positions: Floats
    velocities: Floats


def walk(
    arena: Rectangle,
    motion: MotionParams,
    n_walks: int,
    n_steps: int,
    rng: RandomSource,
    start: ArrayLike | None = None,
) -> Walk:
    """Let rats walk in a box, all at once.

    In each step a rat moves along its heading and turns afterwards. Walls are soft: they turn the
    rat and slow it, but it may step over them, as about 0.6 % of the samples of the original do.

    Parameters
    ----------
    arena : Rectangle
        Walls, at least twice `motion.border` apart.
    motion : MotionParams
        How the rats move.
    n_walks, n_steps : int
        Rats and steps of each, at least 1.
    rng : numpy.random.Generator or numpy.random.RandomState
        A ``RandomState`` is used as the original does: rat by rat, and with a draw that it throws
        away.
    start : array_like, optional
        float, (2,) or (n_walks, 2), where the rats begin; anywhere in the box by default.

    Returns
    -------
    Walk
        Positions and steps.

    Raises
    ------
    ValueError
        If there is nothing to walk, or no room between the border regions.
    """
    if n_walks < 1 or n_steps < 1:
        raise ValueError(f"at least one walk and one step are needed, not {n_walks} and {n_steps}")
    if min(arena.width, arena.height) < 2 * motion.border:
        raise ValueError(
            f"the box ({arena}) is narrower than two border regions of {motion.border:g} m: "
            "take a larger box or a smaller border"
        )
    drawn = _draw_legacy if isinstance(rng, np.random.RandomState) else _draw
    first, heading, turns, steps = drawn(arena, motion, n_walks, n_steps, rng, start is None)
    # Time is the first axis, so that each step works on contiguous memory.
    positions = np.empty((n_steps + 1, 2, n_walks))
    velocities = np.empty((n_steps, 2, n_walks))
    positions[0] = first if start is None else np.broadcast_to(start, (n_walks, 2)).T
    distances = np.empty((4, n_walks))
    for t in range(n_steps):
        _distances(arena, positions[t], distances)
        _avoid_walls(distances, heading, turns[t], steps[t], motion)
        np.cos(heading, out=velocities[t, 0])
        np.sin(heading, out=velocities[t, 1])
        velocities[t] *= steps[t]
        np.add(positions[t], velocities[t], out=positions[t + 1])
        heading += turns[t]
    return Walk(_by_walk(positions), _by_walk(velocities))


def _draw(
    arena: Rectangle, motion: MotionParams, n: int, n_steps: int, rng: RandomSource, begins: bool
) -> tuple[Floats | None, Floats, Floats, Floats]:
    """Where rats begin (2, n) and head (n,), their turns and lengths of steps (n_steps, n)."""
    low, high = arena.corners
    first = rng.uniform(low[:, None], high[:, None], (2, n)) if begins else None
    heading = rng.uniform(0, 2 * np.pi, n)
    turns = rng.standard_normal((n_steps, n))
    turns *= motion.turn_sd * motion.dt
    steps = rng.standard_exponential((n_steps, n))  # Rayleigh: the root of an exponential
    np.sqrt(steps, out=steps)
    steps *= np.sqrt(2) * motion.speed_scale * motion.dt
    return first, heading, turns, steps


def _draw_legacy(
    arena: Rectangle, motion: MotionParams, n: int, n_steps: int, rng: RandomSource, begins: bool
) -> tuple[Floats | None, Floats, Floats, Floats]:
    """As `_draw`, in the order of the original."""
    first = None
    if begins:
        x = rng.uniform(arena.min_x, arena.max_x, n)
        first = np.stack([x, rng.uniform(arena.min_y, arena.max_y, n)])
    heading = rng.uniform(0, 2 * np.pi, n)
    turns = rng.normal(0, motion.turn_sd, (n, n_steps)).T * motion.dt
    steps = rng.rayleigh(motion.speed_scale, (n, n_steps)).T * motion.dt
    rng.normal(size=n)  # the original draws speeds that it does not use
    return first, heading, np.ascontiguousarray(turns), np.ascontiguousarray(steps)


def _distances(arena: Rectangle, position: Floats, out: Floats) -> None:
    """Write the distances from the walls to the right, up, left and down, (4, n)."""
    np.subtract(arena.max_x, position[0], out=out[0])
    np.subtract(arena.max_y, position[1], out=out[1])
    np.subtract(position[0], arena.min_x, out=out[2])
    np.subtract(position[1], arena.min_y, out=out[3])


def _avoid_walls(
    distances: Floats, heading: Floats, turns: Floats, steps: Floats, motion: MotionParams
) -> None:
    """Slow the rats that head for a wall nearby, and turn them along it."""
    near = np.flatnonzero(distances.min(0) < motion.border)
    wall = distances[:, near].argmin(0) * (np.pi / 2)
    angle = np.mod(np.mod(heading[near], 2 * np.pi) - wall + np.pi, 2 * np.pi) - np.pi
    facing = np.abs(angle) < np.pi / 2
    near, angle = near[facing], angle[facing]
    steps[near] *= motion.slowdown
    turns[near] += np.sign(angle) * (np.pi / 2 - np.abs(angle))


def _by_walk(values: Floats) -> Floats:
    """Copy from (time, 2, n) to (n, time, 2)."""
    return np.ascontiguousarray(values.transpose(2, 0, 1))
