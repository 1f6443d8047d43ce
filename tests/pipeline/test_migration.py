"""Schemas of an older version become those of this program, whatever happens on the way.

The fast tests upgrade a few tables as they were at version 0, under a prefix of their own; the slow
one upgrades what the program of version 0 itself has made and filled.
"""

import io
import os
import re
import subprocess
import sys
import tarfile
from contextlib import closing

import datajoint as dj
import pytest
from typer.testing import CliRunner

from pipeline import migration
from pipeline.cli import app
from pipeline.connection import driver_connection
from pipeline.database import open_database
from pipeline.migration import NEWEST, OtherVersion, UpgradeImpossible, changes, upgrade
from pipeline.migrations import STEPS
from schemas import graph
from schemas.views import VIEWS

VERSION_0 = "ac283b9"
PREFIX = "aged_"
FRESH = "test_"
WORKER_0 = """(
  worker_host varchar(255) NOT NULL COMMENT ':varchar(255):',
  worker_pid int NOT NULL COMMENT ':int32:',
  worker_started datetime NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT ':datetime:',
  heartbeat datetime NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT ':datetime:',
  PRIMARY KEY (worker_host, worker_pid)
) COMMENT 'A worker process, alive as long as its heartbeat is young (database time)'"""
KEPT = ("operations.code_version", "recording.rig", "recording.scan")
DEAD = "CURRENT_TIMESTAMP - INTERVAL 1 HOUR"


def query(sql, *args):
    return dj.conn().query(sql, args).fetchall()


def of(prefix):
    return tuple(graph.schema_name(module, prefix) for module in graph.MODULES)


def plain(row, prefix):
    """Return a row without the prefix in the names of schemas."""
    schemas = re.compile(rf"\b({'|'.join(of(prefix))})\b")
    return tuple(schemas.sub(lambda m: m[0].removeprefix(prefix), str(value)) for value in row)


def structure(prefix, tables=None):
    """Return all that the server knows of tables, columns, keys and indices, without the prefix."""
    asked = {
        "tables": "table_schema, table_name, table_comment, table_collation, engine",
        "columns": "table_schema, table_name, column_name, column_type, is_nullable, "
        "column_default, column_comment, collation_name, extra, column_key",
        "key_column_usage": "table_schema, table_name, constraint_name, column_name, "
        "ordinal_position, referenced_table_schema, referenced_table_name, referenced_column_name",
        "statistics": "table_schema, table_name, index_name, seq_in_index, column_name, non_unique",
    }
    found = set()
    for source, columns in asked.items():
        rows = query(
            f"SELECT {columns} FROM information_schema.{source} WHERE table_schema IN %s",
            of(prefix),
        )
        found |= {(source, *plain(row, prefix)) for row in rows}
    if tables is not None:
        found = {row for row in found if f"{row[1]}.{row[2]}" in tables}
    return found


@pytest.fixture
def aged(tables, monkeypatch):
    """A few tables of version 0, one of them with a row; tables that are new are not made."""
    for schema in of(PREFIX):
        query(f"DROP DATABASE IF EXISTS {schema}")
    for name in KEPT:
        schema = name.partition(".")[0]
        graph.create_schema(PREFIX + schema)
        query(f"CREATE TABLE {PREFIX}{name} LIKE {FRESH}{name}")
        query(f"ALTER TABLE {PREFIX}{name} DROP COLUMN _prov")
    query(f"CREATE TABLE {PREFIX}operations.worker {WORKER_0}")
    query(f"INSERT INTO {PREFIX}operations.worker VALUES ('here', 1, {DEAD}, {DEAD})")
    query(f"INSERT INTO {PREFIX}recording.rig (rig) VALUES (%s)", "2P4")
    made = []
    monkeypatch.setattr(graph, "create", made.append)
    yield made
    for schema in of(PREFIX):
        query(f"DROP DATABASE IF EXISTS {schema}")


NAMES = {*KEPT, "operations.worker", "operations.migration"}


def assert_upgraded():
    fresh = structure(FRESH, NAMES)
    foreign = {row for row in fresh if row[0] == "key_column_usage" and row[-1] != "None"}
    assert structure(PREFIX, NAMES) == fresh - foreign  # which LIKE does not copy
    assert query(f"SELECT rig FROM {PREFIX}recording.rig") == (("2P4",),)
    assert query(f"SELECT COUNT(*) FROM {PREFIX}operations.worker") == ((0,),)
    rows = query(f"SELECT schema_version, migration_name FROM {PREFIX}operations.migration")
    assert rows == tuple(
        (number, step.__name__.split(".")[-1]) for number, step in enumerate(STEPS, start=1)
    )


def test_the_name_of_a_step_begins_with_its_number():
    for number, step in enumerate(STEPS, start=1):
        assert step.__name__.startswith(f"pipeline.migrations.m{number:04d}_")


def test_an_upgrade_does_what_its_dry_run_shows(aged):
    before = structure(PREFIX)
    shown = changes(PREFIX)
    assert [change.version for change in shown] == list(range(1, NEWEST + 1))
    assert sum(len(change.statements) for change in shown) > 3
    assert structure(PREFIX) == before
    reports = []
    assert upgrade(PREFIX, reports.append) == shown
    assert len(reports) > len(shown[0].statements)
    assert aged == [PREFIX]
    assert_upgraded()
    assert upgrade(PREFIX) == changes(PREFIX) == []
    assert aged == [PREFIX]


def test_an_upgrade_that_was_killed_anywhere_is_repeated(aged, monkeypatch):
    """Every attempt gets one statement further, and dies."""

    class Killed(BaseException):
        pass

    asked = dj.Connection.query
    n_left = sum(len(change.statements) for change in changes(PREFIX))

    def query_once(self, sql, *args, **kwargs):
        nonlocal budget
        if sql.startswith(("ALTER", "CREATE", "INSERT")):
            if not budget:
                raise Killed
            budget -= 1
        return asked(self, sql, *args, **kwargs)

    attempts = 0
    with monkeypatch.context() as patch:
        patch.setattr(dj.Connection, "query", query_once)
        while True:
            budget, attempts = 1, attempts + 1
            try:
                upgrade(PREFIX)
            except Killed:
                continue
            break
    assert attempts == n_left  # a DELETE less, which is repeated, and the record of the step
    assert_upgraded()


def test_no_upgrade_while_a_worker_is_alive(aged):
    before = structure(PREFIX)
    query(f"INSERT INTO {PREFIX}operations.worker (worker_host, worker_pid) VALUES ('gpu7', 4711)")
    with pytest.raises(UpgradeImpossible, match="process 4711 on gpu7"):
        upgrade(PREFIX)
    assert structure(PREFIX) == before
    query(f"UPDATE {PREFIX}operations.worker SET heartbeat = {DEAD}")
    upgrade(PREFIX)
    assert_upgraded()


def test_one_upgrade_at_a_time(aged, monkeypatch):
    monkeypatch.setattr(migration, "LOCK_SECONDS", 1)
    with driver_connection() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK(%s, 0)", (f"{PREFIX}schemas",))
        with pytest.raises(UpgradeImpossible, match="another `init` or `upgrade`"):
            upgrade(PREFIX)
    upgrade(PREFIX)


def test_a_table_in_use_stops_an_upgrade_that_goes_on_later(aged, monkeypatch):
    monkeypatch.setattr(migration, "LOCK_SECONDS", 1)
    with closing(driver_connection()) as notebook, notebook.cursor() as cursor:
        notebook.begin()
        cursor.execute(f"SELECT * FROM {PREFIX}recording.rig")
        with pytest.raises(UpgradeImpossible, match="in use"):
            upgrade(PREFIX)
    upgrade(PREFIX)
    assert_upgraded()


# --- what commands say of another version


@pytest.fixture
def recorded_version(tables):
    """Sets the version that the session's schemas say they have."""
    known = query(f"SELECT * FROM {FRESH}operations.migration")
    (row,) = known

    def record(version):
        query(f"DELETE FROM {FRESH}operations.migration")
        if version:
            query(
                f"INSERT INTO {FRESH}operations.migration (schema_version, migration_name) "
                "VALUES (%s, 'x')",
                version,
            )

    yield record
    record(row[0])


@pytest.mark.parametrize(
    ("version", "advice"), [(0, "inceptionloop upgrade"), (NEWEST + 1, "update the program")]
)
def test_commands_refuse_another_version(recorded_version, version, advice):
    recorded_version(version)
    for words in (["status"], ["plan"], ["work"], ["delete", "Scan", "--where", "animal_id=1"]):
        result = CliRunner().invoke(app, words)
        assert (result.exit_code, result.stdout) == (1, "")
        (line,) = result.stderr.strip().splitlines()
        assert f"have version {version}" in line
        assert advice in line


def test_init_ends_what_an_interrupted_one_began(recorded_version):
    recorded_version(0)  # all is there but the record
    assert CliRunner().invoke(app, ["init"]).exit_code == 0
    assert query(f"SELECT schema_version FROM {FRESH}operations.migration") == ((NEWEST,),)
    assert CliRunner().invoke(app, ["status"]).exit_code == 0


@pytest.mark.parametrize("complete", [migration.initialise, upgrade])
@pytest.mark.parametrize("made", [("code_version",), ("code_version", "worker")])
def test_an_init_that_was_interrupted_early_goes_on(aged, monkeypatch, made, complete):
    def create(prefix):
        query(f"CREATE TABLE {prefix}operations.migration LIKE {FRESH}operations.migration")

    for schema in of(PREFIX):
        query(f"DROP DATABASE IF EXISTS {schema}")
    graph.create_schema(f"{PREFIX}operations")
    for table in made:
        query(f"CREATE TABLE {PREFIX}operations.{table} LIKE {FRESH}operations.{table}")
    monkeypatch.setattr(graph, "create", create)
    complete(PREFIX)
    migration.require_newest(PREFIX)


def test_init_upgrades_nothing(aged):
    with pytest.raises(OtherVersion, match="inceptionloop upgrade"):
        migration.initialise(PREFIX)
    assert aged == []


def test_the_version_costs_one_query(tables, monkeypatch):
    asked, ask = [], dj.Connection.query
    # on the class: an instance would keep a method of its own afterwards
    monkeypatch.setattr(dj.Connection, "query", lambda c, sql: asked.append(sql) or ask(c, sql))
    migration.require_newest(FRESH)
    assert len(asked) == 1


def test_a_fresh_database_needs_no_upgrade(tables):
    open_database()
    assert "need no upgrade" in CliRunner().invoke(app, ["upgrade", "--apply"]).stdout


# --- a whole database of version 0


@pytest.fixture(scope="module")
def program_0(tmp_path_factory):
    """Folder of the program of version 0."""
    archive = subprocess.run(["git", "archive", VERSION_0], capture_output=True, check=False)
    if archive.returncode:
        pytest.skip(f"the history does not go back to {VERSION_0}")
    folder = tmp_path_factory.mktemp("version-0")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter="data")
    return folder


def run(*words, cwd="."):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "pipeline.cli", *words],
        cwd=cwd,
        env=os.environ | {"INCEPTIONLOOP_PREFIX": "old_", "PYTHONPATH": str(cwd)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def counts(prefix):
    names = query(
        "SELECT table_schema, table_name FROM information_schema.tables "
        "WHERE table_schema IN %s AND table_name NOT LIKE '~%%'",
        of(prefix),
    )
    return {n: query("SELECT COUNT(*) FROM `{}`.`{}`".format(*n))[0][0] for n in names}


def lineage(prefix):
    return {
        plain((schema, *row), prefix)
        for schema in of(prefix)
        for row in query(f"SELECT * FROM `{schema}`.`~lineage`")
    }


@pytest.mark.slow
def test_what_version_0_made_becomes_what_init_makes(program_0, tables):
    """Also the test of every later change of a definition: each needs its step."""
    run("init", cwd=program_0)
    small = "--n-simple 2 --n-complex 1 --n-undriven 1 --n-train 20 --n-test 3 --repeats 2"
    run("ingest", "virtual", *small.split(), cwd=program_0)
    run("work", "--threads", "1", "--quiet", cwd=program_0)
    rows = {name: n for name, n in counts("old_").items() if name[1] != "worker"}
    assert sum(n > 0 for n in rows.values()) > 15
    assert "nothing was changed" in run("upgrade")
    assert structure("old_") != structure(FRESH)
    run("upgrade", "--apply")
    assert structure("old_") ^ structure(FRESH) == set()
    assert lineage("old_") ^ lineage(FRESH) == set()
    after = counts("old_")
    assert {name: after[name] for name in rows} == rows
    assert "need no upgrade" in run("upgrade", "--apply")
    assert len(query("SHOW TABLES FROM old_views")) == len(VIEWS)
    for schema in ("old_views", *reversed(of("old_"))):
        query(f"DROP DATABASE {schema}")
