"""Connected and bound: what every command does first."""

import logging

from pipeline.connection import connect
from pipeline.migration import initialise, require_newest
from pipeline.object_store import make_store
from pipeline.server import Report
from pipeline.settings import Settings
from schemas import graph
from schemas.cache import use_cache


def open_database(create: bool = False, report: Report = lambda message: None) -> Settings:
    """Connect to the project's database and bind the tables to its schemas.

    The schemas must be those of this program.

    Parameters
    ----------
    create : bool
        Create schemas, tables and job tables that are missing, and the bucket of the store.
    report : callable
        Told what is being done while a private server starts.

    Raises
    ------
    NotInitialised
        If the schemas are missing and `create` is False.
    OtherVersion
        If they are those of an older or newer program.
    """
    logging.getLogger("datajoint").setLevel(logging.WARNING)
    settings = Settings()
    connect(settings, report)
    use_cache(settings.cache_folder, int(settings.cache_gb * 1e9))
    if create:
        initialise(settings.prefix)
        make_store()
    else:
        require_newest(settings.prefix)
        graph.activate(settings.prefix)
    return settings
