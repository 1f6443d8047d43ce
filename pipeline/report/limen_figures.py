"""Figures of listeners' frequency difference limens and what codes predict: figures out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.report.coding_figures import logarithmic, rate_colours
from pipeline.report.style import INK, label, panels

Floats = NDArray[np.float64]

OCTAVES = 125.0 * 2.0 ** np.arange(-2, 8)
"""Frequencies that are named, Hz."""
MARKERS = ("o", "s", "^", "D", "v", "P")


@dataclass(frozen=True)
class PredictedLimens:
    """Limens that the codes of a target rate predict, scaled to those of listeners.

    Attributes
    ----------
    target_rate : float
        Nats.
    limens : dict of str to float64, (n,)
        Hz, at the frequencies asked for, by the kind of error, the same kinds for all rates.
    """

    target_rate: float
    limens: Mapping[str, Floats]


def limens(
    listeners: Mapping[str, tuple[Floats, Floats]],
    frequencies: Floats,
    predictions: Sequence[PredictedLimens],
    classical: Floats,
) -> Figure:
    """Plot limens of listeners and scaled predictions in log-log, a panel per kind of error.

    Parameters
    ----------
    listeners : mapping of str to (float64, float64), (n_limens,) each
        Frequencies and limens by listener, Hz.
    frequencies : float64, (n,)
        Of the predictions, Hz.
    predictions : sequence of PredictedLimens
        At least one.
    classical : float64, (n,)
        1 / pi(f), scaled, Hz.
    """
    kinds = list(predictions[0].limens)
    figure, axes = panels([1] * len(kinds), 4.2)
    colours = rate_colours([p.target_rate for p in predictions])
    every = np.concatenate([values for _, values in listeners.values()])
    for ax, kind in zip(axes, kinds, strict=True):
        for p in predictions:
            text = f"{p.target_rate:g} nats"
            ax.plot(frequencies, p.limens[kind], color=colours[p.target_rate], lw=1.3, label=text)
        ax.plot(frequencies, classical, color=INK, lw=1.3, ls="--", label="1 / \u03c0(f)")
        for i, (name, (at, values)) in enumerate(listeners.items()):
            style = {"ls": "none", "marker": MARKERS[i % len(MARKERS)], "ms": 5.5, "zorder": 3}
            ax.plot(at, values, mfc="white", mec=INK, mew=1.1, label=name, **style)
        ax.set_ylim(every.min() / 3, every.max() * 3)
        logarithmic(ax)
        ax.set_xticks(OCTAVES)
        ax.set_xticks([], minor=True)
        ax.set_xlim(frequencies[0] / 1.2, frequencies[-1] * 1.2)
        label(
            ax,
            "frequency (Hz)",
            "limen (Hz)" if ax is axes[0] else "",
            kind,
        )
    handles, names = axes[0].get_legend_handles_labels()
    style = {"fontsize": 8.5, "frameon": False, "labelcolor": INK}
    figure.legend(handles, names, loc="outside right center", **style)
    return figure
