"""The command that brings published feedback-modulated networks into the database."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.any_study import read_any_study
from pipeline.commands.console import database, say
from pipeline.feedback_study import FeedbackStudy, ask_of_ingested
from pipeline.ingest.feedback_weights import SourceKind, ingest_feedback_weights
from pipeline.study_file import BadStudy
from schemas.model import TrainedModel


def add_to(app: typer.Typer) -> None:
    """Add the command to those of `inceptionloop ingest`."""
    app.command("feedback-weights")(feedback_weights)


def feedback_weights(
    file: Annotated[Path, typer.Argument(help="An .npz file of weights, see docs/feedback.md.")],
    name: Annotated[str, typer.Option(help="Of the network, or where it is published.")],
    sources: Annotated[SourceKind, typer.Option(help="That it was trained to recover.")],
    study: Annotated[
        Path | None,
        typer.Option(help="TOML file: ask for what this study computes of networks, too."),
    ] = None,
) -> None:
    """Ingest a published feedback-modulated network, as one that was trained elsewhere.

    Example: inceptionloop ingest feedback-weights w.npz --name naumann22 --sources chords
    """
    with database():
        chosen = None if study is None else read_any_study(study)
        if not isinstance(chosen, FeedbackStudy | None):
            raise BadStudy(f"{study} is no study of feedback modulation: it needs that family")
        plan, new = ingest_feedback_weights(file, name, sources)
        loss, silent = (TrainedModel.SourceLoss & plan).fetch1("source_loss", "silent_loss")
        say(
            f"network '{name}' {'ingested' if new else 'was already there'}: loss {loss:.4g} in a "
            f"context, {silent:.4g} if it were silent"
        )
        if chosen is not None:
            ask_of_ingested(chosen, plan)
            say("its study is registered: `inceptionloop work` computes it")
