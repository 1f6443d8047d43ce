"""A slice of the graph: every row as DataJoint fetches it, whole, verified, or not there at all."""

import hashlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path

import datajoint as dj
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from miniature import DAY_1
from safetensors.numpy import load_file
from typer.testing import CliRunner

from pipeline.accounts import Role, open_accounts
from pipeline.address import address
from pipeline.ancestry import ancestry_of_all, belongings, name_of
from pipeline.cli import app
from pipeline.connection import driver_connection
from pipeline.export import rows as rows_module
from pipeline.export import tables as tables_module
from pipeline.export.columns import arrow_schema
from pipeline.export.draft import CannotExport
from pipeline.export.slice import export_slice
from pipeline.exported import BadSlice, read_slice, verify_slice
from pipeline.settings import Settings
from schemas.graph import tables as all_tables
from schemas.mei import MEI
from schemas.model import Ensemble, TrainedModel
from schemas.recording import ExcludedTrial, MonitorCalibration, Scan, Trial
from schemas.store import DamagedObject

TABLES = all_tables()


def call(*words):
    return CliRunner().invoke(app, ["export", *map(str, words)])


def refused(*words):
    """Return the one line of an error."""
    result = call(*words)
    assert (result.exit_code, result.stdout) == (1, ""), result.output
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: ")
    return line


@pytest.fixture(scope="module")
def loop(populated, tmp_path_factory):
    """What the closed loop is, from recordings to tests."""
    folder = tmp_path_factory.mktemp("export") / "loop"
    export_slice("DiagonalTest", [], folder)
    return folder


@pytest.fixture(scope="module")
def one_unit(populated, tmp_path_factory):
    """A unit's MEI, of the ensemble with everything downstream; its folder and key."""
    keys = (MEI.Unit & populated.plan & "mei_status = 'ok'").keys(order_by="KEY")
    folder = tmp_path_factory.mktemp("export") / "unit"
    export_slice("MEI.Unit", [f"{name}={value}" for name, value in keys[1].items()], folder)
    return folder, keys[1]


@pytest.fixture
def changed(one_unit, tmp_path):
    """A copy of that slice to do harm to."""
    return Path(shutil.copytree(one_unit[0], tmp_path / "copy"))


# --- what is in it


@pytest.mark.parametrize("name", ["loop", "rats", "one_unit"])
def test_every_row_is_what_datajoint_fetches(populated, one_unit, loop, tmp_path, name):
    folder = {"loop": loop, "one_unit": one_unit[0], "rats": tmp_path / "rats"}[name]
    if name == "rats":
        export_slice("NeuralFit", [], folder)
    frames = read_slice(folder)
    assert all(len(frame) for frame in frames.values())
    for table, frame in frames.items():
        own = TABLES[table]
        fetched = {tuple(r[a] for a in own.primary_key): r for r in own().to_dicts()}
        assert list(frame.columns) != [] and set(frame.columns) == set(own().heading.names)
        for row in frame.to_dict("records"):
            expected = fetched[tuple(row[a] for a in own.primary_key)]
            assert all(same(row[a], expected[a], folder) for a in own().heading.names), row


def same(found, fetched, folder):
    """Whether a value is what DataJoint fetches: an array, a file, a document or a scalar."""
    if fetched is None:
        return found is None or pd.isna(found)
    if isinstance(fetched, dj.builtin_codecs.NpyRef):
        return identical(np.load(folder / found, allow_pickle=False), fetched.load())
    if hasattr(fetched, "read"):
        return (folder / found).read_bytes() == fetched.read()
    if isinstance(fetched, np.ndarray):
        return identical(found, fetched)
    if isinstance(fetched, dict | list):
        return json.loads(found) == fetched
    return (type(found) is not float and found == fetched) or found == float(fetched)


def identical(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b, equal_nan=True)


def test_a_slice_of_one_unit_is_its_ancestry_and_no_more(populated, one_unit):
    folder, key = one_unit
    frames = read_slice(folder)
    found = ancestry_of_all(MEI.Unit, [tuple(key[a] for a in MEI.Unit.primary_key)]).keys
    expected = {
        name_of(table): {tuple(k.values()) for k in (table & owned).keys()}  # noqa: SIM118
        for owner, keys in found.items()
        for owned in [[dict(zip(owner.primary_key, k, strict=True)) for k in keys]]
        for table in (owner, *belongings(owner))
        if table.__name__ not in ("Unit", "Start") or table.master is not MEI
    }
    expected |= {"MEI.Unit": {tuple(key.values())}}
    expected |= {"MEI.Start": {tuple(k.values()) for k in (MEI.Start & key).keys()}}  # noqa: SIM118
    assert {
        name: set(frame[list(TABLES[name].primary_key)].itertuples(index=False, name=None))
        for name, frame in frames.items()
    } == {name: keys for name, keys in expected.items() if keys}


def test_what_the_unit_does_not_come_from_is_not_there(populated, one_unit):
    """Counted by hand, without the walk through the foreign keys."""
    folder, key = one_unit
    frames = read_slice(folder)
    assert len(MEI.Unit & key) == 1 < len(MEI.Unit())
    assert frames["MEI.Unit"]["unit_index"].tolist() == [key["unit_index"]]
    assert len(frames["MEI.Start"]) == len(MEI.Start & key) == 2
    seeds = (Ensemble.Member & populated.plan).to_arrays("seed")
    assert sorted(frames["TrainedModel"]["seed"]) == sorted(seeds)
    assert len(frames["TrainedModel"]) < len(TrainedModel())
    assert frames["Scan"][list(DAY_1)].to_dict("records") == [DAY_1]
    assert len(frames["Trial"]) == len(Trial & DAY_1)
    assert len(frames["CodeVersion"]) >= 1
    assert {"ModelConfig", "TrainConfig", "SplitConfig", "MEIMethod"} <= set(frames)
    assert not {"MEIMask", "StimulusSet", "ConfusionMatrix", "AnimalRateMap"} & set(frames)


def test_siblings_of_a_part_come_with_it_unless_they_depend_on_others(populated, tmp_path):
    """A diagonal entry is nothing without the recordings that its matrix was made of."""
    from schemas.closed_loop import ConfusionMatrix

    (key, *others) = ConfusionMatrix.Diagonal.keys(order_by="KEY")
    where = [f"{name}={value}" for name, value in key.items()]
    export_slice("ConfusionMatrix.Diagonal", where, tmp_path / "a")
    frames = read_slice(tmp_path / "a")
    assert others
    assert len(frames["ConfusionMatrix.Diagonal"]) == len(frames["ConfusionMatrix"]) == 1
    pooled = ConfusionMatrix.Recording & {a: key[a] for a in ConfusionMatrix.primary_key}
    assert len(frames["ConfusionMatrix.Recording"]) == len(pooled) > 0
    assert len(frames["Scan"]) >= 2


def test_what_was_recorded_comes_with_its_recording(populated, tmp_path):
    export_slice(
        "Scan.Unit", [f"{n}={v}" for n, v in DAY_1.items()] + ["unit_id=1"], tmp_path / "a"
    )
    frames = read_slice(tmp_path / "a")
    assert len(frames["Scan.Unit"]) == len(Scan.Unit & DAY_1) > 1
    assert len(frames["Scan"]) == len(frames["Activity"]) == 1


def test_columns_have_their_types(loop):
    def types(name):
        schema = pq.read_schema(loop / f"{name}.parquet")
        return {field.name: str(field.type) for field in schema}

    scan, unit = types("Scan"), types("MEI.Unit")
    assert (scan["animal_id"], scan["scan_idx"], scan["reader"]) == ("int64", "int16", "string")
    assert (scan["ingested_at"], scan["source_size"]) == ("timestamp[us]", "int64")
    assert (unit["monotonic"], unit["mei_activation"]) == ("bool", "double")
    assert (unit["mei"], unit["mei_shape"]) == ("list<element: float>", "list<element: int64>")
    assert types("Image")["image"] == "list<element: uint8>"
    assert types("Frame")["frames"] == types("Condition")["stimulus_params"] == "string"


def test_every_column_of_every_table_has_a_type(populated):
    for table in TABLES.values():
        assert arrow_schema(dict(table().heading.attributes), {}).names


def test_large_arrays_are_called_by_their_checksum(loop):
    files = list((loop / "arrays").iterdir())
    assert {file.suffix for file in files} == {".npy", ".safetensors"}
    for file in files:
        assert hashlib.sha256(file.read_bytes()).hexdigest() == file.stem
    weights = read_slice(loop)["TrainedModel"]
    for path, digest in zip(weights["weights"], weights["weights_sha256"], strict=True):
        assert load_file(loop / path)
        assert Path(path).stem == digest


def test_the_manifest_describes_it(one_unit):
    folder, key = one_unit
    manifest = json.loads((folder / "manifest.json").read_text())
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert set(manifest["files"]) | {"manifest.json"} == files
    assert manifest["restriction"]["table"] == "MEI.Unit"
    assert f"unit_index={key['unit_index']}" in manifest["restriction"]["where"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", manifest["made_at"])
    assert manifest["made_by"] == dj.conn().conn_info["user"]
    assert re.fullmatch(r"[0-9a-f]{40}", manifest["software"]["git_commit"])
    entry = manifest["tables"]["MEI.Unit"]
    assert (entry["rows"], entry["primary_key"]) == (1, list(MEI.Unit.primary_key))
    assert {f["parent"] for f in entry["foreign_keys"]} == {"MEI", "UnitSelection.Unit"}
    assert "-> UnitSelection.Unit" in entry["definition"]
    assert entry["columns"]["mei"]["kind"] == "array"
    assert entry["columns"]["mei"]["comment"] == "float32, (h, w), grey values 0-255"
    assert manifest["tables"]["Scan"]["comment"] == "One recording of one animal"


def test_the_readme_can_be_followed(one_unit, monkeypatch):
    folder, key = one_unit
    text = (folder / "README.txt").read_text()
    monkeypatch.chdir(folder)
    names = {}
    exec("\n".join(re.findall(r"^    (\S.*)", text, re.M)), names)
    assert names["rows"]["unit_index"].tolist() == [key["unit_index"]]
    assert isinstance(names["array"], np.ndarray)
    assert set(names["tables"]) == set(read_slice(folder))


def test_twice_the_same_but_for_the_time(populated, one_unit, tmp_path):
    folder, key = one_unit
    export_slice("MEI.Unit", [f"{n}={v}" for n, v in key.items()], tmp_path / "again")
    for file in folder.rglob("*"):
        again = tmp_path / "again" / file.relative_to(folder)
        if file.name == "manifest.json":
            first, second = (json.loads(f.read_text()) for f in (file, again))
            assert first | {"made_at": 0} == second | {"made_at": 0}
        elif file.is_file():
            assert file.read_bytes() == again.read_bytes()


def test_rows_in_small_batches_are_the_same(populated, one_unit, tmp_path, monkeypatch):
    folder, key = one_unit
    monkeypatch.setattr(tables_module, "ROWS_AT_ONCE", 7)
    monkeypatch.setattr(tables_module, "BYTES_AT_ONCE", 1000)
    monkeypatch.setattr(rows_module, "KEYS_AT_ONCE", 11)
    export_slice("MEI.Unit", [f"{n}={v}" for n, v in key.items()], tmp_path / "a")
    assert pq.ParquetFile(tmp_path / "a" / "Trial.parquet").num_row_groups > 10
    assert pq.ParquetFile(tmp_path / "a" / "Image.parquet").num_row_groups > 10
    again = read_slice(tmp_path / "a")
    for name, frame in read_slice(folder).items():
        pd.testing.assert_frame_equal(frame, again[name])


class _Calibrations:
    """Stands for rows whose arrays are none, narrow, empty and wide, in this order."""

    table = MonitorCalibration
    arrays = (np.array([1, 2], "f4"), np.zeros((0, 3), "f4"), np.array([0.1, np.nan]))

    def read(self, columns):
        for i, array in enumerate(self.arrays):
            row = {
                "rig": "r",
                "calibrated_at": pd.Timestamp(f"2026-01-0{i + 1}"),
                "luminance": None,
            }
            row["pixel_value"] = dj.blob.pack(array)
            yield tuple(row[name] for name in columns)


def test_a_wider_type_later_loses_nothing(tables, tmp_path, monkeypatch):
    monkeypatch.setattr(tables_module, "ROWS_AT_ONCE", 1)
    entry = tables_module.write_table(_Calibrations(), tmp_path)
    table = pq.read_table(tmp_path / "MonitorCalibration.parquet").to_pydict()
    assert entry.columns["pixel_value"].type == "double"
    assert table["pixel_value"][:2] == [[1.0, 2.0], []]
    assert table["pixel_value_shape"] == [[2], [0, 3], [2]]
    assert table["pixel_value"][2][0] == 0.1 and np.isnan(table["pixel_value"][2][1])
    assert table["luminance"] == [None, None, None]


def test_it_shows_one_moment(populated, one_unit, tmp_path, monkeypatch):
    """What another account inserts meanwhile is not in it, though its table is read later."""
    _, key = one_unit
    trial = (Trial & DAY_1).keys(limit=1)[0]
    write, other = tables_module.write_table, driver_connection(address(Settings()))

    def insert_and_write(rows, folder):
        columns = ", ".join(trial)
        other.cursor().execute(
            f"INSERT IGNORE INTO {ExcludedTrial.full_table_name} ({columns}, exclusion_comment) "
            "VALUES (%s, %s, %s, %s, 'meanwhile')",
            tuple(trial.values()),
        )
        other.commit()
        return write(rows, folder)

    monkeypatch.setattr("pipeline.export.slice.write_table", insert_and_write)
    with closing(other):
        try:
            export_slice("MEI.Unit", [f"{n}={v}" for n, v in key.items()], tmp_path / "a")
            assert len(ExcludedTrial & trial) == 1
        finally:
            (ExcludedTrial & trial).delete(prompt=False)
    assert "ExcludedTrial" not in read_slice(tmp_path / "a")


# --- whole, or found out


def test_a_slice_is_whole(loop, one_unit, monkeypatch):
    monkeypatch.setattr(dj, "conn", None)  # there is no database
    assert verify_slice(loop) == []
    result = call("check", one_unit[0])
    assert (result.exit_code, "every reference is there" in result.stdout) == (0, True)


def test_one_changed_byte_is_found(changed):
    """In a file of every kind; and every other file is what it was."""
    patterns = ("arrays/*.npy", "arrays/*.safetensors", "Image.parquet", "README.txt")
    files = [sorted(changed.glob(pattern))[0] for pattern in patterns]
    for file in files:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    problems = verify_slice(changed)
    assert all("is damaged" in problem for problem in problems)
    found = {problem.partition(" ")[0] for problem in problems}
    assert found == {file.relative_to(changed).as_posix() for file in files}
    assert len(problems) == len(files)


def test_a_missing_file_is_found(changed):
    (changed / "Seed.parquet").unlink()
    (changed / "Scan.parquet").write_bytes(b"")
    result = call("check", changed)
    assert result.exit_code == 1
    first, second, last = result.stdout.splitlines()
    assert first.startswith("Scan.parquet has 0 bytes instead of")
    assert (second, last[-11:]) == ("Seed.parquet is missing", "problems: 2")
    with pytest.raises(BadSlice, match=r"Scan\.parquet"):
        read_slice(changed)


def rewrite(folder, name, change):
    """Replace a table and its checksum, as somebody would who edits a slice."""
    file, manifest = folder / f"{name}.parquet", json.loads((folder / "manifest.json").read_text())
    table = change(pq.read_table(file))
    pq.write_table(table, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    manifest["files"][file.name] = {"bytes": file.stat().st_size, "sha256": digest}
    manifest["tables"][name]["rows"] = len(table)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_a_row_that_others_refer_to_is_missed(changed):
    """The first rows of three tables, and of a part the row whose MEI this is."""
    index = read_slice(changed)["MEI.Unit"]["unit_index"][0]
    for name in ("Image", "Rig", "Seed"):
        rewrite(changed, name, lambda table: table[1:])
    others = pa.compute.field("unit_index") != index
    rewrite(changed, "UnitSelection.Unit", lambda table: table.filter(others))
    found = re.compile(r"(\S+) refers to 1 rows of (\S+) that are missing: \((.*)\)")
    assert {found.fullmatch(problem).group(1, 2) for problem in verify_slice(changed)} == {
        ("Condition", "Image"),
        ("Scan", "Rig"),
        ("SeedSet.Member", "Seed"),
        ("TrainedModel", "Seed"),
        ("MEI.Unit", "UnitSelection.Unit"),
    }


def test_a_row_that_is_there_twice_is_found(changed):
    rewrite(changed, "Seed", lambda table: pa.concat_tables([table, table[:1]]))
    assert verify_slice(changed) == ["Seed has rows with the same key"]


def test_a_file_that_only_a_row_knows_is_found(changed):
    def rename(table):
        at = table.column_names.index("frames")
        return table.set_column(at, "frames", pa.array(["arrays/nothing.npy"]))

    rewrite(changed, "Frame", rename)
    (problem,) = verify_slice(changed)
    assert "Frame.frames names files that are not there: arrays/nothing.npy" in problem


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"README.txt": {', '"../README.txt": {'),
        ('"README.txt": {', '"/etc/passwd": {'),
        ('"Seed": {', '"../Seed": {'),
        ('"format_version": 1', '"format_version": 2'),
        ('"made_by"', '"more": 1, "made_by"'),
        ("{", ""),
    ],
)
def test_a_hostile_or_damaged_manifest_is_refused(changed, old, new):
    file = changed / "manifest.json"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    for read in (read_slice, verify_slice):
        with pytest.raises(BadSlice, match="manifest"):
            read(changed)
    assert "manifest" in refused("check", changed)


def test_a_link_out_of_the_folder_is_no_file_of_it(changed):
    file = changed / "README.txt"
    file.rename(changed.parent / "elsewhere")
    file.symlink_to(changed.parent / "elsewhere")
    assert verify_slice(changed) == ["README.txt is missing"]


@pytest.mark.parametrize("name", ["nowhere", ".", "README.txt"])
def test_what_is_no_slice_is_one_clear_line(tmp_path, name):
    (tmp_path / "README.txt").touch()
    assert "is no slice" in refused("check", tmp_path / name)


# --- wholly or not at all


def nothing_in(folder):
    return not list(folder.iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("Nothing",), "there is no table 'Nothing'"),
        (("MEI.Nothing",), "has no part"),
        (("Scan", "--where", "animal_id=one"), "is a number"),
        (("Scan", "--where", "animal_id=999999"), "no row of Scan fulfils animal_id=999999"),
        (("Scan", "--where", "name=1' OR '1'='1"), "is not attribute=value"),
        (("Scan", "--where", "reader=x' OR '1'='1"), "no row of Scan"),
    ],
)
def test_rows_that_are_not_well_described(populated, tmp_path, words, said):
    assert said in refused("slice", *words, "--to", tmp_path / "a")
    assert nothing_in(tmp_path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("there", "is there already"),
        ("empty", "is there already"),
        ("dangling", "is there already"),
        ("file/a", "no folder"),
        ("no/a", "no folder"),
        ("n" * 300, "too long"),
        (".", "is there already"),
    ],
)
def test_hostile_names(populated, tmp_path, name, said):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine").write_text("mine")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    before = sorted(tmp_path.rglob("*"))
    assert said in refused("slice", "Seed", "--to", f"{tmp_path}/{name}")
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "there" / "mine").read_text() == "mine"


@pytest.mark.parametrize("name", ["-a b", "a'b\"c", "ünï\n", "$(x)", "%s{0}", "b\udcff"])
def test_strange_names_are_names(populated, tmp_path, name):
    result = call("slice", "Seed", "--to", f"{tmp_path}/{name}")
    assert result.exit_code == 0, result.output
    assert [os.fsdecode(p.name) for p in tmp_path.iterdir()] == [name]
    assert verify_slice(tmp_path / name) == []


def raise_interrupt(*_):
    raise KeyboardInterrupt


def send_sigterm(*_):
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("interrupt", [raise_interrupt, send_sigterm])
@pytest.mark.parametrize("at", ["slice._manifest", "tables.decoded", "tables._copied"])
def test_an_interruption_leaves_nothing(populated, tmp_path, monkeypatch, at, interrupt):
    monkeypatch.setattr(f"pipeline.export.{at}", interrupt)
    result = call("slice", "MEI", "--to", tmp_path / "a")
    assert result.exit_code in (1, 130, 143)
    assert nothing_in(tmp_path)
    assert not dj.conn().in_transaction
    assert len(Scan & DAY_1) == 1  # the connection is as it was


def test_a_folder_that_appears_meanwhile_stays_what_it_is(populated, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.export.slice._readme", lambda *_: (tmp_path / "a").mkdir() or "")
    with pytest.raises(CannotExport, match="there already"):
        export_slice("Seed", [], tmp_path / "a")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert nothing_in(tmp_path / "a")


@contextmanager
def full_at(n_bytes):
    """No file can be larger: the same error of the system at the same calls as a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("n_bytes", [10, 3_000, 30_000])
def test_a_full_disk_is_one_clear_line(populated, tmp_path, n_bytes):
    with full_at(n_bytes):
        line = refused("slice", "MEI", "--to", tmp_path / "a")
    assert "cannot be written" in line and "make space" in line
    assert nothing_in(tmp_path)


def test_a_damaged_object_is_told_and_not_exported(populated, tmp_path):
    reference = (TrainedModel & populated.plan).to_arrays("weights")[0]
    file = Path(reference._backend._full_path(reference.path))
    content = file.read_bytes()
    try:
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(DamagedObject, match="TrainedModel"):
            export_slice("MEI", [], tmp_path / "a")
    finally:
        file.write_bytes(content)
    assert nothing_in(tmp_path)


def test_a_reader_may_export(populated, tmp_path):
    target = address(Settings())
    with open_accounts() as accounts:
        made = accounts.add("takes", Role.READER)
    try:
        environment = os.environ | {
            "DJ_HOST": target.host,
            "DJ_PORT": str(target.port),
            "DJ_USER": "takes",
            "DJ_PASS": made.password_file.read_text().strip(),
        }
        words = ["export", "slice", "TrainedModel", "--where", "seed=3", "--to", tmp_path / "a"]
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.cli", *words],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        with open_accounts() as accounts:
            accounts.remove("takes")
    assert done.returncode == 0, done.stderr
    assert verify_slice(tmp_path / "a") == []
    assert json.loads((tmp_path / "a" / "manifest.json").read_text())["made_by"] == "takes"


def test_without_pyarrow_it_says_what_installs_it(tables, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for name in [n for n in sys.modules if n.startswith(("pipeline.export.", "pipeline.exported"))]:
        monkeypatch.delitem(sys.modules, name)
    for words in (("slice", "Seed", "--to", tmp_path / "a"), ("check", tmp_path)):
        assert "pip install 'inceptionloop[parquet]'" in refused(*words)
