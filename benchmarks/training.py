"""Training of image networks: images per second against plain layers, data loading, scaling.

Run with ``python benchmarks/training.py``; the last line of the output is a JSON object. Both
sides of the comparison have the architecture of microns_vei 7, the same initial weights, batches
in the same order, Adam and early stopping, so that their learning curves must be equal.
"""

import cProfile
import json
import os
import pstats
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, NamedTuple

os.environ["DJ_IGNORE_CONFIG_FILE"] = "true"

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch.profiler import ProfilerActivity, profile
from tqdm import tqdm

from benchmarks import plain_model
from pipeline.database import open_database
from pipeline.ingest.arrays import ingest_arrays
from pipeline.server import PrivateServer
from pipeline.settings import Settings
from pipeline.study import Study, register
from schemas.dataset import ConditionTier, TargetDataset
from schemas.loading import load_dataset
from schemas.model import TrainedModel
from schemas.responses import Frame, InputResponse
from science.dataset import ImageDataset, Normalization, Recording
from science.model import ImageModelConfig, ImageNetwork, StackedCoreConfig, TrainConfig
from science.model.fitting import fit, trial_data
from science.model.together import run_epoch_together
from science.model.training import ImageTrainee, run_epoch, validation_correlation
from science.model.trials import TrialData
from science.training import Training

IMAGE_SHAPE = (36, 64)
N_TRAIN, N_VALIDATION, N_UNITS = 600, 100, 150
SEED = 1009
SEEDS = (1009, 1215, 2606, 4114)
KEY = "benchmark"
GOAL = 1.2
AGREEMENT = 1e-3  # largest difference of loss or correlation in an epoch
WORKERS = (0, 2)  # of the reference's DataLoader; the faster one counts
SCAN = {"animal_id": 1, "session": 1, "scan_idx": 1}

Curve = Iterator[tuple[float, float]]  # loss and validation correlation of every epoch


def simulate(n_train: int, n_validation: int, n_units: int, seed: int = 0) -> Recording:
    """Return a recording: smooth noise images, units with a smooth filter and Poisson noise."""
    rng = np.random.default_rng(seed)
    n_images = n_train + n_validation
    images, filters = (
        gaussian_filter(rng.standard_normal((n, *IMAGE_SHAPE), np.float32), (0, 2, 2))
        for n in (n_images, n_units)
    )
    images /= images.std()
    rows, columns = np.indices(IMAGE_SHAPE)
    row, column = (rng.uniform(12, n - 12, (n_units, 1, 1)) for n in IMAGE_SHAPE)
    filters *= np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * 4**2))
    drive = images.reshape(n_images, -1) @ filters.reshape(n_units, -1).T
    rates = 2 * np.maximum(drive / drive.std(axis=0), 0) ** 2
    return Recording(
        frames=np.clip(111 + 60 * images, 0, 255).astype(np.float32),
        tiers=np.repeat(["train", "validation"], [n_train, n_validation]),
        image_index=np.arange(n_images),
        responses=rng.poisson(rates).astype(np.float32),
    )


def dataset_of(recordings: Mapping[str, Recording]) -> ImageDataset:
    """Return recordings that share a core as a dataset."""
    columns = [(k, i) for k, r in recordings.items() for i in range(r.responses.shape[1])]
    return ImageDataset(recordings, Normalization.of(recordings), columns)


def ours(
    dataset: ImageDataset, config: ImageModelConfig, train_config: TrainConfig, seed: int
) -> Curve:
    """Train with the project's code, epoch by epoch."""
    tiers = [
        {key: trial_data(dataset, key, tier) for key in dataset.recordings}
        for tier in ("train", "validation")
    ]
    training = Training(ImageTrainee(config, train_config, *tiers), seed)
    while not training.finished:
        record = training.run_epoch()
        yield record.train_loss, record.score


class Epoch(NamedTuple):
    """One epoch of one side; the CPU seconds are those of this process, all threads."""

    wall: float
    cpu: float
    loss: float
    corr: float


def in_turns(sides: Mapping[Any, Curve], n_epochs: int, name: str) -> dict[Any, NDArray]:
    """Run `n_epochs` of every side in turns, after one that warms up; its `Epoch`s as rows."""
    epochs = {side: [] for side in sides}
    for curve in sides.values():
        next(curve)
    for _ in tqdm(range(n_epochs), desc=name):
        for side, curve in sides.items():
            wall, cpu = time.perf_counter(), time.process_time()
            point = next(curve)
            spent = time.perf_counter() - wall, time.process_time() - cpu
            epochs[side].append(Epoch(*spent, *point))
    return {side: np.array(rows) for side, rows in epochs.items()}


def throughput(n_epochs: int) -> dict[str, Any]:
    """Compare images per second, validation included, with the reference at its best.

    On a machine that others use too, the ratio of CPU times says more than that of wall times.
    """
    dataset = dataset_of({KEY: simulate(N_TRAIN, N_VALIDATION, N_UNITS)})
    sides = {"ours": ours} | {
        f"reference_{n}_workers": partial(plain_model.training, n_workers=n) for n in WORKERS
    }
    curves = {n: s(dataset, ImageModelConfig(), TrainConfig(), SEED) for n, s in sides.items()}
    epochs = {n: Epoch(*rows.T) for n, rows in in_turns(curves, n_epochs, "throughput").items()}
    own, in_process = epochs["ours"], epochs["reference_0_workers"]
    best = min(list(sides)[1:], key=lambda name: np.median(epochs[name].wall))
    loss, corr = (np.abs(own[i] - epochs[best][i]).max().item() for i in (2, 3))
    return {
        "ratio": round(float(np.median(epochs[best].wall / own.wall)), 3),
        "goal": GOAL,
        "reference": f"plain layers and a DataLoader (benchmarks/plain_model.py), {best}",
        "equal": max(loss, corr) <= AGREEMENT,
        "max_loss_difference": loss,
        "max_correlation_difference": corr,
        "loss": own.loss.round(5).tolist(),
        "images_per_second": {n: round(N_TRAIN / np.median(e.wall), 1) for n, e in epochs.items()},
        "ratio_of_cpu_time": round(float(np.median(in_process.cpu / own.cpu)), 3),
        "images_per_cpu_second": {
            "ours": round(N_TRAIN / np.median(own.cpu), 1),
            "reference_0_workers": round(N_TRAIN / np.median(in_process.cpu), 1),
        },
        "load_average": os.getloadavg()[0],
        "images": N_TRAIN,
        "units": N_UNITS,
        "epochs": n_epochs,
    }


def bounds(n_epochs: int) -> dict[str, Any]:
    """Profile both sides; print what takes their time and return the largest shares."""
    dataset = dataset_of({KEY: simulate(300, 60, N_UNITS)})
    shares = {}
    for name, side in (("ours", ours), ("reference", plain_model.training)):
        curve = side(dataset, ImageModelConfig(), TrainConfig(), SEED)
        next(curve)
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            list(islice(curve, n_epochs))
        events = profiler.key_averages()
        print(name, events.table(sort_by="self_cpu_time_total", row_limit=15), sep="\n")
        total = sum(event.self_cpu_time_total for event in events)
        longest = sorted(events, key=lambda event: -event.self_cpu_time_total)[:6]
        shares[name] = {e.key: round(e.self_cpu_time_total / total, 3) for e in longest}
    return {"share_of_time": shares}


def loading(n_epochs: int) -> dict[str, Any]:
    """Populate `TrainedModel` with three seeds of a dataset and tell what loading it took."""
    with tempfile.TemporaryDirectory(prefix="inceptionloop-training-") as home:
        os.environ["INCEPTIONLOOP_HOME"] = home
        os.environ["INCEPTIONLOOP_PREFIX"] = "bench_"
        os.environ.pop("INCEPTIONLOOP_STORE", None)
        server = PrivateServer(Settings())
        try:
            calls = populate_models(Path(home) / "recording", n_epochs)
        finally:
            server.stop()
    seconds = {name: spent for name, (_, spent) in calls.items()}
    whole = seconds["load_dataset"] + seconds["fit"]
    return {
        "loading": {
            "trainings": calls["fit"][0],
            "epochs": calls["run_epoch"][0],
            "times_asked_for": calls["load_dataset"][0],
            "times_loaded": calls["of"][0],
            "seconds_in": {name: round(s, 4) for name, s in seconds.items()},
            "share_loading": round(seconds["load_dataset"] / whole, 5),
            "share_building_tensors": round(seconds["trial_data"] / whole, 5),
            "share_gathering_batches": round(seconds["take"] / whole, 5),
        }
    }


def populate_models(folder: Path, n_epochs: int) -> dict[str, tuple[int, float]]:
    """Ingest a recording and train models of it; calls and seconds of some functions."""
    simulated = simulate(N_TRAIN, N_VALIDATION, N_UNITS)
    arrays = {
        "images": simulated.frames.astype(np.uint8),
        "image_class": np.array("natural"),
        "image_index": simulated.image_index,
        "responses": simulated.responses,
    }
    folder.mkdir()
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    open_database(create=True)
    ingest_arrays(folder, SCAN)
    models = {"cnn": {"seeds": (1009, 1215, 2606), "meis": False}}
    register(Study.model_validate({"training": {"max_epoch": n_epochs}, "models": models}), [SCAN])
    for table in (Frame, InputResponse, ConditionTier, TargetDataset):
        table.populate()
    profiler = cProfile.Profile()
    profiler.runcall(TrainedModel.populate)
    return calls(
        profiler, load_dataset, Normalization.of, fit, trial_data, TrialData.take, run_epoch
    )


def calls(profiler: cProfile.Profile, *functions: Callable) -> dict[str, tuple[int, float]]:
    """Return how often functions were called, by their names, and their cumulative seconds."""
    stats = pstats.Stats(profiler).stats
    codes = [function.__code__ for function in functions]
    spent = [stats[c.co_filename, c.co_firstlineno, c.co_name] for c in codes]
    return {c.co_name: (n, s) for c, (_, n, _, s, _) in zip(codes, spent, strict=True)}


def scaling(n_epochs: int) -> dict[str, Any]:
    """Time epochs at three sizes of units, images and recordings; the rest stays as it is."""
    cases = {
        "units": {n: {KEY: simulate(120, 60, n)} for n in (500, 2000, 8000)},
        "images": {n: {KEY: simulate(n, 60, N_UNITS)} for n in (300, 600, 1200)},
        "scans": {
            n: {f"scan{i}": simulate(240, 60, N_UNITS, seed=i) for i in range(n)} for n in (1, 2, 4)
        },
    }
    report = {}
    for name, sizes in cases.items():
        curves = {
            n: ours(dataset_of(recordings), ImageModelConfig(), TrainConfig(), SEED)
            for n, recordings in sizes.items()
        }
        report[name] = growth(in_turns(curves, n_epochs, f"scaling with {name}"))
    return {"scaling": report}


def growth(epochs: dict[int, NDArray]) -> dict[str, Any]:
    """Fit a power of the size to the median seconds per epoch; with exponent 1 it is linear."""
    sizes = list(epochs)
    wall, cpu = np.array([np.median(rows[:, :2], axis=0) for rows in epochs.values()]).T
    return {
        "sizes": sizes,
        "seconds_per_epoch": wall.round(3).tolist(),
        "cpu_seconds_per_epoch": cpu.round(3).tolist(),
        "exponent": round(float(np.polyfit(np.log(sizes), np.log(wall), 1)[0]), 3),
        "exponent_of_cpu_time": round(float(np.polyfit(np.log(sizes), np.log(cpu), 1)[0]), 3),
        "cpu_seconds_per_one_more": [float(f"{s:.3g}") for s in np.diff(cpu) / np.diff(sizes)],
    }


def together(n_epochs: int) -> dict[str, Any]:
    """Train networks of several seeds as one program and one after another."""
    n_images = 120
    dataset = dataset_of({KEY: simulate(n_images, 60, N_UNITS)})
    report = {}
    for channels in (8, 32):
        config = ImageModelConfig(core=StackedCoreConfig(hidden_channels=channels))
        sides = {"one_after_another": one_after_another, "together": run_epoch_together}
        curves = {name: seeds_by(epoch, dataset, config) for name, epoch in sides.items()}
        rows = in_turns(curves, n_epochs, f"{len(SEEDS)} seeds, {channels} channels")
        epochs = {name: Epoch(*columns.T) for name, columns in rows.items()}
        apart, joint = epochs.values()
        report[f"{channels}_channels"] = {
            "ratio": round(float(np.median(apart.wall / joint.wall)), 3),
            "ratio_of_cpu_time": round(float(np.median(apart.cpu / joint.cpu)), 3),
            "images_per_second": {
                name: round(n_images * len(SEEDS) / np.median(e.wall), 1)
                for name, e in epochs.items()
            },
            "max_loss_difference": np.abs(apart.loss - joint.loss).max().item(),
            "max_correlation_difference": np.abs(apart.corr - joint.corr).max().item(),
        }
    return {"together": {"seeds": len(SEEDS), **report}}


def seeds_by(epoch: Callable, dataset: ImageDataset, config: ImageModelConfig) -> Curve:
    """Train a network of every seed by `run_epoch_together` or its like; yield their mean."""
    train, validation = ({KEY: trial_data(dataset, KEY, t)} for t in ("train", "validation"))
    networks = [ImageNetwork(config, IMAGE_SHAPE, {KEY: N_UNITS}) for _ in SEEDS]
    generators = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    for network, generator in zip(networks, generators, strict=True):
        network.initialize({KEY: train[KEY].responses.mean(0)}, generator)
    optimizers = [torch.optim.Adam(network.parameters(), lr=0.005) for network in networks]
    while True:
        losses = epoch(networks, optimizers, train, TrainConfig().batch_size, generators)
        corrs = [validation_correlation(network, validation) for network in networks]
        yield np.mean([sum(own.values()) for own in losses]), np.mean(corrs)


def one_after_another(
    networks: list[ImageNetwork],
    optimizers: list[torch.optim.Adam],
    train: dict[str, TrialData],
    batch_size: int,
    generators: list[torch.Generator],
) -> list[dict[str, float]]:
    """Do for every network in turn what `run_epoch_together` does at once."""
    members = zip(networks, optimizers, generators, strict=True)
    return [run_epoch(net, adam, train, batch_size, source) for net, adam, source in members]


PARTS = {
    "throughput": throughput,
    "bounds": bounds,
    "loading": loading,
    "scaling": scaling,
    "together": together,
}


def main(
    parts: Annotated[str, typer.Option(help="Which, separated by commas.")] = ",".join(PARTS),
    epochs: Annotated[int, typer.Option(min=1, help="Of every training, timed one by one.")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="Threads, both sides.")] = 2,
) -> None:
    """Measure and print one JSON line; fails if the learning curves differ."""
    chosen = parts.split(",")
    if unknown := set(chosen) - set(PARTS):
        raise typer.BadParameter(f"no parts {sorted(unknown)}; there are {', '.join(PARTS)}")
    torch.set_num_threads(threads)
    report: dict[str, Any] = {"name": "training"}
    for part in chosen:
        report |= PARTS[part](epochs)
    report |= {"threads": threads, "device": "cpu", "torch": torch.__version__}
    print(json.dumps(report))
    if not report.get("equal", True):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
