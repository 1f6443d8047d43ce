"""Figures of how well cells are explained: arrays in, figure out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pipeline.report.style import FAINT, INK, MAIN, MUTED, PAGE_INCHES, SECOND, finite, label, tidy

Floats = NDArray[np.float64]

IN_A_ROW = 3
JITTER = 0.26


@dataclass(frozen=True)
class Explained:
    """How well something explains cells.

    Attributes
    ----------
    name : str
        What explains them.
    scores : float64, (n_cells,)
        Correlations; NaN: not known.
    corrected : float
        Median of the scores corrected for noise, NaN without any.
    by_animals : bool
        Whether other animals explain them.
    """

    name: str
    scores: Floats
    corrected: float = float("nan")
    by_animals: bool = False


def strips(rows: Sequence[Explained]) -> Figure:
    """Plot the scores of all cells, a row for each thing that explains them, with medians."""
    figure = Figure(figsize=(8.6, 0.85 + 0.42 * len(rows)), layout="constrained", facecolor="white")
    ax = figure.subplots()
    tidy(ax)
    ax.axvline(0, color=FAINT, lw=1, zorder=0)
    medians = []
    for place, row in enumerate(rows):
        known = finite(row.scores)
        shift = np.random.default_rng(0).uniform(-JITTER, JITTER, len(known))
        size = 9 if len(known) < 200 else 4
        colour = SECOND if row.by_animals else MAIN
        ax.scatter(known, place + shift, s=size, color=colour, alpha=0.55, lw=0)
        medians.append(float(np.median(known)) if len(known) else np.nan)
        ax.plot([medians[-1]] * 2, [place - 0.38, place + 0.38], color=INK, lw=1.8)
        if np.isfinite(row.corrected):
            ax.plot(row.corrected, place, "D", mfc="white", mec=INK, ms=5.5, mew=1.3)
    ax.set_yticks(range(len(rows)), [row.name for row in rows], fontsize=9, color=INK)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    right = ax.secondary_yaxis("right")
    found = [f"{m:.2f}  n = {len(finite(r.scores))}" for m, r in zip(medians, rows, strict=True)]
    right.set_yticks(range(len(rows)), [text.replace("nan", "none") for text in found])
    right.tick_params(length=0, labelsize=8.5, colors=INK)
    right.spines[:].set_visible(False)
    ax.xaxis.set_major_locator(MaxNLocator(8))
    label(ax, "correlation with held-out responses, a dot per cell", "")
    return figure


def against_animals(networks: Mapping[str, Floats], animals: Floats) -> Figure:
    """Plot for every cell how well networks explain it against how well other animals do.

    Parameters
    ----------
    networks : mapping of str to float64, (n_cells,)
        Scores by network.
    animals : float64, (n_cells,)
        Scores of the same cells; NaN where unknown.
    """
    columns = min(len(networks), IN_A_ROW)
    rows = -(-len(networks) // columns)
    size = PAGE_INCHES * columns / IN_A_ROW, 3.4 * rows
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    values = np.concatenate([finite(animals), *(finite(s) for s in networks.values())])
    low, high = values.min(initial=0), values.max(initial=0.1)
    margin = 0.05 * (high - low)
    for ax in axes[len(networks) :]:
        ax.set_axis_off()
    for ax, (name, scores) in zip(axes, networks.items(), strict=False):
        tidy(ax)
        _against(ax, scores, animals, (low - margin, high + margin))
        label(ax, "explained by other animals", "by the network", name)
    return figure


def _against(ax: Axes, scores: Floats, animals: Floats, limits: tuple[float, float]) -> None:
    ax.plot(limits, limits, color=MUTED, lw=0.8, ls="--", zorder=0)
    ax.scatter(animals, scores, s=14, color=MAIN, alpha=0.7, lw=0)
    ax.set(xlim=limits, ylim=limits, box_aspect=1)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(5))
