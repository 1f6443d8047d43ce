"""Frequency limens from files: Moore's listeners, bad files, the command."""

import numpy as np
import pytest
from miniature import row_counts
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.ingest.limens import ingest_limens
from pipeline.ingest.rows import BadRecording
from schemas.limens import LimenStudy

GOOD = "subject,frequency_hz,limen_hz\n1,250,0.66\n1,500,0.74\n2,250,0.88\n"


@pytest.fixture(autouse=True)
def _clean(tables):
    yield
    if LimenStudy():
        LimenStudy.delete(prompt=False)


def written(folder, text, name="limens.csv"):
    (folder / name).write_text(text)
    return folder / name


@pytest.mark.shared
def test_moores_listeners(shared):
    file = shared / "data" / "moore1979_frequency_limens" / "moore1979_fdl.csv"
    assert ingest_limens(file, "moore1979")
    assert (LimenStudy & "limen_study = 'moore1979'").fetch1("n_listeners") == 3
    lines = np.loadtxt(file, delimiter=",", skiprows=1)
    stored = LimenStudy.Limen.to_arrays(
        "listener", "frequency_hz", "limen_hz", order_by="limen_index"
    )
    assert np.array_equal(np.stack(stored, 1), lines) and len(lines) == 24


def test_the_same_file_again_changes_nothing_and_another_one_is_refused(tmp_path):
    file = written(tmp_path, GOOD)
    assert ingest_limens(file, "mine")
    before = row_counts()
    assert not ingest_limens(file, "mine")
    other = written(tmp_path, GOOD.replace("0.66", "0.67"), "other.csv")
    with pytest.raises(BadRecording, match="'mine' has other limens"):
        ingest_limens(other, "mine")
    assert row_counts() == before
    assert ingest_limens(other, "yours")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace("limen_hz", "limen"), "must have the columns subject, frequency_hz"),
        (GOOD.replace("0.66", "nan"), "limen_hz must be positive"),
        (GOOD.replace("0.66", "0"), "limen_hz must be positive"),
        (GOOD.replace("1,250", "1,-250"), "frequency_hz must be positive"),
        (GOOD.replace("1,500", "1,inf"), "frequency_hz must be positive"),
        (GOOD.replace("1,500", "1,250"), "two limens at one frequency"),
        (GOOD.replace("2,250", "1.5,250"), "whole numbers"),
        (GOOD.replace("2,250", "3000000000,250"), "whole numbers"),
        (GOOD.replace("1,500", "3,250"), "two frequencies"),
        (GOOD.replace("0.66", "loud"), "cannot be read as CSV"),
        ("subject,frequency_hz,limen_hz\n", "no rows"),
    ],
)
def test_a_bad_file_is_refused_and_nothing_is_stored(tmp_path, text, message):
    before = row_counts()
    with pytest.raises(BadRecording, match=message):
        ingest_limens(written(tmp_path, text), "bad")
    assert row_counts() == before


def test_names_and_missing_files(tmp_path):
    for name in ("", "m" * 33):
        with pytest.raises(BadRecording, match="1 to 32 characters"):
            ingest_limens(written(tmp_path, GOOD), name)
    with pytest.raises(BadRecording, match="there is no file"):
        ingest_limens(tmp_path / "none.csv", "mine")


def test_the_command(tmp_path):
    file = str(written(tmp_path, GOOD))
    for answer in ("limens 'mine' ingested", "limens 'mine' were already there"):
        done = CliRunner().invoke(app, ["ingest", "limens", file, "--name", "mine"])
        assert done.exit_code == 0 and answer in done.output
    done = CliRunner().invoke(app, ["ingest", "limens", file + "x", "--name", "mine"])
    assert done.exit_code == 1 and "there is no file" in done.output
