"""docs/reproduction.md names tests, programs and files that exist, and some numbers of its own."""

import ast
import hashlib
import re
import subprocess
import sys
from functools import cache
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import pytest

from pipeline.ingest.arrays import read_arrays
from pipeline.study import read_study
from schemas.graph import STEPS
from science.image_statistics import contrast, luminance, symmetry_indices
from science.mei.methods import InceptionLoop
from science.model.config import TrainConfig
from science.preprocessing import PreprocessingParams
from science.recorded_gabors import recorded_gabors

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGE = (DOCS / "reproduction.md").read_text()
RESULTS = PAGE[PAGE.index("\n## ") :]
ROWS = [line for line in RESULTS.splitlines() if re.match(r"\|(?!---| § | published )", line)]
TESTS = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`( ◆)?", PAGE)))
MEI_ROWS = {  # microns_vei 9.3
    "150966b4691c643986d738a5f6656594": {},
    "9a0fc64f1c2627e7df33560eee3905ef": {"blur": False, "train_norm": 11.0},
}


# --- what the page names


@cache
def functions(file):
    """Tests of a file by name, and whether each compares with the reference arrays."""
    return dict(_functions(ast.parse((ROOT / file).read_text()), inherited=False))


def _functions(scope, inherited):
    marks = [ast.unparse(node) for node in scope.body if isinstance(node, ast.Assign)]
    marks += [ast.unparse(node) for node in getattr(scope, "decorator_list", ())]
    inherited |= any("mark.shared" in mark for mark in marks)
    for node in scope.body:
        if isinstance(node, ast.ClassDef):
            yield from _functions(node, inherited)
        elif isinstance(node, ast.FunctionDef):
            own = any("mark.shared" in ast.unparse(mark) for mark in node.decorator_list)
            yield node.name, inherited or own


@pytest.mark.parametrize(("file", "name", "mark"), TESTS, ids=[name for _, name, _ in TESTS])
def test_every_test_exists_and_is_marked_if_it_needs_reference_arrays(file, name, mark):
    assert name in functions(file)
    assert bool(mark) == functions(file)[name]


def test_every_program_and_file_exists():
    named = re.findall(r"(?<![\w/])(?:benchmarks|pipeline)/[\w/]+\.\w+", PAGE)
    assert len(set(named)) > 8
    assert all((ROOT / name).is_file() for name in named)


def test_every_row_is_shown_or_says_why_not():
    assert len(ROWS) > 90
    for row in ROWS:
        cells = [cell.strip() for cell in row.strip("|").split(" | ")]
        shown = "`" in cells[-1] or "](" in cells[-1] or cells[-1] == "the same"
        assert shown or "**not reproduced**" in row, row
        if "**not reproduced**" in row:
            assert len(row.split("**not reproduced**")[1]) > 20, row


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_heading(page):
    for target, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)]*))?\)", page.read_text()):
        file = page.parent / target if target else page
        assert file.exists(), target
        if anchor and file.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", file.read_text(), re.M)
            assert anchor in {_anchor(heading) for heading in headings}, f"{target}#{anchor}"


def _anchor(heading):
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_index_names_every_page():
    index = (DOCS / "README.md").read_text()
    pages = {page.name for page in DOCS.glob("*.md")} - {"README.md"}
    assert pages == set(re.findall(r"\]\((\w+\.md)\)", index))


def test_the_tables_that_a_gpu_serves_are_those_of_the_page():
    text = (DOCS / "gpu.md").read_text().partition("## What changes")[2].partition("Everything")[0]
    named = set(re.findall(r"`([A-Z]\w+)`", text))
    assert named == {step.table.__name__ for step in STEPS if step.gpu}


def test_the_recording_and_the_study_of_the_how_to_are_read(tmp_path):
    text = (DOCS / "own_data.md").read_text()
    make_recording = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)[0]
    (tmp_path / "my_study.toml").write_text(re.search(r"```toml\n(.*?)```", text, re.S)[1])
    subprocess.run([sys.executable, "-c", make_recording], cwd=tmp_path, check=True)
    scan = read_arrays(tmp_path / "my_recording.npz")
    assert scan.images.pixels.shape == (1200, 36, 64)
    study = read_study(tmp_path / "my_study.toml")
    height, width = study.preprocessing.height, study.preprocessing.width
    assert height / width == 36 / 64


# --- numbers


def test_published_hashes_are_those_of_our_defaults():
    """MD5 of the values in the order of their names, then the type; of the MEI in its order."""
    training = TrainConfig()
    schedule = "[" + " ".join(map(str, training.schedule)) + "]"
    text = f"{training.batch_size}{training.max_epoch}{schedule}Default"
    assert hashlib.md5(text.encode()).hexdigest() == "2c25349fa0a81afbe907882e7b50a4da"
    names = "iter_n start_sigma end_sigma start_step end_step precond step_gain jitter blur norm"
    for expected, changes in MEI_ROWS.items():
        params = InceptionLoop(**changes)
        values = [getattr(params, name) for name in [*names.split(), "train_norm"]]
        text = "".join("-1" if value is None else str(value) for value in values)
        assert hashlib.md5(text.encode()).hexdigest() == expected


def test_published_defaults_are_ours():
    training, preprocessing = TrainConfig(), PreprocessingParams()
    assert (training.batch_size, training.schedule) == (60, (0.005, 0.001))
    assert (training.max_epoch, training.patience, training.tolerance) == (500, 10, 1e-6)
    assert (preprocessing.height, preprocessing.width) == (36, 64)
    assert (preprocessing.offset, preprocessing.duration) == (0.05, 0.5)


def test_the_recorded_gabor_of_the_study():
    """Allen_mei 6; which three presentations were averaged is not told: one choice agrees."""
    counts = np.array([[3], [2], [1], [0]])
    found = {}
    for chosen in combinations_with_replacement((0.0, 45.0, 90.0), 3):
        image = recorded_gabors(counts, np.array([*chosen, 0.0]))
        found[chosen] = luminance(image)[0], contrast(image)[0], image.std(), image
    near = [
        chosen
        for chosen, (mean, inside, frame, _) in found.items()
        if np.allclose((mean, inside, frame), (0.410, 0.132, 0.037), rtol=0.04)
    ]
    assert near == [(0.0, 0.0, 45.0), (45.0, 90.0, 90.0)]
    np.testing.assert_allclose(found[near[0]][:3], (0.423, 0.130, 0.036), atol=6e-4)
    np.testing.assert_allclose(
        symmetry_indices(found[(0.0, 0.0, 0.0)][3])[0], (0.988, 0.952), atol=6e-4
    )
