"""Which traces of an NWB file, and which cells in them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pynwb import NWBFile
from pynwb.ophys import PlaneSegmentation, RoiResponseSeries

from pipeline.ingest.rows import BadRecording

DECONVOLVED = ("deconvol", "event", "spike", "inferred")
DF_OVER_F = ("dff", "dfoverf", "df_over_f", "deltaf")
TYPE_COLUMNS = ("mask_type", "cell_type", "roi_type")
FLAG_COLUMNS = ("iscell", "accepted")

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Plane:
    """An imaged field: its number, traces and segmented masks."""

    number: int
    series: RoiResponseSeries

    @property
    def table(self) -> PlaneSegmentation:
        """The segmented masks."""
        return self.series.rois.table

    @property
    def name(self) -> str:
        """Of the traces, with their container."""
        return f"{self.series.parent.name}/{self.series.name}"


@dataclass(frozen=True)
class Cells:
    """The cells of a recording, by ascending number.

    Attributes
    ----------
    planes : sequence of Plane
    unit_id : int64, (n_units,)
    plane : int64, (n_units,)
        Which of the planes each lies in.
    column, row : int64, (n_units,)
        Where each is in the traces and in the table of its plane.
    """

    planes: Sequence[Plane]
    unit_id: Ints
    plane: Ints
    column: Ints
    row: Ints

    def by_plane(self) -> Iterator[tuple[Plane, NDArray[np.bool_]]]:
        """Return each plane, and which of the cells lie in it."""
        for i, plane in enumerate(self.planes):
            yield plane, self.plane == i


def find_cells(file: NWBFile, wanted: str | None) -> Cells:
    """Find the traces to take, all or those called `wanted`, and the cells in them."""
    planes = _planes(_chosen(file, wanted))
    rows = [_rows(plane) for plane in planes]
    columns = [
        np.flatnonzero(is_cell[row])
        for is_cell, row in zip(_are_cells([p.table for p in planes]), rows, strict=True)
    ]
    if not any(len(c) for c in columns):
        raise BadRecording("none of the segmented masks is marked as a soma or cell")
    row = np.concatenate([r[c] for r, c in zip(rows, columns, strict=True)])
    plane = np.repeat(np.arange(len(planes)), [len(c) for c in columns])
    unit_id = _unit_ids(planes, plane, row)
    order = np.argsort(unit_id, kind="stable")
    column = np.concatenate(columns)
    return Cells(planes, unit_id[order], plane[order], column[order], row[order])


def _chosen(file: NWBFile, wanted: str | None) -> list[Plane]:
    """Choose the traces, one series per field."""
    found = [Plane(0, o) for o in file.objects.values() if isinstance(o, RoiResponseSeries)]
    found.sort(key=lambda plane: plane.name)
    if wanted is None:
        ranks = [_rank(plane.name) for plane in found]
        best = min((rank for rank in ranks if rank is not None), default=-1)
        chosen = [plane for plane, rank in zip(found, ranks, strict=True) if rank == best]
    else:
        chosen = [p for p in found if wanted in (p.series.name, p.series.parent.name)]
    names = [plane.name for plane in chosen]
    if not chosen:
        looked_for = "RoiResponseSeries" + (f" called '{wanted}'" if wanted else "")
        raise BadRecording(
            f"there is no {looked_for} with the traces of cells; the file has "
            f"{[plane.name for plane in found]}"
        )
    if len({id(plane.table) for plane in chosen}) < len(chosen):
        raise BadRecording(f"the same cells have several traces, {names}: say which series to take")
    return chosen


def _rank(name: str) -> int | None:
    """Return how good a kind of trace is, 0 the best; None for what is not of cells."""
    name = name.lower()
    if "neuropil" in name:
        return None
    kinds = (DECONVOLVED, DF_OVER_F)
    return next((i for i, words in enumerate(kinds) if any(w in name for w in words)), len(kinds))


def _planes(chosen: Sequence[Plane]) -> list[Plane]:
    """Give each field the number that the name of its table ends in, or else one from 1."""
    ends = [re.search(r"\d+$", plane.table.name) for plane in chosen]
    numbers = [int(end.group()) for end in ends if end]
    if len(set(numbers)) < len(chosen):
        numbers = range(1, len(chosen) + 1)
    planes = [Plane(n, plane.series) for n, plane in zip(numbers, chosen, strict=True)]
    return sorted(planes, key=lambda plane: plane.number)


def _rows(plane: Plane) -> Ints:
    """Return the row of the table that each column of the traces belongs to."""
    rows = np.asarray(plane.series.rois.data[:], np.int64)
    shape = plane.series.data.shape
    if len(shape) != 2 or shape[1] != len(rows):
        raise BadRecording(
            f"the traces {plane.name} must be (n_frames, {len(rows)}), one column for each of "
            f"their rois, not {shape}"
        )
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(plane.table):
        raise BadRecording(f"the traces {plane.name} name rois that {plane.table.name} lacks")
    return rows


def _are_cells(tables: Sequence[PlaneSegmentation]) -> list[NDArray[np.bool_]]:
    """Return for each table which of its rows are cells."""
    cells = [np.ones(len(table), bool) for table in tables]
    for name in TYPE_COLUMNS:
        types = [text_column(table, name) for table in tables]
        somata = [None if t is None else np.char.lower(t) == "soma" for t in types]
        if any(s is not None and s.any() for s in somata):
            for cell, soma in zip(cells, somata, strict=True):
                cell &= True if soma is None else soma
    for table, cell in zip(tables, cells, strict=True):
        for name in table.colnames:
            if name.lower() in FLAG_COLUMNS:
                flags = np.asarray(table[name].data[:])
                # suite2p's iscell has a second column, the probability
                cell &= (flags if flags.ndim == 1 else flags[:, 0]).astype(bool)
    return cells


def text_column(table: PlaneSegmentation, name: str) -> NDArray[np.str_] | None:
    """Return a column of a table as text; None when there is none."""
    if name not in table.colnames:
        return None
    values = table[name].data[:]
    return np.array([v.decode() if isinstance(v, bytes) else str(v) for v in values])


def _unit_ids(planes: Sequence[Plane], plane: Ints, row: Ints) -> Ints:
    sizes = [len(p.table) for p in planes]
    at = np.cumsum([0, *sizes])[plane] + row
    ids = np.concatenate([np.asarray(p.table.id.data[:], np.int64) for p in planes])
    return ids[at] if len(np.unique(ids[at])) == len(at) else at + 1
