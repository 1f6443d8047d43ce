"""The figure of one unit's page: arrays in, figure out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pipeline.report.mei_figures import CONTOUR
from pipeline.report.style import FAINT, INK, MAIN, MUTED, PAGE_INCHES, SECOND, label, tidy
from science.image_statistics import log_power_spectra

COLUMNS = 6
GAP, EDGE, HEADING, NAME = 0.12, 0.01, 0.34, 0.36  # inches
PLOT, PLOT_HEADING, PLOT_MARGIN = 1.6, 0.62, 0.55
DYNAMIC_RANGE = 10.0  # of the spectra, natural logarithm of power


@dataclass(frozen=True)
class Shown:
    """An image with a name and a line below it; the edge of its mask is drawn."""

    name: str
    image: NDArray[np.floating]
    note: str = ""
    mask: NDArray[np.floating] | None = None


@dataclass(frozen=True)
class Images:
    """Images under a heading.

    Attributes
    ----------
    heading : str
    shown : list of Shown
    about_zero : bool
        Middle grey is zero, as for filters; otherwise each image's mean.
    alike : bool
        All have the same scale of grey, to compare contrasts; otherwise each is at full contrast.
    """

    heading: str
    shown: list[Shown]
    about_zero: bool = False
    alike: bool = False


@dataclass(frozen=True)
class Ascent:
    """The way to an MEI: activation and pixel SD (grey levels) at `steps`, NaN after the last."""

    steps: NDArray[np.integer]
    activation: NDArray[np.floating]
    contrast: NDArray[np.floating]


@dataclass(frozen=True)
class UnitPictures:
    """What the figure shows: groups of images, the ascent, images whose spectra are shown."""

    groups: list[Images]
    ascent: Ascent | None = None
    spectra: Mapping[str, NDArray[np.floating]] = field(default_factory=dict)


def unit_figure(unit: UnitPictures) -> Figure:
    """Show everything of a unit; groups without images are left out."""
    groups = [group for group in unit.groups if group.shown]
    width = (PAGE_INCHES - 2 * EDGE - GAP * (COLUMNS - 1)) / COLUMNS
    height = width * _aspect(groups)
    rows = [-(-len(group.shown) // COLUMNS) for group in groups]
    plots = bool(unit.ascent or unit.spectra) * (PLOT_HEADING + PLOT + PLOT_MARGIN)
    page = _Paper(sum(HEADING + n * (height + NAME) for n in rows) + plots)
    top = 0.0
    for group, n in zip(groups, rows, strict=True):
        page.heading(top, group.heading)
        limit = max(_deviation(s.image, group.about_zero) for s in group.shown)
        for i, shown in enumerate(group.shown):
            row, column = divmod(i, COLUMNS)
            corner = EDGE + column * (width + GAP), top + HEADING + row * (height + NAME)
            own = _deviation(shown.image, group.about_zero)
            centre = 0.0 if group.about_zero else float(shown.image.mean())
            page.image(shown, corner, (width, height), centre, limit if group.alike else own)
        top += HEADING + n * (height + NAME)
    _plots(page, top, unit.ascent, unit.spectra)
    return page.figure


class _Paper:
    """A figure with places in inches from the left and the top.

    All images share one axes, which is several times as fast as one for each.
    """

    def __init__(self, height: float) -> None:
        self.width, self.height = PAGE_INCHES, height
        self.figure = Figure(figsize=(self.width, height), facecolor="white")
        self.paper = self.figure.add_axes((0, 0, 1, 1))
        self.paper.set_axis_off()
        self.paper.set(xlim=(0, self.width), ylim=(height, 0), autoscale_on=False)

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        bottom = self.height - y - height
        size = (x / self.width, bottom / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(size)

    def heading(self, y: float, text: str, x: float = 0) -> None:
        self.paper.text(x, y + 0.26, text, fontsize=9.5, color=MAIN, weight="bold")

    def image(
        self,
        shown: Shown,
        corner: tuple[float, float],
        size: tuple[float, float],
        centre: float,
        limit: float,
    ) -> None:
        """Show an image, black and white being `limit` off the `centre`, with its words below."""
        (x, y), (width, height), limit = corner, size, limit or 1.0
        self.paper.imshow(
            shown.image,
            cmap="gray",
            vmin=centre - limit,
            vmax=centre + limit,
            interpolation="nearest",
            extent=(x, x + width, y + height, y),
            aspect="auto",
        )
        self.paper.add_patch(Rectangle(corner, *size, fill=False, edgecolor=FAINT, lw=0.8))
        mask = shown.mask
        if mask is not None and mask.min() < 0.5 < mask.max():
            columns = x + (np.arange(mask.shape[1]) + 0.5) * width / mask.shape[1]
            lines = y + (np.arange(mask.shape[0]) + 0.5) * height / mask.shape[0]
            self.paper.contour(columns, lines, mask, [0.5], colors=CONTOUR, linewidths=1.1)
        below = y + height
        self.paper.text(x, below + 0.04, shown.name, va="top", fontsize=8, color=INK)
        self.paper.text(x, below + 0.19, shown.note, va="top", fontsize=7.5, color=MUTED)


def _deviation(image: NDArray[np.floating], about_zero: bool) -> float:
    return float(np.abs(image - (0 if about_zero else image.mean())).max())


def _aspect(groups: Sequence[Images]) -> float:
    sizes = [shown.image.shape for group in groups for shown in group.shown]
    return max((h / w for h, w in sizes), default=1.0)


def _plots(
    page: _Paper, top: float, ascent: Ascent | None, spectra: Mapping[str, NDArray[np.floating]]
) -> None:
    left, width = 0.68, 1.9
    y = top + PLOT_HEADING
    if ascent is not None:
        page.heading(top, "On the way to the MEI")
        for values, name in (
            (ascent.activation, "scaled response"),
            (ascent.contrast, "pixel SD (grey levels)"),
        ):
            ax = page.axes(left, y, width, PLOT)
            tidy(ax)
            ax.plot(ascent.steps, values, color=MAIN if values is ascent.activation else SECOND)
            ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            ax.yaxis.set_major_locator(MaxNLocator(5))
            label(ax, "step of the ascent", name)
            ax.yaxis.set_label_coords(-0.3, 0.5)
            left += width + 0.75
    if spectra:
        start = left - 0.1
        page.heading(top, "Log power spectra", start)
        for i, (name, image) in enumerate(spectra.items()):
            ax = page.axes(start + 0.5 + i * (PLOT + 0.45), y, PLOT, PLOT)
            show_spectrum(ax, image)
            ax.set_title(name, fontsize=8.5, color=INK, pad=4)
            label(ax, "cycles/px along x", "cycles/px along y" if i == 0 else "")


def show_spectrum(ax: Axes, image: NDArray[np.floating]) -> None:
    """Show the logarithm of the power spectrum of an image less its mean, about frequency 0."""
    log_power = log_power_spectra((image - image.mean())[None])[0]
    y, x = (np.fft.fftshift(np.fft.fftfreq(n)) for n in image.shape)
    half_y, half_x = (0.5 / n for n in image.shape)
    edges = (x[0] - half_x, x[-1] + half_x, y[-1] + half_y, y[0] - half_y)
    top = float(log_power.max())
    ax.imshow(
        log_power, cmap="magma", vmin=top - DYNAMIC_RANGE, vmax=top, extent=edges, aspect="equal"
    )
    ax.set_xlim(-0.5, 0.5)
    ax.set_ylim(0.5, -0.5)
    ax.set_xticks([-0.5, 0, 0.5])
    ax.set_yticks([-0.5, 0, 0.5])
    ax.tick_params(colors=MUTED, labelsize=8, length=3)
