"""The private database server of a project: created, started and stopped without a system service.

A laptop without a database gets a MySQL or MariaDB server of its own, run by the current user, with
its data below ``Settings.server_folder`` and reachable from this machine only. What must outlive a
process is one small file (`_State`) beside the data; whether the server runs is asked of the
process itself.
"""

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pymysql

from pipeline.server_program import (
    Program,
    ServerError,
    command_line,
    find_program,
    make_data_folder,
    tail,
)
from pipeline.settings import Settings

HOST = "127.0.0.1"
USER = "inceptionloop"
READY_SECONDS = 300.0  # after a crash the redo log is replayed before the first connection
STOP_SECONDS = 120.0
ACCESS_DENIED = 1045
SYSTEM_ACCOUNTS = ("mysql.sys", "mysql.session", "mysql.infoschema", "mariadb.sys")

Report = Callable[[str], None]


@dataclass(frozen=True)
class ServerInfo:
    """A private server, as it is now.

    Attributes
    ----------
    kind, version, program : str
        ``mysql`` or ``mariadb``, its version, and the program that was started last.
    host, port, user, password : str, int, str, str
        How to reach it; the password is not part of the representation.
    socket, data_folder, log : Path
        Local socket, data directory and log file.
    pid : int or None
        Its process, None when it is stopped.
    """

    kind: str
    version: str
    program: str
    port: int
    password: str = field(repr=False)
    socket: Path
    data_folder: Path
    log: Path
    pid: int | None
    host: str = HOST
    user: str = USER

    def data_bytes(self) -> int:
        """Space the data directory takes on disk, in bytes."""
        total = 0
        for path in self.data_folder.rglob("*"):
            try:
                total += 512 * path.lstat().st_blocks
            except FileNotFoundError:  # a running server removes files of its own
                continue
        return total


@dataclass(frozen=True)
class _State:
    """What is remembered between two starts."""

    kind: str
    version: str
    program: str
    port: int
    pid: int | None = None


class _Ended(ServerError):
    """The process ended before it answered."""


class PrivateServer:
    """The private server of one project.

    Parameters
    ----------
    settings : Settings, optional
        Of the project; by default from the environment.
    program : str, optional
        Server program to use instead of the one found on the machine.
    """

    def __init__(self, settings: Settings | None = None, program: str | None = None) -> None:
        settings = settings or Settings()
        # Resolved, so that one project reached by two paths is one server.
        self.folder = settings.server_folder.resolve()
        self.data_folder = self.folder / "data"
        self.log = settings.log_folder.resolve() / "server.log"
        self._program = program or settings.mysqld
        self._digest = hashlib.sha256(os.fsencode(self.folder)).hexdigest()
        # In /tmp and not below the project: the path of a socket has at most 107 bytes.
        self.socket = Path(f"/tmp/inceptionloop-{os.getuid()}-{self._digest[:12]}/mysqld.sock")

    def start(self, report: Report = lambda message: None) -> ServerInfo:
        """Start the server and wait until it answers; one that runs already is left alone.

        Parameters
        ----------
        report : callable
            Told what is being done, one short sentence at a time.

        Returns
        -------
        ServerInfo
            The running server.

        Raises
        ------
        ServerError
            If there is no program or it does not start; the message says why and where the log is.
        """
        with self._lock():
            if not self.data_folder.exists():
                # A first start that was killed may have left its server on a half-made directory.
                self._terminate()
                self._create(report)
            if self._pid() is not None:
                # It may be dying at this very moment, in which case it is started again.
                with suppress(_Ended):
                    return self._ready()
            last = self._state()
            program = find_program(self._program, last.kind, last.program)
            report(f"Starting {program.kind} {program.version}")
            self._launch(program, self.data_folder, self._free_port())
            return self._ready()

    def stop(self) -> bool:
        """Shut the server down cleanly and wait for its end.

        Returns
        -------
        bool
            False when it was not running.

        Raises
        ------
        ServerError
            If it does not end in time.
        """
        if not self.folder.exists() and not self.socket.exists():
            return False
        with self._lock():
            stopped = self._terminate()
            shutil.rmtree(self.socket.parent, ignore_errors=True)
            return stopped

    def status(self) -> ServerInfo | None:
        """Return the server as it is now, or None when there has never been one."""
        with self._readable():
            return self._info() if self.data_folder.exists() else None

    # ---- first start

    def _create(self, report: Report) -> None:
        """Make the data directory and its one account, then move it to its place in one step."""
        program = find_program(self._program)
        report(f"Creating a private {program.kind} {program.version} database in {self.folder}")
        unfinished = self.folder / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        (self.folder / "password").unlink(missing_ok=True)
        _write_private(self.folder / "password", secrets.token_urlsafe(32))
        make_data_folder(program, unfinished, self.log)
        # Without network, on a socket in a folder of mode 0700: root has no password yet.
        self._launch(program, unfinished, port=None)
        with self._wait(unix_socket=str(self.socket), user="root") as connection:
            self._create_account(connection)
        self._terminate()
        unfinished.rename(self.data_folder)

    def _create_account(self, connection: pymysql.Connection) -> None:
        """Make the account of the project and drop every other one, root included."""
        with connection.cursor() as cursor:
            for host in (HOST, "localhost"):
                account = f"'{USER}'@'{host}'"
                cursor.execute(f"CREATE USER {account} IDENTIFIED BY %s", (self._password(),))
                cursor.execute(f"GRANT ALL PRIVILEGES ON *.* TO {account} WITH GRANT OPTION")
            cursor.execute("SELECT user, host FROM mysql.user")
            for user, host in cursor.fetchall():
                if user not in (USER, *SYSTEM_ACCOUNTS):
                    cursor.execute("DROP USER %s@%s", (user, host))

    # ---- the process

    def _launch(self, program: Program, data_folder: Path, port: int | None) -> None:
        """Start the program in a session of its own and remember its process."""
        self._make_socket_folder()
        (self.folder / "tmp").mkdir(exist_ok=True)
        command = command_line(program, data_folder, self.socket, port)
        # The shell ends at once, so that the server is no child of ours: it outlives us and the
        # terminal, and nobody has to collect it.
        script = 'umask 077; "$@" >>"$0" 2>&1 & echo $!'
        shell = subprocess.run(
            ["/bin/sh", "-c", script, str(self.log), *command],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
            check=True,
        )
        pid = int(shell.stdout)
        self._remember(_State(program.kind, program.version, program.path, port or 0, pid))

    def _ready(self) -> ServerInfo:
        address = {"host": HOST, "port": self._state().port}
        self._wait(**address, user=USER, password=self._password()).close()
        return self._info()

    def _wait(self, **address: Any) -> pymysql.Connection:
        """Wait until the server answers at an address and return the connection."""
        deadline = time.monotonic() + READY_SECONDS
        while True:
            # PyMySQL leaves a socket open each time a local one refuses, so ask before.
            if "unix_socket" not in address or _listens(address["unix_socket"]):
                try:
                    return pymysql.connect(connect_timeout=10, **address)
                except pymysql.err.OperationalError as error:
                    if error.args[0] == ACCESS_DENIED:
                        raise ServerError(
                            f"the private server refuses the password in {self.folder / 'password'}"
                        ) from error
            if self._pid() is None:
                raise _Ended(f"the private database server ended.\n{tail(self.log)}")
            if time.monotonic() > deadline:
                raise ServerError(
                    f"the private database server does not answer after {READY_SECONDS:.0f} s; it "
                    f"may still be recovering: try again later.\n{tail(self.log)}"
                )
            time.sleep(0.05)

    def _terminate(self) -> bool:
        """Ask the process to end and wait for it; False when there is none."""
        pid = self._pid()
        if pid is None:
            return False
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while self._pid() is not None:
            if time.monotonic() > deadline:
                raise ServerError(
                    f"the private database server (process {pid}) does not end after "
                    f"{STOP_SECONDS:.0f} s.\n{tail(self.log)}"
                )
            time.sleep(0.05)
        if self._state_file.exists():
            self._remember(replace(self._state(), pid=None))
        return True

    def _pid(self) -> int | None:
        """Return the process of the server, None when it has none that is alive."""
        known = self._state().pid if self._state_file.exists() else None
        # Who listens on the socket is asked too: its folder may be removed under a server.
        for pid in (known, _listener_of(self.socket)):
            # By its command line: after a reboot the number may belong to a stranger.
            if pid is not None and f"--datadir={self.folder}/" in _command_of(pid):
                return pid
        return None

    # ---- what is remembered

    @property
    def _state_file(self) -> Path:
        return self.folder / "server.json"

    def _state(self) -> _State:
        return _State(**json.loads(self._state_file.read_text()))

    def _remember(self, state: _State) -> None:
        unfinished = self.folder / "server.json.new"
        unfinished.write_text(json.dumps(asdict(state), indent=2) + "\n")
        unfinished.replace(self._state_file)

    def _password(self) -> str:
        return (self.folder / "password").read_text()

    def _info(self) -> ServerInfo:
        state = self._state()
        return ServerInfo(
            **{**asdict(state), "pid": self._pid()},
            password=self._password(),
            socket=self.socket,
            data_folder=self.data_folder,
            log=self.log,
        )

    # ---- places

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Let one process at a time start or stop this server."""
        with self._readable():
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.log.parent.mkdir(parents=True, exist_ok=True)
            stream = (self.folder / "lock").open("w")
        with stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            raise ServerError(
                f"{self.folder} is not accessible ({error.strerror}): the private server "
                "belongs to another user. Use another INCEPTIONLOOP_HOME, or set DJ_HOST, DJ_PORT, "
                "DJ_USER and DJ_PASS"
            ) from error

    def _make_socket_folder(self) -> None:
        """Make the folder of the socket, which nobody else may have made before."""
        folder = self.socket.parent
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if folder.is_symlink() or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise ServerError(f"{folder} was made by somebody else: remove it")
        # Left by a killed server; MySQL would believe it alive if its number is in use again.
        for name in (self.socket.name, f"{self.socket.name}.lock"):
            (folder / name).unlink(missing_ok=True)

    def _free_port(self) -> int:
        """Return the port of the last time, or the next one that is free."""
        # Below the ports that the system gives to outgoing connections, so that it stays ours.
        first = 20_000 + int(self._digest[:8], 16) % 12_000
        for port in (self._state().port, *range(first, first + 500)):
            if port and _is_free(port):
                return port
        raise ServerError(f"no free port on {HOST} from {first} to {first + 499}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the server does: connections of the last run that still linger do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


def _command_of(pid: int) -> str:
    """Return the command line of a process, empty when it is dead."""
    try:
        if not Path("/proc/self").exists():
            ps = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
            return subprocess.run(ps, capture_output=True, text=True, check=False).stdout
        for _ in range(200):
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            if command or state in "ZX":
                break
            # No command line either while it becomes the server, or lets go of port and files.
            time.sleep(0.01)
        return command.replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _listener_of(path: Path) -> int | None:
    """Return the process that answers on a local socket, None when nobody does."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(str(path)):
            return None
        return struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]


def _write_private(path: Path, text: str) -> None:
    """Write a new file that only its owner can ever read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
