"""Reliability of whole recordings, and ranks."""

import numpy as np
import pytest

from science import blocks, metrics
from science.oracle import Bootstrap, LeaveOneOut, RepeatDraw, mean_ranks, repeat_draw_scores
from science.reliability import n_repeated_images, rank_units, unit_reliability

METHODS = (LeaveOneOut(), RepeatDraw(n_draws=20), Bootstrap(n_draws=50))
OF_ONE_METHOD = {
    "leave_one_out": "oracle_spearman",
    "bootstrap": "oracle_p",
    "repeat_draw": "oracle_mean_rank",
}
NUMBERS = {"oracle", *OF_ONE_METHOD.values(), "signal_power", "fev", "cc_max"}
FLAGS = {"reliable", "fev_included"}


def driven_and_noise(seed=6, n_units=2):
    """Half of the units follow the image, the others do not."""
    rng = np.random.default_rng(seed)
    index = np.repeat(np.arange(30), rng.integers(4, 9, 30))
    gain = np.arange(n_units) < n_units // 2
    signal = rng.normal(size=(30, n_units))[index] * gain * 2
    return signal + rng.normal(size=signal.shape), index


@pytest.mark.parametrize("params", METHODS, ids=lambda p: p.method)
def test_a_driven_unit_is_reliable_and_noise_is_not(params):
    responses, index = driven_and_noise()
    measured = unit_reliability([(responses, index)], params)
    assert set(measured) == NUMBERS | FLAGS
    np.testing.assert_array_equal(measured["reliable"], [True, False])
    np.testing.assert_array_equal(measured["fev_included"], [True, False])
    assert measured["oracle"][0] > 0.6 > 0.25 > abs(measured["oracle"][1])
    assert measured["cc_max"][0] > 0.9
    for method, name in OF_ONE_METHOD.items():
        assert np.isfinite(measured[name]).all() == (method == params.method)


@pytest.mark.parametrize("params", METHODS, ids=lambda p: p.method)
@pytest.mark.parametrize(("n_trials", "image_of"), [(20, np.arange), (0, np.arange)])
def test_without_repeats_nothing_is_known_and_no_unit_is_reliable(params, n_trials, image_of):
    responses = np.random.default_rng(5).normal(size=(n_trials, 3))
    measured = unit_reliability([(responses, image_of(n_trials))], params)
    for name in NUMBERS:
        assert measured[name].shape == (3,)
        assert np.isnan(measured[name]).all()
    for name in FLAGS:
        assert not measured[name].any()


@pytest.mark.parametrize("params", METHODS, ids=lambda p: p.method)
def test_a_constant_unit_has_no_score_and_the_others_keep_theirs(params):
    responses, index = driven_and_noise(7, 4)
    before = unit_reliability([(responses, index)], params)
    responses[:, 1] = 2.5
    after = unit_reliability([(responses, index)], params)
    others = [0, 2, 3]
    assert np.isnan([after[n][1] for n in NUMBERS - {"signal_power"}]).all()
    assert after["signal_power"][1] == 0
    for name in ("oracle", "fev", "oracle_p"):
        np.testing.assert_array_equal(after[name][others], before[name][others])


def test_included_are_the_units_above_the_threshold():
    responses, index = driven_and_noise(8, 20)
    fev = metrics.fev(responses, index)
    for threshold in (0.0, 0.15, float(np.sort(fev)[-2])):
        measured = unit_reliability([(responses, index)], LeaveOneOut(min_fev=threshold))
        np.testing.assert_array_equal(measured["fev_included"], fev > threshold)
        np.testing.assert_array_equal(measured["fev"], fev)  # unclipped, whatever is included
    assert fev.min() < 0


def test_recordings_stand_one_after_the_other_and_are_ranked_together():
    first, second = driven_and_noise(9, 6), driven_and_noise(10, 4)
    together = unit_reliability([first, second], RepeatDraw(n_draws=7, seed=3))
    alone = [unit_reliability([r], RepeatDraw(n_draws=7, seed=3)) for r in (first, second)]
    for name in ("oracle", "fev", "reliable"):
        np.testing.assert_array_equal(together[name], np.concatenate([a[name] for a in alone]))
    draws = np.hstack([repeat_draw_scores(*r, 7, 3) for r in (first, second)])
    np.testing.assert_array_equal(together["oracle_mean_rank"], mean_ranks(draws))


@pytest.mark.parametrize("params", METHODS, ids=lambda p: p.method)
def test_memory_may_divide_the_units(params, monkeypatch):
    recording = driven_and_noise(11, 10)
    whole = unit_reliability([recording], params)
    monkeypatch.setattr(blocks, "BLOCK_VALUES", 3 * len(recording[1]))
    divided = unit_reliability([recording], params)
    for name, values in whole.items():
        np.testing.assert_allclose(divided[name], values, atol=1e-12, err_msg=name)


def test_repeated_images_are_counted():
    assert n_repeated_images(np.array([3, 3, 5, 6, 6, 6])) == 2
    assert n_repeated_images(np.array([], int)) == 0


def test_units_rank_by_score_ties_by_index_unknown_ones_last():
    scores = np.array([0.1, np.nan, 0.9, 0.1, -0.5, np.nan])
    assert rank_units(scores).tolist() == [2, 0, 3, 4, 1, 5]
