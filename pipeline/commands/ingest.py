"""`inceptionloop ingest`: recordings into the database."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.console import clear_errors, database, say
from pipeline.ingest.arrays import ingest_arrays
from pipeline.ingest.virtual import ingest_first_day, ingest_stimulus_day
from pipeline.study import read_study, register
from science.virtual import SessionDesign, VirtualAnimalParams

app = typer.Typer(no_args_is_help=True, help="Ingest recordings.")

Animal = Annotated[int, typer.Option("--animal", help="Number of the animal.")]
Session = Annotated[int, typer.Option("--session", help="Number of the session.")]
ScanIdx = Annotated[int, typer.Option("--scan", help="Number of the scan in the session.")]
StudyFile = Annotated[
    Path | None, typer.Option("--study", help="TOML file: ask for this study, too.")
]


def _ingest(key: dict[str, int], read: Callable[[], bool], study: Path | None = None) -> None:
    """Ingest one recording, and ask for a study of it; a bad study file stops it before."""
    with database():
        chosen = read_study(study) if study else None
        name = "-".join(str(n) for n in key.values())
        say(f"recording {name} " + ("ingested" if read() else "was already there"))
        if chosen is not None:
            register(chosen, [key])
            say("its study is registered: `inceptionloop work` computes it")


@app.command("arrays")
def arrays(
    file: Annotated[Path, typer.Argument(help="An .npz file, see the README.")],
    animal: Animal,
    session: Session = 1,
    scan: ScanIdx = 1,
    study: StudyFile = None,
) -> None:
    """Ingest a recording from a file of named arrays.

    Example: inceptionloop ingest arrays v4.npz --animal 7 --study studies/v4.toml
    """
    key = {"animal_id": animal, "session": session, "scan_idx": scan}
    _ingest(key, lambda: ingest_arrays(file, key), study)


@app.command("virtual")
def virtual(
    animal: Animal = 1,
    session: Session = 1,
    scan: ScanIdx = 1,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the animal, its images and its noise.")
    ] = 1,
    n_simple: Annotated[int, typer.Option(help="Simple cells.")] = 32,
    n_complex: Annotated[int, typer.Option(help="Complex cells.")] = 32,
    n_undriven: Annotated[int, typer.Option(help="Cells that do not see.")] = 8,
    n_train: Annotated[int, typer.Option(help="Images shown once.")] = 1800,
    n_test: Annotated[int, typer.Option(help="Images shown repeatedly.")] = 100,
    repeats: Annotated[int, typer.Option(help="Presentations of each of those.")] = 10,
    study: StudyFile = None,
) -> None:
    """Record a virtual mouse with known neurons while it sees natural images.

    Example: inceptionloop ingest virtual --animal 1 --seed 3 --study studies/virtual.toml
    """
    key = {"animal_id": animal, "session": session, "scan_idx": scan}
    with clear_errors():
        cells = VirtualAnimalParams(n_simple=n_simple, n_complex=n_complex, n_undriven=n_undriven)
        design = SessionDesign(n_train=n_train, n_validation=0, n_test=n_test, repeats=repeats)
    _ingest(key, lambda: ingest_first_day(key, cells, design, seed), study)


@app.command("virtual-day")
def virtual_day(
    stimulus_set: Annotated[str, typer.Argument(help="Hash of the stimulus set to show.")],
    animal: Animal = 1,
    source_session: Annotated[int, typer.Option(help="Session of the first recording.")] = 1,
    session: Session = 2,
    scan: ScanIdx = 1,
    repeats: Annotated[int, typer.Option(min=1, help="Presentations of each image.")] = 10,
    day: Annotated[int, typer.Option(min=2, help="Day of the experiment.")] = 2,
) -> None:
    """Record the same virtual mouse on a later day while it sees a stimulus set.

    Example: inceptionloop ingest virtual-day 0123456789abcdef --animal 1 --session 2
    """
    key = {"animal_id": animal, "session": session, "scan_idx": scan}
    source = {"animal_id": animal, "session": source_session, "scan_idx": 1}
    stimulus = {"stimulus_set_hash": stimulus_set}
    _ingest(key, lambda: ingest_stimulus_day(key, source, stimulus, repeats, day))
