"""Section 2: the units side by side: raster, correlations, and what marks the reliable ones."""

import warnings

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.report import figures
from pipeline.report.album import Album
from pipeline.report.page import Picture
from schemas.dataset import TargetDataset
from schemas.loading import load_dataset
from schemas.reliability import Oracle, UnitStatistics
from science.dataset import Recording, repeat_average

N_UNITS_DRAWN = 1000
N_TRIALS_DRAWN = 3000
RASTERMAP = {"n_PCs": 64, "locality": 0.15, "time_lag_window": 15, "grid_upsample": 0}


def populations(training_set: dict[str, str], album: Album) -> list[Picture]:
    """Draw every recording of a dataset, and its units by oracle, entropy and variance."""
    dataset = (TargetDataset & training_set).to_arrays("dataset_digest").tolist()
    if not dataset:
        return []
    pictures = []
    for name, recording in load_dataset(training_set, dataset[0]).recordings.items():
        pictures += _recording(name, recording, album)
    return pictures + _statistics(training_set, album)


def _recording(name: str, recording: Recording, album: Album) -> list[Picture]:
    responses = recording.responses[:N_TRIALS_DRAWN, :N_UNITS_DRAWN].astype(np.float64)
    spread = responses.std(0)
    scaled = (responses - responses.mean(0)) / np.where(spread > 0, spread, 1)
    order, how = sorted_units(scaled)
    n_trials, n_units = recording.responses.shape
    shown = f"{len(scaled)} of {n_trials} trials, {len(order)} of {n_units} units of {name}"
    raster = album.add(
        "raster",
        figures.raster(scaled[:, order]),
        f"Raster of recording {name}",
        f"Responses of {shown}, z-scored per unit; units sorted by {how}.",
    )
    means = repeat_average(recording.responses[:, :N_UNITS_DRAWN], recording.image_index)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlations = np.corrcoef(means.T[order])
    matrix = album.add(
        "correlations",
        figures.correlation_matrix(np.atleast_2d(correlations)),
        f"Correlations between units of recording {name}",
        f"Correlation of the mean responses to the images between units of {name}, in the order "
        "of the raster.",
    )
    return [raster, matrix]


def sorted_units(scaled: NDArray[np.float64]) -> tuple[NDArray[np.int64], str]:
    """Sort the units of z-scored responses (n_trials, n_units) so that like ones are neighbours.

    Returns
    -------
    order : int64, (n_units,)
    how : str
        Rastermap, or the first principal component where that is not installed or there are fewer
        than a hundred trials or units, with which it cannot work.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of numba, while it is imported
            from rastermap import Rastermap
    except ImportError:
        return _by_first_component(scaled), (
            "their first principal component (pip install 'inceptionloop[raster]' for Rastermap)"
        )
    if min(scaled.shape) < 100:
        return _by_first_component(scaled), "their first principal component"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = Rastermap(**RASTERMAP, n_clusters=None, verbose=False).fit(scaled.T)
    return np.asarray(model.isort, np.int64), "Rastermap"


def _by_first_component(scaled: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.argsort(np.linalg.svd(scaled, full_matrices=False)[2][0], kind="stable")


def _statistics(training_set: dict[str, str], album: Album) -> list[Picture]:
    units = pd.DataFrame((UnitStatistics.Unit & training_set).to_dicts(order_by="unit_index"))
    oracle = (Oracle & training_set).proj().to_dicts(order_by="KEY", limit=1)
    if units.empty or not oracle:
        return []
    scores = (Oracle.UnitScores & oracle[0]).to_arrays("oracle", order_by="unit_index")
    figure = figures.oracle_against(
        np.asarray(scores, np.float64),
        {
            "entropy (nat)": units.entropy.to_numpy(np.float64),
            "variance of the mean response": units.response_variance.to_numpy(np.float64),
        },
        units.anomaly_label.to_numpy() == -1,
    )
    caption = (
        "Oracle score of every unit against entropy and variance of its mean responses to the "
        "images; an isolation forest sets the coloured ones apart."
    )
    return [album.add("unit-statistics", figure, "Oracle against entropy and variance", caption)]
