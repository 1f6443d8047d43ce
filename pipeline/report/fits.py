"""How well recorded cells are explained by other animals and by networks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.report import fit_figures
from pipeline.report.album import Album
from pipeline.report.architecture import family
from pipeline.report.fit_figures import Explained
from pipeline.report.navigation_page import FitsView
from pipeline.report.path_integrators import PLAN, distinct, left_out, network_names
from pipeline.report.picture import Picture
from schemas.model_config import ModelConfig
from schemas.navigation import RateMapDataset
from schemas.neural_fit import (
    FeatureConfig,
    InterAnimalConsistency,
    NeuralFit,
    NeuralFitPlan,
    NeuralMapConfig,
)
from science.neural_fit import LinearMapParams, PlsMapParams
from science.neural_fit.config import NeuralMapParams

CELL = ["animal_id", "session", "scan_idx", "unit_id"]
ANIMALS = {"holdout": "all other animals together", "pairwise": "each other animal alone"}
N_SCATTERS = 6


@dataclass(frozen=True)
class Source:
    """Something that explains cells.

    Attributes
    ----------
    name : str
    cells : DataFrame
        Columns `seed`, `score` and `corrected`, indexed by the keys of the cells.
    by_animals : bool
    """

    name: str
    cells: pd.DataFrame
    by_animals: bool = False

    @property
    def scores(self) -> pd.Series:
        """Score of every cell, mean over the seeds that have one."""
        return self.cells.groupby(level=CELL).score.mean()

    @property
    def median(self) -> float:
        """Median over the cells."""
        return float(self.scores.median())

    @property
    def corrected(self) -> float:
        """Median of the corrected scores over the cells; NaN without any."""
        return float(self.cells.groupby(level=CELL).corrected.mean().median())

    def row(self) -> dict[str, Any]:
        """Return what the table says."""
        medians = self.cells.groupby("seed").score.median()
        scores = self.scores
        return {
            "name": self.name,
            "seeds": None if self.by_animals else self.cells.seed.nunique(),
            "n_cells": len(scores),
            "n_scored": int(scores.notna().sum()),
            "median": self.median,
            "lowest": medians.min(),
            "highest": medians.max(),
            "corrected": self.corrected,
        }


def rate_map_fits(album: Album) -> list[FitsView]:
    """Describe the fits of rate maps, by set of animals and map."""
    plans = (NeuralFitPlan & NeuralFit & "rate_map_set_hash IS NOT NULL").to_dicts(order_by="KEY")
    made = InterAnimalConsistency().keys(order_by="KEY")
    columns = ("rate_map_set_hash", "neural_map_hash")
    return [
        _rate_map_view(dict(zip(columns, group, strict=True)), album)
        for group in sorted({tuple(row[name] for name in columns) for row in [*plans, *made]})
    ]


def _rate_map_view(group: dict[str, str], album: Album) -> FitsView:
    animals = [
        Source(name, _consistency(group | {"consistency_mode": mode}), True)
        for mode, name in ANIMALS.items()
        if InterAnimalConsistency & group & {"consistency_mode": mode}
    ]
    plans = (NeuralFitPlan & NeuralFit & group).to_dicts(order_by="KEY")
    names = [
        f"{name}, layer {plan['fit_layer']}"
        for name, plan in zip(network_names(plans), plans, strict=True)
    ]
    networks = _networks(distinct(names, plans, ["model_map_hash"]), plans)
    arena, n_animals = (RateMapDataset & group).fetch1("arena", "n_animals")
    where = f"Arena {arena}, {n_animals} animal{'s' if n_animals > 1 else ''}"
    return _view(where, group, animals, networks, album)


def image_fits(album: Album) -> list[FitsView]:
    """Describe how well image networks explain units, by training set of the units and map."""
    plans = (NeuralFitPlan & NeuralFit & "explained_set_hash IS NOT NULL").to_dicts(order_by="KEY")
    columns = ("explained_set_hash", "neural_map_hash")
    views = []
    for group in sorted({tuple(plan[name] for name in columns) for plan in plans}):
        own = [plan for plan in plans if tuple(plan[name] for name in columns) == group]
        layers = [
            (FeatureConfig & {"feature_hash": p["feature_hash"]}).fetch1("image_layer") for p in own
        ]
        families = [family((ModelConfig & {"model_hash": p["model_hash"]}).fetch1()) for p in own]
        names = [f"{name}, {layer}" for name, layer in zip(families, layers, strict=True)]
        networks = _networks(distinct(names, own, [*PLAN, "feature_hash"]), own)
        key = dict(zip(columns, group, strict=True))
        views.append(_view(f"Training set {group[0]}", key, [], networks, album))
    return views


def _networks(names: Sequence[str], plans: Sequence[dict[str, Any]]) -> list[Source]:
    """Return the networks of plans, from the best to the worst."""
    sources = [Source(name, _fit(plan)) for name, plan in zip(names, plans, strict=True)]
    return sorted(sources, key=lambda source: -np.nan_to_num(source.median, nan=-np.inf))


def _consistency(key: dict[str, str]) -> pd.DataFrame:
    columns = {"score": "consistency", "corrected": "consistency_corrected"}
    rows = (InterAnimalConsistency.Cell & key).proj(**columns).to_dicts(order_by="KEY")
    return _cells(rows).assign(seed=0)


def _fit(plan: dict[str, Any]) -> pd.DataFrame:
    cells = NeuralFit.Cell & {"neural_fit_hash": plan["neural_fit_hash"]}
    rows = cells.proj(score="fit", corrected="fit_corrected").to_dicts(order_by="KEY")
    return _cells(rows)


def _cells(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows).astype({"score": float, "corrected": float}).set_index(CELL)


def _view(
    where: str,
    key: dict[str, str],
    animals: Sequence[Source],
    networks: Sequence[Source],
    album: Album,
) -> FitsView:
    sources = [*animals, *networks]
    shown = [Explained(s.name, s.scores.to_numpy(), s.corrected, s.by_animals) for s in sources]
    caption = (
        "Correlation of predicted and recorded responses on what the map was not trained on, mean "
        "over splits and seeds; black lines: medians"
    )
    if any(np.isfinite(source.corrected) for source in sources):
        caption += "; diamonds: medians corrected for noise"
    picture = album.add(
        "fits", fit_figures.strips(shown), f"Explained cells, {where}", f"{caption}."
    )
    return FitsView(
        where=where,
        map=map_words(
            NeuralMapConfig.params(key), "bins" if "rate_map_set_hash" in key else "images"
        ),
        rows=[source.row() for source in sources],
        strips=picture,
        scatter=_scatter(animals, networks, album),
    )


def _scatter(animals: Sequence[Source], networks: Sequence[Source], album: Album) -> Picture | None:
    """Draw every cell by what networks, and what other animals explain of it."""
    if not animals or not networks:
        return None
    consistency = animals[0].scores
    shown = {n.name: n.scores.reindex(consistency.index).to_numpy() for n in networks[:N_SCATTERS]}
    figure = fit_figures.against_animals(shown, consistency.to_numpy())
    caption = (
        f"Every cell by how well {animals[0].name} and the network explain it; on the dashed line "
        "equally well." + left_out(len(networks) - len(shown), "layer")
    )
    return album.add("fit-scatter", figure, "Explained by networks and by animals", caption)


def map_words(params: NeuralMapParams, conditions: str) -> str:
    """Describe a map and its splits."""
    if params.search is not None:
        text = "elastic net whose penalties each cell has chosen on other animals"
    elif isinstance(params.map, LinearMapParams):
        text = params.map.regression_type
    elif isinstance(params.map, PlsMapParams):
        text = f"PLS of {params.map.n_components} components"
    elif params.map.identity:
        text = "the one most alike cell or unit"
    else:
        text = f"regression on the cells or units above the {params.map.percentile:g}th percentile"
    if isinstance(params.train_frac, str):
        return f"{text}; parts of the arena ({params.train_frac}) predicted from the others"
    splits = f"{params.n_splits} random split{'s' if params.n_splits > 1 else ''}"
    return f"{text}; trained on {100 * params.train_frac:g} % of the {conditions}, {splits}"
