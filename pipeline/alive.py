"""Whether a worker of this machine is alive: for the health checks of containers.

    python -m pipeline.alive

Not a command of `inceptionloop`, which takes seconds to import what only computing needs.
"""

import platform
import sys
from contextlib import closing

from pipeline.address import address
from pipeline.connection import driver_connection, explained
from pipeline.errors import UserError
from pipeline.settings import Settings

YOUNG_SECONDS = 45
"""Of a heartbeat; without one for longer a worker counts as dead, and its jobs go to others."""


def n_alive(settings: Settings) -> int:
    """Return how many workers of this machine have a young heartbeat.

    Raises
    ------
    DatabaseUnavailable
        If the database does not say.
    """
    target = address(settings)
    with (
        explained(target),
        closing(driver_connection(target)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(
            f"SELECT COUNT(*) FROM `{settings.prefix}operations`.worker WHERE worker_host = %s "
            "AND heartbeat > UTC_TIMESTAMP - INTERVAL %s SECOND",
            (platform.node(), YOUNG_SECONDS),
        )
        return cursor.fetchone()[0]


if __name__ == "__main__":
    try:
        n = n_alive(Settings())
    except UserError as error:
        sys.exit(f"error: {error}")
    sys.exit(0 if n else f"no worker of {platform.node()} has a heartbeat")
