"""The traces of an NWB file and the clock of their frames."""

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.nwb.cells import Cells, Plane
from pipeline.ingest.rows import BadRecording
from pipeline.ingest.scan import Traces

MAX_JITTER = 0.1
"""Of the time between two fields, in frames."""


class PlaneTraces:
    """Traces of the cells of all fields, (n_frames, n_units), read from the file when indexed."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        data = [plane.series.data for plane in cells.planes]
        self.shape = (data[0].shape[0], len(cells.unit_id))
        self.dtype = np.result_type(np.float32, *(d.dtype for d in data))

    def __getitem__(self, index: tuple[slice, slice]) -> NDArray[np.floating]:
        frames, units = index
        columns, planes = self._cells.column[units], self._cells.plane[units]
        n_frames = len(range(*frames.indices(self.shape[0])))
        block = np.empty((n_frames, len(columns)), self.dtype)
        for plane in np.unique(planes):
            here = planes == plane
            block[:, here] = _read(self._cells.planes[plane], frames, columns[here])
        return block


def _read(plane: Plane, frames: slice, columns: NDArray[np.int64]) -> NDArray[np.floating]:
    """Read some columns: HDF5 is far faster at all between the first and the last of them."""
    series, first = plane.series, columns.min()
    try:
        data = series.data[frames, first : columns.max() + 1][:, columns - first]
    except OSError as error:
        raise BadRecording(f"the traces {plane.name} cannot be read: {error}") from error
    return data * series.conversion + series.offset


def read_traces(cells: Cells) -> tuple[Traces, NDArray[np.float64]]:
    """Read the frame clock, that of the first field, and each unit's delay after it, s."""
    clocks = [np.asarray(p.series.get_timestamps()[:], np.float64) for p in cells.planes]
    first = clocks[0]
    delay = np.zeros(len(cells.unit_id))
    for (plane, here), clock in zip(cells.by_plane(), clocks, strict=True):
        n_frames, expected = plane.series.data.shape[0], cells.planes[0].series.data.shape[0]
        if n_frames != expected or clock.shape != first.shape:
            raise BadRecording(
                f"{plane.name} has {n_frames} frames and {len(clock)} times, but "
                f"{cells.planes[0].name} {expected} and {len(first)}: fields must be recorded "
                "together"
            )
        later = clock - first
        if len(first) > 1 and np.ptp(later) > MAX_JITTER * np.median(np.diff(first)):
            raise BadRecording(
                f"the frames of {plane.name} are not a constant time after those of "
                f"{cells.planes[0].name}: fields must be recorded together"
            )
        delay[here] = np.median(later)
    return Traces(PlaneTraces(cells), first), delay
