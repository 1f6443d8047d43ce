"""The command line: help, output, exit status, and one clear line for every bad input."""

import json
import os
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
import typer.main
from miniature import NATURAL_REPEATS, REPEATS, STIMULUS, arrays, row_counts
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.status import as_json, errors, status
from schemas.dataset import ConditionTier, TargetDataset
from schemas.model_config import ModelConfig
from schemas.recording import Scan
from schemas.responses import Frame, InputResponse
from schemas.stimulus import StimulusSet
from science.model import ImageModelConfig


def commands(group=None, path=()):
    """Return every command of the tree with the words that call it."""
    group = typer.main.get_command(app) if group is None else group
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands())


def call(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def succeed(*words):
    result = call(*words)
    assert result.exit_code == 0, result.output
    return result.stdout


# --- help


def test_the_commands_are_those_of_the_pipeline():
    names = {" ".join(path) for path in COMMANDS}
    assert names >= {
        "init", "register", "plan", "work", "status", "errors", "delete", "report", "demo",
        "ingest arrays", "ingest virtual", "ingest virtual-monitor", "ingest virtual-day",
        "ingest calibration", "ingest stack",
        "stimulus export", "stimulus check", "stimulus shown", "stimulus choose", "stimulus next",
        "config show", "config diff",
        "server start", "server stop", "server status", "server env",
    }  # fmt: skip


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_with_an_example(path):
    text = succeed(*path, "--help")
    assert "Example" in text
    example = COMMANDS[path].help.partition("Example:")[2]
    assert "inceptionloop " + " ".join(path) in example
    for parameter in COMMANDS[path].params:
        assert getattr(parameter, "help", "") or parameter.name == "help", parameter.name


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_example_can_be_parsed(path):
    line = COMMANDS[path].help.partition("Example:")[2].strip().splitlines()[0]
    words = shlex.split(line.replace('eval "$(', "").replace(')"', ""))
    assert words[0] == "inceptionloop"
    arguments = words[1 + len(path) :]
    COMMANDS[path].make_context(path[-1], arguments)


def test_without_a_command_there_is_help():
    assert "status" in call().output


# --- output


@pytest.fixture(scope="module", autouse=True)
def _populated(populated):
    """All that the miniature asked for is done, but for the ensemble with a failed member."""


def test_init_is_safe_to_repeat():
    before = row_counts()
    assert "the schemas 'test_*' are complete" in succeed("init")
    assert row_counts() == before


def test_the_status_is_a_table_or_json():
    short, whole = (re.findall(r"^│ (\w+)", succeed("status", *o), re.M) for o in ([], ["--all"]))
    assert whole == [row.table for row in status()]
    assert short == [row.table for row in status() if row.done or row.unfinished]
    assert json.loads(succeed("status", "--json")) == as_json(status())


def test_the_plan_shows_what_is_to_come():
    text = succeed("plan")
    for word in ("jobs", "minutes", "MB", "Ensemble", "together"):
        assert word in text
    assert "TrainedModel" not in text


@pytest.fixture
def recorded(recordings, tmp_path):
    """A file of named arrays, and the number of an animal."""
    np.savez(tmp_path / "recording.npz", **arrays(100), area=np.array(["V1"] * 4))
    return tmp_path / "recording.npz", recordings.key()["animal_id"]


STUDY_FILE = """
[preprocessing]
height = 24
width = 40
[split]
validation_fraction = 0.25
[data]
brain_areas = ["V8"]
"""


def test_from_a_file_over_a_failed_job_to_its_deletion(recorded, recordings, tmp_path):
    path, animal = recorded
    (tmp_path / "study.toml").write_text(STUDY_FILE)
    text = succeed("ingest", "arrays", path, "--animal", animal, "--study", tmp_path / "study.toml")
    assert f"recording {animal}-1-1 ingested" in text
    assert "its study is registered" in text
    assert "was already there" in succeed("ingest", "arrays", path, "--animal", animal)
    text = succeed("register", tmp_path / "study.toml", "--scan", f"{animal}-1-1")
    plan = {"training_set_hash": text.split()[-1]}
    for table, restriction in (
        (Frame, {"animal_id": animal}),
        (InputResponse, {"animal_id": animal}),
        (ConditionTier, {"animal_id": animal}),
        (TargetDataset, plan),
    ):
        table.populate(restriction, reserve_jobs=True, suppress_errors=True)

    text = succeed("errors")
    assert "TargetDataset" in text
    assert f"training_set_hash={plan['training_set_hash']}" in text
    assert "ValueError: brain_area ['V8'] does not occur in recording" in text
    assert "1 failed jobs" in text
    assert "Traceback" not in text
    assert "Traceback" in succeed("errors", "--stack")
    assert "1 will be tried again" in succeed("errors", "--retry")
    assert "no failed jobs" in succeed("errors")
    assert not errors()

    before = row_counts()
    where = ("--where", f"animal_id={animal}")
    text = succeed("delete", "Scan", *where)
    assert "nothing was deleted: repeat with --yes" in text
    assert "test_responses.__frame" in text
    assert row_counts() == before
    assert "deleted" in succeed("delete", "Scan", *where, "--yes")
    assert not Scan & {"animal_id": animal}
    assert "no row matches" in succeed("delete", "Scan", *where, "--yes")
    recordings.delete()


def test_a_virtual_recording_is_made_once(recordings):
    animal = recordings.key()["animal_id"]
    words = [
        "--n-simple",
        "2",
        "--n-complex",
        "0",
        "--n-undriven",
        "1",
        "--n-train",
        "20",
        "--n-test",
        "3",
        "--repeats",
        "2",
    ]
    virtual = ("ingest", "virtual", "--animal", animal, "--seed", 4, *words)
    assert f"recording {animal}-1-1 ingested" in succeed(*virtual)
    assert f"recording {animal}-1-1 was already there" in succeed(*virtual)
    assert len(Scan.Unit & {"animal_id": animal}) == 3


def test_a_stimulus_set_is_exported_once_and_shown(populated, tmp_path):
    before = row_counts()
    training_set = populated.training_set["training_set_hash"]
    kinds = [word for kind in STIMULUS.kinds for word in ("--kind", kind)]
    export = ("stimulus", "export", training_set, tmp_path / "images", *kinds)
    assert "there are several controls of MEIs" in call(*export).stderr
    plan = populated.plan
    where = ("--model", plan["model_hash"], "--where", f"train_hash={plan['train_hash']}")
    text = succeed(*export, *where)
    stimulus = populated.stimulus["stimulus_set_hash"]
    assert f"stimulus set {stimulus}: " in text
    assert f"{len(StimulusSet.Item & populated.stimulus)} images" in succeed(
        "stimulus", "check", tmp_path / "images"
    )
    shown = ("stimulus", "shown", stimulus, "--animal", 1, "--session", 2)
    assert "registered" in succeed(*shown)
    day = ("ingest", "virtual-day", stimulus, "--repeats", REPEATS)
    day += ("--natural-repeats", NATURAL_REPEATS)
    assert "recording 1-2-1 was already there" in succeed(*day)
    assert row_counts() == before


# --- bad input: one line, exit status 1, nothing changed

NOBODY = ("--animal", 123456)
BAD_INPUT = {
    "a file that is not there": (
        ("ingest", "arrays", "no.npz", *NOBODY),
        "there is no file or folder no.npz",
    ),
    "a folder as a file": (("ingest", "arrays", ".", *NOBODY), "the folder . holds no .npy files"),
    "an animal without cells": (
        ("ingest", "virtual", "--n-simple", 0, "--n-complex", 0, "--n-undriven", 0, *NOBODY),
        "an animal without cells",
    ),
    "too many cells": (
        ("ingest", "virtual", "--n-simple", 1900, *NOBODY),
        "no such virtual animal",
    ),
    "negative numbers of cells": (
        ("ingest", "virtual", "--n-simple", -1, "--n-train", 0, *NOBODY),
        "n_simple: Input should be greater than or equal to 0",
    ),
    "a recording that is another": (("ingest", "virtual", "--seed", 99), "is already there, from"),
    "no such stimulus set": (
        ("ingest", "virtual-day", "f" * 16, "--session", 5),
        "has no images",
    ),
    "no such virtual animal": (
        ("ingest", "virtual-day", "f" * 16, *NOBODY),
        "is not of a virtual mouse",
    ),
    "a study that is not there": (("register", "no.toml", "--scan", "1-1-1"), "no study file"),
    "a folder as a study": (("register", ".", "--scan", "1-1-1"), "Is a directory"),
    "a recording by a wrong name": (
        ("register", "STUDY", "--scan", "mouse1"),
        "'mouse1' does not name a recording: write animal-session-scan, as 1-1-1",
    ),
    "no such recording": (("register", "STUDY", "--scan", "9-9-9"), "there is no recording"),
    "MEIs of nothing": (
        ("stimulus", "export", "f" * 16, "images", "--kind", "mei"),
        "there are no MEIs",
    ),
    "a stimulus set that is not there": (
        ("stimulus", "shown", "f" * 16, *NOBODY, "--session", 1),
        "there is no stimulus set",
    ),
    "shown in no recording": (
        ("stimulus", "shown", "STIMULUS", *NOBODY, "--session", 1),
        "there is no recording",
    ),
    "a distance below zero": (
        ("stimulus", "shown", "STIMULUS", "--animal", 1, "--session", 2, "--max-distance", -1),
        "max_distance: Input should be greater than 0",
    ),
    "no such table": (("delete", "Scans", "--where", "animal_id=1"), "there is no table 'Scans'"),
    "no such attribute": (("delete", "Scan", "--where", "mouse=1"), "is not attribute=value"),
    "no number": (("delete", "Scan", "--where", "animal_id=x", "--yes"), "is a number, not 'x'"),
}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_is_answered_with_one_line(name, tmp_path, populated):
    words, message = BAD_INPUT[name]
    (tmp_path / "study.toml").write_text(STUDY_FILE)
    stand_in = {
        "STUDY": tmp_path / "study.toml",
        "STIMULUS": populated.stimulus["stimulus_set_hash"],
    }
    before = row_counts()
    result = call(*(stand_in.get(word, word) for word in words))
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.stdout == ""
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert row_counts() == before


def test_a_bad_study_stops_the_ingest_of_a_recording(recorded, tmp_path):
    path, animal = recorded
    (tmp_path / "bad.toml").write_text("[mei]\nmethod = 'allen'\niter = 3\n")
    before = row_counts()
    result = call("ingest", "arrays", path, "--animal", animal, "--study", tmp_path / "bad.toml")
    assert result.exit_code == 1
    assert "mei.allen.iter: Extra inputs are not permitted" in result.stderr
    assert row_counts() == before


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"INCEPTIONLOOP_PREFIX": "No-where"}, "use a lower-case letter"),
        ({"DJ_HOST": "127.0.0.1", "DJ_PORT": "1", "DJ_USER": "u", "DJ_PASS": "p"}, "no connection"),
        ({"DJ_HOST": "127.0.0.1"}, "set DJ_USER and DJ_PASS too"),
    ],
)
def test_a_bad_environment_is_answered_with_one_line(monkeypatch, variables, message):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    result = call("status")
    assert result.exit_code == 1
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_a_process_ends_with_status_1_and_one_line(tables):
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "status"],
        env=os.environ | {"INCEPTIONLOOP_PREFIX": "nowhere_"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: there are no schemas 'nowhere_*'")
    assert "inceptionloop init" in line


# --- configurations


def test_two_configurations_differ_in_what_diff_shows(tables):
    a = ImageModelConfig.model_validate({"core": {"type": "stacked", "layers": 2}})
    b = ImageModelConfig.model_validate(
        {"core": {"type": "stacked", "linear": True}, "shifter": {"type": "affine"}}
    )
    keys = [ModelConfig.register_image(config)["model_hash"] for config in (a, b)]
    lines = [line.split() for line in succeed("config", "diff", *keys).splitlines()]
    shown = {line[1]: (line[3], line[5]) for line in lines if len(line) == 7 and line[0] == "│"}
    assert shown == {
        "core.layers": ("2", "3"),
        "core.linear": ("False", "True"),
        "shifter": ("none", "-"),
        "shifter.gamma": ("-", "0.001"),
        "shifter.type": ("-", "affine"),
    }
    assert "have the same parameters" in succeed("config", "diff", keys[0], keys[0])
    assert "core.layers" in succeed("config", "show", keys[0][:12])
    assert "no configuration" in call("config", "show", "zz").output
    assert "several configurations" in call("config", "show", "").output
