"""The figures of a page as files."""

import hashlib
import re
from pathlib import Path

from matplotlib.figure import Figure

from pipeline.report.page import Picture

FOLDER = "figures"
NAME = re.compile(r"[a-z-]+-[0-9a-f]{10}\.(png|svg)")
DPI = 180  # sharp on screens of twice the density; the page shows an inch as 100 px


class Album:
    """Writes figures into a folder beside the page.

    A file carries the checksum of its content in its name, so a page never shows a figure of
    another run, and replacing page and figures one after the other is safe.

    Parameters
    ----------
    folder : Path
        Of the page; the figures lie in `FOLDER` inside.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / FOLDER
        self.folder.mkdir()

    def add(self, name: str, figure: Figure, alt: str, caption: str = "") -> Picture:
        """Write a figure as PNG; `name` has lower-case letters and dashes only."""
        draft = self.folder / "draft"
        figure.savefig(draft, format="png", dpi=DPI)
        width = round(100 * figure.get_figwidth())
        return self._keep(draft, name, "png", alt, width, caption)

    def add_svg(self, name: str, svg: str, alt: str, caption: str = "") -> Picture:
        """Write a drawing as SVG."""
        draft = self.folder / "draft"
        draft.write_text(svg, encoding="utf-8")
        return self._keep(draft, name, "svg", alt, None, caption)

    def _keep(
        self, draft: Path, name: str, kind: str, alt: str, width: int | None, caption: str
    ) -> Picture:
        digest = hashlib.sha256(draft.read_bytes()).hexdigest()[:10]
        path = draft.rename(self.folder / f"{name}-{digest}.{kind}")
        return Picture(f"{FOLDER}/{path.name}", alt, width, caption)
