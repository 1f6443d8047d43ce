"""Checksums of what a reader sees in tables.

Not CHECKSUM TABLE: that of a float32 is of all its bits, and both servers give a reader, and a
dump, six digits of it. The project's own numbers are float64.
"""

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from pipeline.stored_objects import schema_names


def table_digests(query: Callable[..., Iterable[tuple[Any, ...]]], prefix: str) -> dict[str, str]:
    """Return a checksum of the rows of every table, job tables and hidden ones too."""
    names = query(
        "SELECT table_schema, table_name FROM information_schema.tables "
        "WHERE table_schema IN %s AND table_type = 'BASE TABLE' ORDER BY 1, 2",
        (schema_names(prefix),),
    )
    return {f"{s}.{t}": _digest(query(f"SELECT * FROM `{s}`.`{t}`")) for s, t in names}


def _digest(rows: Iterable[tuple[Any, ...]]) -> str:
    return hashlib.sha256("\n".join(sorted(map(repr, rows))).encode()).hexdigest()
