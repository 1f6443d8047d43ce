"""Configuration rows by their hash: what they say, and in what two of them differ."""

from collections.abc import Mapping
from typing import Any

import datajoint as dj

from pipeline.errors import UserError
from schemas.configuration import Configuration
from schemas.model_config import ModelConfig


class UnknownConfiguration(UserError):
    """A hash that names no configuration, or several."""


def find(prefix: str) -> tuple[str, str, dict[str, Any]]:
    """Find a configuration by the first digits of its hash.

    Returns
    -------
    table : str
    hash : str
    params : dict

    Raises
    ------
    UnknownConfiguration
        If there is none or more than one.
    """
    found = [match for table in _tables() for match in _matches(table, prefix)]
    if len(found) != 1:
        names = ", ".join(f"{table} {key}" for table, key, _ in found)
        raise UnknownConfiguration(
            f"several configurations begin with '{prefix}': {names}; give more digits"
            if found
            else f"no configuration has a hash that begins with '{prefix}'"
        )
    return found[0]


def flat(params: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Write nested parameters as one level: ``core.layers``."""
    written: dict[str, str] = {}
    for name, value in params.items():
        if isinstance(value, Mapping):
            written |= flat(value, f"{prefix}{name}.")
        else:
            written[f"{prefix}{name}"] = "none" if value is None else str(value)
    return written


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return the parameters in which two sets differ; '-' where one does not have it."""
    a, b = flat(a), flat(b)
    names = [*a, *(name for name in b if name not in a)]
    pairs = {name: (a.get(name, "-"), b.get(name, "-")) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _tables() -> list[type[dj.Table]]:
    return [*Configuration.__subclasses__(), ModelConfig]


def _matches(table: type[dj.Table], prefix: str) -> list[tuple[str, str, dict[str, Any]]]:
    (attribute,) = table.primary_key
    column = next(name for name in table.heading.names if name.endswith("_params"))
    pairs = zip(*table.to_arrays(attribute, column), strict=True)
    return [(table.__name__, key, params) for key, params in pairs if key.startswith(prefix)]
