"""DataJoint, connected: to the server of ``DJ_HOST``, else to the private one of the project."""

import json
import logging
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pymysql
from pymysql import converters

from pipeline.errors import UserError
from pipeline.server import PrivateServer, Report
from pipeline.settings import Settings

with warnings.catch_warnings():
    # Its configuration file is optional: the environment and this module say everything.
    warnings.filterwarnings("ignore", "No datajoint.json found", UserWarning)
    warnings.filterwarnings("ignore", "datajoint.migrate is deprecated", DeprecationWarning)
    import datajoint as dj
    from datajoint import codecs, instance

STORE = "main"

_parse_as_released = codecs.parse_type_spec


class DatabaseUnavailable(UserError):
    """The database does not answer or lets nobody in; the message says which one and what to do."""


@dataclass(frozen=True)
class Address:
    """Where a database is and how to enter it."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)


def connect(settings: Settings | None = None, report: Report = lambda message: None) -> None:
    """Connect DataJoint and configure it; once connected, do nothing.

    With ``DJ_HOST`` in the environment that server is used, as ``DJ_PORT``, ``DJ_USER`` and
    ``DJ_PASS`` say, and no private server is ever started. The object store is the one of
    ``DJ_STORES``, else the folder ``Settings.store_folder``.

    Parameters
    ----------
    settings : Settings, optional
        Of the project; by default from the environment.
    report : callable
        Told what is being done while a private server starts.

    Raises
    ------
    DatabaseUnavailable
        If the server of ``DJ_HOST`` does not answer, or refuses the user.
    ServerError
        If the private server cannot be started.
    """
    settings = settings or Settings()
    target = address(settings, report)
    if _is_connected_to(target):
        _configure(target, settings)
        return
    try:
        # Nothing is changed before the server has answered.
        _adapt_driver("MariaDB" in _version(target))
        _configure(target, settings)
        codecs.parse_type_spec = _parse_type_spec
        with warnings.catch_warnings():
            # This project is tested on both servers.
            warnings.filterwarnings("ignore", "MariaDB is not officially supported", UserWarning)
            dj.conn(reset=True)
    # RuntimeError: how PyMySQL asks for a package that a way of authentication needs.
    except (pymysql.err.MySQLError, dj.DataJointError, RuntimeError) as error:
        raise DatabaseUnavailable(
            f"no connection to the database at {target.host}:{target.port} as {target.user}: "
            f"{error.args[-1]}. Check that the server runs and that DJ_HOST, DJ_PORT, DJ_USER "
            "and DJ_PASS are right (without DJ_HOST a private server is used)"
        ) from error


def address(settings: Settings, report: Report = lambda message: None) -> Address:
    """Return the address of the database of a project, starting its private server if it has one.

    Raises
    ------
    DatabaseUnavailable
        If ``DJ_HOST`` is set without a user and a password, or its port is not a number.
    ServerError
        If the private server cannot be started.
    """
    host = os.environ.get("DJ_HOST")
    if not host:
        server = PrivateServer(settings).start(report)
        return Address(server.host, server.port, server.user, server.password)
    host, _, port = host.partition(":")
    port = port or os.environ.get("DJ_PORT") or "3306"
    user, password = os.environ.get("DJ_USER"), os.environ.get("DJ_PASS")
    if not port.isdecimal() or not user or password is None:
        raise DatabaseUnavailable(
            f"DJ_HOST is {host}: set DJ_USER and DJ_PASS too, and DJ_PORT to a number (default "
            "3306). Without DJ_HOST a private server is used"
        )
    return Address(host, int(port), user, password)


def _configure(target: Address, settings: Settings) -> None:
    dj.config["database.host"] = target.host
    dj.config["database.port"] = target.port
    dj.config["database.user"] = target.user
    dj.config["database.password"] = target.password
    # Nobody answers a question in a worker.
    dj.config["safemode"] = False
    dj.config["jobs.add_job_metadata"] = True
    dj.config["jobs.keep_completed"] = True
    if "DJ_LOG_LEVEL" not in os.environ:
        dj.config["loglevel"] = "WARNING"
    logging.getLogger("datajoint").addFilter(_is_news)
    # A default store of another name, or one in DJ_STORES, is the user's.
    if not os.environ.get("DJ_STORES") and dj.config.stores.get("default", STORE) == STORE:
        settings.store_folder.mkdir(parents=True, exist_ok=True)
        location = {"protocol": "file", "location": str(settings.store_folder)}
        dj.config.stores.update({"default": STORE, STORE: location})


def _is_news(record: logging.LogRecord) -> bool:
    # A job table inherits its key without the marker of a core type, once for each table.
    return not record.getMessage().startswith("Native type")


def _is_connected_to(target: Address) -> bool:
    # dj.conn() would open one where there is none yet.
    connection = instance._singleton_connection
    if connection is None:
        return False
    info = connection.conn_info
    known = Address(info["host"], info["port"], info["user"], info["passwd"])
    return known == target and connection.is_connected


def _version(target: Address) -> str:
    """Ask the server for its version, before DataJoint does anything with it."""
    connection = pymysql.connect(
        host=target.host,
        port=target.port,
        user=target.user,
        password=target.password,
        connect_timeout=10,
    )
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT VERSION()")
        return cursor.fetchone()[0]


def _adapt_driver(mariadb: bool) -> None:
    """Make PyMySQL write a dict as JSON on MariaDB, and as ever elsewhere.

    MariaDB's ``json`` is a ``longtext`` with a check, and that is the type DataJoint reads back:
    it then hands what its codecs store (a dict) to the driver as it is, where on MySQL it writes
    the JSON itself.
    """
    converters.conversions[dict] = _escape_json if mariadb else converters.encoders[dict]


def _escape_json(value: Mapping[str, Any], mapping: Mapping | None = None) -> str:
    return converters.escape_str(json.dumps(value), mapping)


def _parse_type_spec(spec: str) -> tuple[str, str | None]:
    """Parse ``<npy@>`` with the name of the default store, as DataJoint documents it.

    DataJoint 2.3.5 keeps the name empty and then finds no store called ``""``. Giving it here also
    puts the name into every row, by which the garbage collector finds what is in use.
    """
    name, store = _parse_as_released(spec)
    return name, dj.config.stores.get("default", store) if store == "" else store
