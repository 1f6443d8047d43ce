"""Signs of life of a worker, from a thread of its own, which is the janitor as well."""

import logging
import os
import platform
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass

import pymysql

from pipeline.connection import driver_connection
from pipeline.janitor import DEAD_AFTER_SECONDS, Queue, give_back, tidy
from schemas.operations import Worker

BEAT_SECONDS = 5

logger = logging.getLogger(__name__)


@dataclass
class Pulse:
    """What a worker says of itself at every beat; the main thread keeps it up to date."""

    serves: str
    device: str
    at_work_on: str = ""
    n_done: int = 0
    n_failed: int = 0


def me() -> dict[str, str | int]:
    """Return the key of this process among the workers."""
    return {"worker_host": platform.node(), "worker_pid": os.getpid()}


@contextmanager
def heartbeat(
    all_queues: Sequence[Queue], serves: str = "all", device: str = "cpu"
) -> Iterator[Pulse]:
    """Register this process as a worker and beat, also while a network trains.

    On leaving, jobs that it has still reserved are given back.
    """
    pulse, stop = Pulse(serves, device), threading.Event()
    # A worker that died here under the same number, as the only one of a container, is not alive.
    give_back_mine(all_queues)
    with closing(driver_connection()) as connection:
        _beat(connection, pulse, all_queues)
    thread = threading.Thread(
        target=_keep_beating, args=(pulse, all_queues, stop), name="heartbeat", daemon=True
    )
    thread.start()
    try:
        yield pulse
    finally:
        stop.set()
        thread.join(timeout=2 * BEAT_SECONDS)
        _sign_off(all_queues)


def give_back_mine(all_queues: Sequence[Queue]) -> int:
    """Give back the jobs that this process has reserved but is not at; return how many."""
    with closing(driver_connection()) as connection, connection.cursor() as cursor:
        return give_back(cursor, all_queues, *me().values())


def tidy_up(all_queues: Sequence[Queue]) -> int:
    """Do the janitor's work now; return how many jobs were put right."""
    with closing(driver_connection()) as connection, connection.cursor() as cursor:
        return tidy(cursor, all_queues)


def _sign_off(all_queues: Sequence[Queue]) -> None:
    """Sign off on a new connection: DataJoint's may have been interrupted in an answer."""
    try:
        with closing(driver_connection()) as connection, connection.cursor() as cursor:
            give_back(cursor, all_queues, *me().values())
            mine = " AND ".join(f"{name} = %s" for name in me())
            cursor.execute(
                f"DELETE FROM {Worker().full_table_name} WHERE {mine}", tuple(me().values())
            )
    except (pymysql.err.MySQLError, OSError) as error:
        # nothing is lost: without a heartbeat this worker counts as dead before long
        logger.warning("could not sign off: %s", error)


def _keep_beating(pulse: Pulse, all_queues: Sequence[Queue], stop: threading.Event) -> None:
    connection = None
    while not stop.wait(BEAT_SECONDS):
        try:
            connection = connection or driver_connection()
            _beat(connection, pulse, all_queues)
        except (pymysql.err.MySQLError, OSError) as error:
            # the next beat tries again; if none gets through, others may take this worker's jobs
            logger.warning("heartbeat failed: %s", error)
            if connection is not None:
                with suppress(pymysql.err.Error):
                    connection.close()
            connection = None
    if connection is not None:
        connection.close()


def _beat(connection: pymysql.Connection, pulse: Pulse, all_queues: Sequence[Queue]) -> None:
    said = {
        "serves": pulse.serves,
        "worker_device": pulse.device,
        "at_work_on": pulse.at_work_on,
        "n_done": pulse.n_done,
        "n_failed": pulse.n_failed,
    }
    row = me() | said
    changes = ", ".join(f"{name} = VALUES({name})" for name in said)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {Worker().full_table_name} (heartbeat, {', '.join(row)}) "
            f"VALUES (UTC_TIMESTAMP, {', '.join(['%s'] * len(row))}) "
            f"ON DUPLICATE KEY UPDATE heartbeat = UTC_TIMESTAMP, {changes}",
            tuple(row.values()),
        )
        tidy(cursor, all_queues)


def living_workers() -> list[dict[str, str | int]]:
    """Return the workers whose heartbeat is young, those that serve longest first."""
    young = f"heartbeat > UTC_TIMESTAMP - INTERVAL {DEAD_AFTER_SECONDS} SECOND"
    return (Worker & young).to_dicts(order_by=("worker_started", "worker_host", "worker_pid"))
