"""The private server: created, started, killed and stopped, on the program that SERVER names."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pymysql
import pytest
from typer.testing import CliRunner

from pipeline import server_program
from pipeline.commands.server import app
from pipeline.server import PrivateServer
from pipeline.server_program import ServerError, find_program
from pipeline.settings import Settings

START = """
import sys
from pathlib import Path
from pipeline.server import PrivateServer
from pipeline.settings import Settings
print(PrivateServer(Settings(home=Path(sys.argv[1])), sys.argv[2] or None).start().pid)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory, server_program):
    """A running server of a project that lies too deep for a socket beside its data."""
    home = tmp_path_factory.mktemp("deep") / ("d" * 80) / ("e" * 80)
    server = PrivateServer(Settings(home=home), server_program)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def fake_program(tmp_path):
    """Make a program that answers like a server of some version and then fails."""

    def make(version: str) -> str:
        path = tmp_path / "mysqld"
        path.write_text(
            "#!/bin/sh\n"
            f'case "$*" in *--version*) echo "mysqld  Ver {version} for Linux"; exit 0;; esac\n'
            'case "$*" in *--initialize*) exit 0;; esac\n'
            "echo '[ERROR] disk quota exceeded'; exit 1\n"
        )
        path.chmod(0o755)
        return str(path)

    return make


def query(info, sql, password=None):
    connection = pymysql.connect(
        host=info.host,
        port=info.port,
        user=info.user,
        password=info.password if password is None else password,
        autocommit=True,
    )
    with connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def alive(pid):
    """Whether a process still has a program; one that nobody has collected has none."""
    path = Path(f"/proc/{pid}/cmdline")
    return path.exists() and path.read_bytes() != b""


def listening_addresses(port):
    """Addresses on which anybody listens on a port, from the kernel's own tables."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            address, number = local.split(":")
            if int(number, 16) == port and state == "0A":
                found.add(address)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/net")
def test_listens_on_the_loopback_only(server):
    assert listening_addresses(server.status().port) == {
        "0100007F"
    }  # 127.0.0.1, as the kernel says


def test_only_its_owner_can_read_the_password(server):
    info = server.status()
    path = server.folder / "password"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text() == info.password
    assert len(info.password) >= 32
    assert info.password not in repr(info)
    assert server.folder.stat().st_mode & 0o777 == 0o700
    assert server.socket.parent.stat().st_mode & 0o777 == 0o700


def test_no_other_account_is_left(server):
    accounts = {user for (user,) in query(server.status(), "SELECT user FROM mysql.user")}
    assert {name for name in accounts if not name.startswith(("mysql.", "mariadb."))} == {
        "inceptionloop"
    }
    with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
        query(server.status(), "SELECT 1", password="")


def test_is_configured_as_the_pipeline_needs(server):
    variables = dict(query(server.status(), "SHOW GLOBAL VARIABLES"))
    assert variables["character_set_server"] == "utf8mb4"
    assert variables["collation_server"] == "utf8mb4_bin"
    assert int(variables["max_allowed_packet"]) == 256 * 2**20
    assert variables["innodb_flush_log_at_trx_commit"] == "1"
    assert variables["log_bin"] == "OFF"


def test_start_of_a_running_server_changes_nothing(server):
    before = server.status()
    assert server.start() == before


def test_survives_a_kill_with_what_was_committed(server):
    info = server.status()
    query(info, "CREATE DATABASE survival")
    query(info, "CREATE TABLE survival.t (n int PRIMARY KEY) ENGINE=InnoDB")
    query(info, "INSERT INTO survival.t VALUES (1), (2)")
    os.kill(info.pid, signal.SIGKILL)
    again = server.start()
    assert again.pid != info.pid
    assert again.port == info.port
    assert query(again, "SELECT n FROM survival.t ORDER BY n") == ((1,), (2,))


def test_stop_keeps_rows_and_port(server):
    info = server.start()
    query(info, "CREATE DATABASE IF NOT EXISTS kept")
    assert server.stop()
    assert server.status().pid is None
    assert not server.stop()
    again = server.start()
    assert again.port == info.port
    assert ("kept",) in query(again, "SHOW DATABASES")


def test_takes_another_port_when_its_own_is_taken(server):
    info = server.start()
    server.stop()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((info.host, info.port))
        taken.listen()
        again = server.start()
    assert again.port != info.port
    assert query(again, "SELECT 1") == ((1,),)


def test_a_remembered_process_that_is_a_stranger_is_left_alone(server):
    server.start()
    server.stop()
    state = server._state_file
    state.write_text(state.read_text().replace('"pid": null', f'"pid": {os.getpid()}'))
    assert server.status().pid is None
    assert not server.stop()  # and this very process is still here to say so
    server.start()


def test_other_projects_and_simultaneous_starts(server, tmp_path, server_program):
    # What a first start that was killed may leave behind does not matter.
    (tmp_path / "server" / "data.new" / "mysql").mkdir(parents=True)
    command = [sys.executable, "-c", START, str(tmp_path), server_program or ""]
    starts = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    pids = {int(start.communicate(timeout=120)[0]) for start in starts}
    other = PrivateServer(Settings(home=tmp_path), server_program)
    try:
        info = other.status()
        assert pids == {info.pid}
        assert info.port != server.status().port
        assert query(server.status(), "SELECT 1") == query(info, "SELECT 1")
        # Its folder is removed under the server: the next start ends it and makes a new one.
        shutil.rmtree(other.folder)
        again = other.start()
        assert again.pid != info.pid
        assert query(again, "SELECT 1") == ((1,),)
        assert not alive(info.pid)
    finally:
        other.stop()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_an_ordinary_user_runs_one_too(server_program):
    nobody = 65534
    home = Path(tempfile.mkdtemp())
    os.chown(home, nobody, nobody)
    # Imports first: nobody may not read the folders of root's Python.
    become = f"import encodings.idna, os, ssl, pymysql\n{START.splitlines()[3]}\n"
    become += f"os.setgroups([]); os.setgid({nobody}); os.setuid({nobody})\n"
    lines = [become + START, "PrivateServer(Settings(home=Path(sys.argv[1]))).stop()"]
    program = find_program(server_program).path
    try:
        done = subprocess.run(
            [sys.executable, "-c", "\n".join(lines), str(home), program],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert (home / "server" / "data").stat().st_uid == nobody
        assert not alive(int(done.stdout))
    finally:
        state = home / "server" / "server.json"
        if state.exists() and (pid := json.loads(state.read_text())["pid"]):
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(home)


def test_says_what_to_install_when_there_is_no_program(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(server_program, "FOLDERS", ())
    with pytest.raises(ServerError, match="apt-get install mariadb-server"):
        PrivateServer(Settings(home=tmp_path, mysqld=None)).start()


def test_says_why_it_did_not_start(tmp_path, fake_program):
    server = PrivateServer(Settings(home=tmp_path), fake_program("8.4.2"))
    with pytest.raises(ServerError, match="disk quota exceeded") as caught:
        server.start()
    assert str(tmp_path / "log" / "server.log") in str(caught.value)
    assert server.status() is None
    server.stop()


@pytest.mark.parametrize("version", ["8.0.12", "10.5.9-MariaDB", "5.7.44"])
def test_refuses_an_old_program(version, fake_program):
    with pytest.raises(ServerError, match=re.escape(version.removesuffix("-MariaDB"))):
        find_program(fake_program(version))


def test_refuses_data_of_the_other_kind(server, fake_program):
    server.stop()
    other = "8.4.2" if server.status().kind == "mariadb" else "11.4.2-MariaDB"
    kind = server.status().kind
    with pytest.raises(ServerError, match=f"was made by {kind}"):
        PrivateServer(Settings(home=server.folder.parent), fake_program(other)).start()
    server.start()


def test_refuses_what_is_no_server():
    with pytest.raises(ServerError, match="not a MySQL or MariaDB server"):
        find_program("/bin/true")


def test_commands(server, monkeypatch):
    monkeypatch.setenv("INCEPTIONLOOP_HOME", str(server.folder.parent))
    info = server.start()
    runner = CliRunner()
    status = runner.invoke(app, ["status"])
    assert f"running (process {info.pid})" in status.stdout
    assert info.password not in status.stdout
    shell = runner.invoke(app, ["env"]).stdout + '\necho "$DJ_HOST $DJ_PORT $DJ_USER $DJ_PASS"'
    said = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True).stdout
    assert said.split() == [info.host, str(info.port), info.user, info.password]


def test_commands_without_a_server(tmp_path, monkeypatch):
    monkeypatch.setenv("INCEPTIONLOOP_HOME", str(tmp_path / "none"))
    runner = CliRunner()
    assert "no private server yet" in runner.invoke(app, ["status"]).stdout
    assert runner.invoke(app, ["stop"]).exit_code == 0
    failed = runner.invoke(app, ["env"])
    assert failed.exit_code == 1
    assert "server start" in failed.stderr
    assert not (tmp_path / "none").exists()
