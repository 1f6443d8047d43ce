"""Scores of rate maps against loops, closed forms, maps of known shape and recorded cells."""

import time

import numpy as np
import pytest
from scipy import ndimage
from scipy.special import i0, i1

from science.navigation.autocorrelogram import autocorrelograms
from science.navigation.bins import Bins
from science.navigation.border_score import border_scores
from science.navigation.grid_score import grid_scores
from science.navigation.head_direction import (
    direction_tuning,
    head_direction_scores,
    led_heading,
)
from science.navigation.rate_maps import rate_maps
from science.navigation.rectangle import Rectangle
from science.navigation.shuffles import ShuffleParams, shift_spikes, shuffle_test
from science.navigation.spatial_information import sparsity, spatial_information
from science.navigation.track import SpikeTrains, Track

BOX = Bins.of(Rectangle(width=1, height=1))


def lattice(bins, spacing, orientation, phase=(0.0, 0.0)):
    """Sum of three cosines, the fields of which are a hexagonal lattice."""
    angles = orientation + np.pi / 6 + np.arange(3) * np.pi / 3
    waves = 4 * np.pi / np.sqrt(3) / spacing * np.stack([np.cos(angles), np.sin(angles)])
    return np.cos((bins.centres - phase) @ waves).sum(-1)


def correlation(a, b):
    known = np.isfinite(a) & np.isfinite(b)
    return np.corrcoef(a[known], b[known])[0, 1]


def test_autocorrelograms_are_correlations_of_what_overlaps():
    rng = np.random.default_rng(0)
    maps = 1000 + rng.normal(size=(7, 5, 3))
    maps[rng.random(maps.shape) < 0.1] = np.nan
    found = autocorrelograms(maps, min_overlap=6)
    assert found.shape == (13, 9, 3)
    for (i, j), _ in np.ndenumerate(found[..., 0]):
        for cell in range(3):
            dx, dy = i - 6, j - 4
            moved = np.full((7, 5), np.nan)
            source = maps[max(0, -dx) : 7 - max(0, dx), max(0, -dy) : 5 - max(0, dy), cell]
            moved[max(0, dx) : 7 + min(0, dx), max(0, dy) : 5 + min(0, dy)] = source
            if np.isfinite(moved + maps[..., cell]).sum() < 6:
                assert np.isnan(found[i, j, cell])
            else:
                expected = correlation(moved, maps[..., cell])
                assert found[i, j, cell] == pytest.approx(expected, abs=1e-9)


def test_constant_and_unknown_maps_have_no_score():
    maps = np.stack([np.full((20, 20), 0.1), np.full((20, 20), np.nan), np.zeros((20, 20))], -1)
    maps = np.concatenate([maps, lattice(BOX, 0.35, 0)[..., None]], -1)
    scores = grid_scores(maps)
    for values in (scores.score, scores.spacing, scores.orientation, scores.ring):
        np.testing.assert_array_equal(np.isnan(values), [True, True, True, False])
    np.testing.assert_array_equal(np.isnan(border_scores(maps))[1:3], [True, True])
    information = spatial_information(np.abs(maps), np.ones((20, 20)))
    np.testing.assert_array_equal(np.isnan(information), [False, True, True, False])
    assert information[0] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("spacing", [0.28, 0.35, 0.45, 0.55])
def test_an_ideal_lattice_scores_above_one_and_its_spacing_and_orientation_are_found(spacing):
    rng = np.random.default_rng(1)
    orientations = rng.uniform(0, np.pi / 3, 30)
    maps = np.stack([lattice(BOX, spacing, o, rng.uniform(-1, 1, 2)) for o in orientations], -1)
    scores = grid_scores(maps)
    assert scores.score.min() > 1
    assert grid_scores(maps, legacy=True).score.min() > 1
    np.testing.assert_allclose(scores.spacing, spacing, rtol=0.03)
    wrong = np.abs((scores.orientation - orientations + np.pi / 6) % (np.pi / 3) - np.pi / 6)
    assert np.rad2deg(wrong).max() < 2
    assert (scores.orientation >= 0).all() and (scores.orientation < np.pi / 3).all()


def test_spacing_and_orientation_survive_noise_missing_bins_and_a_longer_arena():
    rng = np.random.default_rng(2)
    bins = Bins.of(Rectangle(width=1.5, height=1.0))
    maps = np.stack([lattice(bins, 0.4, 0.3, rng.uniform(-1, 1, 2)) for _ in range(50)], -1)
    maps += rng.normal(0, 1.5, maps.shape)
    maps = ndimage.gaussian_filter(maps, (1, 1, 0))
    maps[rng.random(maps.shape) < 0.1] = np.nan
    scores = grid_scores(maps)
    assert np.median(scores.score) > 1
    assert np.median(scores.spacing) == pytest.approx(0.4, rel=0.03)
    assert np.median(np.abs(scores.spacing / 0.4 - 1)) < 0.05
    assert np.rad2deg(np.median(scores.orientation)) == pytest.approx(np.rad2deg(0.3), abs=2)


def test_squares_stripes_and_noise_are_no_grids():
    x, y = np.moveaxis(BOX.centres, -1, 0)
    squares = [np.cos(2 * np.pi * x / p) + np.cos(2 * np.pi * y / p) for p in (0.25, 0.35, 0.5)]
    stripes = [np.cos(2 * np.pi * (x + 0.3 * y) / p) for p in (0.25, 0.35, 0.5)]
    assert grid_scores(np.stack(squares, -1)).score.max() < -0.5
    assert grid_scores(np.stack(stripes, -1)).score.max() < 0.3
    noise = np.random.default_rng(3).normal(size=(20, 20, 500))
    for sd in (0, 1):
        scores = grid_scores(ndimage.gaussian_filter(noise, (sd, sd, 0))).score
        assert abs(scores.mean()) < 0.05 and np.quantile(scores, 0.95) < 0.6
    assert grid_scores(noise, legacy=True).score.mean() == pytest.approx(0.05, abs=0.05)


def slow_grid_score(correlogram, legacy):
    """One map, ring by ring, over all pixels of the ring."""
    middle = np.array(correlogram.shape) // 2
    lags = np.indices(correlogram.shape) - middle[:, None, None]
    distance, side = np.hypot(*lags), min(middle) + 1
    if legacy:
        inner, radii = 0.2 * side, np.linspace(0.4, 1, 10) * side
    else:
        mean = [np.nanmean(correlogram[np.rint(distance) == r]) for r in range(side)]
        inner = max(2, next(r for r in range(side) if mean[r + 1] >= mean[r]))
        radii = np.minimum(side, inner * np.array([2, 2.2, 2.4, 2.6, 2.8, 3]))
    scores = []
    for outer in radii:
        ring = (distance > inner) & (distance <= outer)
        r = {}
        for angle in (30, 60, 90, 120, 150):
            c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
            at = np.tensordot([[c, -s], [s, c]], lags[:, ring], 1) + middle[:, None]
            rotated, known = (
                ndimage.map_coordinates(image, np.round(at, 9), order=1, mode="constant")
                for image in (np.nan_to_num(correlogram), np.isfinite(correlogram) * 1.0)
            )
            rotated[known < 1 - 1e-9] = np.nan
            r[angle] = correlation(correlogram[ring], rotated)
        scores.append(min(r[60], r[120]) - max(r[30], r[90], r[150]))
    return max(scores), radii[np.argmax(scores)]


@pytest.mark.parametrize("legacy", [False, True])
def test_all_maps_at_once_score_as_one_by_one(legacy):
    rng = np.random.default_rng(4)
    maps = ndimage.gaussian_filter(rng.normal(size=(18, 23, 12)), (1.5, 1.5, 0))
    bins = Bins(np.arange(19) * 0.05, np.arange(24) * 0.05)
    maps[..., 6:] += 0.2 * lattice(bins, 0.35, 0.2)[..., None]
    found = grid_scores(maps, legacy=legacy)
    correlograms = autocorrelograms(maps)
    slow = [slow_grid_score(correlograms[..., i], legacy) for i in range(12)]
    np.testing.assert_allclose(found.score, [score for score, _ in slow], atol=1e-9)
    np.testing.assert_allclose(found.ring, [0.05 * ring for _, ring in slow])


def test_a_single_field_in_a_corner_has_no_ring_and_no_lattice():
    x, y = np.moveaxis(BOX.centres, -1, 0)
    scores = grid_scores(np.exp(-((x - 0.5) ** 2 + (y - 0.5) ** 2) / 0.02)[..., None])
    assert np.isnan([scores.score, scores.ring, scores.spacing, scores.orientation]).all()


def test_scores_ignore_scale_and_offset_and_follow_the_order_of_maps():
    rng = np.random.default_rng(5)
    maps = rng.normal(size=(20, 20, 40))
    maps[:3, :2, :20] = np.nan
    found = grid_scores(maps)
    np.testing.assert_allclose(grid_scores(-7 + 1e-3 * maps).score, found.score, atol=1e-7)
    np.testing.assert_allclose(grid_scores(maps[..., ::-1]).score, found.score[::-1], atol=1e-9)
    np.testing.assert_allclose(grid_scores(maps[..., 5:6]).score, found.score[5:6], atol=1e-9)


def test_thousands_of_model_units_take_seconds():
    maps = np.random.default_rng(6).normal(size=(20, 20, 1024))
    start = time.process_time()
    grid_scores(maps)
    assert time.process_time() - start < 10 / 4


def test_border_scores_of_ideal_fields_are_those_of_the_definition():
    n = 20
    maps = np.zeros((n, n, 6))
    maps[0, :, 0] = 5  # one bin wide along a whole wall
    maps[:, -2:, 1] = 5  # two bins wide
    maps[8:12, 8:12, 2] = 5  # in the middle
    maps[5:15, 0, 3] = 5  # half a wall
    maps[0, :, 4], maps[10:13, 8:11, 4] = 5, 1  # a weak second field is below the threshold
    maps[0, :7, 5] = 5  # 175 cm2 are too small a field

    def score(coverage, distance_in_bins):
        distance = distance_in_bins / (n / 2)
        return (coverage - distance) / (coverage + distance)

    two_bins = (22 * 0.5 + 18 * 1.5) / 40  # the ends of the inner row are nearer to other walls
    expected = [score(1, 0.5), score(1, two_bins), -1, score(0.5, 0.5), score(1, 0.5), np.nan]
    np.testing.assert_allclose(border_scores(maps), expected)
    assert border_scores(maps)[0] > 0.9
    np.testing.assert_allclose(border_scores(maps.transpose(1, 0, 2)), expected)
    np.testing.assert_allclose(border_scores(maps[::-1, ::-1]), expected)


def test_a_rim_that_was_never_reached_is_no_gap_between_field_and_wall():
    maps = np.zeros((20, 20, 2))
    maps[1, :, 0] = maps[1, :, 1] = 5
    maps[0, :, 0] = np.nan
    with_rim, without = border_scores(maps)
    distance = (18 * 1.5 + 2 * 0.5) / 20 / 10
    assert with_rim == pytest.approx((1 - distance) / (1 + distance))
    assert without == pytest.approx((0.05 - distance) / (0.05 + distance))


def test_fields_that_touch_only_at_corners_or_in_another_map_are_apart():
    maps = np.zeros((20, 20, 3))
    maps[0, :6, 0] = maps[1, 6:12, 0] = 5  # 150 cm2 each: too small, unless they are one
    maps[0, :6, 1] = maps[0, :6, 2] = 5
    assert np.isnan(border_scores(maps)).all()
    maps[0, 6:12, 0] = 5
    assert np.isfinite(border_scores(maps)[0])


def test_information_and_sparsity_of_two_levels_are_the_closed_form():
    occupancy = np.random.default_rng(7).uniform(0.5, 2, (10, 10))
    maps = np.full((10, 10, 3), 2.0)
    maps[:3, :, 0] = 12.0
    maps[3:, :, 1] = 0.0
    maps[9, 9, :] = np.nan
    known = occupancy.copy()
    known[9, 9] = 0
    p = known[:3].sum() / known.sum()
    for cell, (high, low) in enumerate([(12, 2), (2, 0), (2, 2)]):
        mean = p * high + (1 - p) * low
        parts = [q * r / mean * np.log2(r / mean) for q, r in ((p, high), (1 - p, low)) if r]
        assert spatial_information(maps, occupancy)[cell] == pytest.approx(sum(parts))
        square = p * high**2 + (1 - p) * low**2
        assert sparsity(maps, occupancy)[cell] == pytest.approx(mean**2 / square)
    assert spatial_information(maps, occupancy)[1] == pytest.approx(-np.log2(p))
    assert np.isnan(spatial_information(maps - 3, occupancy)).all()


def test_mean_vector_is_that_of_the_rate_however_the_head_was_turned():
    """A von Mises rate has a mean vector of length I1 / I0, wherever the animal looked most."""
    rng = np.random.default_rng(8)
    n = 400_000
    heading = np.where(rng.random(n) < 0.5, rng.uniform(-np.pi, np.pi, n), rng.vonmises(-1, 2, n))
    track = Track(0.02 * np.arange(n), np.zeros((n, 2)), heading)
    kappa, preferred = 1.5, 2.5
    rate = 20 * np.exp(kappa * (np.cos(heading - preferred) - 1))
    fired = rng.random(n) < rate * 0.02
    untuned = rng.random(n) < 0.2
    spikes = SpikeTrains.of([track.t[fired], track.t[untuned], []])
    rates, occupancy = direction_tuning(track, spikes)
    assert occupancy.sum() == pytest.approx(n * 0.02)
    scores = head_direction_scores(rates)
    assert scores.score[0] == pytest.approx(i1(kappa) / i0(kappa), abs=0.01)
    assert scores.preferred[0] == pytest.approx(preferred, abs=0.02)
    assert scores.score[1] < 0.01
    assert np.isnan(scores.score[2])


def test_headings_come_from_two_leds_and_may_be_unknown():
    front = np.array([[1.0, 0], [0, 1], [-1, 0], [np.nan, 0], [0, 0]])
    heading = led_heading(front, np.zeros((5, 2)))
    np.testing.assert_allclose(heading, [0, np.pi / 2, np.pi, np.nan, np.nan])
    track = Track(np.arange(5.0), np.zeros((5, 2)), heading)
    rates, occupancy = direction_tuning(track, SpikeTrains.of([np.arange(5.0)]), 4)
    # -pi and pi are one direction and share a bin; 0 starts the third, pi / 2 the fourth.
    np.testing.assert_array_equal(occupancy, [1, 0, 1, 1])
    np.testing.assert_array_equal(rates[:, 0], [1, np.nan, 1, 1])
    with pytest.raises(ValueError, match="no heading"):
        direction_tuning(Track(np.arange(5.0), np.zeros((5, 2))), SpikeTrains.of([[]]))


def test_shifts_keep_the_intervals_and_turn_round_the_session():
    track = Track(10 + 0.02 * np.arange(5000), np.zeros((5000, 2)))
    trains = [np.array([10.0, 30, 31, 100]), np.array([5.0, 50, 200])]
    rng = np.random.default_rng(9)
    shuffled = shift_spikes(SpikeTrains.of(trains), track, 300, 20.0, rng)
    assert shuffled.n_cells == 600
    shifts = []
    for number in range(600):
        times = shuffled.times[shuffled.cells == number]
        inside = [t for t in trains[number % 2] if 10 <= t < 110]
        shift = (times - inside) % 100
        np.testing.assert_allclose(shift, shift[0])
        assert (times >= 10).all() and (times < 110).all()
        shifts.append(shift[0])
    assert min(shifts) >= 20 and max(shifts) <= 80
    np.testing.assert_allclose(np.quantile(shifts, [0.25, 0.5, 0.75]), [35, 50, 65], atol=4)


def test_p_and_percentile_count_the_shuffles_that_have_a_score():
    """Scores are the first spike of a cell; a train that starts in the second half has none."""
    track = Track(np.arange(200.0), np.zeros((200, 2)))
    spikes = SpikeTrains.of([[3.0], [150.0], [60.0]])

    def first_spike(trains):
        value = np.full(trains.n_cells, np.nan)
        value[trains.cells] = trains.times
        return np.stack([value, np.where(value < 100, value, np.nan)])

    params = ShuffleParams(n_shuffles=99, seed=3)
    result = shuffle_test(first_spike, track, spikes, params)
    assert result.shuffled.shape == (99, 2, 3)
    for kind in range(2):
        for cell in range(3):
            null = result.shuffled[:, kind, cell]
            null = null[np.isfinite(null)]
            assert 20 < len(null) <= 99 and (kind == 1) == (len(null) < 99)
            observed = result.observed[kind, cell]
            assert result.percentile_95[kind, cell] == pytest.approx(np.percentile(null, 95))
            expected = (1 + np.sum(null >= observed)) / (1 + len(null))
            if np.isnan(observed):
                expected = np.nan
            np.testing.assert_equal(result.p[kind, cell], expected)
    again = shuffle_test(first_spike, track, spikes, params)
    np.testing.assert_array_equal(again.shuffled, result.shuffled)
    other = shuffle_test(first_spike, track, spikes, ShuffleParams(n_shuffles=99, seed=4))
    assert (other.shuffled[:, 0] != result.shuffled[:, 0]).any()
    with pytest.raises(ValueError, match="too short"):
        shuffle_test(first_spike, track, spikes, ShuffleParams(min_shift_s=100))


def moser(shared, session):
    """Track in metres, spikes and names of the cells of a session."""
    with np.load(shared / "data/mec_grid_cells_moser" / f"{session}.npz") as file:
        arrays = dict(file)
    positions = np.stack([arrays["x"], arrays["y"]], -1) / 100
    names = [name for name in arrays if name.startswith("spikes_")]
    return Track(arrays["t"], positions), SpikeTrains.of([arrays[name] for name in names]), names


@pytest.mark.shared
@pytest.mark.parametrize(
    ("session", "is_grid_cell"), [("rat10704_07070407", True), ("rat11084_10030502", False)]
)
def test_recorded_cells_are_grid_cells_by_score_and_shuffle_or_are_not(
    shared, session, is_grid_cell
):
    track, spikes, _ = moser(shared, session)

    def score(trains):
        return grid_scores(rate_maps(track, trains, Rectangle(width=1, height=1)).rates).score

    result = shuffle_test(score, track, spikes, ShuffleParams(n_shuffles=200))
    if is_grid_cell:
        assert result.observed[0] > 1.2 and result.p[0] == 1 / 201
        assert result.observed[0] > result.percentile_95[0] + 0.5
    else:
        assert result.observed[0] < 0.3 and result.p[0] > 0.05
        assert result.observed[0] < result.percentile_95[0]


@pytest.mark.shared
def test_cells_of_one_recorded_module_share_spacing_and_orientation(shared):
    """Hafting et al. 2005, figure 2c: neighbouring cells of one rat."""
    track, spikes, names = moser(shared, "rat11015_hafting2005_fig2c_trial1")
    maps = rate_maps(track, spikes)
    rates = maps.rates
    assert maps.bins.shape == rates.shape[:2] == (35, 36)
    corners = np.isnan(rates[[0, 0, -1, -1], [0, -1, 0, -1]])
    assert corners.all() and len(names) == 7
    scores = grid_scores(rates, maps.bins.width)
    assert np.median(scores.score) > 0.5 and scores.score.min() > 0.1
    np.testing.assert_allclose(scores.spacing, np.median(scores.spacing), rtol=0.05)
    assert np.rad2deg(np.ptp(scores.orientation)) < 8
