"""Real recordings of every kind through ingest, responses, reliability and the report."""

import os
from pathlib import Path

import numpy as np
import pytest
import real_recordings

from pipeline.ingest.arrays import ingest_arrays
from pipeline.report import write_report
from pipeline.study import Study, register
from schemas.dataset import ConditionTier, TargetDataset
from schemas.loading import response_block
from schemas.reliability import Oracle, UnitStatistics
from schemas.responses import Eye, Frame, InputResponse, Treadmill

pytestmark = pytest.mark.shared

LOOK = {"method": "leave_one_out", "images": "all"}
FOLDS = {"method": "kfold", "n_folds": 4, "validation_fraction": 0.3}
STUDIES = {
    "antolik": {"preprocessing": {"height": 31, "width": 31}},
    "v4": {"preprocessing": {"height": 32, "width": 32}},
    # the window covers the first second of the gratings' two
    "park": {"preprocessing": {"offset": 0.0, "duration": 2.0}},
}


@pytest.fixture(scope="module")
def measured(recordings, shared, tmp_path_factory):
    """The three recordings with oracle and statistics, and the keys of their datasets."""
    keys = {}
    for name, study in STUDIES.items():
        path = tmp_path_factory.mktemp(name) / f"{name}.npz"
        np.savez(path, **getattr(real_recordings, name)(shared))
        key = recordings.key()
        assert ingest_arrays(path, key)
        asked = register(Study.model_validate({"oracle": LOOK, "split": FOLDS} | study), [key])
        keys[name] = (key, asked["training_set"])
    scans, datasets = [key for key, _ in keys.values()], [plan for _, plan in keys.values()]
    for table in (Frame, InputResponse, Eye, Treadmill, ConditionTier):
        table.populate(scans)
    for table in (TargetDataset, Oracle, UnitStatistics):
        table.populate(datasets)
    return keys


def scores(measured, name):
    _, plan = measured[name]
    columns = ("oracle", "fev", "cc_max", "reliable")
    values = (Oracle.UnitScores & plan).to_arrays(*columns, order_by="unit_index")
    return dict(zip(columns, (np.asarray(v, np.float64) for v in values), strict=True))


def split_half(responses, image_index):
    """Correlation over images of the means of two halves of the trials, per unit; 20 splits."""
    rng = np.random.default_rng(0)
    return np.mean([one_split(responses, image_index, rng) for _ in range(20)], axis=0)


def one_split(responses, image_index, rng):
    halves = [[], []]
    for image in np.unique(image_index):
        trials = rng.permutation(np.flatnonzero(image_index == image))
        for half, chosen in zip(halves, np.array_split(trials, 2), strict=True):
            half.append(responses[chosen].mean(0))
    first, second = (np.array(h) for h in halves)
    return np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(first.T, second.T, strict=True)])


@pytest.mark.parametrize(("name", "published"), [("antolik", 0.64), ("v4", 0.63)])
def test_the_noise_ceiling_agrees_with_the_split_halves_of_the_publication(
    measured, shared, name, published
):
    recorded = getattr(real_recordings, name)(shared)
    halves = split_half(recorded["responses"], recorded["image_index"])
    assert np.median(halves) == pytest.approx(published, abs=0.04)
    # Spearman and Brown: two halves of reliability r make a whole of 2 r / (1 + r) = ceiling^2
    whole = np.sqrt(2 * halves.clip(0) / (1 + halves.clip(0)))
    found = scores(measured, name)
    known = np.isfinite(found["cc_max"]) & np.isfinite(whole) & (halves > 0.2)
    assert np.median(np.abs(found["cc_max"] - whole)[known]) < 0.03
    assert np.corrcoef(found["cc_max"][known], whole[known])[0, 1] > 0.9
    assert found["reliable"].mean() > 0.7


def test_responses_behavior_and_tuning_of_the_two_photon_traces(measured, shared):
    key, plan = measured["park"]
    recorded = real_recordings.park(shared)
    (row,) = (InputResponse & key).keys()
    block, _ = response_block(row)
    n_units = recorded["traces"].shape[1]
    assert block.shape == (128, n_units)
    window = np.hamming(2 * 32 + 1)
    smooth = [np.convolve(t, window / window.sum(), "same") for t in recorded["traces"].T]
    expected = [np.interp(recorded["onset"] + 1.0, recorded["frame_times"], s) for s in smooth]
    np.testing.assert_allclose(block, np.transpose(expected), atol=1e-4)
    assert (Eye & key).fetch1("n_eye_valid") >= 126  # all but those at the ends of the track
    assert (Treadmill & key).fetch1("n_treadmill_valid") >= 126
    speed = (Treadmill & key).fetch1("treadmill")
    assert speed.max() > 3 * np.median(np.abs(speed))  # it runs in bouts
    # 33 of 56 units are tuned to direction, says the README of the data (ANOVA, p < 0.01)
    assert n_units == 56
    assert 20 <= scores(measured, "park")["reliable"].sum() <= 33
    assert len(TargetDataset.Unit & plan) == len(UnitStatistics.Unit & plan) == n_units


def test_the_report_shows_them(measured, tmp_path):
    page = write_report(Path(os.environ.get("KEEP_REPORT", tmp_path)) / "report")
    text = page.read_text()
    for name in ("raster", "correlations", "unit-statistics", "reliability"):
        assert len(list((page.parent / "figures").glob(f"{name}-*.png"))) >= 3, name
    assert "Oracle score of every unit against entropy and variance" in text
