"""What the status page asks the database: read-only, from a pool, each question with a limit."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
from datajoint import blob
from flask import current_app, g, has_request_context
from numpy.typing import NDArray

from pipeline.address import DatabaseUnavailable, address
from pipeline.server import Report
from pipeline.settings import Settings
from pipeline.sql_engine import connection, import_sqlalchemy, reading_engine
from schemas import graph
from schemas.views import schema_of_views, sources, with_sources

CONNECTIONS = 8
STATEMENT_SECONDS = 10
STATEMENTS_KEPT = 256
TOOK_TOO_LONG = (1969, 3024)  # as MariaDB and MySQL say it
AS_WRITTEN = {"no_parameters": True}


class Reader:
    """Reads the database, for any number of threads.

    Its transactions are read-only, so the server itself refuses to change anything.

    Parameters
    ----------
    settings : Settings
        Of the project, whose tables are bound to its schemas (`pipeline.database.open_database`).
    report : callable
        Told what is being done while a private server starts.

    Raises
    ------
    DatabaseUnavailable
        If the database has no address; that it answers is seen by the first question.
    UserError
        If SQLAlchemy or mysqlclient are not installed.
    """

    def __init__(self, settings: Settings, report: Report = lambda message: None) -> None:
        self._sqlalchemy = import_sqlalchemy()
        self._target = address(settings, report)
        meant, text = sources(graph.tables()), self._sqlalchemy.text
        # Some queries are long: of all job tables.
        self._prepared = lru_cache(STATEMENTS_KEPT)(lambda query: text(with_sources(query, meant)))
        self._engine = reading_engine(
            self._target,
            schema_of_views(settings.prefix),
            STATEMENT_SECONDS,
            pool_size=CONNECTIONS,
            max_overflow=0,
            pool_timeout=STATEMENT_SECONDS,
            pool_pre_ping=True,
        )

    def rows(self, query: str, **params: Any) -> list[dict[str, Any]]:
        """Return the rows of a query, all of them: it has to say how many those may be.

        Parameters
        ----------
        query : str
            One SELECT. Views are known by their names, tables by their classes in brackets, as in
            ``SELECT * FROM meis JOIN [MEI.Unit] USING (...)``.
        **params
            Values of ``:name`` in the query.

        Raises
        ------
        DatabaseUnavailable
            If the server does not answer, or not in time.
        """
        with self._connection() as opened:
            return [dict(row) for row in opened.execute(self._prepared(query), params).mappings()]

    def one(self, query: str, **params: Any) -> dict[str, Any] | None:
        """Return the first row of a query, None if there is none; see `rows`."""
        found = self.rows(query, **params)
        return found[0] if found else None

    def as_written(self, queries: Sequence[str]) -> list[list[tuple[Any, ...]]]:
        """Return the rows of queries that see the same state of the database.

        Percent signs and colons in them are no more than that, and names stand in no brackets: as
        DataJoint writes queries.
        """
        with self._connection() as opened:
            return [
                [tuple(row) for row in opened.exec_driver_sql(query, None, AS_WRITTEN)]
                for query in queries
            ]

    def array(self, value: bytes) -> NDArray[Any]:
        """Return the array that a column of the type ``<blob>`` holds."""
        return np.asarray(self.content(value))

    def content(self, value: bytes) -> Any:
        """Return whatever a column of the type ``<blob>`` holds, as the stack of a failed job."""
        return blob.unpack(value)

    def close(self) -> None:
        """Close all connections; the next question opens a new one."""
        self._engine.dispose()

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        """Connect; while a request is answered always to the same state of the database."""
        errors = self._sqlalchemy.exc
        try:
            if not has_request_context():
                with connection(self._engine, self._target) as opened:
                    yield opened
                return
            if "opened" not in g:
                g.opened = ExitStack()
                g.connection = g.opened.enter_context(connection(self._engine, self._target))
            yield g.connection
        except errors.DBAPIError as error:
            if not error.connection_invalidated and error.orig.args[0] not in TOOK_TOO_LONG:
                raise
            raise DatabaseUnavailable(
                f"the database does not answer, or not in time: {error.orig.args[-1]}"
            ) from error
        except errors.TimeoutError as error:
            raise DatabaseUnavailable(
                "the database is busy: no connection to it was free in time"
            ) from error


def let_go(error: BaseException | None = None) -> None:
    """Give back the connection of the request that is answered."""
    if "opened" in g:
        g.pop("opened").close()


def reader() -> Reader:
    """Return the reader of the application that answers the request."""
    return current_app.extensions["reader"]
