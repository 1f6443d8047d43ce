"""One private database server for the session, in a temporary home, and the reference data."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

# Threads of BLAS wait for each other where cores are few; read when numpy is first imported.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

# The tests say how wide a terminal is; pytest-xdist would say it before, and rich reads it once.
os.environ.pop("COLUMNS", None)

import pytest
import torch
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"

# Nothing of the user's may reach the tests: no server in the environment, no datajoint.json.
for name in [name for name in os.environ if name.startswith("DJ_")]:
    del os.environ[name]
os.environ["DJ_IGNORE_CONFIG_FILE"] = "true"
# Whatever forgets to say where it keeps its things fails instead of touching the project's own.
os.environ["INCEPTIONLOOP_HOME"] = "/nonexistent/inceptionloop-tests"

torch.set_num_threads(1)

# The same examples on every run, and no failure because the machine is busy.
settings.register_profile(
    "tests", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tests")

from miniature_demo import miniature_demo  # noqa: E402, F401
from s3_server import s3_server  # noqa: E402, F401

# Imports DataJoint without its warnings, which pytest would turn into errors.
from pipeline.connection import connect  # noqa: E402
from pipeline.server import PrivateServer  # noqa: E402


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist, which reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Divide the tests between processes (`pytest -n 3 --dist loadgroup`), the longest first.

    The demo with all that looks at it, what needs a server, and what needs the populated miniature,
    each of which is made once, have a process each; everything else goes by file. Notebooks, which
    may add to the demo's project, come after what judges it.
    """
    groups = {item: _group(item) for item in items}
    order = ["test_demo.py", "server", "populated"]
    items.sort(
        key=lambda item: (
            order.index(groups[item]) if groups[item] in order else len(order),
            item.path.name == "test_notebooks.py",
        )
    )
    for item in items:
        item.add_marker(pytest.mark.xdist_group(groups[item]))


def _group(item: pytest.Item) -> str:
    fixtures = getattr(item, "fixturenames", ())
    if "miniature_demo" in fixtures:
        return "test_demo.py"
    if item.path.name != "test_demo.py":
        for fixture, group in (("populated", "populated"), ("server_program", "server")):
            if fixture in fixtures:
                return group
    return item.path.name


def _server_program(kind: str) -> str | None:
    """Return the program for the SERVER variable; None lets the project choose."""
    if kind == "auto":
        return os.environ.get("INCEPTIONLOOP_MYSQLD")
    if kind == "mariadb":
        return shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin") or "mariadbd"
    if kind != "mysql":
        raise pytest.UsageError(f"SERVER is {kind!r}: use auto, mariadb or mysql")
    program = Path(os.environ.get("INCEPTIONLOOP_MYSQLD", "/opt/mysql/mysqld"))
    maker = SHARED / "tools" / "get-mysql.sh"
    if not program.exists() and maker.exists():
        subprocess.run([maker, program.parent], check=True)
    return str(program)


@pytest.fixture(scope="session")
def server_program() -> str | None:
    """Server program under test."""
    return _server_program(os.environ.get("SERVER", "auto"))


@pytest.fixture(scope="session")
def database(server_program):
    """Home of a project whose private server runs, with DataJoint connected to it."""
    home = Path(tempfile.mkdtemp(prefix="inceptionloop-tests-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INCEPTIONLOOP_HOME", str(home))
        if server_program:
            patch.setenv("INCEPTIONLOOP_MYSQLD", server_program)
        else:
            patch.delenv("INCEPTIONLOOP_MYSQLD", raising=False)
        patch.setenv("INCEPTIONLOOP_PREFIX", "test_")
        server = PrivateServer()
        try:
            connect()
            yield home
        finally:
            server.stop()
            shutil.rmtree(home)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of the reference data."""
    if not SHARED.is_dir():
        pytest.skip(f"the reference data are not at {SHARED}")
    return SHARED
