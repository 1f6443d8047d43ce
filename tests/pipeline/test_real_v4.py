"""A real recording (macaque V4, Cowley et al. 2023) through the same door and the same tables."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from benchmarks.real_v4 import STUDY, trial_arrays
from pipeline import work
from pipeline.ingest.arrays import ingest_arrays
from pipeline.study import Study, read_study, register
from schemas.dataset import ConditionTier
from schemas.mei import MEI, MEIMask
from schemas.model import Ensemble, ModelGroup
from schemas.reliability import Oracle
from schemas.responses import InputResponse

pytestmark = pytest.mark.shared


def small(study: Study) -> Study:
    """The study of the benchmark on small images, with one seed, narrow cores, and quick MEIs."""
    content = study.model_dump(mode="json")
    content["training"] |= {"max_epoch": 16, "patience": 4, "schedule": [0.01]}
    content["preprocessing"] |= {"height": 40, "width": 40}
    for model in content["models"].values():
        model["seeds"] = [1]
    cnn, linear = (content["models"][name]["config"]["core"] for name in ("cnn", "linear"))
    cnn |= {"hidden_channels": 6, "hidden_kern": [3], "octaves": 3, "pool": 4}
    linear |= {"hidden_channels": 6, "input_kern": 9, "input_pool": 2}
    content["mei"] |= {"iter_n": 20, "step_gain": 2.0}
    content["selection"] |= {"max_units": 12, "block_size": 6}
    return Study.model_validate(content)


@pytest.fixture(scope="module")
def v4(shared, recordings, tmp_path_factory):
    path = shared / "data" / "v4_cowley2023" / "v4_210325.npz"
    content = trial_arrays(path)
    file = tmp_path_factory.mktemp("v4") / "v4.npz"
    np.savez(file, **content)
    key = recordings.key()
    assert ingest_arrays(file, key)
    plans = register(small(read_study(STUDY)), [key])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "POLL_SECONDS", 0.0)
        assert work.work(work.Shift(n_threads=1))[1] == 0
    with np.load(path) as published:
        yield key, plans, dict(published)


def test_every_existing_repeat_is_a_trial(v4):
    key, _, published = v4
    block = np.asarray((InputResponse.ResponseBlock & key).fetch1("responses"))
    assert block.shape == (published["n_repeats"].sum(), 30)
    counts = np.where(published["spike_counts"] < 0, 0, published["spike_counts"])
    np.testing.assert_array_equal(block.sum(0), counts.sum((1, 2)))


def test_no_photograph_is_in_two_tiers_and_a_fifth_tests(v4):
    key, _, _ = v4
    n = (ConditionTier & key).proj("n_train", "n_validation", "n_test").fetch1()
    assert n["n_train"] + n["n_validation"] + n["n_test"] == 640
    assert 0.15 * 640 < n["n_test"] < 0.25 * 640


def test_oracle_ranks_units_as_split_halves_do(v4):
    _, plans, published = v4
    oracle = (Oracle.UnitScores & plans["training_set"]).to_arrays("oracle", order_by="unit_index")
    counts = np.where(published["spike_counts"] < 0, np.nan, published["spike_counts"])
    halves = np.nanmean(counts[..., ::2], -1), np.nanmean(counts[..., 1::2], -1)
    split_half = [np.corrcoef(a, b)[0, 1] for a, b in zip(*halves, strict=True)]
    # the README of the data: 0.34 to 0.88 over units, median 0.63
    assert np.median(split_half) == pytest.approx(0.63, abs=0.05)
    assert spearmanr(np.asarray(oracle, float), split_half).statistic > 0.9


def test_a_network_predicts_photographs_it_has_not_seen(v4):
    _, plans, _ = v4
    scores = (Ensemble.UnitScore & plans["plans"]["cnn"]).to_arrays("ensemble_test_corr_avg")
    # 128 test images: by chance the median of 30 units stays below 0.05
    assert np.median(np.asarray(scores, float)) > 0.15


def test_chain_reaches_meis_masks_and_the_comparison(v4):
    _, plans, _ = v4
    meis = (MEI.Unit & plans["training_set"]).to_dicts()
    masks = (MEIMask.Unit & plans["training_set"]).to_dicts()
    assert len(meis) == 12
    assert all(m["mei"].shape == (40, 40) and 0 <= m["mei"].min() <= 255 for m in meis)
    assert len(masks) == sum(m["mei_status"] == "ok" for m in meis)
    assert all(0 <= m["mei_mask"].min() <= m["mei_mask"].max() <= 1 for m in masks)
    best = (ModelGroup.Best & plans["training_set"]).to_dicts()
    assert {b["best_role"]: b["model_hash"] for b in best} == {
        "cnn": plans["plans"]["cnn"]["model_hash"],
        "linear": plans["plans"]["linear"]["model_hash"],
    }
