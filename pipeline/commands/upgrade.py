"""The `upgrade` command: schemas of an older version, made those of this program."""

from typing import Annotated

import typer

from pipeline.commands.console import clear_errors, say, stderr
from pipeline.connection import connect
from pipeline.migration import NEWEST, changes
from pipeline.migration import upgrade as upgrade_schemas
from pipeline.settings import Settings


def upgrade(
    apply: Annotated[bool, typer.Option("--apply", help="Do it; without it, only show.")] = False,
) -> None:
    """Show what makes the schemas those of this program, as SQL; with --apply, do it.

    Example: inceptionloop upgrade --apply
    """
    with clear_errors(), stderr.status("") as status:
        prefix = Settings().prefix
        connect(Settings(), status.update)
        done = upgrade_schemas(prefix, status.update) if apply else changes(prefix)
    for change in done:
        say(f"-- version {change.version}: {change.name}")
        for statement in change.statements:
            say(f"{statement};")
    if not done:
        say(
            f"the schemas '{prefix}*' need no upgrade; "
            "`inceptionloop init` makes views that are new"
        )
    elif apply:
        say(f"the schemas '{prefix}*' have version {NEWEST} now")
    else:
        say(
            "-- and the tables that are new\n"
            "nothing was changed: stop the workers, make a backup (`inceptionloop backup`) and "
            "repeat with --apply"
        )
