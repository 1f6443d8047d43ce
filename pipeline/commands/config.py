"""Commands on configurations: show, diff."""

from typing import Annotated

import typer
from rich.table import Table

from pipeline.commands.console import console, database, say
from pipeline.configurations import differences, find, flat

app = typer.Typer(no_args_is_help=True, help="Parameter sets by their hash.")

Hash = Annotated[str, typer.Argument(help="The hash of a configuration, or its first digits.")]


@app.command()
def show(configuration: Hash) -> None:
    """Show all parameters of a configuration.

    Example: inceptionloop config show 3f2a
    """
    with database():
        table, key, params = find(configuration)
        rows = Table("parameter", "value", title=f"{table} {key}")
        for name, value in flat(params).items():
            rows.add_row(name, value)
        console.print(rows)


@app.command()
def diff(a: Hash, b: Hash) -> None:
    """Show the parameters in which two configurations differ.

    Example: inceptionloop config diff 3f2a 9c01
    """
    with database():
        found = [find(a), find(b)]
        titles = [f"{table} {key}" for table, key, _ in found]
        different = differences(found[0][2], found[1][2])
        if not different:
            say(f"{titles[0]} and {titles[1]} have the same parameters")
            return
        rows = Table("parameter", *titles)
        for name, values in different.items():
            rows.add_row(name, *values)
        console.print(rows)
