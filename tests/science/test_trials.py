"""Onsets, offsets and malformed trials (microns_vei 4.1 and 4.6.5)."""

import numpy as np
import pytest

from science.trials import malformed_trials, presentation_times

nan = np.nan


def test_three_flips_are_blank_image_and_blank():
    onset, offset, n_flips = presentation_times([[0.0, 0.3, 0.8], [1.0, 1.4, 1.9]])
    assert onset.tolist() == [0.3, 1.4]
    assert offset.tolist() == [0.8, 1.9]
    assert n_flips.tolist() == [3, 3]


@pytest.mark.parametrize("padding", [0, 1, 3])
def test_with_two_flips_the_next_trial_ends_the_image(padding):
    flips = np.pad(
        [[0.0, 0.3], [0.8, 1.1], [1.6, 1.9]], ((0, 0), (0, padding)), constant_values=nan
    )
    onset, offset, n_flips = presentation_times(flips)
    assert onset.tolist() == [0.3, 1.1, 1.9]
    np.testing.assert_array_equal(offset, [0.8, 1.6, nan])
    assert n_flips.tolist() == [2, 2, 2]


def test_what_a_malformed_trial_does_not_tell_is_nan():
    flips = [
        [0.0, nan, nan, nan],
        [1.0, 1.3, 1.8, nan],
        [2.0, nan, 2.8, nan],  # the onset was missed
        [nan, 3.3, 3.8, nan],
        [4.0, 4.1, 4.2, 4.8],  # one too many
        [nan, nan, nan, nan],
        [6.0, 6.3, 6.8, np.inf],
        [7.0, np.inf, 7.8, nan],
        [nan, 8.3, nan, nan],
        [9.0, 9.3, nan, 9.9],
        [10.0, 10.3, 10.8, nan],
    ]
    onset, offset, n_flips = presentation_times(flips)
    np.testing.assert_array_equal(onset, [nan, 1.3, nan, 3.3, 4.1, nan, 6.3, nan, 8.3, 9.3, 10.3])
    np.testing.assert_array_equal(offset, [nan, 1.8, nan, 3.8, nan, nan, 6.8, nan, nan, nan, 10.8])
    assert n_flips.tolist() == [1, 3, 2, 2, 4, 0, 3, 2, 1, 3, 3]


def test_an_image_may_follow_another_without_a_blank():
    assert presentation_times([[0, 1, 2], [1.5, 2, 3]])[1].tolist() == [2, 3]


def test_a_recording_without_trials_has_no_times():
    assert [len(column) for column in presentation_times(np.zeros((0, 3)))] == [0, 0, 0]
    assert malformed_trials([]).shape == (0,)


@pytest.mark.parametrize(
    ("flips", "message"),
    [
        ([[0, 1, 2], [3, 5, 4]], "flips of a trial must increase.* trial 1"),
        ([[0, 1, 1]], "flips of a trial must increase.* trial 0"),
        ([[2, nan, 1]], "flips of a trial must increase.* trial 0"),
        ([[5, 6, 7], [nan, nan, nan], [0, 1, 2]], "onsets of successive trials.* trial 2"),
        ([[0, 1, 2], [0.5, 1, 2]], "onsets of successive trials.* trial 1"),
        ([[0, 2], [1, 3]], "before the next one does.* trial 0"),
        ([[0, 1, 5], [3, 4, 6]], "before the image of the next one is shown.* trial 0"),
        ([0.0, 1.0, 2.0], r"\(n_trials, n_flips\)"),
    ],
)
def test_times_that_go_backwards_are_refused(flips, message):
    with pytest.raises(ValueError, match=message):
        presentation_times(flips)


@pytest.mark.parametrize("protocol", [2, 3])
def test_trials_that_differ_from_the_protocol_are_malformed(protocol):
    n_flips = np.full(60, protocol)
    n_flips[[0, 17, 59]] = [1, 5 - protocol, 4]
    assert np.flatnonzero(malformed_trials(n_flips)).tolist() == [0, 17, 59]
    assert not malformed_trials(np.full(9, protocol)).any()


def test_one_malformed_trial_is_always_allowed():
    assert malformed_trials([1, 3, 3]).tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("n_flips", "message"),
    [
        ([2] * 50 + [3] * 50, "unequal numbers of flips: 50 trials with 2, 50 trials with 3"),
        ([3] * 100 + [1] * 6, "unequal numbers of flips: 6 trials with 1"),
        ([1, 2, 3, 3], "unequal numbers of flips"),
        ([4] * 30, "2 or 3 flips, but there are 30 trials with 4"),
        ([0, 0, 0], "2 or 3 flips"),
    ],
)
def test_a_mixture_of_protocols_is_refused(n_flips, message):
    with pytest.raises(ValueError, match=message):
        malformed_trials(n_flips)


def test_five_percent_is_not_more_than_five_percent():
    assert malformed_trials([3] * 95 + [1] * 5).sum() == 5
