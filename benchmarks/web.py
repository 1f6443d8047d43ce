"""How fast the pages of `inceptionloop web` are, while others work.

``python benchmarks/web.py --meis 10000 --workers 8 --clients 4`` has a small chain of a virtual
mouse computed, copies its rows by SQL until there are so many MEIs and jobs, and lets workers do
short jobs while clients ask for pages of all kinds, one after another without a pause.

The last line is a JSON object: milliseconds per kind of page, from the request to the last byte,
and of the first paint of the overview in a browser, if there is chromium. A private server in a
temporary folder.
"""

import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from http.client import HTTPConnection
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import numpy as np
import typer
from selenium.webdriver import Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from workers import NAME, PLACE, ROOT, SCAN, Number, Short, cpus, schema, server

from pipeline import work
from pipeline.connection import dj
from pipeline.database import open_database
from pipeline.ingest.virtual import ingest_first_day
from pipeline.study import Study, register
from schemas.mei import MEI
from science.virtual import SessionDesign, VirtualAnimalParams

ANIMAL = VirtualAnimalParams(n_simple=12, n_complex=12, n_undriven=2)
DESIGN = SessionDesign(n_train=300, n_validation=0, n_test=24, repeats=5)
STUDY = {
    "preprocessing": {"height": 24, "width": 40},
    "split": {"validation_fraction": 0.25},
    "training": {"max_epoch": 3, "patience": 2},
    "models": {
        "cnn": {
            "seeds": (1, 2),
            "config": {
                "core": {"type": "stacked", "hidden_channels": 4, "layers": 1, "input_kern": 7},
                "readout": {"type": "pyramid", "scale_n": 2},
            },
        }
    },
    "selection": {"only_reliable": False, "max_units": 20, "block_size": 2},
    "mei": {"method": "inception_loop", "iter_n": 10, "n_starts": 1},
    "diverse": {"n_images": 2, "iter_n": 5},
}
COPIED = ("unit_id", "unit_index", "unit_block")
COPY_STEP = 1000
COPIES = "inceptionloop_operations.copies"
N_SHORT_JOBS = 100_000

FIXED = (
    "/",
    "/jobs",
    "/jobs?page=100",
    "/jobs?table=MEI&status=success&page=5",
    "/jobs/times",
    "/models",
    "/meis",
    "/meis?page=100",
    "/meis?sort=activation",
    "/units",
    "/units?page=50",
    "/matrices",
    "/views",
    "/views/meis",
    "/views/unit_scores?page=20",
)
"""Pages that are always there."""
LINKED = {
    "a model": ("/models", r'href="(/models/[^"?]+)"'),
    "a unit": ("/units?page={}", r'href="(/units/[^"?]+)"'),
    "an image": ("a unit", r'src="(/images/[^"]+)"'),
    "an explanation": ("a model", r'href="(/explain/[^"]+)"'),
}
"""Pages of one thing, and where they are linked."""
FIRST_PAINT = """
const done = arguments[0];
new PerformanceObserver(found => done(found.getEntries()[0].startTime))
  .observe({type: "paint", buffered: true});
"""
N_PAINTS = 10
PAGES_SEARCHED = (1, 40, 80, 120, 160, 200)


def measure(
    meis: Annotated[int, typer.Option(help="MEIs in the database.")] = 10_000,
    workers: Annotated[int, typer.Option(help="Processes that do short jobs meanwhile.")] = 8,
    clients: Annotated[int, typer.Option(help="Threads that ask for pages.")] = 4,
    seconds: Annotated[float, typer.Option(help="As long they ask.")] = 60.0,
) -> None:
    """Measure the pages, and print one JSON line; fails if one is not answered well."""
    with tempfile.TemporaryDirectory(prefix=PLACE) as home, server(Path(home)):
        open_database(create=True)
        compute_a_chain()
        copy_units(meis)
        ask_for_short_jobs()
        typer.echo(f"{len(MEI.Unit())} MEIs", err=True)
        report = {"name": "web", "meis": len(MEI.Unit()), "jobs": n_jobs(), "workers": workers}
        report |= {"clients": clients, "cpus": cpus()}
        with pages() as url:
            kinds = kinds_of_pages(url)
            report["first_paint_ms_idle"] = first_paint(url)
            with at_work(workers):
                times, failed = ask(url, kinds, clients, seconds)
                report["first_paint_ms"] = first_paint(url)
        report["failed"] = failed
        report["requests"] = sum(map(len, times.values()))
        report["all"] = summary([t for values in times.values() for t in values])
        report["pages"] = {kind: summary(values) for kind, values in sorted(times.items())}
        report["jobs_done_meanwhile"] = len(Short())
    typer.echo(json.dumps(report))
    if failed:
        raise typer.Exit(1)


def compute_a_chain() -> None:
    """Compute MEIs and what follows, of one small recording."""
    ingest_first_day(SCAN, ANIMAL, DESIGN, seed=1)
    register(Study.model_validate(STUDY), [SCAN])
    _, failed = work.work(work.Shift(n_threads=cpus()))
    if failed:
        raise typer.Exit(1)


def copy_units(n_meis: int) -> None:
    """Copy all rows of units and blocks, their jobs too, until there are so many MEIs."""
    n_copies = -(-n_meis // len(MEI.Unit())) - 1
    query = dj.conn().query
    query("SET foreign_key_checks = 0, unique_checks = 0")
    query(f"CREATE TEMPORARY TABLE {COPIES} (k INT PRIMARY KEY)")
    numbers = ", ".join(f"({k + 1})" for k in range(n_copies))
    query(f"INSERT INTO {COPIES} VALUES {numbers}")
    tables = query(
        "SELECT c.table_schema, c.table_name, GROUP_CONCAT(c.column_name) FROM "
        "information_schema.columns AS c JOIN information_schema.tables AS t "
        "USING (table_schema, table_name) WHERE t.table_type = 'BASE TABLE' "
        "AND c.table_schema LIKE 'inceptionloop%%' GROUP BY 1, 2"
    ).fetchall()
    for database, table, names in tables:
        columns = names.split(",")
        if set(COPIED) & set(columns):
            name = f"`{database}`.`{table}`"
            values = [f"`{c}` + {COPY_STEP} * k" if c in COPIED else f"`{c}`" for c in columns]
            query(
                f"INSERT INTO {name} (`{'`, `'.join(columns)}`) "
                f"SELECT {', '.join(values)} FROM {name} CROSS JOIN {COPIES}"
            )
    query("ANALYZE TABLE " + ", ".join(f"`{d}`.`{t}`" for d, t, _ in tables)).fetchall()
    query("SET foreign_key_checks = 1, unique_checks = 1")


def ask_for_short_jobs() -> None:
    """Make the jobs that the workers do: those of `benchmarks/workers.py`."""
    dj.conn().query(f"CREATE DATABASE {NAME}")
    schema.activate(NAME, create_schema=True, create_tables=True)
    Short().jobs.declare()
    Number.insert(({"n": n} for n in range(N_SHORT_JOBS)), chunk_size=5000)


def n_jobs() -> int:
    """Return the number of rows of all job tables."""
    ((n,),) = dj.conn().query("SELECT COUNT(*) FROM inceptionloop_views.jobs").fetchall()
    return n


@contextmanager
def at_work(n_workers: int) -> Iterator[None]:
    """Have workers do short jobs."""
    command = [sys.executable, ROOT / "benchmarks" / "workers.py", "worker"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    crew = [subprocess.Popen(command, env=environment) for _ in range(n_workers)]
    try:
        while n_workers and len(Short()) < 10 * n_workers:
            time.sleep(1)
        yield
    finally:
        for worker in crew:
            worker.kill()
            worker.wait()


@contextmanager
def pages() -> Iterator[str]:
    """Run the command, and give its address."""
    command = [sys.executable, "-m", "pipeline.cli", "web", "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield re.match(r"http://\S+(?=/)", process.stdout.readline())[0]
        finally:
            process.terminate()


def get(url: str, path: str) -> tuple[int, str]:
    """Return the status and the text of an answer."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.request("GET", path)
    answer = connection.getresponse()
    text = answer.read().decode(errors="replace")
    connection.close()
    return answer.status, text


def kinds_of_pages(url: str) -> dict[str, list[str]]:
    """Return the addresses of every kind of page."""
    kinds = {path: [path] for path in FIXED}
    for kind, (place, pattern) in LINKED.items():
        where = kinds.get(place, [place.format(number) for number in PAGES_SEARCHED])
        texts = [get(url, path)[1] for path in dict.fromkeys(where)]
        kinds[kind] = sorted(
            {unescape(link) for text in texts for link in re.findall(pattern, text)}
        )
        if not kinds[kind]:
            raise RuntimeError(f"no link to {kind} at {where}")
    return kinds


def ask(
    url: str, kinds: dict[str, list[str]], n_clients: int, seconds: float
) -> tuple[dict[str, list[float]], list[str]]:
    """Have clients ask for pages of all kinds in turn; return milliseconds, and what failed."""
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    failed: list[str] = []
    end = time.monotonic() + seconds

    def client(seed: int) -> None:
        rng = random.Random(seed)
        while time.monotonic() < end:
            for kind in rng.sample(list(kinds), len(kinds)):
                path = rng.choice(kinds[kind])
                begin = time.perf_counter()
                status, _ = get(url, path)
                times[kind].append(1e3 * (time.perf_counter() - begin))
                if status != 200:
                    failed.append(f"{path}: {status}")

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(n_clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times, sorted(set(failed))


def summary(values: list[float]) -> dict[str, float]:
    """Return the median, the 95th percentile and the largest."""
    percentiles = np.percentile(values, (50, 95, 100))
    return dict(zip(("p50", "p95", "max"), np.round(percentiles, 1).tolist(), strict=True))


def first_paint(url: str) -> dict[str, float] | None:
    """Return the milliseconds to the first paint of the overview; None without chromium."""
    driver = shutil.which("chromedriver")
    if driver is None:
        return None
    options = Options()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu"):
        options.add_argument(argument)
    browser = Chrome(options, Service(driver))
    try:
        paints = []
        for _ in range(N_PAINTS):
            browser.get(f"{url}/")
            paints.append(browser.execute_async_script(FIRST_PAINT))
    finally:
        browser.quit()
    return summary(paints)


if __name__ == "__main__":
    typer.run(measure)
