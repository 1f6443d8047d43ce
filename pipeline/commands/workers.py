"""Commands about workers: who they are, pause, go on, what comes first."""

from typing import Annotated

import typer
from rich.table import Table

from pipeline import foreman
from pipeline.commands.console import console, database, say
from pipeline.heartbeat import living_workers
from schemas.operations import Pause


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (workers, pause, resume, prioritise):
        app.command()(command)


def workers() -> None:
    """Show the living workers: where they are, what they serve and what they are at.

    Example: inceptionloop workers
    """
    with database():
        table = Table("host", "process", "since", "serves", "device", "done", "failed", "at")
        rows = living_workers()
        for w in rows:
            table.add_row(
                w["worker_host"],
                str(w["worker_pid"]),
                f"{w['worker_started']:%Y-%m-%d %H:%M}",
                w["serves"],
                w["worker_device"],
                str(w["n_done"]),
                str(w["n_failed"]),
                w["at_work_on"],
            )
        if rows:
            console.print(table)
        else:
            say("no worker is alive: `inceptionloop work` starts one")
        show_pauses()


def show_pauses() -> None:
    """Say why workers take no new jobs, if they do not."""
    for row in Pause.to_dicts(order_by="paused_at"):
        say(f"paused by {row['paused_by']} since {row['paused_at']}: {row['pause_reason']}")


def pause(
    reason: Annotated[str, typer.Argument(help="Why, for the others.")] = "maintenance",
) -> None:
    """Let all workers finish what they are at and take no new jobs, until `resume`.

    Example: inceptionloop pause maintenance
    """
    with database():
        foreman.pause(reason)
        say("workers take no new jobs: `inceptionloop workers` shows what they are still at")


def resume() -> None:
    """Let workers go on after `pause`.

    Example: inceptionloop resume
    """
    with database():
        say("workers go on" if foreman.resume() else "nothing was paused")


def prioritise(
    training_set: Annotated[str, typer.Argument(help="Hash, as `register` prints it.")],
    priority: Annotated[int, typer.Argument(help="0: first ... 9: last; 5 is usual.")],
) -> None:
    """Say how urgent the jobs of a training set are, those to come as well.

    Example: inceptionloop prioritise 0123456789abcdef 1
    """
    with database():
        n_changed = foreman.prioritise(training_set, priority)
        say(f"{n_changed} waiting jobs have priority {priority} now, and all that are to come")
