"""The miniature of the demo, made once for all tests that look at a finished project."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

INCEPTIONLOOP = Path(sys.executable).with_name("inceptionloop")


@dataclass(frozen=True)
class FinishedDemo:
    """A project in which the demo has run twice.

    `printed` is what the first run said, `facts` what it showed (`demo_facts.py`).
    """

    home: Path
    server: str | None
    printed: str
    facts: dict

    def run(self, *command: str | Path) -> str:
        """Run a command in the project, as a user would, and return what it prints."""
        return run(self.home, *command, server=self.server)


def run(home: Path, *command: str | Path, server: str | None) -> str:
    """Run a command in a project of its own, as a user would, and return what it prints."""
    environment = {n: v for n, v in os.environ.items() if not n.startswith("DJ_")}
    environment |= {"INCEPTIONLOOP_HOME": str(home), "INCEPTIONLOOP_PREFIX": "inceptionloop_"}
    if server:
        environment["INCEPTIONLOOP_MYSQLD"] = server
    done = subprocess.run(
        [str(part) for part in command],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def finished_demo(home: Path, server: str | None, *options: str) -> FinishedDemo:
    """Run the demo in an empty project, and run it again, which must change nothing."""
    script = Path(__file__).with_name("demo_facts.py")
    printed = run(home, INCEPTIONLOOP, "demo", *options, server=server)
    first = json.loads(run(home, sys.executable, script, server=server))
    run(home, INCEPTIONLOOP, "demo", *options, server=server)
    second = json.loads(run(home, sys.executable, script, server=server))
    assert second == first, "a second run continues: it computes nothing anew"
    return FinishedDemo(home, server, printed, first)


def stop_server(home: Path, server: str | None) -> None:
    """Stop the private server of a project."""
    run(home, INCEPTIONLOOP, "server", "stop", server=server)


@pytest.fixture(scope="session")
def miniature_demo(server_program) -> Iterator[FinishedDemo]:
    """The finished miniature; its server runs until all tests that use it are over."""
    home = Path(tempfile.mkdtemp(prefix="inceptionloop-demo-"))
    try:
        yield finished_demo(home, server_program, "--small")
    finally:
        stop_server(home, server_program)
        shutil.rmtree(home)
