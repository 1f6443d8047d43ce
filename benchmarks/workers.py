"""What many workers cost and what they bring, as `inceptionloop work` has them.

``python benchmarks/workers.py measure --jobs 2000`` has short jobs done by many workers: what a job
costs besides its work; with ``--plain`` by DataJoint's `populate` alone.
``python benchmarks/workers.py ratio`` has the chain of a virtual experiment computed from the same
bytes by one worker with one thread, by two of those, and by one worker with two threads.

The last line is a JSON object. Private servers in a temporary folder; seconds are those of the
database from the first job's begin to the last one's end: starting Python is not counted.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

os.environ["DJ_IGNORE_CONFIG_FILE"] = "true"

import typer

from pipeline import janitor, work
from pipeline.connection import connect, dj
from pipeline.database import open_database
from pipeline.ingest.virtual import ingest_first_day
from pipeline.server import PrivateServer
from pipeline.study import Study, read_study, register
from schemas.graph import STEPS, Step
from science.virtual import SessionDesign, VirtualAnimalParams

ROOT = Path(__file__).parents[1]
NAME = "benchmark_workers"
PLACE = "inceptionloop-benchmark-"
SCAN = {"animal_id": 1, "session": 1, "scan_idx": 1}
ANIMAL = VirtualAnimalParams(n_simple=12, n_complex=12, n_undriven=4)
DESIGN = SessionDesign(n_train=600, n_validation=0, n_test=40, repeats=8)
SEEDS, SELECTION = (1, 2, 3, 4), {"max_units": 8, "block_size": 1}
CREWS = {"1x1": (1, 1), "2x1": (2, 1), "1x2": (1, 2)}  # workers x threads of each

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
    """

    def make(self, key: dict[str, Any]) -> None:
        """Say who was here."""
        self.insert1(key | {"pid": os.getpid()})


@app.command()
def worker(plain: bool = False) -> None:
    """Do short jobs until there are none."""
    open_database()
    schema.activate(NAME, create_schema=False, create_tables=False)
    if plain:
        while Short().populate(reserve_jobs=True)["success_count"]:
            pass
        return
    # beside all tables of the project, which have nothing to do
    work.STEPS = janitor.STEPS = (*STEPS, Step(Short, lambda: Number.proj()))
    work.work(work.Shift(n_threads=1))


@app.command()
def measure(
    jobs: Annotated[int, typer.Option(help="Short ones.")] = 2000,
    workers: Annotated[int, typer.Option(help="Processes.")] = 8,
    plain: Annotated[bool, typer.Option(help="DataJoint's populate alone.")] = False,
) -> None:
    """Measure what a job costs, and print one JSON line; fails if one was not done exactly once."""
    with tempfile.TemporaryDirectory(prefix=PLACE) as home, server(Path(home)):
        open_database(create=True)
        dj.conn().query(f"CREATE DATABASE {NAME}")
        schema.activate(NAME, create_schema=True, create_tables=True)
        Short().jobs.declare()
        Number.insert(({"n": n} for n in range(jobs)), chunk_size=5000)
        before = statements()
        command = [sys.executable, __file__, "worker", *(["--plain"] if plain else [])]
        run_together([command] * workers, n_threads=1)
        sent = {name: n - before[name] for name, n in statements().items()}
        seconds = seconds_of_jobs([Short().jobs])
        rows, progress = len(Short()), Short().jobs.progress()
        n_at_work = len(dj.U("pid") & Short())
    once = rows == progress["success"] == progress["total"] == jobs
    report = {"name": "workers", "jobs": jobs, "workers": workers, "plain": plain}
    report |= {"seconds": round(seconds, 2), "ms_per_job": round(1e3 * seconds / jobs, 2)}
    report |= {"every_job_once": once, "n_at_work": n_at_work, "cpus": cpus()}
    # a job's row is one INSERT; the others fill the queue, or are signs of life
    report |= {"inserts_besides_rows": sent["Com_insert"] - jobs}
    report |= {"statements_per_job": round(sent["Questions"] / jobs, 1)}
    typer.echo(json.dumps(report))
    if not once:
        raise typer.Exit(1)


@app.command()
def ratio() -> None:
    """Measure how much faster two workers do real work, and print one JSON line."""
    with tempfile.TemporaryDirectory(prefix=PLACE) as folder:
        planned = Path(folder) / "planned"
        with server(planned):
            open_database(create=True)
            ingest_first_day(SCAN, ANIMAL, DESIGN, seed=1)
            register(chain(), [SCAN])
        seconds = {}
        for name, (n_workers, n_threads) in CREWS.items():
            home = planned.with_name(name)
            shutil.copytree(planned, home)
            with server(home):
                command = [sys.executable, "-m", "pipeline.cli", "work", "--processes", "1"]
                command += ["--quiet", "--threads", str(n_threads)]
                run_together([command] * n_workers, n_threads)
                open_database()
                failed = sum(len(step.instance.jobs.errors) for step in STEPS)
                seconds[name] = round(seconds_of_jobs([step.instance.jobs for step in STEPS]), 1)
            typer.echo(f"{n_workers} workers with {n_threads} threads: {seconds[name]} s", err=True)
            if failed:
                raise typer.Exit(1)
    report: dict[str, Any] = {"name": "workers_ratio", "seconds": seconds, "cpus": cpus()}
    report["ratio"] = round(seconds["1x1"] / seconds["2x1"], 2)
    report["ratio_to_threads"] = round(seconds["1x2"] / seconds["2x1"], 2)
    typer.echo(json.dumps(report))


def chain() -> Study:
    """Return the study of the demo's mouse, with more networks and smaller blocks of units."""
    study = read_study(ROOT / "pipeline" / "studies" / "virtual.toml")
    models = {"cnn": study.models["cnn"].model_copy(update={"seeds": SEEDS})}
    selection = study.selection.model_copy(update=SELECTION)
    return study.model_copy(update={"models": models, "selection": selection})


@contextmanager
def server(home: Path) -> Iterator[None]:
    """Run the private server of a home, and be connected to it."""
    os.environ["INCEPTIONLOOP_HOME"] = str(home)
    private = PrivateServer()
    try:
        connect()
        yield
    finally:
        private.stop()


def run_together(commands: list[list[str]], n_threads: int) -> None:
    """Run commands at once and wait for all of them."""
    libraries = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment |= dict.fromkeys(libraries, str(n_threads))
    processes = [subprocess.Popen(command, env=environment) for command in commands]
    statuses = [process.wait() for process in processes]
    if any(statuses):
        raise typer.Exit(1)


def statements() -> dict[str, int]:
    """Return how many statements the server has got: INSERTs, and any."""
    found = dj.conn().query("SHOW GLOBAL STATUS WHERE variable_name IN ('Com_insert', 'Questions')")
    return {name: int(value) for name, value in found.fetchall()}


def seconds_of_jobs(queues: list[dj.Table]) -> float:
    """Return the seconds from the first reservation to the last completion."""
    times = [
        dj.conn()
        .query(f"SELECT MIN(reserved_time), MAX(completed_time) FROM {jobs.full_table_name}")
        .fetchone()
        for jobs in queues
        if jobs.completed
    ]
    return (max(end for _, end in times) - min(begin for begin, _ in times)).total_seconds()


def cpus() -> int:
    """Return how many cores there are for this process."""
    return len(os.sched_getaffinity(0))


if __name__ == "__main__":
    app()
