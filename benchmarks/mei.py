"""Seconds per MEI: a block of units in one batch against the same optimiser, one unit at a time.

Run with ``python benchmarks/mei.py``; the last line of the output is a JSON object. Random weights
with a fixed seed cost what trained ones do. All sides share threads, seeds and the network.

The reference evaluates the network as it is trained: the core's whole map, then the unit's readout.
The other sides use `OwnUnits`: one kernel per unit, on the window of the map where it is not zero.
"""

import json
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor
from tqdm import tqdm

from science.mei import InceptionLoop, MEIResult, ascend
from science.model import Ensemble, ImageModelConfig, ImageNetwork
from science.model.own_units import OwnUnits

IMAGE_SHAPE = (36, 64)
MEAN, STD = 111.3, 60.9  # the published image statistics, grey levels
KEY = "benchmark"
AGREEMENT = 0.01  # largest relative difference of final activations
LOCAL_MASK = 5  # extent of the factorised readout's masks, elements of the map

Tick = Callable[[int], None]


class Readout(StrEnum):
    """Readouts of the registry."""

    gaussian = "gaussian"
    factorized = "factorized"
    pyramid = "pyramid"


def random_ensemble(readout: Readout, n_units: int) -> Ensemble:
    """Return a network with random filters, places and feature weights; every unit alive."""
    generator = torch.Generator().manual_seed(0)
    config = ImageModelConfig.model_validate({"readout": {"type": readout.value}})
    network = ImageNetwork(config, IMAGE_SHAPE, {KEY: n_units})
    network.initialize({KEY: torch.ones(n_units)}, generator)
    with torch.no_grad():
        for name, parameter in network.readouts[KEY].named_parameters():
            if name == "features":  # equal feature weights would make all units alike
                parameter.normal_(std=0.05, generator=generator)
            if name == "position":
                parameter.uniform_(-1, 1, generator=generator)
            if name == "spatial":
                parameter.copy_(local_masks(parameter.shape, generator))
    return Ensemble([network])


def local_masks(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Return masks (n, h, w) that are zero but for a random square."""
    masks = torch.zeros(shape)
    for mask in masks:
        y, x = (int(torch.randint(n - LOCAL_MASK, (), generator=generator)) for n in mask.shape)
        mask[y : y + LOCAL_MASK, x : x + LOCAL_MASK] = torch.rand(
            LOCAL_MASK, LOCAL_MASK, generator=generator
        )
    return masks


def shortened(steps: int) -> InceptionLoop:
    """Go as far as the published ascent in fewer steps, or agreement would prove little."""
    published = InceptionLoop()
    longer = published.step_gain * published.iter_n / steps
    return published.model_copy(update={"iter_n": steps, "step_gain": longer})


def whole_images(ensemble: Ensemble, units: list[int]) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the responder that computes whole maps."""
    (network,) = ensemble.networks
    columns = [(KEY, unit) for unit in units]
    return lambda images, _: network.response(network.drives(network.maps(images), columns))


def own_units(ensemble: Ensemble, units: list[int]) -> OwnUnits:
    """Return the responder of the product."""
    return OwnUnits(ensemble, [(KEY, unit) for unit in units])


def batched(ensemble: Ensemble, n_units: int, params: InceptionLoop, tick: Tick) -> MEIResult:
    """Ascend all units in one batch."""
    device = next(ensemble.parameters()).device
    respond = own_units(ensemble, list(range(n_units)))
    return ascend(respond, range(n_units), IMAGE_SHAPE, MEAN, STD, params, device, tick)


def one_by_one(
    make_responder: Callable[[Ensemble, list[int]], Any],
    ensemble: Ensemble,
    n_units: int,
    params: InceptionLoop,
    tick: Tick,
) -> MEIResult:
    """Ascend the same units, each alone; activations, curves and images of all."""
    results = [
        ascend(
            make_responder(ensemble, [unit]), [unit], IMAGE_SHAPE, MEAN, STD, params, on_step=tick
        )
        for unit in range(n_units)
    ]
    fields = {name: [getattr(r, name) for r in results] for name in vars(results[0])}
    steps = fields.pop("curve_steps")[0]
    return MEIResult(**{n: np.concatenate(v) for n, v in fields.items()}, curve_steps=steps)


def timed(label: str, run: Callable[[Tick], MEIResult], ticks: int) -> tuple[MEIResult, float]:
    """Run one side under a progress bar on stderr; returns its result and wall seconds."""
    with tqdm(total=ticks, desc=label) as bar:
        start = time.perf_counter()
        result = run(lambda _: bar.update())
        return result, time.perf_counter() - start


def agreement(block: MEIResult, single: MEIResult) -> dict[str, Any]:
    """Compare both sides' activations and images."""
    if (block.status != "ok").any():
        raise SystemExit(f"{(block.status != 'ok').sum()} units do not respond: nothing to compare")
    relative = np.abs(block.activations - single.activations) / np.abs(single.activations)
    difference = float(relative.max())
    return {
        "equal": f"final activations within 1 %: {difference <= AGREEMENT} "
        f"(largest relative difference {difference:.1e})",
        "max_relative_difference": difference,
        "max_pixel_difference": float(np.abs(block.images - single.images).max()),
        "median_activation_ratio": float(np.median(block.activations / single.activations)),
        "activation_gain": float(np.median(block.activations / block.curve[:, 0])),
    }


def growth(ensemble: Ensemble, n_units: int, steps: int) -> dict[str, float]:
    """Return the exponents with which seconds grow with units and with steps (1: linearly)."""
    units = [n_units // 4, n_units // 2, n_units]
    lengths = [steps // 2, steps, 2 * steps]
    of_units = [seconds_of(ensemble, n, steps) for n in units]
    of_steps = [seconds_of(ensemble, n_units, n) for n in lengths]
    exponents = (
        np.polyfit(np.log(x), np.log(y), 1)[0] for x, y in ((units, of_units), (lengths, of_steps))
    )
    return dict(zip(("growth_with_units", "growth_with_steps"), map(float, exponents), strict=True))


def seconds_of(ensemble: Ensemble, n_units: int, steps: int) -> float:
    """Return the wall seconds of one batch."""
    start = time.perf_counter()
    batched(ensemble, n_units, InceptionLoop(iter_n=steps), lambda _: None)
    return time.perf_counter() - start


def main(
    readout: Annotated[Readout, typer.Option(help="Readout of the network.")] = Readout.gaussian,
    steps: Annotated[int, typer.Option(min=2, help="Ascent steps; 1000 are published.")] = 40,
    units: Annotated[int, typer.Option(min=4, help="Units of the block.")] = 128,
    threads: Annotated[int, typer.Option(min=1, help="Threads, all sides.")] = 2,
    device: Annotated[str, typer.Option(help="Of the batch; one by one runs on the CPU.")] = "cpu",
) -> None:
    """Time all sides and print one JSON line."""
    torch.set_num_threads(threads)
    ensemble, params = random_ensemble(readout, units), shortened(steps)
    elsewhere = random_ensemble(readout, units).to(device)
    brief = InceptionLoop(iter_n=2)
    for side in (whole_images, own_units):  # warm up
        one_by_one(side, ensemble, 1, brief, lambda _: None)
    batched(elsewhere, units, brief, lambda _: None)
    block, seconds = timed("batched", lambda tick: batched(elsewhere, units, params, tick), steps)
    single, reference_seconds = timed(
        "one by one, whole images",
        lambda tick: one_by_one(whole_images, ensemble, units, params, tick),
        steps * units,
    )
    _, window_seconds = timed(
        "one by one, windows",
        lambda tick: one_by_one(own_units, ensemble, units, params, tick),
        steps * units,
    )
    report = {
        "name": "mei",
        "ratio": reference_seconds / seconds,
        "reference": "the same optimiser on whole images, called once per unit",
        "ratio_to_windows_one_by_one": window_seconds / seconds,
        **agreement(block, single),
        **growth(elsewhere, units, steps),
        "seconds_per_mei": seconds / units,
        "reference_seconds_per_mei": reference_seconds / units,
        "seconds_per_mei_1000_steps": seconds / units / steps * 1000,
        "readout": readout.value,
        "units": units,
        "steps": steps,
        "threads": threads,
        "device": device,
        "torch": torch.__version__,
    }
    print(json.dumps(report))
    if report["max_relative_difference"] > AGREEMENT:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
