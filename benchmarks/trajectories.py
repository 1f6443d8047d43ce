"""Simulated rats per second: `science.navigation.walk` against the loop as it is usually written.

Run with ``python benchmarks/trajectories.py``; the last line of the output is a JSON object. All
runs on one core. The reference is the published recursion (mec 3) with its draws and its arrays,
batch first, one new array for every intermediate result; its walks and ours with the same draws
must agree. An agent-step is one step of one rat; a batch of the task also has place codes.
"""

import json
import os
import time
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from tqdm import tqdm

from science.navigation import (
    CueParams,
    MotionParams,
    NavigationTask,
    Rectangle,
    RewardParams,
    draw_batch,
    random_source,
    trajectories,
    walk,
)

ARENA, MOTION = Rectangle(width=2.2, height=2.2), MotionParams()
N_STEPS, BATCH = 20, 200  # of the original
SEED = 0
GOAL = 1e6  # agent-steps per second
AGREEMENT = 1e-13  # metres

Floats = NDArray[np.float64]


def usual_walk(n_walks: int, n_steps: int, rng: np.random.RandomState) -> Floats:
    """Return positions (n_walks, n_steps + 1, 2)."""
    position = np.zeros((n_walks, n_steps + 1, 2))
    heading = np.zeros((n_walks, n_steps + 1))
    position[:, 0, 0] = rng.uniform(ARENA.min_x, ARENA.max_x, n_walks)
    position[:, 0, 1] = rng.uniform(ARENA.min_y, ARENA.max_y, n_walks)
    heading[:, 0] = rng.uniform(0, 2 * np.pi, n_walks)
    turns = rng.normal(0, MOTION.turn_sd, (n_walks, n_steps))
    speeds = rng.rayleigh(MOTION.speed_scale, (n_walks, n_steps))
    for t in range(n_steps):
        x, y = position[:, t, 0], position[:, t, 1]
        walls = np.stack([ARENA.max_x - x, ARENA.max_y - y, x - ARENA.min_x, y - ARENA.min_y])
        angle = np.mod(heading[:, t], 2 * np.pi) - np.argmin(walls, axis=0) * np.pi / 2
        angle = np.mod(angle + np.pi, 2 * np.pi) - np.pi
        near = (np.min(walls, axis=0) < MOTION.border) & (np.abs(angle) < np.pi / 2)
        turn = np.zeros(n_walks)
        turn[near] = np.sign(angle[near]) * (np.pi / 2 - np.abs(angle[near]))
        speed = speeds[:, t] * np.where(near, MOTION.slowdown, 1.0)
        direction = np.stack([np.cos(heading[:, t]), np.sin(heading[:, t])], axis=-1)
        position[:, t + 1] = position[:, t] + (speed * MOTION.dt)[:, None] * direction
        heading[:, t + 1] = heading[:, t] + turn + MOTION.dt * turns[:, t]
    return position


def seconds(call: Callable[[], Any], times: int) -> list[float]:
    """Time calls, the first one left out; sorted."""
    call()
    taken = []
    for _ in range(times):
        begin = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begin)
    return sorted(taken)


def main(
    rats: Annotated[int, typer.Option(min=1, help="Rats of the large batch.")] = 20_000,
    times: Annotated[int, typer.Option(min=1, help="Each is timed so often.")] = 9,
) -> None:
    """Time both sides and print one JSON line."""
    torch.set_num_threads(1)
    task = NavigationTask()
    code = task.place_code()
    kinds = {"plain": {}, "cues": {"cues": CueParams()}, "reward": {"reward": RewardParams()}}
    tasks = {name: NavigationTask(**parts) for name, parts in kinds.items()}
    calls: dict[str, Callable[[], Any]] = {
        "walk": lambda: walk(ARENA, MOTION, rats, N_STEPS, random_source(SEED)),
        "walk_small": lambda: walk(ARENA, MOTION, BATCH, N_STEPS, random_source(SEED)),
        "walk_legacy": lambda: walk(ARENA, MOTION, rats, N_STEPS, random_source(SEED, legacy=True)),
        "usual": lambda: usual_walk(rats, N_STEPS, np.random.RandomState(SEED)),
        "usual_small": lambda: usual_walk(BATCH, N_STEPS, np.random.RandomState(SEED)),
        "batch_small": lambda: draw_batch(task, code, BATCH, random_source(SEED)),
    }
    for name, one in tasks.items():
        calls[f"task_{name}"] = lambda one=one: trajectories(one, rats, random_source(SEED))
    taken = {name: seconds(call, times) for name, call in tqdm(calls.items())}
    median = {name: float(np.median(values)) for name, values in taken.items()}
    sizes = {name: (BATCH if name.endswith("small") else rats) * N_STEPS for name in calls}
    rates = {name: sizes[name] / median[name] for name in calls if not name.startswith("batch")}

    ours = walk(ARENA, MOTION, rats, N_STEPS, random_source(SEED, legacy=True)).positions
    usual = usual_walk(rats, N_STEPS, np.random.RandomState(SEED))
    difference = float(np.abs(ours - usual).max())
    report: dict[str, Any] = {
        "name": "trajectories",
        "ratio": rates["walk"] / rates["usual"],
        "agent_steps_per_second": rates["walk"],
        "goal": GOAL,
        "goal_unit": "agent-steps per second on one core",
        "reference": f"the published recursion as usually written, {rats} rats in one batch",
        "equal": f"positions from the same draws within {AGREEMENT:g} m: {difference <= AGREEMENT}",
        "max_difference": difference,
        "agent_steps_per_second_of": rates,
        "seconds_range": [taken["walk"][0], taken["walk"][-1]],
        "batch_seconds": median["batch_small"],
        "batch": f"{BATCH} walks of {N_STEPS} steps with {code.n_outputs} place cells, float32",
        "rats": rats,
        "steps": N_STEPS,
        "cpus": os.cpu_count(),
        "numpy": np.__version__,
        "torch": torch.__version__,
    }
    print(json.dumps(report))
    if difference > AGREEMENT or rates["walk"] < GOAL:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
