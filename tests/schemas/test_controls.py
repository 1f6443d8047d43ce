"""Gabors, natural images, fields and the comparison, against direct computation from the rows."""

import copy
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from miniature import ANIMAL, DAY_1, N_MEIS, STUDY, recorded_activity

from schemas import mei
from schemas.comparison import BestNaturalImage, ImageComparison, ImageKind
from schemas.dataset import ConditionTier, TargetDataset
from schemas.field import GradientField, RegressionField
from schemas.gabor import BestGabor, OptimalGabor
from schemas.mei import MEI, MEIMask
from schemas.mei_variants import DiverseMEI, SurroundMEI
from schemas.model import TrainedModel, load_model
from schemas.model_config import SeedSet
from schemas.recording import Trial
from schemas.responses import Frame
from science.contrast import ContrastTarget, match_contrast
from science.gabors import gabor_patches
from science.model.network import predict
from science.model.weights import unpack

SHAPE = (ANIMAL.height, ANIMAL.width)
TARGET = ContrastTarget.model_validate(STUDY["controls"]["contrast"])


@pytest.fixture(scope="module")
def respond(populated):
    """Mean response of the stored members, all units of the dataset, to grey images (n, h, w)."""
    members = TrainedModel * SeedSet.Member & populated.plan
    networks = [unpack(row["weights"].read()) for row in members.to_dicts(order_by="seed")]
    statistics = networks[0][1]
    (key,) = set((TargetDataset.Unit & populated.training_set).to_arrays("readout_key").tolist())

    def responses(images):
        grey = torch.tensor(np.asarray(images).copy())[:, None]
        z = (grey - statistics["image_mean"]) / statistics["image_std"]
        answers = [predict(network, z.float(), key) for network, _ in networks]
        return torch.stack(answers).mean(0).numpy()

    return responses


@pytest.fixture(scope="module")
def column(populated):
    """Column of each unit in the models."""
    rows = (TargetDataset.Unit & populated.training_set).to_dicts()
    return {row["unit_index"]: row["readout_column"] for row in rows}


def rows_of(part, populated):
    return (part & populated.plan).to_dicts(order_by="unit_index")


def test_the_best_gabor_is_the_best_of_the_grid(populated, respond, column):
    grid = STUDY["controls"]["gabors"]["grid"]
    parameters = [
        (phase, wavelength, 22.5 * i, sigma, int(dy * 24) / 24, int(dx * 40) / 40)
        for phase, wavelength, i, sigma, dy, dx in product(
            (0, 90, 180, 270), grid["wavelengths"], range(8), grid["sigmas"], *(grid["dys"],) * 2
        )
    ]
    responses = respond(
        match_contrast(gabor_patches(torch.tensor(parameters), SHAPE), TARGET).images
    )
    rows = rows_of(BestGabor.Unit, populated)
    assert len(rows) == N_MEIS
    for row in rows:
        own = responses[:, column[row["unit_index"]]]
        assert row["best_activation"] == pytest.approx(own.max(), rel=1e-4)
        answer = respond(row["best_gabor"][None])[0, column[row["unit_index"]]]
        assert row["best_activation"] == pytest.approx(answer, rel=1e-4)


def test_the_optimal_gabor_is_at_least_as_good(populated, respond, column):
    pairs = (OptimalGabor.Unit * BestGabor.Unit & populated.plan).to_dicts()
    assert len(pairs) == N_MEIS
    for row in pairs:
        assert row["optimal_activation"] >= row["best_activation"] * (1 - 1e-5)
        answer = respond(row["optimal_gabor"][None])[0, column[row["unit_index"]]]
        assert row["optimal_activation"] == pytest.approx(answer, rel=1e-4)
    assert any(row["optimal_activation"] > 1.001 * row["best_activation"] for row in pairs)


def training_frames(populated):
    shown = Frame.Condition * ConditionTier.Condition * TargetDataset.Member & populated.plan
    rows = np.sort((shown & DAY_1 & "tier = 'train'").to_arrays("frame_row"))
    return np.asarray((Frame & DAY_1).fetch1("frames"))[rows]


def test_the_best_natural_image_is_the_best_training_image(populated, respond, column):
    frames = torch.as_tensor(training_frames(populated))
    responses = respond(match_contrast(frames, TARGET).images)
    rows = rows_of(BestNaturalImage.Unit, populated)
    assert rows
    for row in rows:
        own = responses[:, column[row["unit_index"]]]
        assert row["natural_activation"] == pytest.approx(own.max(), rel=1e-4)
        assert row["natural_image"].std() == pytest.approx(16, rel=2e-3)
        best = match_contrast(frames[[own.argmax()]], TARGET).images[0]
        np.testing.assert_allclose(row["natural_image"], best, atol=0.01)
        masked = respond(row["masked_natural_image"][None])[0, column[row["unit_index"]]]
        assert row["masked_natural_activation"] == pytest.approx(masked, rel=1e-4)
        mask = (MEIMask.Unit & row).fetch1("mei_mask")
        outside = row["masked_natural_image"][mask == 0]
        np.testing.assert_allclose(outside, outside.mean(), atol=0.01)


def test_the_gradient_field_is_the_slope_at_grey(populated, respond, column):
    rows = rows_of(GradientField.Unit, populated)
    assert len(rows) == N_MEIS
    statistics = unpack((TrainedModel & populated.plan).to_dicts()[0]["weights"].read())[1]
    mean, std = statistics["image_mean"], statistics["image_std"]
    for row in rows[:3]:
        direction = np.random.default_rng(0).normal(size=SHAPE)
        step = 0.01 * direction
        ends = np.stack([mean + std * step, mean - std * step])
        up, down = respond(ends)[:, column[row["unit_index"]]]
        slope = (row["point_rf"] * direction).sum()
        assert (up - down) / 0.02 == pytest.approx(slope, rel=0.05, abs=0.02)
        answer = respond(row["gradient_mei"][None])[0, column[row["unit_index"]]]
        assert row["gradient_mei_activation"] == pytest.approx(answer, rel=1e-4)


def test_regression_fields_predict_the_recorded_test_responses(populated):
    activity = recorded_activity(DAY_1)
    shown = Trial * Frame.Condition * ConditionTier.Condition * TargetDataset.Member
    shown = shown & populated.plan & DAY_1
    tiers, frame_rows = shown.to_arrays("tier", "frame_row", order_by="trial_idx")
    test = tiers == "test"
    images = np.unique(frame_rows[test])
    means = np.stack([activity[test & (frame_rows == i)].mean(0) for i in images])
    frames = np.asarray((Frame & DAY_1).fetch1("frames"))[images]
    units = (TargetDataset.Unit & populated.training_set).to_dicts(order_by="unit_index")
    rows = (RegressionField.Unit & populated.training_set).to_dicts(order_by="unit_index")
    checked = 0
    for row, unit in zip(rows, units, strict=True):
        if row["regression_rf"] is None:
            continue
        prediction = (frames * row["regression_rf"]).sum((1, 2))
        expected = np.corrcoef(prediction, means[:, unit["unit_id"] - 1])[0, 1]
        assert row["field_test_corr"] == pytest.approx(expected, abs=1e-3)
        checked += 1
    assert checked >= 10


def test_every_kind_of_image_is_compared_at_equal_mean_and_contrast(populated, respond, column):
    rows = (ImageComparison.Response & populated.plan).to_dicts()
    kinds = set(ImageKind().to_arrays("image_kind").tolist())
    assert {row["image_kind"] for row in rows} == kinds
    usable = MEIMask.Unit * MEI.Unit & populated.plan & "mask_status IN ('ok', 'emptied')"
    units = {row["unit_index"] for row in rows}
    assert len(units) == N_MEIS >= len(usable) >= 1
    for row in rows:
        answer = respond(row["compared_image"][None])[0, column[row["unit_index"]]]
        assert row["compared_response"] == pytest.approx(answer, rel=1e-4)
        assert row["compared_mean"] == pytest.approx(row["compared_image"].mean(), abs=0.02)
        if row["contrast_reached"]:
            assert row["compared_mean"] == pytest.approx(120, abs=0.05)
            assert row["compared_image"].std() == pytest.approx(16, rel=2e-3)
    assert np.mean([row["contrast_reached"] for row in rows]) > 0.8
    linear = (MEI.Unit & populated.linear).to_dicts()
    compared = {row["unit_index"]: row for row in rows if row["image_kind"] == "linear_mei"}
    for row in linear:
        if row["mei"] is not None and row["mei"].std() > 1:
            a, b = row["mei"], compared[row["unit_index"]]["compared_image"]
            assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.95


def test_variants_are_what_the_ensemble_answers(populated, respond, column):
    images = (DiverseMEI.Image * DiverseMEI.Unit & populated.plan).to_dicts()
    assert images and len(images) == 3 * len(DiverseMEI.Unit & populated.plan)
    for row in images:
        answer = respond(row["diverse_mei"][None])[0, column[row["unit_index"]]]
        assert row["diverse_activation"] == pytest.approx(answer, rel=1e-4)
    surrounds = rows_of(SurroundMEI.Unit, populated)
    assert len(surrounds) == len(DiverseMEI.Unit & populated.plan)
    for row in surrounds:
        answer = respond(row["surround_mei"][None])[0, column[row["unit_index"]]]
        assert row["surround_activation"] == pytest.approx(answer, rel=1e-4)


def test_all_starts_are_kept_and_the_best_is_the_mei(populated):
    for row in rows_of(MEI.Unit, populated):
        starts = (MEI.Start & row).to_dicts(order_by="start_index")
        if row["mei_status"] != "ok":
            assert not starts
            continue
        best = max(starts, key=lambda start: start["start_activation"])
        assert len(starts) == 2 and row["mei_activation"] == best["start_activation"]
        np.testing.assert_array_equal(row["mei"], best["start_mei"])
        images = [start["start_mei"].astype(float).ravel() for start in starts]
        assert row["start_agreement"] == pytest.approx(np.corrcoef(images)[0, 1], abs=1e-5)
        assert row["mei_contrast"] == pytest.approx(row["mei"].std(), rel=1e-5)
        assert (row["stopping"], row["n_steps"]) == ("steps", 20)


def test_a_worker_loads_an_ensemble_once_for_many_blocks(populated):
    keys = (MEI & populated.plan).keys(order_by="KEY")
    assert len(keys) == 2
    load_model.cache_clear()
    for key in keys:
        MEI().make_compute(key, *MEI().make_fetch(key))
    assert load_model.cache_info().misses == 1


def test_a_unit_with_nan_among_its_weights_is_flagged(populated, monkeypatch):
    key = (MEI & populated.plan).keys(order_by="KEY")[0]
    fetched = MEI().make_fetch(key)
    model = load_model(*fetched[3])
    broken = replace(model, network=copy.deepcopy(model.network))
    readout_key, column = fetched[2][1]
    with torch.no_grad():
        broken.network.networks[0].readouts[readout_key].features[column] = np.nan
    monkeypatch.setattr(mei, "load_model", lambda *_: broken)
    units, _, result, *_ = MEI().make_compute(key, *fetched)
    statuses = dict(zip(units, result.status.tolist(), strict=True))
    stored = {row["unit_index"]: row["mei_status"] for row in (MEI.Unit & key).to_dicts()}
    assert statuses == stored | {units[1]: "nonfinite"}
