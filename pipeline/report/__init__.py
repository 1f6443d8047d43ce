"""The report: one page with everything a person wants to see of an experiment."""

import tempfile
from collections.abc import Callable
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pipeline.errors import UserError
from pipeline.report.album import NAMES, Album
from pipeline.report.coding import coding
from pipeline.report.feedback import feedback
from pipeline.report.fits import image_fits
from pipeline.report.graph import PYTHON, diagram, sql
from pipeline.report.loop import loops
from pipeline.report.meis import run_views
from pipeline.report.models import models
from pipeline.report.navigation import navigation
from pipeline.report.page import Block, Page
from pipeline.report.provenance import provenance
from pipeline.report.recorded import recorded
from pipeline.report.reliability import oracles
from pipeline.report.render import render
from pipeline.report.units import populations
from pipeline.settings import Settings
from schemas.dataset import (
    ConditionTier,
    StaticMultiDataset,
    TargetDataset,
    TrainingSet,
    readout_key,
)

Report = Callable[[str], None]

MARK = '<meta name="generator" content="inceptionloop report">'


class NoReportFolder(UserError):
    """The report cannot be written where it was asked for; the message says why."""


def write_report(folder: Path) -> Path:
    """Write the report into a folder and return its page.

    Everything is written beside the folder first and moved into it when it is complete, the page
    last; files that are not the report's stay as they are.

    Parameters
    ----------
    folder : Path
        Made unless it exists.

    Returns
    -------
    Path
        Of ``index.html``.

    Raises
    ------
    NoReportFolder
        If `folder` is a file, or its ``index.html`` is not a report.
    """
    folder = folder.absolute()
    _check(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as name:
        draft = Path(name)
        page = _page(Album(draft))
        (draft / "index.html").write_text(render(page), encoding="utf-8")
        _publish(draft, folder)
    return folder / "index.html"


def _check(folder: Path) -> None:
    page = folder / "index.html"
    if folder.exists() and not folder.is_dir():
        raise NoReportFolder(f"{folder} is a file: name a folder for the report")
    if page.exists() and MARK not in page.read_text(encoding="utf-8", errors="replace")[:2000]:
        raise NoReportFolder(f"{page} is not a report and would be lost: name another folder")


def _publish(draft: Path, folder: Path) -> None:
    """Move a complete report into place: its files, then the page, then remove old files."""
    new = {name: {path.name for path in (draft / name).iterdir()} for name in NAMES}
    for name, files in new.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for file in files:
            (draft / name / file).replace(folder / name / file)
    (draft / "index.html").replace(folder / "index.html")
    for name, files in new.items():
        for path in (folder / name).iterdir():
            if path.name not in files and NAMES[name].fullmatch(path.name):
                path.unlink()


def _page(album: Album) -> Page:
    """Collect everything the page says, with a progress bar when someone watches."""
    training_sets = (TrainingSet & "training_family = 'image'").keys(order_by="KEY")
    with tqdm(total=5 + 6 * len(training_sets), disable=None, unit="part", leave=False) as bar:

        def report(part: str) -> None:
            bar.set_description(part)
            bar.update()

        report("recordings")
        data = recorded(album)
        blocks = [_block(key, album, report) for key in training_sets]
        report("navigation")
        fits, navigated = image_fits(album), navigation(album)
        report("efficient codes")
        coded = coding(album)
        report("feedback")
        modulated = feedback(album)
        report("graph")
        return Page(
            prefix=Settings().prefix,
            made_at=datetime.now().astimezone(),
            version=version("inceptionloop"),
            recorded=data,
            blocks=blocks,
            image_fits=fits,
            navigation=navigated,
            coding=coded,
            feedback=modulated,
            diagram=diagram(album),
            sql=sql(),
            python=PYTHON,
        )


def _block(training_set: dict[str, str], album: Album, report: Report) -> Block:
    name = training_set["training_set_hash"]

    def part(title: str, make: Callable[..., Any], *arguments: Any) -> Any:
        report(f"{title} of {name}")
        return make(*arguments, album)

    members = StaticMultiDataset.Member & (TrainingSet & training_set).proj("group_id")
    units = (TargetDataset & training_set).to_arrays("n_units").tolist()
    return Block(
        training_set_hash=name,
        scans=[readout_key(m) for m in members.to_dicts(order_by="KEY")],
        n_units=units[0] if units else None,
        tiers=_tiers(training_set),
        oracles=part("reliability", oracles, training_set),
        populations=part("units", populations, training_set),
        models=part("models", models, training_set),
        runs=part("MEIs", run_views, training_set),
        loops=part("closed loop", loops, training_set),
        provenance=part("provenance", provenance, training_set),
    )


def _tiers(training_set: dict[str, str]) -> dict[str, int]:
    """Count the images of each tier, recordings together."""
    members = ConditionTier & (TargetDataset.Member & training_set).proj("split_hash")
    counts = members.to_dicts()
    names = ("train", "validation", "test")
    return {name: sum(row[f"n_{name}"] for row in counts) for name in names if counts}
