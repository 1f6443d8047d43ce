"""Rate maps of recorded cells and of path integrators, and what they are called by them."""

from collections.abc import Iterator, Sequence
from typing import Any

import datajoint as dj
import numpy as np
import torch
from numpy.typing import NDArray

from schemas.configuration import Configuration, configuration_hash
from schemas.model import TrainedModel, TrainingPlan, load_path_integrator
from schemas.model_config import SeedSet
from schemas.open_field import Arena, FinishedRateMap, OpenField, Tracking
from schemas.recording import Activity, Scan
from schemas.rows import column_rows, nullable
from schemas.store import intact
from science.digest import array_digest
from science.navigation import Bins, Rectangle, SpikeTrains, Track
from science.navigation.cell_scores import (
    MapScores,
    RateMapMethod,
    cell_scores,
    map_scores,
    segment_maps,
)
from science.navigation.model_maps import ModelMapParams, ModelMaps, model_rate_maps

schema = dj.Schema()

UNITS_AT_ONCE = 2_000
"""Rows of a statement: thousands of units in one are more than a server takes by default."""


@schema
class RateMapConfig(Configuration, dj.Manual):
    definition = """
    # How rate maps are made from spikes and positions, and scored
    rate_map_hash : char(16)
    ---
    bin_cm : float64
    rate_map_params : json
    """
    params_type = RateMapMethod
    params_column = "rate_map_params"

    @classmethod
    def columns(cls, params: RateMapMethod) -> dict[str, Any]:
        return {"bin_cm": params.maps.bin_cm}


@schema
class RateMapPlan(dj.Manual):
    definition = """
    # Rate maps that someone asked for
    -> OpenField
    -> RateMapConfig
    """


@schema
class AnimalRateMap(dj.Computed):
    definition = """
    # Rate maps of the cells of a recording
    -> RateMapPlan
    ---
    n_bins_x : int32
    n_bins_y : int32
    n_visited : int32                   # bins
    rate_maps : <npy@>                  # float64, (n_bins_x, n_bins_y, n_units) by unit_id, Hz
    rate_maps_digest : char(64)
    segment_maps = null : <npy@>        # float64, (n_segments, n_bins_x, n_bins_y, n_units), Hz
    segment_maps_digest = null : char(64)
    occupancy = null : <blob>           # float64, (n_bins_x, n_bins_y), s
    """

    class Unit(dj.Part):
        definition = """
        # Scores of a cell; p and the 95th percentile (p95) are of its spikes shifted in time
        -> master
        -> Scan.Unit
        ---
        n_spikes = null : int32         # null in finished maps, as all that needs spikes
        mean_rate = null : float64      # Hz, over the visited bins
        peak_rate = null : float64      # Hz
        grid_score = null : float64
        grid_score_p = null : float64
        grid_score_p95 = null : float64
        grid_spacing = null : float64   # m
        grid_orientation = null : float64       # rad, 0 to pi / 3
        border_score = null : float64
        border_score_p = null : float64
        border_score_p95 = null : float64
        spatial_information = null : float64    # bits per spike
        spatial_information_p = null : float64
        spatial_information_p95 = null : float64
        head_direction_score = null : float64   # length of the mean vector
        head_direction_score_p = null : float64
        head_direction_score_p95 = null : float64
        preferred_direction = null : float64    # rad
        """

    def make_fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        return (
            RateMapConfig.params(key),
            Arena.box((OpenField & key).fetch1()),
            (Scan.Unit & key).to_arrays("unit_id", order_by="unit_id").tolist(),
            tuple((Tracking & key).to_dicts()),
            tuple((Activity.Block & key).to_dicts(order_by="activity_block")),
            tuple((FinishedRateMap & key).to_dicts()),
        )

    def make_compute(
        self,
        key: dict[str, Any],
        method: RateMapMethod,
        box: Rectangle,
        units: list[int],
        tracked: tuple[dict[str, Any], ...],
        blocks: tuple[dict[str, Any], ...],
        finished: tuple[dict[str, Any], ...],
    ) -> tuple[Any, ...]:
        if tracked:
            track, spikes = stored_track(key, tracked[0]), stored_spikes(key, blocks)
            row, scores = _from_spikes(track, spikes, box, method)
        elif finished:
            maps, digest = finished[0]["finished_maps"], finished[0]["finished_maps_digest"]
            maps = intact(maps, digest, f"rate maps of {key}")
            row, scores = _from_finished(maps, box, method)
        else:
            raise ValueError(f"recording {key} has neither a track nor finished rate maps")
        if not row["n_visited"]:
            raise ValueError(
                f"no bin of the arena is known in recording {key}: lower min_occupancy_s or take "
                "larger bins"
            )
        return row, scores | {"unit_id": np.array(units)}

    def make_insert(
        self, key: dict[str, Any], row: dict[str, Any], scores: dict[str, NDArray[np.generic]]
    ) -> None:
        n_bins_x, n_bins_y = row["rate_maps"].shape[:2]
        self.insert1(key | row | {"n_bins_x": n_bins_x, "n_bins_y": n_bins_y})
        self.Unit.insert(column_rows(key, scores), chunk_size=UNITS_AT_ONCE)


def stored_track(key: dict[str, Any], row: dict[str, Any]) -> Track:
    """Return the track in a row of `Tracking`."""
    samples = intact(row["tracking"], row["tracking_digest"], f"track of {key}")
    return Track(samples[:, 0], samples[:, 1:3], samples[:, 3] if row["has_heading"] else None)


def stored_spikes(key: dict[str, Any], blocks: Sequence[dict[str, Any]]) -> SpikeTrains:
    """Return the spikes of all units, by unit_id, in the rows of `Activity.Block`, in order."""
    if not blocks or any(block["spike_counts"] is None for block in blocks):
        raise ValueError(f"recording {key} has a track, but no spike times to map on it")
    counts = np.concatenate([block["spike_counts"] for block in blocks])
    cells = np.repeat(np.arange(len(counts)), counts)
    times = [intact(b["activity"], b["activity_digest"], f"spikes of {key}") for b in blocks]
    return SpikeTrains(np.concatenate(times), cells, len(counts))


def _from_spikes(
    track: Track, spikes: SpikeTrains, box: Rectangle, method: RateMapMethod
) -> tuple[dict[str, Any], dict[str, NDArray[np.generic]]]:
    """Return the columns of a recording, and those of its units."""
    found = cell_scores(track, spikes, box, method)
    rates, occupancy = found.maps.rates, found.maps.occupancy
    known = np.isfinite(rates).any(-1) & (occupancy > 0)
    row = {"n_visited": int(known.sum()), "occupancy": occupancy} | _stored("rate_maps", rates)
    if method.n_segments > 1:
        row |= _stored("segment_maps", segment_maps(track, spikes, box, method))
    scores = {
        "n_spikes": found.n_spikes,
        "mean_rate": found.mean_rate,
        "peak_rate": found.peak_rate,
        "grid_spacing": found.spacing,
        "grid_orientation": found.orientation,
    }
    tested = {
        "grid_score": found.grid,
        "border_score": found.border,
        "spatial_information": found.information,
    }
    if found.head_direction is not None:
        tested["head_direction_score"] = found.head_direction
        scores["preferred_direction"] = found.preferred_direction
    for name, score in tested.items():
        scores |= {
            name: score.observed,
            f"{name}_p": score.p,
            f"{name}_p95": score.percentile_95,
        }
    return row, scores


def _from_finished(
    maps: NDArray[np.float64], box: Rectangle, method: RateMapMethod
) -> tuple[dict[str, Any], dict[str, NDArray[np.generic]]]:
    """Return the columns of a recording, and those of its units."""
    found = map_scores(
        maps, _square_bins(maps, box).width, legacy_grid_score=method.legacy_grid_score
    )
    row = {"n_visited": int(np.isfinite(maps).any(-1).sum())} | _stored("rate_maps", maps)
    return row, {
        "mean_rate": found.mean_rate,
        "peak_rate": found.peak_rate,
        "grid_score": found.grid,
        "grid_spacing": found.spacing,
        "grid_orientation": found.orientation,
        "border_score": found.border,
        "spatial_information": found.information,
    }


def _square_bins(maps: NDArray[np.float64], box: Rectangle) -> Bins:
    """Return the bins of finished maps.

    Raises
    ------
    ValueError
        If square bins of no size are so many along both sides, rounded up or down.
    """
    n_bins, sides = np.array(maps.shape[:2]), np.diff(box.corners, axis=0)[0]
    largest = sides / np.maximum(n_bins - 1, 1e-9)
    if (sides / (n_bins + 1)).max() >= largest.min():
        raise ValueError(
            f"maps of {n_bins[0]} x {n_bins[1]} bins do not fit the arena, {box}: their bins would "
            "not be square; the first axis is x"
        )
    edges = (np.linspace(*ends, n + 1) for *ends, n in zip(*box.corners, n_bins, strict=True))
    return Bins(*edges)


def _stored(name: str, array: NDArray[np.generic]) -> dict[str, Any]:
    """Return the columns of an array in the object store."""
    return {name: array, f"{name}_digest": array_digest(array)}


@schema
class RateMapDataset(dj.Manual):
    definition = """
    # Animals in one arena that are compared: a frozen set of recordings with their rate maps
    rate_map_set_hash : char(16)
    ---
    -> Arena
    n_animals : int32
    """

    class Member(dj.Part):
        """A recording and how its rate maps are made."""

        definition = """
        -> master
        -> RateMapPlan
        """

    @classmethod
    def register(cls, members: list[dict[str, Any]]) -> dict[str, str]:
        """Ask for the rate maps of recordings, insert them as one set, and return its key.

        Parameters
        ----------
        members : list of dict
            Keys of `RateMapPlan`: recordings in one arena, under one configuration.

        Raises
        ------
        ValueError
            If there are none, or they are not of one arena and one configuration.
        """
        ordered = sorted(
            ({name: member[name] for name in RateMapPlan.primary_key} for member in members),
            key=lambda m: tuple(m.values()),
        )
        arenas = (dj.U("arena") & (OpenField & ordered)).to_arrays("arena").tolist()
        if len(arenas) != 1 or len({m["rate_map_hash"] for m in ordered}) != 1:
            raise ValueError(
                "animals are compared in one arena and under one configuration of rate maps, not "
                f"in {arenas}: {ordered}"
            )
        key = {"rate_map_set_hash": configuration_hash("RateMapDataset", {"members": ordered})}
        row = {"arena": arenas[0], "n_animals": len({m["animal_id"] for m in ordered})}
        RateMapPlan.insert(ordered, skip_duplicates=True)
        with cls.connection.transaction:
            cls.insert1(key | row, skip_duplicates=True)
            cls.Member.insert((key | m for m in ordered), skip_duplicates=True)
        return key


@schema
class ModelMapConfig(Configuration, dj.Manual):
    definition = """
    # How rate maps of networks are made
    model_map_hash : char(16)
    ---
    model_bin_cm : float64
    model_map_params : json
    """
    params_type = ModelMapParams
    params_column = "model_map_params"

    @classmethod
    def columns(cls, params: ModelMapParams) -> dict[str, Any]:
        return {"model_bin_cm": params.bin_cm}


@schema
class ModelMapPlan(dj.Manual):
    definition = """
    # Rate maps of networks that someone asked for
    -> TrainingPlan
    -> Arena
    -> ModelMapConfig
    """


@schema
class ModelRateMap(dj.Computed):
    definition = """
    # A path integrator walked through an arena
    -> TrainedModel
    -> Arena
    -> ModelMapConfig
    ---
    map_decoding_error : float64        # m, in this arena
    n_map_samples : int64               # positions, those outside the arena included
    """

    class Layer(dj.Part):
        definition = """
        # Mean activations of the units of a layer
        -> master
        layer_name : varchar(8)         # pre_g, g, dc
        ---
        n_layer_units : int32
        layer_maps : <npy@>             # float32, (nx, ny, n_layer_units); NaN: never there
        layer_maps_digest : char(64)
        """

    class Unit(dj.Part):
        """A unit of a layer and what its map looks like."""

        definition = """
        -> ModelRateMap.Layer
        model_unit : int32
        ---
        model_grid_score = null : float64       # null where the map is constant
        model_grid_spacing = null : float64     # m
        model_grid_orientation = null : float64     # rad, 0 to pi / 3
        model_border_score = null : float64
        model_information = null : float64      # bits, of units that are never negative
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Trained networks of all plans."""
        trained = TrainedModel & "training_status = 'ok'"
        return dj.U(*self.primary_key) & (ModelMapPlan * SeedSet.Member & trained.proj())

    def make_fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        weights = (TrainedModel & key).fetch1("weights_sha256")
        return ModelMapConfig.params(key), Arena.box(key), weights

    def make_compute(
        self, key: dict[str, Any], params: ModelMapParams, box: Rectangle, weights: str
    ) -> tuple[Any, ...]:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        network, task = load_path_integrator(weights)
        made = model_rate_maps(network, task, box, params, device)
        return (
            made,
            {
                name: map_scores(maps, made.bins.width, legacy_grid_score=params.legacy_grid_score)
                for name, maps in made.layers.items()
            },
        )

    def make_insert(
        self, key: dict[str, Any], made: ModelMaps, scores: dict[str, MapScores]
    ) -> None:
        self.insert1(
            key | {"map_decoding_error": made.decoding_error, "n_map_samples": made.n_samples}
        )
        for name, maps in made.layers.items():
            layer = key | {"layer_name": name}
            self.Layer.insert1(
                layer | {"n_layer_units": maps.shape[-1]} | _stored("layer_maps", maps)
            )
            found = scores[name]
            columns = {
                "model_unit": np.arange(maps.shape[-1]),
                "model_grid_score": found.grid,
                "model_grid_spacing": found.spacing,
                "model_grid_orientation": found.orientation,
                "model_border_score": found.border,
                "model_information": found.information,
            }
            self.Unit.insert(column_rows(layer, columns), chunk_size=UNITS_AT_ONCE)
