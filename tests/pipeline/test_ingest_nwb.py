"""NWB files, written here by pynwb as in DANDI 000402: what goes in comes out, of a bad one nothing."""

import subprocess
import sys
from datetime import UTC, datetime

import h5py
import numpy as np
import pytest
from miniature import recorded_activity, row_counts
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.base import ImageReferences, Images
from pynwb.behavior import EyeTracking, PupilTracking, SpatialSeries
from pynwb.epoch import TimeIntervals
from pynwb.image import GrayscaleImage, ImageSeries, IndexSeries
from pynwb.ophys import DfOverF, Fluorescence, ImageSegmentation, OpticalChannel, RoiResponseSeries

from pipeline.ingest import insert
from pipeline.ingest.nwb import ingest_nwb, read_nwb
from pipeline.ingest.rows import BadRecording
from schemas import recording
from schemas.recording import Activity, Condition, FrameClock, Image, PupilTrack, Scan, Trial

N_FRAMES, RATE, SIZE = 120, 6.3
WIDTH, HEIGHT = 9, 14  # of a field, px; tall, as the mesoscope's
SOMA = np.array([True, True, False, True])  # of the four masks of a field
DEPTHS = {1: 110.0, 2: 380.0}


class Session:
    """What a recording holds, and a file of it; `change` alters the file before it is written."""

    def __init__(self, seed, n_fields=2):
        self.rng = np.random.default_rng(seed)
        self.fields = list(DEPTHS)[:n_fields]
        self.times = 10 + np.arange(N_FRAMES) / RATE + self.rng.uniform(0, 0.002, N_FRAMES)
        self.traces = {f: self.rng.gamma(1.0, size=(N_FRAMES, 4)) for f in self.fields}
        self.masks = {f: self._masks() for f in self.fields}
        self.images = self.rng.integers(0, 256, (5, 6, 8), np.uint8)
        self.shown = np.array([4, 0, 2, 1, 0, 3, 0])
        self.onset = 12 + 2.0 * np.arange(7)
        self.pupil_times = 9 + np.arange(300) / 15
        self.pupil = self.rng.uniform(5, 9, (300, 4))  # major, minor radius, x, y
        self.pupil[40:50] = np.nan
        self.running_times = 9 + np.arange(900) / 45
        self.running = self.rng.normal(0, 5, 900)  # cm / s

    def _masks(self):
        masks = np.zeros((4, WIDTH, HEIGHT), np.float32)
        for mask in masks:
            x, y = self.rng.integers(0, WIDTH - 2), self.rng.integers(0, HEIGHT - 3)
            mask[x : x + 3, y : y + 4] = self.rng.uniform(0.1, 1, (3, 4))
        return masks

    def cells(self, what):
        """Return something of all somata, fields one after another."""
        return np.concatenate([what(f)[..., SOMA] for f in self.fields], axis=-1)

    def centers(self, field):
        """Return x and y of the masks of a field, pixel by pixel, (2, 4)."""
        centers = []
        for mask in self.masks[field]:
            x = sum(mask[i, j] * i for i in range(WIDTH) for j in range(HEIGHT))
            y = sum(mask[i, j] * j for i in range(WIDTH) for j in range(HEIGHT))
            centers.append((x / mask.sum(), y / mask.sum()))
        return np.array(centers).T

    # --- the file, in the layout of DANDI 000402, with images instead of movies

    def write(self, path, *changes):
        file = NWBFile("a mouse sees images", "id", datetime(2018, 3, 4, tzinfo=UTC))
        self.ophys = file.create_processing_module("ophys", "processed 2p data")
        self.add_fields(file)
        self.add_traces(Fluorescence(name="Fluorescence"), "RoiResponseSeries", self.traces)
        self.add_stimulus(file)
        self.add_behavior(file)
        for change in changes:
            change(self, file)
        with NWBHDF5IO(path, "w") as io:
            io.write(file)
        return path

    def add_fields(self, file):
        microscope = file.create_device(name="Microscope", description="two-photon mesoscope")
        segmentation = ImageSegmentation()
        self.ophys.add(segmentation)
        self.planes, self.tables = {}, {}
        for f in self.fields:
            self.planes[f] = file.create_imaging_plane(
                name=f"ImagingPlane{f}",
                optical_channel=OpticalChannel(
                    name="OpticalChannel", description="green", emission_lambda=500.0
                ),
                imaging_rate=RATE,
                description=f"The imaging plane for field {f}",
                device=microscope,
                excitation_lambda=920.0,
                indicator="GCaMP6",
                location="VISp,VISrl,VISlm,VISal",
                grid_spacing=[2.5e-6, 2.0e-6],
                grid_spacing_unit="meters",
                origin_coords=[1e-4 * f, -3e-4, DEPTHS[f] / 1e6],
                origin_coords_unit="meters",
            )
            table = segmentation.create_plane_segmentation(
                name=f"PlaneSegmentation{f}",
                description="masks",
                imaging_plane=self.planes[f],
                id=[1, 2, 3, 4],  # the same in each field
            )
            table.add_column("image_mask", "masks", data=self.masks[f])
            types = np.where(SOMA, "soma", "artifact").tolist()
            table.add_column("mask_type", "soma or artifact", data=types)
            table.add_column("cave_ids", "in CAVE", data=[[7], [1, 2], [3], [4]], index=True)
            self.tables[f] = table

    def add_traces(self, container, name, traces):
        self.ophys.add(container)
        for f in self.fields:
            container.add_roi_response_series(
                RoiResponseSeries(
                    name=f"{name}{f}",
                    data=traces[f],
                    rois=self.tables[f].create_roi_table_region("all", region=[0, 1, 2, 3]),
                    timestamps=self.times,
                    unit="n.a.",
                )
            )

    def add_stimulus(self, file):
        self.template = ImageSeries(
            name="natural", data=self.images, unit="n.a.", format="raw", rate=1.0
        )
        file.add_stimulus_template(self.template)
        file.add_trial_column("image_index", "row of the template")
        for image, onset in zip(self.shown, self.onset, strict=True):
            file.add_trial(start_time=onset, stop_time=onset + 0.5, image_index=image)

    def add_behavior(self, file):
        minor = TimeSeries(
            name="pupil_minor_radius",
            data=self.pupil[:, 1],
            timestamps=self.pupil_times,
            unit="px",
        )
        major = TimeSeries(
            name="pupil_major_radius", data=self.pupil[:, 0], timestamps=minor, unit="px"
        )
        center = SpatialSeries(
            name="eye_position",
            data=self.pupil[:, 2:],
            timestamps=minor,
            unit="px",
            reference_frame="unknown",
        )
        file.add_acquisition(PupilTracking(time_series=[minor, major]))
        file.add_acquisition(EyeTracking(spatial_series=center))
        file.add_acquisition(
            TimeSeries(
                name="treadmill_velocity",
                data=self.running,
                timestamps=self.running_times,
                unit="m/s",
                conversion=0.01,
            )
        )


@pytest.fixture
def write(tmp_path):
    def to_file(session, *changes, name="scan.nwb"):
        return session.write(tmp_path / name, *changes)

    return to_file


@pytest.fixture
def read(write):
    """Write and read; the traces are loaded while the file is open."""

    def scan_of(session, *changes, series=None):
        with NWBHDF5IO(write(session, *changes), "r") as io:
            scan = read_nwb(io.read(), series)
            return scan, scan.activity.traces[:, :]

    return scan_of


# --- what goes in comes out


def test_everything_comes_back(recordings, write):
    key, given = recordings.key(), Session(1)
    assert ingest_nwb(write(given), key) is True

    units = (Scan.Unit & key).to_dicts(order_by="unit_id")
    assert [u["unit_id"] for u in units] == [1, 2, 4, 5, 6, 8]  # rows of somata, in both fields
    assert [u["field"] for u in units] == [1, 1, 1, 2, 2, 2]
    assert {u["delay"] for u in units} == {0}
    pixel = given.cells(given.centers)
    np.testing.assert_allclose([[u["px_x"], u["px_y"]] for u in units], pixel.T, rtol=1e-6)
    field = np.repeat([1, 2], 3)
    expected = [100 * field + 2.5 * pixel[0], -300 + 2.0 * pixel[1], np.repeat([110, 380], 3)]
    position = [[u["um_x"], u["um_y"], u["um_z"]] for u in units]
    np.testing.assert_allclose(position, np.transpose(expected), rtol=1e-6)
    layers = (recording.LayerMembership & key).to_arrays("layer", order_by="unit_id")
    assert layers.tolist() == ["L2/3"] * 3 + ["L4"] * 3
    assert not recording.AreaMembership & key  # a field with four areas says nothing of a unit

    fields = (Scan.Field & key).to_dicts(order_by="field")
    for row, depth in zip(fields, DEPTHS.values(), strict=True):
        assert (row["px_height"], row["px_width"]) == (HEIGHT, WIDTH)
        np.testing.assert_allclose(
            [row["field_depth"], row["um_height"], row["um_width"]],
            [depth, 2.0 * HEIGHT, 2.5 * WIDTH],
        )

    assert (Activity & key).fetch1("activity_kind") == "trace"
    expected = given.cells(given.traces.get).astype(np.float32)
    np.testing.assert_array_equal(recorded_activity(key), expected)
    n_depths, clock = (FrameClock & key).fetch1("n_depths", "frame_times")
    assert n_depths == 1
    np.testing.assert_array_equal(np.asarray(clock), given.times[:, None])

    rows = (Trial * Condition * Image & key).to_dicts(order_by="trial_idx")
    for row, image, onset in zip(rows, given.shown, given.onset, strict=True):
        np.testing.assert_array_equal(row["image"], given.images[image])
        assert row["image_class"] == "natural"
        assert (row["trial_onset"], row["trial_offset"]) == (onset, onset + 0.5)

    sampling, track = (PupilTrack & key).fetch1("pupil_sampling", "pupil_track")
    assert sampling == "track"
    expected = np.column_stack([given.pupil_times, given.pupil[:, [0, 2, 3]]])
    np.testing.assert_array_equal(np.asarray(track), expected)
    sampling, track = (recording.TreadmillTrace & key).fetch1(
        "treadmill_sampling", "treadmill_track"
    )
    assert sampling == "track"
    expected = np.column_stack([given.running_times, given.running])
    np.testing.assert_allclose(np.asarray(track), expected, rtol=1e-12)


def test_a_second_time_changes_nothing_and_other_content_is_refused(recordings, write):
    key, path = recordings.key(), write(Session(2))
    assert ingest_nwb(path, key) is True
    row = (Scan & key).fetch1()
    assert (row["reader"], row["source_name"]) == ("nwb", "scan.nwb")
    assert row["source_size"] == path.stat().st_size
    before = row_counts()
    assert ingest_nwb(path, key) is False
    with pytest.raises(BadRecording, match=r"already there, from scan\.nwb"):
        ingest_nwb(write(Session(3), name="other.nwb"), key)
    assert row_counts() == before


def test_an_interrupted_one_leaves_nothing_and_goes_in_later(recordings, write, monkeypatch):
    key, path = recordings.key(), write(Session(4))
    before = row_counts()
    insert1, inserted = recording.Activity.Block.insert1, []

    def interrupted(self, row):
        if len(inserted) == 2:
            raise KeyboardInterrupt
        inserted.append(row["activity_block"])
        insert1(row)

    monkeypatch.setattr(insert, "UNITS_PER_BLOCK", 2)
    with monkeypatch.context() as patch:
        patch.setattr(recording.Activity.Block, "insert1", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ingest_nwb(path, key)
    assert inserted == [0, 1]
    assert row_counts() == before
    assert ingest_nwb(path, key) is True
    # blocks of two: the middle one lies in both fields
    assert recorded_activity(key).tolist() == Session(4).cells(Session(4).traces.get).astype(
        np.float32
    ).tolist()


# --- traces


def deconvolved(session, file):
    session.spikes = {f: session.rng.random((N_FRAMES, 4)) for f in session.fields}
    session.add_traces(Fluorescence(name="Deconvolved"), "spikes", session.spikes)


def df_over_f(session, file):
    session.dff = {f: session.rng.random((N_FRAMES, 4)) for f in session.fields}
    session.add_traces(DfOverF(), "dff", session.dff)


def neuropil(session, file):
    session.add_traces(Fluorescence(name="Neuropil"), "surround", session.traces)


@pytest.mark.parametrize(
    ("changes", "series", "expected"),
    [
        ((neuropil,), None, "traces"),
        ((df_over_f, neuropil), None, "dff"),
        ((df_over_f, deconvolved), None, "spikes"),
        ((df_over_f, deconvolved), "DfOverF", "dff"),
        ((df_over_f, deconvolved), "Fluorescence", "traces"),
    ],
)
def test_the_best_traces_are_taken_or_those_named(read, changes, series, expected):
    session = Session(5)
    _, traces = read(session, *changes, series=series)
    np.testing.assert_array_equal(traces, session.cells(getattr(session, expected).get))


def test_one_named_series_is_one_field(read):
    session = Session(6)
    scan, traces = read(session, series="RoiResponseSeries2")
    np.testing.assert_array_equal(traces, session.traces[2][:, SOMA])
    assert set(scan.units.field) == {2}
    assert scan.units.unit_id.tolist() == [1, 2, 4]  # the ids of the table are distinct now


def test_fields_may_be_a_constant_time_apart_and_traces_scaled(read):
    session = Session(7)

    def later(session, file):
        series = session.ophys["Fluorescence"]["RoiResponseSeries2"]
        series.fields["timestamps"] = session.times + 0.05
        series.fields["conversion"], series.fields["offset"] = 2.0, -1.0

    scan, traces = read(session, later)
    np.testing.assert_allclose(scan.units.delay, [0, 0, 0, 0.05, 0.05, 0.05], atol=1e-12)
    np.testing.assert_array_equal(scan.activity.frame_times, session.times)
    np.testing.assert_array_equal(traces[:, :3], session.traces[1][:, SOMA])
    np.testing.assert_array_equal(traces[:, 3:], 2 * session.traces[2][:, SOMA] - 1)


def test_a_rate_is_a_clock_too(read):
    def regular(session, file):
        for series in session.ophys["Fluorescence"].roi_response_series.values():
            series.fields.pop("timestamps"), series.fields.pop("timestamps_unit", None)
            series.fields.pop("interval", None)
            series.fields |= {"rate": 8.0, "starting_time": 3.0, "starting_time_unit": "seconds"}

    scan, _ = read(Session(8), regular)
    np.testing.assert_allclose(scan.activity.frame_times, 3 + np.arange(N_FRAMES) / 8)


def test_traces_of_some_rois_in_any_order_are_those_rois(read):
    session = Session(9, n_fields=1)

    def some(session, file):
        container = Fluorescence(name="Deconvolved")
        session.ophys.add(container)
        container.create_roi_response_series(
            name="spikes",
            data=session.traces[1][:, :3],
            rois=session.tables[1].create_roi_table_region("some", region=[3, 2, 0]),
            timestamps=session.times,
            unit="n.a.",
        )

    scan, traces = read(session, some)
    assert scan.units.unit_id.tolist() == [1, 4]  # the one in row 2 is an artifact
    np.testing.assert_array_equal(traces, session.traces[1][:, [2, 0]])
    np.testing.assert_allclose(scan.units.pixel, session.centers(1)[:, [0, 3]].T, rtol=1e-6)


def test_only_the_columns_asked_for_are_read(write, monkeypatch):
    """So that a file larger than memory can be read."""
    session = Session(10)
    read, dataset = [], h5py.Dataset.__getitem__

    def spy(self, index, **options):
        if "RoiResponseSeries" in self.name and self.name.endswith("data"):
            read.append(index)
        return dataset(self, index, **options)

    with NWBHDF5IO(write(session), "r") as io:
        file = io.read()
        monkeypatch.setattr(h5py.Dataset, "__getitem__", spy)
        scan = read_nwb(file)
        assert not read
        block = scan.activity.traces[10:20, 1:3]
    np.testing.assert_array_equal(block, session.traces[1][10:20, [1, 3]])
    assert read == [(slice(10, 20), slice(1, 4))]


# --- segmentation in other layouts


def segmentation(**columns):
    """Replace the tables by ones with other columns."""

    def change(session, file):
        for table in session.tables.values():
            kept = {c.name: c for c in table.columns if c.name == "image_mask"}
            table.fields["columns"] = tuple(kept.values())
            table.fields["colnames"] = tuple(kept)
            table._DynamicTable__colids = {name: i for i, name in enumerate(kept)}
            for name, values in columns.items():
                table.add_column(name, name, data=values)

    return change
