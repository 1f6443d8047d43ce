"""Calibrations from files: what was measured is stored, once; anything else is refused."""

from datetime import datetime
from itertools import count

import numpy as np
import pytest
from miniature import row_counts
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.ingest.calibration import ingest_calibration, time_of_calibration
from pipeline.ingest.rows import BadRecording
from schemas.monitor import ClosestCalibration, ProcessedMonitorCalibration, monitor_curve
from schemas.recording import MonitorCalibration, Rig

AT = datetime(2026, 11, 21, 9, 30)
PIXELS = np.arange(0.0, 256.0, 51.0)
LUMINANCE = 0.125 + 30 * (PIXELS / 255) ** 1.7
RIGS = (f"calibrated-{n}" for n in count())


@pytest.fixture
def rig(tables):
    """A rig that is deleted with its calibrations."""
    name = next(RIGS)
    yield name
    for table in (ProcessedMonitorCalibration, MonitorCalibration, Rig):
        (table & {"rig": name}).delete(prompt=False)


def as_csv(path, names=("pixel_value", "luminance"), rows=(PIXELS, LUMINANCE)):
    lines = [",".join(names), *(",".join(map(repr, r)) for r in np.transpose(rows).tolist())]
    path.write_text("\n".join(lines) + "\n")
    return path


def as_npz(path):
    np.savez(path, luminance=LUMINANCE, pixel_value=PIXELS.astype(np.uint8))
    return path


@pytest.mark.parametrize(("write", "name"), [(as_csv, "monitor.csv"), (as_npz, "monitor.npz")])
def test_what_was_measured_is_stored_once(write, name, rig, tmp_path):
    path = write(tmp_path / name)
    assert ingest_calibration(path, rig, AT) is True
    key = {"rig": rig, "calibrated_at": AT}
    row = (MonitorCalibration & key).fetch1()
    np.testing.assert_array_equal(row["pixel_value"], PIXELS)
    np.testing.assert_array_equal(row["luminance"], LUMINANCE)
    assert row["pixel_value"].dtype == row["luminance"].dtype == np.float64
    np.testing.assert_allclose(monitor_curve(rig, AT).luminance(PIXELS), LUMINANCE)
    before = row_counts()
    assert ingest_calibration(path, rig, AT) is False
    assert row_counts() == before


def test_csv_as_spreadsheets_write_it(rig, tmp_path):
    rows = "".join(
        f"{light!r},{pixel:g}\r\n" for pixel, light in zip(PIXELS, LUMINANCE.tolist(), strict=True)
    )
    path = tmp_path / "monitor.csv"
    path.write_text('\ufeff"luminance", pixel_value\r\n' + rows + "\r\n")
    assert ingest_calibration(path, rig, AT)
    stored = (MonitorCalibration & {"rig": rig}).fetch1("luminance")
    np.testing.assert_array_equal(stored, LUMINANCE)


def test_an_ingested_calibration_gives_the_gamma_it_was_made_with(rig, tmp_path):
    ingest_calibration(as_csv(tmp_path / "monitor.csv"), rig, AT)
    ProcessedMonitorCalibration.populate({"rig": rig})
    fit = (ProcessedMonitorCalibration.GammaFit & {"rig": rig}).fetch1()
    assert fit["gamma"] == pytest.approx(1.7, abs=1e-4)
    assert fit["amplitude"] == pytest.approx(30, rel=1e-4)
    assert not ClosestCalibration & {"rig": rig}


BAD = {
    "no file": (None, "there is no file"),
    "empty": ("", "holds no rows"),
    "names only": ("pixel_value,luminance\n", "holds no rows"),
    "another column": (
        "pixel_value,luminance,colour\n0,1,2\n128,2,2\n255,3,2\n",
        r"must have the columns pixel_value, luminance, not \['pixel_value', 'luminance', 'col",
    ),
    "no names": ("0,1\n128,2\n255,3\n", "must have the columns"),
    "fewer columns than names": ("pixel_value,luminance\n0\n1\n2\n", "of its 1 columns"),
    "a name twice": ("luminance,luminance\n0,1\n2,3\n", "different names"),
    "words": (
        "pixel_value,luminance\n0,dark\n255,bright\n",
        "'dark' to float64 at row 0, column 2",
    ),
    "ragged": ("pixel_value,luminance\n0,1\n128,2,3\n255,3\n", "cannot be read as CSV"),
    "not text": (b"\xff\xfe\x00\x01", "cannot be read as CSV"),
    "NaN": ("pixel_value,luminance\n0,1\n128,nan\n255,3\n", "finite"),
    "does not cover the range": (
        "pixel_value,luminance\n0,1\n128,2\n200,3\n",
        "must go from pixel value 0 to 255, this one goes from 0 to 200",
    ),
    "falls": ("pixel_value,luminance\n0,1\n128,3\n255,2\n", "rise with the pixel value"),
    "negative": ("pixel_value,luminance\n0,-1\n128,2\n255,3\n", "negative"),
    "two points": ("pixel_value,luminance\n0,1\n255,3\n", "at least 3"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_calibration_is_refused(name, tables, tmp_path):
    content, message = BAD[name]
    path = tmp_path / "monitor.csv"
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    before = row_counts()
    with pytest.raises(BadRecording, match=message) as caught:
        ingest_calibration(path, "refused", AT)
    assert "\n" not in str(caught.value)
    assert row_counts() == before


@pytest.mark.parametrize(
    "arrays",
    [
        {"pixel_value": PIXELS[:, None], "luminance": LUMINANCE[:, None]},
        {"pixel_value": PIXELS, "luminance": LUMINANCE[1:]},
        {"pixel_value": PIXELS, "luminance": LUMINANCE.astype(str)},
        {"pixel_value": PIXELS, "luminance": LUMINANCE + 1j},
    ],
)
def test_arrays_that_are_no_columns_are_refused(arrays, tables, tmp_path):
    np.savez(tmp_path / "monitor.npz", **arrays)
    with pytest.raises(BadRecording, match="must hold one number per row and column"):
        ingest_calibration(tmp_path / "monitor.npz", "refused", AT)
    assert not Rig & {"rig": "refused"}


def test_another_calibration_of_the_same_time_is_refused(rig, tmp_path):
    ingest_calibration(as_csv(tmp_path / "monitor.csv"), rig, AT)
    other = as_csv(tmp_path / "other.csv", rows=(PIXELS, LUMINANCE * 1.01))
    with pytest.raises(BadRecording, match="another calibration"):
        ingest_calibration(other, rig, AT)
    assert ingest_calibration(other, rig, AT.replace(hour=10))
    assert len(MonitorCalibration & {"rig": rig}) == 2


@pytest.mark.parametrize("name", ["", "x" * 17])
def test_a_rig_has_a_name_that_the_database_can_hold(name, tables, tmp_path):
    path = as_csv(tmp_path / "monitor.csv")
    with pytest.raises(BadRecording, match="1 to 16 characters"):
        ingest_calibration(path, name, AT)


def test_times_are_read_to_the_second():
    assert time_of_calibration("2026-11-21T09:30") == AT
    assert time_of_calibration("2026-11-21 09:30:05") == AT.replace(second=5)
    for text in ("today", "2026-13-01T00:00", "2026-11-21T09:30Z", "2026-11-21T09:30:00.5"):
        with pytest.raises(BadRecording, match="2026-11-21T09:30"):
            time_of_calibration(text)


def test_the_command(rig, tmp_path):
    path = as_csv(tmp_path / "monitor.csv")
    words = ["ingest", "calibration", str(path), "--rig", rig, "--at", "2026-11-21T09:30"]
    first, again = (CliRunner().invoke(app, words) for _ in range(2))
    assert (first.exit_code, first.stdout) == (0, f"calibration of {rig} ingested\n")
    assert (again.exit_code, again.stdout) == (0, f"calibration of {rig} was already there\n")
    assert MonitorCalibration & {"rig": rig, "calibrated_at": AT}
    late = CliRunner().invoke(app, [*words[:-1], "noon"])
    assert late.exit_code == 1
    assert late.stderr == "error: 'noon' is no time: write it as 2026-11-21T09:30\n"


def test_the_monitor_of_a_virtual_mouse_is_another_one_later(recordings):
    animal = recordings.key()["animal_id"]
    small = "--n-simple 2 --n-complex 0 --n-undriven 1 --n-train 20 --n-test 3 --repeats 2"
    first = ["ingest", "virtual", "--animal", str(animal), "--later-gamma", "2.6", *small.split()]
    result = CliRunner().invoke(app, first)
    assert result.exit_code == 0, result.stderr
    words = ["ingest", "virtual-monitor", "--animal", str(animal), "--session", "1", "--day"]
    rig = {"rig": f"virtual-{animal}"}
    try:
        for day in ("2", "2", "3"):
            result = CliRunner().invoke(app, [*words, day])
            assert result.exit_code == 0, result.stderr
            at = (MonitorCalibration & rig).to_arrays("calibrated_at", order_by="calibrated_at")
            assert result.stdout == f"calibration virtual-{animal}@{at[-1].isoformat()}\n"
        ProcessedMonitorCalibration.populate(rig)
        gammas = (ProcessedMonitorCalibration.GammaFit & rig).to_arrays(
            "gamma", order_by="calibrated_at"
        )
        np.testing.assert_allclose(gammas, [1.7, 2.6, 2.6], atol=0.05)
    finally:
        for table in (ProcessedMonitorCalibration, MonitorCalibration):
            (table & rig).delete(prompt=False)


def test_a_monitor_is_measured_of_virtual_mice_only(recordings):
    animal = recordings.insert(seed=70)["animal_id"]
    result = CliRunner().invoke(app, ["ingest", "virtual-monitor", "--animal", str(animal)])
    assert result.exit_code == 1
    assert "is not of a virtual mouse" in result.stderr
