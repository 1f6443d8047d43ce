"""Figures of sweeps of efficient codes over target rates: arrays in, figure out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray

from pipeline.report.style import FAINT, INK, MUTED, cycle, finite, label, legend, panels

Floats = NDArray[np.float64]

FEW_DECADES = 30.0
"""Ratio of the ends of an axis up to which powers of ten are too few numbers to read."""
SUMMARIES = {
    "mutual_information": ("Information", "nats"),
    "word_prior_entropy": ("Entropy of the word prior", "nats"),
    "posterior_mse": ("Squared error", "unit of the stimulus, squared"),
    "generative_divergence": ("Generated law", "KL divergence (nats)"),
}
"""What is drawn over the rate: columns of codes, their titles, and what the axis says."""


@dataclass(frozen=True)
class CodeCurve:
    """The training of one code, nats.

    Attributes
    ----------
    target_rate : float
    values : float64, (3, n_epochs)
        Distortion and rate, means over the batches of an epoch, and multiplier of the rate; NaN
        where they were not finite.
    """

    target_rate: float
    values: Floats


def rate_colours(targets: Sequence[float]) -> dict[float, str]:
    """Return a colour for each target rate, from dark at the lowest to light at the highest."""
    ordered = sorted(set(targets))
    places = np.linspace(0.02, 0.86, len(ordered)) if len(ordered) > 1 else [0.4]
    return {t: to_hex(colormaps["viridis"](p)) for t, p in zip(ordered, places, strict=True)}


def rate_distortion(sweeps: Mapping[str, pd.DataFrame], entropy: float) -> Figure:
    """Plot codes in the plane of rate and distortion, and how far they are above the ideal line.

    Parameters
    ----------
    sweeps : mapping of str to DataFrame
        By the name of the network; a row per code, with `sweep_target_rate`, `analysed_rate`,
        `analysed_distortion`, `excess` (nats) and `on_front`.
    entropy : float
        H, of the stimulus prior, nats: the ideal line is D = H - R.
    """
    figure, (plane, above) = panels([1.15, 1], 3.9)
    every = pd.concat(sweeps.values())
    low, high = 0.0, 1.06 * every.analysed_rate.max()
    plane.plot([low, high], [entropy - low, entropy - high], color=INK, lw=1, ls="--", zorder=1)
    above.axhline(0, color=INK, lw=1, ls="--", zorder=1)
    for colour, (name, codes) in zip(cycle(sweeps), sweeps.items(), strict=True):
        for ax, value in ((plane, "analysed_distortion"), (above, "excess")):
            style = {"ls": "none", "marker": "o", "color": colour, "zorder": 4}
            ax.plot(codes.analysed_rate, codes[value], ms=3.5, mew=0, alpha=0.45, **style)
            _means(ax, codes, "analysed_rate", value, colour, name, marker="")
            front = codes[codes.on_front.astype(bool)]
            ax.plot(front.analysed_rate, front[value], ms=5.5, mec=INK, mew=0.9, **style)
    plane.plot([], [], "o", ms=5.5, mfc="white", mec=INK, mew=0.9, label="no other code is better")
    plane.plot([], [], color=INK, lw=1, ls="--", label="ideal: D = H \u2212 R")
    for ax in (plane, above):
        ax.set_xlim(low, high)
        ax.yaxis.set_major_locator(MaxNLocator(6))
    label(plane, "rate R (nats)", "distortion D (nats)", "Rate and distortion")
    label(above, "rate R (nats)", "D + R \u2212 H (nats)", "Excess over the ideal line")
    legend(plane, loc="upper right")
    return figure


def _means(
    ax: Axes, codes: pd.DataFrame, x: str, y: str, colour: str, name: str, marker: str = "o"
) -> None:
    """Plot mean and standard deviation over the seeds of every target rate."""
    seeds = codes.groupby("sweep_target_rate")[[x, y]]
    mean, sd = seeds.mean(), seeds.std().fillna(0)
    style = {"color": colour, "lw": 1.5, "elinewidth": 1, "capsize": 2, "marker": marker, "ms": 4}
    ax.errorbar(mean[x], mean[y], sd[y], sd[x], label=name, zorder=3, **style)


def summaries(sweeps: Mapping[str, pd.DataFrame]) -> Figure:
    """Plot what words carry, how likely they are, and what is decoded, over the rate.

    Parameters
    ----------
    sweeps : mapping of str to DataFrame
        As of `rate_distortion`, with the columns of `SUMMARIES`.
    """
    figure, axes = panels([1] * len(SUMMARIES), 2.9)
    for ax, (value, (title, unit)) in zip(axes, SUMMARIES.items(), strict=True):
        for colour, (name, codes) in zip(cycle(sweeps), sweeps.items(), strict=True):
            _means(ax, codes, "analysed_rate", value, colour, name)
        label(ax, "rate R (nats)", unit, title)
        ax.yaxis.set_major_locator(MaxNLocator(6))
    reach = axes[0].get_xlim()
    axes[0].plot(reach, reach, color=INK, lw=1, ls="--", zorder=1, label="all of the rate")
    axes[0].set_xlim(reach)
    below(figure, axes[0])
    return figure


def below(figure: Figure, ax: Axes) -> None:
    """Name what is drawn below all panels."""
    handles, names = ax.get_legend_handles_labels()
    style = {"fontsize": 8.5, "frameon": False, "labelcolor": INK}
    figure.legend(handles, names, loc="outside lower left", ncols=4, **style)


def training_curves(curves: Sequence[CodeCurve]) -> Figure:
    """Plot rate, distortion and multiplier over the epochs, a line per code of a seed.

    Parameters
    ----------
    curves : sequence of CodeCurve
        One per target rate, at least one.
    """
    figure, (rate, distortion, multiplier) = panels([1, 1, 1], 3.1)
    colours = rate_colours([curve.target_rate for curve in curves])
    for curve in sorted(curves, key=lambda curve: curve.target_rate):
        style = {"color": colours[curve.target_rate], "lw": 1.5}
        text = f"{curve.target_rate:g} nats"
        rate.axhline(curve.target_rate, lw=1, ls="--", color=style["color"], alpha=0.6, zorder=0)
        for ax, values in zip((distortion, rate, multiplier), curve.values, strict=True):
            ax.plot(np.arange(1, len(values) + 1), values, label=text, **style)
    _within(distortion, [curve.values[0] for curve in curves], [])
    _within(rate, [curve.values[1] for curve in curves], [*colours])
    for ax in (rate, distortion, multiplier):
        ax.set_xlim(1, max(2, *(curve.values.shape[1] for curve in curves)))
        logarithmic(ax, "x")
    multiplier.axhline(1, color=MUTED, lw=1, ls="--", zorder=0)
    label(rate, "epoch", "rate (nats)", "Rate, and its target")
    label(distortion, "epoch", "distortion (nats)", "Distortion")
    label(multiplier, "epoch", "multiplier \u03b2", "Multiplier of the rate")
    figure.legend(
        *multiplier.get_legend_handles_labels(),
        loc="outside right center",
        title="target rate",
        title_fontsize=8.5,
        fontsize=8.5,
        frameon=False,
        labelcolor=INK,
    )
    return figure


def _within(ax: Axes, curves: Sequence[ArrayLike], also: Sequence[float]) -> None:
    """Leave out of the picture how far the first epochs are off."""
    later = [finite(np.asarray(curve)[len(curve) // 20 :]) for curve in curves]
    values = np.concatenate([*later, also])
    if len(values):
        low, high = values.min(), values.max()
        ax.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low))


def logarithmic(ax: Axes, axes: str = "xy") -> None:
    """Make axes logarithmic once their limits are set, with numbers to read also on few decades."""
    for name in axes:
        getattr(ax, f"set_{name}scale")("log")
        axis = getattr(ax, f"{name}axis")
        axis.set_major_formatter("{x:g}")
        axis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
        low, high = getattr(ax, f"get_{name}lim")()
        axis.set_minor_formatter("{x:g}" if high < FEW_DECADES * low else NullFormatter())
        axis.set_tick_params(which="minor", labelsize=8.5, labelcolor=MUTED, color=FAINT)
