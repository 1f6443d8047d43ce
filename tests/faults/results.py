"""All rows of a project as they lie in the database and the store, by plain SQL and plain files.

Two runs of the same plans must agree in everything but when, by whom and under which name in the
store it was computed.
"""

import hashlib
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from private_project import PREFIX, Project

RUN_TABLES = {"worker", "code_version", "retried_job", "training_checkpoint"}
RUN_COLUMNS = {"code_hash", "n_resumptions"}  # beside hidden ones and those of a time

Rows = dict[str, list[tuple[Any, ...]]]


def results(project: Project) -> Rows:
    """Return the rows of every table, in an order of their own; store objects as their SHA-256."""
    store = project.home / "store"
    return {
        table: sorted((tuple(_content(value, store) for value in row) for row in rows), key=repr)
        for table, rows in _rows(project).items()
    }


def _rows(project: Project) -> Rows:
    columns = defaultdict(list)
    with project.session() as cursor:
        cursor.execute(
            "SELECT table_schema, table_name, column_name, data_type "
            "FROM information_schema.columns ORDER BY 1, 2, ordinal_position"
        )
        for schema, table, name, kind in cursor.fetchall():
            of_run = name in RUN_COLUMNS or kind in ("datetime", "timestamp") or name[0] == "_"
            of_run |= table[0] == "~" or table in RUN_TABLES or schema == f"{PREFIX}views"
            if schema.startswith(PREFIX) and not of_run:
                # a float32 is printed with six digits, a double with all
                columns[f"`{schema}`.`{table}`"].append(
                    f"`{name}` + 0e0" if kind == "float" else f"`{name}`"
                )
        rows = {}
        for table, names in columns.items():
            cursor.execute(f"SELECT {', '.join(names)} FROM {table}")
            rows[table] = list(cursor.fetchall())
    return {table: found for table, found in rows.items() if found}


def _content(value: Any, store: Path) -> Any:
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    stored = _stored(value)
    if stored is None:
        return value
    place = store / stored["path"]
    files = sorted(p for p in place.rglob("*") if p.is_file()) if place.is_dir() else [place]
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


def _stored(value: Any) -> dict[str, Any] | None:
    """Return what a row says of an object in the store, None if the value is something else."""
    if not isinstance(value, str) or not value.startswith("{"):
        return None
    content = json.loads(value)
    return content if "path" in content and "store" in content else None


def unused_objects(project: Project) -> set[Path]:
    """Return the files in the store that no row refers to."""
    store = project.home / "store"
    values = (value for rows in _rows(project).values() for row in rows for value in row)
    used = {store / stored["path"] for value in values if (stored := _stored(value))}
    assert used and all(path.exists() for path in used)
    return {f for f in store.rglob("*") if f.is_file() and not {f, *f.parents} & used}
