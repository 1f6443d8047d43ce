"""The look that all figures share."""

from collections.abc import Sequence, Sized
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray

INK, MUTED, FAINT = "#1c2733", "#64748b", "#cbd5e1"
MAIN, SECOND, THIRD, FOURTH = "#0f766e", "#c2571a", "#5b5bd6", "#a8326e"
COLOURS = (MAIN, SECOND, THIRD, FOURTH, "#7a8b2a", "#3b82a0", "#8a6d3b", "#475569")
KIND_COLOURS = {
    "simple": THIRD,
    "complex": FOURTH,
    "curved": COLOURS[4],
    "crossed": COLOURS[5],
    "suppressed": COLOURS[6],
    "two_subunits": SECOND,
    "undriven": MUTED,
}
PAGE_INCHES = 10.4  # width of a full figure; one inch is 100 px on the page


def panels(
    widths: Sequence[float], height: float, *, total: float = PAGE_INCHES
) -> tuple[Figure, list[Axes]]:
    """Make a figure with one row of panels.

    Parameters
    ----------
    widths : sequence of float
        Relative widths of the panels.
    height, total : float
        Of the figure, inches.
    """
    figure = Figure(figsize=(total, height), layout="constrained", facecolor="white")
    axes = figure.subplots(1, len(widths), squeeze=False, width_ratios=list(widths))[0]
    for ax in axes:
        tidy(ax)
    return figure, list(axes)


def tidy(ax: Axes) -> None:
    """Leave of the frame what is read off: left and bottom."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(FAINT)
    ax.tick_params(colors=MUTED, labelsize=8.5, length=3)


def label(ax: Axes, x: str, y: str, title: str = "") -> None:
    """Label the axes."""
    ax.set_xlabel(x, fontsize=9, color=INK)
    ax.set_ylabel(y, fontsize=9, color=INK)
    if title:
        ax.set_title(title, fontsize=10, color=INK, loc="left", fontweight="bold")


def picture(ax: Axes, image: NDArray[np.number], low: float = 0.0, high: float = 255.0) -> None:
    """Show a grey image without axes."""
    ax.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_color(FAINT)
    ax.spines[:].set_visible(True)


def histogram(ax: Axes, values: ArrayLike, bins: ArrayLike | int, **style: Any) -> None:
    """Draw a histogram of the finite values."""
    values = finite(values)
    style = {"color": MAIN, "alpha": 0.85, "edgecolor": "white", "linewidth": 0.6} | style
    if len(values):
        ax.hist(values, bins=bins, **style)
        ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    else:
        ax.text(0.5, 0.5, "none", transform=ax.transAxes, ha="center", color=MUTED, fontsize=9)


def finite(values: ArrayLike) -> NDArray[np.float64]:
    """Return the finite ones of numbers, None and NaN."""
    values = np.asarray(values, np.float64).ravel()
    return values[np.isfinite(values)]


def legend(ax: Axes, **where: Any) -> None:
    """Name what is drawn, if anything is."""
    if "handles" in where or ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize=8.5, frameon=False, labelcolor=INK, **where)


def cycle(items: Sized) -> list[str]:
    """Return a colour for each item."""
    return [COLOURS[i % len(COLOURS)] for i in range(len(items))]


def log_axis(ax: Axes) -> None:
    """Make the vertical axis logarithmic, with numbers to read also on less than a decade."""
    ax.set_yscale("log")
    low, high = ax.get_ylim()
    steps = (1, 2, 3, 5, 7) if high < 8 * low else (1, 2, 5)
    ticks = [step * 10.0**exponent for exponent in range(-4, 5) for step in steps]
    if high < 100 * low:
        ax.set_yticks([tick for tick in ticks if low <= tick <= high])
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())
