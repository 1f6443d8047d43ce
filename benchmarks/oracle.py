"""The repeat-draw oracle of all units at once against a loop that looks trials up in a table.

Run with ``python benchmarks/oracle.py``; the last line of the output is a JSON object. The loop is
the notebook's (allen_mei 3): for every unit, draw and image it looks trials up in a pandas table
of all units. All of it would take hours, so that it is measured on a slice and scaled by the
number of units and draws; on the slice both sides draw the same trials and must agree.
"""

import json
import os
import time
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray
from tqdm import tqdm

from science.metrics import repeated_trials
from science.oracle import repeat_draw_scores

N_UNITS, N_IMAGES, N_REPEATS = 135, 119, 50  # of the study: VISam, natural scenes with blank
N_DRAWS, SEED = 50, 0
AGREEMENT = 1e-9  # largest difference of a correlation
TIMES = 5  # the fast side is timed so often, the median counts

Floats = NDArray[np.float64]


def spike_counts(seed: int = 0) -> tuple[Floats, NDArray[np.int64]]:
    """Return Poisson counts of tuned units (n_trials, n_units) and the images shown, shuffled."""
    rng = np.random.default_rng(seed)
    rates = rng.gamma(1.0, 2.0, (N_IMAGES, N_UNITS))
    image_index = rng.permutation(np.repeat(np.arange(N_IMAGES), N_REPEATS))
    return rng.poisson(rates[image_index]).astype(np.float64), image_index


def trial_table(responses: Floats, image_index: NDArray[np.int64]) -> pd.DataFrame:
    """Return the table of the notebook: one row per trial and unit."""
    n_trials, n_units = responses.shape
    return pd.DataFrame(
        {
            "unit": np.tile(np.arange(n_units), n_trials),
            "image": np.repeat(image_index, n_units),
            "trial": np.repeat(np.arange(n_trials), n_units),
            "spikes": responses.ravel(),
        }
    )


def drawn_trials(image_index: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the trial that each draw of `repeat_draw_scores` takes of each image."""
    order, counts = repeated_trials(image_index)
    starts = np.cumsum(counts) - counts
    drawn = np.random.default_rng(SEED).integers(counts, size=(N_DRAWS, len(counts)))
    return order[starts + drawn]


def loop(
    table: pd.DataFrame, drawn: NDArray[np.int64], n_units: int, n_draws: int
) -> tuple[Floats, float]:
    """Score units by looking each of their trials up; returns (n_draws, n_units) and seconds."""
    scores = np.empty((n_draws, n_units))
    with tqdm(total=n_units * n_draws * N_IMAGES, desc="loop") as bar:
        begin = time.perf_counter()
        for unit in range(n_units):
            for draw in range(n_draws):
                one, others = [], []
                for image in range(N_IMAGES):
                    shown = table[(table["unit"] == unit) & (table["image"] == image)]
                    chosen = shown["trial"] == drawn[draw, image]
                    one.append(shown[chosen]["spikes"].iloc[0])
                    others.append(shown[~chosen]["spikes"].mean())
                    bar.update()
                scores[draw, unit] = np.corrcoef(one, others)[0, 1]
        return scores, time.perf_counter() - begin


def vectorised(responses: Floats, image_index: NDArray[np.int64]) -> tuple[Floats, list[float]]:
    """Score all units; returns (n_draws, n_units) and the seconds of each time."""
    seconds = []
    for _ in tqdm(range(TIMES), desc="vectorised"):
        begin = time.perf_counter()
        scores = repeat_draw_scores(responses, image_index, N_DRAWS, SEED)
        seconds.append(time.perf_counter() - begin)
    return scores, seconds


def main(
    units: Annotated[int, typer.Option(min=1, max=N_UNITS, help="Units of the slice.")] = 1,
    draws: Annotated[int, typer.Option(min=1, max=N_DRAWS, help="Draws of the slice.")] = 1,
) -> None:
    """Time both sides and print one JSON line."""
    responses, image_index = spike_counts()
    scores, seconds = vectorised(responses, image_index)
    table, drawn = trial_table(responses, image_index), drawn_trials(image_index)
    expected, slice_seconds = loop(table, drawn, units, draws)
    difference = float(np.abs(scores[:draws, :units] - expected).max())
    scale = N_UNITS * N_DRAWS / (units * draws)
    report: dict[str, Any] = {
        "name": "oracle",
        "ratio": slice_seconds * scale / float(np.median(seconds)),
        "goal": 1000,
        "reference": "a loop that looks trials up in a pandas table per unit, draw and image, "
        f"measured on {units} unit(s) x {draws} draw(s) and scaled by {scale:g}",
        "equal": f"scores of the slice within {AGREEMENT:g}: {difference <= AGREEMENT}",
        "max_difference": difference,
        "seconds": float(np.median(seconds)),
        "seconds_range": [min(seconds), max(seconds)],
        "reference_slice_seconds": slice_seconds,
        "reference_seconds_scaled": slice_seconds * scale,
        "units": N_UNITS,
        "images": N_IMAGES,
        "repeats": N_REPEATS,
        "draws": N_DRAWS,
        "cpus": os.cpu_count(),
        "numpy": np.__version__,
        "pandas": pd.__version__,
    }
    print(json.dumps(report))
    if difference > AGREEMENT or report["ratio"] < report["goal"]:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
