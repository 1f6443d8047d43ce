"""The tables, empty or filled with the miniature, on the session's private server."""

import miniature
import pytest


@pytest.fixture(scope="session")
def tables(database):
    """All schemas exist."""
    miniature.tables()


@pytest.fixture(scope="session")
def populated(database) -> miniature.Miniature:
    """The miniature closed loop, computed."""
    return miniature.populated()
