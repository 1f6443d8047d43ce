"""Backup of database and store together.

The copy is consistent while workers go on: an object is written once, under a name that is never
used again, and only garbage collection deletes any. So all that a snapshot of the database refers
to is in the store after the snapshot, as long as no garbage is collected meanwhile.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import datajoint as dj

from pipeline.address import address
from pipeline.backup_format import (
    DUMP,
    MANIFEST,
    OBJECTS,
    BackupFailed,
    Manifest,
    StoredCopy,
    manifests,
    progress,
    sha256_of,
)
from pipeline.dump import dump, server_kind
from pipeline.garbage import only_one
from pipeline.object_store import default_store
from pipeline.settings import Settings
from pipeline.stored_objects import references, schema_names, stored_files
from schemas.store import UNFINISHED, DamagedObject, Store, write_durably


@dataclass(frozen=True)
class Made:
    """A backup that was made.

    Attributes
    ----------
    folder : Path
    manifest : Manifest
    n_copied : int
        Objects that were not in an earlier backup.
    damaged : list of str
        What is said of the objects that are not in the backup, since the store has them no more.
    """

    folder: Path
    manifest: Manifest
    n_copied: int
    damaged: list[str]


def back_up(settings: Settings, folder: Path) -> Made:
    """Copy database and store; objects that an earlier backup in the folder holds stay there.

    Raises
    ------
    BackupFailed
        If the folder cannot be written.
    DumpFailed
        If the database cannot be dumped.
    StoreBusy
        If garbage is collected at the same time.
    schemas.store.StoreError
        If the store fails.
    """
    default_store()
    now = datetime.now(UTC)
    target = folder / f"{now:%Y-%m-%dT%H-%M-%S}.{now.microsecond // 1000:03}Z"
    with only_one(settings.prefix) as still_alone, _writing(folder):
        earlier = {(c.store, c.path): c for m in manifests(folder).values() for c in m.objects}
        target.mkdir(parents=True)
        # Rows first: theirs are in the store afterwards, or are missing.
        referred = {(r.store, r.path): r.sha256 for r in references(settings.prefix)}
        here = address(settings)
        rows = dump(here, schema_names(settings.prefix), target / DUMP)
        copies, n_copied, damaged = _copy_objects(settings, folder, referred, earlier)
        still_alone()
        manifest = Manifest(
            made_at=now,
            version=version("inceptionloop"),
            server=server_kind(),
            prefix=settings.prefix,
            dump_sha256=sha256_of(target / DUMP),
            rows=rows,
            objects=tuple(copies),
        )
        write_durably(target / MANIFEST, manifest.model_dump_json(indent=1).encode())
    return Made(target, manifest, n_copied, damaged)


def _copy_objects(
    settings: Settings,
    folder: Path,
    referred: dict[tuple[str, str], str | None],
    earlier: dict[tuple[str, str], StoredCopy],
) -> tuple[list[StoredCopy], int, list[str]]:
    """Copy what is in the stores and not in an earlier backup."""
    stores = {dj.config.stores["default"], *(store for store, _ in referred)}
    specs = {name: dj.config.get_store_spec(name) for name in stores}
    found = {
        (name, file.path)
        for name, spec in specs.items()
        for file in stored_files(Store(spec), settings.prefix)
        if not file.path.endswith(UNFINISHED)
    }
    copies, damaged, n_copied = [], [], 0
    for place in progress(sorted(found | referred.keys()), "objects"):
        name, path = place
        sha256 = referred.get(place)
        known = earlier.get(place) or _of_interrupted(folder, place, sha256)
        if known is None or sha256 not in (None, known.sha256) or not known.file(folder).exists():
            try:
                content = Store(specs[name], sha256).get_buffer(path)
            except DamagedObject as damage:
                # What no row refers to may have been deleted since.
                damaged += [str(damage)] if place in referred else []
                continue
            digest = hashlib.sha256(content).hexdigest()
            known = StoredCopy(store=name, path=path, n_bytes=len(content), sha256=digest)
            write_durably(known.file(folder), content)
            n_copied += 1
        copies.append(known)
    return copies, n_copied, damaged


def _of_interrupted(folder: Path, place: tuple[str, str], sha256: str | None) -> StoredCopy | None:
    """Return what a backup has copied that was interrupted afterwards."""
    held = folder.joinpath(OBJECTS, *place)
    if sha256 is None or not held.exists() or sha256_of(held) != sha256:
        return None
    store, path = place
    return StoredCopy(store=store, path=path, n_bytes=held.stat().st_size, sha256=sha256)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BackupFailed(
            f"the backup in {folder} is not whole: {error}. Earlier ones are; make space, or name "
            "another folder"
        ) from error
