"""Rows as a command names them: a table by its class name, and conditions on its attributes."""

from collections.abc import Sequence
from typing import Any

import datajoint as dj

from pipeline.errors import UserError
from schemas.graph import parts, tables


class BadSelection(UserError):
    """Rows that are not well described; the message says how."""


def find_table(name: str) -> type[dj.Table]:
    """Return a table by its class name, as `Scan` or `TrainedModel`.

    Raises
    ------
    BadSelection
        If there is none.
    """
    masters = {known: table for known, table in tables().items() if "." not in known}
    if name not in masters:
        raise BadSelection(f"there is no table '{name}'; there are {', '.join(sorted(masters))}")
    return masters[name]


def find_table_or_part(name: str) -> type[dj.Table]:
    """Return a table, or a part as `MEI.Unit`; errors as of `find_table`."""
    master, dot, part = name.partition(".")
    table = find_table(master)
    if not dot:
        return table
    known = parts(table)
    if part not in known:
        raise BadSelection(f"{master} has no part '{part}'; it has {', '.join(known) or 'none'}")
    return known[part]


def conditions(table: type[dj.Table], where: Sequence[str]) -> dict[str, Any]:
    """Return conditions ``attribute=value`` with the values in the types of their columns.

    Raises
    ------
    BadSelection
        If an attribute does not exist, or cannot have the value.
    """
    found = {}
    for condition in where:
        attribute, equals, value = condition.partition("=")
        if not equals or attribute not in table().heading.names:
            raise BadSelection(
                f"'{condition}' is not attribute=value with an attribute of {table.__name__}: "
                f"{', '.join(table().heading.names)}"
            )
        found[attribute] = _value(table().heading[attribute], value)
    return found


def _value(attribute: dj.heading.Attribute, text: str) -> int | float | str:
    """Return a value in the type of its column: as text the server would take 'abc' for 0."""
    if attribute.codec or attribute.json:
        raise BadSelection(f"{attribute.name} holds arrays or documents: choose another attribute")
    if not attribute.numeric:
        return text
    try:
        return float(text) if "." in text else int(text)
    except ValueError as error:
        raise BadSelection(f"{attribute.name} is a number, not '{text}'") from error
