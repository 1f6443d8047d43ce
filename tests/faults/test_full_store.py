"""A store without space, and one that is read-only: said, survived, and nothing half-written."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from private_project import PREFIX, RECORDING, Project

PAGE = 4096


class Disk:
    """A small disk on which the object store of a project lies."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"
        _mount("-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder))

    def fill(self, n_free: int) -> None:
        """Leave so many bytes."""
        free = os.statvfs(self.folder).f_bavail * PAGE
        self._ballast.write_bytes(b"x" * (free - n_free))

    def make_space(self) -> None:
        self._ballast.unlink()

    def remount(self, how: str) -> None:
        _mount("-o", f"remount,{how}", str(self.folder))


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"only root can mount a small disk: {done.stderr}")


@pytest.fixture(scope="module")
def disk(undisturbed) -> Iterator[Disk]:
    """A small disk, in the place of the store of a project all of whose work is done."""
    home = undisturbed.copy("small_disk").home
    store = home / "store"
    store.rename(home / "elsewhere")
    store.mkdir()
    disk = Disk(store, megabytes=40)
    try:
        shutil.copytree(home / "elsewhere", store, dirs_exist_ok=True)
        yield disk
    finally:
        subprocess.run(["umount", str(store)], check=True)
        shutil.rmtree(home)


@pytest.fixture(scope="module")
def project(undisturbed, disk) -> Iterator[Project]:
    """The project; its server runs."""
    with Project(disk.folder.parent, undisturbed.program) as project:
        yield project


@pytest.fixture
def n_jobs(project) -> int:
    """The number of networks, all of which have lost the small object of their readout."""
    ((training_set, n),) = project.query(
        f"SELECT training_set_hash, COUNT(*) FROM `{PREFIX}readout`.__unit_readout GROUP BY 1"
    )
    project.run("delete", "UnitReadout", "--where", f"training_set_hash={training_set}", "--yes")
    return n


def files(disk: Disk) -> set[Path]:
    return {p for p in (disk.folder / "_schema").rglob("*") if p.is_file()}


def work(project: Project) -> tuple[int, str]:
    """Run a worker until there is nothing left to do; return how it ended and what it said."""
    worker = project.start("work", "--threads", "1", "--quiet")
    return worker.wait(120), worker.output


def failures(project: Project) -> list[str]:
    assert not project.jobs("reserved")
    return [job["error_message"] for job in project.jobs("error")]


def all_is_well(project: Project, disk: Disk, n_jobs: int) -> None:
    """Everything is there, every object is intact, and there is none too many."""
    assert project.unfinished() == []
    assert project.n_rows()["unit_readout"] == n_jobs
    project.run("gc", "--delete", "--older-than", "0")
    n = len(files(disk))
    assert f"{n} of {n} objects read: none missing or damaged" in project.run("store", "check")


def test_jobs_without_space_say_so_and_are_done_when_there_is_some(project, disk, n_jobs):
    before = files(disk)
    disk.fill(PAGE + 512)  # of several small objects, one
    status, said = work(project)
    # the worker lived to the end, and said that jobs failed
    assert status == 1 and "Traceback" not in said
    messages = failures(project)
    assert len(messages) == n_jobs - 1
    for message in messages:
        assert message.startswith(
            "StoreRefuses: cannot write _schema/faults_readout/__unit_readout"
        )
        assert f"the object store {disk.folder}: [Errno 28] No space left on device" in message
        assert "inceptionloop errors --retry" in message
    # nothing half-written: neither a file that no row knows, nor a row without its file
    assert len(files(disk)) == len(before) + 1
    assert "objects read: none missing or damaged" in project.run("store", "check")
    disk.make_space()
    assert f"{n_jobs - 1} will be tried again" in project.run("errors", "--retry")
    assert work(project)[0] == 0
    all_is_well(project, disk, n_jobs)


@pytest.mark.slow
def test_a_read_only_store_is_read_and_refuses_what_is_new(project, disk, n_jobs):
    disk.remount("ro")
    assert "objects read: none missing or damaged" in project.run("store", "check")
    status, said = work(project)
    assert status == 1 and "Traceback" not in said
    messages = failures(project)
    assert messages and all("[Errno 30] Read-only file system" in m for m in messages)
    for command in (("gc", "--delete"), ("ingest", "virtual", "--animal", "9", *RECORDING.split())):
        refused = project.start(*command)
        assert refused.wait() == 1
        assert "Read-only file system" in refused.output and "Traceback" not in refused.output
    assert project.query(f"SELECT * FROM `{PREFIX}operations`.pause") == []
    assert project.query(f"SELECT * FROM `{PREFIX}recording`.scan WHERE animal_id = 9") == []
    disk.remount("rw")
    assert f"{len(messages)} will be tried again" in project.run("errors", "--retry")
