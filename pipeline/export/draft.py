"""Files and folders that appear whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from pipeline.errors import UserError


class CannotExport(UserError):
    """An export that cannot be made; the message says why. Nothing was written."""


@contextmanager
def draft_of(target: Path, suffix: str = "") -> Iterator[Path]:
    """Give a path beside the target at which to make a file or folder; in the end it is moved.

    Parameters
    ----------
    target : Path
    suffix : str
        How the path ends, for what looks at that.

    Raises
    ------
    CannotExport
        If the target is there already, or cannot be written.
    """
    draft = target.parent / f".inceptionloop-export-{uuid4().hex}{suffix}"
    try:
        _refuse_existing(target)
        try:
            yield draft
            os.sync()  # so that after a power failure as well it is there whole or not at all
            _refuse_existing(target)
            draft.rename(target)
        finally:
            _remove(draft)
    except OSError as error:
        raise CannotExport(
            f"'{target}' cannot be written: {error.strerror or error}. Nothing is left of it: "
            "make space, or name another place"
        ) from error


def _refuse_existing(target: Path) -> None:
    try:
        target.lstat()
    except (FileNotFoundError, NotADirectoryError):
        if target.parent.is_dir():
            return
        raise CannotExport(f"there is no folder '{target.parent}' to write into") from None
    raise CannotExport(f"'{target}' is there already: name another place, or remove it")


def _remove(draft: Path) -> None:
    shutil.rmtree(draft, ignore_errors=True)
    with suppress(FileNotFoundError):
        draft.unlink()
