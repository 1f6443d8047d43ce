"""The true cells behind the units of a virtual rat."""

from typing import Any

from pipeline.ingest.rows import BadRecording
from pipeline.ingest.virtual_rat import READER, VirtualForaging
from pipeline.truth.cells import SCAN
from schemas.recording import Scan, VirtualAnimal
from science.navigation import VirtualRat


def true_rat(key: dict[str, Any]) -> VirtualRat:
    """Regenerate the rat of a virtual recording: its cells, in the order of unit_id.

    Parameters
    ----------
    key : dict
        Of a `Scan`, and perhaps more.

    Raises
    ------
    BadRecording
        If the recording is not of a virtual rat.
    """
    scan = {a: key[a] for a in SCAN}
    if not Scan & scan & {"reader": READER}:
        raise BadRecording(f"recording {scan} is not of a virtual rat")
    seed, params = (VirtualAnimal & scan).fetch1("virtual_seed", "virtual_params")
    return VirtualRat.of(VirtualForaging.model_validate(params).rat, seed)
