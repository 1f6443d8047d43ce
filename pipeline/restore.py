"""Restore of database and store from a backup, where neither is."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import datajoint as dj

from pipeline.address import address
from pipeline.backup_format import (
    DUMP,
    BackupFailed,
    Manifest,
    manifests,
    progress,
    sha256_of,
)
from pipeline.dump import load, server_kind
from pipeline.garbage import only_one
from pipeline.migration import NEWEST, initialise, schema_version
from pipeline.object_store import make_store
from pipeline.settings import Settings
from pipeline.stored_objects import schema_names
from schemas.store import Store


def restore(settings: Settings, folder: Path, name: str | None = None) -> Manifest:
    """Bring back database and store where neither is; verify the backup before and afterwards.

    Parameters
    ----------
    settings : Settings
    folder : Path
        Where `back_up` put its backups.
    name : str, optional
        Of one of them; by default the latest that is whole.

    Raises
    ------
    BackupFailed
        If there is no such backup, it is damaged, or it does not belong here. A restore that was
        interrupted is begun anew.
    """
    found = manifests(folder)
    if not found or name not in (None, *found):
        raise BackupFailed(
            f"there is no {name or 'whole backup'} in {folder}; whole ones: "
            f"{', '.join(found) or 'none'}"
        )
    name = name or max(found)
    manifest = found[name]
    with only_one(settings.prefix):
        _fits(manifest, settings)
        _verify(folder, name, manifest)
        make_store()
        for copy in progress(manifest.objects, "objects"):
            store = Store(dj.config.get_store_spec(copy.store))
            store.put_buffer(copy.file(folder).read_bytes(), copy.path)
        with _whole_or_nothing(settings.prefix):
            load(address(settings), folder / name / DUMP)
            _compare(manifest)
        if schema_version(settings.prefix) == NEWEST:
            initialise(settings.prefix)  # the views, which no backup holds; else by the upgrade
    return manifest


def _fits(manifest: Manifest, settings: Settings) -> None:
    if manifest.prefix != settings.prefix:
        raise BackupFailed(
            f"the backup is of the schemas '{manifest.prefix}*': set INCEPTIONLOOP_PREFIX to that"
        )
    if manifest.server != server_kind():
        raise BackupFailed(
            f"the backup is of {manifest.server}, and this server is {server_kind()}"
        )
    unknown = {copy.store for copy in manifest.objects} - set(dj.config.stores)
    if unknown:
        raise BackupFailed(f"the backup has objects of stores that are not configured: {unknown}")
    _leftovers(settings.prefix)


def _leftovers(prefix: str) -> list[str]:
    """Return the schemas that an interrupted restore has left.

    Raises
    ------
    BackupFailed
        If there are schemas that it did not leave.
    """
    present = _present(prefix)
    if present and _marker(prefix) not in _databases():
        raise BackupFailed(
            f"there are schemas on this server already: {', '.join(present)}. Restore to a server "
            "without them; nothing was changed"
        )
    return present


def _verify(folder: Path, name: str, manifest: Manifest) -> None:
    def is_whole(file: Path, sha256: str) -> bool:
        return file.exists() and sha256_of(file) == sha256

    if not is_whole(folder / name / DUMP, manifest.dump_sha256):
        raise BackupFailed(f"{folder / name / DUMP} is missing or damaged: restore another backup")
    damaged = [
        str(copy.file(folder))
        for copy in progress(manifest.objects, "verifying")
        if not is_whole(copy.file(folder), copy.sha256)
    ]
    if damaged:
        raise BackupFailed(
            f"{len(damaged)} objects of the backup are missing or damaged, as {damaged[0]}; "
            "nothing was changed"
        )


@contextmanager
def _whole_or_nothing(prefix: str) -> Iterator[None]:
    """Leave no half of a database: what a killed restore has left is known by a marker."""
    marker = _marker(prefix)
    _drop(_leftovers(prefix))
    dj.conn().query(f"CREATE DATABASE IF NOT EXISTS `{marker}`")
    try:
        yield
    except BaseException:
        _drop([*_present(prefix), marker])
        raise
    _drop([marker])


def _compare(manifest: Manifest) -> None:
    query = dj.conn().query
    for name, n_rows in progress(list(manifest.rows.items()), "counting"):
        schema, _, table = name.partition(".")
        (n_found,) = query(f"SELECT COUNT(*) FROM `{schema}`.`{table}`").fetchone()
        if n_found != n_rows:
            raise BackupFailed(
                f"`{name}` has {n_found} rows and had {n_rows}: nothing was restored"
            )


def _marker(prefix: str) -> str:
    return f"{prefix}restoring"


def _databases() -> set[str]:
    return {name for (name,) in dj.conn().query("SHOW DATABASES").fetchall()}


def _present(prefix: str) -> list[str]:
    there = _databases()
    return [name for name in schema_names(prefix) if name in there]


def _drop(schemas: Sequence[str]) -> None:
    dj.conn().query("SET foreign_key_checks = 0")
    for schema in schemas:
        dj.conn().query(f"DROP DATABASE `{schema}`")
    dj.conn().query("SET foreign_key_checks = 1")
