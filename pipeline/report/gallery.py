"""Figures of MEIs: arrays in, figure out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from pipeline.report.style import (
    FAINT,
    INK,
    KIND_COLOURS,
    MAIN,
    MUTED,
    finite,
    histogram,
    label,
    legend,
    panels,
    picture,
)

CONTOUR = "#ffb020"


@dataclass(frozen=True)
class Tile:
    """One unit of the gallery.

    Attributes
    ----------
    title, subtitle : str
    mei : float, (h, w)
        Grey values.
    mask : float (h, w), optional
        Its contour at one half is drawn.
    field : float (h, w), optional
        True receptive field, any unit, shown symmetrically about zero.
    """

    title: str
    subtitle: str
    mei: NDArray[np.floating]
    mask: NDArray[np.floating] | None = None
    field: NDArray[np.floating] | None = None


def mei_gallery(tiles: Sequence[Tile]) -> Figure:
    """Show MEIs with their masks, beside the true receptive field where there is one."""
    pairs = any(tile.field is not None for tile in tiles)
    columns = min(4 if pairs else 6, len(tiles))
    rows = -(-len(tiles) // columns)
    width = 2.6 if pairs else 10.4 / 6
    height = width / (2 if pairs else 1) * tiles[0].mei.shape[0] / tiles[0].mei.shape[1] + 0.42
    figure = Figure(figsize=(columns * width, rows * height), facecolor="white")
    cells = figure.add_gridspec(
        rows,
        columns,
        left=0.005,
        right=0.995,
        top=1 - 0.34 / (rows * height),
        bottom=0.002,
        wspace=0.06,
        hspace=0.42 / (height - 0.42),
    )
    for i, tile in enumerate(tiles):
        cell = cells[divmod(i, columns)].subgridspec(1, 2 if pairs else 1, wspace=0.03)
        ax = figure.add_subplot(cell[0])
        _show_mei(ax, tile.mei, tile.mask)
        ax.text(0, 1.24, tile.title, transform=ax.transAxes, fontsize=8, color=INK, weight="bold")
        ax.text(0, 1.06, tile.subtitle, transform=ax.transAxes, fontsize=7.5, color=MUTED)
        if tile.field is not None:
            limit = float(np.abs(tile.field).max()) or 1.0
            picture(figure.add_subplot(cell[1]), tile.field, -limit, limit)
    return figure


def _show_mei(ax: Axes, mei: NDArray[np.floating], mask: NDArray[np.floating] | None) -> None:
    """Show an MEI at full contrast, grey in the middle being its mean."""
    mean = float(mei.mean())
    contrast = float(np.abs(mei - mean).max()) or 1.0
    picture(ax, mei, mean - contrast, mean + contrast)
    if mask is not None and mask.min() < 0.5 < mask.max():
        ax.contour(mask, [0.5], colors=CONTOUR, linewidths=1.1)


def portrait(
    mei: NDArray[np.floating], mask: NDArray[np.floating] | None, curve: NDArray[np.floating]
) -> Figure:
    """Show one MEI (h, w) with its mask and the activation on the way to it (k,)."""
    figure, (left, right) = panels([1.5, 1], 2.3, total=7.2)
    _show_mei(left, mei, mask)
    right.plot(np.linspace(0, 100, len(curve)), curve, color=MAIN, lw=1.6)
    label(right, "ascent (% of its steps)", "activation (scaled response)")
    return figure


def true_responses(
    own: ArrayLike, levels: NDArray[np.floating], kinds: Sequence[str], well: NDArray[np.bool_]
) -> Figure:
    """Plot the true response of each cell to its own MEI beside those to the training images.

    Parameters
    ----------
    own : float, (n,)
        Response to the own MEI, spikes a trial; NaN without one.
    levels : float, (n, 5)
        Percentiles 5, 50, 95 and 99.5 and maximum of the responses to the training images.
    kinds : sequence of str, (n,)
    well : bool, (n,)
        Well predicted units are drawn solid.
    """
    own = np.asarray(own, np.float64)
    order = np.lexsort((-own, ~well))  # well predicted first, best response first
    own, levels, well, kinds = own[order], levels[order], well[order], np.asarray(kinds)[order]
    figure, (ax,) = panels([1], 3.3)
    x = np.arange(len(own))
    ax.vlines(x, levels[:, 0], levels[:, 2], color=FAINT, lw=4)
    ax.plot(x, levels[:, 1], "_", color=MUTED, ms=6)
    ax.plot(x, levels[:, 3], "_", color=INK, ms=7, mew=1.6)
    ax.plot(x, levels[:, 4], ".", color=MUTED, ms=3)
    for kind, colour in KIND_COLOURS.items():
        for solid in (True, False):
            here = (kinds == kind) & (well == solid)
            face = colour if solid else "white"
            ax.plot(x[here], own[here], "o", mfc=face, mec=colour, ms=5)
    ax.set_yscale("log")
    ax.set_xlim(-1, len(own))
    ax.set_xticks([])
    ax.grid(axis="y", color=FAINT, lw=0.5, alpha=0.6)
    ax.set_axisbelow(True)
    label(ax, "units, well predicted (filled) first, by response", "true response (spikes/trial)")
    legend(ax, handles=_marks(kinds), ncols=5, loc="lower left", bbox_to_anchor=(0, 1.0))
    return figure


def _marks(kinds: NDArray[np.str_]) -> list[Line2D]:
    """Return what the legend of the true responses explains."""
    marks = [
        Line2D([], [], color=KIND_COLOURS[k], marker="o", lw=0, label=f"own MEI, {k}")
        for k in KIND_COLOURS
        if k in kinds
    ]
    marks += [
        Line2D([], [], color=FAINT, lw=4, label="training images, 5-95 %"),
        Line2D([], [], color=INK, marker="_", lw=0, mew=1.6, label="99.5 %"),
        Line2D([], [], color=MUTED, marker=".", lw=0, label="maximum"),
    ]
    return marks


def cosines(simple: ArrayLike, complex_plane: ArrayLike) -> Figure:
    """Plot distributions of the cosine of MEI and filter, and of MEI and quadrature plane."""
    figure, axes = panels([1, 1], 2.4, total=8)
    panels_of = (("simple", simple, -1.0), ("complex", complex_plane, 0.0))
    names = ("signed cosine with the filter", "cosine with the quadrature plane")
    for ax, (kind, values, low), name in zip(axes, panels_of, names, strict=True):
        histogram(ax, values, np.linspace(low, 1, 26), color=KIND_COLOURS[kind])
        if len(finite(values)):
            ax.axvline(np.median(finite(values)), color=INK, lw=1, ls=":")
        label(ax, name, f"{kind} cells")
    return figure
