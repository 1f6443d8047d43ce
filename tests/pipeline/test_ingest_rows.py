"""Rows go into the database in statements that a server with its default settings takes."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pymysql.converters import escape_item

from pipeline.ingest.rows import CHUNK, CHUNK_BYTES, chunks, insert_in_chunks

SMALLEST_PACKET = 16 * 2**20  # max_allowed_packet of MariaDB; of MySQL it is four times as much


def rows_of(sizes):
    return [{"image_id": i, "image": np.zeros(size, np.uint8)} for i, size in enumerate(sizes)]


def n_bytes(chunk):
    return sum(row["image"].nbytes for row in chunk)


@given(st.lists(st.integers(0, CHUNK_BYTES + 2**20), max_size=20))
def test_chunks_are_the_rows_in_order_within_the_limit_and_no_smaller_than_need_be(sizes):
    rows = rows_of(sizes)
    made = list(chunks(iter(rows)))
    assert [row["image_id"] for chunk in made for row in chunk] == list(range(len(rows)))
    assert all(len(chunk) == 1 or n_bytes(chunk) <= CHUNK_BYTES for chunk in made)
    for chunk, following in pairwise(made):
        assert n_bytes([*chunk, following[0]]) > CHUNK_BYTES


def test_rows_without_arrays_are_counted():
    rows = [{"unit_id": i, "layer": "L4"} for i in range(2 * CHUNK + 3)]
    made = list(chunks(rows))
    assert [len(chunk) for chunk in made] == [CHUNK, CHUNK, 3]
    assert list(chunks([])) == []


def test_the_scenes_of_an_allen_session_fit_into_statements():
    scenes = [{"image": np.zeros((918, 1174), np.uint8)}] * 118
    inserted = []

    class Table:
        insert = inserted.append

    insert_in_chunks(Table, scenes, len(scenes), "images")
    assert sum(len(chunk) for chunk in inserted) == 118
    sent = len(escape_item(scenes[0]["image"].tobytes(), "utf8mb4"))
    assert max(len(chunk) for chunk in inserted) * sent < SMALLEST_PACKET / 1.5
