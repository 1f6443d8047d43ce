"""From an NWB file to the recording in it."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
from hdmf.build import ConstructError
from pynwb import NWBHDF5IO, NWBFile

from pipeline.ingest.insert import already_there, insert_scan
from pipeline.ingest.nwb.behavior import read_pupil, read_treadmill
from pipeline.ingest.nwb.cells import find_cells
from pipeline.ingest.nwb.stimulus import read_stimulus
from pipeline.ingest.nwb.traces import read_traces
from pipeline.ingest.nwb.units import read_units
from pipeline.ingest.rows import BadRecording
from pipeline.ingest.scan import ScanArrays
from pipeline.ingest.source import source_of

READER_VERSION = "1"


def ingest_nwb(path: Path, key: dict[str, int], series: str | None = None) -> bool:
    """Ingest a two-photon recording from an NWB file; False when it is already there.

    Parameters
    ----------
    path : Path
    key : dict
        animal_id, session, scan_idx.
    series : str, optional
        Name of the RoiResponseSeries to take the traces from, or of the container that holds one
        for each field; by default the best kind there is.

    Raises
    ------
    BadRecording
        If the file is missing, truncated or of another type, or its content is not as described in
        `pipeline.ingest.nwb`.
    """
    source = source_of(path, "nwb", READER_VERSION)
    if already_there(key, source):
        return False
    # the traces are read while they are stored, so the file stays open
    with _opened(path) as file:
        return insert_scan(key, read_nwb(file, series), source)


def read_nwb(file: NWBFile, series: str | None = None) -> ScanArrays:
    """Read a recording from an open NWB file; its traces stay in the file.

    Raises
    ------
    BadRecording
        If something is missing or not as described.
    """
    images, trials = read_stimulus(file)
    cells = find_cells(file, series)
    traces, delay = read_traces(cells)
    units, fields = read_units(cells, delay)
    return ScanArrays(
        images=images,
        trials=trials,
        activity=traces,
        units=units,
        fields=fields,
        pupil=read_pupil(file),
        treadmill=read_treadmill(file),
    )


@contextmanager
def _opened(path: Path) -> Iterator[NWBFile]:
    try:
        # nothing is read twice, and HDF5 would keep up to 16 MB of every series
        hdf5 = h5py.File(path, "r", rdcc_nbytes=2**20)
    except OSError as error:
        raise BadRecording(
            f"{path} cannot be read as an NWB file (truncated, or of another type): {error}"
        ) from error
    with hdf5:
        if hdf5.attrs.get("neurodata_type") != "NWBFile":
            raise BadRecording(f"{path} is an HDF5 file, but not an NWB file of version 2")
        with NWBHDF5IO(file=hdf5, mode="r", load_namespaces=True) as io:
            yield _content(io, path)


def _content(io: NWBHDF5IO, path: Path) -> NWBFile:
    try:
        # about older versions of the schema, odd lengths: what matters to us is checked by us
        with warnings.catch_warnings(action="ignore"):
            return io.read()
    except (ConstructError, AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        message = " ".join(str(error).split())
        raise BadRecording(f"{path} is not a valid NWB file: {message}") from error
