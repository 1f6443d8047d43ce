"""What all commands share: the console, and one clear line for errors people can act on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from pipeline.database import open_database
from pipeline.errors import UserError
from pipeline.settings import Settings
from pipeline.study_file import described

console = Console()
stderr = Console(stderr=True)


def say(message: str) -> None:
    """Print one line for the user."""
    console.print(message, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turn an error that the user can act on into its message and exit status 1."""
    try:
        yield
    except (UserError, ValidationError) as error:
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
