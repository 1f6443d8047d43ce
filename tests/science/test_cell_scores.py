"""Scores of all cells of an animal against the truth of virtual rats and of recorded cells."""

import numpy as np
import pytest

from science.navigation import (
    RAT,
    Rectangle,
    ShuffleParams,
    SpikeTrains,
    Track,
    VirtualRat,
    VirtualRatParams,
    border_scores,
    direction_tuning,
    grid_scores,
    head_direction_scores,
    rate_maps,
    shuffle_test,
    spatial_information,
    walk,
)
from science.navigation.cell_scores import RateMapMethod, cell_scores, map_scores, segment_maps
from science.navigation.rate_maps import RateMapParams

ARENA = Rectangle(width=1, height=1)
METHOD = RateMapMethod(shuffles=ShuffleParams(n_shuffles=39, seed=2))
TESTED = ("grid", "border", "information", "head_direction")


def foraging(seconds, seed):
    """Track of a rat that forages in the arena, 50 Hz."""
    path = walk(ARENA, RAT, 1, 50 * seconds, np.random.default_rng(seed))
    steps = path.velocities[0]
    heading = np.arctan2(steps[:, 1], steps[:, 0])
    return Track(3 + 0.02 * np.arange(len(steps)), path.positions[0, : len(steps)], heading)


@pytest.fixture(scope="module")
def rat():
    params = VirtualRatParams(arena=ARENA, n_grid=6, n_border=4)
    track, rat = foraging(600, 1), VirtualRat.of(params, 3)
    return track, SpikeTrains.of(rat.record(track, 4)), rat


@pytest.fixture(scope="module")
def scored(rat):
    track, spikes, _ = rat
    return cell_scores(track, spikes, ARENA, METHOD)


def test_known_cells_exceed_their_shuffles(rat, scored):
    _, _, truth = rat
    for name, kinds in (
        ("grid", ("grid",)),
        ("border", ("border",)),
        ("information", ("grid", "border", "place", "conjunctive")),
        ("head_direction", ("head_direction", "conjunctive")),
    ):
        cells, score = np.isin(truth.kinds, kinds), getattr(scored, name)
        assert (score.p[cells] == 1 / 40).all(), name
        assert (score.observed > score.percentile_95)[cells].all(), name
    grid = truth.kinds == "grid"
    np.testing.assert_allclose(scored.spacing[grid], truth.spacings[grid], rtol=0.05)
    turned = scored.orientation - truth.orientations
    wrong = np.abs((turned + np.pi / 6) % (np.pi / 3) - np.pi / 6)
    assert np.rad2deg(wrong[grid]).max() < 4
    wrong = np.rad2deg(np.angle(np.exp(1j * (scored.preferred_direction - truth.preferred))))
    assert np.abs(wrong[truth.kinds == "head_direction"]).max() < 3
    assert np.abs(wrong[truth.kinds == "conjunctive"]).max() < 15  # few fields, few directions


def test_p_of_untuned_cells_is_spread_evenly_over_its_values():
    """Within three standard errors of a uniform distribution over 1/20, 2/20, ..., 1."""
    track, n = foraging(300, 5), 100
    none = dict.fromkeys(("n_grid", "n_border", "n_place", "n_head_direction", "n_conjunctive"), 0)
    untuned = VirtualRat.of(VirtualRatParams(arena=ARENA, n_untuned=n, **none), 6)
    method = RateMapMethod(shuffles=ShuffleParams(n_shuffles=19, seed=7))
    found = cell_scores(track, SpikeTrains.of(untuned.record(track, 8)), ARENA, method)
    for name in TESTED:
        p = getattr(found, name).p
        assert abs(p.mean() - 0.525) < 3 * 0.288 / np.sqrt(n), name
        assert (p <= 0.05).mean() < 0.05 + 3 * np.sqrt(0.05 * 0.95 / n), name


def test_rates_and_spikes_are_those_of_the_map(rat, scored):
    track, spikes, truth = rat
    inside = ARENA.contains(track.positions[track.nearest_sample(spikes.times)])
    assert (~inside).sum() > 0
    counts = [(spikes.cells[inside] == cell).sum() for cell in range(spikes.n_cells)]
    np.testing.assert_array_equal(scored.n_spikes, counts)
    rates = rate_maps(track, spikes, ARENA).rates
    np.testing.assert_array_equal(scored.maps.rates, rates)
    np.testing.assert_allclose(scored.mean_rate, np.nanmean(rates, (0, 1)))
    np.testing.assert_array_equal(scored.peak_rate, np.nanmax(rates, (0, 1)))
    untuned = truth.kinds == "untuned"
    np.testing.assert_allclose(scored.mean_rate[untuned], truth.peaks[untuned], rtol=0.15)


def test_one_set_of_shuffles_serves_all_scores_as_if_each_had_been_shuffled_alone(rat):
    track, spikes, _ = rat
    few = SpikeTrains.of([spikes.times[spikes.cells == cell] for cell in (0, 7, 20)] + [[]])
    method = RateMapMethod(
        maps=RateMapParams(bin_cm=4, smoothing_bins=1.5),
        shuffles=ShuffleParams(n_shuffles=15, min_shift_s=60, seed=8),
        legacy_grid_score=True,
    )
    found = cell_scores(track, few, ARENA, method)

    def maps(trains):
        return rate_maps(track, trains, ARENA, method.maps)

    alone = {
        "grid": lambda s: grid_scores(maps(s).rates, 0.04, legacy=True).score,
        "border": lambda s: border_scores(maps(s).rates, 0.04),
        "information": lambda s: spatial_information(maps(s).rates, maps(s).occupancy),
        "head_direction": lambda s: head_direction_scores(direction_tuning(track, s)[0]).score,
    }
    for name, score in alone.items():
        expected, combined = shuffle_test(score, track, few, method.shuffles), getattr(found, name)
        np.testing.assert_allclose(combined.observed, expected.observed, atol=1e-12)
        np.testing.assert_allclose(combined.p, expected.p)
        np.testing.assert_allclose(combined.percentile_95, expected.percentile_95, atol=1e-12)
        assert np.isnan(combined.observed[-1]) and np.isnan(combined.p[-1])
    assert found.n_spikes[-1] == found.mean_rate[-1] == found.peak_rate[-1] == 0


def test_without_a_heading_there_is_no_head_direction(rat):
    track, spikes, _ = rat
    for heading in (None, np.full(len(track.t), np.nan)):
        blind = Track(track.t, track.positions, heading)
        found = cell_scores(blind, spikes, ARENA, RateMapMethod(shuffles={"n_shuffles": 1}))
        assert found.head_direction is None and found.preferred_direction is None
        assert found.grid.p.shape == (spikes.n_cells,)


@pytest.mark.parametrize("n_segments", [1, 3])
def test_segments_add_up_to_the_session(rat, n_segments):
    """Also across a gap and with lost positions: no spike counts twice or not at all."""
    track, spikes, _ = rat
    t, positions = track.t.copy(), track.positions.copy()
    t[10_000:] += 17.3
    positions[500:520] = np.nan
    track = Track(t, positions)
    params = RateMapParams(smoothing_bins=0, min_occupancy_s=0)
    method = RateMapMethod(maps=params, n_segments=n_segments, segment_block_s=7)
    parts = segment_maps(track, spikes, ARENA, method)
    whole = rate_maps(track, spikes, ARENA, params)
    assert parts.shape == (n_segments, *whole.rates.shape)

    seconds, sample_s = np.zeros((n_segments, *whole.bins.shape)), track.sample_s
    for time, place in zip(t, whole.bins.index(positions), strict=True):
        if place >= 0:
            segment = int((time - t[0]) / 7) % n_segments
            seconds[segment][divmod(place, whole.bins.shape[1])] += sample_s
    np.testing.assert_allclose(seconds.sum(0), whole.occupancy)
    np.testing.assert_array_equal(np.isnan(parts[..., 0]), seconds == 0)
    spikes_in = np.nansum(parts * seconds[..., None], 0)
    known = whole.occupancy > 0
    expected = (whole.rates * whole.occupancy[..., None])[known]
    np.testing.assert_allclose(spikes_in[known], expected, atol=1e-9)


def test_segments_of_a_stable_cell_agree_and_see_the_whole_session(rat):
    track, spikes, truth = rat
    method = RateMapMethod(n_segments=2)
    first, second = segment_maps(track, spikes, ARENA, method)
    known = np.isfinite(first[..., 0]) & np.isfinite(second[..., 0])
    assert known.mean() > 0.9
    for cell in np.flatnonzero(np.isin(truth.kinds, ("grid", "border", "place"))):
        assert np.corrcoef(first[known, cell], second[known, cell])[0, 1] > 0.6
    assert np.isnan(segment_maps(track, spikes, ARENA, RateMapMethod(n_segments=8))).any()


def test_what_is_too_short_or_elsewhere_is_refused(rat):
    track, spikes, _ = rat
    minute = Track(track.t[:3000], track.positions[:3000])
    with pytest.raises(ValueError, match="segment 3 of 3, made of blocks of 30 s"):
        segment_maps(minute, spikes, ARENA, RateMapMethod(n_segments=3))
    long_shifts = RateMapMethod(shuffles=ShuffleParams(min_shift_s=30))
    with pytest.raises(ValueError, match="too short for shifts"):
        cell_scores(minute, spikes, ARENA, long_shifts)
    with pytest.raises(ValueError, match="check the units"):
        cell_scores(track, spikes, Rectangle(width=1, height=1, center_x=9))


def test_finished_maps_are_scored_as_if_all_bins_were_visited_alike():
    rng = np.random.default_rng(6)
    maps = rng.gamma(2, 3, (12, 15, 5))
    maps[3:5, 2] = np.nan
    maps[..., 2], maps[..., 3] = np.nan, maps[..., 3] - 5
    found = map_scores(maps, 0.1)
    assert np.isnan([found.mean_rate[2], found.peak_rate[2], found.information[2]]).all()
    for cell in (0, 1, 3, 4):
        rates = maps[..., cell][np.isfinite(maps[..., cell])]
        assert found.mean_rate[cell] == pytest.approx(rates.mean())
        assert found.peak_rate[cell] == rates.max()
        ratio = rates / rates.mean()
        expected = np.nan if cell == 3 else (ratio * np.log2(ratio)).mean()
        np.testing.assert_allclose(found.information[cell], expected)
    np.testing.assert_array_equal(found.border, border_scores(maps, 0.1))
    grid = grid_scores(maps, 0.1)
    np.testing.assert_array_equal(found.grid, grid.score)
    np.testing.assert_array_equal(found.spacing, grid.spacing)
    legacy = map_scores(maps, 0.1, legacy_grid_score=True)
    np.testing.assert_array_equal(legacy.grid, grid_scores(maps, 0.1, legacy=True).score)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("session", "is_grid_cell"), [("rat10704_07070407", True), ("rat11084_10030502", False)]
)
def test_recorded_cells_are_or_are_not_grid_cells(shared, session, is_grid_cell):
    with np.load(shared / "data/mec_grid_cells_moser" / f"{session}.npz") as file:
        track = Track(file["t"], np.stack([file["x"], file["y"]], -1) / 100)
        (name,) = (name for name in file if name.startswith("spikes_"))
        spikes = SpikeTrains.of([file[name]])
    found = cell_scores(track, spikes, ARENA)
    assert (found.grid.p[0] < 0.05) == is_grid_cell
    assert (found.grid.observed > found.grid.percentile_95)[0] == is_grid_cell
    assert found.information.p[0] == 1 / 101
