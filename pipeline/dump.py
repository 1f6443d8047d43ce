"""Dumps of the database by the server's own client programs."""

import gzip
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import BinaryIO

import datajoint as dj
from tqdm import tqdm

from pipeline.address import Address
from pipeline.errors import UserError

DUMP_PROGRAMS = ("mariadb-dump", "mysqldump")
LOAD_PROGRAMS = ("mariadb", "mysql")

# One snapshot of all schemas, without a lock. `loose`: for the clients that know them.
OPTIONS = (
    "--single-transaction",
    "--quick",
    "--hex-blob",
    "--skip-comments",
    "--no-tablespaces",
    "--skip-add-locks",  # a right that the account may not have
    "--default-character-set=utf8mb4",
    "--max-allowed-packet=1G",
    "--loose-set-gtid-purged=OFF",
    "--loose-column-statistics=0",
)
STRING = re.compile(rb"'(?:[^'\\]|\\.)*'", re.DOTALL)
SANDBOX = b"/*M!999999"
"""How a dump of MariaDB begins; MySQL's client takes it for a command that it does not know."""


class DumpFailed(UserError):
    """A client program that is missing or failed; the message holds what it said."""


@dataclass
class _RowCount:
    """Counts the rows of a dump as it passes: the same snapshot, whatever workers do meanwhile."""

    rows: dict[str, int] = field(default_factory=dict)
    _schema: str = ""
    _table: str = ""

    def see(self, line: bytes) -> None:
        if line.startswith(b"USE `"):
            self._schema = line.split(b"`")[1].decode()
        elif line.startswith(b"CREATE TABLE `"):
            self.rows[f"{self._schema}.{_first_name(line)}"] = 0
        elif line.startswith(b"INSERT INTO `"):
            self._table = f"{self._schema}.{_first_name(line)}"
            line = line.partition(b" VALUES")[2]
        if self._table:
            # Outside text a parenthesis begins a row: numbers, NULL and 0xFF have none.
            self.rows[self._table] += STRING.sub(b"", line).count(b"(")
            if line.endswith(b";\n"):
                self._table = ""


def _first_name(line: bytes) -> str:
    return line.split(b"`")[1].decode()


def dump(address: Address, schemas: Sequence[str], file: Path) -> dict[str, int]:
    """Write the schemas as they are at one moment into a compressed file.

    Returns
    -------
    dict
        Number of rows by ``schema.table``.

    Raises
    ------
    DumpFailed
        If the program is missing or fails.
    """
    program, counted = _find(DUMP_PROGRAMS), _RowCount()
    with (
        _option_file(address) as options,
        TemporaryFile() as errors,
        gzip.open(file, "wb", compresslevel=3) as stream,
        tqdm(desc="database", unit="B", unit_scale=True, leave=False, disable=None) as bar,
    ):
        command = [program, options, *OPTIONS, "--databases", *schemas]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as process:
            for line in process.stdout or ():
                counted.see(line)
                stream.write(line)
                bar.update(len(line))
        _succeeded(program, process.returncode, errors)
    return counted.rows


def server_kind() -> str:
    """Return 'MariaDB' or 'MySQL', as the server says."""
    (version,) = dj.conn().query("SELECT VERSION()").fetchone()
    return "MariaDB" if "MariaDB" in version else "MySQL"


def load(address: Address, file: Path) -> None:
    """Execute a dump.

    Raises
    ------
    DumpFailed
        If the program is missing or fails.
    """
    program = _find(LOAD_PROGRAMS)
    of_mariadb = (
        "MariaDB"
        in subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    )
    with (
        _option_file(address) as options,
        TemporaryFile() as errors,
        gzip.open(file, "rb") as stream,
        tqdm(desc="database", unit="B", unit_scale=True, leave=False, disable=None) as bar,
    ):
        command = [program, options, "--default-character-set=utf8mb4", "--max-allowed-packet=1G"]
        with (
            suppress(BrokenPipeError),  # it has ended, and says why
            subprocess.Popen(command, stdin=subprocess.PIPE, stderr=errors) as process,
        ):
            _feed(process.stdin, _for_client(stream, of_mariadb), bar)
        _succeeded(program, process.returncode, errors)


def _for_client(lines: Iterable[bytes], of_mariadb: bool) -> Iterator[bytes]:
    return (line for line in lines if of_mariadb or not line.startswith(SANDBOX))


def _feed(stdin: BinaryIO, lines: Iterable[bytes], bar: tqdm) -> None:
    with stdin:
        for line in lines:
            stdin.write(line)
            bar.update(len(line))


def _find(names: Sequence[str]) -> str:
    """Return the client program, the server's own rather than another one's."""
    for name in names if server_kind() == "MariaDB" else reversed(names):
        if path := shutil.which(name):
            return path
    raise DumpFailed(
        f"there is no {' or '.join(names)} here: install the client programs of the server, on "
        "Debian with: apt-get install mariadb-client"
    )


def _succeeded(program: str, status: int, errors: BinaryIO) -> None:
    if status:
        errors.seek(0)
        said = errors.read().decode(errors="replace").strip()[-2000:]
        raise DumpFailed(f"{Path(program).name} ended with status {status}: {said}")


@contextmanager
def _option_file(address: Address) -> Iterator[str]:
    """Say where the database is in a file that only this user can read, and return the option."""
    lines = [
        "[client]",
        "protocol=TCP",
        f"host={address.host}",
        f"port={address.port}",
        f"user={_quoted(address.user)}",
        f"password={_quoted(address.password)}",
        *_tls_options(address),
    ]
    with TemporaryDirectory(prefix="inceptionloop-") as folder:  # of mode 0700
        file = Path(folder) / "client.cnf"
        file.write_text("\n".join(lines) + "\n")
        yield f"--defaults-file={file}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _tls_options(address: Address) -> list[str]:
    """Say what TLS must be like to clients of both kinds, which call it differently."""
    unverified = "loose-skip-ssl-verify-server-cert"
    if address.tls is None:
        return [unverified]
    if ca := address.tls.get("ca"):
        verified = ["loose-ssl-verify-server-cert", "loose-ssl-mode=VERIFY_IDENTITY"]
        return [f"ssl-ca={_quoted(ca)}", *verified]
    return ["loose-ssl", unverified, "loose-ssl-mode=REQUIRED"]
