"""The version of the schemas: asked of the database, compared with the program's, and raised."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import datajoint as dj
import pymysql

from pipeline.connection import driver_connection
from pipeline.errors import UserError
from pipeline.janitor import DEAD_AFTER_SECONDS
from pipeline.migrations import STEPS
from pipeline.migrations.tables import Tables
from pipeline.server import Report
from schemas import graph

NEWEST = len(STEPS)
LOCK_SECONDS = 60
LOCK_WAIT_TIMEOUT = 1205
UNKNOWN_DATABASE = 1049


class NotInitialised(UserError):
    """The schemas of the project do not exist on the server."""


class OtherVersion(UserError):
    """The schemas are older or newer than what this program works with."""


class UpgradeImpossible(UserError):
    """The schemas are in use, or the account may not change them."""


@dataclass(frozen=True)
class Change:
    """What a step still has to do.

    Attributes
    ----------
    version : int
        Of the schemas after it.
    name : str
        Of the step.
    statements : list of str
        SQL; none if it was done but for its record.
    """

    version: int
    name: str
    statements: list[str]


def schema_version(prefix: str) -> int | None:
    """Return the version of the schemas of a prefix, None if there are none.

    0 are schemas of before versions were recorded, and those of an `init` that was interrupted.
    """
    operations = f"{prefix}operations"
    try:
        query = f"SELECT MAX(schema_version) FROM `{operations}`.`migration`"
        return dj.conn().query(query).fetchone()[0] or 0
    except (dj.errors.MissingTableError, dj.errors.AccessError, pymysql.err.OperationalError) as e:
        if isinstance(e, pymysql.err.OperationalError) and e.args[0] != UNKNOWN_DATABASE:
            raise
        known = "SELECT 1 FROM information_schema.tables WHERE table_schema = %s LIMIT 1"
        return 0 if dj.conn().query(known, args=(operations,)).fetchone() else None


def known_version(prefix: str) -> int:
    """Return the version of schemas that are there and not newer than the program.

    Raises
    ------
    NotInitialised
        If there are none that this account can see.
    OtherVersion
        If they are newer.
    """
    version = schema_version(prefix)
    if version is None:
        raise NotInitialised(
            f"there are no schemas '{prefix}*' on this server: run `inceptionloop init`"
        )
    if version > NEWEST:
        raise OtherVersion(
            f"the schemas '{prefix}*' have version {version}, made by a newer inceptionloop; this "
            f"one knows version {NEWEST}: update the program"
        )
    return version


def require_newest(prefix: str) -> None:
    """Check that this program works with the schemas.

    Raises
    ------
    NotInitialised, OtherVersion
        See `known_version`, and if they are older.
    """
    version = known_version(prefix)
    if version < NEWEST:
        raise _older(prefix, version)


def initialise(prefix: str) -> None:
    """Create what is missing, of schemas that are new or of the newest version; safe to repeat.

    Raises
    ------
    OtherVersion
        If there are schemas of another version.
    """
    with _one_at_a_time(prefix):
        is_new = schema_version(prefix) is None
        older = [] if is_new else changes(prefix)
        # What an interrupted `init` left has no version either, but nothing in it is to be changed.
        if any(change.statements for change in older):
            raise _older(prefix, older[0].version - 1)
        graph.create(prefix)
        if is_new or older:
            _record(prefix, NEWEST, "init")


def changes(prefix: str) -> list[Change]:
    """Return what an upgrade would do, and do nothing.

    Raises
    ------
    NotInitialised, OtherVersion
        See `known_version`.
    """
    version = known_version(prefix)
    return [_change(prefix, number) for number in range(version + 1, NEWEST + 1)]


def upgrade(prefix: str, report: Report = lambda message: None) -> list[Change]:
    """Change the schemas of an older version into those of this program.

    An upgrade that was interrupted can simply be repeated.

    Parameters
    ----------
    prefix : str
        What the names of the schemas begin with.
    report : callable
        Told what is being done.

    Returns
    -------
    list of Change
        What was done.

    Raises
    ------
    NotInitialised, OtherVersion
        See `known_version`.
    UpgradeImpossible
        If a worker is alive, a table is in use, or the account may not change tables.
    """
    with _one_at_a_time(prefix), _refusals_explained(prefix):
        numbers = [change.version for change in changes(prefix)]
        if numbers:
            _refuse_workers(prefix)
            dj.conn().query(f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}")
        # Not as listed before: a step sees what the steps before it have done.
        return [_take(prefix, number, report) for number in numbers]


def _change(prefix: str, number: int) -> Change:
    step = STEPS[number - 1]
    name = step.__name__.rpartition(".")[2]
    return Change(number, name, list(step.statements(Tables.read(prefix))))


def _take(prefix: str, number: int, report: Report) -> Change:
    """Take one step and record it, after the last one with the tables that are new."""
    change = _change(prefix, number)
    for done, statement in enumerate(change.statements):
        report(f"{change.name} {done}/{len(change.statements)}: {statement[:60]}...")
        dj.conn().query(statement.replace("%", "%%"))
    if number == NEWEST:
        report("Creating the tables that are new")
        graph.create(prefix)
    _record(prefix, number, change.name)
    return change


def _record(prefix: str, version: int, name: str) -> None:
    dj.conn().query(
        f"INSERT INTO `{prefix}operations`.`migration` (schema_version, migration_name) "
        "VALUES (%s, %s)",
        args=(version, name),
    )


def _older(prefix: str, version: int) -> OtherVersion:
    return OtherVersion(
        f"the schemas '{prefix}*' have version {version}, this program needs version {NEWEST}: run "
        "`inceptionloop upgrade`, which shows what it would do, after `inceptionloop backup`"
    )


def _refuse_workers(prefix: str) -> None:
    """Raise an error if a worker is alive; with plain SQL, as the table is not the program's."""
    now = "UTC_TIMESTAMP" if schema_version(prefix) else "CURRENT_TIMESTAMP"
    try:
        rows = dj.conn().query(
            f"SELECT worker_host, worker_pid FROM `{prefix}operations`.`worker` "
            f"WHERE heartbeat > {now} - INTERVAL {DEAD_AFTER_SECONDS} SECOND"
        )
    except dj.errors.MissingTableError:
        return  # an `init` was interrupted before it came so far
    alive = ", ".join(f"{pid} on {host}" for host, pid in rows.fetchall())
    if alive:
        raise UpgradeImpossible(f"workers are at work (process {alive}): stop them and try again")


@contextmanager
def _one_at_a_time(prefix: str) -> Iterator[None]:
    """Let one process at a time make or change the schemas."""
    # On a connection of its own: DataJoint's may be opened anew, and would lose the lock.
    with driver_connection() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK(%s, %s)", (f"{prefix}schemas", LOCK_SECONDS))
        if cursor.fetchone() != (1,):
            raise UpgradeImpossible(
                f"another `init` or `upgrade` of '{prefix}*' has gone on for {LOCK_SECONDS} s: "
                "try again when it has ended"
            )
        yield


@contextmanager
def _refusals_explained(prefix: str) -> Iterator[None]:
    """Say what to do when the server refuses to change a table."""
    try:
        yield
    except dj.errors.AccessError as error:
        raise UpgradeImpossible(
            f"this account may not change the schemas '{prefix}*': upgrade as their administrator"
        ) from error
    except pymysql.err.OperationalError as error:
        if error.args[0] != LOCK_WAIT_TIMEOUT:
            raise
        raise UpgradeImpossible(
            f"a table of '{prefix}*' has been in use for {LOCK_SECONDS} s: close notebooks and "
            "other programs that hold a transaction open, and run the upgrade again; it continues"
        ) from error
