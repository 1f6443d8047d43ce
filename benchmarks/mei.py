"""Seconds per MEI: a block of units in one batch against the same optimiser, one unit at a time.

Run with ``python benchmarks/mei.py``; the last line of the output is a JSON object. Random weights
with a fixed seed cost what trained ones do. Both sides share threads, seeds and the network.
"""

import json
import time
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import torch
import typer
from tqdm import tqdm

from science.mei import MEIParams, MEIResult, ascend
from science.model import Ensemble, ImageModelConfig, ImageNetwork
from science.model.own_units import OwnUnits

IMAGE_SHAPE = (36, 64)
MEAN, STD = 111.3, 60.9  # the published image statistics, grey levels
KEY = "benchmark"
AGREEMENT = 0.01  # largest relative difference of final activations


def random_ensemble(n_units: int) -> Ensemble:
    """Pyramid readout network with random filters, places and feature weights; every unit alive."""
    generator = torch.Generator().manual_seed(0)
    network = ImageNetwork(ImageModelConfig(), IMAGE_SHAPE, {KEY: n_units})
    network.initialize({KEY: torch.ones(n_units)}, generator)
    with torch.no_grad():
        for parameter in network.readouts[KEY].parameters():
            if parameter.ndim == 3:  # equal feature weights would make all units alike
                parameter.normal_(std=0.05, generator=generator)
    return Ensemble([network])


def shortened(steps: int) -> MEIParams:
    """Go as far as the published ascent in fewer steps, or agreement would prove little."""
    published = MEIParams()
    longer = published.step_gain * published.iter_n / steps
    return published.model_copy(update={"iter_n": steps, "step_gain": longer})


def batched(
    ensemble: Ensemble, n_units: int, params: MEIParams, on_step: Callable[[int], None]
) -> MEIResult:
    """Ascend all units in one batch."""
    respond = OwnUnits(ensemble, [(KEY, unit) for unit in range(n_units)])
    return ascend(respond, range(n_units), IMAGE_SHAPE, MEAN, STD, params, on_step=on_step)


def one_by_one(
    ensemble: Ensemble, n_units: int, params: MEIParams, on_step: Callable[[int], None]
) -> MEIResult:
    """Ascend the same units, each alone."""
    results = [
        ascend(OwnUnits(ensemble, [(KEY, unit)]), [unit], IMAGE_SHAPE, MEAN, STD, params,
               on_step=on_step)
        for unit in range(n_units)
    ]  # fmt: skip
    fields = ("images", "activations", "curve", "alive")
    stacked = {name: np.concatenate([getattr(r, name) for r in results]) for name in fields}
    return MEIResult(**stacked, curve_steps=results[0].curve_steps)


def timed(
    side: Callable[..., MEIResult], ensemble: Ensemble, n_units: int, params: MEIParams, ticks: int
) -> tuple[MEIResult, float]:
    """Run one side under a progress bar on stderr; returns its result and wall seconds."""
    with tqdm(total=ticks, desc=side.__name__) as bar:
        start = time.perf_counter()
        result = side(ensemble, n_units, params, lambda _: bar.update())
        return result, time.perf_counter() - start


def agreement(block: MEIResult, single: MEIResult) -> dict[str, Any]:
    """Compare both sides' activations and images."""
    if not block.alive.all():
        raise SystemExit(f"{(~block.alive).sum()} units do not respond: nothing to compare")
    relative = np.abs(block.activations - single.activations) / np.abs(single.activations)
    difference = float(relative.max())
    return {
        "equal": f"final activations within 1 %: {difference <= AGREEMENT} "
        f"(largest relative difference {difference:.1e})",
        "max_relative_difference": difference,
        "max_pixel_difference": float(np.abs(block.images - single.images).max()),
        "bitwise_equal": block.images.tobytes() == single.images.tobytes(),
        "activation_gain": float(np.median(block.activations / block.curve[:, 0])),
    }


def main(
    steps: Annotated[int, typer.Option(min=1, help="Ascent steps; 1000 are published.")] = 40,
    units: Annotated[int, typer.Option(min=1, help="Units of the block.")] = 64,
    threads: Annotated[int, typer.Option(min=1, help="Threads, both sides.")] = 1,
) -> None:
    """Time both sides and print one JSON line."""
    torch.set_num_threads(threads)
    ensemble, params = random_ensemble(units), shortened(steps)
    for side in (batched, one_by_one):  # warm up
        side(ensemble, 1, MEIParams(iter_n=2), lambda _: None)
    block, seconds = timed(batched, ensemble, units, params, steps)
    single, reference_seconds = timed(one_by_one, ensemble, units, params, steps * units)
    report = {
        "name": "mei",
        "ratio": reference_seconds / seconds,
        "reference": "the same optimiser called once per unit",
        **agreement(block, single),
        "seconds_per_mei": seconds / units,
        "reference_seconds_per_mei": reference_seconds / units,
        "seconds_per_mei_1000_steps": seconds / units / steps * 1000,
        "units": units,
        "steps": steps,
        "threads": threads,
        "device": "cpu",
        "torch": torch.__version__,
    }
    print(json.dumps(report))
    if report["max_relative_difference"] > AGREEMENT:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
