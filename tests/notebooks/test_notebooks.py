"""Every notebook runs from top to bottom on the miniature."""

import runpy
from pathlib import Path

import matplotlib
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.py"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(notebook, populated):
    matplotlib.use("Agg")
    made = runpy.run_path(str(notebook))
    if notebook.stem == "01_read_the_results":
        assert len(made["rows"]) == 6
        assert made["top"].r.is_monotonic_decreasing
        assert len(made["trained"]) >= 2
    if notebook.stem == "02_navigation":
        assert len(made["networks"]) == 2  # trained and not
        assert made["explained"].fit.notna().all()
        assert made["consistency"].median_consistency.notna().all()
    matplotlib.pyplot.close("all")
