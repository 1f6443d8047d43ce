"""Coordinates of recorded units in a further stack."""

from pathlib import Path

import numpy as np

from pipeline.ingest.checks import stack_problems
from pipeline.ingest.columns import read_columns
from pipeline.ingest.insert import insert_registration
from pipeline.ingest.rows import BadRecording
from schemas.recording import Scan, StackRegistration, StackUnitCoord

COLUMNS = ("unit_id", "x", "y", "z")


def ingest_stack(path: Path, key: dict[str, int], stack_id: int) -> bool:
    """Ingest where units of a recording lie in a stack; False when that is already there.

    Parameters
    ----------
    path : Path
        CSV, or `.npz`, with the columns unit_id, x, y, z (um), a row per unit. Units that were not
        found in the stack are left out.
    key : dict
        animal_id, session, scan_idx.
    stack_id : int
        Made unless it exists.

    Raises
    ------
    BadRecording
        If the file is not so, it names units that the recording does not have, or the recording
        has other coordinates in this stack.
    """
    if not Scan & key:
        raise BadRecording(f"there is no recording {key}: ingest it first")
    unit_id, *xyz = read_columns(path, COLUMNS)
    order, position = np.argsort(unit_id), np.column_stack(xyz)
    for problem in stack_problems(stack_id, position, len(unit_id)):
        raise BadRecording(f"{path}: {problem}")
    unit_id, position = unit_id[order], position[order].astype(np.float64)
    repeated = unit_id[1:][unit_id[1:] == unit_id[:-1]]
    if repeated.size:
        raise BadRecording(f"{path}: unit {repeated[0]:.15g} occurs more than once")
    recorded = (Scan.Unit & key).to_arrays("unit_id")
    strangers = unit_id[~np.isin(unit_id, recorded)]
    if strangers.size:
        raise BadRecording(
            f"{path}: {len(strangers)} of its units are not of recording {key}, first unit "
            f"{strangers[0]:.15g}"
        )
    stack = {"stack_id": stack_id}
    if StackRegistration & key & stack:
        names = ("unit_id", "stack_x", "stack_y", "stack_z")
        known = (StackUnitCoord & key & stack).to_arrays(*names, order_by="unit_id")
        if np.array_equal(np.stack(known), np.stack([unit_id, *position.T])):
            return False
        raise BadRecording(
            f"recording {key} has other coordinates in stack {stack_id}: take another number, or "
            "delete its StackRegistration first"
        )
    with StackRegistration.connection.transaction:
        insert_registration(key, unit_id.astype(np.int64), position, stack_id)
    return True
