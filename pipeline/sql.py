"""SQL that only reads, as a pandas frame: the views of a project by their names, and all tables."""

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from pipeline.address import address
from pipeline.errors import UserError
from pipeline.server import Report
from pipeline.settings import Settings
from pipeline.sql_engine import connection, import_sqlalchemy, reading_engine
from schemas.views import VIEWS, schema_of_views

READS = ("SELECT", "WITH", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "TABLE", "VALUES")
BEGINNING = re.compile(r"(?:\s|\(|--[^\n]*\n|#[^\n]*\n|/\*(?!M?!).*?\*/)*(\w*)", re.DOTALL)
AS_WRITTEN = {"no_parameters": True}
NO_SUCH_TABLE = 1146


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
    sqlalchemy = import_sqlalchemy()
    settings = settings or Settings()
    beginning = BEGINNING.match(query)
    if not beginning or beginning[1].upper() not in READS:
        raise BadQuery(f"'{_line(query)}' does not only read: begin with one of {', '.join(READS)}")
    target = address(settings, report)
    schema = schema_of_views(settings.prefix)
    engine = reading_engine(target, schema, poolclass=sqlalchemy.NullPool)
    with connection(engine, target) as opened:
        try:
            if params is None:
                # Without parameters a percent sign or a colon is no more than that.
                result = opened.exec_driver_sql(query, execution_options=AS_WRITTEN)
            else:
                result = opened.execute(sqlalchemy.text(query), dict(params))
            if not result.returns_rows:
                raise BadQuery(f"'{_line(query)}' returns no rows")
            rows, columns = result.fetchall(), list(result.keys())
        except sqlalchemy.exc.StatementError as error:
            raise BadQuery(_refusal(error.orig or error)) from error
    return pd.DataFrame.from_records(rows, columns=columns, coerce_float=True)


def _refusal(error: BaseException) -> str:
    code, *_, said = error.args if len(error.args) > 1 else (0, str(error))
    message = f"the server refuses the query: {_line(str(said), 500)}"
    if code == NO_SUCH_TABLE:
        known = ", ".join(VIEWS)
        message += f". There are the views {known}; `inceptionloop init` makes one that is missing"
    return message


def _line(text: str, n_letters: int = 60) -> str:
    """Return text as one line, cut if it is long."""
    line = " ".join(text.split())
    return line if len(line) <= n_letters else f"{line[:n_letters]}..."
