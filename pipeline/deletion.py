"""Deleting rows with everything computed from them; what would go is shown first."""

from collections.abc import Sequence
from typing import Any

import datajoint as dj

from pipeline.errors import UserError
from schemas.graph import MODULES, STEPS, Query


class BadSelection(UserError):
    """Rows to delete that are not well described; the message says how."""


def find_table(name: str) -> type[dj.Table]:
    """Return a table by its class name, as `Scan` or `TrainedModel`.

    Raises
    ------
    BadSelection
        If there is none.
    """
    tables = {
        cls.__name__: cls
        for module in MODULES
        for cls in vars(module).values()
        if isinstance(cls, type)
        and issubclass(cls, dj.user_tables.UserTable)
        and cls.__module__ == module.__name__
    }
    if name not in tables:
        raise BadSelection(f"there is no table '{name}'; there are {', '.join(sorted(tables))}")
    return tables[name]


def preview(name: str, where: Sequence[str]) -> tuple[Query, dict[str, int]]:
    """Return the rows that conditions select, and how many rows of which tables go with them.

    Parameters
    ----------
    name : str
        Class name of the table.
    where : sequence of str
        Conditions `attribute=value`, all of which must hold.

    Raises
    ------
    BadSelection
        If the table or an attribute does not exist.
    """
    rows = find_table(name)() & _conditions(find_table(name), where)
    if not rows:
        return rows, {}
    counts = dj.Diagram.cascade(rows, part_integrity="cascade").counts()
    return rows, {_plain(table): n for table, n in counts.items() if n}


def delete_rows(rows: Query) -> None:
    """Delete rows and everything that depends on them, in one transaction.

    The records of their jobs go too. DataJoint would make those that succeeded pending again in
    every worker at once, so that two workers could do the same job; and those that failed would
    be counted although nobody asks for them any more.
    """
    rows.delete(prompt=False, part_integrity="cascade")
    for step in STEPS:
        table = step.instance
        jobs = table.jobs.restrict(dj.Not(table.proj()), semantic_check=False)
        (jobs & "status = 'success'").delete_quick()
        vanished = jobs.restrict(dj.Not(table.key_source.proj()), semantic_check=False)
        (vanished & "status in ('pending', 'error')").delete_quick()


def _conditions(table: type[dj.Table], where: Sequence[str]) -> dict[str, Any]:
    conditions = {}
    for condition in where:
        attribute, equals, value = condition.partition("=")
        if not equals or attribute not in table().heading.names:
            raise BadSelection(
                f"'{condition}' is not attribute=value with an attribute of {table.__name__}: "
                f"{', '.join(table().heading.names)}"
            )
        conditions[attribute] = _value(table().heading[attribute], value)
    return conditions


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


def _plain(full_table_name: str) -> str:
    schema, _, table = full_table_name.replace("`", "").replace('"', "").partition(".")
    return f"{schema}.{table}"
