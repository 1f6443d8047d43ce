"""`inceptionloop ingest`: recordings, and what belongs to them, into the database."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands import ingest_feedback, ingest_limens, ingest_open_field
from pipeline.commands.console import clear_errors, database, say
from pipeline.commands.recording_key import Animal, ScanIdx, Session
from pipeline.ingest.allen import ingest_allen, locate_session
from pipeline.ingest.arrays import ingest_arrays
from pipeline.ingest.calibration import ingest_calibration, time_of_calibration
from pipeline.ingest.registration import ingest_stack
from pipeline.ingest.rows import BadRecording
from pipeline.ingest.sensorium import ingest_sensorium, published_key
from pipeline.ingest.virtual import (
    ActivityKind,
    calibrate_monitor,
    ingest_first_day,
    ingest_stimulus_day,
)
from pipeline.study import read_study, register
from science.virtual import SessionDesign, VirtualAnimalParams

app = typer.Typer(no_args_is_help=True, help="Ingest recordings, monitors and stacks.")

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
    file: Annotated[Path, typer.Argument(help="An .npz file or a folder: see docs/arrays.md.")],
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


@app.command("allen")
def allen(
    number: Annotated[
        int | None, typer.Option("--session", help="Session of the Allen Institute to download.")
    ] = None,
    nwb: Annotated[Path | None, typer.Option(help="File of a session.")] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of allensdk's EcephysProjectCache.")
    ] = None,
    templates: Annotated[
        Path | None,
        typer.Option(help="Natural scenes for a file: .npy (118, h, w), or a folder of .tiff."),
    ] = None,
    area: Annotated[
        list[str] | None, typer.Option(help="Only units of this area; can be repeated.")
    ] = None,
    animal: Annotated[
        int | None, typer.Option("--animal", help="Number of the animal; by default the file's.")
    ] = None,
    scan: ScanIdx = 1,
    study: StudyFile = None,
) -> None:
    """Ingest a Neuropixels session of the Allen Institute; needs `make install-allen`.

    Example: inceptionloop ingest allen --session 798911424 --area VISam
    """
    with clear_errors():
        session = locate_session(number, nwb, cache)
        if animal is None and session.animal is None:
            raise BadRecording(f"{session.nwb} does not say which animal it is: give --animal")
    animal = session.animal if animal is None else animal
    key = {"animal_id": animal, "session": session.number, "scan_idx": scan}
    _ingest(key, lambda: ingest_allen(session, key, area or (), templates), study)


@app.command("sensorium")
def sensorium(
    folder: Annotated[Path, typer.Argument(help="A Sensorium 2022 folder, unzipped.")],
    animal: Annotated[
        int | None, typer.Option("--animal", help="Number of the animal; by default the folder's.")
    ] = None,
    session: Annotated[
        int | None, typer.Option("--session", help="Number of the session; likewise.")
    ] = None,
    scan: Annotated[
        int | None, typer.Option("--scan", help="Number of the scan in the session; likewise.")
    ] = None,
    study: StudyFile = None,
) -> None:
    """Ingest a recording as published for the Sensorium 2022 competition.

    Example: inceptionloop ingest sensorium static21067-10-18-GrayImageNet-94c6ff995dac
    """
    given = {"animal_id": animal, "session": session, "scan_idx": scan}
    key = {name: number for name, number in given.items() if number is not None}
    if len(key) < len(given):
        with clear_errors():
            key = published_key(folder) | key
    _ingest(key, lambda: ingest_sensorium(folder, key), study)


@app.command("nwb")
def nwb(
    file: Annotated[Path, typer.Argument(help="An NWB file of two-photon imaging.")],
    animal: Animal,
    session: Session = 1,
    scan: ScanIdx = 1,
    series: Annotated[
        str | None, typer.Option(help="Name of the traces to take; by default the best there are.")
    ] = None,
    study: StudyFile = None,
) -> None:
    """Ingest a two-photon recording from an NWB file.

    Example: inceptionloop ingest nwb scan.nwb --animal 17797 --series Deconvolved
    """
    with clear_errors():
        from pipeline.ingest.nwb import ingest_nwb  # needs the extra `nwb`
    key = {"animal_id": animal, "session": session, "scan_idx": scan}
    _ingest(key, lambda: ingest_nwb(file, key, series), study)


@app.command("calibration")
def calibration(
    file: Annotated[
        Path, typer.Argument(help="CSV or .npz with the columns pixel_value and luminance, cd/m2.")
    ],
    rig: Annotated[str, typer.Option(help="Whose monitor was measured.")],
    at: Annotated[str, typer.Option(help="When, as 2026-11-21T09:30.")],
) -> None:
    """Ingest what a rig's monitor emitted, as measured.

    Example: inceptionloop ingest calibration monitor.csv --rig 2P4 --at 2026-11-21T09:30
    """
    with database():
        new = ingest_calibration(file, rig, time_of_calibration(at))
        say(f"calibration of {rig} " + ("ingested" if new else "was already there"))


@app.command("stack")
def stack(
    file: Annotated[
        Path, typer.Argument(help="CSV or .npz with the columns unit_id, x, y, z, um.")
    ],
    animal: Animal,
    stack_id: Annotated[int, typer.Option("--stack", help="Number of the stack.")],
    session: Session = 1,
    scan: ScanIdx = 1,
) -> None:
    """Ingest where the units of a recording lie in a further stack.

    Example: inceptionloop ingest stack units.csv --animal 7 --session 1 --scan 1 --stack 3
    """
    key = {"animal_id": animal, "session": session, "scan_idx": scan}
    with database():
        new = ingest_stack(file, key, stack_id)
        say(f"coordinates in stack {stack_id} " + ("ingested" if new else "were already there"))


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
    activity: Annotated[
        ActivityKind,
        typer.Option(help="Counts per trial; or, with pupil and treadmill, traces or spike times."),
    ] = "trial_response",
    eye_movement: Annotated[
        float, typer.Option(help="Standard deviation of the gaze over trials, pixels.")
    ] = 0.0,
    later_gamma: Annotated[
        float | None,
        typer.Option(help="Gamma of the monitor on later days; by default as on day 1."),
    ] = None,
    study: StudyFile = None,
) -> None:
    """Record a virtual mouse with known neurons while it sees natural images.

    Example: inceptionloop ingest virtual --animal 1 --seed 3 --study studies/virtual.toml
    """
    key = {"animal_id": animal, "session": session, "scan_idx": scan}
    with clear_errors():
        cells = VirtualAnimalParams(
            n_simple=n_simple,
            n_complex=n_complex,
            n_undriven=n_undriven,
            eye_movement_px=eye_movement,
            later_monitor_gamma=later_gamma,
        )
        design = SessionDesign(n_train=n_train, n_validation=0, n_test=n_test, repeats=repeats)
    _ingest(key, lambda: ingest_first_day(key, cells, design, seed, activity), study)


@app.command("virtual-day")
def virtual_day(
    stimulus_set: Annotated[str, typer.Argument(help="Hash of the stimulus set to show.")],
    animal: Animal = 1,
    source_session: Annotated[int, typer.Option(help="Session of the first recording.")] = 1,
    session: Session = 2,
    scan: ScanIdx = 1,
    repeats: Annotated[int, typer.Option(min=1, help="Presentations of each image.")] = 10,
    day: Annotated[int, typer.Option(min=2, help="Day of the experiment.")] = 2,
    natural_repeats: Annotated[
        int,
        typer.Option(min=0, help="Presentations of each image that the first recording repeated."),
    ] = 0,
) -> None:
    """Record the same virtual mouse on a later day while it sees a stimulus set.

    Example: inceptionloop ingest virtual-day 0123456789abcdef --animal 1 --session 2
    """
    key = {"animal_id": animal, "session": session, "scan_idx": scan}
    source = {"animal_id": animal, "session": source_session, "scan_idx": 1}
    stimulus = {"stimulus_set_hash": stimulus_set}
    _ingest(key, lambda: ingest_stimulus_day(key, source, stimulus, repeats, day, natural_repeats))


@app.command("virtual-monitor")
def virtual_monitor(
    animal: Animal = 1,
    session: Session = 1,
    scan: ScanIdx = 1,
    day: Annotated[int, typer.Option(min=1, help="Day of the experiment.")] = 2,
) -> None:
    """Measure the monitor of a virtual mouse on the morning of a day.

    Example: inceptionloop ingest virtual-monitor --animal 1 --session 1 --day 2
    """
    with database():
        key = {"animal_id": animal, "session": session, "scan_idx": scan}
        measured = calibrate_monitor(key, day)
        say(f"calibration {measured['rig']}@{measured['calibrated_at'].isoformat()}")


ingest_open_field.add_to(app)
ingest_feedback.add_to(app)
ingest_limens.add_to(app)
