"""DataJoint, connected: to the server of ``DJ_HOST``, else to the private one of the project."""

import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pymysql
from pymysql import converters

from pipeline.address import Address, DatabaseUnavailable, address
from pipeline.object_store import use_store
from pipeline.server import Report
from pipeline.settings import Settings

with warnings.catch_warnings():
    # Its configuration file is optional: the environment and this module say everything.
    warnings.filterwarnings("ignore", "No datajoint.json found", UserWarning)
    warnings.filterwarnings("ignore", "datajoint.migrate is deprecated", DeprecationWarning)
    import datajoint as dj
    from datajoint import codecs, instance

_parse_as_released = codecs.parse_type_spec


def connect(settings: Settings | None = None, report: Report = lambda message: None) -> None:
    """Connect DataJoint and configure it; once connected, do nothing.

    With ``DJ_HOST`` in the environment that server is used, as `pipeline.address` says, and no
    private server is ever started. The object store is the one of ``DJ_STORES``, else
    ``Settings.store_location``.

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
    with explained(target):
        # Nothing is changed before the server has answered.
        _adapt_driver("MariaDB" in _version(target))
        _configure(target, settings)
        codecs.parse_type_spec = _parse_type_spec
        with warnings.catch_warnings():
            # This project is tested on both servers.
            warnings.filterwarnings("ignore", "MariaDB is not officially supported", UserWarning)
            # Not None, with which DataJoint falls back to no TLS whatever the error was.
            dj.conn(reset=True, use_tls=target.tls or False)


def driver_connection(target: Address | None = None) -> pymysql.Connection:
    """Open a connection of the driver alone, in autocommit, as DataJoint's own is.

    Parameters
    ----------
    target : Address, optional
        By default the one that DataJoint is connected to.

    Raises
    ------
    pymysql.err.MySQLError
        If the server does not answer, lets the user not in, or offers no TLS where it is required.
    """
    target = target or _address_of(dj.conn())
    return pymysql.connect(
        host=target.host,
        port=target.port,
        user=target.user,
        password=target.password,
        ssl=target.tls,
        autocommit=True,
        connect_timeout=10,
    )


@contextmanager
def explained(target: Address) -> Iterator[None]:
    """Turn the failure to connect to an address into `DatabaseUnavailable`."""
    try:
        yield
    # RuntimeError: how PyMySQL asks for a package that a way of authentication needs.
    except (pymysql.err.MySQLError, dj.DataJointError, RuntimeError, OSError) as error:
        raise DatabaseUnavailable(
            f"no connection to the database at {target.host}:{target.port} as {target.user}: "
            f"{error.args[-1]}. {advice(target, str(error))}"
        ) from error


def advice(target: Address, error: str) -> str:
    """Return what to do about a failure to connect, by what the driver said."""
    if target.tls and "certificate" in error.lower():
        return (
            "DJ_TLS_CA must hold the certificate of the authority that signed the server's, and "
            f"that must be for the name {target.host}"
        )
    if target.tls and "SSL" in error:
        return (
            "TLS is required to other machines: give the server a certificate, or set "
            "DJ_USE_TLS=false if you trust the network"
        )
    return (
        "Check that the server runs and that DJ_HOST, DJ_PORT, DJ_USER and DJ_PASS are right "
        "(without DJ_HOST a private server is used)"
    )


def _configure(target: Address, settings: Settings) -> None:
    dj.config["database.host"] = target.host
    dj.config["database.port"] = target.port
    dj.config["database.user"] = target.user
    dj.config["database.password"] = target.password
    # Nobody answers a question in a worker.
    dj.config["safemode"] = False
    dj.config["jobs.add_job_metadata"] = True
    dj.config["jobs.keep_completed"] = True
    # Who inserted a row, in the row: whose it is when it is to be deleted.
    dj.config["provenance.capture"] = True
    if "DJ_LOG_LEVEL" not in os.environ:
        dj.config["loglevel"] = "WARNING"
    logging.getLogger("datajoint").addFilter(_is_news)
    use_store(settings)


def _is_news(record: logging.LogRecord) -> bool:
    # A job table inherits its key without the marker of a core type, once for each table.
    return not record.getMessage().startswith("Native type")


def _is_connected_to(target: Address) -> bool:
    # dj.conn() would open one where there is none yet.
    connection = instance._singleton_connection
    if connection is None:
        return False
    return _address_of(connection) == target and connection.is_connected


def _address_of(connection: dj.Connection) -> Address:
    info = connection.conn_info
    return Address(info["host"], info["port"], info["user"], info["passwd"], info.get("ssl"))


def _version(target: Address) -> str:
    """Ask the server for its version, before DataJoint does anything with it."""
    with driver_connection(target) as connection, connection.cursor() as cursor:
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
