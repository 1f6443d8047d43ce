"""Learning curves as pictures: points of two panels, in pixels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 460.0, 190.0
LEFT, RIGHT, TOP, BOTTOM = 58.0, 14.0, 12.0, 26.0


@dataclass(frozen=True)
class Panel:
    """A line over epochs.

    Attributes
    ----------
    title : str
    path : str
        Of the line, in the syntax of SVG; pieces where values are missing in between.
    ticks : list of tuple
        (y, text) of the smallest and the largest value.
    best : tuple or None
        (x, y) of the epoch whose weights are kept.
    """

    title: str
    path: str
    ticks: list[tuple[float, str]]
    best: tuple[float, float] | None


class Curve:
    """The learning curve of a network.

    Parameters
    ----------
    epochs : sequence of dict
        `epoch`, `train_loss`, `epoch_score`, in order; a value may be None.
    best_epoch : int
    """

    width, height = WIDTH, HEIGHT
    left, right, top, bottom = LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM

    def __init__(self, epochs: Sequence[dict[str, Any]], best_epoch: int) -> None:
        self.first = epochs[0]["epoch"] if epochs else 0
        self.last = epochs[-1]["epoch"] if epochs else 0
        panels = (
            self._panel(title, [(row["epoch"], row[name]) for row in epochs], best_epoch)
            for title, name in (("Training loss", "train_loss"), ("Score", "epoch_score"))
        )
        self.panels = [panel for panel in panels if panel]

    def _panel(
        self, title: str, points: list[tuple[int, float | None]], best_epoch: int
    ) -> Panel | None:
        values = [value for _, value in points if value is not None and math.isfinite(value)]
        if not values:
            return None
        low, high = min(values), max(values)

        def place(epoch: int, value: float) -> tuple[float, float]:
            x = (epoch - self.first) / max(1, self.last - self.first)
            y = (value - low) / (high - low) if high > low else 0.5
            return (
                round(self.left + x * (self.right - self.left), 1),
                round(self.bottom - y * (self.bottom - self.top), 1),
            )

        known = dict(point for point in points if point[1] is not None)
        ticks = [(place(self.first, value)[1], f"{value:.4g}") for value in sorted({low, high})]
        best = place(best_epoch, known[best_epoch]) if best_epoch in known else None
        return Panel(title, _path([v and place(e, v) for e, v in points]), ticks, best)


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    """Write a line that is interrupted where there is no point; a single one is a dot."""
    words, down = [], False
    for point in points:
        if point is not None:
            words.append(f"{'L' if down else 'M'}{point[0]:g} {point[1]:g}")
        down = point is not None
    return " ".join(words)
