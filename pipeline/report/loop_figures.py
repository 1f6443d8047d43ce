"""Figures of the closed loop: arrays in, figure out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pipeline.report.style import (
    FAINT,
    INK,
    MAIN,
    MUTED,
    PAGE_INCHES,
    SECOND,
    cycle,
    finite,
    histogram,
    label,
    legend,
    panels,
    tidy,
)
from science.closed_loop.intervals import percentile_interval
from science.monitor import MonitorCurve

Floats = NDArray[np.float64]

IN_A_ROW = 4
PANEL_INCHES = 3.3  # at most
N_BOOTSTRAP = 10_000
PIXEL_VALUES = np.arange(256)


@dataclass(frozen=True)
class Pairing:
    """What the same n cells answered to their images of two kinds.

    Attributes
    ----------
    names : (str, str)
        Of the first and the other kind.
    first, other : float64, (n,)
        Mean responses; NaN if not shown.
    better : int64, (n,)
        1 where the first kind drives the cell significantly more, -1 where the other does, else 0.
    """

    names: tuple[str, str]
    first: Floats
    other: Floats
    better: NDArray[np.int64]


def calibrations(curves: Mapping[str, tuple[Floats, Floats]]) -> Figure:
    """Plot the luminance (cd/m2) of pixel values: measured points, and the curve through them.

    Parameters
    ----------
    curves : mapping of str to (pixel_value, luminance)
        By the name of the monitor.
    """
    figure, (ax,) = panels([1], 2.6, total=4.2)
    for colour, (name, (pixel_value, luminance)) in zip(cycle(curves), curves.items(), strict=True):
        curve = MonitorCurve(pixel_value, luminance)
        ax.plot(PIXEL_VALUES, curve.luminance(PIXEL_VALUES), color=colour, lw=1.6, label=name)
        ax.plot(pixel_value, luminance, ".", color=colour, ms=5)
    label(ax, "pixel value", "luminance (cd/m²)")
    legend(ax, loc="upper left")
    return figure


def match_quality(
    distance: Floats, right: Sequence[bool | None], correlations: Floats | None
) -> Figure:
    """Plot how far matched cells lie apart, and how alike they answer to the same images.

    Parameters
    ----------
    distance : float64, (n,)
        um.
    right : sequence of bool or None, (n,)
        None where the truth is not known. Wrong matches are drawn apart.
    correlations : float64, (n, n), optional
        Of source cell i with the match of source cell j; NaN: not known. None: not computed.
    """
    known = correlations is not None and bool(np.isfinite(np.diag(correlations)).any())
    figure, axes = panels([1, 1.25], 2.6, total=8.4) if known else panels([1], 2.6, total=4.2)
    _distances(axes[0], distance, right)
    if known:
        _correlations(axes[1], correlations)
    return figure


def _distances(ax: Axes, distance: Floats, right: Sequence[bool | None]) -> None:
    bins = np.histogram_bin_edges(distance, 20)
    wrong = np.array([r is not None and not r for r in right], bool)
    known = any(r is not None for r in right)
    histogram(ax, distance[~wrong], bins, label="right" if known else "truth unknown")
    if wrong.any():
        histogram(ax, distance[wrong], bins, color=SECOND, label="wrong")
    label(ax, "distance to the matched cell (µm)", "cells")
    legend(ax, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)


def _correlations(ax: Axes, correlations: Floats) -> None:
    """Draw the diagonal against the rest, each as a fraction of its own number."""
    own = np.eye(len(correlations), dtype=bool)
    bins = np.linspace(-1, 1, 41)
    for values, colour, name in (
        (finite(correlations[~own]), MUTED, "other pairs"),
        (finite(correlations[own]), MAIN, "matched cells"),
    ):
        weights = np.full(len(values), 1 / max(len(values), 1))
        histogram(
            ax,
            values,
            bins,
            weights=weights,
            color=colour,
            alpha=0.6,
            label=f"{name} ({len(values):,})".replace(",", "\u202f"),
        )
    ax.yaxis.set_major_locator(MaxNLocator(5))
    label(ax, "correlation over the same natural images", "fraction of pairs")
    legend(ax, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)


def confusions(matrices: Mapping[str, Floats]) -> Figure:
    """Show confusion matrices side by side, rows divided by their maxima (Walker et al. 2019).

    Rows without a positive maximum, which cannot be divided by it, stay empty.

    Parameters
    ----------
    matrices : mapping of str to float64, (n, n)
        By their titles, of the same cells in the same order; NaN where nothing was shown.
    """
    shown = {title: _row_scaled(mean) for title, mean in matrices.items()}
    low = min(0.0, *(np.nanmin(matrix, initial=0) for matrix in shown.values()))
    figure, axes = _grid(len(shown), 0.95)
    for i, (ax, (title, matrix)) in enumerate(zip(axes, shown.items(), strict=True)):
        drawn = ax.imshow(matrix, cmap="magma", vmin=low, vmax=1, interpolation="none")
        label(ax, "image made for neuron", "" if i % _columns(len(shown)) else "neuron", title)
        ax.spines[:].set_visible(False)
        ax.set_facecolor("#eef1f4")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(5, integer=True))
    bar = figure.colorbar(drawn, ax=axes, shrink=0.8, pad=0.02, aspect=25)
    bar.set_label("mean response / row maximum", fontsize=9, color=INK)
    bar.ax.tick_params(labelsize=8.5, colors=MUTED)
    bar.outline.set_visible(False)
    return figure


def _row_scaled(mean: Floats) -> Floats:
    largest = np.where(np.isnan(mean), -np.inf, mean).max(1, keepdims=True, initial=-np.inf)
    return np.where(largest > 0, mean / np.where(largest > 0, largest, 1), np.nan)


def population(diagonals: Mapping[str, Floats], unit: str) -> Figure:
    """Plot mean responses of cells to their own images, with 95 % bootstrap intervals.

    Parameters
    ----------
    diagonals : mapping of str to float64, (n,)
        Responses of the same cells by kind of image; NaN where not shown. Only cells with all
        kinds enter.
    unit : str
        Of the responses.
    """
    responses = np.array(list(diagonals.values()))
    responses = responses[:, np.isfinite(responses).all(axis=0)]
    n = responses.shape[1]
    places = np.arange(len(responses))
    figure, (ax,) = panels([1], 0.9 + 0.3 * len(places), total=6.0)
    for place, values in enumerate(responses if n else ()):
        rng = np.random.default_rng(0)  # the same cells are drawn for every kind
        interval = percentile_interval(np.mean, values, n_bootstrap=N_BOOTSTRAP, rng=rng)
        ax.plot(interval, [place, place], color=MAIN, lw=2)
        ax.plot(values.mean(), place, "o", color=MAIN, ms=6)
    ax.set_yticks(places, list(diagonals))
    ax.set_ylim(len(places) - 0.5, -0.5)
    if n and responses.min() >= 0:
        ax.set_xlim(left=0)
    label(ax, f"mean response of {n} cells to their own images ({unit})", "")
    return figure


def pairs(pairings: Sequence[Pairing]) -> Figure:
    """Plot the responses of every cell to its images of two kinds against each other."""
    figure, axes = _grid(len(pairings), 0.85)
    for ax, pair in zip(axes, pairings, strict=True):
        _scatter(ax, pair)
    return figure


def _scatter(ax: Axes, pair: Pairing) -> None:
    known = np.isfinite(pair.first) & np.isfinite(pair.other)
    for better, colour, edge, name in (
        (0, FAINT, MUTED, "neither"),
        (1, MAIN, "white", "more"),
        (-1, SECOND, "white", "less"),
    ):
        here = (pair.better == better) & known
        style = {"s": 24, "color": colour, "edgecolor": edge, "lw": 0.5}
        ax.scatter(pair.other[here], pair.first[here], label=f"{here.sum()} {name}", **style)
    values = np.concatenate([pair.first[known], pair.other[known]])
    low, high = min(values.min(initial=0), 0), values.max(initial=0)
    margin = 0.05 * (high - low) or 1
    limits = low - margin, high + margin
    ax.plot(limits, limits, color=MUTED, lw=0.8, ls="--", zorder=0)
    ax.set(xlim=limits, ylim=limits, box_aspect=1)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    label(ax, *reversed(pair.names))
    spacing = {"handletextpad": 0.0, "columnspacing": 0.6, "borderpad": 0.0}
    legend(ax, loc="lower left", bbox_to_anchor=(0, 1.01), ncols=3, **spacing)


def _columns(n: int) -> int:
    return n if n <= IN_A_ROW else 3


def _grid(n: int, extra: float) -> tuple[Figure, list[Axes]]:
    """Make a figure of `n` square panels in rows, `extra` inches higher each."""
    columns = _columns(n)
    rows = -(-n // columns)
    total = min(PAGE_INCHES, 0.8 + PANEL_INCHES * columns)
    height = rows * ((total - 0.8) / columns - 0.4 + extra)
    figure = Figure(figsize=(total, height), layout="constrained", facecolor="white")
    figure.get_layout_engine().set(h_pad=0.08)
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for ax in axes[:n]:
        tidy(ax)
    for ax in axes[n:]:
        ax.set_axis_off()
    return figure, axes[:n]
