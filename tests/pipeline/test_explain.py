"""What a row comes from is named to the last input, with checksums."""

import json
import shutil
from hashlib import sha256
from io import BytesIO, StringIO
from xml.etree import ElementTree

import datajoint as dj
import numpy as np
import pytest
from miniature import DAY_1, DAY_2, DAY_3, SEEDS, all_tables, recorded_activity
from rich.console import Console
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.explain import LISTED, explain
from pipeline.explanation import NoPicture, as_json, as_tree, direct_parents, write_picture
from pipeline.selection import BadSelection
from schemas.closed_loop import ConfusionMatrix
from schemas.dataset import StaticMultiDataset
from schemas.graph import STEPS, parts
from schemas.mei import MEI, MEIMethod, UnitSelection
from schemas.model import Ensemble, TrainedModel
from schemas.operations import CodeVersion
from schemas.recording import Activity, Condition, Image, Scan, Trial
from schemas.responses import Frame

NOT_IN_THE_MINIATURE = {
    "Eye",
    "Treadmill",
    "RecordedGabor",
    "CodeAnalysis",
    "RateDistortion",
    "CodingExponents",
    "LimenComparison",
    "ContextTest",
    "FreezeExperiment",
    "ContextDecoding",
    "FeedbackControl",
}
COMPUTED = {step.table.__name__: step.table for step in STEPS}


def where(key):
    return [f"{name}={value}" for name, value in key.items()]


def first_key(table):
    return table.keys(order_by="KEY", limit=1)[0]


def explained(table, name=None):
    """Explain the first row of a table, and return its ancestors by table."""
    explanation = explain(name or table.__name__, where(first_key(table)))
    return {ancestor.table: ancestor for ancestor in explanation.ancestors}


@pytest.fixture(scope="module")
def mei(populated):
    """The explanation of the MEI of one unit of the ensemble."""
    key = (MEI.Unit & populated.plan & "mei_status = 'ok'").keys(order_by="KEY", limit=1)[0]
    return explain("MEI.Unit", where(key))


@pytest.fixture(scope="module")
def ancestors(mei):
    """Its ancestors by table."""
    return {ancestor.table: ancestor for ancestor in mei.ancestors}


def test_of_every_computed_table_every_leaf_names_a_checksum(populated):
    filled = [name for name, table in COMPUTED.items() if table()]
    assert set(COMPUTED) - set(filled) <= NOT_IN_THE_MINIATURE
    for name in filled:
        found = _check_leaves(COMPUTED[name], name)
        (row,) = found[name].rows
        assert row.seconds >= 0 and row.started.year > 2000
        # None: made by another test, without a worker
        assert row.software is None or CodeVersion & {"code_hash": row.software}
        assert row.software == row.values.get("code_hash", row.software)


def test_of_every_part_of_a_computed_table_every_leaf_names_a_checksum(populated):
    filled = {
        f"{name}.{part}": of_part
        for name, table in COMPUTED.items()
        for part, of_part in parts(table).items()
        if of_part()
    }
    assert len(filled) >= 30
    for name, part in filled.items():
        assert name.partition(".")[0] in _check_leaves(part, name)


def _check_leaves(table, name):
    found = explained(table, name)
    assert next(iter(found)) == name
    for ancestor in found.values():
        assert set(ancestor.parents) <= found.keys()
        assert ancestor.n_rows == len(ancestor.rows) or ancestor.n_rows > LISTED
        if ancestor.parents:
            continue
        assert not ancestor.computed
        checksums = [row.checksums for row in ancestor.rows] or [{"all": ancestor.checksum}]
        assert all(sums and all(map(is_checksum, sums.values())) for sums in checksums)
    if "code_hash" in table().heading.names:
        assert "CodeVersion" in found
    if "animal_id" in table().heading.names or "n_selected" in table().heading.names:
        assert all(row.checksums["source_sha256"] for row in found["Scan"].rows)
    return found


def is_checksum(text):
    return len(text) in (16, 64) and set(text) <= set("0123456789abcdef")


@pytest.mark.parametrize("table", [MEI, ConfusionMatrix], ids=["MEI", "ConfusionMatrix"])
def test_nothing_that_foreign_keys_lead_to_is_left_out(populated, table):
    owners = {}
    for name, cls in all_tables().items():
        owners[cls.full_table_name] = name.partition(".")[0]
    of_scan = {owners[child] for child in Scan().children()}
    counts = dj.Diagram.trace(table & first_key(table)).counts()
    traced = {owners[name.replace('"', "`")] for name, n in counts.items() if n}
    found = explained(table)
    assert traced - of_scan <= found.keys()
    assert not traced & of_scan or "Scan" in found


def test_an_ensemble_is_explained_by_its_members(ancestors, populated):
    members = TrainedModel & (Ensemble.Member & populated.plan)
    stored = {row["seed"]: row["weights_sha256"] for row in members.proj("weights_sha256")}
    rows = ancestors["TrainedModel"].rows
    assert {row.key["seed"]: row.checksums["weights_sha256"] for row in rows} == stored
    assert sorted(stored) == sorted(SEEDS)
    # of the file, as its row in the database says, and as it is
    for row in rows:
        content = (TrainedModel & row.key).fetch1("weights").read()
        assert row.checksums["weights"] == sha256(content).hexdigest()
    assert sorted(row.key["seed"] for row in ancestors["Seed"].rows) == sorted(SEEDS)


def test_parameters_software_and_people_are_named(ancestors, populated, database):
    (method,) = ancestors["MEIMethod"].rows
    assert method.parameters["mei_params"] == (MEIMethod & method.key).fetch1("mei_params")
    assert method.checksums == method.key
    assert method.inserted_by == dj.conn().conn_info["user"]
    for row in ancestors["CodeVersion"].rows:
        version = (CodeVersion & row.key).fetch1()
        for name in ("torch_version", "numpy_version", "device", "n_threads", "git_commit"):
            assert row.values.get(name) == version[name]
        assert type(row.values.get("git_dirty", False)) is bool
    (job,) = (MEI().jobs.completed & ancestors["MEI"].rows[0].key).to_dicts()
    assert ancestors["MEI"].rows[0].seconds == pytest.approx(job["duration"], abs=0.1)


def test_a_recording_names_its_source_and_its_arrays(ancestors):
    (scan,) = ancestors["Scan"].rows
    assert scan.key == DAY_1
    assert scan.checksums == {"source_sha256": (Scan & DAY_1).fetch1("source_sha256")}
    held = {h.table: h for h in scan.holds}
    assert held["Scan.Unit"].n_rows == len(Scan.Unit & DAY_1)
    assert held["Activity.Block"].n_rows == 1
    digest = (Activity.Block & DAY_1).fetch1("activity_digest")
    assert held["Activity.Block"].checksums["activity_digest"] == digest
    # of the file in the store
    file = BytesIO()
    np.save(file, recorded_activity(DAY_1))
    assert held["Activity.Block"].checksums["activity"] == sha256(file.getvalue()).hexdigest()
    assert held["Trial"].n_rows == len(Trial & DAY_1)
    assert "StaticScan" not in held


def test_many_rows_are_one_checksum(ancestors):
    images = ancestors["Image"]
    shown = Image & (Trial * Condition & DAY_1).proj("image_class", "image_id")
    assert not images.rows and images.n_rows == len(shown) > LISTED
    sums = shown.to_arrays("image_sha256", order_by="image_class, image_id")
    assert images.checksum == sha256("\n".join(sums).encode()).hexdigest()


def test_all_recordings_of_a_closed_loop_are_named(populated):
    found = explained(ConfusionMatrix)
    days = [tuple(row.key.values()) for row in found["Scan"].rows]
    (day,) = {tuple(d.values()) for d in (DAY_2, DAY_3)} & set(days)
    assert set(days) == {tuple(DAY_1.values()), day}
    assert "MEI" in found and "StimulusSet" in found


def test_a_group_of_recordings_is_explained_by_them(populated):
    found = explained(StaticMultiDataset)
    assert found["StaticMultiDataset"].rows[0].checksums.keys() == {"group_digest"}
    assert found["StaticScan"].parents == ("Preprocessing", "Scan")


def test_one_row_must_match(populated):
    with pytest.raises(BadSelection, match=r"several rows of TrainedModel match: .*seed"):
        explain("TrainedModel", where(populated.training_set))
    with pytest.raises(BadSelection, match="no row of Scan fulfils animal_id=77"):
        explain("Scan", ["animal_id=77"])
    with pytest.raises(BadSelection, match="MEI has no part 'Units'; it has Unit, Start"):
        explain("MEI.Units", [])


def test_every_computed_row_names_its_software(mei, ancestors):
    console = Console(width=400, record=True, file=StringIO())
    console.print(as_tree(mei))
    computed = [line for line in console.export_text().splitlines() if "computed 20" in line]
    rows = [row for a in ancestors.values() for row in a.rows if row.started is not None]
    noted = [row.software for row in rows if "code_hash" not in row.values]
    assert len(computed) == len(rows)
    assert noted
    for software in {row.software for row in rows}:
        assert CodeVersion & {"code_hash": software}
        assert sum(f", software {software}" in line for line in computed) == noted.count(software)


def test_the_text_names_every_ancestor_once(mei, ancestors):
    console = Console(width=400, record=True, file=StringIO())
    console.print(as_tree(mei))
    text = console.export_text()
    for name, ancestor in ancestors.items():
        titles = [line for line in text.splitlines() if line.strip("│├└─ ").split(" ")[0] == name]
        assert len(titles) >= 1
        for row in ancestor.rows:
            for checksum in row.checksums.values():
                assert checksum in text
    assert (Scan & DAY_1).fetch1("source_sha256") in text


def test_programs_get_it_as_json(populated):
    key = first_key(UnitSelection)
    words = ["explain", "UnitSelection", "--json"]
    result = CliRunner().invoke(app, words + [w for c in where(key) for w in ("--where", c)])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["key"] == key
    tables = {ancestor["table"]: ancestor for ancestor in document["ancestors"]}
    source = (Scan & DAY_1).fetch1("source_sha256")
    assert tables["Scan"]["rows"][0]["checksums"]["source_sha256"] == source


def test_only_direct_parents_are_drawn(mei):
    direct = direct_parents(mei)
    assert "Scan" in direct["StaticScan"]
    assert direct["Frame"] == ["StaticScan"] or set(direct["Frame"]) == {"Condition", "StaticScan"}
    assert "TrainingSet" not in direct["Ensemble"]


def test_the_picture_shows_every_table(mei, ancestors, tmp_path):
    file = tmp_path / "mei.svg"
    if not shutil.which("dot"):
        with pytest.raises(NoPicture, match="apt install graphviz"):
            write_picture(mei, file)
        return
    write_picture(mei, file)
    texts = {e.text.split(" ")[0] for e in ElementTree.parse(file).iter() if e.tag.endswith("text")}
    assert ancestors.keys() <= texts


def test_without_graphviz_or_a_folder_there_is_one_clear_error(mei, tmp_path, monkeypatch):
    never_drawn = explain("Frame", where(first_key(Frame)))
    with pytest.raises(NoPicture, match="a folder that exists"):
        write_picture(mei, tmp_path / "nowhere" / "mei.svg")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoPicture, match="apt install graphviz"):
        write_picture(never_drawn, tmp_path / "frame.svg")
    assert not list(tmp_path.iterdir())


def test_the_row_of_a_manual_table_is_explained_too(populated):
    (node, *_) = explain("Frame", where(first_key(Frame))).ancestors
    assert json.loads(as_json(explain("Scan", where(DAY_1))))["table"] == "Scan"
    digest = (Frame & node.rows[0].key).fetch1("frames_digest")
    assert node.rows[0].checksums["frames_digest"] == digest
