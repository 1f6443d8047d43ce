"""A project with its objects on S3: computed there by workers, moved there, saved from there."""

import re
import shutil
from collections.abc import Iterator

import fsspec
import pytest
from private_project import PREFIX, RECORDING, Project
from s3_server import BUCKET, KEYS


@pytest.fixture
def moved(undisturbed, s3_server) -> Iterator[Project]:
    """A finished project whose objects were moved from a folder to S3."""
    yield from on_s3(undisturbed, s3_server, "moved")


@pytest.fixture
def begun(planned_project, s3_server) -> Iterator[Project]:
    """One of which only a recording and a plan are there."""
    yield from on_s3(planned_project, s3_server, "begun")


def on_s3(original, server, name):
    copy = original.copy(f"{name}_to_s3")
    key, secret = KEYS.values()
    client = {"endpoint_url": server.endpoint}
    remote = fsspec.filesystem("s3", key=key, secret=secret, client_kwargs=client)
    remote.put(f"{copy.home / 'store'}/", f"{BUCKET}/{name}/", recursive=True)
    shutil.rmtree(copy.home / "store")
    copy.extra = server.environment(name)
    with copy as project:
        yield project
    shutil.rmtree(copy.home)


def run(project: Project, *arguments: str, **environment: str) -> str:
    """Run a command with the store on S3 to its good end."""
    command = project.start(*arguments, **(project.extra | environment))
    assert command.wait(300) == 0, command.output
    return command.output


def n_objects(project: Project) -> int:
    """Return how many objects rows refer to, all of which are intact."""
    found = re.search(r"(\d+) of \1 objects read: none", run(project, "store", "check"))
    return int(found[1])


@pytest.mark.slow
def test_a_project_goes_on_where_its_objects_were_moved_to(moved, tmp_path):
    n = n_objects(moved)
    assert n > 5
    seeds = moved.query(f"SELECT seed FROM `{PREFIX}readout`.__unit_readout")
    run(moved, "delete", "UnitReadout", "--where", f"seed={seeds[0][0]}", "--yes")
    assert "UnitReadout: 1 done" in run(moved, "work", "--threads", "1", "--quiet")
    assert moved.unfinished() == []
    # one object was computed anew, and the one of the deleted row is garbage
    assert n_objects(moved) == n
    shown = run(moved, "gc", "--older-than", "0")
    assert re.search(r"together *│ *1 *│", shown)
    assert "deleted" in run(moved, "gc", "--delete", "--older-than", "0")
    assert "nothing to delete" in run(moved, "gc", "--delete", "--older-than", "0")
    assert n_objects(moved) == n
    assert not (moved.home / "store").exists()
    # what was saved from S3 can be brought back to a folder
    assert f"{n} objects" in run(moved, "backup", str(tmp_path))
    moved.drop_schemas()
    assert f"{n} objects" in moved.run("restore", str(tmp_path))
    assert f"{n} of {n} objects read: none" in moved.run("store", "check")


@pytest.mark.slow
def test_workers_make_the_same_on_s3_as_in_a_folder(begun, undisturbed):
    run(begun, "ingest", "virtual", "--animal", "9", *RECORDING.split())
    workers = [begun.start("work", "--threads", "1", "--quiet", **begun.extra) for _ in range(2)]
    for worker in workers:
        assert worker.wait(300) == 0, worker.output
    assert begun.unfinished() == []
    # the same networks to the bit, and as much of everything
    query = f"SELECT seed, weights_sha256 FROM `{PREFIX}model`.__trained_model ORDER BY 1, 2"
    made, trained = begun.n_rows(), begun.query(query)
    with undisturbed.copy("in_a_folder") as other:
        assert trained == other.query(query)
        assert all(made[table] >= n for table, n in other.n_rows().items())
    shutil.rmtree(other.home)
    assert n_objects(begun) > 5
    assert "nothing to delete" in run(begun, "gc", "--delete", "--older-than", "0")
    assert not list((begun.home / "store").rglob("*"))
