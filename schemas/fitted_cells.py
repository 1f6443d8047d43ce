"""Cells whose responses are fitted: read from the database, and written back as rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.dataset import TargetDataset
from schemas.navigation import AnimalRateMap, RateMapDataset
from schemas.recording import Scan
from schemas.rows import column_rows
from schemas.store import intact
from science.neural_fit.recorded_cells import RecordedCells

Key = dict[str, Any]
Columns = Mapping[str, NDArray[np.generic]]


def mapped_recordings(dataset: Key) -> list[Key]:
    """Return the recordings of a `RateMapDataset` with the digests of their maps, by key."""
    digests = AnimalRateMap.proj("rate_maps_digest", "segment_maps_digest")
    return (RateMapDataset.Member * digests & dataset).to_dicts(order_by="KEY")


def mapped_cells(recordings: Sequence[Key]) -> list[Key]:
    """Return the keys of the cells of recordings, in the order of their maps."""
    return [cell for own in recordings for cell in _units(AnimalRateMap.Unit & _map_key(own))]


def explained_cells(training_set: Key) -> list[Key]:
    """Return the keys of the units of an image training set, by `unit_index`."""
    return _units(TargetDataset.Unit & training_set, order_by="unit_index")


def recorded_cells(recording: Key) -> RecordedCells:
    """Load the maps of one recording.

    Parameters
    ----------
    recording : dict
        As `mapped_recordings` returned it.

    Raises
    ------
    ValueError
        If they are damaged, or were made anew since.
    """
    stored, trials = (AnimalRateMap & _map_key(recording)).fetch1("rate_maps", "segment_maps")
    what = f"rate maps of {_map_key(recording)}"
    maps = intact(stored, recording["rate_maps_digest"], what)
    if trials is not None:
        trials = intact(trials, recording["segment_maps_digest"], f"segments of the {what}")
    return RecordedCells(recording["animal_id"], maps, trials)


def cell_rows(key: Key, cells: Sequence[Key], columns: Columns) -> list[Key]:
    """Return one row per cell from arrays (n_cells,)."""
    rows = column_rows(key, columns)
    return [row | cell for row, cell in zip(rows, cells, strict=True)]


def split_rows(key: Key, split: str, cells: Sequence[Key], columns: Columns) -> list[Key]:
    """Return one row per split and cell from arrays (n_splits, n_cells).

    Parameters
    ----------
    key : dict
    split : str
        Attribute that numbers the splits.
    cells : sequence of dict
        Keys of the cells.
    columns : mapping of str to (n_splits, n_cells)
    """
    n_splits = len(next(iter(columns.values())))
    return [
        row
        for s in range(n_splits)
        for row in cell_rows(key | {split: s}, cells, {n: c[s] for n, c in columns.items()})
    ]


def _map_key(recording: Key) -> Key:
    return {name: recording[name] for name in AnimalRateMap.primary_key}


def _units(table: Any, order_by: str = "unit_id") -> list[Key]:
    rows = table.proj(*Scan.Unit.primary_key).to_dicts(order_by=order_by)
    return [{name: row[name] for name in Scan.Unit.primary_key} for row in rows]
