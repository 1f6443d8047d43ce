"""Oracle scores against plain loops and theory (microns_vei 6 and 15, allen_mei 3)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from scipy import stats

from science import blocks
from science.bootstrap import bootstrap_oracle
from science.oracle import (
    OracleParams,
    leave_one_out_oracle,
    leave_one_out_spearman,
    mean_ranks,
    repeat_draw_scores,
)


def expected_oracle(signal, noise, repeats):
    """Pearson of a trial with the mean of the others, for many images; arguments are variances."""
    return signal / np.sqrt((signal + noise) * (signal + noise / (repeats - 1)))


def simulated(n_images, repeats, n_units, noise, seed, signal=1.0):
    """Trials of units with Gaussian signal and noise of known variance."""
    rng = np.random.default_rng(seed)
    index = np.repeat(np.arange(n_images), repeats)
    responses = np.sqrt(signal) * rng.normal(size=(n_images, n_units))[index]
    return responses + np.sqrt(noise) * rng.normal(size=responses.shape), index


# --- leave one out


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


def test_spearman_is_that_of_scipy_on_a_plain_loop():
    rng = np.random.default_rng(7)
    index = rng.permutation(np.repeat(np.arange(9), [4, 5, 6, 4, 5, 6, 4, 5, 6]))
    responses = rng.poisson(1.5, (len(index), 5)) + 0.0
    expected = []
    for unit in responses.T:
        trials, others = [], []
        for image in range(9):
            shown = unit[index == image]
            for i in range(len(shown)):
                trials.append(shown[i])
                others.append((shown.sum() - shown[i]) / (len(shown) - 1))
        expected.append(stats.spearmanr(trials, others).statistic)
    np.testing.assert_allclose(leave_one_out_spearman(responses, index), expected, atol=1e-12)


def test_silence_alone_gives_no_rank_correlation():
    # the original breaks ties by position, trials being sorted by image: silence correlates
    rng = np.random.default_rng(8)
    index = np.repeat(np.arange(100), 5)
    responses = (rng.random((500, 200)) < 0.05).astype(float)
    assert np.abs(leave_one_out_spearman(responses, index).mean()) < 0.02
    others = (np.repeat(responses.reshape(100, 5, -1).sum(1), 5, 0) - responses) / 4
    by_position = [
        np.corrcoef(*(v.argsort(kind="stable").argsort() for v in pair))[0, 1]
        for pair in zip(responses.T, others.T, strict=True)
    ]
    assert np.mean(by_position) > 0.5


# --- repeat draws


def plain_draw(unit, index, drawn):
    """Allen_mei 3 for one unit: `drawn` says which trial of each repeated image is taken."""
    singles, means = [], []
    for image, trial in drawn.items():
        rest = [v for t, v in enumerate(unit) if index[t] == image and t != trial]
        singles.append(unit[trial])
        means.append(sum(rest) / len(rest))
    return np.corrcoef(singles, means)[0, 1] * len(drawn) / len(set(index.tolist()))


def test_a_draw_takes_one_trial_of_each_repeated_image_and_the_mean_of_its_others():
    """Two trials per image leave two choices each: every score is one of 2^4 known ones."""
    rng = np.random.default_rng(9)
    index = np.array([0, 0, 1, 1, 2, 2, 3, 3, 4])  # image 4 is shown once: scores times 4/5
    responses = rng.normal(size=(9, 2))
    possible = np.array(
        [
            [
                plain_draw(unit, index, {i: 2 * i + (choice >> i & 1) for i in range(4)})
                for choice in range(16)
            ]
            for unit in responses.T
        ]
    )
    scores = repeat_draw_scores(responses, index, n_draws=400, seed=1)
    nearest = np.abs(scores.T[:, :, None] - possible[:, None]).argmin(2)
    np.testing.assert_allclose(scores.T, np.take_along_axis(possible, nearest, 1), atol=1e-12)
    # a choice and its complement have the same correlation; every one of the 8 pairs occurs
    assert len({min(c, 15 - c) for c in nearest[0].tolist()}) == 8


@pytest.mark.parametrize(("signal", "noise"), [(1.0, 1.0), (0.5, 2.0)])
def test_both_methods_converge_to_their_analytic_value(signal, noise):
    limit = np.sqrt(signal / (signal + noise))
    distance = []
    for repeats in (4, 12, 50):
        responses, index = simulated(400, repeats, 60, noise, repeats, signal)
        expected = expected_oracle(signal, noise, repeats)
        # standard error of the mean over units of a correlation over 400 images
        se = 1 / np.sqrt(400 * 60)
        assert leave_one_out_oracle(responses, index).mean() == pytest.approx(expected, abs=4 * se)
        draws = repeat_draw_scores(responses, index)
        assert draws.mean() == pytest.approx(expected, abs=4 * se)
        distance.append(limit - draws.mean())
    assert distance[0] > distance[1] > distance[2] > -4 * se


def test_images_shown_once_take_their_share_of_the_score():
    responses, index = simulated(60, 10, 40, 1.0, 11)
    once = np.arange(60, 100)
    more = np.concatenate([responses, np.random.default_rng(0).normal(size=(40, 40))])
    np.testing.assert_allclose(
        repeat_draw_scores(more, np.concatenate([index, once])),
        repeat_draw_scores(responses, index) * 0.6,
    )


def test_draws_are_those_of_the_seed_however_memory_divides_them(monkeypatch):
    responses, index = simulated(20, 5, 6, 1.0, 12)
    whole = repeat_draw_scores(responses, index, 30, seed=3)
    monkeypatch.setattr(blocks, "BLOCK_VALUES", 500)
    np.testing.assert_array_equal(repeat_draw_scores(responses, index, 30, seed=3), whole)
    np.testing.assert_array_equal(
        repeat_draw_scores(responses[:, 2:4], index, 30, seed=3), whole[:, 2:4]
    )
    assert not np.allclose(repeat_draw_scores(responses, index, 30, seed=4), whole)


def test_a_silent_trial_is_a_response_and_a_constant_unit_has_no_score():
    index = np.repeat(np.arange(10), 8)
    sparse = np.zeros((80, 3))
    sparse[[3, 5], 1] = 1  # two spikes, to one image
    sparse[:, 2] = 7
    sparse[:, 0] = index % 3
    scores = repeat_draw_scores(sparse, index, 200)
    np.testing.assert_allclose(scores[:, 0], 1)
    assert scores[:, 1].mean() == pytest.approx(2 / 8, abs=0.1)  # how often one of them is drawn
    assert np.isnan(scores[:, 2]).all()


def test_mean_ranks_are_those_of_every_draw():
    scores = np.array([[0.9, 0.1, np.nan, 0.5], [0.2, 0.2, np.nan, 0.5]])
    np.testing.assert_array_equal(mean_ranks(scores), [0.75, 1.75, np.nan, 0.5])


# --- bootstrap


def test_with_equal_repeats_the_bootstrap_is_the_leave_one_out_oracle():
    responses, index = simulated(15, 6, 20, 1.0, 13)
    oracle, p = bootstrap_oracle(responses, index, n_draws=99)
    np.testing.assert_allclose(oracle, leave_one_out_oracle(responses, index), atol=1e-12)
    np.testing.assert_allclose(p, 0.01)  # driven units: no shuffle reaches the score


def test_with_unequal_repeats_a_draw_has_as_many_trials_of_each_image():
    """Images of 4 and 5 trials: the score is the mean over the 5 x 5 ways to leave one out."""
    rng = np.random.default_rng(14)
    index = np.repeat(np.arange(4), [4, 5, 4, 5])
    responses = rng.normal(size=(18, 3)) + rng.normal(size=(4, 3))[index]
    ways = [
        leave_one_out_oracle(np.delete(responses, [4 + i, 13 + j], 0), np.repeat(np.arange(4), 4))
        for i in range(5)
        for j in range(5)
    ]
    oracle, _ = bootstrap_oracle(responses, index, n_draws=4000)
    se = np.std(ways, axis=0) / np.sqrt(4000)
    assert (np.abs(oracle - np.mean(ways, axis=0)) < 5 * se).all()


@pytest.mark.parametrize("ragged", [False, True])
def test_p_of_units_without_signal_is_valid(ragged):
    rng = np.random.default_rng(15)
    repeats = rng.integers(4, 9, 12) if ragged else np.full(12, 5)
    index = np.repeat(np.arange(12), repeats)
    noise = rng.poisson(1.0, (len(index), 2000)) * rng.gamma(1, 1, (len(index), 2000))
    _, p = bootstrap_oracle(noise, index, n_draws=199, seed=2)
    for alpha in (0.01, 0.05, 0.2):  # a fifth for 2000 units and 199 shared shuffles
        assert (p <= alpha).mean() < 1.2 * alpha + 0.005
    if not ragged:
        assert stats.kstest(p, "uniform").statistic < 0.08


def test_p_of_driven_units_is_the_smallest_there_is():
    responses, index = simulated(12, [4, 5, 6] * 4, 50, 0.5, 16)
    np.testing.assert_allclose(bootstrap_oracle(responses, index, n_draws=199)[1], 1 / 200)


def test_shuffles_of_a_unit_with_one_spike_all_score_the_same():
    index = np.repeat(np.arange(6), 5)
    responses = np.zeros((30, 2))
    responses[17, 0] = 1
    oracle, p = bootstrap_oracle(responses, index, n_draws=50)
    assert p[0] == 1
    assert np.isnan([oracle[1], p[1]]).all()


# --- all of them


@pytest.mark.parametrize("index", [np.arange(20), np.zeros(20, int)])
def test_without_two_repeated_images_nothing_is_known(index):
    responses = np.random.default_rng(17).normal(size=(20, 3))
    for scores in (
        leave_one_out_oracle(responses, index),
        leave_one_out_spearman(responses, index),
        repeat_draw_scores(responses, index, 5),
        *bootstrap_oracle(responses, index),
    ):
        assert scores.shape[-1] == 3
        assert np.isnan(scores).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_repeats": 4},
        {"method": "magic"},
        {"method": "leave_one_out", "min_repeats": 1},
        {"method": "leave_one_out", "n_draws": 50},
        {"method": "repeat_draw", "n_draws": 0},
        {"method": "bootstrap", "seed": -1},
        {"method": "repeat_draw", "images": "train"},
        {"method": "repeat_draw", "min_fev": 1.0},
    ],
)
def test_bad_parameters_are_refused(wrong):
    with pytest.raises(ValidationError):
        TypeAdapter(OracleParams).validate_python(wrong)
