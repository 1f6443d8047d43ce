"""Figures of populations: arrays in, figure out."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from pipeline.report.style import (
    FAINT,
    INK,
    MAIN,
    MUTED,
    SECOND,
    cycle,
    finite,
    histogram,
    label,
    legend,
    panels,
    picture,
)


def sample_images(images: Sequence[NDArray[np.number]], columns: int = 8) -> Figure:
    """Show images of any sizes, grey values 0-255, as a contact sheet."""
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    aspect = images[0].shape[0] / images[0].shape[1]
    figure = Figure(
        figsize=(1.3 * columns, 1.3 * rows * aspect), layout="constrained", facecolor="white"
    )
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(images) :]:
        ax.set_axis_off()
    for ax, image in zip(axes, images, strict=False):
        picture(ax, image)
    return figure


def mean_responses(responses: Mapping[str, ArrayLike]) -> Figure:
    """Plot a histogram of each unit's mean response, one colour per recording."""
    figure, (ax,) = panels([1], 2.7, total=5.0)
    bins = np.histogram_bin_edges(np.concatenate([finite(r) for r in responses.values()]), 24)
    for colour, (name, values) in zip(cycle(responses), responses.items(), strict=True):
        histogram(ax, values, bins, color=colour, alpha=0.6, label=name)
    label(ax, "mean response per trial", "units")
    legend(ax, loc="lower left", bbox_to_anchor=(0, 1), ncols=4)
    return figure


def cell_positions(xyz: NDArray[np.floating], area: Sequence[str]) -> Figure:
    """Plot positions of the units (n, 3), um, coloured by area: x-y and x-z."""
    figure, axes = panels([1, 1], 2.7, total=5.0)
    names = sorted(set(area))
    for ax, other, name in zip(axes, (1, 2), "yz", strict=True):
        for colour, chosen in zip(cycle(names), names, strict=True):
            here = np.asarray(area) == chosen
            ax.scatter(xyz[here, 0], xyz[here, other], s=13, color=colour, label=chosen, lw=0)
        label(ax, "x (µm)", f"{name} (µm)")
        ax.set_aspect("equal", "datalim")
    axes[1].invert_yaxis()
    legend(axes[0], loc="upper left", bbox_to_anchor=(0, 1.16), ncols=4, handletextpad=0.1)
    return figure


def reliability(
    oracle: ArrayLike, fev: ArrayLike, cc_max: ArrayLike, reliable: NDArray[np.bool_]
) -> Figure:
    """Plot distributions of oracle, FEV and CC max over units, and oracle against FEV."""
    figure, axes = panels([1, 1, 1, 1.25], 2.7)
    shown = (("oracle", oracle), ("FEV", fev), ("CC max", cc_max))
    for ax, (name, values) in zip(axes, shown, strict=False):
        values = np.asarray(values, np.float64)
        bins = np.histogram_bin_edges(finite(values), 20)
        histogram(ax, values[reliable], bins, label="reliable")
        if not reliable.all():
            histogram(ax, values[~reliable], bins, color=FAINT, label="not reliable")
        label(ax, name, "units" if name == "oracle" else "")
        median = np.median(finite(values)) if len(finite(values)) else np.nan
        ax.axvline(median, color=INK, lw=1, ls=":")
    for chosen, colour, name in ((reliable, MAIN, "reliable"), (~reliable, MUTED, "not reliable")):
        x, y = np.asarray(oracle, float)[chosen], np.asarray(fev, float)[chosen]
        axes[3].scatter(x, y, s=14, color=colour, lw=0, alpha=0.8, label=name)
    label(axes[3], "oracle", "FEV")
    legend(axes[3], loc="upper left", handletextpad=0.1)
    return figure


def raster(scaled: NDArray[np.floating]) -> Figure:
    """Show z-scored responses (n_trials, n_units) as a grey raster, a row per unit."""
    figure, (ax,) = panels([1], 3.2)
    ax.imshow(scaled.T, cmap="gray_r", vmin=0, vmax=3, aspect="auto", interpolation="none")
    label(ax, "trial", "unit")
    return figure


def correlation_matrix(correlations: NDArray[np.floating]) -> Figure:
    """Show correlations (n_units, n_units)."""
    figure, (ax,) = panels([1], 4.4, total=5.0)
    shown = ax.imshow(correlations, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="none")
    figure.colorbar(shown, ax=ax, shrink=0.8, label="correlation")
    label(ax, "unit", "unit")
    return figure


def oracle_against(
    oracle: NDArray[np.floating],
    others: Mapping[str, NDArray[np.floating]],
    anomalous: NDArray[np.bool_],
) -> Figure:
    """Plot the oracle of every unit against other numbers of it, a panel each."""
    figure, axes = panels([1] * len(others), 2.9, total=8.0)
    for ax, (name, values) in zip(axes, others.items(), strict=True):
        for chosen, colour, kind in ((~anomalous, MAIN, "usual"), (anomalous, SECOND, "anomalous")):
            ax.scatter(values[chosen], oracle[chosen], s=14, color=colour, lw=0, label=kind)
        label(ax, name, "oracle")
    legend(axes[0], loc="lower left", bbox_to_anchor=(0, 1), ncols=2, handletextpad=0.1)
    return figure


def masks(
    sizes: NDArray[np.floating], ratios: ArrayLike, n_pixels: int, target: float | None
) -> Figure:
    """Plot distributions of mask sizes (px of an image of `n_pixels`) and reduction ratios.

    The target is that of tight masks, whose ratio is to the response before erosion.
    """
    figure, axes = panels([1, 1], 2.5, total=8)
    histogram(axes[0], sizes, 20)
    label(axes[0], f"size of the mask (px of {n_pixels})", "units")
    histogram(axes[1], ratios, 20)
    reference = "without mask" if target is None else "before erosion"
    label(axes[1], f"reduction ratio: masked activation / {reference}", "units")
    axes[1].xaxis.set_major_locator(MaxNLocator(6))
    if target is not None:
        axes[1].axvline(target, color=INK, lw=1, ls="--")
    return figure
