"""Where a project keeps its things, and how its database schemas are called."""

import re
from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Settings of one project, read from the environment when constructed.

    Nothing is created on disk here; relative paths are taken from the working directory.

    Attributes
    ----------
    home : Path
        Folder of everything the project keeps on disk (``INCEPTIONLOOP_HOME``, default
        ``./.inceptionloop``).
    prefix : str
        Start of the name of every database schema (``INCEPTIONLOOP_PREFIX``).
    store : str or None
        Folder of the object store when it lies outside `home`, or ``s3://bucket/prefix``
        (``INCEPTIONLOOP_STORE``).
    s3_endpoint : str
        URL of the S3-compatible server of such a store (``INCEPTIONLOOP_S3_ENDPOINT``).
    mysqld : str or None
        Server program to use instead of the one found on the machine (``INCEPTIONLOOP_MYSQLD``).
    cache_gb : float
        Size limit of the datasets that are kept ready on this machine
        (``INCEPTIONLOOP_CACHE_GB``).
    allen_python : Path or None
        Python of the environment of allensdk when it is not that of ``make install-allen``
        (``INCEPTIONLOOP_ALLEN_PYTHON``).

    Raises
    ------
    pydantic.ValidationError
        If the prefix cannot start the name of a schema, or the store is neither a folder nor S3.
    """

    model_config = SettingsConfigDict(
        env_prefix="INCEPTIONLOOP_", env_ignore_empty=True, extra="ignore", frozen=True
    )

    home: Path = Path(".inceptionloop")
    prefix: str = "inceptionloop_"
    store: str | None = None
    s3_endpoint: str = "https://s3.amazonaws.com"
    mysqld: str | None = None
    cache_gb: float = Field(20.0, gt=0)
    allen_python: Path | None = None

    @field_validator("home", "allen_python")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser().absolute()

    @field_validator("store")
    @classmethod
    def _folder_or_s3(cls, store: str | None) -> str | None:
        if store is None or "://" not in store:
            return None if store is None else str(Path(store).expanduser().absolute())
        if not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]+[a-z0-9](/[\w.-]+)*/?", store):
            raise ValueError(
                f"INCEPTIONLOOP_STORE is {store!r}: use the path of a folder, or s3://bucket/prefix"
            )
        return store.rstrip("/")

    @field_validator("s3_endpoint")
    @classmethod
    def _url(cls, endpoint: str) -> str:
        if not re.fullmatch(r"https?://[^/\s]+/?", endpoint):
            raise ValueError(
                f"INCEPTIONLOOP_S3_ENDPOINT is {endpoint!r}: use a URL, as https://store.lab:9000"
            )
        return endpoint.rstrip("/")

    @field_validator("prefix")
    @classmethod
    def _schema_prefix(cls, prefix: str) -> str:
        # A schema name has at most 64 characters: 32 leave room for the name of the module.
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", prefix):
            raise ValueError(
                f"INCEPTIONLOOP_PREFIX is {prefix!r}: use a lower-case letter followed by at most "
                "31 lower-case letters, digits or underscores"
            )
        return prefix

    @property
    def server_folder(self) -> Path:
        """Data directory, password and state of the private database server."""
        return self.home / "server"

    @property
    def store_location(self) -> str:
        """Object store, arrays and network weights too large for a row: a folder, or an S3 URL."""
        return self.store or str(self.home / "store")

    @property
    def cache_folder(self) -> Path:
        """Datasets as arrays, ready to be mapped into memory; can be deleted at any time."""
        return self.home / "cache"

    @property
    def allen_folder(self) -> Path:
        """Downloads of allensdk, and converted sessions on their way into the database."""
        return self.home / "allen"

    @property
    def log_folder(self) -> Path:
        """Logs of the server and of the workers."""
        return self.home / "log"
