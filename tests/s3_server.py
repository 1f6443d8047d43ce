"""A real S3-compatible server, SeaweedFS, that lives as long as the tests."""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import fsspec
import pytest

KEYS = {"AWS_ACCESS_KEY_ID": "laboratory", "AWS_SECRET_ACCESS_KEY": "secret of the laboratory"}
BUCKET = "recordings"
READY_SECONDS = 60


@dataclass(frozen=True)
class S3Server:
    """Where the server is; it has one empty bucket."""

    endpoint: str

    def environment(self, prefix: str) -> dict[str, str]:
        """Return what a project needs to keep its objects here."""
        location = {
            "INCEPTIONLOOP_STORE": f"s3://{BUCKET}/{prefix}",
            "INCEPTIONLOOP_S3_ENDPOINT": self.endpoint,
        }
        return KEYS | location


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory) -> Iterator[S3Server]:
    """The server, in a process of its own."""
    folder = tmp_path_factory.mktemp("s3")
    key, secret = KEYS.values()
    identity = {
        "name": "laboratory",
        "credentials": [{"accessKey": key, "secretKey": secret}],
        "actions": ["Admin", "Read", "Write", "List"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    port = free_port()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(_command(folder, port), stdout=log, stderr=log)
    try:
        server = S3Server(f"http://127.0.0.1:{port}")
        _make_bucket(server.endpoint, key, secret)
        yield server
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


def _command(folder: Path, port: int) -> list[str]:
    options = {
        "dir": folder,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "filer": "true",
        "filer.port": free_port(),
        "master.port": free_port(),
        "master.telemetry": "false",
        "master.volumePreallocate": "false",
        "master.volumeSizeLimitMB": 64,
        "volume.max": 20,
        "volume.port": free_port(),
        "s3": "true",
        "s3.config": folder / "s3.json",
        "s3.port": port,
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
    }
    weed = Path(sys.executable).with_name("weed")
    return [str(weed), "server", *(f"-{name}={value}" for name, value in options.items())]


def free_port() -> int:
    """Return a port that is free, as is the one 10 000 above it, which SeaweedFS takes too."""
    while True:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            try:
                other.bind(("127.0.0.1", port + 10_000))
            except (OSError, OverflowError):
                continue
            return port


def _make_bucket(endpoint: str, key: str, secret: str) -> None:
    files = fsspec.filesystem(
        "s3",
        key=key,
        secret=secret,
        client_kwargs={"endpoint_url": endpoint},
        skip_instance_cache=True,
    )
    end = time.monotonic() + READY_SECONDS
    while True:
        try:
            files.call_s3("create_bucket", Bucket=BUCKET)
            files.pipe_file(f"{BUCKET}/ready", b"")
            files.rm_file(f"{BUCKET}/ready")
            return
        # while it starts: no connection, or no master yet
        except Exception:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
