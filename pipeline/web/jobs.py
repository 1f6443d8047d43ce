"""Pages of jobs: which there are, why they failed, how long they took."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Blueprint, abort, render_template, request

from pipeline.web.histogram import BIN_WIDTH, HEIGHT, TICKS, WIDTH, read_histograms
from pipeline.web.paging import Window, window
from pipeline.web.reader import Reader, reader
from schemas.graph import STEPS

STEP_OF = {step.table.__name__: step for step in STEPS}
TABLES = tuple(STEP_OF)
STATES = {
    "pending": "pending",
    "reserved": "running",
    "success": "done",
    "error": "failed",
    "ignore": "ignored",
}
"""How the pages call the states of jobs."""
LATEST = "COALESCE(completed_time, reserved_time, scheduled_time)"

blueprint = Blueprint("jobs", __name__, url_prefix="/jobs")


@blueprint.get("")
def index() -> str:
    """Answer with a page of jobs, the newest first."""
    table, state = _choice("table", TABLES), _choice("status", tuple(STATES))
    ask, asked = reader(), window()
    tables = (table,) if table else TABLES
    given = {"state": state} if state else {}
    rows = newest(ask, tables, given, asked)
    for row in rows:
        row["key"] = json.loads(row["job_key"])
        row["stack"] = _stack(ask, row) if row["status"] == "error" else ""
    return render_template(
        "jobs.html.j2",
        page=asked.page(rows, count(ask, tables, given)),
        table_choices=[("", "all"), *((name, name) for name in TABLES)],
        state_choices=[("", "all"), *STATES.items()],
        states=STATES,
        table=table,
        state=state,
    )


@blueprint.get("/times")
def times() -> str:
    """Answer with how long the jobs of every table took."""
    return render_template(
        "times.html.j2",
        histograms=read_histograms(reader(), TABLES),
        ticks=TICKS,
        width=WIDTH,
        height=HEIGHT,
        bin_width=BIN_WIDTH,
    )


def newest_errors(ask: Reader, n: int) -> list[dict[str, Any]]:
    """Return the jobs that failed last."""
    return newest(ask, TABLES, {"state": "error"}, Window(1, n))


def newest(
    ask: Reader, tables: Sequence[str], given: Mapping[str, str], asked: Window
) -> list[dict[str, Any]]:
    """Return the part of the jobs that was asked for, the newest first.

    Not from the view `jobs`: of no job but those of the page more than the time is looked at.
    """
    condition = "WHERE status = :state" if given else ""
    offset, limit = asked.sql["offset"], asked.sql["limit"]
    skipped = _by_table(ask, tables, given, offset) if offset else {}
    selects = [
        f"(SELECT [job of {table}], {LATEST} AS latest FROM [jobs of {table}] {condition} "
        f"ORDER BY latest DESC, {', '.join(STEP_OF[table].instance.primary_key)} "
        f"LIMIT {n - skipped.get(table, 0)} OFFSET {skipped.get(table, 0)})"
        for table, n in _by_table(ask, tables, given, offset + limit).items()
        if n > skipped.get(table, 0)
    ]
    if not selects:
        return []
    rows = ask.rows(" UNION ALL ".join(selects), **given)
    return sorted(rows, key=lambda row: row["latest"], reverse=True)


def _by_table(
    ask: Reader, tables: Sequence[str], given: Mapping[str, str], n: int
) -> dict[str, int]:
    """Return how many of the newest `n` jobs are those of each table."""
    condition = "WHERE status = :state" if given else ""
    times = (
        f"SELECT '{table}' AS job_table, {LATEST} AS latest FROM [jobs of {table}] {condition}"
        for table in tables
    )
    rows = ask.rows(
        f"SELECT job_table, COUNT(*) AS n FROM (SELECT job_table FROM ({' UNION ALL '.join(times)})"
        " AS every_job ORDER BY latest DESC, job_table LIMIT :n) AS newest GROUP BY job_table",
        n=n,
        **given,
    )
    return {row["job_table"]: row["n"] for row in rows}


def count(ask: Reader, tables: Sequence[str], given: Mapping[str, str]) -> int:
    """Return how many jobs there are."""
    condition = "WHERE status = :state" if given else ""
    counts = (f"(SELECT COUNT(*) FROM [jobs of {table}] {condition})" for table in tables)
    return ask.one(f"SELECT {' + '.join(counts)} AS n", **given)["n"]


def _stack(ask: Reader, job: dict[str, Any]) -> str:
    """Return the stack of a failed job, empty if it has none, or is failed no more."""
    same = " AND ".join(f"`{name}` = :{name}" for name in job["key"])
    found = ask.one(
        f"SELECT error_stack FROM [jobs of {job['job_table']}] WHERE {same}", **job["key"]
    )
    return ask.content(found["error_stack"]) if found and found["error_stack"] else ""


def _choice(name: str, values: tuple[str, ...]) -> str:
    """Return a parameter of the query string that is one of some values, or empty for all."""
    value = request.args.get(name, "")
    if value and value not in values:
        abort(400, f"'{name}' has to be one of {', '.join(values)}.")
    return value
