"""Backup and restore, rehearsed: from the session's server to one that has nothing."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import datajoint as dj
import pymysql
import pytest
from table_digests import table_digests

from pipeline import backup, dump
from pipeline import restore as restoring
from pipeline.address import Address, address
from pipeline.backup import back_up
from pipeline.backup_format import BackupFailed, manifests
from pipeline.dump import DumpFailed
from pipeline.garbage import StoreBusy, only_one
from pipeline.restore import restore
from pipeline.server import PrivateServer
from pipeline.settings import Settings
from pipeline.stored_objects import references
from schemas.field import GradientField
from schemas.operations import RetriedJob
from schemas.recording import Scan
from schemas.store import Store
from schemas.views import schema_of_views

NASTY = "'),('); \\'\n(;\nINSERT INTO `frame` VALUES (1),(2);\nUSE `nowhere`;\n😀"
"""Text of a row that looks like the end of one, and like the beginning of others."""


@pytest.fixture(scope="module")
def nasty(populated):
    """A row with text that is hard to dump."""
    key = {"job_table": "x'),(\\", "job_hash": "0" * 16}
    RetriedJob.insert1(key | {"last_failure": NASTY})
    yield
    (RetriedJob & key).delete_quick()


@pytest.fixture(scope="module")
def saved(nasty, tmp_path_factory):
    """A backup of the miniature, and the folder of backups."""
    folder = tmp_path_factory.mktemp("backups")
    return back_up(Settings(), folder), folder


@pytest.fixture
def copied(saved, tmp_path):
    """A copy of it, to be damaged."""
    shutil.copytree(saved[1], tmp_path / "backups")
    return tmp_path / "backups"


def here(sql, arguments=()):
    """Ask the session's server."""
    return dj.conn().query(sql, arguments).fetchall()


def test_a_backup_counts_the_rows_of_its_own_snapshot(saved):
    rows = saved[0].manifest.rows
    assert rows[f"{Settings().prefix}model.__trained_model"] > 3
    for name, n in rows.items():
        schema, _, table = name.partition(".")
        assert here(f"SELECT COUNT(*) FROM `{schema}`.`{table}`") == ((n,),), name
    assert set(rows) == set(table_digests(here, Settings().prefix))


def test_a_backup_holds_every_object_that_rows_refer_to(saved, database):
    made, folder = saved
    held = {copy.path: copy for copy in made.manifest.objects}
    referred = references(Settings().prefix)
    assert len(referred) > 10 and made.damaged == []
    for reference in referred:
        copy = held[reference.path]
        original = (database / "store" / reference.path).read_bytes()
        assert copy.file(folder).read_bytes() == original
        assert copy.sha256 == hashlib.sha256(original).hexdigest() == reference.sha256


# --- the rehearsal

REHEARSAL = """
import json, sys
from pathlib import Path
import datajoint as dj
from pipeline.cli import app
from pipeline.settings import Settings
from table_digests import table_digests

def run(*arguments):
    status = app(list(arguments), standalone_mode=False)
    assert not status, (arguments, status)

def note(name):
    found = table_digests(lambda *sql: dj.conn().query(*sql).fetchall(), Settings().prefix)
    (Path(folder) / name).write_text(json.dumps(found))

folder, backups, *where = sys.argv[1:]
run("restore", backups)
note("restored")
run("store", "check")
run("work", "--threads", "1", "--quiet")
note("worked")
run("delete", "GradientField", *where, "--yes")
run("work", "--threads", "1", "--quiet")
"""


@pytest.fixture(scope="module")
def rehearsed(saved, server_program, tmp_path_factory):
    """A server of its own to which the backup was restored, and what happened there."""
    folder = tmp_path_factory.mktemp("rehearsal")
    (key,) = GradientField.keys(limit=1, order_by="KEY")
    tests = Path(__file__).parents[1]
    environment = os.environ | {
        "INCEPTIONLOOP_HOME": str(folder / "home"),
        "PYTHONPATH": os.pathsep.join(map(str, (tests, tests.parent))),
        "OMP_NUM_THREADS": "1",
    }
    where = [part for name, value in key.items() for part in ("--where", f"{name}={value}")]
    done = subprocess.run(
        [sys.executable, "-c", REHEARSAL, str(folder), str(saved[1]), *where],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    server = PrivateServer(Settings(home=folder / "home"), server_program)
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        info = server.status()
        login = {"host": info.host, "port": info.port, "user": info.user}
        with pymysql.connect(**login, password=info.password) as connection:
            yield folder, done, connection
    finally:
        server.stop()
        shutil.rmtree(folder)


def test_every_table_is_restored_to_the_bit(rehearsed):
    restored = json.loads((rehearsed[0] / "restored").read_text())
    assert restored == table_digests(here, Settings().prefix)
    assert len(restored) > 100
    with rehearsed[2].cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM `{schema_of_views(Settings().prefix)}`.units")
        assert cursor.fetchone() == (len(Scan.Unit()),)


def test_every_object_is_restored(rehearsed, saved):
    folder, done, _ = rehearsed
    for copy in saved[0].manifest.objects:
        content = (folder / "home" / "store" / copy.path).read_bytes()
        assert hashlib.sha256(content).hexdigest() == copy.sha256
    n = len(references(Settings().prefix))
    assert f"{n} of {n} objects read: none missing or damaged" in done.stdout


def test_a_worker_finds_nothing_to_do_there_and_new_work_goes_on(rehearsed):
    folder, done, connection = rehearsed
    before, after = (json.loads((folder / n).read_text()) for n in ("restored", "worked"))
    made = [name for name in before if ".__" in name and "~" not in name]
    assert {n: before[n] for n in made} == {n: after[n] for n in made}
    assert "GradientField: 1 done" in done.stderr
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM {GradientField().full_table_name}")
        assert cursor.fetchone() == (len(GradientField()),)


# --- the second backup, and those that fail


def test_a_second_backup_copies_only_what_is_new(copied, monkeypatch):
    monkeypatch.setattr(Store, "get_buffer", None)
    made = backup.back_up(Settings(), copied)
    assert made.n_copied == 0
    assert made.manifest.objects == next(iter(manifests(copied).values())).objects
    assert len(manifests(copied)) == 2


def test_an_interrupted_backup_is_none_and_the_earlier_one_stays(saved, tmp_path, monkeypatch):
    written = []

    def write(path, content):
        written.append(path)
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    with monkeypatch.context() as patch:
        patch.setattr(backup, "write_durably", write)
        with pytest.raises(BackupFailed, match=r"is not whole: .*No space left"):
            back_up(Settings(), tmp_path)
    assert len(list(tmp_path.glob("*/database.sql.gz"))) == 1
    assert manifests(tmp_path) == {}
    with pytest.raises(BackupFailed, match="there is no whole backup"):
        restore(Settings(), tmp_path)
    made = back_up(Settings(), tmp_path)  # goes on where that one ended
    # of the two that it had copied, those that a row refers to are known by their checksum
    assert len(made.manifest.objects) - 2 <= made.n_copied < len(made.manifest.objects)
    assert made.manifest.objects == saved[0].manifest.objects


def test_a_damaged_object_is_named_and_taken_when_it_is_repaired(copied, database):
    reference = references(Settings().prefix)[0]
    file, held = database / "store" / reference.path, copied / "objects/main" / reference.path
    original = file.read_bytes()
    held.unlink()
    try:
        file.write_bytes(original[:-1])
        made = back_up(Settings(), copied)
        assert len(made.damaged) == 1 and reference.path in made.damaged[0]
        assert reference.path not in {copy.path for copy in made.manifest.objects}
    finally:
        file.write_bytes(original)
    assert not held.exists()
    made = back_up(Settings(), copied)
    assert (made.damaged, made.n_copied) == ([], 1)
    assert held.read_bytes() == original


def test_garbage_is_not_collected_during_a_backup(populated, tmp_path):
    with only_one(Settings().prefix), pytest.raises(StoreBusy, match="try again"):
        back_up(Settings(), tmp_path)
    assert manifests(tmp_path) == {}


# --- what is not restored


def test_nothing_is_restored_over_a_project_that_is_there(saved):
    before = table_digests(here, Settings().prefix)
    with pytest.raises(BackupFailed, match="there are schemas on this server already"):
        restore(Settings(), saved[1])
    assert table_digests(here, Settings().prefix) == before


@pytest.mark.parametrize("victim", ["database.sql.gz", "object", "missing object"])
def test_a_damaged_backup_is_refused_before_anything_is_changed(copied, monkeypatch, victim):
    monkeypatch.setattr(restoring, "_present", lambda prefix: [])
    monkeypatch.setattr(restoring, "load", None)
    (manifest,) = manifests(copied).values()
    file = next(copied.glob("*/database.sql.gz"))
    if "object" in victim:
        file = manifest.objects[3].file(copied)
    if victim == "missing object":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(BackupFailed, match="damaged") as raised:
        restore(Settings(), copied)
    assert str(file) in str(raised.value)


def test_a_backup_of_other_schemas_or_another_server_is_refused(saved, copied):
    with pytest.raises(BackupFailed, match="set INCEPTIONLOOP_PREFIX"):
        restore(Settings(prefix="other_"), saved[1])
    (file,) = copied.glob("*/manifest.json")
    other = {"MariaDB": "MySQL", "MySQL": "MariaDB"}[saved[0].manifest.server]
    file.write_text(json.dumps(json.loads(file.read_text()) | {"server": other}))
    with pytest.raises(BackupFailed, match=f"the backup is of {other}"):
        restore(Settings(), copied)


@pytest.mark.parametrize(
    "change",
    [
        {"rows": {"a`; DROP DATABASE b; --.c": 1}},
        {"objects": [{"store": "main", "path": "../../x", "n_bytes": 1, "sha256": "0"}]},
        {"objects": [{"store": "main", "path": "/etc/x", "n_bytes": 1, "sha256": "0"}]},
        {"objects": [{"store": "../main", "path": "x", "n_bytes": 1, "sha256": "0"}]},
        {"dump_sha256": None},
    ],
)
def test_a_manifest_that_leads_elsewhere_is_refused(copied, change):
    (file,) = copied.glob("*/manifest.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(BackupFailed, match="cannot be read"):
        restore(Settings(), copied)


def test_a_restore_leaves_all_or_nothing(tables):
    def left():
        return [name for (name,) in here("SHOW DATABASES LIKE 'halfway%%'")]

    with pytest.raises(ZeroDivisionError), restoring._whole_or_nothing("halfway_"):
        here("CREATE DATABASE halfway_model")
        raise ZeroDivisionError
    assert left() == []
    # one that was killed leaves its marker, by which the next one knows
    for name in ("restoring", "model", "operations"):
        here(f"CREATE DATABASE halfway_{name}")
    with restoring._whole_or_nothing("halfway_"):
        assert left() == ["halfway_restoring"]
        here("CREATE DATABASE halfway_model")
    assert left() == ["halfway_model"]
    here("DROP DATABASE halfway_model")


# --- the client programs


def test_a_password_is_in_no_argument_and_any_password_works(tables, tmp_path, monkeypatch):
    odd = "a\"b\\c#d 'e;%"
    target = address(Settings())
    here("CREATE USER 'odd'@'%%' IDENTIFIED BY %s", (odd,))
    prefix = Settings().prefix
    here(f"GRANT SELECT, SHOW VIEW, TRIGGER ON `{prefix}model`.* TO 'odd'@'%%'")
    seen = []
    run = subprocess.Popen
    monkeypatch.setattr(dump.subprocess, "Popen", lambda c, **o: (seen.append(c), run(c, **o))[1])
    try:
        who = Address(target.host, target.port, "odd", odd)
        rows = dump.dump(who, [f"{prefix}model"], tmp_path / "dump")
        assert f"{prefix}model.__trained_model" in rows
        with pytest.raises(DumpFailed, match="denied"):
            dump.dump(who, [f"{prefix}recording"], tmp_path / "dump")
    finally:
        here("DROP USER 'odd'@'%%'")
    assert len(seen) == 2
    assert not [part for command in seen for part in command if odd in part]


def test_a_missing_client_program_is_said(tables, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DumpFailed, match="apt-get install mariadb-client"):
        dump.dump(address(Settings()), [], tmp_path / "dump")
