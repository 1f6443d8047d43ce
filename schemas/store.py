"""Objects of the store: written to last, with a checksum in their row, verified at every reading.

DataJoint's codecs ``<npy@>`` and ``<object@>`` are replaced by ones that do so; what they store is
read without this module as well. A failure of the store names the row, the object and the store.
"""

import errno
import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import datajoint as dj
import numpy as np
from datajoint.builtin_codecs import NpyCodec, ObjectCodec
from datajoint.builtin_codecs.npy import NpyRef
from datajoint.builtin_codecs.schema import SchemaCodec
from datajoint.codecs import unregister_codec
from datajoint.errors import MissingExternalFile
from datajoint.objectref import ObjectRef
from datajoint.storage import StorageBackend
from datajoint.utils import to_camel_case
from numpy.typing import ArrayLike, NDArray

from science.digest import array_digest

UNFINISHED = ".unfinished"
"""How the name of a file ends that is being written."""


class StoreError(Exception):
    """The object store does not do what is asked of it; the message says what to do."""


class StoreUnavailable(StoreError):
    """The store does not answer, which may pass."""


class StoreRefuses(StoreError):
    """The store does not take or give an object: full, read-only, or not allowed."""


class DamagedObject(StoreError, ValueError):
    """An object is not what was stored, or is not there."""


class Store(StorageBackend):
    """A store whose failures are clear, and which writes a file wholly or not at all.

    Parameters
    ----------
    spec : dict
        As `dj.config.get_store_spec` returns it.
    sha256 : str, optional
        Of the one object that is going to be read.

    Raises
    ------
    StoreError
        Of any method, if the store fails.
    """

    def __init__(self, spec: dict[str, Any], sha256: str | None = None) -> None:
        self._sha256 = sha256
        with self.explained("reach"):
            super().__init__(spec)

    @property
    def root(self) -> str:
        """Path of the store as its file system takes it."""
        return self._full_path("").rstrip("/")

    def put_buffer(
        self, buffer: bytes, remote_path: str, metadata: dict[str, Any] | None = None
    ) -> None:
        """Write an object; it outlives a power failure from then on."""
        with self.explained(f"write {remote_path} to"):
            if self.protocol == "file":
                write_durably(Path(self._full_path(remote_path)), buffer)
            else:
                super().put_buffer(buffer, remote_path)

    def get_buffer(self, remote_path: str) -> bytes:
        """Read an object and verify it."""
        try:
            with self.explained(f"read {remote_path} from"):
                content = super().get_buffer(remote_path)
        except MissingExternalFile as error:
            raise self._lost(remote_path, "missing") from error
        if self._sha256 and hashlib.sha256(content).hexdigest() != self._sha256:
            raise self._lost(remote_path, "damaged")
        return content

    @contextmanager
    def explained(self, verb: str) -> Iterator[None]:
        """Turn any failure of the store into one of ours."""
        try:
            yield
        except (StoreError, MissingExternalFile):
            raise
        # s3fs raises what its transport does, of many kinds
        except Exception as error:
            kind = StoreRefuses if _is_final(error) else StoreUnavailable
            raise kind(
                f"cannot {verb} the object store {self._name()}: {error}. Put the store right "
                "(space, rights, keys, network); then `inceptionloop errors --retry` does failed "
                "jobs again"
            ) from error

    def _lost(self, path: str, state: str) -> DamagedObject:
        table, key = row_of(path)
        described = ", ".join(f"{name}={value}" for name, value in key.items())
        return DamagedObject(
            f"the object of {table} ({described}) is {state}: {self.get_url(path)}. Put it back "
            "from a backup, or delete the row (`inceptionloop delete "
            f"{table.partition('.')[0]}`) and compute or ingest it again; `inceptionloop store "
            "check` looks for more"
        )

    def _name(self) -> str:
        if self.protocol == "file":
            return self.spec["location"]
        place = "/".join(filter(None, (self.spec.get("bucket"), self.spec["location"])))
        return f"{self.protocol}://{place} at {self.spec.get('endpoint', 'its provider')}"


def _is_final(error: Exception) -> bool:
    """Whether a store will say the same the next time; no answer, or a busy one, may pass."""
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    refused = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT)
    return isinstance(error, PermissionError | FileNotFoundError) or (
        isinstance(error, OSError) and error.errno in full + refused
    )


def write_durably(path: Path, content: bytes) -> None:
    """Write a file that is there wholly or not at all, also after a power failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + UNFINISHED)
    try:
        with unfinished.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.rename(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def row_of(path: str) -> tuple[str, dict[str, str]]:
    """Return the table and the key of the row that an object belongs to, as its path says.

    Returns
    -------
    table : str
        Name of its class, as ``TrainedModel`` or ``InputResponse.ResponseBlock``.
    key : dict
    """
    folders = path.split("/")[:-1]
    key = dict(folder.split("=", 1) for folder in folders if "=" in folder)
    table = [folder for folder in folders if "=" not in folder][-1]
    return ".".join(to_camel_case(part) for part in table.lstrip("_#").split("__")), key


class _Checked(SchemaCodec, register=False):
    """Stores a checksum beside the path of an object."""

    def _put(
        self,
        content: bytes,
        ext: str | None,
        key: dict[str, Any] | None,
        context: dict[str, Any] | None,
        store_name: str | None,
    ) -> dict[str, Any]:
        config = self._codec_config(key, context) or dj.config
        path, _ = self._build_path(
            *self._extract_context(key, context), ext=ext, store_name=store_name, config=config
        )
        Store(config.get_store_spec(store_name)).put_buffer(content, path)
        return {"path": path, "store": store_name, "sha256": hashlib.sha256(content).hexdigest()}

    def _store(
        self,
        stored: dict[str, Any],
        key: dict[str, Any] | None,
        context: dict[str, Any] | None,
    ) -> Store:
        config = self._codec_config(key, context) or dj.config
        return Store(config.get_store_spec(stored["store"]), stored.get("sha256"))


unregister_codec("npy")
unregister_codec("object")


class CheckedNpy(_Checked, NpyCodec):
    """``<npy@>``: an array."""

    name = "npy"

    def encode(
        self,
        value: NDArray[np.generic],
        *,
        key: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
        store_name: str | None = None,
    ) -> dict[str, Any]:
        """Store an array."""
        buffer = io.BytesIO()
        np.save(buffer, value, allow_pickle=False)
        stored = self._put(buffer.getvalue(), ".npy", key, context, store_name)
        return stored | {"dtype": str(value.dtype), "shape": list(value.shape)}

    def decode(
        self,
        stored: dict[str, Any],
        *,
        key: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
    ) -> NpyRef:
        """Return a reference that reads the array when it is used."""
        return NpyRef(stored, self._store(stored, key, context))


class CheckedObject(_Checked, ObjectCodec):
    """``<object@>``: a file, given as its path or as (extension, content)."""

    name = "object"

    def encode(
        self,
        value: tuple[str, bytes] | str | Path,
        *,
        key: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
        store_name: str | None = None,
    ) -> dict[str, Any]:
        """Store a file."""
        if isinstance(value, str | Path):
            value = Path(value).suffix, Path(value).read_bytes()
        ext, content = value
        stored = self._put(content, ext, key, context, store_name)
        about = {"size": len(content), "ext": ext, "is_dir": False, "item_count": None}
        return stored | about | {"timestamp": datetime.now(UTC).isoformat()}

    def decode(
        self,
        stored: dict[str, Any],
        *,
        key: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
    ) -> ObjectRef:
        """Return a reference that reads the file when it is asked to."""
        return ObjectRef.from_json(stored, backend=self._store(stored, key, context))


def intact(stored: ArrayLike, digest: str, what: str) -> NDArray[np.generic]:
    """Load an array that its row, and whoever planned with it, knows by a digest.

    Raises
    ------
    DamagedObject
        If it is not what was stored.
    """
    # A reference keeps what it has loaded as long as its row lives: only a copy of it does here.
    array = np.asarray(copy(stored))
    if array_digest(array) != digest:
        raise DamagedObject(
            f"the {what} in the store are damaged: delete their row and compute again"
        )
    return array
