"""Do units of a path integrator become grid cells? A longer training, and a picture.

Run with ``python benchmarks/grid_cells.py --minutes 60``; the last line of the output is a JSON
object. Grid scores stand beside those of the same network as it was drawn, since smooth maps alone
reach high ones. The picture is drawn every few thousand steps: a run may be stopped at any time.
"""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import matplotlib.pyplot as plt
import numpy as np
import torch
import typer
from numpy.typing import NDArray

from science.navigation import (
    NavigationTask,
    PathIntegrator,
    PathIntegratorConfig,
    autocorrelograms,
    grid_scores,
)
from science.navigation.model_maps import ModelMapParams, model_rate_maps
from science.navigation.training import PathIntegratorTrainee, PathIntegratorTraining
from science.training import Training

STEPS_PER_EPOCH = 500
EPOCHS_PER_PICTURE = 10
MAPS = ModelMapParams(n_batches=60)
N_SHOWN = 12


def maps_of(network: PathIntegrator, task: NavigationTask) -> NDArray[np.float32]:
    """Rate maps (nx, ny, n_units) of the layer `g` in the box of the training."""
    return model_rate_maps(network, task, task.arena, MAPS).layers["g"]


def draw(maps: NDArray[np.float32], untrained: NDArray[np.floating], path: Path) -> None:
    """Draw the best units, their autocorrelograms, and all scores beside the untrained ones."""
    scores = grid_scores(maps).score
    best = np.argsort(np.nan_to_num(scores, nan=-2))[::-1][:N_SHOWN]
    figure = plt.figure(figsize=(13, 6.2), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(1.5, 1))
    axes = top.subplots(2, N_SHOWN)
    correlograms = autocorrelograms(maps[..., best])
    for column, unit in enumerate(best):
        axes[0, column].imshow(maps[..., unit].T, origin="lower", cmap="viridis")
        axes[0, column].set_title(f"{scores[unit]:.2f}", fontsize=10)
        axes[1, column].imshow(
            correlograms[..., column].T, origin="lower", cmap="RdBu_r", vmin=-1, vmax=1
        )
    for axis in axes.flat:
        axis.set_axis_off()
    top.suptitle("rate maps of the units with the highest grid scores, and autocorrelograms")
    axis = bottom.subplots()
    bins = np.linspace(-1.2, 1.6, 57)
    for values, label in ((untrained, "as it was drawn"), (scores, "trained")):
        axis.hist(values[np.isfinite(values)], bins, label=label, alpha=0.7)
    axis.set(xlabel="grid score", ylabel="units")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def summary(scores: NDArray[np.floating]) -> dict[str, Any]:
    """Say how many units have a score, and which."""
    known = scores[np.isfinite(scores)]
    quantiles = np.quantile(known, (0.5, 0.9, 1)).round(3).tolist()
    return {"n_units": len(known), **dict(zip(("median", "p90", "best"), quantiles, strict=True))}


def main(
    minutes: Annotated[float, typer.Option(help="Of computing time of one thread.")] = 60.0,
    cell: Annotated[str, typer.Option(help="Type of the recurrent cell.")] = "ugrnn",
    units: Annotated[int, typer.Option()] = 256,
    learning_rate: Annotated[float, typer.Option()] = 3e-3,
    weight_decay: Annotated[float, typer.Option()] = 0.0,
    seed: Annotated[int, typer.Option()] = 0,
    picture: Annotated[Path, typer.Option()] = Path("grid_cells.png"),
) -> None:
    """Train, map, score."""
    torch.set_num_threads(1)
    task = NavigationTask()
    config = PathIntegratorConfig(type=cell, n_units=units)
    training = PathIntegratorTraining(
        learning_rate=learning_rate,
        n_epochs=10**6,
        steps_per_epoch=STEPS_PER_EPOCH,
        n_walks=100,
        weight_decay=weight_decay,
    )
    run = Training(PathIntegratorTrainee(config, training, task), seed)
    network = run.parts[0]
    untrained = grid_scores(maps_of(network, task)).score
    threshold = float(np.nanquantile(untrained, 0.95))
    start, found = time.process_time(), {}
    while time.process_time() - start < 60 * minutes:
        record = run.run_epoch()
        line = {"steps": record.epoch * STEPS_PER_EPOCH, "error_cm": round(-100 * record.score, 2)}
        if record.epoch % EPOCHS_PER_PICTURE == 0:
            maps = maps_of(network, task)
            scores = grid_scores(maps).score
            draw(maps, untrained, picture)
            found = {**line, "trained": summary(scores), "untrained": summary(untrained)}
            found["above_95_percent_of_untrained"] = round(
                float((scores[np.isfinite(scores)] > threshold).mean()), 3
            )
            line = found
        typer.echo(json.dumps(line))
    typer.echo(json.dumps({"benchmark": "grid_cells", **found}))


if __name__ == "__main__":
    typer.run(main)
