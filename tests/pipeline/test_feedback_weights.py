"""Published weights as rows: the tables of the specification again, and files that are refused."""

import re

import numpy as np
import pytest
from feedback_reference import FREEZING, TABLE
from typer.testing import CliRunner

from pipeline.any_study import read_any_study
from pipeline.cli import app
from pipeline.demo import STUDIES
from pipeline.feedback_study import ask_of_ingested
from pipeline.ingest.feedback_weights import ingest_feedback_weights
from pipeline.ingest.rows import BadRecording
from schemas.dataset import TaskConfig, TrainingSet
from schemas.feedback import (
    ContextDecodingPlan,
    ContextTest,
    ContextTestConfig,
    ContextTestPlan,
    FreezeExperiment,
    FreezePlan,
)
from schemas.model import Ensemble, TrainedModel, TrainingPlan, load_feedback_network
from schemas.model_config import ModelConfig, TrainConfig
from science.feedback import (
    ContextTestParams,
    ModulationParams,
    SpatialParams,
    feedback_network,
)
from science.feedback.weights import PUBLISHED_NAMES
from science.training import TrainedElsewhere


@pytest.fixture(scope="module")
def ingested(tables):
    """Deletes what is ingested here with all that is computed of it."""
    before = TaskConfig.keys()
    yield
    (TaskConfig - before).delete(prompt=False)


def published(shared, kind):
    return shared / "golden" / "naumann" / f"weights_{kind}.npz"


def asked(plan, study):
    """Ask for what a study computes of an ingested network; returns its key without the seed."""
    ask_of_ingested(read_any_study(STUDIES / study), plan)
    return {name: plan[name] for name in TrainingPlan.primary_key if name != "seed_set_hash"}


@pytest.mark.shared
@pytest.mark.parametrize(
    ("weights", "sources", "table"),
    [
        ("spatial_sines", "sines", TABLE["sines"]),
        pytest.param("spatial_chords", "chords", TABLE["chords"], marks=pytest.mark.slow),
        pytest.param("modulation_chords", "chords", TABLE["modulation"], marks=pytest.mark.slow),
    ],
)
def test_published_networks_have_their_clarity_and_errors(
    shared, ingested, weights, sources, table
):
    """Table 8.1, by the contexts of its seed; only the noise is another."""
    plan, new = ingest_feedback_weights(published(shared, weights), "naumann22", sources)
    key = asked(plan, "naumann.toml")
    chosen = ContextTest & key & ContextTestConfig.register(ContextTestParams(legacy=True))
    ContextTest.populate(chosen.restriction)
    row = chosen.fetch1()
    assert new and row["network_type"] == weights.partition("_")[0]
    assert (row["test_loss"], row["later_test_loss"]) == pytest.approx(table["loss"], abs=0.025)
    found = [row[f"deviation_{name}"] for name in ("start", "all", "end")]
    np.testing.assert_allclose(found, table["deviation"], atol=0.001)
    found = [row[f"inverse_distance_{name}"] for name in ("all", "end")]
    np.testing.assert_allclose(found, table["inverse"], atol=0.001)
    rows = (ContextTest.Population & chosen.proj()).to_dicts()
    populations = {row["population"]: row for row in rows}
    names = {"x": "inputs", "y": "outputs", "z": "population"}
    assert set(populations) == {names[letter] for letter in table["clarity"]}
    for letter, expected in table["clarity"].items():
        row, over = populations[names[letter]], "unit" if letter == "z" else "context"
        clarity = row["clarity_mean"], row[f"clarity_{over}_sd"]
        np.testing.assert_allclose(clarity, expected, atol=0.001)
        r2 = [row[f"decoding_{n}"] for n in ("mean", "sd", "median")]
        expected = table["r2"][letter]
        np.testing.assert_allclose(r2[: len(expected)], expected, atol=0.0015)
    if "ratio" in table:
        row = populations["population"]
        assert row["participation_ratio"] == pytest.approx(table["ratio"], 2e-3)
        np.testing.assert_allclose(row["variance_shares"], table["shares"], atol=0.0015)
        units = ContextTest.Unit & chosen.proj() & "population = 'population'"
        assert len(units) == 100


@pytest.mark.shared
@pytest.mark.parametrize("kind", ["sines", pytest.param("chords", marks=pytest.mark.slow)])
def test_published_networks_turn_their_planes_as_published(shared, ingested, kind):
    """Table 8.2, by the pairs of its seeds."""
    plan, _ = ingest_feedback_weights(published(shared, f"spatial_{kind}"), "naumann22", kind)
    key, table = asked(plan, "naumann_sines.toml"), FREEZING[kind]
    FreezeExperiment.populate(key)
    pairs = FreezeExperiment.Pair & key
    assert len(pairs) == 60
    for name, column in {
        "frozen": "angle_frozen",
        "unfrozen": "angle_unfrozen",
        "late_frozen": "late_angle_frozen",
        "late_unfrozen": "late_angle_unfrozen",
        "principal_frozen": "principal_frozen",
        "principal_unfrozen": "principal_unfrozen",
    }.items():
        values = pairs.to_arrays(column)
        found = values.mean(), values.std(), values.min(), values.max()
        np.testing.assert_allclose(found[:2], table[name][:2], atol=0.1, err_msg=column)
        np.testing.assert_allclose(found[2:], table[name][2:], atol=0.5, err_msg=column)
    for phase, expected in zip(("original", "frozen", "unfrozen"), table["deviation"], strict=True):
        values = pairs.to_arrays(f"deviation_{phase}")
        np.testing.assert_allclose((values.mean(), values.std()), expected, atol=0.0015)
    row = (FreezeExperiment & key).fetch1()
    assert row["mean_angle_unfrozen"] == pytest.approx(table["unfrozen"][0], abs=0.1)
    found = row["distance_r_unfrozen"], row["distance_r_frozen"]
    np.testing.assert_allclose(found, table["r"], atol=0.015)
    sides = [(pairs & f"on_same_side = {side}").to_arrays("angle_unfrozen") for side in (1, 0)]
    assert [len(angles) for angles in sides] == [29, 31]
    np.testing.assert_allclose([a.mean() for a in sides], table["sides"], atol=0.1)
    # the geometry: under frozen gains the plane is the image of the inputs, in any context
    frozen, analytic = pairs.to_arrays("angle_frozen", "analytic_angle_frozen")
    assert np.abs(frozen - analytic).max() < 1e-3


# --- small networks of our own under the published names


def arrays_of(config, **changes):
    state = feedback_network(config).state_dict()
    names = {name: own for name, own in PUBLISHED_NAMES.items() if own in state}
    arrays = {name: state[own].numpy() for name, own in names.items()}
    arrays |= {"tau": np.array(int(config.tau)), "add": np.array(0), "mix_noise": np.array(0.002)}
    return {name: value for name, value in (arrays | changes).items() if value is not None}


SPATIAL = SpatialParams(n_hidden=5, n_units=8, tau=20.0)


@pytest.fixture
def file(tmp_path):
    def write(arrays):
        np.savez(tmp_path / "w.npz", **arrays)
        return tmp_path / "w.npz"

    return write


@pytest.mark.parametrize("config", [SPATIAL, ModulationParams(n_hidden=6, tau=3.0)])
def test_a_network_comes_back_as_it_went_in_once(ingested, file, config):
    arrays = arrays_of(config)
    path = file(arrays)
    plan, new = ingest_feedback_weights(path, "somebody 2022", "sines")
    assert new and (ModelConfig & plan).fetch1("model_params")["type"] == config.type
    row = (TrainedModel & plan).fetch1()
    assert (row["training_status"], row["best_epoch"], row["n_epochs"]) == ("ok", 0, 0)
    network, task = load_feedback_network(row["weights_sha256"])
    assert network.config.model_dump(exclude={"width"}) == config.model_dump(exclude={"width"})
    assert (task.sources.type, task.noise) == ("sines", 0.002)
    state = network.state_dict()
    for name, own in PUBLISHED_NAMES.items():
        if name in arrays:
            np.testing.assert_array_equal(state[own].numpy(), arrays[name])
    loss, silent = (TrainedModel.SourceLoss & plan).fetch1("source_loss", "silent_loss")
    assert row["validation_score"] == -loss and silent == pytest.approx(250, abs=0.1)
    source = TrainConfig.params(plan)
    assert isinstance(source, TrainedElsewhere) and source.source == "somebody 2022"
    counts = [len(table()) for table in (TrainedModel, TrainingPlan, TrainConfig, TaskConfig)]
    assert ingest_feedback_weights(path, "somebody 2022", "sines") == (plan, False)
    after = [len(table()) for table in (TrainedModel, TrainingPlan, TrainConfig, TaskConfig)]
    assert counts == after
    Ensemble.populate(plan)
    assert len(Ensemble.Member & plan) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"w0": None}, "a published network has no w0"),
        ({"tau": None, "add": None}, "has no add, tau"),
        ({"w0": np.full((8, 2), np.nan)}, "'w0' holds something else than finite numbers"),
        ({"w0": np.array(["a"])}, "'w0' holds something else than finite numbers"),
        ({"w0": np.zeros((7, 2))}, "the weights do not fit each other"),
        ({"w0": np.zeros(8)}, "w.npz: "),
        ({"Wm": np.zeros(8)}, "w.npz: "),
        ({"Wm": np.arange(32.0).reshape(8, 4)}, "no kernel on a ring"),
        ({"Wro": np.zeros((3, 8))}, "the LSTM reads 4 values"),
        ({"tau": np.array(0.5)}, "a timescale of 0.5 is below one step"),
        ({"tau": np.array([1.0, 2.0])}, "w.npz: "),
        ({"mix_noise": np.array(-1.0)}, "noise: Input should be greater than or equal to 0"),
    ],
)
def test_bad_files_are_refused_and_leave_nothing(ingested, file, changes, message):
    tables = (TrainedModel, TrainingPlan, TrainingSet, TaskConfig, TrainConfig, ModelConfig)
    before = [len(table()) for table in tables]
    path = file(arrays_of(SPATIAL, **changes))
    with pytest.raises(BadRecording, match=re.escape(message)) as caught:
        ingest_feedback_weights(path, "somebody", "sines")
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert [len(table()) for table in tables] == before


def test_files_that_are_no_arrays(ingested, tmp_path):
    (tmp_path / "w.npz").write_bytes(b"PK no archive")
    np.savez(tmp_path / "o.npz", w0=np.array([{}], dtype=object))
    for name in ("w.npz", "o.npz"):
        with pytest.raises(BadRecording, match=f"{name} cannot be read as an .npz file"):
            ingest_feedback_weights(tmp_path / name, "somebody", "sines")
    with pytest.raises(BadRecording, match="there is no file"):
        ingest_feedback_weights(tmp_path / "none.npz", "somebody", "sines")


def test_what_fails_while_it_is_stored_leaves_no_plan(ingested, file, monkeypatch):
    path = file(arrays_of(SPATIAL.model_copy(update={"n_hidden": 4})))

    def broken(*_, **__):
        raise OSError("the store is full")

    before = len(TrainingPlan()), len(TrainedModel())
    with monkeypatch.context() as patch:
        patch.setattr(TrainedModel.SourceLoss, "insert1", broken)
        with pytest.raises(OSError, match="the store is full"):
            ingest_feedback_weights(path, "somebody", "sines")
    assert (len(TrainingPlan()), len(TrainedModel())) == before
    assert ingest_feedback_weights(path, "somebody", "sines")[1]


def test_the_command_ingests_and_asks_for_a_study(ingested, file, tmp_path):
    path, run = file(arrays_of(SPATIAL.model_copy(update={"n_hidden": 3}))), CliRunner().invoke
    words = ["ingest", "feedback-weights", str(path), "--name", "we", "--sources", "chords"]
    refused = run(app, [*words, "--study", str(STUDIES / "virtual.toml")])
    assert refused.exit_code == 1 and "is no study of feedback modulation" in refused.output
    (tmp_path / "odd.toml").write_text('family = "feedback"\n[freezing]\nn_steps = 61\n')
    before = len(ContextTestPlan())
    odd = run(app, [*words, "--study", str(tmp_path / "odd.toml")])
    assert odd.exit_code == 1 and "no two equal phases" in odd.output
    assert len(ContextTestPlan()) == before
    done = run(app, [*words, "--study", str(STUDIES / "feedback_miniature.toml")])
    assert done.exit_code == 0, done.output
    assert "was already there: loss" in done.output and "its study is registered" in done.output
    plan, _ = ingest_feedback_weights(path, "we", "chords")
    for table, n in ((ContextTestPlan, 2), (FreezePlan, 1), (ContextDecodingPlan, 1)):
        assert len(table & plan) == n

    # what is deleted is not trained instead: it comes from the file again
    (TrainedModel & plan).delete(prompt=False)
    with pytest.raises(ValueError, match="weights of 'we' are not trained here: ingest them again"):
        TrainedModel.populate(plan, max_calls=1)
    assert ingest_feedback_weights(path, "we", "chords") == (plan, True)


def test_a_network_without_population_is_not_frozen(ingested, file):
    plan, _ = ingest_feedback_weights(file(arrays_of(ModulationParams(n_hidden=3))), "m", "sines")
    asked(plan, "feedback_miniature.toml")
    assert ContextDecodingPlan & plan and not FreezePlan & plan
