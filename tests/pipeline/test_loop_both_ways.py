"""A whole loop as one command, and as the commands that a laboratory gives one after another."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from miniature import ANIMAL, DESIGN, SEED, STUDY, write_study

INCEPTIONLOOP = Path(sys.executable).with_name("inceptionloop")
KINDS = ("mei", "linear_mei")

ONE_COMMAND = """
import json, sys
from pathlib import Path
from pipeline.demo import Experiment, run_demo
from pipeline.stimulus import StimulusParams
from pipeline.study import read_study
from science.virtual import SessionDesign, VirtualAnimalParams

about = json.loads(sys.argv[1])
run_demo(Path("report"), 2, Experiment(
    VirtualAnimalParams.model_validate(about["animal"]),
    SessionDesign.model_validate(about["design"]),
    read_study(Path("study.toml")),
    StimulusParams(kinds=about["kinds"]),
    repeats=about["repeats"],
    seed=about["seed"],
))
"""

RESULTS = """
import json, sys
import numpy as np
from pipeline.database import open_database

open_database()
from schemas.cell_match import BestProximityCellMatch, CellMatchOracleCorrelation
from schemas.closed_loop import ConfusionMatrix, DiagonalTest, PermutationTest
from schemas.mei import MEI
from schemas.stimulus import StimulusSet

def plain(value):
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value

print(json.dumps({
    table.__qualname__: [
        {name: plain(value) for name, value in row.items() if name not in ("code_hash", "made_at")}
        for row in table().to_dicts(order_by="KEY")
    ]
    for table in (
        StimulusSet, StimulusSet.Item, StimulusSet.FromMEI, MEI.Unit, BestProximityCellMatch.Unit,
        CellMatchOracleCorrelation.Unit, ConfusionMatrix, ConfusionMatrix.Diagonal,
        PermutationTest, DiagonalTest, DiagonalTest.Unit,
    )
}, default=str))
"""


class Project:
    """A project of its own with its own private server."""

    def __init__(self, home: Path, server: str | None) -> None:
        self.home = home
        home.mkdir()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DJ_")}
        self.environment = kept | {"INCEPTIONLOOP_HOME": str(home)}
        if server:
            self.environment["INCEPTIONLOOP_MYSQLD"] = server

    def run(self, *command: object) -> str:
        done = subprocess.run(
            [str(part) for part in command],
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    def inceptionloop(self, *arguments: object) -> str:
        return self.run(INCEPTIONLOOP, *arguments)

    def results(self) -> dict:
        return json.loads(self.run(sys.executable, "-c", RESULTS))


@pytest.fixture
def project(tmp_path, server_program):
    made = []

    def make(name):
        made.append(Project(tmp_path / name, server_program))
        write_study(made[-1].home / "study.toml", STUDY)
        return made[-1]

    yield make
    for one in made:
        one.inceptionloop("server", "stop")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_one_command_and_single_steps_end_alike(project):
    whole, steps = project("whole"), project("steps")
    about = {
        "animal": ANIMAL.model_dump(),
        "design": DESIGN.model_dump(),
        "kinds": KINDS,
        "repeats": 4,
        "seed": SEED,
    }
    whole.run(sys.executable, "-c", ONE_COMMAND, json.dumps(about))

    cells = ("--n-simple", ANIMAL.n_simple, "--n-complex", ANIMAL.n_complex)
    cells += ("--n-undriven", ANIMAL.n_undriven, "--later-gamma", ANIMAL.later_monitor_gamma)
    shown = ("--n-train", DESIGN.n_train, "--n-test", DESIGN.n_test, "--repeats", DESIGN.repeats)
    steps.inceptionloop("init")
    steps.inceptionloop("ingest", "virtual", "--seed", SEED, *cells, *shown)
    printed = steps.inceptionloop("register", "study.toml", "--scan", "1-1-1")
    training_set = printed.split()[-1]
    for _ in range(2):  # the second finds nothing more to do
        steps.inceptionloop("work", "--processes", 2)
    steps.inceptionloop("ingest", "virtual-monitor", "--day", 2)
    expected = whole.results()
    model = expected["StimulusSet.FromMEI"][0]["model_hash"]  # items begin with the first kind
    export = ("stimulus", "export", training_set, "images", "--model", model)
    printed = steps.inceptionloop(*export, *(o for kind in KINDS for o in ("--kind", kind)))
    stimulus = printed.split("stimulus set ")[1].split(":")[0]
    assert "nothing" not in steps.inceptionloop("stimulus", "check", "images")
    for day in (2, 3):
        again = ("--session", day, "--day", day, "--repeats", 4, "--natural-repeats", 5)
        steps.inceptionloop("ingest", "virtual-day", stimulus, *again)
        steps.inceptionloop(
            "stimulus", "shown", stimulus, "--animal", 1, "--session", day, "--day", day
        )
    steps.inceptionloop("work", "--processes", 2)

    found = steps.results()
    assert {name: len(rows) for name, rows in found.items()} == {
        name: len(rows) for name, rows in expected.items()
    }
    for name, rows in expected.items():
        assert rows, name
        assert found[name] == rows, name
