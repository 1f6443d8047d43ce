"""The command that brings frequency limens of listeners into the database."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.console import database, say
from pipeline.ingest.limens import ingest_limens


def add_to(app: typer.Typer) -> None:
    """Add the command to those of `inceptionloop ingest`."""
    app.command()(limens)


def limens(
    file: Annotated[Path, typer.Argument(help="CSV: subject, frequency_hz, limen_hz.")],
    name: Annotated[str, typer.Option(help="Of the study, as in `limens` of a study file.")],
) -> None:
    """Ingest frequency difference limens that listeners were measured with.

    Example: inceptionloop ingest limens moore1979_fdl.csv --name moore1979
    """
    with database():
        new = ingest_limens(file, name)
        say(f"limens '{name}' {'ingested' if new else 'were already there'}")
