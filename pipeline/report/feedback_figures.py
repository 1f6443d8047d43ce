"""Figures of networks with feedback modulation: arrays in, figure out."""

from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pipeline.report.style import (
    COLOURS,
    FAINT,
    INK,
    MAIN,
    MUTED,
    PAGE_INCHES,
    THIRD,
    cycle,
    finite,
    label,
    legend,
    log_axis,
    panels,
    tidy,
)

Floats = NDArray[np.float64]

NETWORKS_IN_A_ROW, CHARACTERS_IN_A_ROW = 3, 38
JITTER = 0.22
DEVIATION_BINS = 50
LOWEST_R2 = -1.0
"""What is worse is drawn at the edge."""
POPULATION_COLOURS = {"inputs": MUTED, "lower": COLOURS[4], "population": THIRD, "outputs": MAIN}


@dataclass(frozen=True)
class SwitchTraces:
    """What a network did around a change of context.

    Attributes
    ----------
    steps : int64, (n_steps,)
        From the change on; negative before.
    sources, inputs, outputs : float, (n_steps, n)
    feedback : float, (n_steps, k)
        What the plant is modulated by.
    mixing : float, (2, n, n)
        The contexts before and after.
    """

    steps: NDArray[np.int64]
    sources: NDArray[np.floating]
    inputs: NDArray[np.floating]
    outputs: NDArray[np.floating]
    feedback: NDArray[np.floating]
    mixing: NDArray[np.floating]


def switch(traces: SwitchTraces) -> Figure:
    """Plot sources, inputs, outputs and feedback around a change of context, one over the other."""
    figure = Figure(figsize=(PAGE_INCHES, 6.6), layout="constrained", facecolor="white")
    axes = figure.subplots(4, 1, sharex=True, height_ratios=[1, 1, 1, 1.15])
    rows = {
        "sources": (traces.sources, "source"),
        "inputs": (traces.inputs, "input"),
        "outputs": (traces.outputs, "output"),
        "feedback": (traces.feedback, "signal"),
    }
    for ax, (title, (values, one)) in zip(axes, rows.items(), strict=True):
        tidy(ax)
        ax.axvline(0, color=INK, lw=1, ls="--", zorder=0)
        if title == "outputs":
            ax.plot(traces.steps, traces.sources, color=FAINT, lw=3, zorder=1)
        for i, (trace, colour) in enumerate(zip(values.T, cycle(values.T), strict=True)):
            ax.plot(traces.steps, trace, color=colour, lw=1.3, label=f"{one} {i + 1}", zorder=2)
        label(ax, "", title)
        ax.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        beside = {"loc": "center left", "bbox_to_anchor": (1, 0.5), "handlelength": 1.2}
        legend(ax, **beside)
    axes[0].set_xlim(traces.steps[0], traces.steps[-1])
    label(axes[-1], "steps from the change of context", "feedback")
    centres = traces.steps[0] / 2, traces.steps[-1] / 2
    for x, name, mixing in zip(centres, ("before", "after"), traces.mixing, strict=True):
        text = ", ".join("(" + " ".join(f"{a:.2f}" for a in row) + ")" for row in mixing)
        at_top = {"transform": axes[0].get_xaxis_transform(), "va": "bottom", "ha": "center"}
        axes[0].text(x, 1.02, f"{name}: {text}", fontsize=8.5, color=MUTED, **at_top)
    figure.align_ylabels(axes)
    return figure


def clarities(networks: Mapping[str, Mapping[str, Floats]]) -> Figure:
    """Plot the signal clarity of populations, a panel per network.

    Parameters
    ----------
    networks : mapping of str to mapping of str to float64, (n,)
        By network, then by population; NaN: not known.
    """
    return _populations(networks, "signal clarity", (0.0, 1.02))


def source_decoding(networks: Mapping[str, Mapping[str, Floats]]) -> Figure:
    """Plot R2 of the sources, a dot per test context, a panel per network; else as `clarities`."""
    return _populations(networks, "R\u00b2 of the sources", (LOWEST_R2, 1.08))


def _populations(
    networks: Mapping[str, Mapping[str, Floats]], y: str, limits: tuple[float, float]
) -> Figure:
    columns = min(len(networks), NETWORKS_IN_A_ROW)
    rows = -(-len(networks) // columns)
    size = max(PAGE_INCHES * columns / NETWORKS_IN_A_ROW, 4.2), 2.9 * rows
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for ax in axes[len(networks) :]:
        ax.set_axis_off()
    for i, (ax, (name, populations)) in enumerate(zip(axes, networks.items(), strict=False)):
        tidy(ax)
        if limits[0] < 0:
            ax.axhline(0, color=FAINT, lw=1, zorder=0)
        for place, (population, values) in enumerate(populations.items()):
            _strip(ax, place, finite(values), POPULATION_COLOURS[population], limits[0])
        ax.set_xticks(range(len(populations)), list(populations), fontsize=9, color=INK)
        ax.set(xlim=(-0.5, len(populations) - 0.3), ylim=limits)
        label(ax, "", "" if i % columns else y, fill(name, CHARACTERS_IN_A_ROW))
    return figure


def _strip(ax: Axes, place: int, values: Floats, colour: str, low: float) -> None:
    """Draw dots and their median; those below the axis as arrows at its edge."""
    shift = np.random.default_rng(0).uniform(-JITTER, JITTER, len(values))
    below = values < low
    style = {"color": colour, "alpha": 0.6, "lw": 0}
    ax.scatter(place + shift[~below], values[~below], s=14, **style)
    at_edge = {"marker": "v", "clip_on": False} | style
    ax.scatter(place + shift[below], np.full(below.sum(), low), s=22, **at_edge)
    if len(values):
        median = float(np.median(values))
        ax.plot([place - 0.26, place + 0.26], [max(median, low)] * 2, color=INK, lw=1.8)
        text = f"{median:.2f}".replace("-", "\u2212")
        ax.text(place + 0.29, max(median, low), text, fontsize=8, color=INK, va="center")


def deviations(networks: Mapping[str, Floats]) -> Figure:
    """Plot the distance of outputs and sources over the steps of a context.

    Parameters
    ----------
    networks : mapping of str to float64, (n_steps,)
        Means over contexts, by network; drawn in `DEVIATION_BINS` bins.
    """
    figure, (ax,) = panels([1], 2.9, total=8.4)
    for colour, (name, values) in zip(cycle(networks), networks.items(), strict=True):
        edges = np.unique(np.linspace(0, len(values), DEVIATION_BINS + 1).round().astype(int))
        means = np.add.reduceat(values, edges[:-1]) / np.diff(edges)
        style = {"color": colour, "lw": 1.5, "baseline": None}
        ax.stairs(means, edges, label=fill(name, CHARACTERS_IN_A_ROW), **style)
    log_axis(ax)
    label(ax, "steps from the change of context", "distance of outputs and sources")
    legend(ax, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
