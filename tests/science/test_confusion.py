import numpy as np
import pytest
from scipy.stats import sem

from science.closed_loop import (
    Confusion,
    confusion,
    diagonal,
    pool,
    scale_responses,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_scaling(rng):
    responses = rng.gamma(2, 3, (40, 5))
    responses[:, 2] = 0.1
    np.testing.assert_array_equal(scale_responses(responses, "raw"), responses)
    zscored = scale_responses(responses, "zscored")
    normalized = scale_responses(responses, "normalized")
    assert np.isnan(zscored[:, 2]).all() and np.isnan(normalized[:, 2]).all()
    varying = [0, 1, 3, 4]
    np.testing.assert_allclose(zscored[:, varying].mean(0), 0, atol=1e-12)
    for scaled in (zscored, normalized):
        np.testing.assert_allclose(scaled[:, varying].std(0, ddof=1), 1)
    ratio = normalized[:, varying] / responses[:, varying]
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[0], ratio.shape))


def test_bad_responses_are_named():
    with pytest.raises(ValueError, match=r"units \[1\]"):
        scale_responses([[1.0, np.nan], [2.0, 1.0]], "raw")
    with pytest.raises(ValueError, match="at least 2 trials"):
        scale_responses([[1.0, 2.0]], "zscored")
    with pytest.raises(ValueError, match="'whitened'"):
        scale_responses([[1.0], [2.0]], "whitened")
    with pytest.raises(ValueError, match="from -1 to 1"):
        confusion(np.ones((3, 2)), [0, 1, 2])
    with pytest.raises(ValueError, match="one image_unit per trial"):
        confusion(np.ones((3, 2)), [0, 1])
    with pytest.raises(ValueError, match="infinite"):
        confusion([[np.inf]], [0])


def trials(rng, n_trials=90, units=6):
    responses = rng.gamma(2, 3, (n_trials, units))
    image_unit = rng.integers(-1, units, n_trials)
    image_unit[image_unit == 4] = -1  # image 4 was never shown
    return responses, image_unit


def test_confusion_equals_a_plain_loop(rng):
    responses, image_unit = trials(rng)
    result = confusion(responses, image_unit)
    for neuron in range(6):
        for image in range(6):
            shown = responses[image_unit == image, neuron]
            assert result.n[neuron, image] == len(shown)
            if image == 4:
                assert np.isnan(result.mean[neuron, image])
                assert np.isnan(result.variance[neuron, image])
            else:
                assert result.mean[neuron, image] == pytest.approx(np.mean(shown))
                assert result.variance[neuron, image] == pytest.approx(np.var(shown, ddof=0))


def test_variance_survives_a_large_offset(rng):
    responses, image_unit = trials(rng)
    plain, shifted = (confusion(responses + o, image_unit) for o in (0.0, 1e6))
    np.testing.assert_allclose(shifted.variance, plain.variance, rtol=1e-6)


def test_an_unscalable_unit_stays_in_its_row(rng):
    responses, image_unit = trials(rng)
    responses[:, 3] = np.nan
    result = confusion(responses, image_unit)
    assert np.isnan(result.mean[3]).all() and not result.n[3].any()
    assert np.isfinite(np.delete(np.delete(result.mean, 3, 0), 4, 1)).all()


def test_an_image_made_for_several_neurons_counts_for_each(rng):
    responses, image_unit = trials(rng)
    again = image_unit == 2  # the image of neuron 2 is that of neuron 4 as well
    all_units = np.append(image_unit, np.full(again.sum(), 4))
    both = confusion(np.concatenate([responses, responses[again]]), all_units)
    once = confusion(responses, image_unit)
    for name in ("mean", "variance", "n"):
        twice = getattr(both, name)
        np.testing.assert_array_equal(twice[:, 4], twice[:, 2])
        rest = [0, 1, 2, 3, 5]
        np.testing.assert_allclose(twice[:, rest], getattr(once, name)[:, rest])


def concatenated(scans, n):
    """Single cells' statistics over the trials of all scans, from (units, responses, image)."""
    mean, variance, count = np.full((n, n), np.nan), np.full((n, n), np.nan), np.zeros((n, n))
    for neuron in range(n):
        for image in range(n):
            repeats = [
                responses[np.array(units)[image_unit] == image, units.index(neuron)]
                for units, responses, image_unit in scans
                if neuron in units and image in units
            ]
            repeats = np.concatenate([*repeats, []])
            count[neuron, image] = len(repeats)
            if len(repeats):
                mean[neuron, image] = repeats.mean()
                variance[neuron, image] = repeats.var()
    return Confusion(mean, variance, count)


def scan(rng, units, image_units, n_trials=60):
    responses = rng.gamma(2, 3, (n_trials, len(units))) + rng.uniform(0, 20)
    return units, responses, rng.choice([units.index(i) for i in image_units], n_trials)


SCANS = [
    ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4]),
    ([4, 2, 6, 1], [1, 2, 6]),  # lacks units 0, 3 and 5, and image 4; another order
    ([0, 3], [0, 3]),  # shares nothing with the second
    ([1, 2, 3], [3]),
]  # 5 is in none, and 0 never meets 6


def test_pooling_equals_statistics_of_concatenated_trials(rng):
    scans = [scan(rng, *about) for about in SCANS]
    pooled = pool([confusion(*among_all(*about)) for about in scans])
    direct = concatenated(scans, 7)
    np.testing.assert_array_equal(pooled.n, direct.n)
    np.testing.assert_allclose(pooled.mean, direct.mean, rtol=1e-12)
    np.testing.assert_allclose(pooled.variance, direct.variance, rtol=1e-12)
    assert pooled.n[1, 2] > pooled.n[0, 1] > 0 and pooled.n[0, 6] == 0 and not pooled.n[5].any()


def among_all(units, responses, image_unit, n=7):
    """The trials of a scan with a column for every neuron, NaN where the scan lacks it."""
    every = np.full((len(responses), n), np.nan)
    every[:, units] = responses
    return every, np.array(units)[image_unit]


def test_unknown_responses_are_no_repeats(rng):
    scans = [scan(rng, *about) for about in SCANS]
    together, images = zip(*(among_all(*about) for about in scans), strict=True)
    result = confusion(np.concatenate(together), np.concatenate(images))
    direct = concatenated(scans, 7)
    np.testing.assert_array_equal(result.n, direct.n)
    np.testing.assert_allclose(result.mean, direct.mean, rtol=1e-12)
    np.testing.assert_allclose(result.variance, direct.variance, rtol=1e-12)


def test_matrices_that_cannot_be_pooled_are_named():
    with pytest.raises(ValueError, match="at least one"):
        pool([])
    three, two = (confusion(np.ones((4, u)), np.arange(4) % 2) for u in (3, 2))
    with pytest.raises(ValueError, match="of one size"):
        pool([three, two])


def test_diagonal(rng):
    responses, image_unit = trials(rng)
    responses[image_unit == 2, 2] += 50
    responses[image_unit == 0, 1] += 50  # image 0 drives neuron 1 more than its own
    result = diagonal(confusion(responses, image_unit))
    own = responses[image_unit == 2, 2]
    assert result.response[2] == pytest.approx(own.mean())
    assert result.sem[2] == pytest.approx(sem(own))
    assert result.row_max[2] and not result.row_max[1]
    assert np.isnan(result.response[4]) and np.isnan(result.sem[4]) and not result.row_max[4]


def test_rank_of_the_own_image():
    nan = np.nan
    mean = np.array([[5.0, 5.0, nan, 1.0], [4.0, 3.0, nan, 6.0], [1, 2, nan, 3], [nan] * 4])
    result = diagonal(Confusion(mean, np.zeros((4, 4)), np.ones((4, 4), dtype=int)))
    assert result.rank.tolist() == [0, 2, -1, -1]  # an equal is not stronger
    assert result.row_max.tolist() == [True, False, False, False]


def test_diagonal_of_single_repeats_has_no_sem():
    single = Confusion(np.eye(2), np.zeros((2, 2)), np.ones((2, 2), dtype=int))
    assert np.isnan(diagonal(single).sem).all()
