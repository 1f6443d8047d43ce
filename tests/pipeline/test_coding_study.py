"""Studies of efficient coding: read from a file, registered once, computed by workers."""

import re

import numpy as np
import pytest
from miniature import row_counts
from typer.testing import CliRunner

from pipeline.any_study import read_any_study
from pipeline.cli import app
from pipeline.coding_study import CodingStudy, register_coding
from pipeline.demo import STUDIES
from pipeline.ingest.limens import ingest_limens
from pipeline.sql import read_sql
from pipeline.status import status
from pipeline.study_file import BadStudy
from schemas.coding import CodeAnalysis, CodeAnalysisPlan
from schemas.coding_sweep import CodingExponents, CodingSweep, RateDistortion
from schemas.dataset import TrainingSet
from schemas.limens import LimenComparison, LimenComparisonPlan, LimenStudy
from schemas.model import TrainedModel, TrainingPlan
from schemas.model_config import SeedSet, TrainConfig
from science.coding import CodingTraining

SMALL = {
    "task": {"n_train": 60, "n_test": 45},
    "training": {"target_rates": (0.4, 0.9, 1.4), "n_epochs": 2, "batch_size": 32},
    "networks": {"codes": {"seeds": (1, 2), "config": {"n_neurons": 3, "n_hidden": 5}}},
    "analysis": {"n_stimuli": 60, "window": 5, "n_grid": 9},
}
FREQUENCY = {"task": {"stimulus": {"type": "frequency"}, "n_train": 60, "n_test": 45}}
LIMENS = "subject,frequency_hz,limen_hz\n1,250,0.6\n1,1000,0.8\n1,4000,9\n"
COMPUTED = {
    table.__name__: table
    for table in (TrainedModel, CodeAnalysis, RateDistortion, CodingExponents, LimenComparison)
}


def study(**changes):
    return CodingStudy.model_validate(SMALL | changes)


@pytest.fixture(scope="module", autouse=True)
def _clean(tables):
    before = TrainingSet.keys()
    yield
    (TrainingSet - before).delete(prompt=False, part_integrity="cascade")
    LimenStudy.delete(prompt=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[networks.a.config]\nn_neurons = 30\n",
            "words of 30 neurons and 100 hidden units would need 1,360 GiB",
        ),
        ("[training]\ntarget_rates = [1.0, 8.4]\n", "8.4 nats is not in (0, 8.318]"),
        ("[training]\ntarget_rates = [1.0, 1.0]\n", "a target rate occurs twice"),
        ("[training]\ntarget_rates = []\n", "training.target_rates"),
        ("[networks.a]\nseeds = [1, 1]\n", "a seed occurs twice"),
        ("limens = ['moore1979']\n", "limens: they are of frequency, the stimulus is 'lognormal'"),
        ("[task.stimulus]\ntype = 'smell'\n", "task.stimulus"),
        (
            "[task.stimulus]\ntype = 'gaussian'\n[networks.a.config]\nencoder = 'log'\n",
            "networks.a: the encoder or the law takes logarithms, but 'gaussian' stimuli",
        ),
        (
            "[networks.a.config]\nencoder = 'categorical'\ndecoder = 'mixture'\n"
            "word_prior = 'categorical'\n",
            "networks.a: one neuron active at a time",
        ),
        ("[analysis]\nwindow = 20000\n", "a window of 20000 is longer than 10000 stimuli"),
        ("targets_per_job = 0\n", "targets_per_job"),
        ("[mei]\n", "mei: Extra inputs"),
    ],
)
def test_a_bad_file_is_refused_with_what_is_wrong(tmp_path, text, message):
    (tmp_path / "s.toml").write_text('family = "coding"\n' + text)
    with pytest.raises(BadStudy, match=re.escape(message)) as caught:
        read_any_study(tmp_path / "s.toml")
    assert str(caught.value).startswith(str(tmp_path / "s.toml")) and "\n" not in str(caught.value)


def test_memory_is_that_of_the_targets_that_are_trained_together(tmp_path):
    rates = [round(0.01 * k, 2) for k in range(1, 201)]
    text = (
        f'family = "coding"\n[training]\ntarget_rates = {rates}\n'
        "[networks.a.config]\nn_neurons = 17\n"
    )
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(BadStudy, match=r"200 model\(s\) with 2\^17 words.*would need 1\d GiB"):
        read_any_study(tmp_path / "s.toml")
    (tmp_path / "s.toml").write_text(text.replace("[training]", "targets_per_job = 20\n[training]"))
    assert len(read_any_study(tmp_path / "s.toml").trainings) == 10


def test_the_published_studies_are_those_of_the_specification():
    vae, frequency = (read_any_study(STUDIES / f"{name}.toml") for name in ("vae", "frequency"))
    for shipped, (low, high, n), n_epochs, width in (
        (vae, (0.2, 2.6, 10), 4000, 2.0),
        (frequency, (0.2, 2.7, 8), 5000, 1.0),
    ):
        training = shipped.training
        np.testing.assert_allclose(training.target_rates, np.linspace(low, high, n), atol=5e-4)
        assert (training.n_epochs, training.batch_size) == (n_epochs, 128)
        assert set(training.step_sizes) == {1e-4, 1e-3}
        assert (shipped.task.n_train, shipped.task.n_test) == (2000, 3000)
        for networks in shipped.networks.values():
            (config,) = networks.configs
            assert (config.n_neurons, config.n_hidden, len(networks.seeds)) == (12, 100, 16)
            assert (config.width_scale, config.word_prior) == (width, "ising")
    assert frequency.task.stimulus.type == "frequency" and frequency.limens == ("moore1979",)
    assert {n.config.law for n in frequency.networks.values()} == {"gaussian", "lognormal"}


def unfinished():
    """Jobs to come of the tables of codes, as `status` counts them."""
    return {row.table: row.unfinished for row in status() if row.table in COMPUTED}


def test_all_that_was_asked_for_is_there_once_and_is_computed(tmp_path):
    (tmp_path / "l.csv").write_text(LIMENS)
    ingest_limens(tmp_path / "l.csv", "one")
    nothing = unfinished()
    asked_for = study(**FREQUENCY, targets_per_job=2, limens=("one",))
    asked = register_coding(asked_for)
    before = row_counts()
    assert register_coding(asked_for) == asked and row_counts() == before
    assert list(asked["plans"]) == list(asked["sweeps"]) == ["codes"]
    plans, sweep = asked["plans"]["codes"], asked["sweeps"]["codes"]
    rates = [TrainConfig.params(plan).target_rates for plan in plans]
    assert rates == [(0.4, 0.9), (1.4,)]
    assert len(CodeAnalysisPlan & asked["training_set"]) == len(TrainingPlan & plans) == 2
    assert len(SeedSet.Member & plans) == 2 and LimenComparisonPlan & sweep
    jobs = {name: n - nothing[name] for name, n in unfinished().items()}
    assert list(jobs.values()) == [4, 4, 1, 1, 1]  # four are known, though they have to wait
    for table in COMPUTED.values():
        table.populate(asked["training_set"])
    assert unfinished() == nothing
    assert len(TrainedModel & plans) == len(CodeAnalysis & sweep) == 4
    assert len(CodingSweep.codes(sweep)) == (RateDistortion & sweep).fetch1("n_swept_codes") == 6
    assert CodingExponents & sweep and len(LimenComparison.Target & sweep) == 3 * 2
    columns = ["sweep_target_rate", "error_kind", "limen_slope", "classical_slope"]
    stored = (LimenComparison.Target * LimenComparison * CodingSweep.Target & sweep).to_dicts()
    seen = read_sql(
        f"SELECT {', '.join(columns)} FROM limen_comparisons WHERE sweep_hash = :sweep",
        {"sweep": sweep["sweep_hash"]},
    )
    assert sorted(map(tuple, seen.to_numpy())) == sorted(
        tuple(row[name] for name in columns) for row in stored
    )


def test_a_grid_is_a_sweep_of_each(tables):
    networks = {"zoo": {"seeds": (5,), "grid": {"n_neurons": [2, 3]}, "config": {"n_hidden": 4}}}
    asked = register_coding(
        study(networks=networks, training={"target_rates": (0.2, 0.7), "n_epochs": 1})
    )
    assert list(asked["sweeps"]) == ["zoo.0", "zoo.1"]
    sizes = (CodingSweep & list(asked["sweeps"].values())).to_arrays("n_sweep_codes").tolist()
    assert sizes == [2, 2]
    assert TrainConfig.params(asked["plans"]["zoo.0"][0]) == CodingTraining(
        target_rates=(0.2, 0.7), n_epochs=1
    )


@pytest.mark.parametrize(
    ("asked_for", "scans", "message"),
    [
        (study(), [{"animal_id": 1, "session": 1, "scan_idx": 1}], "leave out --scan"),
        (study(**FREQUENCY, limens=("nobody",)), (), "no limens 'nobody': ingest them first"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_before_anything_is_stored(asked_for, scans, message):
    before = row_counts()
    with pytest.raises(BadStudy, match=message):
        register_coding(asked_for, scans)
    assert row_counts() == before


def test_limens_outside_of_the_stimuli_are_refused(tmp_path):
    (tmp_path / "l.csv").write_text(LIMENS.replace("4000", "40000"))
    ingest_limens(tmp_path / "l.csv", "bats")
    before = row_counts()
    with pytest.raises(BadStudy, match="'bats' are of 250 to 40000 Hz, but the stimuli of 25"):
        register_coding(study(**FREQUENCY, limens=("bats",)))
    assert row_counts() == before


def test_the_command_registers_codes(tmp_path):
    (tmp_path / "s.toml").write_text(
        'family = "coding"\n[task]\nn_train = 61\n[training]\nn_epochs = 0\n'
        "[networks.a.config]\nn_neurons = 3\n"
    )
    done = CliRunner().invoke(app, ["register", str(tmp_path / "s.toml")])
    assert done.exit_code == 0 and "training set" in done.output
    refused = CliRunner().invoke(app, ["register", str(tmp_path / "s.toml"), "--scan", "1-1-1"])
    assert refused.exit_code == 1 and "leave out --scan" in refused.output
