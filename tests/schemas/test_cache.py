"""A cache that several processes fill and empty at the same time."""

import os
import shutil
import time
from pathlib import Path

import pytest

from schemas import cache
from schemas.cache import cached_folder, use_cache

DAY = 24 * 3600


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_folder", None)
    monkeypatch.setattr(cache, "_max_bytes", 0)
    use_cache(tmp_path, 2500)


def write(folder):
    (folder / "a").write_bytes(b"x" * 1000)


def make(folder, age=0.0):
    """Make a folder as another process would, last used so many seconds ago."""
    folder.mkdir()
    write(folder)
    os.utime(folder, (time.time() - age,) * 2)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_cache_over_its_limit_loses_what_was_not_used_for_longest(tmp_path, monkeypatch):
    monkeypatch.setattr("schemas.cache._folder", None)
    monkeypatch.setattr("schemas.cache._max_bytes", 0)
    use_cache(tmp_path, 2500)

    def write(folder):
        (folder / "a").write_bytes(b"x" * 1000)

    for age, name in enumerate("abc"):
        folder = cached_folder(name, write)
        os.utime(folder, (age, age))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b", "c"]


def test_a_disk_that_fills_up_leaves_nothing_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("schemas.cache._folder", tmp_path)

    def write(folder):
        (folder / "a").write_bytes(b"x")
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        cached_folder("a", write)
    assert list(tmp_path.iterdir()) == []


def test_drafts_of_others_do_not_count_and_only_abandoned_ones_go(tmp_path):
    for age in (0, 60, DAY / 2, 2 * DAY):
        make(tmp_path / f".draft-{age}", age)
    cached_folder("a", write)
    cached_folder("b", write)
    assert names(tmp_path) == [".draft-0", ".draft-43200.0", ".draft-60", "a", "b"]


@pytest.mark.parametrize("method", ["is_dir", "rglob"])
@pytest.mark.parametrize("name", ["old", ".draft"])
def test_folders_may_vanish_while_they_are_looked_at(tmp_path, monkeypatch, method, name):
    original = getattr(Path, method)

    def and_then_it_is_gone(path, *arguments):
        found = original(path, *arguments)
        found = found if method == "is_dir" else iter(list(found))
        if path.name == name:
            shutil.rmtree(path)
        return found

    make(tmp_path / name, 2 * DAY)
    make(tmp_path / "young", 60)
    monkeypatch.setattr(Path, method, and_then_it_is_gone)
    cached_folder("new", write)
    monkeypatch.undo()
    assert names(tmp_path) == ["new", "young"]


def test_what_others_remove_before_it_is_used_is_made_again(tmp_path, monkeypatch):
    made = []

    def evicted_by_another(root, keep):
        if len(made) == 1:
            shutil.rmtree(keep)

    monkeypatch.setattr(cache, "_evict", evicted_by_another)
    folder = cached_folder("a", lambda draft: (made.append(draft), write(draft)))
    assert len(made) == 2
    assert (folder / "a").stat().st_size == 1000


def test_what_others_were_faster_to_make_is_taken(tmp_path):
    def write_slowly(draft):
        write(draft)
        make(tmp_path / "a")
        (tmp_path / "a" / "theirs").touch()

    assert names(cached_folder("a", write_slowly)) == ["a", "theirs"]
    assert names(tmp_path) == ["a"]


def test_a_process_killed_while_it_removes_leaves_no_half_folder(tmp_path, monkeypatch):
    make(tmp_path / "a", 120)
    make(tmp_path / "b", 60)
    rmtree = shutil.rmtree

    def killed(folder, **options):
        if folder.name.startswith((".a", "a")):
            raise KeyboardInterrupt
        rmtree(folder, **options)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            cached_folder("c", write)
    assert [name for name in names(tmp_path) if not name.startswith(".")] == ["b", "c"]
