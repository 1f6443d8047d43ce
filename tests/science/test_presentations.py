"""Which part of the activity answers an image (microns_vei 4.6.5 to 4.6.7, allen_mei 1)."""

import numpy as np
import pytest

from science.preprocessing import PreprocessingParams
from science.presentations import Presentations

nan = np.nan
PUBLISHED = PreprocessingParams(offset=0.05, duration=0.5)
WHOLE = PreprocessingParams(window="presentation")
ONSET = np.array([10.0, 11.0, nan, 13.0])


def shown_for(seconds):
    return Presentations(ONSET, ONSET + seconds)


def test_traces_are_sampled_a_third_of_a_second_after_onset():
    np.testing.assert_allclose(shown_for(0.5).centre(PUBLISHED), [10.3, 11.3, nan, 13.3])


def test_a_fixed_window_ignores_when_the_image_went():
    start, stop = Presentations(ONSET, np.full(4, nan)).window(PUBLISHED)
    np.testing.assert_allclose(start, ONSET + 0.05)
    np.testing.assert_allclose(stop, ONSET + 0.55)


def test_the_window_of_a_presentation_is_that_of_its_image():
    shown = Presentations(ONSET, np.array([10.25, 11.27, 12.0, nan]))
    np.testing.assert_array_equal(shown.window(WHOLE), [shown.onset, shown.offset])
    np.testing.assert_allclose(shown.centre(WHOLE), [10.125, 11.135, nan, nan])


def test_a_trial_needs_its_traces_until_the_image_has_gone_and_they_are_sampled():
    shown = Presentations(ONSET, np.array([10.54, 11.2, nan, nan]))
    first, last = shown.span(PUBLISHED)
    np.testing.assert_array_equal(first, ONSET)
    np.testing.assert_allclose(last, [10.54, 11.3, nan, 13.3])


def test_images_longer_on_the_screen_than_the_window_are_refused():
    shown_for(0.549).span(PUBLISHED)
    with pytest.raises(ValueError, match=r"for 0.551 s, longer than the window of 0.5 s"):
        shown_for(0.551).span(PUBLISHED)
    one_late = ONSET + np.array([0.5, 0.5, 0.5, 3.0])
    Presentations(ONSET, one_late).span(PUBLISHED)  # the median counts


def test_traces_need_a_fixed_window():
    with pytest.raises(ValueError, match="set window = 'fixed'"):
        shown_for(0.25).span(WHOLE)


def test_unknown_times_are_nan_and_trials_can_be_taken():
    shown = Presentations.of([1.0, None, 3.0], [1.5, None, None], [3, None, 3])
    np.testing.assert_array_equal(shown.onset, [1, nan, 3])
    np.testing.assert_array_equal(shown.offset, [1.5, nan, nan])
    kept = shown.take(np.array([True, False, True]))
    assert kept.onset.tolist() == [1, 3]
    np.testing.assert_array_equal(kept.offset, [1.5, nan])


def test_unequal_numbers_of_flips_are_refused():
    with pytest.raises(ValueError, match=r"unequal numbers of flips \(\[2, 3\]\).*ExcludedTrial"):
        Presentations.of([1.0, 2.0], [1.5, 2.5], [3, 2])
