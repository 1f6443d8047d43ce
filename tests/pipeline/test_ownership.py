"""Whose rows are: who inserted them, who asked for them; nobody deletes another's by accident."""

import datajoint as dj
import pytest
from miniature import row_counts, study
from typer.testing import CliRunner

from pipeline.accounts import Role, open_accounts
from pipeline.cli import app
from pipeline.deletion import OthersRows, preview
from pipeline.ownership import me, owners
from pipeline.study import register
from schemas.code_version import code_version
from schemas.dataset import ConditionTier, TargetDataset
from schemas.model import TrainedModel, TrainingPlan
from schemas.model_config import SeedSet
from schemas.recording import Stack, StackRegistration, Trial
from schemas.reliability import Oracle, OracleMethod, OraclePlan
from schemas.responses import Frame, InputResponse

PASSWORD = "a-password-of-tests"


@pytest.fixture(scope="module")
def others(tables):
    """Connections of two more people."""
    info = dj.conn().conn_info
    with open_accounts() as accounts:
        for name in ("anna", "bob"):
            accounts.add(name, Role.WORKER, password=PASSWORD)
    opened = {
        name: dj.Connection(info["host"], name, PASSWORD, info["port"], use_tls=False)
        for name in ("anna", "bob")
    }
    yield opened
    for connection in opened.values():
        connection.close()
    with open_accounts() as accounts:
        for name in opened:
            accounts.remove(name)


def insert_as(connection, table, *rows):
    """Insert rows of a table under another account."""
    dj.FreeTable(connection, table().full_table_name).insert(rows)


@pytest.fixture(scope="module")
def asked(others, recordings):
    """A recording of this account with oracle scores by two methods; Bob asks for the second."""
    key = recordings.insert(300)
    plan = register(study(split={"validation_fraction": 0.31}), [key])["training_set"]
    second = OracleMethod.register({"method": "leave_one_out", "min_repeats": 2})
    insert_as(others["bob"], OraclePlan, plan | second)
    for table in (Frame, InputResponse, ConditionTier):
        table.populate(key, reserve_jobs=True)
    for table in (TargetDataset, Oracle):
        table.populate(plan, reserve_jobs=True)
    return key, plan, second


def whose(table, **where):
    """Return the owners of rows of one table."""
    rows = dj.FreeTable(dj.conn(), table().full_table_name) & where
    assert rows
    return owners([rows]).get(rows.full_table_name, {})


def test_rows_belong_to_who_inserted_them_or_asked_for_them(asked):
    key, _, _ = asked
    found = preview("Scan", [f"{name}={value}" for name, value in key.items()])
    by_table = {table.partition(".")[2]: by for table, by in found.owners.items()}
    for name in ("scan", "__frame", "static_scan", "__target_dataset"):
        assert by_table[name] == {me(): 1}, name
    assert by_table["trial"] == {me(): len(Trial & key)}
    assert by_table["oracle_plan"] == by_table["__oracle"] == {me(): 1, "bob": 1}
    assert {name for by in by_table.values() for name in by} == {me(), "bob"}
    with pytest.raises(OthersRows, match="of bob; you are "):
        found.refuse_of_others()


def test_computed_rows_that_nobody_asks_for_any_more_are_nobodys(asked, others):
    _, plan, second = asked
    assert whose(Oracle, **plan, **second) == {"bob": 1}
    (OraclePlan & plan & second).delete_quick()
    assert whose(Oracle, **plan, **second) == {}
    insert_as(others["anna"], OraclePlan, plan | second)
    assert whose(Oracle, **plan, **second) == {"anna": 1}


def test_a_network_that_two_ask_for_belongs_to_both(asked, others, tmp_path):
    _, plan, _ = asked
    mine = (TrainingPlan & plan).to_dicts(limit=1)[0]
    key = {name: mine[name] for name in TrainedModel.primary_key if name != "seed"}
    key["seed"] = int((SeedSet.Member & mine).to_arrays("seed")[0])
    (tmp_path / "weights").write_bytes(b"weights")
    row = {"training_status": "ok", "best_epoch": 0, "n_epochs": 1, "n_resumptions": 0}
    row |= {"weights": str(tmp_path / "weights"), "weights_sha256": "0" * 64}
    row |= code_version()
    TrainedModel.insert1(key | row, allow_direct_insert=True)
    assert whose(TrainedModel, **key) == {me(): 1}
    insert_as(others["anna"], TrainingPlan, mine | SeedSet.register([key["seed"], 77]))
    assert whose(TrainedModel, **key) == {me(): 1, "anna": 1}


def test_rows_of_a_make_and_rows_without_a_record_are_nobodys(tables):
    Stack.insert1({"stack_id": 301})
    with dj.provenance.ingesting("`a`.`__table`", {}):
        Stack.insert1({"stack_id": 302})
    Stack.insert1({"stack_id": 303})
    dj.conn().query(
        f"UPDATE {Stack().full_table_name} SET _prov = NULL WHERE stack_id = %s", (303,)
    )
    try:
        assert whose(Stack, stack_id=301) == {me(): 1}
        assert whose(Stack, stack_id=302) == whose(Stack, stack_id=303) == {}
    finally:
        (Stack & "stack_id BETWEEN 301 AND 303").delete_quick()


def test_a_table_older_than_the_record_is_nobodys(tables):
    name = Stack().full_table_name
    Stack.insert1({"stack_id": 304})
    dj.conn().query(f"ALTER TABLE {name} RENAME COLUMN _prov TO kept")
    try:
        assert whose(Stack, stack_id=304) == {}
    finally:
        dj.conn().query(f"ALTER TABLE {name} RENAME COLUMN kept TO _prov")
        (Stack & "stack_id = 304").delete_quick()


# --- the command


def delete(*words):
    return CliRunner().invoke(app, ["delete", *map(str, words)])


def test_rows_of_others_are_shown_and_go_only_when_that_is_said(asked, others):
    key, _, _ = asked
    Stack.insert1({"stack_id": 305})
    insert_as(others["anna"], StackRegistration, key | {"stack_id": 305})
    before = row_counts()
    words = ("Stack", "--where", "stack_id=305")
    shown = delete(*words)
    assert shown.exit_code == 0
    assert "anna 1" in shown.stdout
    assert f"{me()} 1" in shown.stdout
    refused = delete(*words, "--yes")
    assert refused.exit_code == 1
    (line,) = refused.stderr.strip().splitlines()
    assert "rows of others would go too (1 of anna; you are " in line
    assert "--of-others" in line
    assert row_counts() == before
    assert delete(*words, "--yes", "--of-others").exit_code == 0
    assert not Stack & "stack_id = 305"
    assert not StackRegistration & "stack_id = 305"


def test_what_is_ones_own_goes_without_a_word(tables):
    Stack.insert1({"stack_id": 306})
    assert delete("Stack", "--where", "stack_id=306", "--yes").exit_code == 0
    assert not Stack & "stack_id = 306"
