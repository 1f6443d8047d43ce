"""MEIs with responses as NWB: valid, reopened, and what the database says; or no file at all."""

import math
import os
import signal
from datetime import datetime

import numpy as np
import pytest
from miniature import DAY_1, DAY_2, arrays
from pynwb import NWBHDF5IO, validate
from pynwb.epoch import TimeIntervals
from pynwb.ophys import PlaneSegmentation
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.export.draft import CannotExport
from pipeline.export.nwb import Microscope, SessionFacts, export_nwb
from pipeline.export.nwb.loop import presentations, shown_images, trials_of
from pipeline.export.nwb.session import new_file
from pipeline.export.nwb.units import add_units, units_of
from pipeline.ingest.insert import insert_scan
from pipeline.ingest.scan import Fields, Images, ScanArrays, Source, TrialResponses, Trials, Units
from schemas.cell_match import BestProximityCellMatch
from schemas.closed_loop import ConfusionMatrix
from schemas.dataset import TargetDataset
from schemas.mei import MEI, MEIMask
from schemas.model import Ensemble
from schemas.recording import AreaMembership, Condition, Image, Scan, Trial
from schemas.reliability import Oracle
from schemas.stimulus import StimulusSet

START = "+01:00"


def start_of(scan):
    """Return when a recording began, with the zone that only we know."""
    return (Scan & scan).fetch1("recorded_at").isoformat() + START


def call(*words):
    return CliRunner().invoke(app, ["export", "nwb", *map(str, words)])


def refused(*words):
    """Return the one line of an error."""
    result = call(*words)
    assert (result.exit_code, result.stdout) == (1, ""), result.output
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: ")
    return line


def read(file):
    """Return a file reopened, which stays open as long as the test."""
    return NWBHDF5IO(file, "r").read()


def rows(container):
    return container.to_dataframe().to_dict("records")


def number(value):
    return math.nan if value is None else value


@pytest.fixture(scope="module")
def made(populated, tmp_path_factory):
    """Folder with the files of the day the models come from, and of a later day."""
    folder = tmp_path_factory.mktemp("nwb")
    for day, scan in ((1, DAY_1), (2, DAY_2)):
        where = [] if day == 2 else [f"model_hash={populated.plan['model_hash']}"]
        options = [word for condition in where for word in ("--where", condition)]
        name = "-".join(map(str, scan.values()))
        result = call(
            *("--scan", name, "--start", start_of(scan), "--to", folder / f"{day}.nwb"),
            *("--subject", "species=Mus musculus", "--subject", "sex=F", *options),
        )
        assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def first(made):
    return read(made / "1.nwb")


@pytest.fixture
def later(made):
    return read(made / "2.nwb")


@pytest.mark.parametrize("day", [1, 2])
def test_it_is_valid(made, day):
    assert not validate(path=made / f"{day}.nwb")


def test_the_session_is_that_of_the_recording(first, later):
    for file, scan in ((first, DAY_1), (later, DAY_2)):
        row = (Scan & scan).fetch1()
        assert file.session_start_time == datetime.fromisoformat(start_of(scan))
        assert file.subject.subject_id == str(scan["animal_id"])
        assert (file.subject.species, file.subject.sex) == ("Mus musculus", "F")
        assert file.subject.age is None
        assert row["source_sha256"] in file.identifier
        assert row["source_name"] in file.session_description
    assert first.identifier != later.identifier


def test_units_have_area_place_and_scores(populated, first):
    table = first.units.to_dataframe()
    units = {row["unit_id"]: row for row in (Scan.Unit & DAY_1).to_dicts()}
    areas = dict(zip(*(AreaMembership & DAY_1).to_arrays("unit_id", "brain_area"), strict=True))
    scored = Oracle.UnitScores * Ensemble.UnitScore * TargetDataset.Unit & populated.plan
    scores = {row["unit_id"]: row for row in scored.to_dicts()}
    assert list(table.index) == sorted(units)
    assert set(scores) == set(units)
    for unit, row in table.iterrows():
        assert (row["x"], row["z"]) == (units[unit]["um_x"], units[unit]["um_z"])
        assert row["brain_area"] == areas[unit]
        for column, own in (
            ("oracle", "oracle"),
            ("validation_corr", "ensemble_validation_corr"),
            ("test_corr_avg", "ensemble_test_corr_avg"),
            ("test_cc_norm", "ensemble_test_cc_norm"),
        ):
            np.testing.assert_equal(row[column], number(scores[unit][own]))
        assert row["reliable"] == bool(scores[unit]["reliable"])


def test_meis_and_masks_are_those_of_the_database(populated, first):
    module = first.processing["inceptionloop"]
    for table, pictures, own, column in (
        ("mei_units", "meis", MEI.Unit & "mei_status = 'ok'", "mei"),
        ("mei_mask_units", "mei_masks", MEIMask.Unit, "mei_mask"),
    ):
        found = (own * TargetDataset.Unit & populated.plan & DAY_1).to_dicts()
        expected = {row["unit_id"]: row for row in found}
        told = rows(module[table])
        assert sorted(row["unit_id"] for row in told) == sorted(expected)
        assert len(expected) == len(found) > 5
        for row in told:
            image = module[pictures].order_of_images[row["image_index"]]
            stored = expected[row["unit_id"]]
            assert np.array_equal(image.data[:], stored[column])
            assert image.data.dtype == np.float32
            assert image.name.startswith(f"unit_{row['unit_id']}")
            if table == "mei_units":
                assert row["mei_activation"] == stored["mei_activation"]
                assert row["model_hash"] == populated.plan["model_hash"]
            else:
                assert row["mask_status"] == stored["mask_status"]


def diagonal():
    """Return the diagonals of all matrices by pool, scaling, kind and unit of the model."""
    return {
        (r["pool_hash"], r["response_scaling"], r["stimulus_kind"], r["unit_index"]): r
        for r in ConfusionMatrix.Diagonal.to_dicts()
    }


@pytest.mark.parametrize("day", [1, 2])
def test_responses_are_the_diagonals(populated, made, day):
    told = rows(read(made / f"{day}.nwb").processing["inceptionloop"]["closed_loop_responses"])
    columns = (TargetDataset.Unit & populated.training_set & DAY_1).to_dicts()
    unit_index = {f"1-1-1-{row['unit_id']}": row["unit_index"] for row in columns}
    matched = (BestProximityCellMatch.Unit & DAY_2).to_dicts()
    unit_of_day_2 = {row["unit_index"]: row["matched_unit_id"] for row in matched}
    expected = diagonal()
    for row in told:
        index = unit_index[row["source_unit"]]
        key = row["pool_hash"], row["response_scaling"], row["stimulus_kind"], index
        stored = expected.pop(key)
        np.testing.assert_equal(row["mean"], number(stored["diagonal_response"]))
        np.testing.assert_equal(row["sem"], number(stored["diagonal_sem"]))
        assert (row["n"], row["rank"]) == (stored["diagonal_n"], stored["diagonal_rank"])
        own = int(row["source_unit"].split("-")[-1]) if day == 1 else unit_of_day_2[index]
        assert row["unit_id"] == own
        assert day == 1 or "1-2-1" in row["recordings"].split(", ")
    # of the first day all are told, of a later one those it took part in
    left = {key[0] for key in expected}
    assert told and (not left if day == 1 else left)
    if day == 2:
        assert not left & {row["pool_hash"] for row in told}


def test_every_trial_shows_its_image(populated, later):
    told = rows(later.processing["inceptionloop"]["closed_loop_presentations"])
    trials = (Trial * Condition * Image & DAY_2).to_dicts(order_by="trial_idx")
    images = later.stimulus_template["closed_loop"].order_of_images
    assert [row["trial_idx"] for row in told] == [row["trial_idx"] for row in trials]
    for row, trial in zip(told, trials, strict=True):
        assert (row["image_class"], row["image_id"]) == (trial["image_class"], trial["image_id"])
        assert np.array_equal(images[row["image_index"]].data[:], trial["image"])
    assert not later.intervals  # the virtual mouse has no clock, and none is invented


def test_images_know_whom_they_were_made_for(populated, later):
    told = rows(later.processing["inceptionloop"]["closed_loop_items"])
    images = later.stimulus_template["closed_loop"].order_of_images
    joined = StimulusSet.Item * Image * TargetDataset.Unit & populated.stimulus
    items = {(r["stimulus_kind"], f"1-1-1-{r['unit_id']}"): r for r in joined.to_dicts()}
    assert {(row["stimulus_kind"], row["source_unit"]) for row in told} == set(items)
    for row in told:
        item = items[row["stimulus_kind"], row["source_unit"]]
        assert np.array_equal(images[row["image_index"]].data[:], item["image"])
        np.testing.assert_equal(row["shown_activation"], number(item["shown_activation"]))


def test_cells_of_the_later_day_are_matched(populated, later):
    told = rows(later.processing["inceptionloop"]["cell_matches"])
    joined = BestProximityCellMatch.Unit * TargetDataset.Unit.proj("unit_id") & DAY_2
    expected = {(r["matched_unit_id"], f"1-1-1-{r['unit_id']}") for r in joined.to_dicts()}
    assert {(row["unit_id"], row["source_unit"]) for row in told} == expected
    assert len(expected) > 5


# --- recordings with planes and a clock


@pytest.fixture(scope="module")
def imaged(recordings):
    """A recording of two imaged fields whose trials have times."""
    key, content = recordings.key(), arrays(seed=4242, n_images=9, repeated=3)
    n = len(content["image_index"])
    onset = 10 + 1.5 * np.arange(n)
    scan = ScanArrays(
        images=Images(content["images"], np.full(len(content["images"]), "a/b")),
        trials=Trials(content["image_index"], onset, onset + 0.5),
        activity=TrialResponses(content["responses"]),
        units=Units(
            np.array([3, 4, 7, 9]),
            area=np.array(["V1", "V1", "LM", "V1"]),
            field=np.array([1, 1, 2, 2]),
            pixel=np.array([[3.2, 4.9], [1, 0], [7, 7], [2, 5]]),
        ),
        fields=Fields(np.array([1, 2]), depth=np.array([110.0, 250.0])),
    )
    insert_scan(key, scan, Source("test", "1", "made in a test", None, "0" * 64))
    return key, content, onset


MICROSCOPE = Microscope("GCaMP6s", 920.0, 520.0)
FACTS = SessionFacts(datetime.fromisoformat("2026-11-20T09:00+01:00"), MICROSCOPE)


def test_imaged_units_are_rois_and_trials_intervals(imaged, tmp_path):
    key, content, onset = imaged
    file = new_file(key, FACTS)
    add_units(file, units_of(key, {}), MICROSCOPE, "it")
    trials = trials_of(key)
    file.add_stimulus_template(shown_images(key, trials))
    file.add_time_intervals(presentations(trials))
    with NWBHDF5IO(tmp_path / "a.nwb", "w") as io:
        io.write(file)
    assert not validate(path=tmp_path / "a.nwb")
    again = read(tmp_path / "a.nwb")
    segmentation = again.processing["ophys"]["ImageSegmentation"]
    planes = [segmentation[f"PlaneSegmentation{number}"] for number in (1, 2)]
    assert all(isinstance(plane, PlaneSegmentation) for plane in planes)
    assert [list(plane.id[:]) for plane in planes] == [[3, 4], [7, 9]]
    assert [plane.imaging_plane.location for plane in planes] == ["V1", "LM, V1"]
    assert planes[0].imaging_plane.indicator == "GCaMP6s"
    assert planes[0].imaging_plane.excitation_lambda == 920
    assert list(planes[1]["depth"][:]) == [250, 250]
    assert [tuple(mask) for mask in planes[0]["pixel_mask"][0]] == [(3, 5, 1.0)]
    intervals = again.intervals["closed_loop_presentations"]
    assert isinstance(intervals, TimeIntervals)
    assert list(intervals["start_time"][:]) == onset.tolist()
    assert list(intervals["stop_time"][:]) == (onset + 0.5).tolist()
    images = again.stimulus_template["closed_loop"].order_of_images
    for index, shown in zip(intervals["image_index"][:], content["image_index"], strict=True):
        assert np.array_equal(images[index].data[:], content["images"][shown])


def test_how_they_were_imaged_is_asked_for(imaged):
    key, *_ = imaged
    with pytest.raises(CannotExport, match="--indicator, --excitation-nm and --emission-nm"):
        add_units(new_file(key, FACTS), units_of(key, {}), None, "1-1-1")


# --- what is not known is asked for, and nothing is left


def test_the_time_is_asked_for_with_its_zone(populated, tmp_path):
    recorded = (Scan & DAY_2).fetch1("recorded_at")
    words = ("--scan", "1-2-1", "--to", tmp_path / "a.nwb")
    for start in ((), ("--start", recorded.isoformat())):
        line = refused(*words, *start)
        assert "--start" in line and f"began at {recorded}" in line
    assert "is to add the time zone only" in refused(*words, "--start", "2020-01-01T09:00+01:00")
    assert "is no time" in refused(*words, "--start", "yesterday")
    assert not list(tmp_path.iterdir())


def test_several_ensembles_are_told_apart(populated, tmp_path):
    """MEIs of the networks and of their linear control."""
    line = refused(
        "--scan", "1-1-1", "--to", tmp_path / "a.nwb", "--start", start_of(DAY_1)
    )  # fmt: skip
    assert "say which by" in line and "--where model_hash=" in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--scan", "1-1"), "does not name a recording"),
        (("--scan", "99-9-9"), "there is no recording 99-9-9"),
        (("--scan", "101-1-1"), "there is nothing to write"),
        (("--scan", "1-1-1", "--where", "mei_hash=x"), "there is nothing to write"),
        (("--scan", "1-1-1", "--where", "nothing=1"), "is not attribute=value"),
        (("--scan", "1-2-1", "--subject", "sex"), "is not attribute=value"),
        (("--scan", "1-2-1", "--subject", "name=Tom"), "NWB knows no name"),
    ],
)
def test_what_cannot_be_written_is_one_clear_line(populated, tmp_path, words, said):
    assert said in refused(*words, "--start", start_of(DAY_2), "--to", tmp_path / "a.nwb")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "said"),
    [("there.nwb", "is there already"), ("no/a.nwb", "no folder"), ("a.h5", "must end in .nwb")],
)
def test_names(populated, tmp_path, name, said):
    (tmp_path / "there.nwb").write_text("mine")
    line = refused("--scan", "1-2-1", "--start", start_of(DAY_2), "--to", tmp_path / name)
    assert said in line
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("there.nwb", "mine")]


def test_an_interruption_leaves_nothing(populated, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "pipeline.export.nwb.file.validate", lambda path: os.kill(os.getpid(), signal.SIGTERM)
    )
    result = call("--scan", "1-2-1", "--start", start_of(DAY_2), "--to", tmp_path / "a.nwb")
    assert result.exit_code == 128 + signal.SIGTERM
    assert not list(tmp_path.iterdir())


def test_what_pynwb_does_not_accept_is_not_written(populated, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.export.nwb.file.validate", lambda path: ["a column is missing"])
    facts = SessionFacts(datetime.fromisoformat(start_of(DAY_2)))
    with pytest.raises(CannotExport, match="no valid NWB: a column is missing"):
        export_nwb(DAY_2, tmp_path / "a.nwb", facts)
    assert not list(tmp_path.iterdir())
