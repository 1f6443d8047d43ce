"""Folders of arrays that can be made again, kept on this machine up to a limit."""

import atexit
import errno
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

DRAFT_SECONDS = 24 * 3600
"""Age of a draft whose process must have been killed: nothing takes so long to write."""

_folder: Path | None = None
_max_bytes = 20 * 10**9


def use_cache(folder: Path, max_bytes: int) -> None:
    """Keep the cache in this folder, at most so large; without it every process has its own."""
    global _folder, _max_bytes
    _folder, _max_bytes = folder, max_bytes


@contextmanager
def empty_cache() -> Iterator[None]:
    """Make everything anew: with a cache of one's own, which is gone afterwards."""
    global _folder
    earlier = _folder
    with tempfile.TemporaryDirectory(prefix="inceptionloop-cache-") as folder:
        _folder = Path(folder)
        try:
            yield
        finally:
            _folder = earlier


def cached_folder(name: str, write: Callable[[Path], None]) -> Path:
    """Return a folder of this name, made by `write` unless it is there.

    It appears complete or not at all, also when several processes make it at once. The folders
    that were not used for longest go when the cache is over its limit, and with them the drafts
    that killed processes left behind.

    Raises
    ------
    OSError
        If the disk is full or cannot be written; nothing is left behind.
    """
    root = _root()
    folder = root / name
    while not _mark_used(folder):
        draft = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=root))
        try:
            write(draft)
            _publish(draft, folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        _evict(root, keep=folder)
    return folder


def _root() -> Path:
    global _folder
    if _folder is None:
        _folder = Path(tempfile.mkdtemp(prefix="inceptionloop-cache-"))
        atexit.register(shutil.rmtree, _folder, ignore_errors=True)
    _folder.mkdir(parents=True, exist_ok=True)
    return _folder


def _mark_used(folder: Path) -> bool:
    """Note that a folder is used now; False if it is not there."""
    try:
        os.utime(folder)
    except FileNotFoundError:
        return False
    return True


def _publish(draft: Path, folder: Path) -> None:
    try:
        draft.rename(folder)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # another process was faster
            raise


def _evict(root: Path, keep: Path) -> None:
    """Remove what exceeds the limit, and old drafts, while other processes do the same."""
    folders = []
    for folder in filter(Path.is_dir, root.iterdir()):
        with suppress(FileNotFoundError):
            last_used = folder.stat().st_mtime
            if not folder.name.startswith("."):
                size = sum(path.stat().st_size for path in folder.rglob("*"))
                folders.append((last_used, size, folder))
            elif last_used < time.time() - DRAFT_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
    excess = sum(size for _, size, _ in folders) - _max_bytes
    for _, size, folder in sorted(folders):
        if excess <= 0:
            return
        if folder != keep:
            _remove(folder)
            excess -= size


def _remove(folder: Path) -> None:
    """Remove a folder at once: of a process killed meanwhile a draft remains, not half a folder."""
    doomed = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    with suppress(OSError):  # another process was faster
        folder.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)
