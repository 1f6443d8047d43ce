"""Rows come out again as they are stored; what was tampered with is named."""

import json
from contextlib import contextmanager
from pathlib import Path

import datajoint as dj
import numpy as np
import pytest
import torch
from table_digests import table_digests
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.deviation import TOLERANCE, deviation, differing_columns
from pipeline.selection import BadSelection
from pipeline.settings import Settings
from pipeline.verify import Sampling, verify_row, verify_tables
from schemas.dataset import TargetDataset
from schemas.graph import STEPS
from schemas.mei import MEI, MEIMask
from schemas.model import TrainedModel, TrainingCheckpoint
from schemas.operations import CodeVersion
from schemas.reliability import Oracle, OracleRankedUnit
from schemas.responses import Frame, InputResponse
from schemas.store import DamagedObject

COMPUTED = {step.table.__name__: step.table for step in STEPS}


def first_key(table):
    return table.keys(order_by="KEY", limit=1)[0]


@contextmanager
def undone():
    """Undo what is changed in the database."""
    dj.conn().start_transaction()
    try:
        yield dj.conn().query
    finally:
        dj.conn().cancel_transaction()


@contextmanager
def one_byte_changed(table, column, key):
    """Change the last byte of an object in the store."""
    sql = f"SELECT {column} FROM {table().full_table_name}{(table & key).where_clause()}"
    ((stored,),) = dj.conn().query(sql).fetchall()
    stored = json.loads(stored)
    path = Path(dj.config.get_store_spec(stored["store"])["location"], stored["path"])
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    try:
        yield
    finally:
        path.write_bytes(content)


def test_every_computed_table_comes_out_again_and_nothing_is_inserted(populated):
    prefix = Settings().prefix
    before = table_digests(dj.conn().query, prefix)
    checked = list(verify_tables([], Sampling(1)))
    assert [c.described() for c in checked if not c.equal] == []
    assert {c.table for c in checked} == {name for name, table in COMPUTED.items() if table()}
    assert all(c.exact for c in checked)
    assert table_digests(dj.conn().query, prefix) == before


def test_a_number_that_was_changed_is_named(populated):
    key = first_key(MEI & populated.plan)
    unit = (MEI.Unit & key & "mei_status = 'ok'").keys(order_by="KEY", limit=1)[0]
    with undone() as query:
        name, rows = MEI.Unit().full_table_name, (MEI.Unit & unit).where_clause()
        query(f"UPDATE {name} SET mei_activation = mei_activation * (1 + 1e-12){rows}")
        checked = verify_row(MEI, key)
    (difference,) = checked.differences
    assert difference.startswith(f"MEI.Unit (unit_index={unit['unit_index']}): mei_activation ")
    assert "differs by 1.0e-12 of it" in difference
    assert verify_row(MEI, key).equal


def test_a_byte_that_was_changed_in_the_store_is_told_by_verify_and_by_reading(populated):
    key = first_key(Frame)
    with one_byte_changed(Frame, "frames", key):
        (difference,) = verify_row(Frame, key).differences
        with pytest.raises(DamagedObject) as told:
            np.asarray((Frame & key).fetch1("frames"))
        result = CliRunner().invoke(app, ["verify", "Frame", "TargetDataset", "--sample", "99"])
        checked = CliRunner().invoke(app, ["store", "check", "--table", "Frame"])
    named = ", ".join(f"{name}={value}" for name, value in key.items())
    damaged = f"the object of Frame ({named}) is damaged: "
    assert str(told.value).startswith(damaged) and "frames" in str(told.value)
    assert difference == f"Frame: frames cannot be read: {told.value}"
    assert result.exit_code == 1
    assert "1 differ from what is stored" in " ".join(result.output.split())
    assert checked.exit_code == 1
    assert damaged in " ".join(checked.output.split())
    assert verify_row(Frame, key).equal


def test_what_is_computed_from_a_damaged_object_cannot_be_computed_again(populated):
    key = (Oracle & populated.training_set).keys(order_by="KEY", limit=1)[0]
    (scan,) = (TargetDataset.Member & key).proj(*Frame.primary_key).to_dicts()
    frame = {name: scan[name] for name in Frame.primary_key}
    block = (InputResponse.ResponseBlock & frame).keys(order_by="KEY", limit=1)[0]
    with one_byte_changed(InputResponse.ResponseBlock, "responses", block):
        checked = list(verify_tables(["Oracle"], Sampling(99)))
    (bad,) = [c for c in checked if not c.equal]
    assert bad.key == key
    (difference,) = bad.differences
    assert difference.startswith(
        "cannot be computed again: the object of InputResponse.ResponseBlock (animal_id="
    )
    assert "is damaged" in difference


def test_a_byte_of_an_array_in_a_row_that_was_changed_is_told(populated):
    key = first_key(MEI & populated.plan)
    unit = (MEI.Unit & key & "mei_status = 'ok'").keys(order_by="KEY", limit=1)[0]
    name, rows = MEI.Unit().full_table_name, (MEI.Unit & unit).where_clause()
    with undone() as query:
        ((blob,),) = query(f"SELECT mei FROM {name}{rows}").fetchall()
        changed = blob[:-1] + bytes([blob[-1] ^ 1])
        query(f"UPDATE {name} SET mei = %s{rows}", (changed,))
        (difference,) = verify_row(MEI, key).differences
        (of_mask,) = verify_row(MEIMask, first_key(MEIMask & key)).differences
    assert difference.startswith(f"MEI.Unit (unit_index={unit['unit_index']}): mei cannot be read")
    assert of_mask.startswith("cannot be computed again: an array that it comes from is damaged")
    assert verify_row(MEI, key).equal


def test_weights_that_were_changed_are_told(populated):
    key = first_key(TrainedModel & populated.plan)
    with one_byte_changed(TrainedModel, "weights", key):
        (difference,) = verify_row(TrainedModel, key).differences
    assert "weights" in difference and "is damaged" in difference


def test_inputs_that_were_changed_are_told(populated):
    key = first_key(InputResponse)
    with one_byte_changed(InputResponse.ResponseBlock, "responses", key):
        (difference,) = verify_row(InputResponse, key).differences
    assert "InputResponse.ResponseBlock (response_block=0): responses" in difference


def test_rows_that_are_missing_or_too_many_are_told(populated):
    key = first_key(OracleRankedUnit)
    unit = OracleRankedUnit.Unit & key & "oracle_rank = 1"
    index = unit.fetch1("unit_index")
    with undone() as query:
        name = OracleRankedUnit.Unit().full_table_name
        query(f"DELETE FROM {name}{unit.where_clause()}")
        missing = verify_row(OracleRankedUnit, key).differences
    assert len(missing) == 1 and f"unit_index={index}" in missing[0]
    assert missing[0].endswith("is not stored")
    key = first_key(TrainedModel & populated.plan)
    epoch = (TrainedModel.Epoch & key).to_dicts(limit=1)[0] | {"epoch": 99}
    with undone():
        TrainedModel.Epoch.insert1(epoch)
        (extra,) = verify_row(TrainedModel, key).differences
    assert "epoch=99" in extra and extra.endswith("does not come out again")


def test_a_checkpoint_is_neither_used_nor_left(populated):
    key = first_key(TrainedModel & populated.plan)
    code = (TrainedModel & key).proj("code_hash").fetch1()
    TrainingCheckpoint.insert1(
        key | {"code_hash": code["code_hash"], "piece": 0, "piece_bytes": b"not a state"}
    )
    assert verify_row(TrainedModel, key).equal
    assert not TrainingCheckpoint & key


def test_another_machine_is_compared_to_a_tolerance(populated):
    key, n_threads = first_key(TrainedModel & populated.plan), torch.get_num_threads()
    code = CodeVersion & (TrainedModel & key).proj("code_hash")
    model, rows = TrainedModel().full_table_name, (TrainedModel & key).where_clause()
    with undone() as query:
        version = CodeVersion().full_table_name
        query(f"UPDATE {version} SET n_threads = {n_threads + 1}{code.where_clause()}")
        assert verify_row(TrainedModel, key).exact  # with as many threads as then
        query(f"UPDATE {version} SET device = 'a GPU'{code.where_clause()}")
        query(f"UPDATE {model} SET validation_score = validation_score * (1 + 1e-6){rows}")
        checked = verify_row(TrainedModel, key)
        assert checked.equal and not checked.exact
        query(f"UPDATE {model} SET validation_score = validation_score * 1.01{rows}")
        (difference,) = verify_row(TrainedModel, key).differences
        assert "validation_score differs by 9.9e-03 of it" in difference
    assert torch.get_num_threads() == n_threads


def test_the_draw_depends_on_its_seed_only(populated):
    def drawn(seed):
        return [c.key for c in verify_tables(["Oracle", "TargetDataset"], Sampling(1, seed))]

    assert drawn(0) == drawn(0)
    assert any(drawn(seed) != drawn(0) for seed in range(1, 9)) or len(Oracle()) == 1


def test_what_is_not_computed_is_refused(tables):
    with pytest.raises(BadSelection, match="Scan is not computed; computed are Frame"):
        list(verify_tables(["Scan"], Sampling()))
    with pytest.raises(BadSelection, match="there is no table 'Nothing'"):
        list(verify_tables(["Nothing"], Sampling()))


def test_the_command_says_that_all_is_equal(populated):
    result = CliRunner().invoke(app, ["verify", "Frame", "Oracle"])
    assert result.exit_code == 0, result.output
    assert "2 rows computed again: none differ" in " ".join(result.output.split())


# --- deviations


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (1.0, 1.0, 0),
        (1.0, 1.01, 0.01 / 1.01),
        (0.0, 0.0, 0),
        (0, 1.0, 1),
        (1, 2, np.inf),
        (None, 1.0, np.inf),
        (float("nan"), float("nan"), 0),
        (float("nan"), 1.0, np.inf),
        ("a", "a", 0),
        ("a", "b", np.inf),
        ([1.0, 2.0], (1.0, 2.0), 0),
        ([1.0], [1.0, 2.0], np.inf),
        ({"a": [1.0]}, {"a": [2.0]}, 0.5),
        ({"a": 1.0}, {"b": 1.0}, np.inf),
        (np.array([1.0, np.nan]), np.array([1.0, np.nan]), 0),
        (np.array([1.0, np.nan]), np.array([np.nan, 1.0]), np.inf),
        (np.array([10.0, 1.0]), np.array([10.0, 2.0]), 0.1),
        (np.array([1, 2]), np.array([1, 3]), np.inf),
        (np.zeros(2, np.float32), np.zeros(2), np.inf),
        (np.zeros((2, 1)), np.zeros(2), np.inf),
        (np.array([True]), np.array([True]), 0),
        (np.ones(2), 1.0, np.inf),
        (np.ones(2), None, np.inf),
    ],
)
def test_deviations(a, b, expected):
    assert deviation(a, b) == pytest.approx(expected)
    assert deviation(b, a) == pytest.approx(expected)


def test_to_a_tolerance_checksums_are_not_compared(populated):
    row = (Frame & first_key(Frame)).fetch1()
    frames = np.asarray(row["frames"])
    made = row | {"frames": frames * np.float32(1 + TOLERANCE / 10), "frames_digest": "0" * 64}
    assert differing_columns(Frame(), made, row, exact=False) == {}
    assert differing_columns(Frame(), made, row, exact=True).keys() == {"frames", "frames_digest"}
    far = made | {"frames": frames * np.float32(1 + 10 * TOLERANCE)}
    assert differing_columns(Frame(), far, row, exact=False).keys() == {"frames"}
