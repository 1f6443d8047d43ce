"""How well other animals, and networks, explain recorded cells."""

from typing import Any

import datajoint as dj
import numpy as np

from schemas.code_version import code_version
from schemas.configuration import Configuration, configuration_hash
from schemas.dataset import TargetDataset, TrainingSet
from schemas.fitted_cells import (
    cell_rows,
    explained_cells,
    mapped_cells,
    mapped_recordings,
    recorded_cells,
    split_rows,
)
from schemas.loading import load_dataset
from schemas.model import TrainedModel, TrainingPlan, load_model
from schemas.model_config import ModelConfig, Seed, SeedSet
from schemas.navigation import (
    AnimalRateMap,
    ModelMapConfig,
    ModelMapPlan,
    ModelRateMap,
    RateMapDataset,
)
from schemas.operations import CodeVersion
from schemas.recording import Scan
from schemas.rows import nullable
from schemas.store import intact
from science.model.config import ImageModelConfig
from science.model.features import (
    ImageFeatureParams,
    image_features,
    layer_channels,
)
from science.model.readback import network_inputs
from science.neural_fit.config import NeuralMapParams
from science.neural_fit.dataset_fits import FittedCells, Penalties, consistency, model_fits
from science.neural_fit.recorded_cells import image_cells

schema = dj.Schema()


@schema
class NeuralMapConfig(Configuration, dj.Manual):
    definition = """
    # How responses are mapped to cells, and which conditions train and test the map
    neural_map_hash : char(16)
    ---
    map_type : varchar(12)              # sklinear, pls, corr
    map_train_fraction : varchar(12)    # or which part of the arena is predicted
    n_map_splits : int32                # of random ones
    with_search : bool                  # each cell has penalties that other animals have chosen
    neural_map_params : json
    """
    params_type = NeuralMapParams
    params_column = "neural_map_params"

    @classmethod
    def columns(cls, params: NeuralMapParams) -> dict[str, Any]:
        train = params.train_frac
        return {
            "map_type": params.map.map_type,
            "map_train_fraction": train if isinstance(train, str) else f"{train:.6g}",
            "n_map_splits": params.n_splits,
            "with_search": params.search is not None,
        }


@schema
class ConsistencyMode(dj.Lookup):
    definition = """
    # From whom an animal is predicted: from all others together, or from each other one alone
    consistency_mode : varchar(8)
    """
    contents = [{"consistency_mode": mode} for mode in ("holdout", "pairwise")]


@schema
class ConsistencyPlan(dj.Manual):
    definition = """
    # Comparisons of animals that someone asked for
    -> RateMapDataset
    -> NeuralMapConfig
    -> ConsistencyMode
    """

    @classmethod
    def register(
        cls, dataset: dict[str, str], neural_map: dict[str, str], mode: str = "holdout"
    ) -> dict[str, str]:
        """Ask for a comparison of the animals of a set, and return its key.

        Parameters
        ----------
        dataset, neural_map : dict
            Keys of `RateMapDataset` and `NeuralMapConfig`.
        mode : {'holdout', 'pairwise'}

        Raises
        ------
        ValueError
            One animal only, or a search for pairs.
        """
        n_animals, arena = (RateMapDataset & dataset).fetch1("n_animals", "arena")
        if n_animals < 2:
            raise ValueError(
                f"{dataset} has one animal only in the arena '{arena}', which no other can "
                "predict: register a set of two and more"
            )
        if mode == "pairwise" and NeuralMapConfig.params(neural_map).search is not None:
            raise ValueError(
                "penalties are chosen for one source per cell: use 'holdout', or no search"
            )
        key = dataset | neural_map | {"consistency_mode": mode}
        cls.insert1(key, skip_duplicates=True)
        return key


@schema
class InterAnimalConsistency(dj.Computed):
    definition = """
    # How well the cells of each animal are predicted from other animals
    -> ConsistencyPlan
    ---
    n_consistency_cells : int32
    median_consistency = null : float64     # over the cells that have one
    -> CodeVersion
    """

    class Cell(dj.Part):
        """A cell and how well other animals predict it."""

        definition = """
        -> master
        -> Scan.Unit
        ---
        consistency = null : float64        # r with test bins, mean over splits; null: constant
        consistency_corrected = null : float64  # for the noise of the recordings
        n_consistency_bins : int32
        """

    class CellSplit(dj.Part):
        """One split of a cell's bins into training and test."""

        definition = """
        -> InterAnimalConsistency.Cell
        consistency_split : int16
        ---
        split_consistency = null : float64
        chosen_alpha = null : float64       # of a search, as ElasticNet takes it
        chosen_l1_ratio = null : float64
        n_chosen_on = null : int32          # training bins
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Comparisons all of whose recordings have rate maps."""
        missing = ConsistencyPlan * RateMapDataset.Member - AnimalRateMap.proj()
        return ConsistencyPlan - missing.proj()

    def make_fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        arena = (RateMapDataset & key).fetch1("arena")
        return arena, NeuralMapConfig.params(key), mapped_recordings(key)

    def make_compute(
        self,
        key: dict[str, Any],
        arena: str,
        params: NeuralMapParams,
        recordings: list[dict[str, Any]],
    ) -> tuple[Any, ...]:
        recorded = [recorded_cells(recording) for recording in recordings]
        fits = consistency(arena, recorded, params, key["consistency_mode"])
        return mapped_cells(recordings), fits, code_version()

    def make_insert(
        self,
        key: dict[str, Any],
        cells: list[dict[str, Any]],
        fits: FittedCells,
        code: dict[str, str],
    ) -> None:
        row = {"n_consistency_cells": len(cells), "median_consistency": fits.median}
        self.insert1(nullable(key | row | code))
        scores = {
            "consistency": fits.corr,
            "consistency_corrected": fits.corrected,
            "n_consistency_bins": fits.n_conditions,
        }
        self.Cell.insert(cell_rows(key, cells, scores))
        splits = {"split_consistency": fits.corr_per_split}
        if fits.penalties is not None:
            splits |= {
                "chosen_alpha": fits.penalties.alpha,
                "chosen_l1_ratio": fits.penalties.l1_ratio,
                "n_chosen_on": fits.penalties.n_train,
            }
        self.CellSplit.insert(split_rows(key, "consistency_split", cells, splits))

    @classmethod
    def penalties(cls, key: dict[str, Any]) -> Penalties:
        """Return what a search chose, for the cells in the order of their keys."""
        columns = ("chosen_alpha", "chosen_l1_ratio", "n_chosen_on")
        chosen = cls.CellSplit & key
        n_splits = len(dj.U("consistency_split") & chosen)
        order = ("consistency_split", *Scan.Unit.primary_key)
        alpha, ratio, n_train = (
            column.reshape(n_splits, -1) for column in chosen.to_arrays(*columns, order_by=order)
        )
        return Penalties(alpha.astype(float), ratio.astype(float), n_train.astype(np.int64))


@schema
class FeatureConfig(Configuration, dj.Manual):
    definition = """
    # Which responses of an image network explain units, and to which images
    feature_hash : char(16)
    ---
    image_layer : varchar(24)
    feature_params : json
    """
    params_type = ImageFeatureParams
    params_column = "feature_params"

    @classmethod
    def columns(cls, params: ImageFeatureParams) -> dict[str, Any]:
        return {"image_layer": params.layer}


@schema
class NeuralFitPlan(dj.Manual):
    definition = """
    # Networks, and the cells that they shall explain: those of one kind of source
    neural_fit_hash : char(16)
    ---
    -> TrainingPlan
    -> NeuralMapConfig
    -> [nullable] ModelMapPlan
    -> [nullable] RateMapDataset
    fit_layer = null : varchar(8)       # of the path integrator
    -> [nullable] FeatureConfig
    -> [nullable] TrainingSet.proj(explained_set_hash='training_set_hash')
    """

    @classmethod
    def register_rate_maps(
        cls,
        model_map_plan: dict[str, str],
        dataset: dict[str, str],
        layer: str,
        neural_map: dict[str, str],
    ) -> dict[str, str]:
        """Ask how well a layer of path integrators explains the animals of a set; return the key.

        With a search, the comparison of the animals that chooses the penalties is asked for, too.

        Parameters
        ----------
        model_map_plan, dataset, neural_map : dict
            Keys of `ModelMapPlan`, `RateMapDataset` and `NeuralMapConfig`.
        layer : {'pre_g', 'g', 'dc'}

        Raises
        ------
        ValueError
            Another family, another arena, or a layer that is not mapped.
        """
        _check_family(model_map_plan, "navigation")
        arena = (RateMapDataset & dataset).fetch1("arena")
        if arena != model_map_plan["arena"]:
            raise ValueError(
                f"the animals are in the arena '{arena}', the networks are mapped in "
                f"'{model_map_plan['arena']}': map them in that of the animals"
            )
        layers = ModelMapConfig.params(model_map_plan).layers
        if layer not in layers:
            raise ValueError(f"the layer {layer!r} is not mapped, but {list(layers)}")
        if NeuralMapConfig.params(neural_map).search is not None:
            ConsistencyPlan.register(dataset, neural_map)
        row = {name: model_map_plan[name] for name in ModelMapPlan.primary_key}
        return cls._insert(row | dataset | neural_map | {"fit_layer": layer})

    @classmethod
    def register_images(
        cls,
        training_plan: dict[str, str],
        explained: dict[str, str],
        feature: dict[str, str],
        neural_map: dict[str, str],
    ) -> dict[str, str]:
        """Ask how well image networks explain the units of a training set, and return the key.

        Parameters
        ----------
        training_plan, feature, neural_map : dict
            Keys of `TrainingPlan`, `FeatureConfig` and `NeuralMapConfig`.
        explained : dict
            Key of the `TrainingSet` with the units: that of the networks, or any other.

        Raises
        ------
        ValueError
            Another family, a layer that the networks do not have, or a map that images have none
            of: parts of an arena, penalties that other animals have chosen.
        """
        _check_family(training_plan, "image")
        _check_family(explained, "image")
        params = NeuralMapConfig.params(neural_map)
        if params.search is not None or isinstance(params.train_frac, str):
            raise ValueError(
                "images are no places in an arena where animals were: use a train_frac that is a "
                "number, and no search"
            )
        network = ImageModelConfig.model_validate(
            (ModelConfig & training_plan).fetch1("model_params")
        )
        layer_channels(network.core, FeatureConfig.params(feature).layer)
        row = {name: training_plan[name] for name in TrainingPlan.primary_key}
        row |= {"explained_set_hash": explained["training_set_hash"]}
        return cls._insert(row | feature | neural_map)

    @classmethod
    def _insert(cls, row: dict[str, str]) -> dict[str, str]:
        complete = dict.fromkeys(cls.heading.secondary_attributes) | row
        key = {"neural_fit_hash": configuration_hash("NeuralFitPlan", complete)}
        cls.insert1(key | complete, skip_duplicates=True)
        return key


@schema
class NeuralFit(dj.Computed):
    definition = """
    # How well a network explains recorded cells
    -> NeuralFitPlan
    -> Seed
    ---
    n_fit_cells : int32
    median_fit = null : float64         # over the cells that have one
    -> CodeVersion
    """

    class Cell(dj.Part):
        """A cell and how well the network predicts it."""

        definition = """
        -> master
        -> Scan.Unit
        ---
        fit = null : float64                # r on test conditions, mean over splits; null: constant
        fit_corrected = null : float64      # for the noise of the recording
        n_fit_conditions : int32            # bins, or images
        """

    class CellSplit(dj.Part):
        """One split of a cell's conditions into training and test."""

        definition = """
        -> NeuralFit.Cell
        fit_split : int16
        ---
        split_fit = null : float64
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Fits whose networks are trained and fine, and all of whose responses are there."""
        trained = (TrainedModel & "training_status = 'ok'").proj()
        wanted = NeuralFitPlan * SeedSet.Member & trained
        seeds, plans = dj.U(*self.primary_key), dj.U("neural_fit_hash")
        mapped = seeds & (wanted & ModelRateMap.proj())
        images = plans & NeuralFitPlan * TargetDataset.proj(explained_set_hash="training_set_hash")
        return seeds & (wanted & [mapped - (plans & _waiting()), images])

    def make_fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        plan = (NeuralFitPlan & key).fetch1() | key
        params = NeuralMapConfig.params(plan)
        if plan["explained_set_hash"] is None:
            layer = ModelRateMap.Layer & {"layer_name": plan["fit_layer"]}
            digest = (layer & plan).fetch1("layer_maps_digest")
            return params, plan, digest, mapped_recordings(_of(RateMapDataset, plan))
        weights = (TrainedModel & plan).fetch1("weights_sha256")
        digest = (TargetDataset & _explained(plan)).fetch1("dataset_digest")
        return params, plan, digest, weights

    def make_compute(
        self, key: dict[str, Any], params: NeuralMapParams, plan: dict[str, Any], *sources: Any
    ) -> tuple[Any, ...]:
        fit = _fit_rate_maps if plan["explained_set_hash"] is None else _fit_images
        return *fit(params, plan, *sources), code_version()

    def make_insert(
        self,
        key: dict[str, Any],
        cells: list[dict[str, Any]],
        fits: FittedCells,
        code: dict[str, str],
    ) -> None:
        row = {"n_fit_cells": len(cells), "median_fit": fits.median}
        self.insert1(nullable(key | row | code))
        scores = {
            "fit": fits.corr,
            "fit_corrected": fits.corrected,
            "n_fit_conditions": fits.n_conditions,
        }
        self.Cell.insert(cell_rows(key, cells, scores))
        splits = {"split_fit": fits.corr_per_split}
        self.CellSplit.insert(split_rows(key, "fit_split", cells, splits))


def _check_family(training: dict[str, str], family: str) -> None:
    """Raise ValueError if a training set is of another family."""
    found = (TrainingSet & _of(TrainingSet, training)).fetch1("training_family")
    if found != family:
        raise ValueError(
            f"the training set {training['training_set_hash']} is of the family '{found}', here "
            f"one of the family '{family}' is needed"
        )


def _of(table: type[dj.Table], row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in table.primary_key}


def _explained(plan: dict[str, Any]) -> dict[str, Any]:
    return {"training_set_hash": plan["explained_set_hash"]}


def _waiting() -> dj.expression.QueryExpression:
    """Return the plans whose animals have no rate maps yet, or have not chosen penalties."""
    plans = NeuralFitPlan.proj("rate_map_set_hash", "neural_map_hash") & "rate_map_set_hash > ''"
    unmapped = plans * RateMapDataset.Member - AnimalRateMap.proj()
    searching = plans * (NeuralMapConfig & "with_search").proj()
    holdout = (InterAnimalConsistency & "consistency_mode = 'holdout'").proj()
    return plans & [dj.U("neural_fit_hash") & unmapped, searching - holdout]


def _fit_rate_maps(
    params: NeuralMapParams, plan: dict[str, Any], digest: str, recordings: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], FittedCells]:
    """Fit the cells of a set of animals from the maps of a layer."""
    layer = {"layer_name": plan["fit_layer"]}
    stored = (ModelRateMap.Layer & _of(ModelRateMap, plan) & layer).fetch1("layer_maps")
    maps = intact(stored, digest, f"maps of the layer {plan['fit_layer']}")
    penalties = None
    if params.search is not None:
        own = _of(RateMapDataset, plan) | _of(NeuralMapConfig, plan)
        penalties = InterAnimalConsistency.penalties(own | {"consistency_mode": "holdout"})
    recorded = [recorded_cells(recording) for recording in recordings]
    return mapped_cells(recordings), model_fits(plan["arena"], recorded, maps, params, penalties)


def _fit_images(
    params: NeuralMapParams, plan: dict[str, Any], digest: str, weights: str
) -> tuple[list[dict[str, Any]], FittedCells]:
    """Fit the units of a training set from activations of a network, recording by recording."""
    feature = FeatureConfig.params(plan)
    model = load_model(weights)
    (network,) = model.network.networks
    fits = []
    for name, recording in load_dataset(_explained(plan), digest).recordings.items():
        images, cells = image_cells(recording, name, feature.tier)
        features = image_features(network, network_inputs(model, images), feature)
        fits.append(model_fits("images", [cells], features, params))
    return explained_cells(_explained(plan)), FittedCells.together(fits)
