"""The `inceptionloop` command."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands import (
    account,
    backup,
    config,
    explain,
    export,
    garbage,
    graph,
    ingest,
    server,
    sql,
    stimulus,
    upgrade,
    web,
    workers,
)

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="From recorded neurons to the images that excite them most, in a relational database.",
)
app.add_typer(server.app, name="server")
app.add_typer(ingest.app, name="ingest")
app.add_typer(stimulus.app, name="stimulus")
app.add_typer(config.app, name="config")
app.add_typer(account.app, name="account")
app.add_typer(export.app, name="export")
graph.add_to(app)
garbage.add_to(app)
backup.add_to(app)
explain.add_to(app)
app.command()(upgrade.upgrade)
workers.add_to(app)
app.command()(sql.sql)
app.command()(web.web)


@app.callback()
def main() -> None:
    """Set up logging for every command."""
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.INFO)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("report"),
) -> None:
    """Write the report: pictures and figures of everything that is computed.

    Example: inceptionloop report report/
    """
    from pipeline.commands.console import database, say
    from pipeline.report import write_report

    with database():
        say(f"report: {write_report(folder).resolve()}")


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--report", help="Where to write the report.")] = Path(
        "report"
    ),
    workers: Annotated[int, typer.Option(help="Worker processes.")] = 2,
    small: Annotated[bool, typer.Option(help="The miniature that the tests run.")] = False,
) -> None:
    """Run the whole chain on the virtual experiment; a second run continues the first.

    Example: inceptionloop demo
    """
    from pipeline.demo import experiment, run_demo

    run_demo(folder, workers, experiment(small))


if __name__ == "__main__":
    app()
