"""Rate maps of path integrators: which of their units look like grid cells."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.report import navigation_figures
from pipeline.report.album import Album
from pipeline.report.navigation_figures import MappedUnit
from pipeline.report.navigation_page import NetworkMapsView
from pipeline.report.numbers import number
from pipeline.report.path_integrators import (
    N_COMPARED,
    NETWORK,
    TRAINING,
    left_out,
    trained_networks,
)
from pipeline.report.picture import Picture
from pipeline.report.style import finite
from schemas.navigation import ModelMapConfig, ModelRateMap
from schemas.open_field import Arena
from schemas.store import intact

LAYERS = ("g", "pre_g", "dc")
"""The first one that is mapped is shown."""
THRESHOLD = 0.3
N_UNITS = 12
N_DRAWN = 4  # networks of an arena whose units are drawn


def network_maps(album: Album) -> list[NetworkMapsView]:
    """Describe the rate maps of the best seed of every training, arena by arena."""
    layers = ModelRateMap.proj("map_decoding_error") * ModelRateMap.Layer.proj("n_layer_units")
    made = pd.DataFrame((layers * ModelMapConfig.proj("model_bin_cm")).to_dicts(order_by="KEY"))
    if made.empty:
        return []
    made = made.merge(trained_networks(), on=NETWORK)
    preferred = made.layer_name.map(LAYERS.index)
    made = made.assign(preferred=preferred).sort_values(["decoding_error", "preferred", *NETWORK])
    where = ["arena", "model_map_hash"]
    shown = made.drop_duplicates([*TRAINING, *where])
    return [_maps(arena, of, album) for (arena, _), of in shown.groupby(where)]


def _maps(arena: str, shown: pd.DataFrame, album: Album) -> NetworkMapsView:
    """Describe the networks in an arena, from the best to the worst."""
    scores = {network.label: _grid_scores(network) for network in shown.itertuples()}
    return NetworkMapsView(
        arena=arena,
        bin_cm=shown.model_bin_cm.iloc[0],
        threshold=THRESHOLD,
        networks=[_counts(n, scores[n.label]) for n in shown.itertuples()],
        distributions=_distributions(scores, album),
        pictures=[_units(n, scores[n.label], album) for n in shown.head(N_DRAWN).itertuples()],
    )


def _distributions(scores: dict[str, NDArray[np.float64]], album: Album) -> Picture | None:
    """Draw the grid scores of the best networks that have any."""
    known = {name: of for name, of in scores.items() if np.isfinite(of).any()}
    if not known:
        return None
    shown = dict(list(known.items())[:N_COMPARED])
    caption = f"Grid scores of all units that have one; dashed: {THRESHOLD}."
    caption += left_out(len(known) - len(shown))
    figure = navigation_figures.grid_score_distributions(shown, THRESHOLD)
    return album.add("grid-scores", figure, "Distributions of grid scores", caption)


def _grid_scores(network: Any) -> NDArray[np.float64]:
    """Return the scores of the units of a layer in their order, NaN where there is none."""
    units = ModelRateMap.Unit & _layer(network)
    return units.to_arrays("model_grid_score", order_by="model_unit").astype(float)


def _layer(network: Any) -> dict[str, Any]:
    return {name: getattr(network, name) for name in ModelRateMap.Layer.primary_key}


def _counts(network: Any, scores: NDArray[np.float64]) -> dict[str, Any]:
    return {
        "label": network.label,
        "seed": network.seed,
        "layer": network.layer_name,
        "error": 100 * network.map_decoding_error,
        "n_units": len(scores),
        "n_scored": int(np.isfinite(scores).sum()),
        "n_above": int((scores > THRESHOLD).sum()),
        "best": max(finite(scores).tolist(), default=np.nan),
    }


def _units(network: Any, scores: NDArray[np.float64], album: Album) -> Picture:
    """Draw the units of a layer with the highest grid scores."""
    key = _layer(network)
    stored, digest = (ModelRateMap.Layer & key).fetch1("layer_maps", "layer_maps_digest")
    maps = intact(stored, digest, f"maps of {key}")
    best = np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")[:N_UNITS]
    units = [MappedUnit(f"unit {i}\ngrid {number(scores[i])}", maps[..., i]) for i in best.tolist()]
    caption = (
        f"{network.label}, seed {network.seed}: the {len(units)} units of layer "
        f"{network.layer_name} with the highest grid scores; rate map, white where the network "
        "never was, and autocorrelogram, from \u22121 (blue) to 1 (red)."
    )
    figure = navigation_figures.mapped_units(units, Arena.box(key))
    return album.add("network-maps", figure, "Rate maps of units of a network", caption)
