"""A core and a readout of one's own are one file each: those of docs/own_model.md, copied out."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from miniature import recordings, tables  # noqa: F401

from pipeline.deletion import delete_rows
from pipeline.settings import Settings
from schemas.mei import MEI
from schemas.model import TrainedModel
from schemas.model_config import CoreConfig, ReadoutConfig
from science.model import cores, readouts
from science.model.registry import CORES, READOUTS, named_in

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "own_model.md").read_text()
FILES = re.findall(r"`(science/model/\w+/\w+\.py)`:\n\n```python\n(.*?)^```", PAGE, re.M | re.S)
(STUDY,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.M | re.S)
QUICK = {
    "preprocessing": {"height": 16, "width": 20},
    "split": {"validation_fraction": 0.25},
    "training": {"max_epoch": 3, "patience": 2},
    "selection": {"only_reliable": False, "max_units": 2, "block_size": 2},
    "mei": {"method": "inception_loop", "iter_n": 5},
}
TRAIN = """
import json, sys
from pipeline.database import open_database
from pipeline.study import Study, register
from schemas.dataset import ConditionTier, TargetDataset
from schemas.mei import MEI, UnitSelection
from schemas.model import Ensemble, TrainedModel
from schemas.reliability import Oracle, OracleRankedUnit, UnitStatistics
from schemas.responses import Frame, InputResponse

open_database()
key, study = map(json.loads, sys.argv[1:])
asked = register(Study.model_validate(study), [key])
for table in (Frame, InputResponse, ConditionTier):
    table.populate()
described = (TargetDataset, Oracle, OracleRankedUnit, UnitStatistics)
for table in (*described, TrainedModel, Ensemble, UnitSelection, MEI):
    table.populate(asked["training_set"])
print(json.dumps(asked["plans"]["difference"]))
"""


@pytest.fixture
def project(tmp_path):
    """A copy of the program with the two files of the page, and nothing else changed."""
    for package in ("science", "schemas", "pipeline"):
        shutil.copytree(ROOT / package, tmp_path / package)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name, text in FILES:
        assert not (tmp_path / name).exists()
        (tmp_path / name).write_text(text)
    return tmp_path


def run(project, *arguments):
    """Run Python with the copy's packages and return what it prints last."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_the_page_has_one_file_for_each():
    folders = [Path(name).parent.name for name, _ in FILES]
    assert folders == ["cores", "readouts"]


@pytest.mark.usefixtures("tables")
def test_a_new_core_and_readout_are_trained_and_make_meis(
    project,
    recordings,  # noqa: F811
    monkeypatch,
):
    monkeypatch.setenv("INCEPTIONLOOP_PREFIX", Settings().prefix)
    key = recordings.insert(4711)
    study = tomllib.loads(STUDY) | QUICK
    try:
        plan = json.loads(run(project, "-c", TRAIN, json.dumps(key), json.dumps(study)))
        networks = (TrainedModel & plan).to_dicts(order_by="seed")
        assert [(n["seed"], n["training_status"]) for n in networks] == [(1, "ok"), (2, "ok")]
        meis = (MEI.Unit & plan).to_dicts()
        assert [unit["mei"].shape for unit in meis] == [(16, 20)] * 2
        assert {unit["mei_status"] for unit in meis} == {"ok"}  # the gradient reaches the image
    finally:  # nobody else knows these architectures
        for rows in (
            CoreConfig & "core_type = 'difference'",
            ReadoutConfig & "readout_type = 'window'",
        ):
            if rows:
                delete_rows(rows)


def test_the_tests_of_all_architectures_find_them(project):
    shutil.copytree(ROOT / "tests", project / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    # MEIs of a readout at a point ask a core for windows, which this one does not compute
    chosen = "difference-window or difference-gaussian-none-none"
    tests = ("tests/science/test_model_architectures.py", "-k", chosen)
    last = run(project, "-m", "pytest", "-q", *tests)
    passed = re.match(r"(\d+) passed", last)
    assert passed and int(passed[1]) > 30


def test_two_files_of_one_type_are_refused(tmp_path, monkeypatch):
    assert named_in(cores, "CORE") == CORES
    assert named_in(readouts, "READOUT") == READOUTS
    text = (ROOT / "science" / "model" / "cores" / "gabor.py").read_text()
    (tmp_path / "another.py").write_text(text)
    monkeypatch.setattr(cores, "__path__", [*cores.__path__, str(tmp_path)])
    try:
        with pytest.raises(
            TypeError, match=r"gabor\.py and another\.py both have the type 'gabor'"
        ):
            named_in(cores, "CORE")
    finally:
        sys.modules.pop("science.model.cores.another", None)
