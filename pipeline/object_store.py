"""The object store of a project: where arrays and weights lie that are too large for a row."""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.address import read_secret
from pipeline.errors import UserError
from pipeline.settings import Settings

if TYPE_CHECKING:
    from schemas.store import Store

STORE = "main"


class BadStore(UserError):
    """A store that is not configured as it should be; the message says what to set."""


def use_store(settings: Settings) -> None:
    """Make DataJoint use the store of ``DJ_STORES``, else the one of `settings`.

    Raises
    ------
    BadStore
        If it cannot be used as it is configured. Nothing asks the store for anything yet.
    """
    import datajoint as dj

    import schemas.store  # noqa: F401  its codecs check what they read

    # A default store of another name, or one in DJ_STORES, is the user's.
    if not os.environ.get("DJ_STORES") and dj.config.stores.get("default", STORE) == STORE:
        spec = store_spec(settings)
        if spec["protocol"] == "file":
            _make_folder(settings)
        else:
            _prepare_s3()
        dj.config.stores.update({"default": STORE, STORE: spec})


def store_spec(settings: Settings) -> dict[str, Any]:
    """Return a store as DataJoint describes it; the keys to S3 are no part of it."""
    location = settings.store_location
    if not location.startswith("s3://"):
        return {"protocol": "file", "location": location}
    bucket, _, prefix = location.removeprefix("s3://").partition("/")
    return {
        "protocol": "s3",
        "endpoint": settings.s3_endpoint,
        "bucket": bucket,
        "location": prefix,
    }


def default_store() -> "Store":
    """Return the store that new objects go to, and make sure that it answers.

    Raises
    ------
    schemas.store.StoreError
        If it does not: no network, wrong keys, no such bucket.
    """
    import datajoint as dj

    from schemas.store import Store

    store = Store(dj.config.get_store_spec())
    with store.explained("list"):
        # What another process has written meanwhile is seen.
        store.fs.invalidate_cache()
        if store.protocol == "s3":
            store.fs.call_s3(
                "list_objects_v2",
                Bucket=store.spec["bucket"],
                Prefix=store.spec["location"],
                MaxKeys=1,
            )
    return store


def make_store() -> None:
    """Make the bucket of the default store, if it is on S3 and has none yet.

    Raises
    ------
    schemas.store.StoreError
        If it does not answer, or these keys may not make a bucket.
    """
    import datajoint as dj

    from schemas.store import Store, StoreError

    try:
        default_store()
    except StoreError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        store = Store(dj.config.get_store_spec())
        with store.explained("make the bucket of"):
            store.fs.call_s3("create_bucket", Bucket=store.spec["bucket"])


def _make_folder(settings: Settings) -> None:
    folder = Path(settings.store_location)
    if settings.store and not folder.is_dir():
        # Made here, it would be an empty store in place of a disk that is not mounted.
        raise BadStore(
            f"INCEPTIONLOOP_STORE is {folder}, which is not a folder: mount its disk, or make it "
            f"for a new project (mkdir -p {folder})"
        )
    folder.mkdir(parents=True, exist_ok=True)


def _prepare_s3() -> None:
    """Let the library find its key: also in a file, as Docker and Kubernetes mount secrets."""
    try:
        import s3fs  # noqa: F401
    except ImportError as error:
        raise BadStore("a store on S3 needs s3fs: pip install 'inceptionloop[s3]'") from error
    # At every start it says in the log where it has found the key.
    logging.getLogger("aiobotocore.credentials").setLevel(logging.WARNING)
    file = os.environ.get("AWS_SECRET_ACCESS_KEY_FILE")
    if file:
        os.environ["AWS_SECRET_ACCESS_KEY"] = read_secret(Path(file), "AWS_SECRET_ACCESS_KEY_FILE")
