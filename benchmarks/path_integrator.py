"""Training step of the UGRNN path integrator against plain autograd and the original's time.

Run with ``python benchmarks/path_integrator.py``; the last line of the output is a JSON object.
The plain side writes the equations of mec 5.2 down as the original does: one product of the
concatenated input and state in every step, autograd through all of it, Adam in several passes. Both
sides start from the same weights and see the same batches, so that their losses must be equal. On a
machine that others use too, the CPU seconds say more than those on the wall.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor

from science.navigation.keras_adam import KerasAdam
from science.navigation.losses import place_loss, weight_decay
from science.navigation.path_integrator import PathIntegrator, PathIntegratorConfig
from science.navigation.random_source import random_source
from science.navigation.task import Batch, NavigationTask, draw_batch

N_WALKS = 200
ORIGINAL_SECONDS = {256: 0.10, 4096: 12.3}  # mec 14: TensorFlow, the better of its times
STEPS = {256: 20, 4096: 2}  # timed, after one that warms up
AGREEMENT = 1e-5  # largest difference of the losses

Rows = Iterator[tuple[float, float, float]]  # wall seconds, CPU seconds and loss of every step


def plain(network: PathIntegrator, start: Tensor, velocity: Tensor) -> Tensor:
    """Logits of a UGRNN with ReLU, step by step."""
    kernel = torch.cat([network.cell.input.weight, network.cell.recurrent.weight], 1).T
    hidden, states = network.encoders[0](start), []
    for encoded in network.velocity(velocity).unbind(1):
        both = torch.cat([encoded, hidden], 1) @ kernel + network.cell.input.bias
        gate, candidate = both.chunk(2, 1)
        gate = torch.sigmoid(gate + 1)
        hidden = gate * hidden + (1 - gate) * torch.relu(candidate)
        states.append(hidden)
    return network.decoder(torch.relu(network.dense(torch.stack(states, 1))))


def train(forward: Callable[..., Tensor], batches: list[Batch], n_units: int, fused: bool) -> Rows:
    """Train a new network, one step per batch."""
    network = PathIntegrator(PathIntegratorConfig(n_units=n_units), batches[0].targets.shape[-1])
    optimizer = KerasAdam(network.parameters(), lr=1e-4, fused=fused)
    for batch in batches:
        wall, cpu = time.perf_counter(), time.process_time()
        logits = forward(network, batch.initial_code, batch.velocities)
        loss = place_loss(logits, batch.targets) + 1e-4 * weight_decay(network, legacy=True)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield time.perf_counter() - wall, time.process_time() - cpu, loss.item()


def compare(n_units: int) -> dict[str, Any]:
    """Train both sides in turns: the fastest step of each, and whether the losses agree."""
    task = NavigationTask()
    code, rng = task.place_code(), random_source(0)
    batches = [draw_batch(task, code, N_WALKS, rng) for _ in range(1 + STEPS[n_units])]
    sides = (
        train(PathIntegrator.__call__, batches, n_units, True),
        train(plain, batches, n_units, False),
    )
    rows = np.array(list(zip(*sides, strict=True)))
    seconds, reference = rows[1:].min(0).round(4).tolist()
    difference = float(np.abs(np.subtract(*rows[..., 2].T)).max())
    return {
        "seconds": seconds[0],
        "cpu_seconds": seconds[1],
        "plain_seconds": reference[0],
        "plain_cpu_seconds": reference[1],
        "original_seconds": ORIGINAL_SECONDS[n_units],
        "ratio_to_plain": round(reference[0] / seconds[0], 3),
        "ratio_to_original": round(ORIGINAL_SECONDS[n_units] / seconds[0], 3),
        "max_loss_difference": difference,
        "equal": difference <= AGREEMENT,
        "load_average": os.getloadavg()[0],
    }


def main(
    units: Annotated[str, typer.Option(help="Sizes, separated by commas.")] = "256,4096",
    threads: Annotated[str, typer.Option(help="Thread counts, separated by commas.")] = "1,2",
) -> None:
    """Measure and print one JSON line; fails if the losses differ."""
    report: dict[str, Any] = {"name": "path_integrator"}
    for n_units in map(int, units.split(",")):
        if n_units not in STEPS:
            raise typer.BadParameter(f"no {n_units} units; there are {', '.join(map(str, STEPS))}")
        for n_threads in map(int, threads.split(",")):
            torch.set_num_threads(n_threads)
            name = f"{n_units}_units_{n_threads}_threads"
            report[name] = compare(n_units)
            print(name, report[name], flush=True)
    equal = all(part["equal"] for part in list(report.values())[1:])
    report |= {"ratio": report[name]["ratio_to_plain"], "equal": equal, "walks": N_WALKS}
    report |= {"device": "cpu", "torch": torch.__version__}
    print(json.dumps(report))
    if not equal:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
