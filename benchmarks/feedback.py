"""Training step of feedback-modulated networks against the plain loop over their steps.

Run with ``python benchmarks/feedback.py``; the last line of the output is a JSON object. The plain
side is the specification (naumann22 2) written down: in every step one call of PyTorch's LSTM, as
in the original, or of its faster ``lstm_cell``, under autograd. All sides have the same weights and
batches; their losses and weights after training must be equal. On a machine that others use too,
the CPU seconds say more than those on the wall.
"""

import copy
import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor

from science.feedback import (
    Batch,
    DaleParams,
    FeedbackConfig,
    FeedbackNetwork,
    FeedbackTask,
    ModulationParams,
    SpatialParams,
    State,
    draw_batch,
    feedback_network,
    rollout_together,
    source_loss,
)

CONFIGS: dict[str, FeedbackConfig] = {
    "modulation": ModulationParams(),
    "spatial": SpatialParams(),
    "dale": DaleParams(),
}
N_CONTEXTS = 32
AGREEMENT = 1e-5  # largest relative difference of the losses
GOAL = 3.0

Step = Callable[[FeedbackNetwork, Tensor, tuple[Tensor, Tensor]], tuple[Tensor, Tensor]]
Rows = Iterator[tuple[float, float, float]]  # wall seconds, CPU seconds and loss of every batch


def lstm_layer(
    network: FeedbackNetwork, given: Tensor, state: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """One step of the LSTM, as the original makes it."""
    _, (hidden, memory) = network.lstm(given[None], (state[0][None], state[1][None]))
    return hidden[0], memory[0]


def lstm_cell(
    network: FeedbackNetwork, given: Tensor, state: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """One step of the LSTM by the function for single steps."""
    return torch.lstm_cell(given, state, *network.lstm.parameters())


def plain(
    network: FeedbackNetwork, inputs: Tensor, state: State, step: Step = lstm_layer
) -> tuple[Tensor, Tensor, State]:
    """Return outputs, feedback, (b, t, width), and last state, step by step."""
    config, lstm_state = network.config, (state.hidden, state.memory)
    modulation, gain = state.modulation, state.gain
    outputs, feedbacks = [], []
    for x in inputs.unbind(1):
        y = read(network, x, modulation, gain)
        given = {"xy": torch.cat([x, y], 1), "x": x, "y": y}[config.reads]
        lstm_state = step(network, given, lstm_state)
        feedback = network.readout(lstm_state[0])
        if config.type == "unmixing":
            modulation = feedback
        elif config.type == "modulation":
            fixed = network.w0.flatten()
            target = fixed + feedback if config.additive else fixed * feedback
            modulation = modulation + (target - modulation) / config.tau
        elif config.type == "spatial":
            modulation = modulation + (feedback @ network.Wm.T - modulation) / config.tau
        else:
            modulation = modulation + (feedback - modulation) / config.tau
            gain = 1 - torch.sigmoid(modulation @ network.Wm.T)
        outputs.append(y)
        feedbacks.append(feedback)
    return torch.stack(outputs, 1), torch.stack(feedbacks, 1), State(*lstm_state, modulation, gain)


def read(network: FeedbackNetwork, x: Tensor, modulation: Tensor, gain: Tensor) -> Tensor:
    """Return outputs (b, o) of inputs (b, i) under a modulation."""
    config = network.config
    if config.type == "spatial":
        return (modulation * (x @ network.w0.T)) @ network.Wro.T
    if config.type == "dale":
        lower = torch.relu(x @ network.wx.T)
        excitation, inhibition = lower @ network.w0.abs().T, lower @ network.w_inh.T
        units = {
            "output": gain * torch.relu(excitation - inhibition),
            "excitation": torch.relu(gain * excitation - inhibition),
            "inhibition": torch.relu(excitation - gain * inhibition),
        }[config.target]
        return units @ network.Wro.T
    weights = modulation.unflatten(1, (network.n_outputs, network.n_inputs))
    return torch.einsum("boi,bi->bo", weights, x)


def train(
    forward: Callable[..., tuple[Tensor, State]], network: FeedbackNetwork, batches: list[Batch]
) -> Rows:
    """Train a network as the original does (naumann22 3), one batch after the other."""
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    state = network.initial_state(N_CONTEXTS)
    for batch in batches:
        wall, cpu = time.perf_counter(), time.process_time()
        outputs, state = forward(network, batch.inputs, state)
        loss = source_loss(outputs, batch.targets)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_value_(network.parameters(), 1.0)
        optimizer.step()
        state = State(*(part.detach() for part in state))
        yield time.perf_counter() - wall, time.process_time() - cpu, loss.item()


def fused(network: FeedbackNetwork, inputs: Tensor, state: State) -> tuple[Tensor, State]:
    """Return outputs and last state by the program."""
    found = network(inputs, state)
    return found.outputs, found.state


def plain_by(step: Step) -> Callable[..., tuple[Tensor, State]]:
    """Return outputs and last state by the plain loop."""

    def forward(network: FeedbackNetwork, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        outputs, _, state = plain(network, inputs, state, step)
        return outputs, state

    return forward


def compare(name: str, n_batches: int) -> dict[str, Any]:
    """Train all sides in turns: the fastest batch of each, and whether the losses agree."""
    task, rng = FeedbackTask(), np.random.default_rng(0)
    batches = [draw_batch(task, N_CONTEXTS, rng) for _ in range(1 + n_batches)]
    networks = [feedback_network(CONFIGS[name]) for _ in range(3)]
    forwards = (fused, plain_by(lstm_layer), plain_by(lstm_cell))
    sides = [train(f, n, batches) for f, n in zip(forwards, networks, strict=True)]
    rows = np.array(list(zip(*sides, strict=True)))  # batch, side, measure
    wall, cpu = rows[1:, :, 0].min(0).tolist(), rows[1:, :, 1].min(0).tolist()
    difference = float((np.abs(rows[:, 1:, 2] / rows[:, :1, 2] - 1)).max())
    return {
        "seconds": round(wall[0], 4),
        "plain_seconds": round(wall[1], 4),
        "lstm_cell_seconds": round(wall[2], 4),
        "cpu_seconds": [round(seconds, 4) for seconds in cpu],  # of the three sides
        "ratio": round(wall[1] / wall[0], 2),
        "ratio_to_lstm_cell": round(wall[2] / wall[0], 2),
        "cpu_ratio": round(cpu[1] / cpu[0], 2),
        "losses": rows[:, 0, 2].round(4).tolist(),
        "max_relative_loss_difference": difference,
        "equal": difference <= AGREEMENT,
        "load_average": os.getloadavg()[0],
    }


def together(n_networks: int, n_hidden: int) -> dict[str, Any]:
    """Forward and backward of several networks in one program against one after the other."""
    task, rng = FeedbackTask(), np.random.default_rng(0)
    batch = draw_batch(task, N_CONTEXTS, rng)
    configs = [SpatialParams(n_hidden=n_hidden, tau=10.0 * (1 + i)) for i in range(n_networks)]
    networks = [feedback_network(config) for config in configs]
    for seed, network in enumerate(networks):
        network.initialize(torch.Generator().manual_seed(seed))
    others = copy.deepcopy(networks)
    inputs = batch.inputs.expand(n_networks, *batch.inputs.shape)
    found: dict[str, tuple[float, float]] = {}
    for _ in range(2):
        for name, run in {
            "together": lambda: rollout_together(networks, inputs),
            "alone": lambda: [network(batch.inputs) for network in others],
        }.items():
            begin = time.perf_counter()
            loss = torch.stack([source_loss(r.outputs, batch.targets) for r in run()]).sum()
            loss.backward()
            seconds = time.perf_counter() - begin
            found[name] = (min(seconds, found.get(name, (seconds,))[0]), loss.item())
    (fast, one), (slow, other) = found["together"], found["alone"]
    difference = abs(one / other - 1)
    return {
        "networks": n_networks,
        "hidden": n_hidden,
        "seconds": round(fast, 4),
        "alone_seconds": round(slow, 4),
        "ratio": round(slow / fast, 2),
        "max_relative_loss_difference": difference,
        "equal": difference <= AGREEMENT,
    }


def main(
    n_batches: Annotated[int, typer.Option(min=1, help="Timed, after one that warms up.")] = 3,
    threads: Annotated[int, typer.Option(min=1)] = 1,
    n_networks: Annotated[int, typer.Option(min=2, help="Trained side by side.")] = 4,
) -> None:
    """Measure and print one JSON line; fails if results differ or the goal is missed."""
    torch.set_num_threads(threads)
    parts: dict[str, Any] = {}
    for name in CONFIGS:
        parts[name] = compare(name, n_batches)
        print(name, parts[name], flush=True)
    for n_hidden in (16, 100):
        parts[f"together_{n_hidden}_hidden"] = together(n_networks, n_hidden)
    ratio = min(parts[name]["ratio"] for name in CONFIGS)
    report = {
        "name": "feedback",
        "goal": f"at least {GOAL:g} times as fast as the plain loop of the specification",
        "ratio": ratio,
        "equal": all(part["equal"] for part in parts.values()),
        **parts,
        "contexts": N_CONTEXTS,
        "steps": FeedbackTask().n_steps,
        "batches": n_batches,
        "threads": threads,
        "cpus": os.cpu_count(),
        "torch": torch.__version__,
    }
    print(json.dumps(report))
    if not report["equal"] or ratio < GOAL:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
