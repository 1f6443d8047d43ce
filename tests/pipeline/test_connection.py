"""DataJoint on the server under test: codecs, jobs, and what is said when there is no database."""

import socket
import subprocess
import sys
import uuid

import datajoint as dj
import numpy as np
import pytest

from pipeline import object_store
from pipeline.connection import DatabaseUnavailable, connect
from pipeline.server import PrivateServer

# In a process of its own, since a new connection would leave this session's schemas on the old one.
RECONNECT = """
import warnings
from pipeline.connection import connect
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    connect()
    import datajoint as dj
    dj.conn().close()
    connect()
print(dj.conn().is_connected, [str(w.message) for w in caught if w.category is UserWarning])
"""


@pytest.fixture
def schema(database):
    schema = dj.Schema(f"test_connection_{uuid.uuid4().hex}")
    yield schema
    schema.drop(prompt=False)


def declare(schema):
    @schema
    class Stored(dj.Manual):
        definition = """
        stored_id : int32
        ---
        array : <npy@>
        stored_blob : <blob@>
        row_blob : <blob>
        file : <object@>
        params : json
        """

    @schema
    class Total(dj.Computed):
        definition = """
        -> Stored
        ---
        total : float64
        """

        def make(self, key):
            array = (Stored & key).fetch1("array")
            self.insert1({**key, "total": float(np.asarray(array).sum())})

    return Stored, Total


def test_codecs_and_json_round_trip(schema, tmp_path):
    stored, _ = declare(schema)
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    params = {"text": 'it\'s "quoted" \\ 100 % 🐭', "nested": {"list": [1, 2.5, None]}}
    file = tmp_path / "weights.bin"
    file.write_bytes(b"weights")
    stored.insert1(
        {
            "stored_id": 1,
            "array": array,
            "stored_blob": {"a": array},
            "row_blob": array,
            "file": str(file),
            "params": params,
        }
    )
    row = stored.fetch1()
    np.testing.assert_array_equal(np.asarray(row["array"]), array)
    np.testing.assert_array_equal(row["stored_blob"]["a"], array)
    np.testing.assert_array_equal(row["row_blob"], array)
    assert row["file"].read() == b"weights"
    assert row["params"] == params


def test_the_default_store_has_a_name_in_every_row(schema, database, tmp_path):
    stored, _ = declare(schema)
    (tmp_path / "f").write_bytes(b"f")
    blank = {"stored_blob": 0, "row_blob": 0, "file": str(tmp_path / "f"), "params": {}}
    stored.insert1({"stored_id": 1, "array": np.zeros(2), **blank})
    files = [path for path in (database / "store").rglob("*.npy") if schema.database in str(path)]
    assert len(files) == 1
    # Otherwise the garbage collector of that store takes what is in use for rubbish.
    found = dj.gc.GarbageCollector(schema, store=object_store.STORE).collect(dry_run=True)
    assert found["schema_paths_referenced"] == 2
    assert found["schema_paths_orphaned"] == found["hash_paths_orphaned"] == 0


def test_jobs_keep_what_was_done_and_when(schema, tmp_path):
    stored, total = declare(schema)
    (tmp_path / "f").write_bytes(b"f")
    blank = {"stored_blob": 0, "row_blob": 0, "file": str(tmp_path / "f"), "params": {}}
    stored.insert1({"stored_id": 1, "array": np.ones(3), **blank})
    assert total.populate(reserve_jobs=True)["success_count"] == 1
    assert total.fetch1("total") == 3
    assert total.jobs.progress()["success"] == 1
    columns = schema.connection.query(f"SHOW COLUMNS FROM {total().full_table_name}").fetchall()
    assert "_job_start_time" in [column[0] for column in columns]


def test_connecting_twice_is_one_connection(database):
    first = dj.conn()
    connect()
    assert dj.conn() is first
    assert not dj.config["safemode"]


def test_a_lost_connection_is_renewed_without_a_word(database):
    done = subprocess.run(
        [sys.executable, "-c", RECONNECT], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "True []"


def test_a_server_in_the_environment_is_used_and_none_is_started(database, monkeypatch):
    server = PrivateServer().status()
    monkeypatch.setattr(PrivateServer, "start", None)
    monkeypatch.setenv("DJ_HOST", server.host)
    monkeypatch.setenv("DJ_PORT", str(server.port))
    monkeypatch.setenv("DJ_USER", server.user)
    monkeypatch.setenv("DJ_PASS", "wrong")
    with pytest.raises(DatabaseUnavailable, match=f"{server.port} as inceptionloop: Access denied"):
        connect()
    monkeypatch.setenv("DJ_PASS", server.password)
    connect()
    assert dj.conn().is_connected


def test_a_database_that_is_down_is_named(monkeypatch, tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    monkeypatch.setenv("INCEPTIONLOOP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DJ_HOST", f"127.0.0.1:{port}")
    monkeypatch.setenv("DJ_USER", "somebody")
    monkeypatch.setenv("DJ_PASS", "secret-word")
    with pytest.raises(DatabaseUnavailable, match=f"127.0.0.1:{port} as somebody") as caught:
        connect()
    assert "secret-word" not in str(caught.value)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(("port", "user"), [("3306", ""), ("mysql", "somebody")])
def test_half_an_address_is_refused(monkeypatch, port, user):
    monkeypatch.setenv("DJ_HOST", "db.example.org")
    monkeypatch.setenv("DJ_PORT", port)
    monkeypatch.setenv("DJ_USER", user)
    monkeypatch.setenv("DJ_PASS", "word")
    with pytest.raises(DatabaseUnavailable, match="set DJ_USER and DJ_PASS too"):
        connect()


def test_a_store_of_the_user_is_left_alone(database, monkeypatch):
    mine = {"default": "s3", "s3": {"protocol": "s3"}}
    monkeypatch.setenv("DJ_STORES", "as DataJoint has read it")
    with dj.config.override(stores=dict(mine)):
        connect()
        assert dj.config.stores == mine
