"""Connected and bound: what every command does first."""

import logging

from pipeline.connection import connect
from pipeline.errors import UserError
from pipeline.server import Report
from pipeline.settings import Settings
from schemas import graph
from schemas.cache import use_cache


class NotInitialised(UserError):
    """The schemas of the project do not exist on the server."""


def open_database(create: bool = False, report: Report = lambda message: None) -> Settings:
    """Connect to the project's database and bind the tables to its schemas.

    Parameters
    ----------
    create : bool
        Create schemas, tables and job tables that are missing.
    report : callable
        Told what is being done while a private server starts.

    Raises
    ------
    NotInitialised
        If the schemas are missing and `create` is False.
    """
    import datajoint as dj

    logging.getLogger("datajoint").setLevel(logging.WARNING)
    settings = Settings()
    connect(settings, report)
    use_cache(settings.cache_folder, int(settings.cache_gb * 1e9))
    if create:
        graph.create(settings.prefix)
        return settings
    try:
        graph.activate(settings.prefix)
    except dj.errors.DataJointError as error:
        raise NotInitialised(
            f"there are no schemas '{settings.prefix}*' on this server: run `inceptionloop init`"
        ) from error
    return settings
