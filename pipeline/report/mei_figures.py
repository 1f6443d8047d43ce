"""Figures of MEIs: arrays in, figure out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import ArrayLike, NDArray

from pipeline.report.style import (
    FAINT,
    INK,
    KIND_COLOURS,
    MAIN,
    MUTED,
    PAGE_INCHES,
    finite,
    histogram,
    label,
    legend,
    panels,
    picture,
)

CONTOUR = "#ffb020"
MAX_TICKS = 8


def show_mei(ax: Axes, mei: NDArray[np.floating], mask: NDArray[np.floating] | None) -> None:
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
    show_mei(left, mei, mask)
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
        Line2D(
            [], [], color=KIND_COLOURS[k], marker="o", lw=0, label=f"own MEI, {k.replace('_', ' ')}"
        )
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


def relative(
    rows: pd.DataFrame, kinds: Mapping[str, str], well_predicted: float, has_truth: bool
) -> Figure:
    """Plot responses to images, divided by the response to the MEI, one dot per unit.

    Parameters
    ----------
    rows : DataFrame
        Of `pipeline.truth.relative_responses`.
    kinds : mapping of str to str
        Kinds of images in order from the top, and their names.
    well_predicted : float
        Validation correlation above which a unit is filled and counts for the median.
    has_truth : bool
        Whether there is a panel of true responses.
    """
    shown = [kind for kind in kinds if kind != "mei" and (rows.image_kind == kind).any()]
    names = {"model_ratio": "model"} | ({"true_ratio": "true"} if has_truth else {})
    height = 1.15 + 0.36 * max(len(shown), 1)
    figure, axes = panels([1] * len(names), height, total=PAGE_INCHES if has_truth else 7.0)
    well = rows.ensemble_validation_corr.to_numpy(float) > well_predicted
    colours = rows.cell_kind.map(lambda kind: KIND_COLOURS.get(kind, MAIN)).to_numpy()
    spread = 0.27 * np.sin(2.4 * rows.unit_index.to_numpy(float))  # units apart, alike in all rows
    for ax, (column, what) in zip(axes, names.items(), strict=True):
        values = rows[column].to_numpy(float)
        low, high = ratio_axis(ax.xaxis, values[well] if well.any() else values)
        values = np.clip(values, low, high)
        for place, kind in enumerate(shown):
            here = (rows.image_kind == kind).to_numpy() & np.isfinite(values)
            for filled in (False, True):
                one = here & (well == filled)
                face = colours[one] if filled else "none"
                edge = colours[one] if filled else MUTED
                style = {"s": 16, "lw": 0.7, "clip_on": False, "alpha": 0.75 if filled else 0.45}
                ax.scatter(values[one], place + spread[one], c=face, edgecolors=edge, **style)
            if (here & well).any():
                median = np.median(values[here & well])
                ax.plot([median] * 2, [place - 0.36, place + 0.36], color=INK, lw=2.2)
        ax.axvline(1, color=INK, lw=1, ls="--")
        ax.set_ylim(max(len(shown), 1) - 0.5, -0.5)
        ax.set_yticks(range(len(shown)), [kinds[kind] for kind in shown] if ax is axes[0] else [])
        ax.grid(axis="x", color=FAINT, lw=0.5, alpha=0.6)
        ax.set_axisbelow(True)
        ax.tick_params(axis="y", length=0)
        label(ax, f"{what} response / {what} response to the MEI", "")
    present = [kind for kind in KIND_COLOURS if (rows.cell_kind[well] == kind).any()]
    handles = [_dot(KIND_COLOURS[kind], kind.replace("_", " ")) for kind in present]
    handles += [] if present else [_dot(MAIN, "well predicted unit")]
    handles += [
        Line2D([], [], color=MUTED, marker="o", mfc="none", lw=0, ms=4, label="not well predicted")
    ]
    handles += [Line2D([], [], color=INK, lw=2.2, label="median of well predicted units")]
    figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=8,
        fontsize=8.5,
        frameon=False,
        labelcolor=INK,
        handletextpad=0.3,
        columnspacing=1.2,
    )
    return figure


def ratio_axis(axis: Axis, values: NDArray[np.floating]) -> tuple[float, float]:
    """Make an axis logarithmic with plain numbers, from one half to two or more; return its ends.

    Parameters
    ----------
    axis : Axis
        Of x.
    values : float, (n,)
        What must be on it; NaN is left out.
    """
    known = values[np.isfinite(values)]
    low, high = known.min(initial=0.5) / 1.15, known.max(initial=2) * 1.15
    axis.axes.set_xscale("log")
    axis.axes.set_xlim(low, high)
    decades = 10.0 ** np.arange(-6, 7)
    for digits in ([1, 2, 5], [1, 3], [1]):
        steps = np.multiply.outer(decades, digits).ravel()
        steps = steps[(steps >= low) & (steps <= high)]
        if len(steps) <= MAX_TICKS:
            break
    axis.set_major_locator(FixedLocator(steps))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())
    return low, high


def _dot(colour: str, name: str, **style: Any) -> Line2D:
    return Line2D([], [], color=colour, marker="o", lw=0, ms=4.5, label=name, **style)
