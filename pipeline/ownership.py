"""Whose rows are: of the account that inserted them, or that asked for them to be computed.

DataJoint writes into every row of a manual table which account inserted it. A computed row belongs
to the accounts that inserted the plans that ask for it now, wherever it was computed; parts belong
to whom their master belongs. What nobody asks for any more, what a worker keeps for itself, and
rows older than this record belong to nobody.
"""

from collections.abc import Iterable

import datajoint as dj

from schemas.graph import STEPS, Step

RECORD = "_prov"
OWNER = (
    f"IF(JSON_EXTRACT(p.{RECORD}, '$.context') IS NULL, "
    f"JSON_UNQUOTE(JSON_EXTRACT(p.{RECORD}, '$.agent.user')), NULL)"
)


def me() -> str:
    """Return the account that this process uses."""
    return dj.conn().conn_info["user"]


def owners(tables: Iterable[dj.FreeTable]) -> dict[str, dict[str, int]]:
    """Count the rows of tables by owner.

    Parameters
    ----------
    tables : iterable of datajoint.FreeTable
        Restricted to the rows in question.

    Returns
    -------
    dict
        Full table name to account to number of rows, of those that belong to somebody. A row that
        several accounts ask for counts for each.
    """
    recorded = _tables_with_record()
    steps = {step.instance.full_table_name: step for step in STEPS}
    found = {}
    for rows in tables:
        name = rows.full_table_name
        if name in recorded:
            found[name] = _owners_of_inserted(rows)
        elif name in steps:
            found[name] = _owners_of_computed(rows, steps[name], recorded)
    return {name: counts for name, counts in found.items() if counts}


def _owners_of_inserted(rows: dj.FreeTable) -> dict[str, int]:
    # DataJoint hides the column from its own queries.
    records = f"SELECT {RECORD} FROM {rows.from_clause()}{rows.where_clause()}"
    return _count(f"SELECT {OWNER}, COUNT(*) FROM ({records}) p GROUP BY 1")


def _owners_of_computed(rows: dj.FreeTable, step: Step, recorded: set[str]) -> dict[str, int]:
    plan = _plan(step)
    shared = [name for name in rows.primary_key if name in plan.heading.names]
    # A table whose plan has another key is made anew in seconds.
    if not shared or plan.full_table_name not in recorded:
        return {}
    key = ", ".join(f"`{name}`" for name in rows.primary_key)
    return _count(
        f"SELECT {OWNER}, COUNT(DISTINCT {key}) FROM ({rows.proj().make_sql()}) r "
        f"JOIN {plan.full_table_name} p USING ({', '.join(f'`{name}`' for name in shared)}) "
        "GROUP BY 1"
    )


def _plan(step: Step) -> dj.FreeTable:
    """Return the table whose rows ask for those of a step: the first that its query names."""
    basis = step.asked()
    while not isinstance(basis, str):
        basis = basis.support[0]
    return dj.FreeTable(dj.conn(), basis)


def _tables_with_record() -> set[str]:
    found = dj.conn().query(
        "SELECT table_schema, table_name FROM information_schema.columns WHERE column_name = %s",
        (RECORD,),
    )
    return {f"`{schema}`.`{table}`" for schema, table in found.fetchall()}


def _count(sql: str) -> dict[str, int]:
    return {owner: n for owner, n in dj.conn().query(sql).fetchall() if owner is not None}
