"""Tiers of images, normalisation and the arrays a model is given."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from science.dataset import DataParams, ImageDataset, Normalization, Recording, repeat_average
from science.digest import array_digest
from science.preprocessing import PreprocessingParams, resize_image
from science.split import SplitParams, assign_tiers

IMAGES = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(600)]
ONCE = [1] * len(IMAGES)


def tiers(params, images=IMAGES, presentations=None):
    presentations = [1] * len(images) if presentations is None else presentations
    return dict(zip(images, assign_tiers(images, presentations, params), strict=True))


# --- tiers


@given(
    method=st.sampled_from(["random", "kfold"]),
    seed=st.integers(0, 2**31),
    others=st.lists(st.integers(0, 599), min_size=200, unique=True).map(lambda i: i[:400]),
)
def test_an_image_has_its_tier_whatever_else_is_shown_and_in_any_order(method, seed, others):
    params = SplitParams(method=method, seed=seed)
    everything = tiers(params)
    subset = [IMAGES[i] for i in others]
    assert tiers(params, subset) == {image: everything[image] for image in subset}


@given(seed=st.integers(0, 2**31), n_folds=st.integers(2, 8))
def test_the_test_tiers_of_all_folds_are_disjoint_and_cover_every_image(seed, n_folds):
    folds = [
        {
            image
            for image, tier in tiers(
                SplitParams(method="kfold", seed=seed, n_folds=n_folds, fold=fold)
            ).items()
            if tier == "test"
        }
        for fold in range(n_folds)
    ]
    assert sum(map(len, folds)) == len(IMAGES)
    assert set().union(*folds) == set(IMAGES)


def test_repeated_images_are_the_test_tier_and_no_other():
    presentations = [10 if i % 7 == 0 else 1 for i in range(len(IMAGES))]
    assigned = tiers(SplitParams(method="repeated"), presentations=presentations)
    repeated = {image for image, n in zip(IMAGES, presentations, strict=True) if n > 1}
    assert {image for image, tier in assigned.items() if tier == "test"} == repeated


@pytest.mark.parametrize("method", ["repeated", "random", "kfold"])
def test_the_tiers_have_the_sizes_asked_for(method):
    params = SplitParams(
        method=method, validation_fraction=0.2, test_fraction=0.3, n_folds=4, fold=1
    )
    assigned = list(tiers(params).values())
    n_test = assigned.count("test")
    expected = {"repeated": 0.0, "random": 0.3, "kfold": 0.25}[method] * len(IMAGES)
    assert abs(n_test - expected) <= 5 * np.sqrt(expected)
    rest = len(IMAGES) - n_test
    assert abs(assigned.count("validation") - 0.2 * rest) < 5 * np.sqrt(0.2 * 0.8 * rest)


@pytest.mark.parametrize("method", ["random", "kfold"])
def test_another_seed_makes_another_split(method):
    a, b = (tiers(SplitParams(method=method, seed=seed)) for seed in (0, 1))
    changed = np.mean([a[image] != b[image] for image in IMAGES])
    assert changed > 0.1


@pytest.mark.parametrize(
    ("presentations", "params", "tier"),
    [
        ([3] * 600, SplitParams(), "train"),
        (ONCE, SplitParams(validation_fraction=1e-9), "validation"),
        (ONCE, SplitParams(method="random", test_fraction=1 - 1e-9), "train"),
    ],
)
def test_an_empty_tier_is_an_error_that_names_it(presentations, params, tier):
    with pytest.raises(ValueError, match=f"no image is left for the {tier} tier"):
        assign_tiers(IMAGES, presentations, params)


def test_where_every_image_is_repeated_the_error_says_what_works():
    with pytest.raises(ValueError, match="'kfold' or 'random'"):
        assign_tiers(IMAGES, [2] * 600, SplitParams())


@pytest.mark.parametrize(
    "wrong",
    [
        {"fold": 5},
        {"validation_fraction": 0.0},
        {"validation_fraction": float("nan")},
        {"method": "odd"},
        {"sead": 1},
        {"seed": -1},
    ],
)
def test_bad_split_parameters_are_refused(wrong):
    with pytest.raises(ValidationError):
        SplitParams.model_validate(wrong)


# --- frames


def test_an_image_of_the_right_size_is_kept():
    image = np.random.default_rng(0).integers(0, 256, (6, 9), np.uint8)
    frame = resize_image(image, 6, 9)
    assert frame.dtype == np.float32
    np.testing.assert_array_equal(frame, image)


def test_resizing_keeps_grey_values_and_the_way_up():
    image = np.zeros((40, 60), np.uint8)
    image[:20] = 200
    frame = resize_image(image, 8, 12)
    assert frame.shape == (8, 12)
    assert frame.dtype == np.float32
    np.testing.assert_allclose(frame[:3], 200, atol=2)
    np.testing.assert_allclose(frame[-3:], 0, atol=2)


def test_what_is_too_fine_for_the_frame_becomes_grey_and_not_a_pattern():
    checks = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    inner = resize_image(checks, 16, 16)[2:-2, 2:-2]
    np.testing.assert_allclose(inner, 127.5, atol=3)


@pytest.mark.parametrize("wrong", [{"height": 2}, {"duration": 0}, {"offset": -1}, {"heigth": 9}])
def test_bad_preprocessing_parameters_are_refused(wrong):
    with pytest.raises(ValidationError):
        PreprocessingParams.model_validate(wrong)


def test_a_digest_is_of_type_shape_and_bytes():
    a = np.arange(6, dtype=np.uint8)
    different = [a, a.reshape(2, 3), a.astype(np.int8), a[::-1], a.astype(np.float32)]
    assert len({array_digest(x) for x in different}) == len(different)
    square = np.arange(9).reshape(3, 3)
    assert array_digest(square.T) == array_digest(np.ascontiguousarray(square.T))
    assert array_digest(a) == array_digest(a.copy())


# --- normalisation (microns_vei 5.2)


def recording(seed=0, n_units=5, spread=None):
    """30 images, six of them repeated, 4 tiers' worth of trials in random order."""
    rng = np.random.default_rng(seed)
    frames = rng.uniform(0, 255, (30, 4, 6)).astype(np.float32)
    tier = np.repeat(["train", "validation", "test"], [18, 6, 6])
    index = rng.permutation(np.concatenate([np.arange(24), np.repeat(np.arange(24, 30), 3), [2]]))
    spread = np.arange(1, n_units + 1) if spread is None else np.asarray(spread)
    responses = (rng.normal(size=(len(index), n_units)) * spread + 3).astype(np.float32)
    return Recording(frames, tier, index, responses)


def test_the_statistics_are_those_of_the_training_trials_of_all_recordings():
    recordings = {"a": recording(0), "b": recording(1, n_units=3)}
    normalization = Normalization.of(recordings)
    pixels = []
    for key, r in recordings.items():
        trials = [t for t in range(len(r.image_index)) if r.tiers[r.image_index[t]] == "train"]
        pixels += [r.frames[r.image_index[t]].ravel() for t in trials]
        expected = np.std(r.responses[trials].astype(float), axis=0, ddof=1)
        np.testing.assert_allclose(normalization.response_scale[key], expected, rtol=1e-6)
    pixels = np.concatenate(pixels).astype(float)
    assert normalization.image_mean == pytest.approx(pixels.mean(), rel=1e-9)
    assert normalization.image_std == pytest.approx(pixels.std(ddof=1), rel=1e-9)


def test_what_is_not_in_the_train_tier_changes_nothing():
    r = recording()
    elsewhere = r.tiers != "train"
    frames, responses = r.frames.copy(), r.responses.copy()
    frames[elsewhere] *= 0.1
    responses[elsewhere[r.image_index]] += 100
    before = Normalization.of({"a": r})
    after = Normalization.of({"a": Recording(frames, r.tiers, r.image_index, responses)})
    assert after.image_mean == before.image_mean
    assert after.image_std == before.image_std
    np.testing.assert_array_equal(after.response_scale["a"], before.response_scale["a"])


def with_standard_deviations(sd):
    """A recording of training trials whose units have exactly these standard deviations."""
    wave = np.tile([1.0, -1.0], 8)
    wave /= wave.std(ddof=1)
    frames = np.random.default_rng(0).uniform(0, 255, (16, 2, 2)).astype(np.float32)
    responses = (np.outer(wave, sd) + 7).astype(np.float64)
    return Recording(frames, np.repeat("train", 16), np.arange(16), responses)


def test_units_that_hardly_vary_are_not_blown_up():
    # 99 ordinary units and one a little above, below, or without any variation: the mean of the
    # standard deviations is 0.99 to three digits, the limit 1 % of that
    for sd, scaled in ((0.0101, True), (0.0098, False), (0.0, False)):
        scale = Normalization.of({"a": with_standard_deviations([1.0] * 99 + [sd])}).response_scale
        assert scale["a"][-1] == pytest.approx(sd if scaled else 1.0, rel=1e-4)
        np.testing.assert_allclose(scale["a"][:-1], 1.0, rtol=1e-6)


def test_units_that_never_respond_keep_their_zeros():
    silent = with_standard_deviations([0.0, 0.0])
    normalization = Normalization.of({"a": silent})
    np.testing.assert_array_equal(normalization.response_scale["a"], 1.0)


def test_responses_can_be_left_as_they_are():
    normalization = Normalization.of({"a": recording()}, DataParams(normalize_responses=False))
    np.testing.assert_array_equal(normalization.response_scale["a"], np.ones(5))


def test_images_without_contrast_are_an_error():
    r = recording()
    grey = Recording(np.full_like(r.frames, 128), r.tiers, r.image_index, r.responses)
    with pytest.raises(ValueError, match="uniform grey"):
        Normalization.of({"a": grey})


# --- what a model is given


def dataset(average_repeats=False):
    recordings = {"a": recording(0), "b": recording(1, n_units=3)}
    columns = [("a", i) for i in range(5)] + [("b", i) for i in range(3)]
    return ImageDataset(recordings, Normalization.of(recordings), columns, average_repeats)


def test_inputs_are_z_scored_and_targets_scaled_but_not_centred():
    data = dataset()
    shown = np.concatenate([data.inputs(key, "train").ravel() for key in ("a", "b")])
    assert shown.mean() == pytest.approx(0, abs=1e-4)
    assert shown.std(ddof=1) == pytest.approx(1, abs=1e-4)
    for key, r in data.recordings.items():
        trials = np.flatnonzero(r.tiers[r.image_index] == "test")
        scale = data.normalization.response_scale[key]
        assert data.inputs(key, "test").shape == (len(trials), 1, 4, 6)
        assert data.inputs(key, "test").dtype == data.targets(key, "test").dtype == np.float32
        np.testing.assert_allclose(data.targets(key, "test"), r.responses[trials] / scale)
        expected = (r.frames[r.image_index[trials]] - data.normalization.image_mean) / (
            data.normalization.image_std
        )
        np.testing.assert_allclose(data.inputs(key, "test")[:, 0], expected, rtol=1e-5, atol=1e-5)


def test_the_tiers_share_no_trial_and_no_image():
    data = dataset()
    for r in data.recordings.values():
        trials = [set(r.trials(tier).tolist()) for tier in ("train", "validation", "test")]
        assert sum(map(len, trials)) == len(r.image_index) == len(set().union(*trials))
        images = [set(r.image_index[list(t)].tolist()) for t in trials]
        assert not (images[0] & images[1] or images[0] & images[2] or images[1] & images[2])


def test_training_on_averages_gives_each_image_once_with_its_mean_response():
    single, averaged = dataset(), dataset(average_repeats=True)
    np.testing.assert_array_equal(single.training_pairs("a", "test")[0], single.inputs("a", "test"))
    inputs, targets = averaged.training_pairs("a", "test")
    r = averaged.recordings["a"]
    assert len(inputs) == len(targets) == 6
    for row, image in enumerate(range(24, 30)):
        trials = np.flatnonzero(r.image_index == image)
        expected = (r.responses[trials] / averaged.normalization.response_scale["a"]).mean(0)
        np.testing.assert_allclose(targets[row], expected, rtol=1e-5)
        frame = (r.frames[image] - averaged.normalization.image_mean) / (
            averaged.normalization.image_std
        )
        np.testing.assert_allclose(inputs[row, 0], frame, rtol=1e-4, atol=1e-5)


def test_averages_over_repeats_are_those_of_a_plain_loop():
    rng = np.random.default_rng(0)
    index = np.array([7, 2, 7, 7, 2, 40])
    values = rng.normal(size=(6, 3))
    expected = [values[index == image].mean(0) for image in (2, 7, 40)]
    np.testing.assert_allclose(repeat_average(values, index), expected)


def test_a_dataset_knows_its_sizes():
    data = dataset()
    assert data.image_shape == (4, 6)
    assert data.n_units == {"a": 5, "b": 3}


def test_bad_data_parameters_are_refused():
    with pytest.raises(ValidationError):
        DataParams.model_validate({"areas": ["V1"]})


def test_areas_are_a_set():
    one = DataParams(brain_areas=("V1", "LM", "V1"), layers=("L4", "L2/3"))
    assert one == DataParams(brain_areas=("LM", "V1"), layers=("L2/3", "L4"))
    assert one != DataParams(brain_areas=("LM",), layers=("L2/3", "L4"))
