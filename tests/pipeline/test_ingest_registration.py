"""Coordinates in a further stack: of the recording's own units, once."""

import numpy as np
import pytest
from miniature import row_counts
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.ingest import insert
from pipeline.ingest.registration import ingest_stack
from pipeline.ingest.rows import BadRecording
from schemas.recording import Stack, StackRegistration, StackUnitCoord

UNITS = np.array([4, 1, 3])
XYZ = np.array([[0.1, 2, 3], [4, 5.25, 6], [7, 8, 1 / 3]])
STACKS = iter(range(900_001, 900_100))


@pytest.fixture(scope="module")
def key(recordings):
    """A recording of the units 1, 2, 3 and 4."""
    return recordings.insert(seed=60)


@pytest.fixture
def stack_id(tables):
    """The number of a stack that does not exist; it is deleted afterwards."""
    number = next(STACKS)
    yield number
    for table in (StackUnitCoord, StackRegistration, Stack):
        (table & {"stack_id": number}).delete(prompt=False)


def as_npz(path, units=UNITS, xyz=XYZ):
    np.savez(path, unit_id=units, **dict(zip("xyz", xyz.T, strict=True)))
    return path


def as_csv(path, units=UNITS, xyz=XYZ):
    rows = (f"{u},{x!r},{y!r},{z!r}" for u, (x, y, z) in zip(units, xyz.tolist(), strict=True))
    path.write_text("\n".join(["unit_id,x,y,z", *rows]))
    return path


@pytest.mark.parametrize(("write", "name"), [(as_csv, "units.csv"), (as_npz, "units.npz")])
def test_every_unit_gets_its_own_coordinates_once(write, name, key, stack_id, tmp_path):
    path = write(tmp_path / name)
    assert ingest_stack(path, key, stack_id) is True
    rows = (StackUnitCoord & {"stack_id": stack_id}).to_dicts()
    stored = {r["unit_id"]: (r["stack_x"], r["stack_y"], r["stack_z"]) for r in rows}
    assert stored == dict(zip(UNITS.tolist(), map(tuple, XYZ.tolist()), strict=True))
    assert all(row.items() >= key.items() for row in rows)
    before = row_counts()
    assert ingest_stack(path, key, stack_id) is False
    order = [2, 0, 1]
    other_order = write(tmp_path / f"other-{name}", UNITS[order], XYZ[order])
    assert ingest_stack(other_order, key, stack_id) is False
    assert row_counts() == before


@pytest.mark.parametrize(
    ("units", "xyz"),
    [(UNITS, XYZ + 1e-9), (UNITS[:2], XYZ[:2]), (np.array([4, 1, 2]), XYZ)],
)
def test_other_coordinates_in_the_same_stack_are_refused(units, xyz, key, stack_id, tmp_path):
    ingest_stack(as_npz(tmp_path / "units.npz"), key, stack_id)
    before = row_counts()
    with pytest.raises(BadRecording, match=f"other coordinates in stack {stack_id}"):
        ingest_stack(as_npz(tmp_path / "other.npz", units, xyz), key, stack_id)
    assert row_counts() == before


def test_two_recordings_share_a_stack(key, recordings, stack_id, tmp_path):
    path, other = as_npz(tmp_path / "units.npz"), recordings.insert(seed=61)
    assert ingest_stack(path, key, stack_id)
    assert ingest_stack(path, other, stack_id)
    assert len(StackRegistration & {"stack_id": stack_id}) == 2
    assert len(Stack & {"stack_id": stack_id}) == 1


BAD = {
    "a unit of another recording": (np.array([4, 1, 9]), XYZ, "1 of its units.*first unit 9"),
    "a large number": (np.array([4, 1, 12345678]), XYZ, "first unit 12345678"),
    "half a unit": (np.array([4, 1, 2.5]), XYZ, "first unit 2.5"),
    "a unit twice": (np.array([4, 1, 4]), XYZ, "unit 4 occurs more than once"),
    "no number": (UNITS, XYZ * [1, np.nan, 1], "finite numbers, one per unit"),
    "infinite": (UNITS, XYZ + np.inf, "finite numbers, one per unit"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize(("write", "suffix"), [(as_csv, "csv"), (as_npz, "npz")])
def test_bad_coordinates_are_refused(name, write, suffix, key, stack_id, tmp_path):
    units, xyz, message = BAD[name]
    path = write(tmp_path / f"units.{suffix}", units, xyz)
    before = row_counts()
    with pytest.raises(BadRecording, match=message) as caught:
        ingest_stack(path, key, stack_id)
    assert "\n" not in str(caught.value)
    assert row_counts() == before


def test_a_missing_column_and_a_missing_recording_are_refused(key, stack_id, tmp_path):
    np.savez(tmp_path / "units.npz", unit_id=UNITS, x=XYZ[:, 0], y=XYZ[:, 1])
    with pytest.raises(BadRecording, match="must have the columns unit_id, x, y, z, not"):
        ingest_stack(tmp_path / "units.npz", key, stack_id)
    with pytest.raises(BadRecording, match="ingest it first"):
        ingest_stack(as_npz(tmp_path / "units.npz"), key | {"session": 7}, stack_id)
    with pytest.raises(BadRecording, match="stack_id must be an integer"):
        ingest_stack(as_npz(tmp_path / "units.npz"), key, 2**31)
    assert not Stack & {"stack_id": stack_id}


def test_an_interrupted_ingest_leaves_nothing(key, stack_id, tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    path, before = as_npz(tmp_path / "units.npz"), row_counts()
    with monkeypatch.context() as patch:
        patch.setattr(insert, "insert_in_chunks", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ingest_stack(path, key, stack_id)
    assert row_counts() == before
    assert ingest_stack(path, key, stack_id)


def test_the_command(key, stack_id, tmp_path):
    path = as_csv(tmp_path / "units.csv")
    words = ["ingest", "stack", str(path), "--animal", str(key["animal_id"])]
    words += ["--session", "1", "--scan", "1", "--stack", str(stack_id)]
    first, again = (CliRunner().invoke(app, words) for _ in range(2))
    assert (first.exit_code, first.stdout) == (0, f"coordinates in stack {stack_id} ingested\n")
    assert again.stdout == f"coordinates in stack {stack_id} were already there\n"
    assert len(StackUnitCoord & key & {"stack_id": stack_id}) == 3
