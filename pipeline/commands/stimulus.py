"""`inceptionloop stimulus`: the next experiment."""

from typing import Annotated

import typer

from pipeline.commands.console import database, say
from pipeline.ingest.rows import BadRecording
from pipeline.stimulus import close_loop, make_stimulus_set
from schemas.recording import Scan
from schemas.stimulus import StimulusSet
from science.closed_loop import MatchParams

app = typer.Typer(no_args_is_help=True, help="Stimuli of the next experiment.")


@app.command("make")
def make(
    training_set: Annotated[str, typer.Argument(help="Hash of the training set of the models.")],
    model: Annotated[
        str | None, typer.Option(help="Hash of the model, if there are several.")
    ] = None,
    method: Annotated[str | None, typer.Option(help="Hash of the MEI method, likewise.")] = None,
) -> None:
    """Make a stimulus set of all MEIs of one model of a training set.

    Example: inceptionloop stimulus make 0123456789abcdef
    """
    chosen = {"training_set_hash": training_set, "model_hash": model, "mei_hash": method}
    with database():
        key = make_stimulus_set({name: value for name, value in chosen.items() if value})
        n = len(StimulusSet.Item & key)
        say(f"stimulus set {key['stimulus_set_hash']}: {n} images")


@app.command("shown")
def shown(
    stimulus_set: Annotated[str, typer.Argument(help="Hash of the stimulus set.")],
    animal: Annotated[int, typer.Option(help="Animal that saw it.")],
    session: Annotated[int, typer.Option(help="Session in which it did.")],
    scan: Annotated[int, typer.Option(help="Scan in which it did.")] = 1,
    day: Annotated[int, typer.Option(help="Day of the experiment, from 2.")] = 2,
    max_distance: Annotated[float, typer.Option(help="Of matched cells, um.")] = 10.0,
) -> None:
    """Say that a recording showed a stimulus set, and ask for its confusion matrices.

    Example: inceptionloop stimulus shown 0123456789abcdef --animal 1 --session 2
    """
    with database():
        stimulus = {"stimulus_set_hash": stimulus_set}
        if not StimulusSet & stimulus:
            raise BadRecording(f"there is no stimulus set {stimulus_set}")
        key = {"animal_id": animal, "session": session, "scan_idx": scan}
        if not Scan & key:
            raise BadRecording(f"there is no recording {key}: ingest it first")
        match = MatchParams(max_distance=max_distance)
        close_loop(key, stimulus, match, day=day)
        say("registered: `inceptionloop work` computes the matches and confusion matrices")
