"""The program of a private database server: which one, its options, how it makes its data."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.errors import UserError

Kind = Literal["mysql", "mariadb"]

MINIMUM: dict[Kind, tuple[int, ...]] = {"mysql": (8, 0, 13), "mariadb": (10, 6, 0)}

# Ordinary users often lack the sbin folders in PATH, and this is where server programs lie.
FOLDERS = (
    "/usr/sbin",
    "/usr/local/sbin",
    "/usr/libexec",
    "/usr/local/mysql/bin",
    "/opt/homebrew/bin",
)

INSTALL = (
    "no database server program was found on this machine. Install one "
    "(Debian, Ubuntu: apt-get install mariadb-server-core mariadb-client-core, or mariadb-server), "
    "name one in INCEPTIONLOOP_MYSQLD, or set DJ_HOST, DJ_USER and DJ_PASS to use a server of your "
    "laboratory"
)


class ServerError(UserError):
    """The private database server cannot do what was asked; the message says why and what to do."""


@dataclass(frozen=True)
class Program:
    """A server program: its path, its kind by its own account, and its version."""

    path: str
    kind: Kind
    version: str


def find_program(
    requested: str | None = None, kind: str | None = None, last: str | None = None
) -> Program:
    """Find the program to run.

    Parameters
    ----------
    requested : str, optional
        Path or name of the one to use.
    kind : {"mysql", "mariadb"}, optional
        Kind of server that made the data directory, which no other can read.
    last : str, optional
        Path of the one that ran last, preferred to the others of its kind.

    Returns
    -------
    Program
        The requested one; else a MySQL of this machine, else a MariaDB, of the given kind.

    Raises
    ------
    ServerError
        If there is none, it is too old, or it is not of the given kind.
    """
    if requested:
        program = _inspect(requested)
        if program is None:
            raise ServerError(f"{requested} is not a MySQL or MariaDB server program")
        found = [program]
    else:
        path = os.pathsep.join([os.environ.get("PATH", ""), *FOLDERS])
        names = [last, *(shutil.which(name, path=path) for name in ("mysqld", "mariadbd"))]
        found = [program for name in names if name and (program := _inspect(name))]
        # By what it says, not by its name: Debian's mysqld is a link to mariadbd.
        found.sort(key=lambda program: program.kind != "mysql")
    if not found:
        raise ServerError(INSTALL)
    matching = [program for program in found if kind in (None, program.kind)]
    if not matching:
        raise ServerError(
            f"the data directory of this project was made by {kind}, but the program found is "
            f"{found[0].path} ({found[0].kind}). Name a {kind} program in INCEPTIONLOOP_MYSQLD, or "
            "use another INCEPTIONLOOP_HOME"
        )
    program = matching[0]
    minimum = MINIMUM[program.kind]
    if tuple(int(part) for part in program.version.split(".")) < minimum:
        wanted = ".".join(map(str, minimum))
        raise ServerError(
            f"{program.path} is {program.kind} {program.version}; at least {wanted} is needed"
        )
    return program


def make_data_folder(program: Program, folder: Path, log: Path) -> None:
    """Make a data directory whose only way in is root without a password, over a local socket.

    Raises
    ------
    ServerError
        If the program cannot make it.
    """
    common = ["--no-defaults", f"--datadir={folder}", *_as_root()]
    if program.kind == "mysql":
        command = [program.path, *common, "--initialize-insecure"]
    else:
        base = Path(program.path).resolve().parent.parent
        command = [
            *(_mariadb_installer(base), *common, f"--basedir={base}", "--skip-test-db"),
            *("--skip-name-resolve", "--auth-root-authentication-method=normal"),
        ]
    with log.open("ab") as stream:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, check=False
        )
    if done.returncode:
        raise ServerError(f"{command[0]} could not make the data directory {folder}\n{tail(log)}")


def command_line(program: Program, folder: Path, socket: Path, port: int | None) -> list[str]:
    """Return the command that runs a server, without network when `port` is None."""
    network = (
        ["--skip-networking"] if port is None else ["--bind-address=127.0.0.1", f"--port={port}"]
    )
    command = [
        *(program.path, "--no-defaults", f"--datadir={folder}", f"--socket={socket}", *network),
        *(f"--pid-file={folder.parent / 'mysqld.pid'}", f"--tmpdir={folder.parent / 'tmp'}"),
        *("--character-set-server=utf8mb4", "--collation-server=utf8mb4_bin"),
        *("--max-allowed-packet=256M", "--innodb-lock-wait-timeout=30", "--max-connections=200"),
        *("--innodb-buffer-pool-size=256M", "--innodb-flush-log-at-trx-commit=1", "--skip-log-bin"),
        *("--skip-name-resolve", "--performance-schema=OFF", "--local-infile=OFF", *_as_root()),
    ]
    if program.kind == "mysql":
        # Distributions compile in a folder for exports that an ordinary user cannot open.
        command += ["--mysqlx=OFF", "--secure-file-priv=NULL"]
    return command


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a server log, with its place, for an error message."""
    text = log.read_text(errors="replace").splitlines() if log.exists() else []
    hint = ""
    if any("ermission denied" in line for line in text[-lines:]):
        hint = "\n(If the folder is yours, AppArmor may confine the server: see /etc/apparmor.d.)"
    return "\n".join([f"The last lines of {log}:", *text[-lines:]]) + hint


def _inspect(name: str) -> Program | None:
    """Ask a program what it is; None when it is no database server."""
    try:
        answer = subprocess.run(
            [name, "--no-defaults", "--version"], capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"Ver (\d+\.\d+\.\d+)(\S*)", answer.stdout)
    if match is None:
        return None
    path = shutil.which(name) or name
    return Program(path, "mariadb" if "MariaDB" in match[2] else "mysql", match[1])


def _mariadb_installer(base: Path) -> str:
    names = ("mariadb-install-db", "mysql_install_db")
    for path in (base / folder / name for name in names for folder in ("bin", "scripts")):
        if path.exists():
            return str(path)
    raise ServerError(
        f"mariadb-install-db is missing below {base}: install the whole of MariaDB "
        "(Debian, Ubuntu: apt-get install mariadb-server-core mariadb-client-core)"
    )


def _as_root() -> list[str]:
    # Both servers refuse to run as root unless told so.
    return ["--user=root"] if os.getuid() == 0 else []
