"""The NWB file of a recording: made, written and validated, or not there at all."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pynwb import NWBHDF5IO, NWBFile, validate

from pipeline.export.draft import CannotExport, draft_of
from pipeline.export.nwb.loop import add_later_responses, add_loop, was_shown
from pipeline.export.nwb.meis import add_meis, plan_of, scores_of
from pipeline.export.nwb.session import SessionFacts, new_file
from pipeline.export.nwb.units import add_units, units_of
from schemas.recording import Scan

MODULE, SUFFIX = "inceptionloop", ".nwb"


def export_nwb(
    scan: Mapping[str, Any], target: Path, facts: SessionFacts, where: Sequence[str] = ()
) -> None:
    """Write the MEIs of a recording, and what cells answered to them, as NWB.

    Parameters
    ----------
    scan : mapping
        Key of the recording.
    target : Path
        A file that is not there yet.
    facts : SessionFacts
        What NWB requires and the database does not know.
    where : sequence of str
        Conditions `attribute=value` on MEI.Unit, where there are several ensembles or methods.

    Raises
    ------
    CannotExport
        If there is nothing to write, something is not known, or the file cannot be written.
    BadSelection
        If a condition is none.
    """
    if target.suffix != SUFFIX:
        raise CannotExport(f"'{target}' is no name of an NWB file: it must end in {SUFFIX}")
    with draft_of(target, SUFFIX) as draft:
        file = _made(scan, facts, where)
        with NWBHDF5IO(draft, "w") as io:
            io.write(file)
        problems = validate(path=draft)
        if problems:
            raise CannotExport(f"what was to be written is no valid NWB: {problems[0]}")


def _made(scan: Mapping[str, Any], facts: SessionFacts, where: Sequence[str]) -> NWBFile:
    name = "-".join(str(value) for value in scan.values())
    if not Scan & dict(scan):
        raise CannotExport(
            f'there is no recording {name}: `inceptionloop sql "SELECT * FROM scans"`'
        )
    plan, shown = plan_of(scan, where), was_shown(scan)
    if plan is None and not shown:
        raise CannotExport(
            f"units of {name} have no such MEIs, and no stimulus set was shown in it: there is "
            "nothing to write"
        )
    file = new_file(scan, facts)
    scores = scores_of(scan, plan) if plan else {}
    add_units(file, units_of(scan, scores), facts.microscope, name)
    module = file.create_processing_module(
        MODULE, "Most exciting inputs of units, and the responses of the same cells to them"
    )
    if plan:
        add_meis(module, scan, plan)
        add_later_responses(module, scan, {"training_set_hash": plan["training_set_hash"]})
    if shown:
        add_loop(file, module, scan)
    return file
