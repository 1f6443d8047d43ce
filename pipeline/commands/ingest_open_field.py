"""Commands that bring recordings of foraging animals into the database."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.console import database, say
from pipeline.commands.recording_key import Animal, ScanIdx, Session
from pipeline.errors import UserError
from pipeline.ingest.rate_map_dictionary import ingest_rate_maps
from pipeline.ingest.spikes_positions import LengthUnit, ingest_spikes_positions
from pipeline.ingest.virtual_rat import ingest_virtual_rat
from schemas.open_field import Arena, OpenField, Tracking


def add_to(app: typer.Typer) -> None:
    """Add the commands to those of `inceptionloop ingest`."""
    for command in (open_field, rate_maps, virtual_rat):
        app.command(command.__name__.replace("_", "-"))(command)


def open_field(
    file: Annotated[Path, typer.Argument(help="An .npz file, see docs/open_field.md.")],
    animal: Animal,
    arena: Annotated[str, typer.Option(help="Name of the arena; its middle is the origin.")],
    unit: Annotated[LengthUnit, typer.Option(help="Of the positions.")],
    session: Session = 1,
    scan: ScanIdx = 1,
    width: Annotated[
        float | None,
        typer.Option(help="Of the arena in x, m; by default what the positions need."),
    ] = None,
    height: Annotated[float | None, typer.Option(help="Of the arena in y, m; likewise.")] = None,
    name: Annotated[
        str | None, typer.Option(help="Of the animal; by default that of the file.")
    ] = None,
    centre: Annotated[
        bool, typer.Option("--centre", help="Move the middle of the positions to the origin.")
    ] = False,
) -> None:
    """Ingest spikes and positions of a foraging animal.

    Example: inceptionloop ingest open-field r1.npz --animal 7 --arena box --unit cm
    """
    key = {"animal_id": animal, "session": session, "scan_idx": scan}
    with database():
        if (width is None) != (height is None):
            raise UserError("give both --width and --height of the arena, or neither")
        size = None if width is None else (width, height)
        _say_stored(key, ingest_spikes_positions(file, key, arena, unit, size, name, centre))


def rate_maps(
    file: Annotated[Path, typer.Argument(help="What `save_dictionary` wrote.")],
    first_animal: Annotated[int, typer.Option(help="Number of the first animal in the file.")],
    size: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=WIDTHxHEIGHT, m, of an arena that is not called by its size; repeatable."
        ),
    ] = None,
    shape: Annotated[
        tuple[int, int] | None,
        typer.Option(help="Bins in x and y, where the responses do not say."),
    ] = None,
) -> None:
    """Ingest finished rate maps of many animals: the nested dictionary of the original.

    Example: inceptionloop ingest rate-maps maps.npz --first-animal 100 --size square=1.5x1.5
    """
    with database():
        sizes = dict(_size(text) for text in size or ())
        n_new = ingest_rate_maps(file, first_animal, sizes, shape)
        known = "" if n_new else ": they were already there"
        say(f"{n_new} recordings of {file} ingested{known}")


def virtual_rat(
    animal: Animal,
    seed: Annotated[int, typer.Option(min=0, help="Of the cells, the walk and the spikes.")] = 1,
    minutes: Annotated[float, typer.Option(help="Duration of the session.")] = 10.0,
    session: Session = 1,
    scan: ScanIdx = 1,
) -> None:
    """Record a virtual rat with known grid, border, place and head-direction cells.

    Example: inceptionloop ingest virtual-rat --animal 9 --seed 3 --minutes 20
    """
    key = {"animal_id": animal, "session": session, "scan_idx": scan}
    with database():
        _say_stored(key, ingest_virtual_rat(key, seed, minutes))


def _say_stored(key: dict[str, int], new: bool) -> None:
    name = "-".join(str(n) for n in key.values())
    arena = (OpenField & key).fetch1("arena")
    samples = (Tracking & key).fetch1("tracking").shape[0]
    say(
        f"recording {name} {'ingested' if new else 'was already there'}: "
        f"{samples} positions and {len(OpenField.Cell & key)} cells in '{arena}' "
        f"({Arena.box({'arena': arena})})"
    )


def _size(text: str) -> tuple[str, tuple[float, float]]:
    name, _, size = text.rpartition("=")
    try:
        width, height = map(float, size.split("x"))
    except ValueError as error:
        raise UserError(f"--size is NAME=WIDTHxHEIGHT, as square=1.5x1.5, not '{text}'") from error
    return name, (width, height)
