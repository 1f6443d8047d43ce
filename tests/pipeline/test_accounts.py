"""Accounts with the rights of their role and no more; passwords that nobody else sees."""

import os
import stat
import subprocess
import sys
from contextlib import closing

import pymysql
import pytest
from typer.testing import CliRunner

from pipeline.accounts import Account, AccountError, Role, open_accounts
from pipeline.address import Address, address
from pipeline.cli import app
from pipeline.connection import driver_connection
from pipeline.settings import Settings

PASSWORD = "a-password-of-tests"
OTHER = "another-one-of-tests"
RIGHTS = {
    Role.READER: {"SELECT"},
    Role.WORKER: {"SELECT", "INSERT", "UPDATE", "DELETE"},
}
DENIED = {1044, 1142, 1143, 1227, 1370}


@pytest.fixture
def accounts(database):
    """The accounts of the tests' project; those that a test makes go after it."""
    with open_accounts() as opened:
        yield opened
        for account in opened.all():
            opened.remove(account.name, account.host)


@pytest.fixture(scope="module")
def root(database):
    """The account that administers the server."""
    with closing(driver_connection(address(Settings()))) as connection:
        yield connection.cursor()


@pytest.fixture(scope="module", autouse=True)
def schemas(root):
    """A schema of the project with a table, and one whose name is like it but for the `_`."""
    names = ("test_accounts", "testxaccounts")
    for name in names:
        root.execute(f"CREATE DATABASE `{name}`")
        root.execute(f"CREATE TABLE `{name}`.t (a INT PRIMARY KEY)")
        root.execute(f"INSERT INTO `{name}`.t VALUES (1)")
    yield
    for name in names:
        root.execute(f"DROP DATABASE `{name}`")


def enter(name, password=PASSWORD):
    """Connect as an account."""
    server = address(Settings())
    return driver_connection(Address(server.host, server.port, name, password, server.tls))


def refused(connection, statement):
    with pytest.raises(pymysql.err.MySQLError) as caught:
        connection.cursor().execute(statement)
    return caught.value.args[0] in DENIED


def call(*words, **more):
    return CliRunner().invoke(app, ["account", *map(str, words)], **more)


# --- rights


DML = {
    "SELECT": "SELECT * FROM {}.t",
    "INSERT": "INSERT INTO {}.t VALUES (2)",
    "UPDATE": "UPDATE {}.t SET a = 3 WHERE a = 2",
    "DELETE": "DELETE FROM {}.t WHERE a = 3",
}
DDL = (
    "CREATE TABLE {0}.u (a INT)",
    "CREATE TABLE {0}.u LIKE {0}.t",
    "CREATE VIEW {0}.v AS SELECT 1",
    "CREATE TRIGGER {0}.r BEFORE INSERT ON {0}.t FOR EACH ROW SET @a = 1",
    "CREATE PROCEDURE {0}.p() SELECT 1",
    "CREATE TEMPORARY TABLE {0}.u (a INT)",
    "CREATE INDEX i ON {0}.t (a)",
    "ALTER TABLE {0}.t ADD b INT",
    "RENAME TABLE {0}.t TO {0}.u",
    "TRUNCATE {0}.t",
    "DROP TABLE {0}.t",
    "DROP DATABASE {0}",
    "LOCK TABLES {0}.t WRITE",
)


@pytest.mark.parametrize("role", RIGHTS)
def test_a_role_can_do_what_it_is_for_and_nothing_else(accounts, role):
    accounts.add("anna", role, password=PASSWORD)
    with closing(enter("anna")) as connection:
        for right, statement in DML.items():
            if right in RIGHTS[role]:
                connection.cursor().execute(statement.format("test_accounts"))
            else:
                assert refused(connection, statement.format("test_accounts")), right
            # an underscore of the prefix is no pattern
            assert refused(connection, statement.format("testxaccounts")), right
        for statement in DDL:
            assert refused(connection, statement.format("test_accounts")), statement
        for statement in ("CREATE DATABASE test_more", "CREATE USER eve", "FLUSH TABLES"):
            assert refused(connection, statement), statement
        assert refused(connection, "SELECT * FROM mysql.user")
        assert refused(connection, "GRANT SELECT ON test_accounts.* TO anna@'%'")


def test_an_admin_can_do_all_with_the_project_and_nothing_else(accounts):
    accounts.add("anna", Role.ADMIN, password=PASSWORD)
    with closing(enter("anna")) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE test_more")
        cursor.execute("CREATE TABLE test_more.t (a INT PRIMARY KEY)")
        cursor.execute("ALTER TABLE test_more.t ADD b INT")
        cursor.execute("DROP DATABASE test_more")
        assert refused(connection, "CREATE DATABASE testxmore")
        assert refused(connection, "SELECT * FROM testxaccounts.t")
        assert refused(connection, "SELECT * FROM mysql.user")
        assert refused(connection, "CREATE USER eve")
        assert refused(connection, "GRANT SELECT ON test_accounts.* TO anna@'%'")
        assert refused(connection, "SET GLOBAL max_connections = 10")


@pytest.mark.parametrize("later", list(Role))
@pytest.mark.parametrize("first", list(Role))
def test_repeating_brings_rights_up_to_date_and_keeps_the_password(accounts, first, later):
    made = accounts.add("anna", first, password=PASSWORD)
    with closing(enter("anna")) as meanwhile:
        again = accounts.add("anna", later)
        # a connection that is open has the new rights at once
        for right, statement in DML.items():
            allowed = later not in RIGHTS or right in RIGHTS[later]
            assert allowed or refused(meanwhile, statement.format("test_accounts"))
        assert later is Role.ADMIN or refused(meanwhile, "DROP TABLE test_accounts.t")
    assert (made.new, again.new, again.password_file) == (True, False, None)
    assert [(a.name, a.role) for a in accounts.all()] == [("anna", later)]
    enter("anna").close()


def test_a_removed_account_is_out_even_where_it_is_connected(accounts):
    accounts.add("anna", Role.WORKER, password=PASSWORD)
    with closing(enter("anna")) as connection:
        connection.cursor().execute(DML["SELECT"].format("test_accounts"))
        (removed,) = accounts.remove("anna")
        assert (removed.name, removed.role) == ("anna", Role.WORKER)
        assert refused(connection, DML["SELECT"].format("test_accounts"))
    with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
        enter("anna")
    with pytest.raises(AccountError, match="there is no account 'anna'"):
        accounts.remove("anna")


def test_an_account_of_two_projects_keeps_the_other(accounts, root):
    accounts.add("anna", Role.READER, password=PASSWORD)
    (account,) = accounts.all()
    root.execute("GRANT SELECT ON testxaccounts.* TO %s@%s", (account.name, account.host))
    accounts.remove("anna")
    try:
        with closing(enter("anna")) as connection:
            connection.cursor().execute(DML["SELECT"].format("testxaccounts"))
            assert refused(connection, DML["SELECT"].format("test_accounts"))
    finally:
        root.execute("DROP USER %s@%s", (account.name, account.host))


def test_who_administers_the_server_is_left_alone(accounts, root):
    user = address(Settings()).user
    root.execute("SHOW GRANTS")
    before = root.fetchall()
    for act in (lambda: accounts.add(user, Role.READER), lambda: accounts.remove(user)):
        with pytest.raises(AccountError):
            act()
    root.execute("SHOW GRANTS")
    assert root.fetchall() == before


def test_rights_of_no_role_are_told(accounts, root):
    accounts.add("anna", Role.READER, password=PASSWORD)
    (account,) = accounts.all()
    who = (account.name, account.host)
    root.execute(r"GRANT INSERT ON `test\_%%`.* TO %s@%s", who)
    assert accounts.all() == [Account(*who, None, False)]
    assert "other rights" in call("list").stdout


# --- TLS


def test_from_other_machines_tls_is_required_unless_it_is_said(accounts):
    assert not accounts.add("here", Role.READER, password=PASSWORD).account.tls
    anywhere = accounts.add("open", Role.READER, host="%", tls=False, password=PASSWORD)
    assert not anywhere.account.tls
    try:
        made = accounts.add("far", Role.READER, host="%", password=PASSWORD)
    except AccountError as error:
        # a private MariaDB has no certificate
        assert "offers no TLS" in str(error)
        assert "far" not in {account.name for account in accounts.all()}
    else:
        assert made.account.tls
        with closing(enter("far")) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
            assert cursor.fetchone()[1]
        server = address(Settings())
        with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
            pymysql.connect(
                host=server.host,
                port=server.port,
                user="far",
                password=PASSWORD,
                ssl_disabled=True,
            )


# --- passwords


def test_a_new_password_is_in_a_file_that_only_its_owner_can_read(accounts, database):
    made = accounts.add("anna", Role.READER)
    assert made.password_file == database / "accounts" / "anna"
    status = made.password_file.stat()
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert stat.S_IMODE(made.password_file.parent.stat().st_mode) == 0o700
    first = made.password_file.read_text().strip()
    assert len(first) >= 32
    enter("anna", first).close()
    changed = accounts.add("anna", Role.READER, new_password=True)
    second = changed.password_file.read_text().strip()
    assert second != first
    enter("anna", second).close()
    with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
        enter("anna", first)
    accounts.remove("anna")
    assert not made.password_file.exists()


def test_a_file_that_is_there_is_not_overwritten(accounts, tmp_path):
    (tmp_path / "kept").write_text("kept")
    with pytest.raises(AccountError, match="kept exists"):
        accounts.add("anna", Role.READER, password_file=tmp_path / "kept")
    assert (tmp_path / "kept").read_text() == "kept"
    assert accounts.all() == []


def test_what_the_server_refuses_leaves_nothing(accounts, root, tmp_path):
    # to a schema that cannot be: the account is made, its rights are not
    accounts._schemas = "`"
    with pytest.raises(pymysql.err.MySQLError):
        accounts.add("anna", Role.READER, password_file=tmp_path / "file")
    accounts._schemas = r"test\_%"
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
        enter("anna")
    root.execute("SELECT COUNT(*) FROM mysql.user WHERE user = 'anna'")
    assert root.fetchone() == (0,)


def test_a_password_appears_in_no_log_and_on_no_screen(accounts, root, tmp_path):
    given = tmp_path / "given"
    given.touch(0o600)
    given.write_text(f"{PASSWORD}\n")
    log = tmp_path / "general.log"
    root.execute("SET GLOBAL general_log_file = %s", (str(log),))
    root.execute("SET GLOBAL general_log = ON")
    try:
        outputs = [
            call("add", "anna", "--role", "reader", "--password-from", given),
            call("add", "bob", "--role", "reader", "--password-from", "-", input=f"{OTHER}\n"),
            call("add", "bob", "--role", "worker", "--new-password"),
        ]
    finally:
        root.execute("SET GLOBAL general_log = OFF")
    new = (Settings().home / "accounts" / "bob").read_text().strip()
    assert [result.exit_code for result in outputs] == [0, 0, 0]
    written = log.read_text()
    assert "'anna'" in written
    for secret in (PASSWORD, OTHER, new):
        assert secret not in written
        assert not any(secret in result.output for result in outputs)


# --- the command

ENTER = """
from pipeline.connection import connect
connect()
import datajoint as dj
print(dj.conn().get_user())
"""


def test_one_command_makes_an_account_that_can_enter(accounts, tmp_path):
    file = tmp_path / "secret" / "anna"
    result = call("add", "anna", "--role", "reader", "--password-file", file)
    assert result.exit_code == 0, result.output
    assert "account anna (reader) made" in result.stdout
    # what it prints is what to set
    said = dict(
        word.split("=", 1)
        for word in result.stdout.split()
        if word.startswith("DJ_") and "=" in word
    )
    assert said["DJ_PASS_FILE"] == str(file)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DJ_")} | said
    done = subprocess.run(
        [sys.executable, "-c", ENTER],
        env=environment | {"DJ_IGNORE_CONFIG_FILE": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("anna@"), done.stderr
    assert "anna" in call("list").stdout
    assert "is up to date" in call("add", "anna", "--role", "reader").stdout
    assert call("remove", "anna").exit_code == 0
    assert "anna" not in call("list").stdout


BAD = {
    "a quote in a name": (("anna'@'%' --", "--role", "reader"), "cannot be the name"),
    "a path as a name": (("../anna", "--role", "reader"), "cannot be the name"),
    "no host": (("anna", "--role", "reader", "--host", "here; DROP"), "is no host"),
    "a short password": (
        ("anna", "--role", "reader", "--password-from", "-"),
        "that is no password",
    ),
    "no file": (
        ("anna", "--role", "reader", "--password-from", "/nonexistent"),
        "cannot be read",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_answered_with_one_line(accounts, name):
    words, message = BAD[name]
    result = call("add", *words, input="short\n")
    assert result.exit_code == 1
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert accounts.all() == []


def test_who_may_not_make_accounts_is_told_so(accounts, monkeypatch):
    accounts.add("anna", Role.ADMIN, password=PASSWORD)
    server = address(Settings())
    variables = {"HOST": server.host, "PORT": str(server.port), "USER": "anna", "PASS": PASSWORD}
    for name, value in variables.items():
        monkeypatch.setenv(f"DJ_{name}", value)
    for words in (("add", "eve", "--role", "reader"), ("list",), ("remove", "anna")):
        result = call(*words)
        assert result.exit_code == 1
        (line,) = result.stderr.strip().splitlines()
        assert "the server refuses this to 'anna'" in line
        assert "CREATE USER" in line
    assert not (Settings().home / "accounts" / "eve").exists()
