"""One model of all units against one model per unit, on a simulated Allen recording.

Virtual cells see as many natural images, as often, as the units of the Allen study (allen_mei 1);
as many as it selected are modelled together. Architecture and training are those of the shipped
study; both sides have the same images, tiers, seed, learning rates and rule of early stopping,
which each model applies to its own units. No database is needed; the last line is JSON.

    .venv/bin/python -m benchmarks.allen_models [--height 60] [--units 48] [--compared 12]
"""

import argparse
import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.stats import wilcoxon
from tqdm import tqdm

from pipeline.demo import STUDIES
from pipeline.study import Study, read_study
from science.dataset import ImageDataset, Normalization, Recording
from science.model.fitting import fit
from science.model.scores import unit_scores
from science.natural_images import natural_images
from science.split import SplitParams, assign_tiers
from science.virtual import VirtualAnimal, VirtualAnimalParams, shuffled_presentation

N_IMAGES, REPEATS = 118, 50
SCREEN = (60, 96)  # pixels of the study, about 1.25 degrees each
KEY = "allen"
SCORES = ("test_corr_avg", "test_cc_norm", "validation_corr_avg")
COMPARED = {"test_corr_avg": "correlation", "test_cc_norm": "cc_norm"}


def virtual_area(height: int, n_units: int) -> VirtualAnimalParams:
    """Return simple and complex cells, in equal numbers, of a visual area.

    Lengths keep their ratio to the screen: wavelengths are 12 to 31 degrees. One probe's units
    look at neighbouring places, here in the middle of the screen, where readouts start.
    """
    scale = height / SCREEN[0]
    return VirtualAnimalParams(
        height=height,
        width=round(SCREEN[1] * scale),
        n_simple=n_units // 2,
        n_complex=n_units - n_units // 2,
        n_undriven=0,
        wavelength_low=10 * scale,
        wavelength_high=25 * scale,
        sigma_low=4 * scale,
        sigma_high=8 * scale,
        border=24 * scale,
    )


def simulate(
    animal: VirtualAnimal, split: SplitParams, n_images: int = N_IMAGES, repeats: int = REPEATS
) -> ImageDataset:
    """Show every image `repeats` times in random order; tiers are dealt by image."""
    params, seed = animal.params, animal.seed
    images = natural_images(n_images, params.height, params.width, seed)
    shown = shuffled_presentation(np.full(n_images, repeats), seed)
    digests = [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
    recording = Recording(
        frames=images.astype(np.float32),
        tiers=np.array(assign_tiers(digests, [repeats] * n_images, split)),
        image_index=shown,
        responses=animal.session(1).record(images, shown, seed),
    )
    return dataset_of(recording)


def dataset_of(recording: Recording) -> ImageDataset:
    """Return all units of a recording as a dataset; models learn their mean responses."""
    recordings = {KEY: recording}
    columns = [(KEY, unit) for unit in range(recording.responses.shape[1])]
    return ImageDataset(recordings, Normalization.of(recordings), columns, average_repeats=True)


def single_units(dataset: ImageDataset, units: Sequence[int]) -> list[ImageDataset]:
    """Return a dataset of its own for each of these units."""
    recording = dataset.recordings[KEY]
    return [
        dataset_of(replace(recording, responses=recording.responses[:, [unit]])) for unit in units
    ]


def fitted_scores(
    study: Study, datasets: Sequence[ImageDataset], name: str
) -> tuple[dict[str, NDArray[np.float64]], float]:
    """Fit a model to each dataset; returns scores (n_units of all of them,) and the seconds.

    A prediction that never varies has no correlation; it predicts nothing, which is a score of 0.
    """
    model, parts = study.models["cnn"], []
    begin = time.perf_counter()
    for dataset in tqdm(datasets, desc=name):
        network = fit(dataset, model.config, study.training, model.seeds[0]).network
        parts.append(unit_scores(network, dataset))
    seconds = time.perf_counter() - begin
    scores = {name: np.concatenate([part[name] for part in parts]) for name in SCORES}
    return {name: np.nan_to_num(values) for name, values in scores.items()}, seconds


def compare(together: NDArray[np.float64], alone: NDArray[np.float64]) -> dict[str, float]:
    """Compare the scores of units, paired."""
    return {
        "together": round(float(np.median(together)), 4),
        "alone": round(float(np.median(alone)), 4),
        "median_gain": round(float(np.median(together - alone)), 4),
        "better_units": int((together > alone).sum()),
        "worse_units": int((together < alone).sum()),
        "p_greater": float(f"{wilcoxon(together, alone, alternative='greater').pvalue:.2g}"),
    }


def main() -> None:
    """Run the benchmark and print its result as JSON on the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--height", type=int, default=SCREEN[0], help="of the images, pixels")
    parser.add_argument("--units", type=int, default=48, help="modelled together")
    parser.add_argument("--compared", type=int, default=12, help="of them, modelled alone too")
    parser.add_argument("--animal", type=int, default=1, help="seed of cells, images and noise")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if not 2 <= options.compared <= options.units:
        parser.error("--compared must be between 2 and --units")
    torch.set_num_threads(options.threads)
    study = read_study(STUDIES / "allen.toml")
    animal = VirtualAnimal(virtual_area(options.height, options.units), options.animal)
    dataset = simulate(animal, study.split)
    compared = np.arange(options.compared)  # the order of the cells is random
    together, together_seconds = fitted_scores(study, [dataset], "all units together")
    alone, alone_seconds = fitted_scores(study, single_units(dataset, compared), "one by one")
    together = {score: values[compared] for score, values in together.items()}
    result = {name: compare(together[score], alone[score]) for score, name in COMPARED.items()}
    validation = {
        name: round(float(side["validation_corr_avg"].mean()), 4)
        for name, side in {"together": together, "alone": alone}.items()
    }
    units = pd.DataFrame(
        {
            "kind": animal.kind[compared],
            "together": together["test_cc_norm"],
            "alone": alone["test_cc_norm"],
        }
    )
    recording = dataset.recordings[KEY]
    report = {
        "name": "allen_models",
        "difference": result["cc_norm"]["median_gain"],
        "reference": "one model per unit (allen_mei 4); median over units of the gain in CC_norm",
        "equal": "architecture, training parameters, seed, images, tiers and units compared",
        **result,
        "median_cc_norm_by_kind": units.groupby("kind").median().round(3).to_dict("index"),
        "cc_norm_of_units": units.round(3).to_dict("list"),
        "mean_validation_correlation": validation,
        "constant_predictions": int((alone["test_corr_avg"] == 0).sum()),
        "images": {
            tier: int((recording.tiers == tier).sum()) for tier in np.unique(recording.tiers)
        },
        "repeats": REPEATS,
        "image_shape": dataset.image_shape,
        "seconds_together": round(together_seconds, 1),
        "seconds_alone": round(alone_seconds, 1),
        "seconds_per_unit": [
            round(together_seconds / options.units, 2),
            round(alone_seconds / options.compared, 2),
        ],
        "cpus": os.cpu_count(),
    }
    print(json.dumps(report | vars(options)))


if __name__ == "__main__":
    main()
