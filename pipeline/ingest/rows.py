"""Rows of a recording on their way into the database."""

from collections.abc import Iterator

import datajoint as dj
from tqdm import tqdm

from pipeline.errors import UserError

CHUNK = 2_000


class BadRecording(UserError):
    """A recording that cannot be ingested; the message says why and what to do."""


def insert_in_chunks(table: type[dj.Table], rows: Iterator[dict], total: int, what: str) -> None:
    """Insert rows with a progress bar when there are many."""
    with tqdm(total=total, desc=what, unit="row", leave=False, disable=total < CHUNK) as progress:
        chunk = []
        for row in rows:
            chunk.append(row)
            if len(chunk) == CHUNK:
                table.insert(chunk)
                progress.update(CHUNK)
                chunk = []
        table.insert(chunk)
