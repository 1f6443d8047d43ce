"""Rate maps of the cells of foraging animals, and of the units of path integrators."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from flask import Blueprint, Response, abort, render_template, request, url_for
from numpy.typing import NDArray

from pipeline.web.briefly import count
from pipeline.web.colours import coloured
from pipeline.web.keys import KEYS, SCAN, UNIT, asked_key, key_of, matches, recording
from pipeline.web.paging import window
from pipeline.web.pictures import picture, png
from pipeline.web.provenance import only_reading
from pipeline.web.reader import reader
from schemas.navigation import AnimalRateMap, ModelRateMap
from schemas.store import DamagedObject, intact

TILES = 48
ARRAYS_KEPT = 8
RECORDING = (*SCAN, "rate_map_hash")
CELL = (*UNIT, "rate_map_hash")
LAYER = (*KEYS["TrainedModel"], "arena", "model_map_hash", "layer_name")
NETWORK_UNIT = (*LAYER, "model_unit")
TABLES = {"AnimalRateMap": AnimalRateMap, "ModelRateMap.Layer": ModelRateMap.Layer}
CELL_SORTS = {
    "grid": "grid_score DESC",
    "border": "border_score DESC",
    "information": "spatial_information DESC",
    "direction": "head_direction_score DESC",
    "cell": "animal_id",
}
UNIT_SORTS = {
    "grid": "model_grid_score DESC",
    "border": "model_border_score DESC",
    "unit": "model_unit",
}

blueprint = Blueprint("rate_maps", __name__)


def map_link(of: str, row: Mapping[str, Any]) -> str:
    """Return the address of a map: of a row of `rate_maps` (cell) or `model_rate_maps` (unit)."""
    names = CELL if of == "cell" else NETWORK_UNIT
    return url_for(f"rate_maps.map_of_{of}", **key_of(row, names))


blueprint.add_app_template_global(map_link)


@blueprint.get("/rate-maps")
def cells() -> str:
    """Show the maps of recorded cells."""
    return _gallery("cells", "rate_maps", CELL_SORTS, CELL)


@blueprint.get("/rate-maps/networks")
def networks() -> str:
    """Show the maps of the units of networks."""
    return _gallery("networks", "model_rate_maps", UNIT_SORTS, NETWORK_UNIT)


def _gallery(of: str, view: str, sorts: Mapping[str, str], key: tuple[str, ...]) -> str:
    sort = request.args.get("sort", "") or next(iter(sorts))
    if sort not in sorts:
        abort(400, f"'sort' has to be one of {', '.join(sorts)}.")
    asked = window(TILES)
    n_maps = count(reader(), view)
    rows = reader().rows(
        f"SELECT * FROM {view} ORDER BY {sorts[sort]}, {', '.join(key)} "
        "LIMIT :limit OFFSET :offset",
        **asked.sql,
    )
    named = [row | {"recording": recording(row)} if of == "cells" else row for row in rows]
    page = asked.page(named, n_maps)
    return render_template(
        "rate_maps.html.j2", of=of, page=page, choices=[(s, s) for s in sorts], sort=sort
    )


@blueprint.get("/rate-maps/cell.png")
def map_of_cell() -> Response:
    """Answer with the map of a recorded cell, a pixel for each bin; colours as `COLOURS`."""
    key = asked_key(CELL)
    # Maps are stored by unit_id.
    place = reader().one(
        "SELECT COUNT(*) AS n, SUM(unit_id = :unit_id) AS is_there FROM [AnimalRateMap.Unit] "
        f"WHERE {matches(RECORDING)} AND unit_id <= :unit_id",
        **key,
    )
    if not place["is_there"]:
        abort(404, "There is no rate map under this key.")
    maps = _maps("AnimalRateMap", "rate_maps", key_of(key, RECORDING))
    return _picture(maps[..., place["n"] - 1])


@blueprint.get("/rate-maps/unit.png")
def map_of_unit() -> Response:
    """Answer with the map of a unit of a network."""
    key = asked_key(NETWORK_UNIT)
    maps = _maps("ModelRateMap.Layer", "layer_maps", key_of(key, LAYER))
    if not 0 <= key["model_unit"] < maps.shape[-1]:
        abort(404, "There is no rate map under this key.")
    return _picture(maps[..., key["model_unit"]])


def _maps(table: str, column: str, key: dict[str, Any]) -> NDArray[np.floating]:
    """Return the maps (n_bins_x, n_bins_y, n_units) of a recording or a layer."""
    row = reader().one(
        f"SELECT {column}_digest AS digest FROM [{table}] WHERE {matches(key)}", **key
    )
    if row is None:
        abort(404, "There is no rate map under this key.")
    return _from_store(table, column, tuple(key.items()), row["digest"])


@lru_cache(ARRAYS_KEPT)
def _from_store(
    table: str, column: str, key: tuple[tuple[str, Any], ...], digest: str
) -> NDArray[np.floating]:
    with only_reading():
        stored = (TABLES[table] & dict(key)).fetch1(column)
    try:
        return intact(stored, digest, f"rate maps of {dict(key)}")
    except (DamagedObject, OSError) as error:
        abort(503, f"The maps cannot be read from the store: {error}")


def _picture(of_unit: NDArray[np.floating]) -> Response:
    """Draw a map (n_bins_x, n_bins_y) with x to the right and y up."""
    return picture(png(coloured(of_unit.T[::-1])))
