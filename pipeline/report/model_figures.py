"""Figures of models: arrays in, figure out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray

from pipeline.report.style import (
    FAINT,
    INK,
    MAIN,
    MUTED,
    PAGE_INCHES,
    cycle,
    finite,
    histogram,
    label,
    legend,
    panels,
    tidy,
)

FIT = "poisson"  # the term of the loss that is no regulariser


@dataclass(frozen=True)
class LearningCurve:
    """Training of one network.

    Attributes
    ----------
    seed : int
    epochs : int, (n,)
    score : float, (n,)
        Validation correlation after the epoch.
    loss : float, (n,)
        Mean training loss, all terms.
    terms : mapping of str to float, (n,)
        The terms of the loss: `FIT`, and the regularisers by name.
    best_epoch : int
    """

    seed: int
    epochs: NDArray[np.integer]
    score: NDArray[np.float64]
    loss: NDArray[np.float64]
    terms: Mapping[str, NDArray[np.float64]]
    best_epoch: int


def learning_curves(models: Mapping[str, Sequence[LearningCurve]]) -> Figure:
    """Plot validation score, training loss and regularisers by epoch; a row per model.

    Score and loss have a colour per seed, the terms of the loss are means over the seeds.
    """
    figure = Figure(
        figsize=(PAGE_INCHES, 2.5 * len(models)), layout="constrained", facecolor="white"
    )
    rows = figure.subplots(len(models), 3, squeeze=False)
    for axes, (name, curves) in zip(rows, models.items(), strict=True):
        for ax, title in zip(axes, ("validation correlation", "training loss", ""), strict=True):
            tidy(ax)
            ax.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
            label(ax, "epoch", title, name if ax is axes[0] else "")
        terms = _mean_terms(curves)
        _seeds(axes[0], axes[1], curves)
        if FIT in terms:
            axes[1].plot(terms.index, terms[FIT], color=INK, lw=1.2, ls="--", label="Poisson term")
        legend(axes[0], loc="lower right")
        legend(axes[1], loc="upper right")
        _regularizers(axes[2], terms.drop(columns=FIT, errors="ignore"))
    return figure


def _mean_terms(curves: Sequence[LearningCurve]) -> pd.DataFrame:
    """Mean of every term over the seeds that trained for as long, by epoch."""
    terms = [pd.DataFrame(dict(c.terms), index=c.epochs, dtype=float) for c in curves]
    return pd.concat(terms).groupby(level=0).mean()


def _seeds(left: Axes, right: Axes, curves: Sequence[LearningCurve]) -> None:
    for colour, curve in zip(cycle(curves), curves, strict=True):
        left.plot(curve.epochs, curve.score, color=colour, lw=1.6, label=f"seed {curve.seed}")
        best = curve.epochs == curve.best_epoch
        left.plot(curve.epochs[best], curve.score[best], "o", color=colour, ms=5)
        right.plot(curve.epochs, curve.loss, color=colour, lw=1.6)


def _regularizers(ax: Axes, terms: pd.DataFrame) -> None:
    """Draw on a logarithmic axis; what cannot be drawn on it is only named."""
    ax.set_ylabel("regularisers", fontsize=9, color=INK)
    positive = terms.where(terms > 0)
    for colour, (name, values) in zip(cycle(terms.columns), positive.items(), strict=True):
        text = str(name).replace("_", " ")
        if values.isna().all():
            text += ": zero" if (terms[name] == 0).any() else ": not finite"
        ax.plot(terms.index, values, color=colour, lw=1.6, label=text)
    if positive.notna().any(axis=None):
        exponents = np.floor(np.log10(positive))
        ax.set(
            yscale="log",
            ylim=(10 ** exponents.min(axis=None), 10 ** (exponents.max(axis=None) + 1)),
        )
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter(NullFormatter())
    legend(ax, loc="best")


def prediction(
    validation: Mapping[str, ArrayLike], normed: Mapping[str, ArrayLike], threshold: float
) -> Figure:
    """Plot distributions over units of validation correlation and noise-corrected correlation.

    Parameters
    ----------
    validation, normed : mapping of str to float (n_units,)
        By model, units in the same order. The first two are also plotted against each other.
    threshold : float
        Validation correlation from which on a unit counts as well predicted.
    """
    pair = list(validation)[:2] if len(validation) > 1 else []
    figure, axes = panels([1.2, 1.2, 1] if pair else [1, 1], 2.9)
    for ax, scores in zip(axes, (validation, normed), strict=False):
        bins = np.histogram_bin_edges(np.concatenate([finite(s) for s in scores.values()]), 24)
        for colour, (name, values) in zip(cycle(scores), scores.items(), strict=True):
            histogram(ax, values, bins, color=colour, alpha=0.55, label=name)
            if len(finite(values)):
                ax.axvline(np.median(finite(values)), color=colour, lw=1.4)
    axes[0].axvline(threshold, color=INK, lw=1, ls="--")
    label(axes[0], "validation correlation, single trials", "units")
    label(axes[1], "noise-corrected correlation CC norm, test images", "units")
    legend(axes[1], loc="upper left")
    if pair:
        first, second = (np.asarray(validation[name], float) for name in pair)
        axes[2].plot([-0.1, 1], [-0.1, 1], color=FAINT, lw=1)
        axes[2].scatter(second, first, s=13, color=MAIN, lw=0, alpha=0.8)
        label(axes[2], f"{pair[1]}", f"{pair[0]}")
        axes[2].set_aspect("equal")
    return figure


def receptive_fields(
    centres: NDArray[np.floating],
    area: Sequence[str],
    image_shape: tuple[int, int],
    degrees: tuple[NDArray[np.floating], NDArray[np.floating]] | None = None,
) -> Figure:
    """Plot centres of receptive fields on the frame of the image, coloured by area.

    Parameters
    ----------
    centres : float, (n_units, 2)
        x and y, pixels; the centre of the top left pixel is (0, 0).
    area : sequence of str, (n_units,)
    image_shape : (h, w)
    degrees : (w + 1,) and (h + 1,), optional
        Visual angles of the edges of columns and rows.
    """
    figure, (ax,) = panels([1], 3.6, total=6.4)
    names = sorted(set(area))
    for colour, name in zip(cycle(names), names, strict=True):
        here = np.asarray(area) == name
        size = 16 if len(area) < 1000 else 5
        ax.scatter(*centres[here].T, s=size, color=colour, alpha=0.7, lw=0, label=name)
    height, width = image_shape
    ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), aspect="equal")
    ax.spines[:].set_visible(True)
    ax.spines[:].set_color(FAINT)
    label(ax, "x (px)", "y (px)")
    if degrees is not None:
        top, right = ax.secondary_xaxis("top"), ax.secondary_yaxis("right")
        _mark_degrees(top.xaxis, degrees[0])
        _mark_degrees(right.yaxis, degrees[1])
        label(top, "right of the middle (°)", "")
        label(right, "", "below the middle (°)")
        for other in (top, right):
            other.tick_params(colors=MUTED, labelsize=8.5, length=3)
            other.spines[:].set_color(FAINT)
    if names:
        figure.legend(
            *ax.get_legend_handles_labels(),
            loc="outside upper left",
            ncols=5,
            fontsize=8.5,
            frameon=False,
            labelcolor=INK,
            handletextpad=0.1,
        )
    return figure


def _mark_degrees(axis: Axis, degrees: NDArray[np.floating]) -> None:
    """Mark round angles on an axis in pixels, whose edges lie at these angles."""
    low, high = degrees[[0, -1]]
    angles = MaxNLocator(7, steps=[1, 2, 5, 10]).tick_values(low, high)
    angles = angles[(low <= angles) & (angles <= high)]
    places = np.interp(angles, degrees, np.arange(len(degrees)) - 0.5)
    axis.set_ticks(places, [f"{angle:g}".replace("-", "\u2212") for angle in angles])
