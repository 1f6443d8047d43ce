"""Connections of SQLAlchemy to the database of a project, on which nothing can be written."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pipeline.address import Address, DatabaseUnavailable
from pipeline.connection import advice
from pipeline.errors import UserError

if TYPE_CHECKING:
    import sqlalchemy

CONNECT_SECONDS = 10
GRACE_SECONDS = 5
UNKNOWN_DATABASE = 1049
TLS_OF_CHOICE, TLS_REQUIRED, TLS_VERIFIED = "PREFERRED", "REQUIRED", "VERIFY_IDENTITY"


def reading_engine(
    target: Address,
    schema: str,
    statement_seconds: int | None = None,
    **pool: Any,
) -> "sqlalchemy.Engine":
    """Return an engine all of whose connections only read, whatever the account may do.

    Parameters
    ----------
    target : Address
    schema : str
        Database schema whose tables and views are known by their bare names.
    statement_seconds : int, optional
        After which the server gives up a statement; a connection without any answer for a little
        longer counts as lost.
    **pool
        How SQLAlchemy keeps connections.

    Raises
    ------
    UserError
        If SQLAlchemy or mysqlclient are not installed.
    """
    sqlalchemy = import_sqlalchemy()
    url = sqlalchemy.URL.create(
        "mysql+mysqldb",
        target.user,
        target.password,
        # The client library takes that name for a socket, others for this address.
        "127.0.0.1" if target.host == "localhost" else target.host,
        target.port,
        schema,
        {"charset": "utf8mb4"},
    )
    options = {"connect_timeout": CONNECT_SECONDS, "multi_statements": False, **_tls(target)}
    if statement_seconds is not None:
        options["read_timeout"] = statement_seconds + GRACE_SECONDS
    engine = sqlalchemy.create_engine(url, connect_args=options, **pool)

    @sqlalchemy.event.listens_for(engine, "connect")
    def begin(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        _require_encryption(cursor, target)
        if statement_seconds is not None:
            _limit_statements(cursor, statement_seconds)
        cursor.execute("SET SESSION TRANSACTION READ ONLY")
        cursor.close()
        connection.commit()

    return engine


@contextmanager
def connection(engine: "sqlalchemy.Engine", target: Address) -> Iterator["sqlalchemy.Connection"]:
    """Connect, or take a connection that is open.

    Raises
    ------
    DatabaseUnavailable
        If the server does not answer, lets the account not in, or has no such schema.
    """
    sqlalchemy = import_sqlalchemy()
    try:
        opened = engine.connect()
    except sqlalchemy.exc.DBAPIError as error:
        raise _unavailable(target, engine.url.database, error.orig) from error
    with opened:
        yield opened


def import_sqlalchemy() -> Any:
    """Import what is needed for SQL, which not every worker has."""
    try:
        import MySQLdb  # noqa: F401
        import sqlalchemy
        import sqlalchemy.event
        import sqlalchemy.exc
    except ImportError as error:
        raise UserError(
            f"SQL needs the package {error.name}: pip install 'inceptionloop[sql]'"
        ) from error
    return sqlalchemy


def _limit_statements(cursor: Any, seconds: int) -> None:
    cursor.execute("SELECT VERSION()")
    (version,) = cursor.fetchone()
    if "MariaDB" in version:
        cursor.execute(f"SET SESSION max_statement_time = {seconds}")
    else:
        cursor.execute(f"SET SESSION max_execution_time = {1000 * seconds}")


def _require_encryption(cursor: Any, target: Address) -> None:
    """Ask, since MariaDB's client library goes without what it is only told to require."""
    if not target.tls:
        return
    cursor.execute("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
    status = cursor.fetchone()
    if not (status and status[1]):
        raise DatabaseUnavailable(
            f"the database at {target.host}:{target.port} offers no TLS. {advice(target, 'no SSL')}"
        )


def _unavailable(
    target: Address, schema: str | None, error: BaseException | None
) -> DatabaseUnavailable:
    code, *_, said = error.args if error and error.args else (0, "")
    if code == UNKNOWN_DATABASE:
        return DatabaseUnavailable(
            f"there is no schema '{schema}' on this server: its views are made by `inceptionloop "
            "init`, which is safe to repeat"
        )
    return DatabaseUnavailable(
        f"no connection to the database at {target.host}:{target.port} as {target.user}: {said}. "
        f"{advice(target, str(said))}"
    )


def _tls(target: Address) -> dict[str, Any]:
    """Say what TLS must be like to mysqlclient, which calls it otherwise than PyMySQL."""
    if target.tls is None:
        return {"ssl_mode": TLS_OF_CHOICE}
    if "ca" in target.tls:
        return {"ssl_mode": TLS_VERIFIED, "ssl": {"ca": target.tls["ca"]}}
    return {"ssl_mode": TLS_REQUIRED}
