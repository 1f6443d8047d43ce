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


@pytest.fixture
def recordings(tables):
    """Makes recordings that are deleted after the test with all that depends on them."""
    made = miniature.Recordings()
    yield made
    made.delete()
