"""Trained models as rows: behaviour, receptive fields, predictions, killed trainings."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from miniature import STUDY, arrays, insert_arrays, study

from pipeline.ingest.scan import Screen, Track
from pipeline.settings import Settings
from pipeline.study import register
from schemas import model
from schemas.dataset import ConditionTier, TargetDataset
from schemas.loading import load_dataset
from schemas.model import Ensemble, TrainedModel, TrainingCheckpoint, TrainingPlan, load_model
from schemas.model_config import SeedSet
from schemas.prediction import load, predict
from schemas.readout import UnitReadout
from schemas.responses import Eye, Frame, InputResponse, Treadmill
from science.model.scores import unit_scores

BEHAVING = {
    "split": {"method": "random", "validation_fraction": 0.2, "test_fraction": 0.3},
    "data": {"behavior": True},
    "preprocessing": {"height": 12, "width": 15},
    "models": {
        "full": {
            "seeds": (3, 8),
            "config": {
                "core": STUDY["models"]["cnn"]["config"]["core"],
                "readout": {"type": "pyramid", "scale_n": 1},
                "shifter": {"type": "mlp"},
                "modulator": {"type": "mlp"},
            },
        },
        "gabor": {
            "seeds": (3,),
            "config": {
                "core": {"type": "gabor", "input_kern": 7, "wavelengths": (4,)},
                "readout": {"type": "gaussian"},
            },
        },
    },
}


@pytest.fixture(scope="module")
def trained(recordings):
    """A recording with behaviour, two kinds of models of it; the keys of their plans."""
    rng = np.random.default_rng(0)
    key = recordings.key()
    content = arrays(80)
    n_trials = len(content["image_index"])
    insert_arrays(
        key,
        content,
        pupil=Track(rng.normal(5, 1, (n_trials, 4)), per_trial=True),
        treadmill=Track(rng.gamma(2, 1, (n_trials, 1)), per_trial=True),
        screen=Screen(width_cm=40.0, distance_cm=20.0),
    )
    plans = register(study(**BEHAVING), [key])["plans"]
    prepare()
    for table in (TrainedModel, UnitReadout, Ensemble):
        table.populate({"training_set_hash": plans["full"]["training_set_hash"]})
    return plans


def prepare():
    for table in (Frame, InputResponse, Eye, Treadmill, ConditionTier, TargetDataset):
        table.populate()


def members(plan):
    return TrainedModel & (TrainingPlan * SeedSet.Member & plan).proj()


def columns(table, prefix, n_units):
    """Return the stored scores by name, NaN for null."""
    rows = table.to_dicts(order_by="unit_index")
    assert len(rows) == n_units
    starts = (f"{prefix}validation_", f"{prefix}test_")
    names = [name for name in rows[0] if name.startswith(starts)]
    assert len(names) == 10
    return {
        name.removeprefix(prefix): np.array([row[name] for row in rows], float) for name in names
    }


@pytest.mark.parametrize("inputs", ["recorded", "mean"])
def test_scores_are_those_of_recorded_and_of_mean_behaviour(trained, inputs):
    plan = trained["full"]
    dataset = load_dataset(plan, (TargetDataset & plan).fetch1("dataset_digest"))
    network = load(plan).network
    part = Ensemble.UnitScore if inputs == "recorded" else Ensemble.MeanInputScore
    prefix = "ensemble_" if inputs == "recorded" else "ensemble_mean_input_"
    expected = unit_scores(network, dataset, inputs)
    stored = columns(part & plan, prefix, 4)
    assert stored.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(stored[name], values, rtol=1e-5, err_msg=name)
    assert np.isfinite(stored["test_corr"]).all()


def test_models_that_ignore_behaviour_have_no_scores_for_its_mean(trained):
    assert len(TrainedModel.MeanInputScore & members(trained["full"])) == 2 * 4
    assert len(TrainedModel.UnitScore & members(trained["gabor"])) == 4
    assert not TrainedModel.MeanInputScore & members(trained["gabor"])
    assert not Ensemble.MeanInputScore & trained["gabor"]


def test_every_term_of_the_loss_is_stored_for_every_epoch(trained):
    row = members(trained["full"]).to_dicts(limit=1)[0]
    key = {a: row[a] for a in TrainedModel.primary_key}
    terms = (TrainedModel.Epoch & key).to_arrays("loss_terms")
    assert len(terms) == row["n_epochs"]
    assert set(terms[0]) == {
        "poisson", "core_smoothness", "readout_features", "shifter", "modulator",
    }  # fmt: skip
    losses = (TrainedModel.Epoch & key).to_arrays("train_loss")
    np.testing.assert_allclose([sum(t.values()) for t in terms], losses, rtol=1e-6)


def test_places_of_the_units_are_rows_in_pixels_and_degrees(trained):
    for plan, reach in ((trained["full"], 3.0), (trained["gabor"], 3.0)):
        key = members(plan).keys(order_by="seed", limit=1)[0]
        rows = (UnitReadout.Unit & key).to_dicts(order_by="unit_index")
        network = load(key).network.networks[0]
        (readout_key,) = network.n_units
        places = network.positions(readout_key)
        np.testing.assert_allclose([[r["map_x"], r["map_y"]] for r in rows], places)
        # 7 x 7 filters on 12 x 15 pixels leave a map of 6 x 9 that begins 3 pixels inside
        pixels = reach + (places.numpy() + 1) / 2 * [8, 5]
        np.testing.assert_allclose([[r["rf_x_px"], r["rf_y_px"]] for r in rows], pixels, rtol=1e-5)
        # 40 cm are 15 pixels; the middle of the image is straight ahead, 20 cm away
        degrees = np.degrees(np.arctan((pixels - [7, 5.5]) * 40 / 15 / 20))
        stored = [[r["rf_x_deg"], r["rf_y_deg"]] for r in rows]
        np.testing.assert_allclose(stored, degrees, rtol=1e-4, atol=1e-4)
        features = np.asarray((UnitReadout & key).fetch1("features"))
        expected = network.readouts[readout_key].features.detach().numpy()
        np.testing.assert_array_equal(features, expected.reshape(features.shape))


def test_predictions_for_any_images_need_no_dataset(trained, monkeypatch):
    plan = trained["full"]
    monkeypatch.setattr(model, "load_dataset", None)
    images = np.random.default_rng(1).integers(0, 256, (5, 12, 15))
    responses = predict(plan, images)
    loaded = load(plan)
    ((key, scale),) = loaded.response_scale.items()
    inputs = torch.tensor((images - loaded.image_mean) / loaded.image_std)[:, None].float()
    with torch.no_grad():
        direct = loaded.network(inputs, key).numpy() * np.array(scale)
    np.testing.assert_allclose(responses, direct, rtol=1e-5)
    one = predict(plan | {"seed": 3}, images)
    other = predict(plan | {"seed": 8}, images)
    np.testing.assert_allclose((one + other) / 2, responses, rtol=1e-5)
    # twice the resolution shows the same
    doubled = images.repeat(2, axis=1).repeat(2, axis=2)
    assert np.corrcoef(predict(plan, doubled).ravel(), responses.ravel())[0, 1] > 0.9
    with pytest.raises(ValueError, match="aspect ratio"):
        predict(plan, images[:, :9])
    with pytest.raises(ValueError, match="finite"):
        predict(plan, np.full((1, 12, 15), np.nan))
    with pytest.raises(LookupError, match="0 rows of Ensemble"):
        predict(plan | {"model_hash": "0" * 16}, images)


TRAIN = """
import os, sys
from pipeline.database import open_database
from schemas import model
open_database()
model.CHECKPOINT_SECONDS = 0.0
model.TrainedModel.populate(dict(training_set_hash=sys.argv[1]), max_calls=1)
"""


def test_a_killed_training_goes_on_from_its_checkpoint_and_the_row_tells(recordings):
    key = recordings.insert(81)
    slow = {"max_epoch": 25, "patience": 25, "tolerance": 0}
    models = {"cnn": STUDY["models"]["cnn"]}
    slowly = study(training=slow, preprocessing={"height": 40, "width": 60}, models=models)
    plans = register(slowly, [key])
    plan = plans["plans"]["cnn"]
    prepare()
    state = TrainingCheckpoint & plans["training_set"]
    victim = subprocess.Popen(
        [sys.executable, "-c", TRAIN, plan["training_set_hash"]],
        env=os.environ | {"INCEPTIONLOOP_PREFIX": Settings().prefix, "OMP_NUM_THREADS": "1"},
    )
    try:
        deadline = time.monotonic() + 60
        while not state:
            assert victim.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    seed = state.to_arrays("seed")[0]
    assert not TrainedModel & plan
    one = plan | {"seed": seed}
    assert torch.get_num_threads() == 1  # as of the killed one: equal to the bit
    TrainedModel.populate(plans["training_set"])
    assert not state
    resumed = (TrainedModel & one).fetch1()
    assert (resumed["n_resumptions"], resumed["n_epochs"]) == (1, 25)
    assert (TrainedModel & plan & f"seed != {seed}").fetch1("n_resumptions") == 0
    (TrainedModel & plan).delete(prompt=False)
    TrainedModel.populate(plans["training_set"])
    again = (TrainedModel & one).fetch1()
    assert again["n_resumptions"] == 0
    assert again["weights_sha256"] == resumed["weights_sha256"]


def test_a_checkpoint_of_other_software_is_not_used(recordings):
    key = recordings.insert(82)
    plan = register(study(), [key])["plans"]["cnn"]
    prepare()
    run = {name: value for name, value in plan.items() if name != "seed_set_hash"} | {"seed": 3}
    code = model.code_version()
    state = (bytes(range(256)) + b"\0\0") * 40_000  # more than one piece
    TrainingCheckpoint.save(run, b"old", code)
    TrainingCheckpoint.save(run, state, code)
    assert len(TrainingCheckpoint & run) == 3
    assert TrainingCheckpoint.load(run, code) == state
    row = (model.CodeVersion & code).fetch1()
    elsewhere = row | {"code_hash": "1" * 16, "device": "another", "n_threads": 7}
    newer = row | {"code_hash": "2" * 16, "torch_version": "9.9"}
    model.CodeVersion.insert([elsewhere, newer], skip_duplicates=True)
    assert TrainingCheckpoint.load(run, {"code_hash": "1" * 16}) == state
    assert TrainingCheckpoint.load(run, {"code_hash": "2" * 16}) is None
    TrainingCheckpoint.forget(run)
    assert TrainingCheckpoint.load(run, code) is None
    # the bytes are checked: a broken checkpoint ends in an error that names it
    TrainingCheckpoint.save(run, state, code)
    with pytest.raises(ValueError, match="not tensors of this project"):
        TrainedModel.populate(run)
    TrainingCheckpoint.forget(run)


def test_one_network_that_failed_does_not_hold_up_the_choice_of_the_best(recordings):
    key = recordings.insert(83)
    core = STUDY["models"]["cnn"]["config"]["core"]
    models = {
        name: {"seeds": (3,), "meis": False, "config": {"core": core | {"gamma_input": gamma}}}
        for name, gamma in (("fine", 1.0), ("diverges", 1e300))
    }
    keys = register(study(models=models), [key])
    prepare()
    for table in (TrainedModel, Ensemble, model.ModelGroup):
        table.populate(keys["training_set"])
    status = (TrainedModel & keys["training_set"]).to_arrays("training_status")
    assert sorted(status) == ["nonfinite", "ok"]
    best = (model.ModelGroup.Best & keys["training_set"]).fetch1()
    assert best["model_hash"] == keys["plans"]["fine"]["model_hash"]


def test_load_model_is_kept_in_memory(trained):
    sha = (members(trained["gabor"])).fetch1("weights_sha256")
    assert load_model(sha) is load_model(sha)
