"""Commands on the whole graph: init, register, plan, work, status, errors, delete."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from pipeline import crew
from pipeline.any_study import read_any_study, register_any
from pipeline.commands.console import console, database, say
from pipeline.commands.workers import show_pauses
from pipeline.deletion import delete_rows, preview
from pipeline.plan import estimate
from pipeline.status import as_json, errors, n_errors, retry_errors, status
from pipeline.study_file import BadStudy
from pipeline.work import Serves, Shift
from pipeline.work import work as run_shift
from pipeline.worker_log import log_as_json

STATES = ("done", "pending", "running", "failed", "blocked")


def _name() -> Column:
    """Return the column of table names, which are never cut, however narrow the terminal is."""
    return Column("table", no_wrap=True)


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (init, register_study, plan, work, show_status, show_errors, delete):
        name = command.__name__.removeprefix("show_").removesuffix("_study")
        app.command(name)(command)


def init() -> None:
    """Create schemas, tables and job tables that are missing; safe to repeat.

    Example: inceptionloop init
    """
    with database(create=True) as settings:
        say(f"the schemas '{settings.prefix}*' are complete")


def register_study(
    study: Annotated[Path, typer.Argument(help="TOML file of parameters.")],
    scan: Annotated[
        list[str] | None,
        typer.Option(help="animal-session-scan; several are modelled or compared together."),
    ] = None,
) -> None:
    """Ask for a study, of one or more recordings if its networks are compared with any.

    Example: inceptionloop register studies/virtual.toml --scan 1-1-1
    """
    with database():
        keys = register_any(read_any_study(study), [scan_key(name) for name in scan or ()])
        say(f"training set {keys['training_set']['training_set_hash']}")


def scan_key(name: str) -> dict[str, int]:
    """Return the key of a recording that is named as 7-1-1."""
    parts = name.split("-")
    if len(parts) != 3 or not all(p.isdecimal() for p in parts):
        raise BadStudy(f"'{name}' does not name a recording: write animal-session-scan, as 1-1-1")
    return dict(zip(("animal_id", "session", "scan_idx"), map(int, parts), strict=True))


def plan() -> None:
    """Show what the registered plans will compute: jobs, estimated minutes and bytes.

    Example: inceptionloop plan
    """
    with database():
        table = Table(_name(), "jobs", "about minutes", "about MB", "from")
        rows = estimate()
        for row in rows:
            table.add_row(
                row.table, str(row.jobs), f"{row.minutes:.1f}", f"{row.megabytes:.1f}", row.basis
            )
        table.add_section()
        table.add_row(
            "together",
            str(sum(r.jobs for r in rows)),
            f"{sum(r.minutes for r in rows):.1f}",
            f"{sum(r.megabytes for r in rows):.1f}",
            "of one worker",
        )
        console.print(table)


def work(
    processes: Annotated[
        int, typer.Option(help="Workers to start here; 0: one per GPU, or one without any.", min=0)
    ] = 0,
    threads: Annotated[int, typer.Option(help="Of each worker; 0: cores / processes.", min=0)] = 0,
    serves: Annotated[
        Serves, typer.Option(help="All tables, those that a GPU makes faster, or the others.")
    ] = "all",
    forever: Annotated[
        bool, typer.Option(help="Wait for new work, and for a database that is down.")
    ] = False,
    minutes: Annotated[
        float, typer.Option(help="Take no new job after so long; 0: no limit.", min=0)
    ] = 0,
    jobs: Annotated[
        int, typer.Option(help="Take no more jobs than this, each worker; 0: no limit.", min=0)
    ] = 0,
    quiet: Annotated[bool, typer.Option(help="Without a progress bar.")] = False,
    json_logs: Annotated[bool, typer.Option(help="Log JSON, one object a line.")] = False,
) -> None:
    """Compute what the plans ask for, until nothing is left; several at once are safe.

    A worker that is asked to stop (SIGTERM, Ctrl-C) gives back the job that it is at.

    Example: inceptionloop work --processes 2
    """
    if json_logs:
        log_as_json()
    processes = processes or crew.n_workers()
    shift = Shift(
        n_threads=threads or crew.threads_per_worker(processes),
        serves=serves,
        forever=forever,
        max_seconds=60 * minutes or float("inf"),
        max_jobs=jobs or float("inf"),
    )
    with database():
        if processes == 1 and (quiet or forever or json_logs):
            run_shift(shift)
        else:
            crew.supervise(processes, shift, json_logs)
            say("`inceptionloop status` shows what is done, `report` and `web` the results")
        if failed := n_errors():
            say(f"{failed} jobs failed: `inceptionloop errors` shows them")
            raise typer.Exit(1)


def show_status(
    as_json_: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    all_: Annotated[
        bool, typer.Option("--all", help="Also tables of which nothing is asked.")
    ] = False,
) -> None:
    """Show per table what is done, pending, running, failed and blocked, and by what.

    Example: inceptionloop status --json
    """
    with database():
        rows = status()
        if as_json_:
            typer.echo(json.dumps(as_json(rows)))
            return
        shown = [row for row in rows if all_ or row.done or row.unfinished]
        table = Table(_name())
        for state in STATES:
            table.add_column(state, no_wrap=True, justify="right")
        table.add_column("by")
        for row in shown:
            counts = (getattr(row, state) for state in STATES)
            table.add_row(row.table, *(str(n) if n else "·" for n in counts), row.blocked_by)
        console.print(table)
        if left := len(rows) - len(shown):
            say(f"nothing is asked of {left} more tables: --all shows them")
        show_pauses()


def show_errors(
    stack: Annotated[bool, typer.Option(help="With the stack of each.")] = False,
    retry: Annotated[bool, typer.Option(help="Forget them, so that workers try again.")] = False,
) -> None:
    """Show the jobs that failed.

    Example: inceptionloop errors --stack
    """
    with database():
        rows = errors()
        for row in rows:
            key = ", ".join(f"{a}={v}" for a, v in row["key"].items())
            say(f"{row['time']:%Y-%m-%d %H:%M} {row['table']} ({key})\n  {row['message']}")
            if stack:
                say(row["stack"])
        say(f"{len(rows)} failed jobs" if rows else "no failed jobs")
        if retry:
            say(f"{retry_errors()} will be tried again")


def delete(
    table: Annotated[str, typer.Argument(help="Name of a table, as in `status`, or Scan.")],
    where: Annotated[
        list[str], typer.Option(help="attribute=value that the rows must have; may be repeated.")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it, only show.")] = False,
    of_others: Annotated[
        bool, typer.Option("--of-others", help="Also rows of other accounts.")
    ] = False,
) -> None:
    """Show what deleting rows would take with it, and whose rows they are; with --yes, delete.

    Example: inceptionloop delete TrainedModel --where seed=1009
    """
    with database():
        found = preview(table, where)
        shown = Table(_name(), "rows that go", "of whom")
        for name, n in found.counts.items():
            owners = found.owners.get(name, {})
            shown.add_row(name, str(n), ", ".join(f"{o} {k}" for o, k in sorted(owners.items())))
        console.print(shown)
        if not found.counts:
            say("no row matches")
        elif yes:
            if not of_others:
                found.refuse_of_others()
            delete_rows(found.rows)
            say("deleted")
        else:
            say("nothing was deleted: repeat with --yes to delete these rows")
