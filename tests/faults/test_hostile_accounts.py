"""A reader who would like to do more than read, by SQL and by our own commands: nothing happens."""

import json
import os
import subprocess
import sys
from contextlib import closing

import datajoint as dj
import numpy as np
import pymysql
import pytest
from miniature import arrays, study

from pipeline.accounts import Role, open_accounts
from pipeline.address import Address, address
from pipeline.connection import driver_connection
from pipeline.settings import Settings
from pipeline.study import register
from schemas import graph
from schemas.recording import Scan
from schemas.responses import Frame

PASSWORD = "a-password-of-tests"


@pytest.fixture(scope="module")
def key(recordings):
    """A recording with a plan and a computed table."""
    key = recordings.insert(400)
    register(study(split={"validation_fraction": 0.41}), [key])
    Frame.populate(key, reserve_jobs=True)
    return key


@pytest.fixture(scope="module")
def roles(key):
    """Addresses of a reader and of a worker."""
    server = address(Settings())
    with open_accounts() as accounts:
        for role in (Role.READER, Role.WORKER):
            accounts.add(f"hostile-{role}", role, password=PASSWORD)
    yield {
        role: Address(server.host, server.port, f"hostile-{role}", PASSWORD)
        for role in (Role.READER, Role.WORKER)
    }
    with open_accounts() as accounts:
        for role in (Role.READER, Role.WORKER):
            accounts.remove(f"hostile-{role}")


@pytest.fixture
def unchanged(roles):
    """Nothing on the server changes during a test: rows, schemas, accounts, rights, settings."""
    before = everything()
    yield
    assert everything() == before


def everything():
    prefix = Settings().prefix
    tables = query(
        "SELECT table_schema, table_name FROM information_schema.tables "
        f"WHERE table_schema LIKE '{prefix}%%' AND table_type = 'BASE TABLE' ORDER BY 1, 2"
    )
    names = ", ".join(f"`{schema}`.`{table}`" for schema, table in tables)
    return {
        "rows": query(f"CHECKSUM TABLE {names}"),
        "schemas": query("SHOW DATABASES"),
        "accounts": query("SELECT user, host, ssl_type FROM mysql.user ORDER BY 1, 2"),
        "rights": query("SELECT * FROM mysql.db ORDER BY user, host, db"),
        "settings": query("SELECT @@GLOBAL.max_connections, @@GLOBAL.general_log"),
        "objects": sorted(str(path) for path in (Settings().home / "store").rglob("*")),
    }


def query(sql):
    return dj.conn().query(sql).fetchall()


def statements():
    """Return what a reader might try, on tables of each kind and on the server."""
    by_table = (
        "INSERT INTO {} SELECT * FROM {} LIMIT 1",
        "REPLACE INTO {} SELECT * FROM {} LIMIT 1",
        "DELETE FROM {}",
        "TRUNCATE {}",
        "DROP TABLE {}",
        "ALTER TABLE {} ADD stolen INT",
        "RENAME TABLE {} TO test_recording.renamed",
        "CREATE TABLE test_recording.stolen AS SELECT * FROM {}",
        "CREATE TABLE stolen.stolen AS SELECT * FROM {}",
        "CREATE VIEW test_recording.seen AS SELECT * FROM {}",
        "CREATE TRIGGER test_recording.t BEFORE INSERT ON {} FOR EACH ROW SET @a = 1",
        "CREATE INDEX i ON {} (animal_id)",
        "LOCK TABLES {} WRITE",
        "SELECT * FROM {} INTO OUTFILE '/tmp/inceptionloop-stolen'",
        "LOAD DATA INFILE '/etc/passwd' INTO TABLE {}",
        "LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE {}",
    )
    for table in (Scan(), Frame(), Frame().jobs):
        name = table.full_table_name
        yield f"UPDATE {name} SET animal_id = animal_id + 1"
        yield from (statement.format(name, name) for statement in by_table)
    yield from (
        "CREATE DATABASE test_stolen",
        "DROP DATABASE test_recording",
        "CREATE DATABASE stolen",
        "GRANT ALL ON *.* TO 'hostile-reader'@'127.0.0.1'",
        "GRANT INSERT ON test_recording.* TO 'hostile-reader'@'127.0.0.1'",
        "CREATE USER eve IDENTIFIED BY 'a-password-of-eve'",
        "DROP USER 'inceptionloop'@'127.0.0.1'",
        "RENAME USER 'inceptionloop'@'127.0.0.1' TO eve",
        "ALTER USER 'inceptionloop'@'127.0.0.1' IDENTIFIED BY 'a-password-of-eve'",
        "SET PASSWORD FOR 'inceptionloop'@'127.0.0.1' = 'a-password-of-eve'",
        "SET GLOBAL max_connections = 1",
        "SET GLOBAL general_log = ON",
        "SELECT * FROM mysql.user",
        "SELECT * FROM mysql.db",
        "INSERT INTO mysql.db SELECT * FROM mysql.db",
        "SHOW GRANTS FOR 'inceptionloop'@'127.0.0.1'",
        "CREATE FUNCTION sys_exec RETURNS INT SONAME 'udf.so'",
        "INSTALL PLUGIN p SONAME 'p.so'",
        "FLUSH TABLES WITH READ LOCK",
        "SHUTDOWN",
    )


def test_sql_of_a_reader_changes_nothing(roles, unchanged):
    with closing(driver_connection(roles[Role.READER])) as connection:
        assert allowed(connection, statements()) == []
        with connection.cursor() as cursor:
            cursor.execute("SELECT LOAD_FILE('/etc/passwd')")
            assert cursor.fetchone() == (None,)
            cursor.execute("SHOW DATABASES")
            seen = {name for (name,) in cursor.fetchall()}
            assert all(
                name.startswith(Settings().prefix)
                for name in seen - {"information_schema", "performance_schema"}
            )
            # others' passwords and statements are not to be seen
            cursor.execute("SHOW FULL PROCESSLIST")
            assert {row[1] for row in cursor.fetchall()} == {"hostile-reader"}
            cursor.execute(f"SELECT COUNT(*) FROM {Scan().full_table_name}")
            assert cursor.fetchone() == (len(Scan()),)


def test_a_reader_ends_nobody_elses_connection(roles, unchanged):
    mine = dj.conn().query("SELECT CONNECTION_ID()").fetchone()[0]
    with closing(driver_connection(roles[Role.READER])) as connection:
        assert allowed(connection, (f"KILL {mine}", f"KILL QUERY {mine}")) == []
    assert dj.conn().query("SELECT CONNECTION_ID()").fetchone()[0] == mine


def test_a_worker_changes_no_table_and_no_account(roles, unchanged):
    ways = ("INSERT INTO test", "REPLACE INTO test", "UPDATE", "DELETE")
    refused = [s for s in statements() if not s.replace("`", "").startswith(ways)]
    assert len(refused) > 50
    with closing(driver_connection(roles[Role.WORKER])) as connection:
        assert allowed(connection, refused) == []


def allowed(connection, attempts):
    """Return those of some statements that the server did not refuse."""
    done = []
    for statement in attempts:
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
            done.append(statement)
        except pymysql.err.MySQLError as error:
            # refused, not misunderstood
            assert error.args[0] not in {1064, 1146, 2006, 2013}, (statement, error)
    return done


# --- our own commands

RUN = """
import json
import sys
from typer.testing import CliRunner
from pipeline.cli import app
for words in json.load(sys.stdin):
    result = CliRunner().invoke(app, words)
    print(json.dumps([words[0], result.exit_code, result.stderr, repr(result.exception)]))
"""

STUDY_FILE = """
[preprocessing]
height = 12
width = 20
"""


def commands(key, folder):
    """Return what a reader might call."""
    scan = "-".join(map(str, key.values()))
    where = ("--where", f"animal_id={key['animal_id']}")
    file, study_file = str(folder / "recording.npz"), str(folder / "study.toml")
    return [
        ("init",),
        ("register", study_file, "--scan", scan),
        ("work", "--quiet", "--processes", "1"),
        ("delete", "Frame", *where, "--yes", "--of-others"),
        ("errors", "--retry"),
        ("pause",),
        ("ingest", "arrays", file, "--animal", "4711"),
        ("account", "add", "eve", "--role", "admin"),
        ("account", "add", "hostile-reader", "--role", "worker"),
        ("account", "list"),
        ("account", "remove", "hostile-worker"),
    ]


def test_every_command_of_a_reader_ends_in_one_clear_line(roles, key, unchanged, tmp_path):
    np.savez(tmp_path / "recording.npz", **arrays(401))
    (tmp_path / "study.toml").write_text(STUDY_FILE)
    reader = roles[Role.READER]
    environment = {
        "DJ_HOST": reader.host,
        "DJ_PORT": str(reader.port),
        "DJ_USER": reader.user,
        "DJ_PASS": reader.password,
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input=json.dumps(commands(key, tmp_path)),
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) == len(commands(key, tmp_path)), done.stderr
    for name, status, errors, exception in results:
        assert (status, exception) == (1, "SystemExit(1)"), (name, errors, exception)
        (line,) = errors.strip().splitlines()
        assert line.startswith("error: "), line
        assert "denied" in line, line
        assert PASSWORD not in line
    assert not (Settings().home / "accounts" / "eve").exists()


def test_every_table_of_the_project_is_watched():
    # the checks above see all schemas
    schemas = {name.partition(".")[0] for name, *_ in everything()["rows"]}
    assert schemas == {graph.schema_name(m, Settings().prefix) for m in graph.MODULES}
