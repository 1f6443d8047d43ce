"""Figures of population planes while feedback is frozen and released: arrays in, figure out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from numpy.typing import NDArray

from pipeline.report.style import (
    FAINT,
    INK,
    MAIN,
    MUTED,
    PAGE_INCHES,
    SECOND,
    finite,
    label,
    legend,
    panels,
)

Floats = NDArray[np.float64]

PHASE_COLOURS = {"original": MUTED, "frozen": MAIN, "unfrozen": SECOND}
ELEVATION = 20.0
SLANT = 0.35
"""Cosine of the line of sight and the normals of planes, at best: neither edge-on nor flat."""


@dataclass(frozen=True)
class FrozenPairs:
    """Pairs of contexts between which feedback was frozen, then released.

    Attributes
    ----------
    distance : float64, (n_pairs,)
        Frobenius norm of the difference of the mixing matrices.
    same_side : bool, (n_pairs,)
        Whether both determinants have the same sign.
    frozen, unfrozen : float64, (n_pairs,)
        Angle to the plane before the change, degrees; NaN: no plane.
    deviation : float64, (n_pairs, 3)
        Mean distance of outputs and sources before, with frozen and with released feedback.
    """

    distance: Floats
    same_side: NDArray[np.bool_]
    frozen: Floats
    unfrozen: Floats
    deviation: Floats


def plane_angles(pairs: FrozenPairs) -> Figure:
    """Plot angles against the distance of the contexts, their histogram, and the errors."""
    figure, (ax, beside, errors) = panels([3.2, 1.1, 2.2], 3.4)
    for name, angles in (("frozen", pairs.frozen), ("unfrozen", pairs.unfrozen)):
        colour = PHASE_COLOURS[name]
        same = pairs.same_side
        solid = {"s": 24, "color": colour, "lw": 1.1, "alpha": 0.85}
        ax.scatter(pairs.distance[same], angles[same], label=f"{name}, same side", **solid)
        hollow = solid | {"facecolors": "white"}
        ax.scatter(pairs.distance[~same], angles[~same], label=f"{name}, other side", **hollow)
        style = {"orientation": "horizontal", "color": colour, "alpha": 0.75}
        beside.hist(finite(angles), np.arange(0, 91, 5), edgecolor="white", lw=0.5, **style)
    for panel in (ax, beside):
        panel.set(ylim=(-2, 92), yticks=range(0, 91, 15))
    beside.set_yticklabels([])
    label(ax, "distance of the contexts", "angle to the plane before (\u00b0)")
    label(beside, "pairs", "")
    ax.set_xlim(left=0)
    legend(ax, loc="upper left", handletextpad=0.1, borderaxespad=0.2)
    _phase_errors(errors, pairs.deviation)
    return figure


def _phase_errors(ax: Axes, deviation: Floats) -> None:
    """Draw a line per pair over the phases."""
    ax.plot(range(3), deviation.T, color=FAINT, lw=0.7, zorder=1)
    for place, (colour, values) in enumerate(zip(PHASE_COLOURS.values(), deviation.T, strict=True)):
        ax.scatter(np.full(len(values), place), values, s=12, color=colour, alpha=0.6, lw=0)
        ax.plot([place - 0.28, place + 0.28], [np.nanmedian(values)] * 2, color=INK, lw=1.8)
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter("{x:g}")
    ax.set_xticks(range(3), list(PHASE_COLOURS), fontsize=9, color=INK)
    ax.set_xlim(-0.5, 2.5)
    label(ax, "", "distance of outputs and sources")


def phase_clouds(points: Sequence[Floats], normals: Floats) -> Figure:
    """Draw the states of a population in (y1, y2, PC1) with the planes fitted to them.

    Parameters
    ----------
    points : sequence of float64, (n, 3)
        Of the three phases: original, frozen, unfrozen.
    normals : float64, (3, 3)
        Of the planes, phase by phase.
    """
    figure = Figure(figsize=(PAGE_INCHES, 4.4), layout="constrained", facecolor="white")
    axes = figure.subplots(1, 2, subplot_kw={"projection": "3d"})
    everything = np.concatenate(points)
    low, high = everything.min(0), everything.max(0)
    names = list(PHASE_COLOURS)
    azimuth = _azimuth(normals * (high - low))
    for ax, later in zip(axes, (1, 2), strict=True):
        for phase in (0, later):
            _cloud(ax, points[phase], normals[phase], names[phase])
        ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
        ax.view_init(ELEVATION, azimuth)
        ax.set_box_aspect(None, zoom=0.95)  # room for the names of the axes
        _quiet(ax)
        title = "only the context has changed" if later == 1 else "feedback has followed"
        ax.set_title(title, fontsize=10, color=INK, fontweight="bold", y=0.98)
        ax.legend(fontsize=8.5, frameon=False, labelcolor=INK, loc="upper left", markerscale=2.5)
    return figure


def _azimuth(normals: Floats) -> float:
    """Direction from which no plane is seen edge-on or flat, degrees."""
    azimuths = np.arange(-180.0, 180.0, 5.0)
    around, up = np.radians(azimuths), np.radians(ELEVATION)
    sight = np.cos(up) * np.stack([np.cos(around), np.sin(around)])
    sight = np.concatenate([sight, np.full((1, len(azimuths)), np.sin(up))])
    known = normals[np.isfinite(normals).all(1)]
    cosines = np.abs(known @ sight) / np.linalg.norm(known, axis=1, keepdims=True)
    return float(azimuths[np.square(cosines - SLANT).sum(0).argmin()])


def _cloud(ax: Axes3D, points: Floats, normal: Floats, name: str) -> None:
    colour = PHASE_COLOURS[name]
    style = {"s": 5, "color": colour, "alpha": 0.5, "lw": 0, "depthshade": False}
    ax.scatter(*points.T, label=name, **style)
    if np.isfinite(normal).all():
        corners = plane_corners(points, normal)
        ax.add_collection3d(Poly3DCollection([corners], color=colour, alpha=0.16, lw=0))


def plane_corners(points: Floats, normal: Floats) -> Floats:
    """Return the corners, (4, 3), of a plane through the mean of points, over and under them."""
    centre = points.mean(0)
    half = np.abs(points[:, :2] - centre[:2]).max(0)
    base = half * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    return centre + np.column_stack([base, -base @ normal[:2] / normal[2]])


def _quiet(ax: Axes3D) -> None:
    """Name the axes, and leave of the box what is needed to see the depth."""
    for axis, name in ((ax.xaxis, "output 1"), (ax.yaxis, "output 2"), (ax.zaxis, "PC 1")):
        axis.set_label_text(name, fontsize=9, color=INK)
        axis.labelpad = -4
        axis.set_major_locator(MaxNLocator(4))
        axis.set_pane_color("#f6f8fa")
        axis._axinfo["grid"].update(color=FAINT, linewidth=0.5)
    ax.tick_params(labelsize=7.5, colors=MUTED, pad=-2)
    ax.tick_params(axis="z", pad=3)
    ax.zaxis.labelpad = 3
