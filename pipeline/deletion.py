"""Deleting rows with everything computed from them; what would go, and whose, is shown first."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import datajoint as dj

from pipeline.errors import UserError
from pipeline.ownership import me, owners
from pipeline.selection import conditions, find_table
from schemas.graph import STEPS, Query


class OthersRows(UserError):
    """Rows of others among those to delete; the message says whose."""


@dataclass(frozen=True)
class Preview:
    """What a deletion would take.

    Attributes
    ----------
    rows : datajoint query
        The rows that conditions select.
    counts : dict
        Table to number of rows that go, those that depend on `rows` included.
    owners : dict
        Table to account to number of its rows among them.
    """

    rows: Query
    counts: dict[str, int]
    owners: dict[str, dict[str, int]]

    def refuse_of_others(self) -> None:
        """Raise `OthersRows` if another account's rows would go."""
        others: Counter[str] = Counter()
        for counts in self.owners.values():
            others.update(counts)
        del others[me()]
        if others:
            whose = ", ".join(f"{n} of {name}" for name, n in sorted(others.items()))
            raise OthersRows(
                f"nothing was deleted: rows of others would go too ({whose}; you are {me()}). Ask "
                "them first, then repeat with --of-others"
            )


def preview(name: str, where: Sequence[str]) -> Preview:
    """Return the rows that conditions select, how many of which tables go with them, and whose.

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
    table = find_table(name)
    rows = table() & conditions(table, where)
    if not rows:
        return Preview(rows, {}, {})
    counts, affected = {}, []
    for table in dj.Diagram.cascade(rows, part_integrity="cascade"):
        if n := len(table):
            counts[_plain(table.full_table_name)] = n
            affected.append(table)
    whose = owners(affected)
    return Preview(rows, counts, {_plain(table): by for table, by in whose.items()})


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


def _plain(full_table_name: str) -> str:
    schema, _, table = full_table_name.replace("`", "").replace('"', "").partition(".")
    return f"{schema}.{table}"
