"""What all commands share: the console, and one clear line for errors people can act on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from pipeline.connection import DatabaseUnavailable
from pipeline.database import NotInitialised, open_database
from pipeline.deletion import BadSelection
from pipeline.ingest.rows import BadRecording
from pipeline.server import ServerError
from pipeline.settings import Settings
from pipeline.stimulus import NothingToShow
from pipeline.study import BadStudy, described
from pipeline.work import WorkerDied

console = Console()
stderr = Console(stderr=True)

EXPECTED = (
    DatabaseUnavailable,
    NotInitialised,
    BadRecording,
    ServerError,
    NothingToShow,
    BadSelection,
    BadStudy,
    ValidationError,
    WorkerDied,
)


def say(message: str) -> None:
    """Print one line for the user."""
    console.print(message, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turn an error that the user can act on into its message and exit status 1."""
    try:
        yield
    except EXPECTED as error:
        if os.environ.get("INCEPTIONLOOP_DEBUG"):
            raise
        message = described(error) if isinstance(error, ValidationError) else str(error)
        stderr.print("[red]error:[/red]", escape(message), highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error


@contextmanager
def database(create: bool = False) -> Iterator[Settings]:
    """Open the project's database for a command."""
    with clear_errors(), stderr.status("") as status:

        def report(message: str) -> None:
            status.update(message)

        settings = open_database(create, report)
        status.stop()
        yield settings
