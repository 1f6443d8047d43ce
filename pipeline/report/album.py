"""The files beside the page: its figures and the pages of single units."""

import hashlib
import re
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import imsave
from numpy.typing import NDArray

from pipeline.report.page import Picture

FIGURES, UNITS = "figures", "units"
NAMES = {
    FIGURES: re.compile(r"[a-z-]+-[0-9a-f]{10}\.(png|svg)"),
    UNITS: re.compile(r"unit-[0-9]+-[0-9a-f]{10}\.html"),
}
"""The folders, and what their files are called."""
DPI = 180  # sharp on screens of twice the density; the page shows an inch as 100 px


class Album:
    """Writes figures and pages of units into folders beside the page.

    A file carries the checksum of its content in its name, so a page never shows a figure of
    another run, and replacing page and figures one after the other is safe.

    Parameters
    ----------
    folder : Path
        Of the page; the files lie in the folders of `NAMES` inside.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in NAMES:
            (folder / name).mkdir()

    def add(
        self, name: str, figure: Figure, alt: str, caption: str = "", *, dpi: int = DPI
    ) -> Picture:
        """Write a figure as PNG; `name` has lower-case letters and dashes only."""
        figure.savefig(self._draft, format="png", dpi=dpi)
        width = round(100 * figure.get_figwidth())
        return Picture(self._keep(FIGURES, name, "png"), alt, width, caption)

    def add_pixels(self, name: str, pixels: NDArray[np.uint8], alt: str) -> Picture:
        """Write grey values (h, w) as PNG, pixel by pixel."""
        imsave(self._draft, pixels, format="png", cmap="gray", vmin=0, vmax=255)
        return Picture(self._keep(FIGURES, name, "png"), alt, pixels.shape[1])

    def add_svg(self, name: str, svg: str, alt: str, caption: str = "") -> Picture:
        """Write a drawing as SVG."""
        self._draft.write_text(svg, encoding="utf-8")
        return Picture(self._keep(FIGURES, name, "svg"), alt, None, caption)

    def add_unit(self, unit_index: int, html: str) -> str:
        """Write the page of a unit and return where it is, from the report's page."""
        self._draft.write_text(html, encoding="utf-8")
        return self._keep(UNITS, f"unit-{unit_index}", "html")

    @property
    def _draft(self) -> Path:
        return self.folder / "draft"

    def _keep(self, folder: str, name: str, kind: str) -> str:
        digest = hashlib.sha256(self._draft.read_bytes()).hexdigest()[:10]
        path = f"{folder}/{name}-{digest}.{kind}"
        self._draft.rename(self.folder / path)
        return path
