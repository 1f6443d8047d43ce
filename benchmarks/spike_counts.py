"""Spikes per presentation: `science.responses.count_spikes` against allensdk's way.

Run with ``python benchmarks/spike_counts.py`` after ``make install-allen``; the last line of the
output is a JSON object. Both sides get the same session: spikes of 135 units at log-normal rates
over 9 000 s, and 5 950 natural scenes in three blocks (allen_mei 1). allensdk's side is what the
study's notebook does, `presentationwise_spike_times` and a count by group. Both start from spikes
in memory as they keep them: an `EcephysSession` one train per unit, the project all trains in one
row. What it takes to join the trains, once, when a session is ingested, is told apart.
"""

import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from pipeline.ingest.allen import PYTHON
from science.responses import count_spikes

DURATION, PRESENTATION = 9_000.0, 0.25021  # s
BLOCKS = (5_900.0, 6_850.0, 8_400.0)  # s, their beginnings
SAMPLING = 30_000  # Hz: spike times are whole samples


def simulate(n_units: int, n_presentations: int, seed: int) -> dict[str, NDArray[Any]]:
    """Return a session's arrays; every unit has spikes exactly at the edges of presentations."""
    rng = np.random.default_rng(seed)
    edges = [
        block + PRESENTATION * np.arange(len(part) + 1)
        for block, part in zip(
            BLOCKS, np.array_split(np.arange(n_presentations), len(BLOCKS)), strict=True
        )
    ]
    starts, stops = (
        np.concatenate([e[:-1] for e in edges]),
        np.concatenate([e[1:] for e in edges]),
    )
    rates = rng.lognormal(np.log(5), 1, n_units)  # spikes/s, mean 8.2
    trains = []
    for rate in rates:
        samples = rng.integers(0, int(DURATION * SAMPLING), rng.poisson(rate * DURATION))
        trains.append(np.sort(np.concatenate([samples / SAMPLING, rng.choice(starts, 20)])))
    return {
        "spike_times": np.concatenate(trains),
        "spike_counts": np.array([len(train) for train in trains]),
        "unit_id": 950_000_000 + np.arange(n_units),
        "starts": starts,
        "stops": stops,
        "frames": rng.integers(-1, 118, n_presentations).astype(float),
    }


def ours(
    session: dict[str, NDArray[Any]], repeats: int
) -> tuple[NDArray[np.float32], list[float], float]:
    """Count with the project's code; seconds of each repeat, and those of joining the trains."""
    trains = np.split(session["spike_times"], np.cumsum(session["spike_counts"])[:-1])
    start = time.perf_counter()
    spikes, n_spikes = np.concatenate(trains), [len(train) for train in trains]
    joining = time.perf_counter() - start
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        counts = count_spikes(spikes, n_spikes, session["starts"], session["stops"])
        seconds.append(time.perf_counter() - start)
    return counts, seconds, joining


def allensdks(
    session: dict[str, NDArray[Any]], repeats: int
) -> tuple[NDArray[np.int64], list[float]]:
    """Count with allensdk, each repeat in a process of its own; seconds of each."""
    program = Path(__file__).with_name("allensdk_spike_counts.py")
    with tempfile.TemporaryDirectory() as folder:
        for name, array in session.items():
            np.save(Path(folder, f"{name}.npy"), array)
        command = [str(PYTHON), "-E", "-W", "ignore", str(program), folder]
        runs = [
            subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            for _ in range(repeats)
        ]
        return np.load(Path(folder, "counts.npy")), [float(seconds) for seconds in runs]


def main(
    units: Annotated[int, typer.Option(min=1, help="Units.")] = 135,
    presentations: Annotated[int, typer.Option(min=3, help="Presentations.")] = 5950,
    repeats: Annotated[int, typer.Option(min=1, help="Repeats of either side.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the spikes.")] = 0,
) -> None:
    """Time both sides and print one JSON line."""
    if not PYTHON.exists():
        raise SystemExit("allensdk is not there: run `make install-allen`")
    session = simulate(units, presentations, seed)
    counts, seconds, joining = ours(session, repeats)
    expected, reference_seconds = allensdks(session, repeats)
    equal = bool(np.array_equal(counts, expected))
    report = {
        "name": "spike_counts",
        "ratio": float(np.median(reference_seconds) / np.median(seconds)),
        "reference": "EcephysSession.presentationwise_spike_times + groupby count, allensdk 2.16.2",
        "equal": f"identical counts: {equal}",
        "seconds": float(np.median(seconds)),
        "reference_seconds": float(np.median(reference_seconds)),
        "seconds_of_each": seconds,
        "seconds_joining_trains": joining,
        "reference_seconds_of_each": reference_seconds,
        "units": units,
        "presentations": presentations,
        "spikes": int(session["spike_counts"].sum()),
        "spikes_counted": int(counts.sum()),
        "repeats": repeats,
        "numpy": np.__version__,
    }
    print(json.dumps(report))
    if not equal:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
