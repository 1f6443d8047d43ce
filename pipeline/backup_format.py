"""What a backup is: folders, and a manifest with the checksum of all that they hold.

FOLDER/objects/STORE/PATH           what all backups in a folder share
FOLDER/TIME/database.sql.gz         one backup
FOLDER/TIME/manifest.json           what it holds; written last, without it it is no backup
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tqdm import tqdm

from pipeline.errors import UserError

DUMP, MANIFEST, OBJECTS = "database.sql.gz", "manifest.json", "objects"


class BackupFailed(UserError):
    """A backup that cannot be made, is not whole, or cannot be restored here."""


TableName = Annotated[str, Field(pattern=r"^\w+\.[\w~#]+$")]


class StoredCopy(BaseModel):
    """An object in a backup."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: str = Field(pattern=r"^\w[\w.-]*$")
    path: str = Field(pattern=r"^[^./][^/]*(/[^./][^/]*)*$")  # nowhere outside a store
    n_bytes: int
    sha256: str

    def file(self, folder: Path) -> Path:
        """Return where it lies."""
        return folder / OBJECTS / self.store / self.path


class Manifest(BaseModel):
    """What a backup holds.

    Attributes
    ----------
    made_at : datetime
    version : str
        Of this package.
    server : 'MariaDB' or 'MySQL'
    prefix : str
        Of the schemas.
    dump_sha256 : str
        Of the compressed dump.
    rows : dict
        Number of rows by ``schema.table``.
    objects : tuple of StoredCopy
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    made_at: datetime
    version: str
    server: str
    prefix: str
    dump_sha256: str
    rows: dict[TableName, int]
    objects: tuple[StoredCopy, ...]


def manifests(folder: Path) -> dict[str, Manifest]:
    """Return the backups in a folder that are whole, by name, the earliest first.

    Raises
    ------
    BackupFailed
        If a manifest cannot be read.
    """
    found = {}
    for file in sorted(folder.glob(f"*/{MANIFEST}")):
        try:
            found[file.parent.name] = Manifest.model_validate_json(file.read_bytes())
        except (OSError, ValidationError) as error:
            raise BackupFailed(f"{file} cannot be read: {error}") from error
    return found


def sha256_of(file: Path) -> str:
    """Return the checksum of a file, which lies on the disk from then on."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
        return hashlib.file_digest(stream, "sha256").hexdigest()


def progress(things: Sequence[Any], what: str) -> Iterable[Any]:
    """Show how far one is with something."""
    return tqdm(things, desc=what, unit="", leave=False, disable=None)
