"""Folders of arrays that can be made again, kept on this machine up to a limit."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

_folder: Path | None = None
_max_bytes = 20 * 10**9


def use_cache(folder: Path, max_bytes: int) -> None:
    """Keep the cache in this folder, at most so large; without it every process has its own."""
    global _folder, _max_bytes
    _folder, _max_bytes = folder, max_bytes


def cached_folder(name: str, write: Callable[[Path], None]) -> Path:
    """Return a folder of this name, made by `write` unless it is there.

    It appears complete or not at all, also when several processes make it at once. The folders
    that were not used for longest go when the cache is over its limit.

    Raises
    ------
    OSError
        If the disk is full or cannot be written; nothing is left behind.
    """
    root = _root()
    folder = root / name
    if not folder.exists():
        draft = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=root))
        try:
            write(draft)
            _publish(draft, folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        _evict(root, keep=folder)
    os.utime(folder)
    return folder


def _root() -> Path:
    global _folder
    if _folder is None:
        _folder = Path(tempfile.mkdtemp(prefix="inceptionloop-cache-"))
        atexit.register(shutil.rmtree, _folder, ignore_errors=True)
    _folder.mkdir(parents=True, exist_ok=True)
    return _folder


def _publish(draft: Path, folder: Path) -> None:
    try:
        draft.rename(folder)
    except OSError:
        if not folder.exists():  # another process was faster
            raise


def _evict(root: Path, keep: Path) -> None:
    folders = sorted((f for f in root.iterdir() if f.is_dir()), key=lambda f: f.stat().st_mtime)
    sizes = {f: sum(p.stat().st_size for p in f.rglob("*")) for f in folders}
    excess = sum(sizes.values()) - _max_bytes
    for folder in folders:
        if excess <= 0:
            return
        if folder != keep and not folder.name.startswith("."):
            shutil.rmtree(folder, ignore_errors=True)
            excess -= sizes[folder]
