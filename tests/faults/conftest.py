"""The tables on the session's private server, and projects with servers of their own."""

import shutil
from collections.abc import Iterator

import pytest
from miniature import populated, recordings, tables  # noqa: F401
from private_project import Project, planned, worked_off


@pytest.fixture(scope="session")
def planned_project(tmp_path_factory, server_program) -> Iterator[Project]:
    """A recording and its plan, to be copied: the server is stopped."""
    folder = tmp_path_factory.mktemp("faults")
    yield planned(folder / "planned", server_program, n_seeds=3, max_epoch=15)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def undisturbed(planned_project) -> Project:
    """The same when two workers have done it all; also stopped."""
    return worked_off(planned_project.copy("undisturbed"))
