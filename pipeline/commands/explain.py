"""Commands about where rows come from, and whether they come out again: explain, verify."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.console import console, database, say, stderr
from pipeline.deviation import TOLERANCE
from pipeline.explain import explain as explain_row
from pipeline.explanation import as_json, as_tree, write_picture
from pipeline.verify import Sampling, verify_tables


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (explain, verify):
        app.command()(command)


def explain(
    table: Annotated[str, typer.Argument(help="Name of a table, or of a part, as MEI.Unit.")],
    where: Annotated[
        list[str] | None,
        typer.Option(help="attribute=value that only this row has; may be repeated."),
    ] = None,
    as_json_: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    picture: Annotated[
        Path | None, typer.Option(help="SVG file to draw the graph into; needs graphviz.")
    ] = None,
) -> None:
    """Show what a row comes from: recordings, parameters, seeds and software, with checksums.

    Example: inceptionloop explain MEI.Unit --where unit_index=3 --picture mei.svg
    """
    with database():
        with stderr.status("looking") as status:
            explanation = explain_row(table, where or (), status.update)
        if picture:
            write_picture(explanation, picture)
        if as_json_:
            typer.echo(as_json(explanation))
        else:
            console.print(as_tree(explanation), highlight=False)
        if picture and not as_json_:
            say(f"picture: {picture.resolve()}")


def verify(
    tables: Annotated[
        list[str] | None, typer.Argument(help="Names of computed tables; none: all of them.")
    ] = None,
    sample: Annotated[int, typer.Option(min=1, help="Rows of each, drawn at random.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
) -> None:
    """Compute rows again and compare them with what is stored; nothing is inserted.

    To the bit where the machine and its number of threads are the same, else to a tolerance.

    Example: inceptionloop verify TrainedModel MEI --sample 3
    """
    with database():
        n_rows = n_bad = n_inexact = 0
        for checked in verify_tables(tables or (), Sampling(sample, seed)):
            n_rows += 1
            n_inexact += not checked.exact
            if not checked.equal:
                n_bad += 1
                say(checked.described())
        if n_inexact:
            say(f"{n_inexact} are of other machines: compared to a tolerance of {TOLERANCE:g}")
        say(f"{n_rows} rows computed again: {n_bad or 'none'} differ from what is stored")
        if n_bad:
            raise typer.Exit(1)
