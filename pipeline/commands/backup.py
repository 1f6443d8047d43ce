"""Commands that save a project and bring it back: backup, restore."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.backup import back_up
from pipeline.commands.console import clear_errors, say
from pipeline.connection import connect
from pipeline.migration import known_version
from pipeline.restore import restore
from pipeline.settings import Settings

Folder = Annotated[Path, typer.Argument(help="Of all backups of a project.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(backup)
    app.command("restore")(bring_back)


def backup(folder: Folder) -> None:
    """Save database and object store together; workers may go on meanwhile.

    Example: inceptionloop backup /backups/lab
    """
    with clear_errors():
        settings = Settings()
        connect(settings)
        known_version(settings.prefix)  # an older one is saved before it is upgraded
        made = back_up(settings, folder)
        n_bytes = sum(copy.n_bytes for copy in made.manifest.objects)
        say(
            f"{made.folder}: {sum(made.manifest.rows.values())} rows in "
            f"{len(made.manifest.rows)} tables, {len(made.manifest.objects)} objects "
            f"({n_bytes / 1e6:.1f} MB), {made.n_copied} of them new"
        )
        for damage in made.damaged:
            say(damage)
        if made.damaged:
            say(f"the backup lacks {len(made.damaged)} objects that the store has no more")
            raise typer.Exit(1)


def bring_back(
    folder: Folder,
    name: Annotated[
        str | None, typer.Option("--backup", help="One of them; by default the latest.")
    ] = None,
) -> None:
    """Bring back database and object store from a backup, to a server without this project.

    Example: inceptionloop restore /backups/lab
    """
    with clear_errors():
        settings = Settings()
        connect(settings)
        manifest = restore(settings, folder, name)
        say(
            f"restored what was saved at {manifest.made_at:%Y-%m-%d %H:%M} UTC: "
            f"{sum(manifest.rows.values())} rows, {len(manifest.objects)} objects"
        )
