"""The report: one page with everything a person wants to see of an experiment."""

from pathlib import Path


def write_report(folder: Path) -> Path:
    """Write the report into a folder and return its page."""
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "index.html"
    page.write_text("")
    return page
