"""Figures of what the result of feedback hangs on, what else it tells, and of controls without it.

Arrays in, figure out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pipeline.report.feedback_figures import LOWEST_R2
from pipeline.report.style import (
    FAINT,
    INK,
    MAIN,
    PAGE_INCHES,
    SECOND,
    THIRD,
    cycle,
    finite,
    label,
    legend,
    panels,
    tidy,
)

Floats = NDArray[np.float64]

DECODED_IN_A_ROW = 2


@dataclass(frozen=True)
class Varied:
    """A result under one value of what was varied: `values` are of single seeds."""

    at: float
    values: Floats


@dataclass(frozen=True)
class Control:
    """R2 of a map without feedback over contexts; NaN: not known."""

    name: str
    median: float
    mean: float = float("nan")
    sd: float = float("nan")


def dependences(varied: Mapping[str, Mapping[str, Sequence[Varied]]], y: str) -> Figure:
    """Plot how a result depends on what was varied: mean and standard deviation of the seeds.

    Parameters
    ----------
    varied : mapping of str to mapping of str to sequence of Varied
        By the name of what was varied, a panel each, then by what was not, a line each; values
        stand side by side, whatever their differences.
    y : str
        The result.
    """
    total = min(PAGE_INCHES, 1.0 + 3.4 * len(varied))
    most = max(len(lines) for lines in varied.values())
    height = 3.0 + (0.21 * most if most > 1 else 0)  # names stand below
    figure, axes = panels([1] * len(varied), height, total=total)
    for i, (ax, (what, lines)) in enumerate(zip(axes, varied.items(), strict=True)):
        values = sorted({point.at for points in lines.values() for point in points})
        for colour, (name, points) in zip(cycle(lines), lines.items(), strict=True):
            places = [values.index(point.at) for point in points]
            _dependence(ax, places, [finite(point.values) for point in points], colour, name)
        ax.set_xticks(range(len(values)), [f"{value:g}" for value in values])
        ax.set_xlim(-0.4, len(values) - 0.6)
        ax.yaxis.set_major_locator(MaxNLocator(5))
        label(ax, what, "" if i else y)
        if len(lines) > 1:
            legend(ax, loc="upper left", bbox_to_anchor=(0, -0.2))
    return figure


def _dependence(
    ax: Axes, places: Sequence[int], values: Sequence[Floats], colour: str, name: str
) -> None:
    order = [i for i in np.argsort(places, kind="stable") if len(values[i])]
    at = [places[i] for i in order]
    means = [values[i].mean() for i in order]
    sds = [values[i].std(ddof=1) if len(values[i]) > 1 else 0.0 for i in order]
    style = {"lw": 1.4, "marker": "o", "ms": 4.5, "capsize": 2.5}
    ax.errorbar(at, means, sds, color=colour, label=name, **style)
    for i in (i for i in order if len(values[i]) > 1):
        beside = np.full(len(values[i]), places[i] + 0.12)
        ax.scatter(beside, values[i], s=9, color=colour, alpha=0.45, lw=0)


def context_decoding(networks: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Figure:
    """Plot R2 of contexts and of their inverses, a panel per network.

    Parameters
    ----------
    networks : mapping of str to mapping of str to mapping of str to float
        By network, what is decoded from which population, and what the decoder sees of it.
    """
    columns = min(len(networks), DECODED_IN_A_ROW)
    rows = -(-len(networks) // columns)
    lines = max(len(of) for of in networks.values())
    size = 5.2 * columns if columns > 1 else 6.4, 0.3 + rows * (0.9 + 0.3 * lines)
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(networks) :]:
        ax.set_axis_off()
    for ax, (name, of) in zip(axes, networks.items(), strict=False):
        tidy(ax)
        _decoded_contexts(ax, of)
        label(ax, "R\u00b2 in other contexts", "", name)
    handles, words = axes[0].get_legend_handles_labels()
    style = {"fontsize": 8.5, "frameon": False, "labelcolor": INK, "handletextpad": 0.1}
    figure.legend(handles, words, loc="outside upper left", ncols=2, **style)
    return figure


def _decoded_contexts(ax: Axes, of: Mapping[str, Mapping[str, float]]) -> None:
    ax.axvline(0, color=FAINT, lw=1, zorder=0)
    features = list(dict.fromkeys(feature for found in of.values() for feature in found))
    places = np.arange(len(of))
    for feature, colour, marker, shift in zip(
        features, (MAIN, SECOND), "oD", (-0.14, 0.14), strict=False
    ):
        r2 = np.array([found.get(feature, np.nan) for found in of.values()])
        style = {"color": colour, "ls": "", "ms": 5.5, "clip_on": False}
        ax.plot(np.maximum(r2, LOWEST_R2), places + shift, marker=marker, label=feature, **style)
    ax.hlines(places[:-1] + 0.5, 0, 1, color=FAINT, lw=0.6, transform=ax.get_yaxis_transform())
    ax.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    ax.set_yticks(range(len(of)), list(of), fontsize=9, color=INK)
    ax.set_ylim(len(of) - 0.5, -0.5)
    ax.set_xlim(min(LOWEST_R2 / 10, ax.get_xlim()[0]), 1.02)


def controls(rows: Sequence[Control], network: float) -> Figure:
    """Plot R2 of maps without feedback, beside that of a network's outputs.

    Parameters
    ----------
    rows : sequence of Control
        At least one.
    network : float
        Median of a network with feedback, NaN: not known.
    """
    figure, (ax,) = panels([1], 0.9 + 0.34 * len(rows), total=8.6)
    ax.axvline(0, color=FAINT, lw=1, zorder=0)
    for place, row in enumerate(rows):
        edges = np.clip([row.mean - row.sd, row.mean + row.sd], LOWEST_R2, 1)
        ax.plot(edges, [place] * 2, color=THIRD, lw=1.6, alpha=0.6)
        style = {"color": SECOND, "ms": 6.5, "clip_on": False}
        ax.plot(max(row.median, LOWEST_R2), place, "o" if row.median >= LOWEST_R2 else "<", **style)
    if np.isfinite(network):
        ax.axvline(network, color=MAIN, lw=1.4, ls="--", zorder=0)
        at_top = {"transform": ax.get_xaxis_transform(), "va": "bottom", "ha": "center"}
        ax.text(network, 1.01, "with feedback", color=MAIN, fontsize=8.5, **at_top)
    ax.set_yticks(range(len(rows)), [row.name for row in rows], fontsize=9, color=INK)
    right = ax.secondary_yaxis("right")
    medians = [f"{row.median:.2f}".replace("-", "\u2212") for row in rows]
    right.set_yticks(range(len(rows)), medians)
    right.tick_params(length=0, labelsize=8.5, colors=INK)
    right.spines[:].set_visible(False)
    ax.set(xlim=(LOWEST_R2, 1.03), ylim=(len(rows) - 0.5, -0.5))
    label(ax, "R\u00b2 of the sources", "")
    return figure
