"""`inceptionloop stimulus`: the next experiment."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
import typer
from rich.table import Table

from pipeline.commands.console import clear_errors, console, database, say
from pipeline.errors import UserError
from pipeline.ingest.calibration import time_of_calibration
from pipeline.stimulus import (
    ImageFormat,
    Kind,
    Stimulus,
    StimulusParams,
    check_stimulus,
    choose_stimulus,
    chosen_stimulus,
    close_loop,
    export_stimulus,
    prepare_stimulus,
)
from schemas.controls import ControlPlan
from science.closed_loop import PUBLISHED_MATCH, MatchParams

app = typer.Typer(no_args_is_help=True, help="Stimuli of the next experiment.")

StimulusSetHash = Annotated[str, typer.Argument(help="Hash of the stimulus set.")]
Number = float | None
KINDS = ", ".join(get_args(Kind))


@app.command("export")
def export(
    training_set: Annotated[str, typer.Argument(help="Hash of the training set of the models.")],
    folder: Annotated[Path, typer.Argument(help="Where to write images and manifest.")],
    kind: Annotated[list[str], typer.Option(help=f"{KINDS}; can be repeated.")],
    nine_shifts: Annotated[
        bool, typer.Option("--nine-shifts", help="MEIs also moved by one pixel of the model.")
    ] = False,
    unit: Annotated[
        Literal["luminance", "grey"], typer.Option(help="Of mean and contrast: cd/m2 or grey.")
    ] = "luminance",
    mean: Annotated[Number, typer.Option(help="Of an image; by default 10 cd/m2.")] = None,
    contrast: Annotated[
        Number, typer.Option(help="Pixel SD of an image; by default 2 cd/m2.")
    ] = None,
    inside_mask: Annotated[
        bool, typer.Option("--inside-mask", help="Mean and contrast are those inside the mask.")
    ] = False,
    height: Annotated[
        int | None, typer.Option(help="Pixels; by default as the recorded images.")
    ] = None,
    width: Annotated[int | None, typer.Option(help="Pixels; likewise.")] = None,
    image_format: Annotated[ImageFormat, typer.Option("--format", help="Of the files.")] = "png",
    shown_on: Annotated[
        str | None,
        typer.Option(
            metavar="RIG@TIME",
            help="Calibration of the monitor that shows them; by default the newest of the rig.",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Hash of the model, if there are several.")
    ] = None,
    method: Annotated[str | None, typer.Option(help="Hash of the MEI method, likewise.")] = None,
    mask: Annotated[str | None, typer.Option(help="Hash of the masks' method, likewise.")] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(help="attribute=value of `ControlPlan`, if there are several; likewise."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what there would be; store nothing.")
    ] = False,
) -> None:
    """Make the next experiment's images of MEIs and their controls, as rows and as files.

    Example: inceptionloop stimulus export 0123456789abcdef stimuli --kind mei --kind gabor
    """
    chosen = {"model_hash": model, "mei_hash": method, "mask_hash": mask}
    with clear_errors():
        unknown = [name for name in kind if name not in get_args(Kind)]
        if unknown:
            raise UserError(f"there is no kind of image '{unknown[0]}': it is one of {KINDS}")
        params = StimulusParams.model_validate(
            {
                "kinds": tuple(dict.fromkeys(kind)),
                "nine_shifts": nine_shifts,
                "display": _given(
                    {
                        "unit": unit,
                        "mean": mean,
                        "contrast": contrast,
                        "inside_mask": inside_mask,
                        "height": height,
                        "width": width,
                    }
                ),
            }
        )
        if unit == "grey" and None in (mean, contrast):
            raise UserError("give --mean and --contrast in grey values, as 111 and 16")
        monitor = None if shown_on is None else _calibration(shown_on)
    with database():
        plan = {"training_set_hash": training_set} | _given(chosen) | _conditions(where or ())
        stimulus = prepare_stimulus(plan, params, monitor)
        console.print(_summary(stimulus))
        if dry_run:
            say("nothing was stored or written: repeat without --dry-run")
            return
        written = export_stimulus(stimulus, folder, image_format)
        say(f"stimulus set {stimulus.key['stimulus_set_hash']}: {written}")


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _conditions(where: Sequence[str]) -> dict[str, str]:
    conditions = dict(condition.partition("=")[::2] for condition in where)
    unknown = set(conditions) - set(ControlPlan.heading.names)
    if unknown:
        raise UserError(
            f"'{min(unknown)}' is no attribute of ControlPlan, which has "
            f"{', '.join(ControlPlan.heading.names)}"
        )
    return conditions


def _calibration(name: str) -> dict[str, Any]:
    rig, at, time = name.rpartition("@")
    if not (rig and at):
        raise UserError(f"'{name}' names no calibration: write RIG@TIME, as 2P4@2026-11-21T09:30")
    return {"rig": rig, "calibrated_at": time_of_calibration(time)}


def _summary(stimulus: Stimulus) -> Table:
    """Describe a stimulus set, a row per kind of image."""
    display = stimulus.params.display
    unit = "cd/m2" if display.unit == "luminance" else "grey"
    height, width = stimulus.pixels.shape[1:]
    table = Table(
        "kind",
        *("images", "units", f"mean, {unit}", f"contrast, {unit}", "not within 1 %", "size", "MB"),
        caption=f"asked for: mean {display.mean:g}, contrast {display.contrast:g} {unit}; "
        f"{stimulus.n_left_out} units left out, which lack a kind",
    )
    for kind in stimulus.params.kinds:
        items = [item for item in stimulus.items if item["stimulus_kind"] == kind]
        table.add_row(
            kind,
            str(len(items)),
            str(len({item["unit_index"] for item in items})),
            _range(items, "shown_mean"),
            _range(items, "shown_contrast"),
            str(sum(not item["display_reached"] for item in items)),
            f"{height} x {width}",
            f"{len(items) * height * width / 1e6:.1f}",
        )
    return table


def _range(items: list[dict[str, Any]], name: str) -> str:
    values = np.array([item[name] for item in items])
    return f"{values.min():.4g} to {values.max():.4g}"


@app.command("check")
def check(
    folder: Annotated[Path, typer.Argument(help="An exported stimulus set.")],
) -> None:
    """Verify the files of a stimulus set, and compare them with the database.

    Example: inceptionloop stimulus check stimuli
    """
    with database():
        say(f"{check_stimulus(folder)} images are as the manifest and the database have them")


@app.command("choose")
def choose(
    stimulus_set: StimulusSetHash,
    note: Annotated[str, typer.Option(help="Why.")] = "",
) -> None:
    """Choose the stimulus set that is shown next.

    Example: inceptionloop stimulus choose 0123456789abcdef --note pilot
    """
    with database():
        choose_stimulus(stimulus_set, note)
        say(f"stimulus set {stimulus_set} is shown next")


@app.command("next")
def show_next() -> None:
    """Print the hash of the stimulus set that is shown next.

    Example: inceptionloop stimulus next
    """
    with database():
        say(chosen_stimulus())


@app.command("shown")
def shown(
    stimulus_set: StimulusSetHash,
    animal: Annotated[int, typer.Option(help="Animal that saw it.")],
    session: Annotated[int, typer.Option(help="Session in which it did.")],
    scan: Annotated[int, typer.Option(help="Scan in which it did.")] = 1,
    day: Annotated[int, typer.Option(min=2, help="Day of the experiment.")] = 2,
    group: Annotated[
        int, typer.Option(help="Of recordings of the same cells, whose trials may be pooled.")
    ] = 1,
    published: Annotated[
        bool, typer.Option("--published", help="Match cells as published; the rest overrides it.")
    ] = False,
    max_distance: Annotated[
        Number, typer.Option(help="Of matched cells in a stack, um; by default 10.")
    ] = None,
    min_correlation: Annotated[
        Number, typer.Option(help="Of matched cells' responses to the same natural images.")
    ] = None,
) -> None:
    """Say that a recording showed a stimulus set, and ask for its confusion matrices.

    Example: inceptionloop stimulus shown 0123456789abcdef --animal 1 --session 2
    """
    key = {"animal_id": animal, "session": session, "scan_idx": scan}
    base = PUBLISHED_MATCH if published else MatchParams()
    given = _given({"max_distance": max_distance, "min_correlation": min_correlation})
    with clear_errors():
        match = MatchParams.model_validate(base.model_dump() | given)
    with database():
        close_loop(key, {"stimulus_set_hash": stimulus_set}, match, day=day, loop_group=group)
        say("registered: `inceptionloop work` computes the matches and confusion matrices")
