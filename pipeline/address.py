"""Where the database of a project is and how to enter it: address, account, password, TLS."""

import ipaddress
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pipeline.errors import UserError
from pipeline.server import PrivateServer, Report
from pipeline.settings import Settings

MOUNTED_SECRETS = (Path("/run/secrets"), Path("/var/run/secrets"))


class DatabaseUnavailable(UserError):
    """The database does not answer or lets nobody in; the message says which one and what to do."""


@dataclass(frozen=True)
class Address:
    """Where a database is and how to enter it.

    Attributes
    ----------
    host, port, user, password : str, int, str, str
        The password is not part of the representation.
    tls : mapping or None
        What TLS must be like, as PyMySQL takes it; None: TLS where the server offers it.
    """

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    tls: Mapping[str, Any] | None = None


def address(settings: Settings, report: Report = lambda message: None) -> Address:
    """Return the address of the database of a project, starting its private server if it has one.

    With ``DJ_HOST``, the password is that of ``DJ_PASS`` or of the file ``DJ_PASS_FILE``. To any
    host but this machine TLS is required: ``DJ_TLS_CA``, a file of certificates, has the server
    prove its name too, and ``DJ_USE_TLS=false`` does without.

    Raises
    ------
    DatabaseUnavailable
        If ``DJ_HOST`` is set and something of this is missing or contradicts the other.
    ServerError
        If the private server cannot be started.
    """
    host = os.environ.get("DJ_HOST")
    if not host:
        server = PrivateServer(settings).start(report)
        return Address(server.host, server.port, server.user, server.password)
    host, _, port = host.partition(":")
    port = port or os.environ.get("DJ_PORT") or "3306"
    user, password = os.environ.get("DJ_USER"), _password()
    if not port.isdecimal() or not user or password is None:
        raise DatabaseUnavailable(
            f"DJ_HOST is {host}: set DJ_USER and DJ_PASS too (or DJ_PASS_FILE, a file that holds "
            "the password), and DJ_PORT to a number (default 3306). Without DJ_HOST a private "
            "server is used"
        )
    return Address(host, int(port), user, password, _tls(host))


def is_this_machine(host: str) -> bool:
    """Whether a host is the loopback, by its name alone: what a name resolves to can change."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_secret(path: Path, name: str) -> str:
    """Read a password from a file.

    Parameters
    ----------
    path : Path
        The line break at the end of its text is not part of the password.
    name : str
        What named the file, for the message of an error.

    Raises
    ------
    DatabaseUnavailable
        If it cannot be read, or everybody on this machine can read it. Below ``/run/secrets``,
        where Docker and Kubernetes mount secrets for one container, that is as it should be.
    """
    try:
        mounted = any(path.absolute().is_relative_to(folder) for folder in MOUNTED_SECRETS)
        if not mounted and path.stat().st_mode & stat.S_IROTH:
            raise DatabaseUnavailable(
                f"{name} is {path}, which everybody on this machine can read: chmod 600 {path}, "
                "and change the password if others may have seen it"
            )
        return path.read_text().removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise DatabaseUnavailable(f"{name} is {path}, which cannot be read: {error}") from error


def _password() -> str | None:
    password, file = os.environ.get("DJ_PASS"), os.environ.get("DJ_PASS_FILE")
    if not file:
        return password
    if password:
        raise DatabaseUnavailable("both DJ_PASS and DJ_PASS_FILE are set: unset one of them")
    return read_secret(Path(file), "DJ_PASS_FILE")


def _tls(host: str) -> dict[str, Any] | None:
    """Return what PyMySQL is told: not an empty dictionary, which it takes for 'if possible'."""
    asked, authority = os.environ.get("DJ_USE_TLS"), os.environ.get("DJ_TLS_CA")
    try:
        required = TypeAdapter(bool).validate_python(asked) if asked else None
    except ValidationError as error:
        raise DatabaseUnavailable(f"DJ_USE_TLS is '{asked}': set it to true or false") from error
    if authority:
        if required is False:
            raise DatabaseUnavailable("DJ_TLS_CA is set but DJ_USE_TLS is false: unset one of them")
        if not os.access(authority, os.R_OK):
            raise DatabaseUnavailable(f"DJ_TLS_CA is {authority}, which cannot be read")
        return {"ca": authority}
    if required is None:
        required = not is_this_machine(host)
    return {"check_hostname": False} if required else None
