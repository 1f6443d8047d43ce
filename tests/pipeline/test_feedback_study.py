"""Studies of feedback modulation: read from a file, registered once, computed."""

import re

import pytest
from typer.testing import CliRunner

from pipeline.any_study import read_any_study
from pipeline.cli import app
from pipeline.demo import STUDIES
from pipeline.feedback_study import FeedbackStudy, register_feedback
from pipeline.study_file import BadStudy
from schemas.dataset import TaskConfig
from schemas.feedback import (
    ContextDecoding,
    ContextDecodingConfig,
    ContextDecodingPlan,
    ContextTest,
    ContextTestConfig,
    ContextTestPlan,
    FeedbackControl,
    FeedbackControlConfig,
    FeedbackControlPlan,
    FreezeConfig,
    FreezeExperiment,
    FreezePlan,
)
from schemas.model import TrainedModel, TrainingPlan
from schemas.model_config import ModelConfig, SeedSet, TrainConfig

CONFIGURATIONS = (
    ModelConfig,
    TrainConfig,
    ContextTestConfig,
    FreezeConfig,
    ContextDecodingConfig,
    FeedbackControlConfig,
)
SMALL = {"n_hidden": 4, "n_units": 6}
STUDY = FeedbackStudy.model_validate(
    {
        "task": {"sources": {"type": "sines"}, "n_steps": 20},
        "training": {"n_epochs": 1, "batches_per_epoch": 2, "n_contexts": 2, "n_held_out": 2},
        "networks": {
            "zoo": {
                "seeds": (1, 2),
                "config": {"type": "spatial", **SMALL},
                "grid": {"tau": (1, 5), "width": (0.2, 10)},
                "freeze": True,
            },
            "dale": {
                "seeds": (1,),
                "config": {"type": "dale", **SMALL},
                "training": {"n_epochs": 1, "batches_per_epoch": 1, "feedback_cost": 1e-5},
                "untrained": True,
                "decode_context": True,
            },
        },
        "tests": {
            "noise": {
                "config": {"n_contexts": 4, "n_train_contexts": 2},
                "grid": {"noise": (0.0, 0.1, 0.3)},
            }
        },
        "freezing": {"n_pairs": 3, "n_contexts": 3},
        "context_decoding": {"n_grid": 5, "n_folds": 2, "n_runs": 2},
        "controls": {
            "config": {
                "n_steps": 40,
                "n_fit": 20,
                "n_train_contexts": 2,
                "feedforward": {"n_batches": 2},
            },
            "grid": {"feedforward.window": (1, 5)},
        },
    }
)


@pytest.fixture(scope="module")
def asked(tables):
    """The study, registered; deleted with all that is computed of it and of others here."""
    before = TaskConfig.keys()
    yield register_feedback(STUDY)
    (TaskConfig - before).delete(prompt=False)


@pytest.mark.parametrize("name", ["feedback", "feedback_miniature", "naumann", "naumann_sines"])
def test_studies_that_are_shipped_can_be_read(name):
    assert isinstance(read_any_study(STUDIES / f"{name}.toml"), FeedbackStudy)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[networks.a.config]\ntype = 'spatial'\ntau = 0.5\n", "a timescale of 0.5 is below one"),
        (
            "[networks.a.config]\ntype = 'spatial'\n[networks.a.grid]\ntau = [1, 0.1]\n",
            "a timescale of 0.1 is below one step",
        ),
        (
            "[task.sources]\ntype = 'sines'\nfrequencies = [100]\n",
            "2 outputs need as many sources, there are 1",
        ),
        (
            "[networks.a]\nfreeze = true\n[networks.a.config]\ntype = 'modulation'\n",
            "networks.a: a network of the type 'modulation' has no population",
        ),
        (
            "[networks.a]\ndecode_context = true\n[networks.a.config]\ntype = 'direct'\n",
            "networks.a: a network of the type 'direct' has no modulation",
        ),
        ("[networks.a]\nfreeze = true\n[freezing]\nn_steps = 61\n", "no two equal phases"),
        (
            "[networks.a]\nfreeze = true\n[networks.a.config]\ntype = 'dale'\nn_units = 2\n",
            "networks.a: a population of 2 units has no plane",
        ),
        ("[networks.a]\nfreez = true\n", "networks.a.freez: Extra inputs"),
        ("[networks.a.config]\ntype = 'transformer'\n", "networks.a.config"),
        ("[networks]\n", "networks"),
        ("[networks.a]\nseeds = [1, 1]\n", "a seed occurs twice"),
        ("[tests.a.config]\nn_contexts = 5\n", "fitted to 10 of 5 contexts leave none"),
        ("[tests.a.config]\nn_steps = 5\n", "tests.a.config.n_steps"),
        ("[tests.a.grid]\nnoise = [-1]\n", "tests.a: Value error, grid: noise"),
        ("[tests.a.grid]\nnoise = []\n", "tests.a: Value error, a parameter of the grid has no"),
        ("[task]\nn_steps = 5\n", "contexts of 5 steps leave none to settle in"),
        ("[task]\nn_outputs = 1\n", "clarity compares sources"),
        (
            "[networks.a]\ndecode_context = true\n[context_decoding]\nn_grid = 3\n",
            "6 contexts are fewer than two for each of 5 folds",
        ),
        (
            "[networks.a]\ndecode_context = true\n[task.contexts]\ntype = 'random'\n",
            "on a grid of two inputs, two outputs and the type 'random_norm'",
        ),
        ("[controls.config]\nn_steps = 500\n", "too short to fit 1024 of them"),
        ("[models.cnn]\n", "models: Extra inputs"),
    ],
)
def test_a_bad_file_is_refused_with_what_is_wrong(tmp_path, text, message):
    (tmp_path / "s.toml").write_text('family = "feedback"\n' + text)
    with pytest.raises(BadStudy, match=re.escape(message)) as caught:
        read_any_study(tmp_path / "s.toml")
    assert str(caught.value).startswith(str(tmp_path / "s.toml"))
    assert "\n" not in str(caught.value)


def test_everything_that_was_asked_for_is_a_row_once_and_is_computed(asked):
    manual = (TrainingPlan, ContextTestPlan, FreezePlan, ContextDecodingPlan, FeedbackControlPlan)
    before = [len(table()) for table in (*manual, *CONFIGURATIONS)]
    assert register_feedback(STUDY) == asked
    assert [len(table()) for table in (*manual, *CONFIGURATIONS)] == before
    own, plans = asked["training_set"], asked["plans"]
    assert list(plans) == ["zoo.0", "zoo.1", "zoo.2", "zoo.3", "dale", "dale untrained"]
    assert len(ContextTestPlan & own) == 6 * 3
    assert len(FreezePlan & own) == 4 and not FreezePlan & plans["dale"]
    assert len(ContextDecodingPlan & own) == 2 and not ContextDecodingPlan & plans["zoo.0"]
    assert len(FeedbackControlPlan & own) == 2
    assert TrainConfig.params(plans["dale"]).feedback_cost == 1e-5
    assert TrainConfig.params(plans["dale untrained"]).n_epochs == 0
    assert TrainConfig.params(plans["zoo.0"]).feedback_cost == 0

    n_networks = 4 * 2 + 2
    for table, n in {
        TrainedModel: n_networks,
        ContextTest: n_networks * 3,
        FreezeExperiment: 4 * 2,
        ContextDecoding: 2,
        FeedbackControl: 2,
    }.items():
        table.populate(own)
        assert len(table & own) == n, table.__name__

    # timescale x width x noise x seed, as columns
    grid = ContextTest.output_clarity() & own & "network_type = 'spatial'"
    names = ("network_tau", "kernel_width", "test_noise", "seed")
    points = set(zip(*grid.to_arrays(*names), strict=True))
    expected = {
        (t, w, n, s) for t in (1, 5) for w in (0.2, 10) for n in (0, 0.1, 0.3) for s in (1, 2)
    }
    assert points == expected and len(grid) == len(expected)


def test_plans_are_those_of_the_study(asked):
    plan = asked["plans"]["zoo.3"]
    params = (ModelConfig & plan).fetch1("model_params")
    assert (params["tau"], params["width"]) == (5, 10)
    assert (SeedSet.Member & plan).to_arrays("seed", order_by="seed").tolist() == [1, 2]
    keys = (ContextTestPlan & plan).to_dicts()
    noises = [ContextTestConfig.params(key).noise for key in keys]
    assert sorted(noises) == [0.0, 0.1, 0.3]


def test_the_command_registers_it_and_refuses_recordings(asked):
    study = str(STUDIES / "feedback_miniature.toml")
    done = CliRunner().invoke(app, ["register", study])
    assert done.exit_code == 0 and "training set" in done.output
    assert TrainingPlan & {"training_set_hash": done.output.split()[-1]}
    done = CliRunner().invoke(app, ["register", study, "--scan", "1-1-1"])
    assert done.exit_code == 1 and "has no recordings: leave out --scan" in done.output
