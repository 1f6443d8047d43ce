"""What a job costs besides its work: many short jobs and workers, as `inceptionloop work` has them.

Run with ``python benchmarks/workers.py measure --jobs 2000``; the last line is a JSON object.
A private server in a temporary folder; every worker is a process that fills the queue and works it
off with `pipeline.queue`, or calls DataJoint's `populate` with ``--plain``. Seconds are those from
the first to the last job: starting Python is not counted.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import datajoint as dj
import typer

from pipeline.connection import connect
from pipeline.queue import refill, work_off
from pipeline.server import PrivateServer

NAME = "benchmark_workers"

schema = dj.Schema()
app = typer.Typer()


@schema
class Number(dj.Manual):
    """What is asked for."""

    definition = """
    n : int32
    """


@schema
class Short(dj.Computed):
    """Jobs that do next to nothing."""

    definition = """
    -> Number
    ---
    pid : int32
    ended : float64                     # s, of the machine's clock
    """

    def make(self, key: dict[str, Any]) -> None:
        """Say who was here, and when."""
        self.insert1(key | {"pid": os.getpid(), "ended": time.time()})


@app.command()
def worker(plain: bool = False) -> None:
    """Do jobs until there are none; prints when it began."""
    connect()
    schema.activate(NAME, create_schema=False, create_tables=False)
    table, done, began = Short(), 1, time.time()
    while done:
        if plain:
            result = table.populate(reserve_jobs=True, suppress_errors=True)
            done, errors = result["success_count"], result["error_list"]
        else:
            refill(table)
            done, errors = work_off(table)
        if errors:
            raise SystemExit(errors[0][1])
    typer.echo(began)


@app.command()
def measure(
    jobs: Annotated[int, typer.Option(help="Short ones.")] = 2000,
    workers: Annotated[int, typer.Option(help="Processes.")] = 8,
    plain: Annotated[bool, typer.Option(help="DataJoint's populate alone.")] = False,
) -> None:
    """Measure, and print one JSON line; fails if a job was not done exactly once."""
    with tempfile.TemporaryDirectory(prefix="inceptionloop-benchmark-") as home:
        os.environ |= {"INCEPTIONLOOP_HOME": home, "DJ_IGNORE_CONFIG_FILE": "true"}
        server = PrivateServer()
        try:
            connect()
            dj.conn().query(f"CREATE DATABASE {NAME}")
            schema.activate(NAME, create_schema=True, create_tables=True)
            Short().jobs.declare()
            Number.insert(({"n": n} for n in range(jobs)), chunk_size=5000)
            command = [sys.executable, __file__, "worker", *(["--plain"] if plain else [])]
            environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
            processes = [
                subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
                for _ in range(workers)
            ]
            began = [float(process.communicate()[0]) for process in processes]
            ended = Short().to_arrays("ended")
            progress = Short().jobs.progress()
            seconds = float(ended.max() - min(began))
            once = len(ended) == progress["success"] == jobs
        finally:
            server.stop()
    report = {"name": "workers", "jobs": jobs, "workers": workers, "plain": plain}
    report |= {"seconds": round(seconds, 2), "ms_per_job": round(1e3 * seconds / jobs, 2)}
    report |= {"every_job_once": once, "cpus": len(os.sched_getaffinity(0))}
    typer.echo(json.dumps(report))
    if not once:
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
