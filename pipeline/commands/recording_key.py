"""Options that say which recording is meant."""

from typing import Annotated

import typer

Animal = Annotated[int, typer.Option("--animal", help="Number of the animal.")]
Session = Annotated[int, typer.Option("--session", help="Number of the session.")]
ScanIdx = Annotated[int, typer.Option("--scan", help="Number of the scan in the session.")]
