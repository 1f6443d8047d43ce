"""How far a row that was computed again is from what is stored."""

import json
import math
import zlib
from dataclasses import dataclass
from numbers import Real
from typing import Any

import datajoint as dj
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as load_tensors

from schemas.store import StoreError

TOLERANCE = 1e-3
"""Of other hardware: relative to a number, or to the largest of an array."""
UNCOMPARED = {"code_hash", "n_resumptions"}
"""Columns that say how a result came about, not what it is."""
CHECKSUMS = ("_sha256", "_digest")
"""How columns end that differ with the last bit of what they are of."""

UNREADABLE = (StoreError, zlib.error, dj.DataJointError)
"""What reading raises where an object or a blob is damaged."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Damaged:
    """Stands for a blob of a row that cannot be read."""

    error: str


def stored_rows(table: type[dj.Table], key: Row) -> list[Row]:
    """Return rows as DataJoint does, with `Damaged` for each blob that cannot be read."""
    try:
        return (table & key).to_dicts()
    except UNREADABLE:
        attributes = table().heading.attributes
        blobs = [name for name, a in attributes.items() if a.codec and a.codec.name == "blob"]
        rows = (table & key).proj(*set(attributes) - set(blobs)).to_dicts()
        keys = [{name: row[name] for name in table.primary_key} for row in rows]
        return [
            row | {name: _blob(table & own, name) for name in blobs}
            for row, own in zip(rows, keys, strict=True)
        ]


def _blob(row: dj.Table, name: str) -> Any:
    try:
        return row.fetch1(name)
    except UNREADABLE as error:
        return Damaged(str(error))


def differing_columns(table: dj.Table, made: Row, stored: Row, exact: bool) -> dict[str, str]:
    """Compare a row with what is stored of it.

    Parameters
    ----------
    table : datajoint table
    made : dict
        As it would be inserted.
    stored : dict
        As DataJoint returns it.
    exact : bool
        To the bit; else numbers to `TOLERANCE`, and checksums not at all.

    Returns
    -------
    dict
        Column to what is wrong with it.
    """
    wrong = {}
    for name in table.heading.secondary_attributes:
        attribute = table.heading[name]
        if name in UNCOMPARED or (not exact and name.endswith(CHECKSUMS)):
            continue
        if name not in made and not attribute.nullable:  # its default
            continue
        if isinstance(stored[name], Damaged):
            wrong[name] = f"cannot be read: {stored[name].error}"
            continue
        try:
            found = _deviation_of(attribute, made.get(name), stored[name])
        except StoreError as error:
            wrong[name] = f"cannot be read: {error}"
            continue
        if found > (0 if exact else TOLERANCE):
            by = f"by {found:.1e} of it" if math.isfinite(found) else "entirely"
            wrong[name] = f"differs {by}"
    return wrong


def _deviation_of(attribute: dj.heading.Attribute, made: Any, stored: Any) -> float:
    if made is None or stored is None:
        return deviation(_number(made) if attribute.numeric else made, stored)
    if attribute.codec is not None and attribute.codec.name == "object":
        return _of_objects(made, stored.read())
    if attribute.codec is not None and attribute.codec.name == "npy":
        return deviation(np.asarray(made), np.asarray(stored))
    if attribute.json:
        return deviation(json.loads(json.dumps(made)), stored)
    if attribute.numeric:
        return deviation(_number(made), _number(stored))
    return deviation(made, stored)


def _number(value: Any) -> float | int | None:
    """Return a number as the database takes it: by its decimals."""
    if value is None:
        return None
    if isinstance(value, bool | int | np.bool_ | np.integer):
        return int(value)
    number = float(str(value))
    return None if math.isnan(number) else number


def _of_objects(made: tuple[str, bytes], stored: bytes) -> float:
    extension, content = made
    if content == stored:
        return 0.0
    if extension != ".safetensors":
        return math.inf
    # equal tensors: what is written beside them differs
    return deviation(load_tensors(content), load_tensors(stored)) or math.inf


def deviation(a: Any, b: Any) -> float:
    """Return how far two values are from each other.

    Returns
    -------
    float
        0 if they are equal; relative to the larger number, or of arrays to the largest; infinite
        if they differ in anything but numbers.
    """
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return _of_arrays(a, b)
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return math.inf
    if isinstance(a, dict) and isinstance(b, dict):
        if a.keys() != b.keys():
            return math.inf
        return max((deviation(a[name], b[name]) for name in a), default=0.0)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        if len(a) != len(b):
            return math.inf
        return max(map(deviation, a, b), default=0.0)
    if isinstance(a, float | np.floating) or isinstance(b, float | np.floating):
        return _of_numbers(a, b)
    return 0.0 if a == b else math.inf


def _of_numbers(a: Any, b: Any) -> float:
    if not isinstance(a, Real) or not isinstance(b, Real):
        return math.inf
    if a == b or (math.isnan(a) and math.isnan(b)):
        return 0.0
    apart = abs(a - b) / max(abs(a), abs(b))
    return apart if math.isfinite(apart) else math.inf


def _of_arrays(a: NDArray[np.generic], b: NDArray[np.generic]) -> float:
    if a.shape != b.shape or a.dtype != b.dtype:
        return math.inf
    if not np.issubdtype(a.dtype, np.inexact):
        return 0.0 if np.array_equal(a, b) else math.inf
    if np.array_equal(a, b, equal_nan=True):
        return 0.0
    finite = np.isfinite(a)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return math.inf
    known, other = a[finite].astype(np.float64), b[finite].astype(np.float64)
    if not np.isfinite(other).all():
        return math.inf
    return float(np.abs(known - other).max() / max(np.abs(known).max(), np.abs(other).max()))
