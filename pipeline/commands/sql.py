"""The `sql` command: a question in SQL, its answer as a table or a file."""

import sys
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich.markup import escape
from rich.measure import Measurement
from rich.rule import Rule
from rich.table import Table

from pipeline.commands.console import clear_errors, console, say, stderr
from pipeline.errors import UserError
from pipeline.sql import read_sql
from schemas.views import VIEWS

ROWS_SHOWN = 200
MAX_WIDTH = 100_000  # letters


class CannotWrite(UserError):
    """A file that cannot be written; the message says why."""


def sql(
    query: Annotated[
        str, typer.Argument(help="One SELECT; '-': from standard input. Without: lists the views.")
    ] = "",
    csv: Annotated[
        Path | None, typer.Option(help="File to write the answer to; '-': standard output.")
    ] = None,
    parquet: Annotated[Path | None, typer.Option(help="File to write the answer to.")] = None,
) -> None:
    """Answer a question in SQL, read-only; views are known by their names.

    Example: inceptionloop sql "SELECT animal_id, COUNT(*) AS n FROM units GROUP BY animal_id"
    """
    with clear_errors():
        frame = _answer(sys.stdin.read() if query == "-" else query)
        if csv == Path("-"):
            typer.echo(frame.to_csv(index=False), nl=False)
        elif csv:
            _write(frame, csv, "csv")
        if parquet:
            _write(frame, parquet, "parquet")
        if not csv and not parquet:
            _show(frame)


def _answer(query: str) -> pd.DataFrame:
    if not query:
        rows = [(view.name, view.meaning) for view in VIEWS.values()]
        return pd.DataFrame(rows, columns=["view", "what a row is"])
    with stderr.status("") as status:
        return read_sql(query, report=status.update)


def _write(frame: pd.DataFrame, file: Path, kind: str) -> None:
    try:
        if kind == "csv":
            frame.to_csv(file, index=False)
        else:
            frame.to_parquet(file, index=False)
    except ImportError as error:
        raise CannotWrite(
            "Parquet needs the package pyarrow: pip install 'inceptionloop[parquet]', or use --csv"
        ) from error
    except (OSError, ValueError) as error:
        raise CannotWrite(f"'{file}' cannot be written: {error}") from error
    say(f"{len(frame)} rows in {file}")


def _show(frame: pd.DataFrame) -> None:
    columns, rows = list(map(str, frame.columns)), frame.head(ROWS_SHOWN)
    shown = [list(map(_text, row)) for row in rows.itertuples(index=False, name=None)]
    table = Table(*map(escape, columns))
    for row in shown:
        table.add_row(*map(escape, row))
    unlimited = console.options.update_width(MAX_WIDTH)
    if Measurement.get(console, unlimited, table).minimum <= console.width:
        console.print(table)
    else:
        _show_one_by_one(columns, shown)
    left = len(frame) - len(shown)
    say(f"{len(frame)} rows" + (f", the last {left} not shown: --csv FILE has all" if left else ""))


def _show_one_by_one(columns: list[str], rows: list[list[str]]) -> None:
    """Print what is too wide for the terminal, a line for each value."""
    width = max(map(len, columns))
    for number, row in enumerate(rows, start=1):
        console.print(Rule(str(number)))
        for column, value in zip(columns, row, strict=True):
            say(f"{column:<{width}}  {value}")


def _text(value: object) -> str:
    if pd.isna(value):
        return "null"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
