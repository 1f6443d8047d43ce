"""The closed loop: seconds for many cells, false positives without visual drive, power with it.

Run with ``python benchmarks/closed_loop.py``; the last line of the output is a JSON object. A group
is one later day of a virtual animal: each cell found that day is shown, REPEATS times, the image
made for it and a control of another kind, and every test is computed from the counts. Cells that
ignore images are shown noise, simple cells their own filter and the same at a wrong phase.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import scipy
import typer
from numpy.typing import NDArray
from scipy.stats import binom
from tqdm import tqdm

from science.closed_loop import (
    MatchParams,
    confusion,
    match_nearest,
    permutation_test,
    population_test,
    scale_responses,
    welch_tests,
)
from science.virtual import Session, VirtualAnimal, VirtualAnimalParams, shuffled_presentation

N_CELLS, N_ANIMALS, REPEATS = 20, 4, 8  # of a simulated group; a later day finds 19 of 20 cells
LEVEL = 0.05
CONTROL_PHASE = np.pi / 3  # of the control image: drives a simple cell half as much
CONTRAST = 0.5  # of the images made for simple cells, peak

N_UNITS, N_REPEATS = 500, 20
N_MATCHED, SPACING_UM, DENSE_UM, JITTER_UM = 10_000, 15.0, 5.0, 2.0
GOAL_SECONDS = 5.0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class GroupTests:
    """What the tests say of one group of n cells.

    Attributes
    ----------
    permutation : float
        P of the diagonal.
    welch : float64, (n,)
        P of each cell, own image against control.
    wilcoxon : float
        P of all cells, own image against control.
    any_q : bool
        Some cell is found at a false discovery rate of `LEVEL`.
    interval : bool
        The interval of the diagonal's contrast excludes 0.
    """

    permutation: float
    welch: Floats
    wilcoxon: float
    any_q: bool
    interval: bool


def undriven_animal(seed: int) -> tuple[VirtualAnimal, Floats]:
    """Return an animal that ignores images, and images (2, n_cells, height, width) for it."""
    params = VirtualAnimalParams(height=16, width=16, n_simple=0, n_complex=0, n_undriven=N_CELLS)
    noise = np.random.default_rng(seed).uniform(0, 255, (2, N_CELLS, 16, 16))
    return VirtualAnimal(params, seed), noise


def driven_animal(seed: int) -> tuple[VirtualAnimal, Floats]:
    """Return an animal of simple cells, and images (2, n_cells, height, width) made for them."""
    animal = VirtualAnimal(VirtualAnimalParams(n_simple=N_CELLS, n_complex=0, n_undriven=0), seed)
    control = np.cos(CONTROL_PHASE) * animal.filters + np.sin(CONTROL_PHASE) * animal.quadrature
    images = np.stack([animal.filters, control])
    images /= np.abs(images).max((2, 3), keepdims=True)
    return animal, 127.5 * (1 + CONTRAST * images)


def groups(
    make: Callable[[int], tuple[VirtualAnimal, Floats]],
    n_groups: int,
    n_permutations: int,
    n_bootstrap: int,
) -> Iterator[GroupTests]:
    """Simulate later days of `N_ANIMALS` animals, and test what they recorded."""
    animals = [make(seed) for seed in range(N_ANIMALS)]
    for group in range(n_groups):
        animal, images = animals[group % N_ANIMALS]
        day = animal.session(2 + group // N_ANIMALS)
        yield group_tests(day, images, group, n_permutations, n_bootstrap)


def group_tests(
    day: Session, images: Floats, seed: int, n_permutations: int, n_bootstrap: int
) -> GroupTests:
    """Show a day's cells their images (2, n_cells, height, width), in random order, and test."""
    n = len(day.cells)
    shown = images[:, day.cells].reshape(2 * n, *images.shape[2:])
    presentation = shuffled_presentation(np.full(2 * n, REPEATS), seed)
    responses = scale_responses(day.record(shown, presentation, seed), "normalized")
    kind, unit = np.divmod(presentation, n)
    own, control = (confusion(responses, np.where(kind == k, unit, -1)) for k in (0, 1))
    diagonals = [np.diag(x) for m in (own, control) for x in (m.mean, m.variance, m.n)]
    whole = permutation_test(own.mean, n_permutations, seed, n_bootstrap)
    cells = welch_tests(*diagonals)
    return GroupTests(
        permutation=whole.p,
        welch=cells.p,
        wilcoxon=population_test(diagonals[0], diagonals[3], seed, n_bootstrap).p,
        any_q=bool((cells.q < LEVEL).any()),
        interval=not whole.low <= 0 <= whole.high,
    )


def rejected(tests: list[GroupTests]) -> dict[str, tuple[float, int]]:
    """Return how often each test rejects, and how many tests there were."""
    welch = np.concatenate([t.welch for t in tests])
    outcomes = {
        "permutation": np.array([t.permutation for t in tests]) < LEVEL,
        "welch": welch[~np.isnan(welch)] < LEVEL,
        "wilcoxon": np.array([t.wilcoxon for t in tests]) < LEVEL,
        "any_q": np.array([t.any_q for t in tests]),
        "interval": np.array([t.interval for t in tests]),
    }
    return {name: (float(found.mean()), found.size) for name, found in outcomes.items()}


def nominal(n_tests: int) -> tuple[float, float]:
    """Return the 99.9 % interval of the fraction of n tests that reject at their level."""
    low, high = binom.interval(0.999, n_tests, LEVEL)
    return float(low / n_tests), float(high / n_tests)


def confusion_seconds() -> dict[str, float]:
    """Time the matrix of 500 neurons and 10 000 trials, its permutation test and its interval."""
    rng = np.random.default_rng(0)
    image_unit = rng.permutation(np.repeat(np.arange(N_UNITS), N_REPEATS))
    responses = rng.gamma(2.0, 1.0, (len(image_unit), N_UNITS))
    begin = time.perf_counter()
    matrix = confusion(responses, image_unit)
    middle = time.perf_counter()
    permutation_test(matrix.mean)
    end = time.perf_counter()
    return {"confusion": middle - begin, "test": end - middle, "total": end - begin}


def matching_seconds() -> dict[str, float]:
    """Time the matching of 10 000 cells, spaced as in an animal and densely."""
    rng, seconds = np.random.default_rng(0), {}
    side = np.arange(np.ceil(N_MATCHED ** (1 / 3))) * SPACING_UM
    layouts = {
        "spaced": np.stack(np.meshgrid(side, side, side), -1).reshape(-1, 3)[:N_MATCHED],
        "dense": rng.uniform(0, DENSE_UM * N_MATCHED ** (1 / 3), (N_MATCHED, 3)),
    }
    for layout, source in layouts.items():
        target = rng.permutation(source) + rng.normal(0, JITTER_UM, source.shape)
        for one_to_one in (False, True):
            begin = time.perf_counter()
            match_nearest(source, target, MatchParams(one_to_one=one_to_one))
            name = f"{layout}_{'one_to_one' if one_to_one else 'nearest'}"
            seconds[name] = time.perf_counter() - begin
    return seconds


def main(
    n_groups: Annotated[int, typer.Option(min=1, help="Of each kind of animal.")] = 400,
    n_permutations: Annotated[int, typer.Option(min=1)] = 1999,
    n_bootstrap: Annotated[int, typer.Option(min=1)] = 1000,
) -> None:
    """Time, simulate and print one JSON line."""
    seconds = {"matrix": confusion_seconds(), "matching": matching_seconds()}
    simulated = {
        name: rejected(
            list(tqdm(groups(make, n_groups, n_permutations, n_bootstrap), name, n_groups))
        )
        for name, make in (("undriven", undriven_animal), ("driven", driven_animal))
    }
    false = simulated["undriven"]
    within = {
        name: (0 if name == "any_q" else nominal(n)[0]) <= rate <= nominal(n)[1]
        for name, (rate, n) in false.items()
        if name != "interval"  # no test; how far it is from one is reported
    }
    slowest = max(seconds["matrix"]["total"], *seconds["matching"].values())
    report: dict[str, Any] = {
        "name": "closed_loop",
        "goal": f"each under {GOAL_SECONDS:g} s, false positive rates within the 99.9 % interval",
        "seconds": seconds,
        "slowest": slowest,
        "false_positive_rate": {name: rate for name, (rate, _) in false.items()},
        "n_tests": {name: n for name, (_, n) in false.items()},
        "nominal_interval": {name: nominal(n) for name, (_, n) in false.items()},
        "within": within,
        "power": {name: rate for name, (rate, _) in simulated["driven"].items()},
        "groups": n_groups,
        "cells": N_CELLS,
        "repeats": REPEATS,
        "permutations": n_permutations,
        "bootstrap": n_bootstrap,
        "cpus": os.cpu_count(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
    }
    print(json.dumps(report))
    if slowest > GOAL_SECONDS or not all(within.values()):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
