"""Recorded cells of foraging animals: what they are by their rate maps."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipeline.ingest.virtual_rat import READER
from pipeline.report import navigation_figures
from pipeline.report.album import Album
from pipeline.report.navigation_figures import MappedUnit
from pipeline.report.navigation_page import CellsView
from pipeline.report.numbers import number, p_value
from pipeline.report.picture import Picture
from pipeline.truth.rats import true_rat
from schemas.dataset import readout_key
from schemas.navigation import AnimalRateMap, RateMapConfig, stored_spikes, stored_track
from schemas.open_field import Arena, OpenField, Tracking
from schemas.recording import Activity, Scan
from schemas.store import intact
from science.navigation import SpikeTrains, Track

SCORES = {
    "grid_score": "grid score",
    "border_score": "border score",
    "spatial_information": "spatial information",
    "head_direction_score": "head-direction score",
}
N_CELLS = 12
LONGEST_NAME = 14


def mapped_cells(album: Album) -> list[CellsView]:
    """Describe all cells that have rate maps, by arena and configuration of the maps."""
    made = AnimalRateMap.proj() * OpenField * RateMapConfig.proj("bin_cm")
    recordings = pd.DataFrame(made.to_dicts(order_by="KEY"))
    if recordings.empty:
        return []
    groups = recordings.groupby(["arena", "rate_map_hash"])
    return [_view(arena, of.to_dict("records"), album) for (arena, _), of in groups]


def _view(arena: str, recordings: Sequence[dict[str, Any]], album: Album) -> CellsView:
    keys = [{name: r[name] for name in AnimalRateMap.primary_key} for r in recordings]
    columns = AnimalRateMap.Unit.heading.secondary_attributes
    cells = pd.DataFrame((AnimalRateMap.Unit & keys).to_dicts(order_by="KEY"))
    cells = cells.astype(dict.fromkeys(columns, float)).assign(kind=_kinds(keys))
    return CellsView(
        arena=arena,
        bin_cm=recordings[0]["bin_cm"],
        n_recordings=len(recordings),
        n_animals=len({r["animal_id"] for r in recordings}),
        n_cells=len(cells),
        n_tracked=len(Tracking & keys),
        kinds=cells.kind.dropna().drop_duplicates().to_list(),
        scores=[_above_shuffles(cells, score) for score in SCORES],
        picture=_picture(arena, cells, album),
    )


def _kinds(keys: Sequence[dict[str, Any]]) -> list[str | None]:
    """Return what all cells of recordings truly are, None where only nature knows."""
    kinds: list[str | None] = []
    for key in keys:
        if Scan & key & {"reader": READER}:
            kinds += [kind.replace("_", " ") for kind in true_rat(key).kinds.tolist()]
        else:
            kinds += [None] * len(Scan.Unit & key)
    return kinds


def _above_shuffles(cells: pd.DataFrame, score: str) -> dict[str, Any]:
    known = cells.dropna(subset=[score, f"{score}_p95"])
    above = known[score] > known[f"{score}_p95"]
    by_kind = above.groupby(known.kind)
    return {
        "name": SCORES[score],
        "n": len(known),
        "n_above": int(above.sum()),
        "by_kind": {kind: (int(of.sum()), len(of)) for kind, of in by_kind},
    }


def _picture(arena: str, cells: pd.DataFrame, album: Album) -> Picture | None:
    """Draw the cells whose grid scores exceed those of their shuffles most."""
    cells = cells.assign(margin=cells.grid_score - cells.grid_score_p95)
    ranked = cells[cells.grid_score.notna()].sort_values(
        ["margin", "grid_score"], ascending=False, na_position="last", kind="stable"
    )
    if ranked.empty:
        return None
    best = ranked.head(N_CELLS)
    drawn = {}
    for _, of in best.groupby(AnimalRateMap.primary_key, sort=False):
        drawn |= dict(zip(of.index, _drawn(of), strict=True))
    figure = navigation_figures.mapped_units(
        [drawn[i] for i in best.index], Arena.box({"arena": arena})
    )
    caption = _caption(best, len(cells), any(unit.path is not None for unit in drawn.values()))
    return album.add("mapped-cells", figure, f"Cells recorded in arena {arena}", caption)


def _caption(best: pd.DataFrame, n_cells: int, tracked: bool) -> str:
    relative = " relative to their shuffles" if best.margin.notna().any() else ""
    path = " path in grey, a dot where the animal was at each spike;" if tracked else ""
    truth = " and what the cell truly is" if best.kind.notna().any() else ""
    return (
        f"{len(best)} of {n_cells} cell{'s' if n_cells > 1 else ''} with the highest grid "
        f"scores{relative};{path} rate map, white where the animal was too little, with its "
        f"peak{truth}; autocorrelogram, from \u22121 (blue) to 1 (red). HD: head-direction score."
    )


def _drawn(cells: pd.DataFrame) -> list[MappedUnit]:
    """Return some cells of one recording as they are drawn."""
    key = {name: cells[name].iloc[0].item() for name in Scan.primary_key}
    maps_key = key | {"rate_map_hash": cells.rate_map_hash.iloc[0]}
    stored, digest = (AnimalRateMap & maps_key).fetch1("rate_maps", "rate_maps_digest")
    maps = intact(stored, digest, f"rate maps of {maps_key}")
    units = (Scan.Unit & key).to_arrays("unit_id", order_by="unit_id").tolist()
    named = (OpenField.Cell & key).to_arrays("unit_id", "cell_name", order_by="unit_id")
    names = dict(zip(*(column.tolist() for column in named), strict=True))
    track, spikes = _session(key)
    drawn = []
    for cell in cells.itertuples():
        column = units.index(cell.unit_id)
        sample = track.nearest_sample(spikes.times[spikes.cells == column]) if track else None
        drawn.append(
            MappedUnit(
                _title(readout_key(key), names.get(cell.unit_id, f"unit {cell.unit_id}"), cell),
                maps[..., column],
                track.positions if track else None,
                track.positions[sample[sample >= 0]] if track else None,
                f"peak {number(cell.peak_rate, 1)} Hz" + (f", {cell.kind}" if cell.kind else ""),
            )
        )
    return drawn


def _title(recording: str, name: str, cell: Any) -> str:
    name = name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}…"
    p = "" if np.isnan(cell.grid_score_p) else f" (p {p_value(cell.grid_score_p)})"
    other = f"border {number(cell.border_score)}, HD {number(cell.head_direction_score)}"
    return f"{recording} {name}\ngrid {number(cell.grid_score)}{p}\n{other}"


def _session(key: dict[str, Any]) -> tuple[Track, SpikeTrains] | tuple[None, None]:
    """Return the track of a recording and the spikes of its units, by unit_id; None without."""
    tracked = (Tracking & key).to_dicts()
    if not tracked:
        return None, None
    blocks = (Activity.Block & key).to_dicts(order_by="activity_block")
    return stored_track(key, tracked[0]), stored_spikes(key, blocks)
