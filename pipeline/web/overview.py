"""The first page: how far the work is, who works, what has failed."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import groupby
from types import ModuleType
from typing import Any

from flask import Blueprint, render_template

from pipeline.alive import YOUNG_SECONDS
from pipeline.status import TableStatus
from pipeline.web.jobs import newest_errors
from pipeline.web.progress import RECENT_MINUTES, progress
from pipeline.web.reader import Reader, reader
from schemas import graph

N_ERRORS = 5
N_WORKERS = 200
STATES = ("done", "running", "failed", "pending", "blocked")
BAR_WIDTH, LEAST_WIDTH = 240.0, 3.0
TOPICS: dict[str, tuple[ModuleType, ...]] = {
    "Recordings and data": (graph.responses, graph.dataset, graph.reliability),
    "Models": (graph.model, graph.readout),
    "Most exciting inputs": (graph.mei, graph.mei_variants),
    "Controls": (graph.gabor, graph.field, graph.comparison, graph.recorded_gabor),
    "The closed loop": (graph.monitor, graph.cell_match, graph.closed_loop),
    "Navigation": (graph.navigation, graph.neural_fit),
    "Efficient codes": (graph.coding, graph.coding_sweep, graph.limens),
    "Feedback": (graph.feedback,),
}
TOPIC_OF = {module.__name__: topic for topic, modules in TOPICS.items() for module in modules}
TOPIC_OF_TABLE = {
    step.table.__name__: TOPIC_OF.get(step.table.__module__, "Others") for step in graph.STEPS
}

blueprint = Blueprint("overview", __name__)


@dataclass(frozen=True)
class Part:
    """A piece of a bar: jobs of one state."""

    state: str
    n: int
    x: float
    width: float


@blueprint.get("/")
def index() -> str:
    """Answer with the overview."""
    now, ask = progress().snapshot(), reader()
    asked_for = [row for row in now.tables if row.done + row.unfinished]
    return render_template(
        "overview.html.j2",
        now=now,
        topics=[(topic, list(map(asdict, rows))) for topic, rows in groupby(asked_for, _topic)],
        idle=[row.table for row in now.tables if row not in asked_for],
        bar=bar,
        totals={state: now.total(state) for state in STATES},
        bar_width=BAR_WIDTH,
        recent_minutes=RECENT_MINUTES,
        workers=workers(ask),
        young_seconds=YOUNG_SECONDS,
        pauses=ask.rows("SELECT * FROM [Pause] ORDER BY paused_at LIMIT 20"),
        errors=newest_errors(ask, N_ERRORS),
    )


def workers(ask: Reader) -> list[dict[str, Any]]:
    """Return the workers, those whose heartbeat is youngest first."""
    return ask.rows("SELECT * FROM workers ORDER BY silent_seconds, worker_started LIMIT :limit",
                    limit=N_WORKERS)  # fmt: skip


def bar(counts: Mapping[str, int]) -> list[Part]:
    """Return the pieces of a bar; each that is not empty can be seen."""
    counts = {state: counts[state] for state in STATES if counts[state]}
    total = sum(counts.values())
    widths = {s: max(LEAST_WIDTH, BAR_WIDTH * n / total) for s, n in counts.items()}
    scale = BAR_WIDTH / sum(widths.values()) if widths else 1.0
    parts, x = [], 0.0
    for state, n in counts.items():
        parts.append(Part(state, n, round(x, 2), round(scale * widths[state], 2)))
        x += scale * widths[state]
    return parts


def _topic(row: TableStatus) -> str:
    return TOPIC_OF_TABLE[row.table]
