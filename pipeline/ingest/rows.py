"""Rows of a recording on their way into the database."""

from collections.abc import Iterable, Iterator
from typing import Any

import datajoint as dj
import numpy as np
from tqdm import tqdm

from pipeline.errors import UserError

CHUNK = 2_000
CHUNK_BYTES = 4 * 2**20
"""Of arrays in a statement, which is twice as long: they go as hexadecimal digits, and the
`max_allowed_packet` of MariaDB is 16 MB by default, that of MySQL 64 MB."""


class BadRecording(UserError):
    """A recording that cannot be ingested; the message says why and what to do."""


def insert_in_chunks(
    table: type[dj.Table], rows: Iterable[dict[str, Any]], total: int, what: str
) -> None:
    """Insert rows with a progress bar when there are many, in statements that any server takes."""
    hidden = total < CHUNK or None  # None: where nobody looks
    with tqdm(total=total, desc=what, unit="row", leave=False, disable=hidden) as progress:
        for chunk in chunks(rows):
            table.insert(chunk)
            progress.update(len(chunk))


def chunks(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yield rows, at most `CHUNK` and `CHUNK_BYTES` of arrays together, but at least one."""
    chunk: list[dict[str, Any]] = []
    n_bytes = 0
    for row in rows:
        size = sum(value.nbytes for value in row.values() if isinstance(value, np.ndarray))
        if chunk and (len(chunk) == CHUNK or n_bytes + size > CHUNK_BYTES):
            yield chunk
            chunk, n_bytes = [], 0
        chunk.append(row)
        n_bytes += size
    if chunk:
        yield chunk
