"""`inceptionloop export`: results as files that need no database."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.console import clear_errors, database, say, stderr
from pipeline.commands.graph import scan_key
from pipeline.selection import BadSelection
from pipeline.work import leaving_when_asked

app = typer.Typer(no_args_is_help=True, help="Results as files: a slice of the graph, NWB.")


@app.command("slice")
def slice_(
    table: Annotated[str, typer.Argument(help="Name of a table, or of a part, as MEI.Unit.")],
    to: Annotated[Path, typer.Option(help="New folder to write.")],
    where: Annotated[
        list[str] | None, typer.Option(help="attribute=value; may be repeated.")
    ] = None,
) -> None:
    """Write rows and all that they come from: Parquet, arrays, and a manifest with checksums.

    Example: inceptionloop export slice MEI.Unit --where unit_index=3 --to unit_3
    """
    with database(), leaving_when_asked():
        from pipeline.export.slice import export_slice

        manifest = export_slice(table, where or (), to)
        n_rows = sum(entry.rows for entry in manifest.tables.values())
        n_bytes = sum(file.bytes for file in manifest.files.values())
        say(
            f"{to}: {manifest.restriction.rows} of {table}, {n_rows} rows in "
            f"{len(manifest.tables)} tables, {n_bytes / 1e6:.1f} MB. README.txt says how to read it"
        )


@app.command()
def check(folder: Annotated[Path, typer.Argument(help="That `export slice` wrote.")]) -> None:
    """Verify every checksum of a slice, and every reference from row to row; needs no database.

    Example: inceptionloop export check unit_3
    """
    with clear_errors():
        from pipeline.exported import read_manifest, verify_slice

        problems = verify_slice(folder)
        for problem in problems:
            say(problem)
        manifest = read_manifest(folder)
        say(
            f"{len(manifest.files)} files, {len(manifest.tables)} tables: "
            + (f"problems: {len(problems)}" if problems else "whole, every reference is there")
        )
        if problems:
            raise typer.Exit(1)


@app.command()
def nwb(
    scan: Annotated[str, typer.Option(help="The recording: animal-session-scan, as 7-1-1.")],
    to: Annotated[Path, typer.Option(help="New file to write.")],
    start: Annotated[
        str | None, typer.Option(help="When the session began, as 2026-11-20T09:00+01:00.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(help="attribute=value of MEI.Unit, where there are several ensembles."),
    ] = None,
    indicator: Annotated[str | None, typer.Option(help="Of imaged fields, as GCaMP6s.")] = None,
    excitation_nm: Annotated[float | None, typer.Option(help="Wavelength, likewise.")] = None,
    emission_nm: Annotated[float | None, typer.Option(help="Wavelength, likewise.")] = None,
    subject: Annotated[
        list[str] | None,
        typer.Option(help="What NWB says of the animal, as species='Mus musculus' or sex=F."),
    ] = None,
) -> None:
    """Write MEIs, masks, scores and the recorded responses to them as NWB.

    Of a recording that models come from, or of one in which a stimulus set was shown.

    Example: inceptionloop export nwb --scan 7-1-1 --start 2026-11-20T09:00+01:00 --to 7-1-1.nwb
    """
    with database(), leaving_when_asked():
        from pipeline.export.nwb import Microscope, SessionFacts, export_nwb

        imaged = (indicator, excitation_nm, emission_nm)
        facts = SessionFacts(
            start=_time(start),
            microscope=None if None in imaged else Microscope(*imaged),
            subject=dict(_pair(text) for text in subject or ()),
        )
        with stderr.status("writing"):
            export_nwb(scan_key(scan), to, facts, where or ())
        say(f"{to}: {to.stat().st_size / 1e6:.1f} MB")


def _time(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError as error:
        raise BadSelection(f"'{text}' is no time as 2026-11-20T09:00+01:00") from error


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise BadSelection(f"'{text}' is not attribute=value, as sex=F")
    return name, value
