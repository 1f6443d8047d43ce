"""Ingest and InputResponse of a large two-photon recording: wall time and peak memory.

Run with ``python benchmarks/ingest.py``; the last line of the output is a JSON object. 6 000 trials
and 8 000 units at 8 volumes per second are 48 000 frames, 1.5 GB of traces, which are written to a
temporary folder in the arrays format and stored once more by ingest. The database is a private
server of its own in the same folder. Memory is that of this process above what it held before:
anonymous (RssAnon) and all that is resident, memory maps included (VmRSS).
"""

import json
import os
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Self

os.environ["DJ_IGNORE_CONFIG_FILE"] = "true"

import numpy as np
import typer
from numpy.typing import NDArray
from tqdm import tqdm

from pipeline.database import open_database
from pipeline.ingest.arrays import ingest_arrays
from pipeline.server import PrivateServer
from pipeline.settings import Settings
from schemas import recording
from schemas.responses import Frame, InputResponse, Preprocessing, StaticScan
from science.preprocessing import PreprocessingParams

SCAN = {"animal_id": 1, "session": 1, "scan_idx": 1}
VOLUME_RATE, N_DEPTHS = 8.0, 3
BLANK, SHOWN = 0.3, 0.5  # s, of trials of about 1 s
CHUNK = 2_000  # frames written at once
GOAL = 3.0  # peak anonymous memory over the size of the response matrix


class PeakMemory:
    """Peak memory of this process while the context lasts, MB above what it held at its start."""

    def __enter__(self) -> Self:
        self._done = threading.Event()
        self._start = self._peak = _memory()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        self._begin = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.seconds = time.perf_counter() - self._begin
        self._done.set()
        self._thread.join()
        self.anonymous, self.resident = (self._peak - self._start).tolist()

    def _watch(self) -> None:
        while not self._done.wait(0.005):
            self._peak = np.maximum(self._peak, _memory())

    def report(self) -> dict[str, float]:
        """Return wall time and both peaks."""
        return {
            "seconds": round(self.seconds, 2),
            "peak_anonymous_mb": round(self.anonymous, 1),
            "peak_resident_mb": round(self.resident, 1),
        }


def _memory() -> NDArray[np.float64]:
    """Anonymous and resident memory now, MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    kib = {
        name: value.split()[0]
        for name, value in (line.split(":", 1) for line in lines)
        if value.strip()
    }
    return np.array([int(kib["RssAnon"]), int(kib["VmRSS"])]) * 1024 / 1e6


def write_recording(folder: Path, n_trials: int, n_units: int) -> None:
    """Write a recording in which every tenth unit lacks one sample."""
    rng = np.random.default_rng(0)
    n_frames = round(n_trials * VOLUME_RATE)
    shape = (n_frames, n_units)
    path = folder / "traces.npy"
    traces = np.lib.format.open_memmap(path, "w+", np.float32, shape)
    for start in tqdm(range(0, n_frames, CHUNK), desc="writing traces"):
        rows = traces[start : start + CHUNK]
        rows[:] = rng.standard_exponential(rows.shape, np.float32)
    traces[n_frames // 2, ::10] = np.nan
    traces.flush()

    n_volumes = n_frames * N_DEPTHS
    jitter = rng.uniform(-1e-3, 1e-3, n_volumes)
    field = np.arange(n_units) % N_DEPTHS
    blank = np.linspace(2, n_trials - 4, n_trials)
    n_repeated, repeats = n_trials // 60, 10
    n_images = n_trials - n_repeated * (repeats - 1)
    shown = np.concatenate([np.arange(n_images), np.repeat(np.arange(n_repeated), repeats - 1)])
    arrays = {
        "images": rng.integers(0, 256, (n_images, 36, 64), np.uint8),
        "image_class": np.array("natural"),
        "image_index": rng.permutation(shown),
        "flip_times": np.stack([blank, blank + BLANK, blank + BLANK + SHOWN], axis=1),
        "frame_times": np.arange(n_volumes) / (VOLUME_RATE * N_DEPTHS) + jitter,
        "n_depths": np.array(N_DEPTHS),
        "field": field + 1,
        "field_depth": np.array([200.0, 230.0, 260.0]),
        "delay": (field + rng.random(n_units)) / (VOLUME_RATE * N_DEPTHS),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


def plain_responses(folder: Path, units: NDArray[np.intp]) -> NDArray[np.float64]:
    """Responses of some units by a loop: fill, np.convolve, np.interp (microns_vei 4.6)."""
    load = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in
            ("traces", "frame_times", "flip_times", "delay")}  # fmt: skip
    times = load["frame_times"][::N_DEPTHS]
    params = PreprocessingParams()
    half = int(params.duration / np.median(np.diff(times)) + 1e-6)
    window = np.hamming(2 * half + 1) / np.hamming(2 * half + 1).sum()
    at = load["flip_times"][:, 1] + params.offset + params.duration / 2
    columns = []
    for unit in units:
        trace = load["traces"][:, unit].astype(float)
        known = ~np.isnan(trace)
        frames = np.arange(len(trace))
        smooth = np.convolve(np.interp(frames, frames[known], trace[known]), window, mode="same")
        columns.append(np.interp(at, times + load["delay"][unit], smooth))
    return np.stack(columns, axis=1)


def stored_responses(units: NDArray[np.intp]) -> NDArray[np.float32]:
    """Responses of the same units as the table has them, (n_trials, n_units)."""
    blocks = InputResponse.ResponseBlock.to_arrays("responses", order_by="response_block")
    ends = np.cumsum([block.shape[1] for block in blocks])
    block = ends.searchsorted(units, side="right")
    first = np.concatenate([[0], ends])[block]
    return np.stack([blocks[b][:, u - f] for b, u, f in zip(block, units, first, strict=True)], 1)


def measure(home: Path, n_trials: int, n_units: int) -> dict[str, Any]:
    """Write, ingest and populate one recording."""
    folder = home / "recording"
    folder.mkdir()
    write_recording(folder, n_trials, n_units)
    open_database(create=True)
    with PeakMemory() as ingest:
        ingest_arrays(folder, SCAN)
    key = SCAN | Preprocessing.register(PreprocessingParams())
    StaticScan.insert1(key)
    Frame.populate(key)
    with PeakMemory() as computing:
        InputResponse.populate(key)

    units = np.unique(np.linspace(0, n_units - 1, 50).astype(int))
    expected, stored = plain_responses(folder, units), stored_responses(units)
    matrix_mb = n_trials * n_units * 4 / 1e6
    peak = max(ingest.anonymous, computing.anonymous)
    return {
        "name": "ingest",
        "ratio": round(peak / matrix_mb, 2),
        "reference": f"the response matrix, {matrix_mb:.0f} MB; goal: below {GOAL:g} times it",
        "equal": bool(np.allclose(stored, expected, rtol=1e-4, atol=1e-5)),
        "max_difference": float(np.abs(stored - expected).max()),
        "ingest": ingest.report(),
        "input_response": computing.report(),
        "trials": len(recording.Trial()),
        "units": n_units,
        "frames": round(n_trials * VOLUME_RATE),
        "traces_mb": round((folder / "traces.npy").stat().st_size / 1e6),
    }


def main(
    small: Annotated[bool, typer.Option("--small", help="600 trials of 1 000 units.")] = False,
) -> None:
    """Measure and print one JSON line; fails if results differ or the memory goal is missed."""
    with tempfile.TemporaryDirectory(prefix="inceptionloop-ingest-") as home:
        os.environ["INCEPTIONLOOP_HOME"] = home
        os.environ["INCEPTIONLOOP_PREFIX"] = "bench_"
        os.environ.pop("INCEPTIONLOOP_STORE", None)
        server = PrivateServer(Settings())
        try:
            report = measure(Path(home), *((600, 1_000) if small else (6_000, 8_000)))
        finally:
            server.stop()
    print(json.dumps(report))
    if not report["equal"] or (report["ratio"] >= GOAL and not small):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
