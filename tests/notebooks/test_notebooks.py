"""Every notebook runs from top to bottom on the miniature demo, and ends in what it taught.

`notebooks/README.md` says how a notebook is written. Its figures are kept for people to look at.
"""

import ast
import json
import sys
from pathlib import Path

import pytest
from miniature_demo import INCEPTIONLOOP, FinishedDemo

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.py"))
FIGURES = ROOT / ".inceptionloop" / "test" / "notebooks"
SECONDS = 300  # for all of them together

notebooks = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def ran(miniature_demo) -> dict[str, dict]:
    """What became of each notebook, run in the order of their names, in one process."""
    return {result["name"]: result for result in _run(miniature_demo, NOTEBOOKS)}


@notebooks
def test_a_notebook_runs_and_what_it_taught_holds(notebook, ran):
    assert ran[notebook.stem]["error"] is None, ran[notebook.stem]["error"]


@notebooks
def test_the_last_cell_asserts_and_says_what_would_be_wrong(notebook):
    asserts = [node for node in _cells(notebook)[-1].body if isinstance(node, ast.Assert)]
    assert asserts, "the last cell holds no assert"
    for node in asserts:
        assert node.msg is not None, ast.unparse(node)
        assert not isinstance(node.test, ast.Constant), "it cannot fail"


@notebooks
def test_text_comes_before_code(notebook):
    source = notebook.read_text()
    assert source.startswith("# %% [markdown]\n# # ")
    assert source.count("# %% [markdown]") >= 4


def test_what_notebooks_add_is_there_the_second_time(ran, miniature_demo):
    adding = [path for path in NOTEBOOKS if "ingest_arrays(" in path.read_text()]
    assert adding
    before = _counts(miniature_demo)
    again = _run(miniature_demo, adding)
    assert [result["error"] for result in again] == [None] * len(adding)
    assert _counts(miniature_demo) == before


def test_all_notebooks_together_take_less_than_five_minutes(ran):
    # computing time, which does not depend on what else the machine does
    assert sum(result["computed"] for result in ran.values()) < SECONDS


def _run(demo: FinishedDemo, notebooks: list[Path]) -> list[dict]:
    script = Path(__file__).with_name("run_notebooks.py")
    return [
        json.loads(line)
        for line in demo.run(sys.executable, script, FIGURES, *notebooks).splitlines()
    ]


def _counts(demo: FinishedDemo) -> str:
    names = ("scans", "models", "unit_scores", "meis", "masks", "comparisons")
    counts = ", ".join(f"(SELECT COUNT(*) FROM {name}) AS n_{name}" for name in names)
    return demo.run(INCEPTIONLOOP, "sql", "--csv", "-", f"SELECT {counts}")


def _cells(notebook: Path) -> list[ast.Module]:
    """Return the code cells of a notebook."""
    cells = notebook.read_text().split("\n# %%")
    return [ast.parse(cell) for cell in cells if not cell.lstrip().startswith("[markdown]")]
