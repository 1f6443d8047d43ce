"""Commands on the object store: gc, store check."""

from datetime import timedelta
from typing import Annotated

import typer
from rich.table import Column, Table

from pipeline.commands.console import console, database, say, stderr
from pipeline.garbage import Garbage, collect_garbage, find_garbage
from pipeline.stored_objects import check, of_table, references

store_app = typer.Typer(no_args_is_help=True, help="The object store of arrays and weights.")

MEGABYTE = 1e6


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("gc")(gc)
    app.add_typer(store_app, name="store")


def gc(
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete; without it, only show.")
    ] = False,
    older_than: Annotated[
        float, typer.Option(min=0, help="Hours; leave alone what is younger.")
    ] = 24.0,
) -> None:
    """Show what lies in the object store and no row refers to; with --delete, delete it.

    Deleting waits until the workers have ended the jobs that they are at; they go on afterwards.

    Example: inceptionloop gc --delete
    """
    min_age = timedelta(hours=older_than)
    with database() as settings, stderr.status("looking") as status:
        if delete:
            garbage = collect_garbage(settings.prefix, min_age, status.update)
        else:
            garbage = find_garbage(settings.prefix, min_age)
        status.stop()
        _show(garbage)
        if delete:
            say("deleted" if garbage.files or garbage.n_checkpoints else "nothing to delete")
        else:
            say("nothing was deleted: repeat with --delete to delete these objects")


def _show(garbage: Garbage) -> None:
    table = Table(Column("schema", no_wrap=True), "objects", "MB")
    for schema, (n, n_bytes) in garbage.by_schema().items():
        table.add_row(schema, str(n), f"{n_bytes / MEGABYTE:.1f}")
    table.add_section()
    n_bytes = sum(file.n_bytes for file in garbage.files)
    table.add_row("together", str(len(garbage.files)), f"{n_bytes / MEGABYTE:.1f}")
    console.print(table)
    if garbage.n_young:
        say(f"{garbage.n_young} more are too young: their rows may be about to come")
    if garbage.n_checkpoints:
        say(f"{garbage.n_checkpoints} rows of checkpoints of networks that are finished")


@store_app.command("check")
def check_store(
    table: Annotated[
        str | None, typer.Option(help="Only this table and its parts, as TrainedModel.")
    ] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Read only so many objects, drawn at random.")
    ] = None,
) -> None:
    """Read what rows refer to in the object store, and name what is missing or damaged.

    Example: inceptionloop store check --table TrainedModel
    """
    with database() as settings:
        found = references(settings.prefix)
        found = found if table is None else of_table(found, table)
        n_damaged = 0
        for damage in check(found, sample):
            n_damaged += 1
            say(str(damage))
        n_read = min(sample or len(found), len(found))
        n_unverified = sum(reference.sha256 is None for reference in found)
        if n_unverified:
            say(f"{n_unverified} are of before there were checksums: only missing ones are found")
        say(f"{n_read} of {len(found)} objects read: {n_damaged or 'none'} missing or damaged")
        if n_damaged:
            raise typer.Exit(1)
