"""The store in a folder and on S3: every reading is checked, and every failure says what to do."""

import hashlib
import json
import uuid
from pathlib import Path

import datajoint as dj
import numpy as np
import pytest
from s3_server import BUCKET, KEYS
from typer.testing import CliRunner

from pipeline import object_store
from pipeline.cli import app
from pipeline.settings import Settings
from pipeline.stored_objects import Reference, check
from schemas.store import DamagedObject, StoreError, StoreRefuses, StoreUnavailable

ARRAY = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
WEIGHTS = b"weights" * 1000
KEY = {"mouse": "m 7", "stored_id": 1}


@pytest.fixture(params=["folder", "s3"])
def kind(request):
    return request.param


@pytest.fixture
def store(kind, database, monkeypatch, request, tmp_path):
    """The default store of DataJoint, in a folder or on S3, as settings say."""
    for name in ("INCEPTIONLOOP_STORE", "INCEPTIONLOOP_S3_ENDPOINT", *KEYS):
        monkeypatch.delenv(name, raising=False)
    environment = {"INCEPTIONLOOP_STORE": str(tmp_path)}
    if kind == "s3":
        environment = request.getfixturevalue("s3_server").environment(uuid.uuid4().hex)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(dj.config.stores, object_store.STORE, {})
    object_store.use_store(Settings())
    return object_store.default_store()


@pytest.fixture
def stored(store):
    """A table with a row of each codec, and a table that is computed from it."""
    schema = dj.Schema(f"test_store_{uuid.uuid4().hex}")

    @schema
    class StoredMEI(dj.Manual):
        definition = """
        mouse : varchar(8)
        stored_id : int32
        ---
        array : <npy@>
        weights : <object@>
        nothing = null : <npy@>
        """

    @schema
    class Total(dj.Computed):
        definition = """
        -> StoredMEI
        ---
        total : float64
        """

        def make(self, key):
            total = np.sum((StoredMEI & key).fetch1("array"))
            self.insert1(key | {"total": float(total)})

    StoredMEI.insert1(KEY | {"array": ARRAY, "weights": (".safetensors", WEIGHTS)})
    StoredMEI.Total = Total
    yield StoredMEI
    schema.drop(prompt=False)


def raw(table, column):
    """Return what the database itself holds of an object."""
    (row,) = dj.conn().query(f"SELECT `{column}` FROM {table().full_table_name}").fetchone()
    return json.loads(row)


def place(store, table, column):
    """Return the path of an object as the file system of the store takes it."""
    return f"{store.root}/{raw(table, column)['path']}"


def read(table, column):
    value = table().fetch1(column)
    return np.asarray(value) if column == "array" else value.read()


def test_objects_come_back_and_rows_hold_their_checksums(store, stored):
    np.testing.assert_array_equal(read(stored, "array"), ARRAY)
    assert read(stored, "weights") == WEIGHTS
    assert stored().fetch1("nothing") is None
    for column in ("array", "weights"):
        content = store.fs.cat_file(place(store, stored, column))
        assert raw(stored, column)["sha256"] == hashlib.sha256(content).hexdigest()


def test_what_is_known_without_reading_is_there_without_reading(store, stored):
    for column in ("array", "weights"):
        store.fs.rm_file(place(store, stored, column))
    reference, weights = stored().fetch1("array", "weights")
    assert (reference.shape, reference.dtype) == ((3, 4, 5), np.float32)
    assert weights.size == len(WEIGHTS)


def test_a_slice_is_the_slice(store, stored):
    np.testing.assert_array_equal(stored().fetch1("array")[1:, ::2], ARRAY[1:, ::2])


def missing(store, path):
    store.fs.rm_file(path)


def truncated(store, path):
    store.fs.pipe_file(path, store.fs.cat_file(path)[:-4])


def changed(store, path):
    content = bytearray(store.fs.cat_file(path))
    content[-1] ^= 1
    store.fs.pipe_file(path, bytes(content))


def emptied(store, path):
    store.fs.pipe_file(path, b"")


@pytest.mark.parametrize("damage", [missing, truncated, changed, emptied])
@pytest.mark.parametrize("column", ["array", "weights"])
def test_damage_is_named_with_the_row_and_what_to_do(store, stored, kind, column, damage):
    reference = stored().fetch1(column)
    damage(store, place(store, stored, column))
    state = "missing" if damage is missing else "damaged"
    with pytest.raises(DamagedObject) as raised:
        reference[:] if column == "array" else reference.read()
    message = str(raised.value)
    assert f"the object of StoredMEI (mouse=m 7, stored_id=1) is {state}: " in message
    url = "s3://" if kind == "s3" else "file://"
    assert url in message and raw(stored, column)["path"].rpartition("/")[2] in message
    assert "from a backup" in message and "`inceptionloop delete StoredMEI`" in message
    # `store check` says the same, and nothing of the other object
    known = [raw(stored, name) for name in ("array", "weights")]
    found = [Reference(o["store"], o["path"], o["sha256"]) for o in known]
    assert [str(damage) for damage in check(found)] == [message]


def test_a_job_that_meets_damage_says_so_in_its_error(store, stored):
    missing(store, place(store, stored, "array"))
    stored.Total.populate(reserve_jobs=True, suppress_errors=True)
    message = stored.Total().jobs.errors.fetch1("error_message")
    assert message.startswith("DamagedObject: the object of StoredMEI (mouse=m 7, stored_id=1)")


def test_rows_of_before_there_were_checksums_are_read(store, stored):
    old = {k: v for k, v in raw(stored, "array").items() if k != "sha256"}
    dj.conn().query(f"UPDATE {stored().full_table_name} SET array = %s", (json.dumps(old),))
    np.testing.assert_array_equal(read(stored, "array"), ARRAY)


# --- stores that do not do what is asked of them


@pytest.mark.parametrize("kind", ["folder"], indirect=True)
def test_a_folder_that_was_moved_is_named(store, stored, tmp_path):
    tmp_path.rename(tmp_path.with_name("elsewhere"))
    with pytest.raises(StoreError, match=f"cannot reach the object store {tmp_path}"):
        stored().fetch1("array")
    with pytest.raises(object_store.BadStore, match="mount its disk"):
        object_store.use_store(Settings())
    assert not tmp_path.exists()


@pytest.mark.parametrize("kind", ["s3"], indirect=True)
@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, StoreRefuses, "signature"),
        ({"AWS_ACCESS_KEY_ID": "stranger"}, StoreRefuses, "key ID"),
        ({"INCEPTIONLOOP_STORE": "s3://nowhere/x"}, StoreRefuses, "bucket does not exist"),
        ({"INCEPTIONLOOP_S3_ENDPOINT": "http://127.0.0.1:1"}, StoreUnavailable, "127.0.0.1:1"),
    ],
    ids=["wrong secret", "unknown key", "no bucket", "no answer"],
)
def test_a_wrong_configuration_of_s3_is_one_clear_error(store, monkeypatch, change, error, said):
    import s3fs

    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    for name, value in change.items():
        monkeypatch.setenv(name, value)
    # another process would ask for a session of its own
    s3fs.S3FileSystem.clear_instance_cache()
    object_store.use_store(Settings())
    with pytest.raises(error, match=said) as raised:
        object_store.default_store()
    assert "s3://" in str(raised.value) and "cannot list the object store" in str(raised.value)
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("INCEPTIONLOOP_STORE", "gs://bucket"),
        ("INCEPTIONLOOP_STORE", "s3://"),
        ("INCEPTIONLOOP_STORE", "s3://bucket/a b"),
        ("INCEPTIONLOOP_S3_ENDPOINT", "store:9000"),
    ],
)
def test_a_store_that_cannot_be_one_is_refused(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    answer = CliRunner().invoke(app, ["gc"])
    assert answer.exit_code == 1
    assert f"{name} is {value!r}: use" in " ".join(answer.stderr.split())


@pytest.mark.parametrize("kind", ["s3"], indirect=True)
def test_the_secret_key_can_be_in_a_file_and_is_shown_nowhere(store, monkeypatch, tmp_path):
    file = tmp_path / "secret"
    file.write_text(KEYS["AWS_SECRET_ACCESS_KEY"] + "\n")
    file.chmod(0o600)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY_FILE", str(file))
    store.fs.clear_instance_cache()
    object_store.use_store(Settings())
    assert object_store.default_store().fs.exists(BUCKET)
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in f"{dj.config} {dj.config.stores} {Settings()!r}"
    file.chmod(0o644)
    with pytest.raises(object_store.UserError, match="chmod 600"):
        object_store.use_store(Settings())


@pytest.mark.parametrize("kind", ["folder"], indirect=True)
def test_a_file_is_there_wholly_or_not_at_all(store, monkeypatch):
    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(StoreRefuses, match="No space left on device"):
        store.put_buffer(b"content", "a/b.npy")
    assert not [path for path in Path(store.root).rglob("*") if path.is_file()]
