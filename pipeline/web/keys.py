"""Keys of rows in addresses: which columns name a row, and values as a request may give them."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from flask import abort, request

ENSEMBLE = ("training_set_hash", "model_hash", "train_hash", "seed_set_hash")
MEI = (*ENSEMBLE, "selection_hash", "unit_block", "mei_hash", "unit_index")
MASK = (*MEI, "mask_hash")
SCAN = ("animal_id", "session", "scan_idx")
UNIT = (*SCAN, "unit_id")
MATRIX = ("pool_hash", "match_hash", "response_scaling", "stimulus_kind")
KEYS = {
    "Scan.Unit": UNIT,
    "TrainedModel": ("training_set_hash", "model_hash", "train_hash", "seed"),
    "Ensemble": ENSEMBLE,
    "MEI.Unit": MEI,
    "ConfusionMatrix": MATRIX,
}
"""Primary keys of tables whose rows pages explain."""

HASH = re.compile(r"[0-9a-f]{16}")
NUMBER = re.compile(r"-?[0-9]{1,18}")
RECORDING = re.compile(r"([0-9]{1,18})-([0-9]{1,18})-([0-9]{1,9})")
NUMBERS = {*UNIT, "unit_index", "unit_block", "diverse_index", "seed", "model_unit"}
LONGEST = 64


def key_of(row: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the key in a row."""
    return {name: row[name] for name in names}


def asked_key(names: Iterable[str]) -> dict[str, Any]:
    """Return the key that the query string of a request names; one that is none is a 400."""
    return {name: _value(name, request.args.get(name, "")) for name in names}


def _value(name: str, text: str) -> str | int:
    if name in NUMBERS:
        if not NUMBER.fullmatch(text):
            abort(400, f"'{name}' has to be a whole number.")
        return int(text)
    if name.endswith("_hash"):
        return asked_hash(name, text)
    if not 0 < len(text) <= LONGEST:
        abort(400, f"'{name}' has to be a word of at most {LONGEST} letters.")
    return text


def asked_hash(name: str, text: str) -> str:
    """Return a hash that a request gives; what is none is a 400."""
    if not HASH.fullmatch(text):
        abort(400, f"'{name}' has to be a hash of 16 digits, 0 to f.")
    return text


def matches(names: Iterable[str], alias: str = "") -> str:
    """Return the condition that columns have the values of the parameters of their names."""
    dot = f"{alias}." if alias else ""
    return " AND ".join(f"{dot}{name} = :{name}" for name in names)


def recording(row: Mapping[str, Any]) -> str:
    """Return the name of the recording of a row, as 1-2-1."""
    return "-".join(str(row[name]) for name in SCAN)


def scan(name: str, otherwise: int = 404) -> dict[str, int]:
    """Return the key of a recording by its name; what is no name is answered by `otherwise`."""
    found = RECORDING.fullmatch(name)
    if not found:
        abort(otherwise, "A recording is named by animal, session and scan, as 1-2-1.")
    return {column: int(number) for column, number in zip(SCAN, found.groups(), strict=True)}
