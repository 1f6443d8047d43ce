"""Figures of efficient codes of a few target rates beside each other: arrays in, figure out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.report.coding_figures import below, logarithmic
from pipeline.report.numbers import number
from pipeline.report.style import (
    FAINT,
    INK,
    MAIN,
    MUTED,
    PAGE_INCHES,
    SECOND,
    cycle,
    label,
    panels,
    tidy,
)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class StimulusAxis:
    """Stimuli, and how likely they are.

    Attributes
    ----------
    name, unit : str
        The unit is empty where there is none.
    x, prior : float64, (n_x,)
        Increasing, and pi(x).
    limits : tuple of float
        Of what is drawn.
    logarithmic : bool
        Whether axes of it are.
    """

    name: str
    unit: str
    x: Floats
    prior: Floats
    limits: tuple[float, float]
    logarithmic: bool = False

    def of(self, name: str, power: str = "") -> str:
        """Return the name of something with the unit of the stimulus, or a power of it."""
        return f"{name} ({self.unit}{power})" if self.unit else name

    def draw(self, ax: Axes) -> None:
        """Set scale and limits of the horizontal axis."""
        ax.set_xlim(*self.limits)
        if self.logarithmic:
            logarithmic(ax, "x")


@dataclass(frozen=True)
class TunedCode:
    """The tuning of one code.

    Attributes
    ----------
    title : str
    spike_probability : float64, (n_x, n_neurons)
        At the stimuli of the axis, neurons in order of their preferred stimulus.
    preferred : dict of int to float64, (n_neurons,)
        Preferred stimuli in order, of the codes of all seeds; first of the one that is drawn.
    """

    title: str
    spike_probability: Floats
    preferred: Mapping[int, Floats]


@dataclass(frozen=True)
class DecodedCodes:
    """What is decoded from the codes of one target rate, (n_seeds, n_x) at the stimuli of the axis.

    Attributes
    ----------
    title : str
    posterior, sampling : float64
        Squared errors of the decoded mean, and of a draw from the decoded law.
    bound : float64
        Cramer-Rao bound at the bias of the decoder.
    generated : float64
        Density that word prior and decoder generate.
    """

    title: str
    posterior: Floats
    sampling: Floats
    bound: Floats
    generated: Floats


@dataclass(frozen=True)
class FittedLaw:
    """What may be a power of the prior.

    Attributes
    ----------
    prior, value : float64, (n,)
        Positive.
    kept : bool, (n,)
        Those that the power law was fitted to.
    exponent, prefactor : float
        Of value = prefactor * prior ** exponent; NaN without a fit.
    interval : tuple of float
        95 % of the exponent; NaN where unknown.
    """

    prior: Floats
    value: Floats
    kept: NDArray[np.bool_]
    exponent: float = np.nan
    prefactor: float = np.nan
    interval: tuple[float, float] = (np.nan, np.nan)


def tuning(axis: StimulusAxis, codes: Sequence[TunedCode]) -> Figure:
    """Plot tuning curves over the prior, and the preferred stimuli of all seeds below."""
    n_seeds = max(len(code.preferred) for code in codes)
    strip_height = 0.25 + 0.13 * n_seeds
    size = (PAGE_INCHES, 3.3 + strip_height)
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    axes = figure.subplots(
        2, len(codes), squeeze=False, sharex=True, sharey="row", height_ratios=[2.3, strip_height]
    )
    for (ax, strip), code in zip(axes.T, codes, strict=True):
        tidy(ax)
        tidy(strip)
        _prior(ax, axis, 0.96 / axis.prior.max())
        colours = cycle(code.spike_probability.T)
        for colour, probability in zip(colours, code.spike_probability.T, strict=True):
            ax.plot(axis.x, probability, color=colour, lw=1.5)
        for row, preferred in enumerate(code.preferred.values()):
            strip.scatter(preferred, np.full(len(preferred), row), marker="|", s=34, c=colours)
        axis.draw(ax)
        ax.set_ylim(0, 1)
        label(ax, "", "probability of a spike" if ax is axes[0, 0] else "", code.title)
        label(strip, axis.of(axis.name), "seed" if ax is axes[0, 0] else "")
    seeds = next(iter(code.preferred for code in codes if len(code.preferred) == n_seeds))
    axes[1, 0].set_yticks(range(n_seeds), [str(seed) for seed in seeds])
    axes[1, 0].set_ylim(n_seeds - 0.4, -0.6)
    below(figure, axes[0, 0])
    return figure


def _prior(ax: Axes, axis: StimulusAxis, scale: float = 1.0) -> None:
    style = {"color": FAINT, "alpha": 0.6, "lw": 0, "label": "stimulus prior", "zorder": 0}
    ax.fill_between(axis.x, scale * axis.prior, **style)


def decoding(axis: StimulusAxis, variance: float, codes: Sequence[DecodedCodes]) -> Figure:
    """Plot generated laws over the prior, and squared errors beside the Cramer-Rao bound.

    Thin lines are single seeds, thick ones medians over them.

    Parameters
    ----------
    axis : StimulusAxis
        Of the curves.
    variance : float
        Of the stimulus: the error of a code of rate 0.
    codes : sequence of DecodedCodes
        One per target rate, at least one.
    """
    figure = Figure(figsize=(PAGE_INCHES, 4.9), layout="constrained", facecolor="white")
    rows = figure.subplots(
        2, len(codes), squeeze=False, sharex=True, sharey="row", height_ratios=[1, 1.9]
    )
    shown = (axis.x >= axis.limits[0]) & (axis.x <= axis.limits[1])
    lowest = min(code.posterior[:, shown].min() for code in codes)
    for law, ax, code in zip(*rows, codes, strict=True):
        for panel in (law, ax):
            tidy(panel)
        _prior(law, axis)
        law.plot(axis.x, code.generated.T, color=MAIN, lw=0.9)
        ax.axhline(variance, color=MUTED, lw=1, ls=":", label="variance of the stimulus")
        _seeds(ax, axis.x, code.sampling, "draw from the decoded law", SECOND)
        _seeds(ax, axis.x, code.posterior, "decoded mean", MAIN)
        bound, text = np.median(code.bound, 0), "Cram\u00e9r-Rao bound"
        ax.plot(axis.x, bound, color=INK, lw=1.2, ls="--", label=text)
        first = law is rows[0, 0]
        axis.draw(ax)
        label(law, "", axis.of("density", "\u207b\u00b9") if first else "", code.title)
        label(ax, axis.of(axis.name), axis.of("squared error", "\u00b2") if first else "")
    rows[0, 0].set_ylim(0, 1.4 * axis.prior.max())
    ax.set_ylim(0.3 * lowest, 30 * variance)
    logarithmic(ax, "y")
    below(figure, ax)
    return figure


def _seeds(ax: Axes, x: Floats, curves: Floats, name: str, colour: str) -> None:
    if len(curves) > 1:
        ax.plot(x, curves.T, lw=0.6, alpha=0.35, color=colour)
    ax.plot(x, np.median(curves, 0), lw=1.8, color=colour, label=name)


def power_laws(codes: Mapping[str, Mapping[str, FittedLaw]]) -> Figure:
    """Plot in log-log what codes make of the prior, with the power laws fitted to it.

    Parameters
    ----------
    codes : mapping of str to mapping of str to FittedLaw
        By title, a column each, the same quantities by name, a row each.
    """
    names = list(next(iter(codes.values())))
    size = (PAGE_INCHES, 2.5 * len(names))
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    axes = figure.subplots(len(names), len(codes), squeeze=False, sharex=True, sharey="row")
    for i, (title, laws) in enumerate(codes.items()):
        for j, name in enumerate(names):
            ax = axes[j, i]
            tidy(ax)
            _law(ax, laws[name])
            below_all = "stimulus prior \u03c0(x)" if j == len(names) - 1 else ""
            label(ax, below_all, "" if i else name, "" if j else title)
    for row, name in zip(axes, names, strict=True):
        laws = [of[name] for of in codes.values()]
        values = np.concatenate(
            [law.value[law.kept] if law.kept.any() else law.value for law in laws]
        )
        row[0].set_ylim(values.min() / 4, values.max() * 4)
        logarithmic(row[0], "y")
    logarithmic(axes[0, 0], "x")
    return figure


def _law(ax: Axes, law: FittedLaw) -> None:
    out, kept = ~law.kept, law.kept
    ax.plot(law.prior[out], law.value[out], "o", ms=3, mfc="none", mec=MUTED, mew=0.6)
    ax.plot(law.prior[kept], law.value[kept], "o", ms=3, color=MAIN, alpha=0.6, mew=0)
    if not np.isfinite(law.exponent):
        return
    ends = np.array([law.prior[kept].min(), law.prior[kept].max()])
    ax.plot(ends, law.prefactor * ends**law.exponent, color=SECOND, lw=1.6)
    text = f"exponent {number(law.exponent)}"
    if np.isfinite(law.interval).all():
        text += f" ({number(law.interval[0])} to {number(law.interval[1])})"
    ax.set_title(text, fontsize=8.5, color=SECOND, loc="right")


def couplings(codes: Mapping[str, Floats]) -> Figure:
    """Show the couplings of Ising priors, neurons in order of their preferred stimuli.

    Parameters
    ----------
    codes : mapping of str to float64, (n_neurons, n_neurons)
        By title.
    """
    figure, axes = panels([1] * len(codes), 2.9, total=2.9 * len(codes) + 0.6)
    reach = max(np.abs(values).max() for values in codes.values())
    for ax, (title, values) in zip(axes, codes.items(), strict=True):
        shown = ax.imshow(values, cmap="RdBu_r", vmin=-reach, vmax=reach)
        ax.spines[:].set_visible(False)
        n_neurons = len(values)
        ticks = np.arange(0, n_neurons, max(1, n_neurons // 6))
        ax.set_xticks(ticks, ticks + 1)
        ax.set_yticks(ticks, ticks + 1)
        label(ax, "neuron, by preferred stimulus", "neuron" if ax is axes[0] else "", title)
    bar = figure.colorbar(shown, ax=axes, shrink=0.8, pad=0.015)
    bar.set_label("coupling J", fontsize=9, color=INK)
    bar.ax.tick_params(labelsize=8.5, colors=MUTED, length=3)
    bar.outline.set_visible(False)
    return figure
