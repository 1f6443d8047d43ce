"""What every page shows: a figure beside it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Picture:
    """A figure on the page: file beside it, text for who cannot see it, width in px, caption."""

    src: str
    alt: str
    width: int | None = None
    caption: str = ""
