"""What all commands share: the console, and one clear line for errors people can act on."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pymysql
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from pipeline.connection import dj  # which imports it without its warnings
from pipeline.database import open_database
from pipeline.errors import UserError
from pipeline.janitor import may_pass
from pipeline.settings import Settings
from pipeline.study_file import described
from schemas.store import StoreError

DENIED = (1044, 1142, 1143, 1227)  # as the server says it
FAILURES = (
    UserError,
    StoreError,
    ValidationError,
    dj.errors.AccessError,
    dj.errors.LostConnectionError,
    pymysql.err.OperationalError,
    UnicodeEncodeError,
    OSError,
)

console = Console()
stderr = Console(stderr=True)


def say(message: str) -> None:
    """Print one line for the user."""
    console.print(_printable(message), highlight=False, markup=False, soft_wrap=True)


def _printable(text: str) -> str:
    """Write what is not UTF-8, as names of files may be, by its code."""
    return text.encode(errors="backslashreplace").decode()


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turn an error that the user can act on into its message and exit status 1."""
    try:
        yield
    except FAILURES as error:
        message = _message(error)
        if message is None or os.environ.get("INCEPTIONLOOP_DEBUG"):
            raise
        text = escape(_printable(message))
        stderr.print("[red]error:[/red]", text, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error


def _message(error: Exception) -> str | None:
    """Return what to tell the user of an error, None if that would be of no help."""
    if isinstance(error, UserError | StoreError):
        return str(error)
    if isinstance(error, ValidationError):
        return described(error)
    if isinstance(error, UnicodeEncodeError):
        return f"{error.object[error.start : error.end]!r} is not UTF-8: it cannot be stored"
    if isinstance(error, OSError):
        if error.errno != errno.ENAMETOOLONG:
            return None
        return f"'{str(error.filename)[:40]}...' is too long for the name of a file"
    if isinstance(error, dj.errors.AccessError) or error.args[0] in DENIED:
        return (
            f"{error.args[1]}. This account may not do that; another role may "
            "(`inceptionloop account add NAME --role ...`, by who administers the database)"
        )
    if may_pass(error):
        return f"the database does not answer, or not in time: {error.args[-1]}. Try again"
    return None


@contextmanager
def database(create: bool = False) -> Iterator[Settings]:
    """Open the project's database for a command."""
    with clear_errors(), stderr.status("") as status:

        def report(message: str) -> None:
            status.update(message)

        settings = open_database(create, report)
        status.stop()
        yield settings
