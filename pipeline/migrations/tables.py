"""What the tables of a project look like at this moment, and the SQL that is missing in them."""

from collections.abc import Iterator
from dataclasses import dataclass

import datajoint as dj
from datajoint.user_tables import is_tier

from schemas import graph


@dataclass(frozen=True)
class Tables:
    """The tables of a project as they are.

    Attributes
    ----------
    prefix : str
        What the names of the schemas begin with.
    columns : dict of (str, str) to set of str
        Columns by schema, without prefix, and table.
    """

    prefix: str
    columns: dict[tuple[str, str], set[str]]

    @classmethod
    def read(cls, prefix: str) -> "Tables":
        """Ask the server."""
        schemas = [graph.schema_name(module, prefix) for module in graph.MODULES]
        rows = dj.conn().query(
            "SELECT table_schema, table_name, column_name FROM information_schema.columns "
            f"WHERE table_schema IN ({', '.join(['%s'] * len(schemas))}) "
            "ORDER BY table_schema, table_name",
            args=tuple(schemas),
        )
        columns: dict[tuple[str, str], set[str]] = {}
        for schema, table, column in rows.fetchall():
            columns.setdefault((schema.removeprefix(prefix), table), set()).add(column)
        return cls(prefix, columns)

    def manual(self) -> Iterator[tuple[str, str]]:
        """Yield schema and name of the tables that people fill."""
        return (name for name in self.columns if is_tier(name[1], dj.Manual))

    def lack(self, schema: str, table: str, column: str | None = None) -> bool:
        """Whether a table of a schema that is there, or a column of such a table, is missing."""
        if column is None:
            return (schema, table) not in self.columns and any(s == schema for s, _ in self.columns)
        return column not in self.columns.get((schema, table), {column})

    def name(self, schema: str, table: str) -> str:
        """Return the full name of a table in SQL."""
        return f"`{self.prefix}{schema}`.`{table}`"
