"""SQL that only reads, as a pandas frame: the views of a project by their names, and all tables."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pandas as pd

from pipeline.address import Address, DatabaseUnavailable, address
from pipeline.connection import advice
from pipeline.errors import UserError
from pipeline.server import Report
from pipeline.settings import Settings
from schemas.views import VIEWS, schema_of_views

if TYPE_CHECKING:
    import sqlalchemy

READS = ("SELECT", "WITH", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "TABLE", "VALUES")
BEGINNING = re.compile(r"(?:\s|\(|--[^\n]*\n|#[^\n]*\n|/\*(?!M?!).*?\*/)*(\w*)", re.DOTALL)
AS_WRITTEN = {"no_parameters": True}
UNKNOWN_DATABASE, NO_SUCH_TABLE = 1049, 1146
TLS_OF_CHOICE, TLS_REQUIRED, TLS_VERIFIED = "PREFERRED", "REQUIRED", "VERIFY_IDENTITY"


class BadQuery(UserError):
    """A query that the server refuses or that does not only read; the message says why."""


def read_sql(
    query: str,
    params: Mapping[str, Any] | None = None,
    settings: Settings | None = None,
    report: Report = lambda message: None,
) -> pd.DataFrame:
    """Ask the project's database and return the rows.

    Nothing can be changed by it, whatever the account may do: the transaction is read-only.

    Parameters
    ----------
    query : str
        One statement. Views are known by their names, as in ``SELECT * FROM units``.
    params : mapping, optional
        Values of ``:name`` in the query.
    settings : Settings, optional
        Of the project; by default from the environment.
    report : callable
        Told what is being done while a private server starts.

    Raises
    ------
    BadQuery
        If the query is not one that only reads, or the server refuses it.
    DatabaseUnavailable
        If the server does not answer, lets the account not in, or has no views.
    UserError
        If SQLAlchemy or mysqlclient are not installed.
    """
    sqlalchemy = _sqlalchemy()
    settings = settings or Settings()
    beginning = BEGINNING.match(query)
    if not beginning or beginning[1].upper() not in READS:
        raise BadQuery(f"'{_line(query)}' does not only read: begin with one of {', '.join(READS)}")
    with _connection(address(settings, report), schema_of_views(settings.prefix)) as connection:
        connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY")
        connection.commit()
        try:
            if params is None:
                # Without parameters a percent sign or a colon is no more than that.
                result = connection.exec_driver_sql(query, execution_options=AS_WRITTEN)
            else:
                result = connection.execute(sqlalchemy.text(query), dict(params))
            if not result.returns_rows:
                raise BadQuery(f"'{_line(query)}' returns no rows")
            rows, columns = result.fetchall(), list(result.keys())
        except sqlalchemy.exc.StatementError as error:
            raise BadQuery(_refusal(error.orig or error)) from error
    return pd.DataFrame.from_records(rows, columns=columns, coerce_float=True)


@contextmanager
def _connection(target: Address, schema: str) -> Iterator["sqlalchemy.Connection"]:
    sqlalchemy = _sqlalchemy()
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
    options = {"connect_timeout": 10, "multi_statements": False, **_tls(target)}
    engine = sqlalchemy.create_engine(url, connect_args=options, poolclass=sqlalchemy.NullPool)
    try:
        connection = engine.connect()
    except sqlalchemy.exc.DBAPIError as error:
        raise _unavailable(target, schema, error.orig) from error
    with connection:
        if target.tls and not _is_encrypted(connection):
            raise DatabaseUnavailable(
                f"the database at {target.host}:{target.port} offers no TLS. "
                f"{advice(target, 'no SSL')}"
            )
        yield connection


def _is_encrypted(connection: "sqlalchemy.Connection") -> bool:
    """Ask, since MariaDB's client library goes without what it is only told to require."""
    status = connection.exec_driver_sql("SHOW SESSION STATUS LIKE 'Ssl_cipher'").fetchone()
    return bool(status and status[1])


def _unavailable(target: Address, schema: str, error: BaseException | None) -> DatabaseUnavailable:
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


def _refusal(error: BaseException) -> str:
    code, *_, said = error.args if len(error.args) > 1 else (0, str(error))
    message = f"the server refuses the query: {_line(str(said), 500)}"
    if code == NO_SUCH_TABLE:
        message += f". There are the views {', '.join(VIEWS)}"
    return message


def _line(text: str, n_letters: int = 60) -> str:
    """Return text as one line, cut if it is long."""
    line = " ".join(text.split())
    return line if len(line) <= n_letters else f"{line[:n_letters]}..."


def _sqlalchemy() -> Any:
    """Import what is needed for SQL, which not every worker has."""
    try:
        import MySQLdb  # noqa: F401
        import sqlalchemy
        import sqlalchemy.exc
    except ImportError as error:
        raise UserError(
            f"SQL needs the package {error.name}: pip install 'inceptionloop[sql]'"
        ) from error
    return sqlalchemy
