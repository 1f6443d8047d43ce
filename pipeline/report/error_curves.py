"""Learning curves of networks that a task trains: arrays in, figure out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pipeline.report.style import MUTED, PAGE_INCHES, cycle, label, legend, log_axis, tidy

CURVES_IN_A_ROW = 2


@dataclass(frozen=True)
class ErrorCurve:
    """The held-out error of one training.

    Attributes
    ----------
    name : str
        Of the network; its seeds share a colour.
    epochs : int64, (n_epochs,)
    error : float64, (n_epochs,)
        NaN where it was not finite.
    best_epoch : int
        Whose weights are kept; 0: the initial ones.
    levels : mapping of str to float
        What the error would be without any learning, by the name of what would do.
    """

    name: str
    epochs: NDArray[np.int64]
    error: NDArray[np.float64]
    best_epoch: int
    levels: Mapping[str, float]


def error_curves(tasks: Mapping[str, Sequence[ErrorCurve]], error: str) -> Figure:
    """Plot errors over epochs, a panel per task and a line per seed.

    Parameters
    ----------
    tasks : mapping of str to sequence of ErrorCurve
        By the title of the task.
    error : str
        What it is, with its unit.
    """
    columns = min(len(tasks), CURVES_IN_A_ROW)
    rows = -(-len(tasks) // columns)
    size = PAGE_INCHES if columns > 1 else 7.0, 3.1 * rows
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(tasks) :]:
        ax.set_axis_off()
    for ax, (title, curves) in zip(axes, tasks.items(), strict=False):
        tidy(ax)
        _curves(ax, curves)
        label(ax, "epoch", error, title if len(tasks) > 1 else "")
    return figure


def _curves(ax: Axes, curves: Sequence[ErrorCurve]) -> None:
    names = list(dict.fromkeys(curve.name for curve in curves))
    colours = dict(zip(names, cycle(names), strict=True))
    named = set()
    for curve in curves:
        text = None if curve.name in named else curve.name
        named.add(curve.name)
        style = {"color": colours[curve.name], "lw": 1.5}
        ax.plot(curve.epochs, curve.error, label=text, **style)
        best = curve.epochs == curve.best_epoch
        ax.plot(curve.epochs[best], curve.error[best], "o", ms=4.5, **style)
    for what in curves[0].levels:
        level = float(np.mean([curve.levels[what] for curve in curves]))
        ax.axhline(level, color=MUTED, lw=1, ls="--", zorder=0)
        at_right = ax.get_yaxis_transform()
        ax.text(1, level, f" {what}", transform=at_right, va="center", fontsize=8.5, color=MUTED)
    log_axis(ax)
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    legend(ax, loc="best")
