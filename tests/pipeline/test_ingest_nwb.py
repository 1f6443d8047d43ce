"""NWB files, written by pynwb as in DANDI 000402: what goes in comes out, of a bad one nothing."""

import subprocess
import sys
from datetime import UTC, datetime
from functools import partial

import h5py
import numpy as np
import pytest
from hdmf.backends.hdf5 import H5DataIO
from ingest_checks import check_interruption, check_refusal
from miniature import recorded_activity, row_counts
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.base import ImageReferences, Images
from pynwb.behavior import EyeTracking, PupilTracking, SpatialSeries
from pynwb.epoch import TimeIntervals
from pynwb.image import GrayscaleImage, ImageSeries, IndexSeries
from pynwb.ophys import DfOverF, Fluorescence, ImageSegmentation, OpticalChannel, RoiResponseSeries
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.ingest.nwb import ingest_nwb, read_nwb
from pipeline.ingest.rows import BadRecording
from schemas import recording
from schemas.recording import Activity, Condition, FrameClock, Image, PupilTrack, Scan, Trial

N_FRAMES, RATE = 120, 6.3
WIDTH, HEIGHT = 9, 14  # of a field, px; tall, as the mesoscope's
SOMA = np.array([True, True, False, True])  # of the four masks of a field
DEPTHS = {1: 110.0, 2: 380.0}


class Session:
    """What a recording holds, and the file of it; tests of other layouts override its parts."""

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

    def write(self, path):
        file = NWBFile("a mouse sees images", "id", datetime(2018, 3, 4, tzinfo=UTC))
        self.ophys = file.create_processing_module("ophys", "processed 2p data")
        self.add_fields(file)
        self.add_activity()
        self.add_stimulus(file)
        self.add_behavior(file)
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
                **self.place(f),
            )
            table = segmentation.create_plane_segmentation(
                name=f"PlaneSegmentation{f}",
                description="masks",
                imaging_plane=self.planes[f],
            )
            for i, mask in enumerate(self.masks[f]):
                table.add_roi(id=i + 1, **self.mask(mask))  # the ids recur in each field
            self.add_columns(table, f)
            self.tables[f] = table

    def place(self, f):
        return {
            "location": "VISp,VISrl,VISlm,VISal",
            "grid_spacing": [2.5e-6, 2.0e-6],
            "grid_spacing_unit": "meters",
            "origin_coords": [1e-4 * f, -3e-4, DEPTHS[f] / 1e6],
            "origin_coords_unit": "meters",
        }

    def mask(self, mask):
        return {"image_mask": mask}

    def add_columns(self, table, f):
        types = np.where(SOMA, "soma", "artifact").tolist()
        table.add_column("mask_type", "soma or artifact", data=types)
        table.add_column("cave_ids", "in CAVE", data=[[7], [1, 2], [3], [4]], index=True)

    def add_activity(self):
        self.add_traces(Fluorescence(name="Fluorescence"), "RoiResponseSeries", self.traces)

    def add_traces(self, container, name, traces, rois=(0, 1, 2, 3)):
        self.ophys.add(container)
        for f in self.fields:
            container.add_roi_response_series(
                RoiResponseSeries(
                    name=f"{name}{f}",
                    data=traces[f],
                    rois=self.tables[f].create_roi_table_region("rois", region=list(rois)),
                    unit="n.a.",
                    **self.timing(f),
                )
            )

    def timing(self, f):
        return {"timestamps": self.times}

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
    def to_file(session, name="scan.nwb"):
        return session.write(tmp_path / name)

    return to_file


@pytest.fixture
def read(write):
    """Write and read; the traces are loaded while the file is open."""

    def scan_of(session, series=None):
        with NWBHDF5IO(write(session), "r") as io:
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


def test_the_command(recordings, write):
    key, session = recordings.key(), Session(37)
    words = ["ingest", "nwb", str(write(session)), "--animal", str(key["animal_id"])]
    result = CliRunner().invoke(app, [*words, "--series", "RoiResponseSeries2"])
    assert result.exit_code == 0, result.output
    assert f"recording {key['animal_id']}-1-1 ingested" in result.stdout
    expected = session.traces[2][:, SOMA].astype(np.float32)
    np.testing.assert_array_equal(recorded_activity(key), expected)


def test_an_interrupted_one_leaves_nothing_and_goes_in_later(recordings, write, monkeypatch):
    key, path = recordings.key(), write(Session(4))
    check_interruption(ingest_nwb, path, key, monkeypatch)
    # blocks of two: the middle one lies in both fields
    assert (
        recorded_activity(key).tolist()
        == Session(4).cells(Session(4).traces.get).astype(np.float32).tolist()
    )


# --- traces


class Processed(Session):
    """With several kinds of traces."""

    def __init__(self, seed, kinds):
        super().__init__(seed)
        self.kinds = kinds
        self.dff = {f: self.rng.random((N_FRAMES, 4)) for f in self.fields}
        self.spikes = {f: self.rng.random((N_FRAMES, 4)) for f in self.fields}

    def add_activity(self):
        super().add_activity()
        if "dff" in self.kinds:
            self.add_traces(DfOverF(), "traces", self.dff)
        if "spikes" in self.kinds:
            self.add_traces(Fluorescence(name="Deconvolved"), "traces", self.spikes)
        if "neuropil" in self.kinds:
            self.add_traces(Fluorescence(name="Neuropil"), "surround", self.traces)


@pytest.mark.parametrize(
    ("kinds", "series", "expected"),
    [
        (("neuropil",), None, "traces"),
        (("dff", "neuropil"), None, "dff"),
        (("dff", "spikes"), None, "spikes"),
        (("dff", "spikes"), "DfOverF", "dff"),
        (("dff", "spikes"), "Fluorescence", "traces"),
    ],
)
def test_the_best_traces_are_taken_or_those_named(read, kinds, series, expected):
    session = Processed(5, kinds)
    _, traces = read(session, series)
    np.testing.assert_array_equal(traces, session.cells(getattr(session, expected).get))


def test_one_named_series_is_one_field(read):
    session = Session(6)
    scan, traces = read(session, "RoiResponseSeries2")
    np.testing.assert_array_equal(traces, session.traces[2][:, SOMA])
    assert set(scan.units.field) == {2}
    assert scan.units.unit_id.tolist() == [1, 2, 4]  # within one table the ids are distinct


def test_fields_may_be_a_constant_time_apart_and_traces_scaled(read):
    class Later(Session):
        def timing(self, f):
            if f == 1:
                return super().timing(f)
            return {"timestamps": self.times + 0.05, "conversion": 2.0, "offset": -1.0}

    session = Later(7)
    scan, traces = read(session)
    np.testing.assert_allclose(scan.units.delay, [0, 0, 0, 0.05, 0.05, 0.05], atol=1e-12)
    np.testing.assert_array_equal(scan.activity.frame_times, session.times)
    np.testing.assert_array_equal(traces[:, :3], session.traces[1][:, SOMA])
    np.testing.assert_array_equal(traces[:, 3:], 2 * session.traces[2][:, SOMA] - 1)


def test_a_rate_is_a_clock_too(read):
    class Regular(Session):
        def timing(self, f):
            return {"rate": 8.0, "starting_time": 3.0}

    scan, _ = read(Regular(8))
    np.testing.assert_allclose(scan.activity.frame_times, 3 + np.arange(N_FRAMES) / 8)
    assert scan.units.delay.tolist() == [0] * 6


def test_traces_of_some_rois_in_any_order_are_those_rois(read):
    class Some(Session):
        def add_activity(self):
            traces = {1: self.traces[1][:, :3]}
            self.add_traces(Fluorescence(name="Fluorescence"), "traces", traces, rois=(3, 2, 0))

    session = Some(9, n_fields=1)
    scan, traces = read(session)
    assert scan.units.unit_id.tolist() == [1, 4]  # the one in row 2 is an artifact
    np.testing.assert_array_equal(traces, session.traces[1][:, [2, 0]])
    np.testing.assert_allclose(scan.units.pixel, session.centers(1)[:, [0, 3]].T, rtol=1e-6)


def test_only_what_is_asked_for_is_read(write, monkeypatch):
    """So that a file larger than memory can be read."""
    session = Session(10)
    read, getitem = [], h5py.Dataset.__getitem__

    def spy(self, index, **options):
        if "RoiResponseSeries" in self.name and self.name.endswith("/data"):
            read.append(index)
        return getitem(self, index, **options)

    with NWBHDF5IO(write(session), "r") as io:
        file = io.read()
        monkeypatch.setattr(h5py.Dataset, "__getitem__", spy)
        scan = read_nwb(file)
        assert read == []
        block = scan.activity.traces[10:20, 1:3]
    np.testing.assert_array_equal(block, session.traces[1][10:20, [1, 3]])
    assert read == [(slice(10, 20), slice(1, 4))]


# --- masks, areas and layers in other layouts


@pytest.mark.parametrize("name", ["pixel_mask", "voxel_mask"])
def test_masks_may_be_lists_of_pixels(read, name):
    class Pixels(Session):
        def mask(self, mask):
            z = (0,) if name == "voxel_mask" else ()
            return {name: [(x, y, *z, mask[x, y]) for x, y in np.argwhere(mask)]}

        def add_columns(self, table, f):
            pass

    session = Pixels(11)
    scan, _ = read(session)
    expected = np.concatenate([session.centers(f) for f in session.fields], axis=1).T
    np.testing.assert_allclose(scan.units.pixel, expected, rtol=1e-6)
    assert scan.units.unit_id.tolist() == list(range(1, 9))  # nothing says that some are no somata
    assert scan.fields.size_px is None


@pytest.mark.parametrize(
    ("name", "values", "cells"),
    [
        ("cell_type", ["soma", "Soma", "dendrite", "soma"], [1, 2, 4]),
        ("cell_type", ["excitatory", "Pvalb", "Sst", "Vip"], [1, 2, 3, 4]),
        ("iscell", np.array([[1, 0.9], [0, 0.2], [1, 0.6], [0, 0.4]]), [1, 3]),
        ("Accepted", [True, False, False, True], [1, 4]),
    ],
)
def test_which_masks_are_cells(read, name, values, cells):
    class Other(Session):
        def add_columns(self, table, f):
            table.add_column(name, name, data=values)

    scan, _ = read(Other(12, n_fields=1))
    assert scan.units.unit_id.tolist() == cells


def test_areas_and_layers_may_be_columns(read):
    class Labelled(Session):
        def add_columns(self, table, f):
            super().add_columns(table, f)
            table.add_column("brain_area", "area", data=[f"V{f}", f"V{f}", "X", "LM"])
            table.add_column("layer", "layer", data=["L2/3", "L4", "X", "L5"])

    scan, _ = read(Labelled(13))
    assert scan.units.area.tolist() == ["V1", "V1", "LM", "V2", "V2", "LM"]
    assert scan.units.layer.tolist() == ["L2/3", "L4", "L5"] * 2


def test_a_field_in_one_area_gives_it_to_its_units_and_places_may_be_unknown(read):
    class Plain(Session):
        def place(self, f):
            return {"location": "VISp" if f == 1 else "unknown"}

    scan, _ = read(Plain(14))
    assert scan.units.area.tolist() == ["VISp"] * 3 + ["unknown"] * 3
    assert scan.units.position is scan.units.layer is None
    assert scan.fields.depth is scan.fields.size_um is None
    assert scan.units.pixel is not None


# --- stimuli in other layouts


class Indexed(Session):
    """Images and an IndexSeries."""

    ordered = True

    def add_stimulus(self, file):
        pictures = [
            GrayscaleImage(name=f"picture{9 - i}", data=image)  # HDF5 would sort them backwards
            for i, image in enumerate(self.images)
        ]
        order = ImageReferences(name="order_of_images", data=pictures) if self.ordered else None
        self.template = Images(name="natural", images=pictures, order_of_images=order)
        file.add_stimulus_template(self.template)
        self.add_presentation(file)

    def add_presentation(self, file):
        series = IndexSeries(
            name="presentation",
            data=self.shown.astype(np.uint32),
            indexed_images=self.template,
            timestamps=self.onset,
            unit="N/A",
        )
        file.add_stimulus(series)


class Named(Indexed):
    """Images and a table of their names; two of the stimuli are no images."""

    def add_presentation(self, file):
        table = TimeIntervals(name="natural_presentations", description="images by name")
        table.add_column("image_name", "name")
        # not in the order of time
        for image, onset in list(zip(self.shown, self.onset, strict=True))[::-1]:
            table.add_interval(
                start_time=onset, stop_time=onset + 0.5, image_name=f"picture{9 - image}"
            )
        file.add_time_intervals(table)
        clips = TimeIntervals(name="Clip", description="movies")
        clips.add_column("movie_name", "name")
        clips.add_interval(start_time=1.0, stop_time=11.0, movie_name="a film")
        file.add_time_intervals(clips)


class NamedUnordered(Named):
    ordered = False


@pytest.mark.parametrize(
    ("layout", "has_offset"), [(Indexed, False), (Named, True), (NamedUnordered, True)]
)
def test_presentations_in_other_layouts(read, layout, has_offset):
    session = layout(15)
    scan, _ = read(session)
    shown = scan.images.pixels[scan.trials.image_index]
    np.testing.assert_array_equal(shown, session.images[session.shown])
    np.testing.assert_array_equal(scan.trials.onset, session.onset)
    if has_offset:
        np.testing.assert_array_equal(scan.trials.offset, session.onset + 0.5)
    else:
        assert scan.trials.offset is None


def test_two_templates_have_two_classes(read):
    class Two(Session):
        def add_stimulus(self, file):
            self.others = 255 - self.images
            for name, images in (("natural", self.images), ("mei", self.others)):
                file.add_stimulus_template(
                    ImageSeries(name=name, data=images, unit="n.a.", format="raw", rate=1.0)
                )
                table = TimeIntervals(name=f"{name}_presentations", description="images")
                table.add_column("image_index", "row")
                for onset in self.onset[name == "mei" :: 2]:
                    table.add_interval(start_time=onset, stop_time=onset + 0.5, image_index=3)
                file.add_time_intervals(table)

    session = Two(16)
    scan, _ = read(session)
    shown = scan.images.image_class[scan.trials.image_index]
    assert shown.tolist() == ["natural", "mei"] * 3 + ["natural"]
    np.testing.assert_array_equal(
        scan.images.pixels[scan.trials.image_index[:2]], [session.images[3], session.others[3]]
    )


def test_images_of_floats_that_are_grey_values(read):
    class Floats(Session):
        def add_stimulus(self, file):
            self.exact, self.images = self.images, self.images + 0.25
            super().add_stimulus(file)

    session = Floats(17)
    scan, _ = read(session)
    np.testing.assert_array_equal(scan.images.pixels, session.exact)


# --- behaviour in other layouts


def behavior(pupil=None, center=None, running=None):
    """Return a session with this behaviour in a processing module: names and units."""

    class Behavior(Session):
        def add_behavior(self, file):
            module = file.create_processing_module("behavior", "behaviour")
            t = self.pupil_times
            if pupil is not None:
                series = TimeSeries(name=pupil, data=self.pupil[:, 0], timestamps=t, unit="px")
                module.add(PupilTracking(time_series=series))
            if center is not None:
                series = SpatialSeries(
                    name=center,
                    data=self.pupil[:, 2:],
                    timestamps=t,
                    unit="px",
                    reference_frame="unknown",
                )
                module.add(EyeTracking(spatial_series=series))
            if running is not None:
                name, unit = running
                module.add(
                    TimeSeries(
                        name=name, data=self.running, timestamps=self.running_times, unit=unit
                    )
                )

    return Behavior


@pytest.mark.parametrize(
    ("name", "radius"),
    [
        ("pupil_radius", lambda size: size),
        ("Pupil_Diameter", lambda size: size / 2),
        ("pupil_area", lambda size: np.sqrt(size / np.pi)),
    ],
)
def test_the_size_of_the_pupil_may_be_given_otherwise(read, name, radius):
    session = behavior(name, "pupil_location")(18)
    scan, _ = read(session)
    np.testing.assert_allclose(scan.pupil.samples[:, 1], radius(session.pupil[:, 0]))
    np.testing.assert_array_equal(scan.pupil.samples[:, 2:], session.pupil[:, 2:])


@pytest.mark.parametrize(("pupil", "center"), [("pupil_radius", None), (None, "eye_position")])
def test_half_a_pupil_is_left_out_and_said(read, caplog, pupil, center):
    scan, _ = read(behavior(pupil, center)(19))
    assert scan.pupil is None
    given, lacking = ("PupilTracking", "EyeTracking") if pupil else ("EyeTracking", "PupilTracking")
    assert f"the pupil is left out: there is {given} but no {lacking}" in caplog.text


def test_behavior_may_be_absent(read, caplog):
    scan, _ = read(behavior()(20))
    assert scan.pupil is scan.treadmill is None
    assert not caplog.text


def test_running_in_other_units(read):
    session = behavior(running=("running_speed", "cm/s"))(21)
    scan, _ = read(session)
    np.testing.assert_array_equal(scan.treadmill.samples[:, 1], session.running)


def test_samples_without_a_time_are_left_out(read):
    session = Session(22)
    session.pupil_times[7] = session.running_times[3] = np.nan
    scan, _ = read(session)
    np.testing.assert_array_equal(scan.pupil.samples[:, 0], np.delete(session.pupil_times, 7))
    np.testing.assert_array_equal(scan.treadmill.samples[:, 0], np.delete(session.running_times, 3))


# --- bad content and bad files: a clear message, and nothing stored


refused = partial(check_refusal, ingest_nwb)


def with_(**values):
    """Return a session of which some things are otherwise."""

    def made(seed):
        session = Session(seed)
        for name, value in values.items():
            setattr(session, name, value(session) if callable(value) else value)
        return session

    return made


def changed(name, index, value):
    def change(session):
        array = getattr(session, name).astype(float)
        array[index] = value
        return array

    return {name: change}


class Movies(Session):
    def add_stimulus(self, file):
        table = TimeIntervals(name="Clip", description="movies")
        table.add_column("movie_name", "name")
        table.add_interval(start_time=1.0, stop_time=11.0, movie_name="a film")
        file.add_time_intervals(table)


class Unordered(Indexed):
    ordered = False


class TwoTemplates(Session):
    def add_stimulus(self, file):
        super().add_stimulus(file)
        other = ImageSeries(name="mei", data=self.images, unit="n.a.", format="raw", rate=1.0)
        file.add_stimulus_template(other)


class NoTraces(Session):
    def add_activity(self):
        self.add_traces(Fluorescence(name="Neuropil"), "surround", self.traces)


class TwoTraces(Session):
    def add_activity(self):
        super().add_activity()
        self.add_traces(Fluorescence(name="Corrected"), "traces", self.traces)


class FieldsApart(Session):
    def timing(self, f):
        return {"timestamps": self.times * f}


class FieldsOfOtherLength(Session):
    def add_activity(self):
        self.traces[2] = self.traces[2][:-5]
        super().add_activity()

    def timing(self, f):
        return {"timestamps": self.times[: len(self.traces[f])]}


class NoSoma(Session):
    def add_columns(self, table, f):
        table.add_column("iscell", "flag", data=np.zeros(4))


class OddUnit(Session):
    def place(self, f):
        return super().place(f) | {"origin_coords_unit": "inches"}


class EmptyMask(Session):
    def _masks(self):
        masks = super()._masks()
        masks[1] = 0
        return masks


def late(session):
    return np.append(session.onset[:-1], session.onset[-2])


BAD_CONTENT = {
    "movies only": (Movies, r"no presentations of static images: .* intervals \['Clip'\]"),
    "an image that is missing": (
        with_(shown=np.array([0, 1, 5, 2, 3, 4, 0])),
        r"trials shows image 5 in row 2, but natural has only 5 images \(counted from 0\)",
    ),
    "half an image": (with_(shown=np.array([0, 1.5, 2, 2, 3, 4, 0])), "images by whole numbers"),
    "images in no order": (Unordered, "shown by number, but have no order_of_images"),
    "two templates": (TwoTemplates, r"there is not just one: .*\['mei', 'natural'\]"),
    "colour images": (
        with_(images=np.zeros((5, 6, 8, 3), np.uint8)),
        r"must be grey, \(n_images, height, width\), not \(5, 6, 8, 3\)",
    ),
    "images from 0 to 1": (
        with_(images=lambda session: session.images / 255),
        "the images of natural must be grey values 0-255, but they look scaled to 0-1",
    ),
    "two trials at once": (with_(onset=late), "onset must increase"),
    "no traces": (NoTraces, r"no RoiResponseSeries with .* the file has \['Neuropil/surround1'"),
    "two kinds of traces": (TwoTraces, r"several traces, \['Corrected/traces1'.*say which"),
    "no somata": (NoSoma, "none of the segmented masks is marked as a soma or cell"),
    "an empty mask": (EmptyMask, "row 1 of PlaneSegmentation1 has an empty mask"),
    "a place in inches": (OddUnit, "the place of ImagingPlane1 is in 'inches'"),
    "fields at other times": (FieldsApart, "not a constant time after those of Fluorescence/Roi"),
    "fields of other length": (FieldsOfOtherLength, "RoiResponseSeries2 has 115 frames and 115"),
    "a clock that stands still": (
        with_(times=lambda session: np.minimum(session.times, 20)),
        "frame_times: .*increase",
    ),
    "an infinite trace": (
        with_(traces=lambda session: {f: np.full((N_FRAMES, 4), np.inf) for f in DEPTHS}),
        "traces hold infinite values, first in frame 0",
    ),
    "a pupil that goes back in time": (
        with_(**changed("pupil_times", 30, 9.0)),
        "the times of pupil must increase",
    ),
    "running in knots": (
        behavior(running=("running_speed", "kn")),
        "running_speed is in 'kn': known are",
    ),
}


@pytest.mark.parametrize("name", BAD_CONTENT)
def test_bad_content_is_refused_and_nothing_is_stored(recordings, write, name):
    session, message = BAD_CONTENT[name]
    refused(write(session(30)), recordings.key(), message)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "processing/ophys/Fluorescence/RoiResponseSeries1/timestamps",
            "RoiResponseSeries2 has 120 frames and 120 times, but .*1 120 and 117",
        ),
        (
            "processing/ophys/Fluorescence/RoiResponseSeries2/data",
            "RoiResponseSeries2 has 117 frames and 120 times",
        ),
        ("acquisition/PupilTracking/pupil_major_radius/data", "297 samples and 300 times"),
        ("acquisition/EyeTracking/eye_position/data", "eye_position has 297 samples and 300 times"),
        ("acquisition/treadmill_velocity/timestamps", "has 900 samples and 897 times"),
        (
            "processing/ophys/Fluorescence/RoiResponseSeries1/rois",
            r"must be \(n_frames, 3\), .* not \(120, 4\)",
        ),
    ],
)
def test_unequal_lengths(recordings, write, name, message):
    """Files that pynwb would not write."""
    session = Session(36)
    session.timing = lambda f: {"timestamps": session.times.copy()}
    path = write(session)
    with h5py.File(path, "a") as file:
        group, _, last = name.rpartition("/")
        whole = file[name]
        data, attributes = whole[:-1] if last == "rois" else whole[:-3], dict(whole.attrs)
        del file[name]
        file[group][last] = data
        file[name].attrs.update(attributes)
    refused(path, recordings.key(), message)


def test_missing_samples_of_traces_are_no_error(recordings, write):
    session, key = Session(31), recordings.key()
    session.traces[1][3:6, 1] = np.nan
    assert ingest_nwb(write(session), key)
    np.testing.assert_array_equal(
        recorded_activity(key), session.cells(session.traces.get).astype(np.float32)
    )


def test_a_series_that_is_not_there(recordings, write):
    refused(write(Session(32)), recordings.key(), "no RoiResponseSeries called 'spikes'", "spikes")


def test_a_missing_file(recordings, tmp_path):
    refused(tmp_path / "none.nwb", recordings.key(), "there is no file or folder .*none")


@pytest.mark.parametrize("kept", [0, 100, 20_000, -1])
def test_a_truncated_file(recordings, write, kept):
    path = write(Session(33))
    whole = path.read_bytes()
    path.write_bytes(whole[: kept if kept >= 0 else len(whole) + kept])
    refused(path, recordings.key(), "cannot be read as an NWB file")


def test_a_file_of_another_type(recordings, tmp_path):
    path = tmp_path / "scan.nwb"
    path.write_bytes(b"not HDF5")
    refused(path, recordings.key(), "cannot be read as an NWB file")
    with h5py.File(path, "w") as file:
        file["data"] = np.zeros(3)
    refused(path, recordings.key(), "is an HDF5 file, but not an NWB file")


def test_a_file_that_breaks_the_schema(recordings, write):
    path = write(Session(34))
    with h5py.File(path, "a") as file:
        del file["processing/ophys/Fluorescence/RoiResponseSeries1/rois"]
    refused(path, recordings.key(), "is not a valid NWB file")


def test_damaged_traces(recordings, write):
    """Found while they are stored, when units and trials are in already."""

    class Compressed(Session):
        def add_activity(self):
            self.traces = {
                f: H5DataIO(trace, compression="gzip") for f, trace in self.traces.items()
            }
            super().add_activity()

    path = write(Compressed(35))
    with h5py.File(path, "r") as file:
        chunk = file["processing/ophys/Fluorescence/RoiResponseSeries2/data"].id.get_chunk_info(0)
    data = bytearray(path.read_bytes())
    data[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    path.write_bytes(data)
    refused(path, recordings.key(), "traces Fluorescence/RoiResponseSeries2 cannot be read")


def test_pynwb_is_imported_by_this_reader_only():
    """The command line starts without it, and without it says how to get it."""
    code = (
        "import sys; import pipeline.cli; assert 'pynwb' not in sys.modules\n"
        "sys.modules['pynwb'] = None\n"
        "from typer.testing import CliRunner\n"
        "result = CliRunner().invoke(pipeline.cli.app, "
        "['ingest', 'nwb', 'a.nwb', '--animal', '1'])\n"
        "print(result.exit_code, result.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.startswith("1 error: NWB files are read by pynwb: pip install"), done.stderr
