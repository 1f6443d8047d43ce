"""Oracle scores against a plain loop and theory (microns_vei 6 and 15), ranks and selection."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from science.reliability import (
    OracleParams,
    SelectionParams,
    leave_one_out_oracle,
    n_repeated_images,
    rank_units,
    select_units,
    unit_reliability,
)


def plain_oracle(responses, image_index, min_repeats):
    """Microns_vei 6, trial by trial."""
    scores = []
    for unit in responses.T:
        trials, others = [], []
        for image in sorted(set(image_index.tolist())):
            shown = [float(v) for v, i in zip(unit, image_index, strict=True) if i == image]
            if len(shown) < min_repeats:
                continue
            for i, value in enumerate(shown):
                rest = shown[:i] + shown[i + 1 :]
                trials.append(value)
                others.append(sum(rest) / len(rest))
        scores.append(np.corrcoef(trials, others)[0, 1])
    return np.array(scores)


@given(
    repeats=st.lists(st.integers(1, 7), min_size=2, max_size=12),
    min_repeats=st.integers(2, 5),
    seed=st.integers(0, 1000),
)
def test_the_oracle_is_that_of_a_plain_loop_also_for_unequal_repeats(repeats, min_repeats, seed):
    rng = np.random.default_rng(seed)
    index = rng.permutation(np.repeat(np.arange(len(repeats)) * 3, repeats))
    responses = rng.poisson(4, (len(index), 3)) + rng.normal(size=(len(index), 3))
    oracle = leave_one_out_oracle(responses, index, min_repeats)
    if sum(r >= min_repeats for r in repeats) < 2:
        assert np.isnan(oracle).all()
    else:
        expected = plain_oracle(responses, index, min_repeats)
        np.testing.assert_allclose(oracle, expected, atol=1e-10)


def test_identical_repeats_of_several_images_score_1():
    responses = np.repeat(np.random.default_rng(0).normal(size=(6, 4)), 5, axis=0)
    np.testing.assert_allclose(leave_one_out_oracle(responses, np.repeat(np.arange(6), 5)), 1)


def test_pure_noise_scores_about_0_for_many_images():
    responses = np.random.default_rng(0).normal(size=(4000, 30))
    oracle = leave_one_out_oracle(responses, np.repeat(np.arange(400), 10))
    assert np.abs(oracle).max() < 5 / np.sqrt(4000)
    assert np.abs(oracle.mean()) < 5 / np.sqrt(4000 * 30)


def test_a_single_image_says_nothing():
    responses = np.random.default_rng(0).normal(size=(10, 3))
    # by construction: each trial is compared with the sum of the others
    np.testing.assert_allclose(plain_oracle(responses, np.zeros(10, int), 4), -1)
    assert np.isnan(leave_one_out_oracle(responses, np.zeros(10, int))).all()


@pytest.mark.parametrize(("signal", "noise", "repeats"), [(1.0, 1.0, 10), (0.5, 2.0, 4)])
def test_the_oracle_has_the_value_that_signal_and_noise_make(signal, noise, repeats):
    rng = np.random.default_rng(1)
    n = 400
    index = np.repeat(np.arange(n), repeats)
    responses = signal * rng.normal(size=(n, 100))[index]
    responses += noise * rng.normal(size=responses.shape)
    s, e = signal**2, noise**2
    expected = s / np.sqrt((s + e) * (s + e / (repeats - 1)))
    measured = leave_one_out_oracle(responses, index)
    assert measured.mean() == pytest.approx(expected, abs=0.015)  # five standard errors


def test_images_with_too_few_repeats_do_not_count():
    rng = np.random.default_rng(2)
    index = np.concatenate([np.repeat(np.arange(8), 5), np.repeat(np.arange(8, 20), 3)])
    responses = rng.normal(size=(len(index), 4))
    changed = responses.copy()
    changed[40:] += 100
    np.testing.assert_array_equal(
        leave_one_out_oracle(responses, index, 4), leave_one_out_oracle(changed, index, 4)
    )
    assert not np.allclose(
        leave_one_out_oracle(responses, index, 3), leave_one_out_oracle(changed, index, 3)
    )


def test_a_unit_without_variation_has_no_score_and_the_others_keep_theirs():
    rng = np.random.default_rng(3)
    index = np.repeat(np.arange(10), 5)
    responses = rng.normal(size=(50, 3))
    responses[:, 1] = 2.5
    oracle = leave_one_out_oracle(responses, index)
    np.testing.assert_array_equal(np.isnan(oracle), [False, True, False])


def test_the_order_of_trials_and_the_scale_of_a_unit_do_not_matter():
    rng = np.random.default_rng(4)
    index = np.repeat(np.arange(12), 4)
    responses = rng.normal(size=(48, 3)) + index[:, None] % 3
    order = rng.permutation(48)
    np.testing.assert_allclose(
        leave_one_out_oracle(responses[order] * 40 - 7, index[order]),
        leave_one_out_oracle(responses, index),
    )


def test_without_repeats_nothing_is_known_and_no_unit_is_reliable():
    responses = np.random.default_rng(5).normal(size=(20, 3))
    measured = unit_reliability(responses, np.arange(20), OracleParams())
    assert set(measured) == {"oracle", "signal_power", "fev", "cc_max", "reliable"}
    assert not measured.pop("reliable").any()
    assert all(np.isnan(values).all() for values in measured.values())


def test_without_trials_nothing_is_known():
    measured = unit_reliability(np.zeros((0, 3)), np.zeros(0, int), OracleParams())
    assert np.isnan(measured["oracle"]).all()
    assert measured["reliable"].shape == (3,)


def test_a_driven_unit_is_reliable_and_noise_is_not():
    rng = np.random.default_rng(6)
    index = np.repeat(np.arange(30), 8)
    driven = rng.normal(size=(30, 1))[index] * 2
    responses = np.hstack([driven, np.zeros_like(driven)]) + rng.normal(size=(240, 2))
    measured = unit_reliability(responses, index, OracleParams())
    np.testing.assert_array_equal(measured["reliable"], [True, False])
    assert measured["oracle"][0] > 0.6 > abs(measured["oracle"][1])
    assert measured["cc_max"][0] > 0.9


def test_repeated_images_are_counted():
    assert n_repeated_images(np.array([3, 3, 5, 6, 6, 6])) == 2
    assert n_repeated_images(np.array([], int)) == 0


# --- ranks and selection


def test_units_rank_by_score_ties_by_index_unknown_ones_last():
    scores = np.array([0.1, np.nan, 0.9, 0.1, -0.5, np.nan])
    assert rank_units(scores).tolist() == [2, 0, 3, 4, 1, 5]


@given(
    scores=st.lists(st.floats(-1, 1) | st.just(float("nan")), min_size=1, max_size=30),
    fraction=st.floats(0.01, 1),
    limit=st.none() | st.integers(1, 10),
    only_reliable=st.booleans(),
    seed=st.integers(0, 100),
)
def test_a_selection_is_what_its_rule_says(scores, fraction, limit, only_reliable, seed):
    reliable = np.random.default_rng(seed).random(len(scores)) < 0.5
    ranked = rank_units(np.array(scores))
    params = SelectionParams(
        top_fraction=fraction, max_units=limit, only_reliable=only_reliable, block_size=3
    )
    selected = select_units(ranked, reliable, params)
    best = ranked.tolist()[: int(np.ceil(fraction * len(scores)))]
    expected = [unit for unit in best if reliable[unit] or not only_reliable]
    assert selected.tolist() == expected[:limit]
    assert selected.dtype == np.int64


def test_no_unit_may_be_good_enough():
    params = SelectionParams()
    assert select_units(np.arange(4), np.zeros(4, bool), params).shape == (0,)


@pytest.mark.parametrize(
    "wrong", [{"top_fraction": 0}, {"top_fraction": 1.1}, {"max_units": 0}, {"block_size": 0}]
)
def test_bad_selection_parameters_are_refused(wrong):
    with pytest.raises(ValidationError):
        SelectionParams.model_validate(wrong)


def test_bad_oracle_parameters_are_refused():
    with pytest.raises(ValidationError):
        OracleParams(min_repeats=1)
