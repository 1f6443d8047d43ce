"""Figures of path integrators and of cells of foraging animals: arrays in, figure out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle as Box
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from pipeline.report.style import (
    FAINT,
    INK,
    MUTED,
    PAGE_INCHES,
    SECOND,
    cycle,
    finite,
    label,
    legend,
    panels,
)
from science.navigation import Rectangle, autocorrelograms

Floats = NDArray[np.float64]

IN_A_ROW = 6
WALKS_IN_A_ROW = 4


@dataclass(frozen=True)
class MappedUnit:
    """A cell or a unit of a network in its arena.

    Attributes
    ----------
    title : str
    rates : float64, (nx, ny)
        NaN: not known.
    path, spikes : float64, (n, 2) and (m, 2), optional
        Where the animal was, NaN where it was lost, and where it was when the cell fired, m.
    below : str
        Written under the map.
    """

    title: str
    rates: Floats
    path: Floats | None = None
    spikes: Floats | None = None
    below: str = ""


def walks(true: Floats, decoded: Floats, box: Rectangle) -> Figure:
    """Draw walks in an arena, and where a network believed to be.

    Parameters
    ----------
    true, decoded : float64, (n_walks, n_steps + 1, 2)
        m, from the start on.
    box : Rectangle
        The arena.
    """
    columns = min(len(true), WALKS_IN_A_ROW)
    figure, axes = _sheet(-(-len(true) // columns), columns, box, 0.32)
    for ax, path, read in zip(axes.ravel(), true, decoded, strict=False):
        _arena(ax, box)
        ax.plot(*path.T, color=INK, lw=1.6, label="true")
        ax.plot(*read.T, color=SECOND, lw=1.3, label="decoded")
        ax.plot(*path[0], "o", color=INK, ms=4)
        error = 100 * np.linalg.norm(path - read, axis=-1)[1:].mean()
        ax.set_title(f"{error:.1f} cm", fontsize=9, color=INK, loc="left")
    handles, names = axes.ravel()[0].get_legend_handles_labels()
    style = {"fontsize": 8.5, "frameon": False, "labelcolor": INK}
    figure.legend(handles, names, loc="outside upper left", ncols=2, **style)
    return figure


def mapped_units(units: Sequence[MappedUnit], box: Rectangle) -> Figure:
    """Show units in rows of six: path and spikes, where there are any, rate map, autocorrelogram.

    Parameters
    ----------
    units : sequence of MappedUnit
        At least one.
    box : Rectangle
        The arena of all of them.
    """
    kinds = (_path, _map, _autocorrelogram)
    kinds = kinds if any(unit.path is not None for unit in units) else kinds[1:]
    blocks = -(-len(units) // IN_A_ROW)
    n_lines = max(unit.title.count("\n") + 1 for unit in units)
    figure, axes = _sheet(blocks * len(kinds), IN_A_ROW, box, 0.1 + 0.16 * n_lines / len(kinds))
    for row in axes:
        for ax in row:
            ax.set_axis_off()
    for i, unit in enumerate(units):
        block, column = divmod(i, IN_A_ROW)
        own = axes[block * len(kinds) : (block + 1) * len(kinds), column]
        for ax, draw in zip(own, kinds, strict=True):
            ax.set_axis_on()
            draw(ax, unit, box)
        own[0].set_title(unit.title, fontsize=8.5, color=INK, loc="left", linespacing=1.25)
    return figure


def _sheet(
    rows: int, columns: int, box: Rectangle, extra: float
) -> tuple[Figure, NDArray[np.object_]]:
    """Make a page of arenas, `extra` inches between their rows."""
    width = PAGE_INCHES * columns / (IN_A_ROW if columns > WALKS_IN_A_ROW else WALKS_IN_A_ROW)
    panel = min(width / columns - 0.1, 1.7 if columns > WALKS_IN_A_ROW else 2.3)
    height = rows * (panel * box.height / box.width + extra) + 0.3
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.04, h_pad=0.02, wspace=0.02, hspace=0.02)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _arena(ax: Axes, box: Rectangle) -> None:
    low, high = box.corners
    margin = 0.02 * (high - low)
    ax.add_patch(Box(low, *(high - low), fill=False, edgecolor=FAINT, lw=1, zorder=0))
    ax.set(
        xlim=(low[0] - margin[0], high[0] + margin[0]),
        ylim=(low[1] - margin[1], high[1] + margin[1]),
        aspect="equal",
    )
    _bare(ax)
    ax.spines[:].set_visible(False)


def _bare(ax: Axes) -> None:
    ax.set(xticks=[], yticks=[], facecolor="white")
    ax.spines[:].set_color(FAINT)


def _path(ax: Axes, unit: MappedUnit, box: Rectangle) -> None:
    _arena(ax, box)
    if unit.path is None:
        ax.text(*box.center, "not tracked", ha="center", va="center", fontsize=8.5, color=MUTED)
        return
    ax.plot(*unit.path.T, color="#b4bfca", lw=0.4, zorder=1)
    if unit.spikes is not None:
        ax.plot(*unit.spikes.T, "o", color=SECOND, ms=1.6, mew=0, zorder=2)


def _map(ax: Axes, unit: MappedUnit, box: Rectangle) -> None:
    (left, bottom), (right, top) = box.corners
    extent = (left, right, bottom, top)
    style = {"origin": "lower", "interpolation": "nearest", "extent": extent}
    ax.imshow(unit.rates.T, cmap="viridis", **style)
    _bare(ax)
    if unit.below:
        ax.set_xlabel(unit.below, fontsize=8.5, color=MUTED, labelpad=2)


def _autocorrelogram(ax: Axes, unit: MappedUnit, box: Rectangle) -> None:
    (correlogram,) = np.moveaxis(autocorrelograms(unit.rates[..., None]), -1, 0)
    nx, ny = unit.rates.shape
    x, y = box.width * (2 * nx - 1) / (2 * nx), box.height * (2 * ny - 1) / (2 * ny)
    style = {"origin": "lower", "interpolation": "nearest", "extent": (-x, x, -y, y)}
    ax.imshow(correlogram.T, cmap="RdBu_r", vmin=-1, vmax=1, **style)
    _bare(ax)


def grid_score_distributions(networks: Mapping[str, ArrayLike], threshold: float) -> Figure:
    """Plot the distributions of the grid scores of networks, each as a fraction of its units.

    Parameters
    ----------
    networks : mapping of str to float, (n_units,)
        By name; NaN: no score.
    threshold : float
        Is marked.
    """
    figure, (ax,) = panels([1], 2.7, total=6.4)
    known = {name: finite(scores) for name, scores in networks.items()}
    bins = np.histogram_bin_edges(np.concatenate(list(known.values())), 40)
    for colour, (name, scores) in zip(cycle(known), known.items(), strict=True):
        fraction = np.histogram(scores, bins)[0] / max(len(scores), 1)
        ax.stairs(fraction, bins, color=colour, lw=1.6, label=f"{name} ({len(scores)} units)")
    ax.axvline(threshold, color=INK, lw=1, ls="--")
    ax.yaxis.set_major_locator(MaxNLocator(5))
    label(ax, "grid score", "fraction of units")
    legend(ax, loc="lower left", bbox_to_anchor=(0, 1))
    return figure
